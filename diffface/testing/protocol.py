"""How a case is tested: call it at several points and check every result."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.registry import Backend, resolve
from diffface.prep.arguments.const import plain
from diffface.testing.case import FIXED_POINT, FUNCTIONS, ORDER, Case, operator_of
from diffface.testing.point import (
    SEEDS,
    Instance,
    arguments,
    converted,
    kinds_of_x,
    kinds_of_y,
    points,
)
from diffface.testing.trees import Tree, leaves, mapped, structure

# Automatic differentiation and the complex step make rounding errors only. Relative to the largest
# entry of the result.
EXACT = {"float64": 1e-12, "float32": 1e-5}

# Central differences have an error of epsilon ** (2/3) at the best step (W. H. Press et al.,
# Numerical Recipes, 3rd ed., section 5.7); so have second derivatives by differences of order 4.
# The factor stands for the higher derivatives of the scenarios' functions.
DIFFERENCES, FACTOR = 2 / 3, 3e3


def adapter_of(backend: Backend, order: int) -> Adapter:
    """Whose arithmetic decides about the accuracy of derivatives of ``order`` 1 or 2."""
    return backend.first_order() if order == 1 else backend.second_order()[0]


def relative(backend: Backend, order: int, dtype: np.dtype[Any]) -> float:
    """Largest relative error of a right derivative."""
    real = np.zeros((), dtype).real.dtype
    if order and adapter_of(backend, order).black_box:
        epsilon = float(np.finfo(real).eps)
        return float(FACTOR * epsilon**DIFFERENCES)
    return EXACT[real.name]


def agreement(backend: Backend, order: int, dtype: np.dtype[Any]) -> float:
    """Largest relative difference between right derivatives of functions that nothing is known of.

    More than the rounding errors of long computations, and less than those of float32 within
    float64; for differences, that of their default steps where higher derivatives are large.
    """
    if order and adapter_of(backend, order).black_box:
        return float(np.finfo(dtype).eps ** (1 / 3 if order == 1 else 1 / 4))
    return rounding(dtype)


def rounding(dtype: np.dtype[Any]) -> float:
    """What is left of a dtype's precision after long computations: 4e-10 for float64."""
    return float(np.finfo(dtype).eps ** 0.6)


LIKE_X = ("gradient", "pullback", "hvp")


class Expected(NamedTuple):
    """What one leaf of a result must be."""

    # Kinds of array for results with axes, and for shape ().
    kinds: tuple[ArrayLibrary, ArrayLibrary]
    dtype: np.dtype[Any]
    device: object


def expectations(name: str, point: Instance, args: Sequence[Any]) -> list[Expected]:
    """What every leaf of the answer ``name`` must be, for the arguments ``args`` as given."""
    arguments = plain(args)
    primals = [leaf for i in point.active for leaf in leaves(arguments[i])]
    by_x = [Expected(kinds_of_x(leaf), *_dtype_and_device(leaf)) for leaf in primals]
    if name in LIKE_X:
        return by_x
    values = leaves(point.given("value"))
    if name in ("jacobian", "hessian"):
        return by_x * len(values if name == "jacobian" else by_x)
    kinds = kinds_of_y(point, args)
    device = next((e.device for e in by_x if e.kinds[0] == kinds[0]), None)
    return [Expected(kinds, np.asarray(value).dtype, device) for value in values]


def check(
    name: str, result: Tree, answer: Tree, wanted: Sequence[Expected], point: Instance,
    backend: Backend,
) -> None:  # fmt: skip
    """Raise AssertionError, in words, unless ``result`` is the ``answer``."""
    assert result is not None, f"{name} is None"
    assert structure(result) == structure(answer), (
        f"{name} has the structure {structure(result)}, not {structure(answer)}"
    )
    numbers = [np.asarray(leaf) for leaf in leaves(answer)]
    scale = max((float(np.max(np.abs(a), initial=0.0)) for a in numbers), default=0.0)
    if ORDER[name] and adapter_of(backend, ORDER[name]).black_box:
        # Differences have errors relative to f, and to the step.
        size = [float(np.max(np.abs(y), initial=0.0)) for y in leaves(point.given("value"))]
        scale = max(1.0, scale, *size)
    for i, (leaf, number, want) in enumerate(zip(leaves(result), numbers, wanted, strict=True)):
        _check_leaf(f"{name}, leaf {i}", leaf, number, want)
        dtype = np.result_type(*(e.dtype for e in wanted))
        close(f"{name}, leaf {i}", leaf, number, relative(backend, ORDER[name], dtype),
              scale)  # fmt: skip


def close(name: str, leaf: Any, number: Any, relative: float, scale: float) -> None:
    """Raise AssertionError unless ``leaf`` is within ``relative * scale`` of ``number``."""
    found = to_numpy(leaf)
    worst = float(np.max(np.abs(found - number), initial=0.0))
    assert worst <= relative * scale or np.array_equal(found, number, equal_nan=True), (
        f"{name} is off by {worst:.2e}, allowed are {relative * scale:.2e}:\n{found}\n"
        f"instead of\n{number}"
    )


def _check_leaf(name: str, leaf: Any, number: Any, want: Expected) -> None:
    kind = library_of(leaf)
    assert kind is not None, f"{name} is a {type(leaf).__name__}"
    shape, dtype, device = kind.describe(leaf)
    wanted_kind = want.kinds[shape == ()]
    assert kind is wanted_kind, f"{name} is a {kind.name} array, not a {wanted_kind.name} one"
    assert shape == number.shape, f"{name} has the shape {shape}, not {number.shape}"
    wanted = want.dtype
    if number.dtype.kind == "c" and wanted.kind != "c":
        wanted = np.result_type(wanted, np.complex64)
    assert dtype == wanted, f"{name} has the dtype {dtype}, not {wanted}"
    if want.device is not None:
        assert device == want.device, f"{name} is on {device}, not {want.device}"
    assert not getattr(leaf, "requires_grad", False), f"{name} carries a graph"
    if kind.writable:
        flags = to_numpy(leaf).flags
        assert flags.c_contiguous, f"{name} is not C-contiguous"
        assert flags.writeable, f"{name} is not writable"


def _dtype_and_device(leaf: Any) -> tuple[np.dtype[Any], object]:
    kind = library_of(leaf)
    assert kind is not None
    return kind.describe(leaf)[1:]


def to_numpy(leaf: Any) -> Any:
    """A leaf of any kind as a NumPy array."""
    kind = library_of(leaf)
    assert kind is not None
    return np.asarray(kind.to_numpy(leaf))


def snapshot(tree: Tree) -> list[Any]:
    """Copies of all arrays and numbers of a tree."""
    return [np.array(to_numpy(leaf)) for leaf in leaves(tree) if library_of(leaf) is not None]


def check_same(what: str, before: list[Any], tree: Tree) -> None:
    """Raise AssertionError unless ``tree`` is bit for bit what it was."""
    for old, new in zip(before, snapshot(tree), strict=True):
        assert old.tobytes() == new.tobytes(), f"{what} changed from\n{old}\nto\n{new}"


def check_separate(results: Tree, inputs: Tree) -> None:
    """Raise AssertionError if a result shares memory with an input or another result."""
    made = [leaf for leaf in leaves(results) if _is_mutable(leaf)]
    given = [leaf for leaf in leaves(inputs) if _is_mutable(leaf)]
    for i, leaf in enumerate(made):
        for other in (*given, *made[:i]):
            shared = np.shares_memory(to_numpy(leaf), to_numpy(other))
            assert not shared, "a result shares memory with an input or another result"


def spoil(tree: Tree) -> None:
    """Overwrite all arrays of a tree, as the caller who owns them may."""
    for leaf in leaves(tree):
        if _is_mutable(leaf) and to_numpy(leaf).flags.writeable:
            to_numpy(leaf)[...] = 77.0


def _is_mutable(leaf: object) -> bool:
    kind = library_of(leaf)
    return kind is not None and kind.writable


# Seeds of a batch.
BATCH = 3


def run(case: Case, backend: str | Backend, strategies: Sequence[str] = ()) -> None:
    """Raise AssertionError unless ``backend`` gives the right answers in the right way.

    Prepared at one point, a callable is called at another, then at the first, and again at the
    other, after its earlier results were overwritten. If any ``strategies`` are given, its calls
    must run by one of them.
    """
    here, there = points(case.scenario)
    example = arguments(here, case.kind)
    call, prepared = case.caller(backend, example, here.kwargs)
    owner = resolve(backend)
    earlier = _ask(case, call, there, owner)
    kept = snapshot(earlier)
    second = _ask(case, call, here, owner)
    check_same("an earlier result", kept, earlier)
    if prepared is not None:
        found = prepared.strategy
        assert not strategies or found in strategies, f"prepared calls run by {found!r}"
        spoil((earlier, second))
        _ask(case, call, there, owner)


def _ask(case: Case, call: Any, point: Instance, backend: Backend) -> tuple[Any, ...]:
    """Call once and check everything; returns the arrays of the result."""
    parts, operator = FUNCTIONS[case.function], operator_of(case.function)
    args = arguments(point, case.kind)
    if case.function in FIXED_POINT:
        args = mapped(lambda a: _copied(a), args)
    wanted = [expectations(name, point, args) for name in parts]
    seeds = _seeds(case, point, operator)
    inputs = (args, dict(point.kwargs), seeds)
    before = snapshot(inputs)
    result = call(args, point.kwargs, seeds)
    check_same("an input", before, inputs)
    results = list(result) if len(parts) > 1 or case.scenario.has_aux else [result]
    if case.scenario.has_aux:
        check_aux(results.pop(), point.given("aux"))
    if case.function in FIXED_POINT:
        spoil(args)
        results[-1] = results[-1](seeds, batched=case.batched)
    for name, part, want in zip(parts, results, wanted, strict=True):
        batched = case.batched and name == operator
        check(name, part, _answer(name, point, batched), want, point, backend)
    check_separate(tuple(results), inputs)
    return tuple(results)


def _seeds(case: Case, point: Instance, operator: str) -> Tree:
    if operator not in SEEDS:
        return None
    if not case.batched:
        return converted(point.seeds(operator), case.kind)
    batch = [point.seeds(operator, k) for k in range(BATCH)]
    return converted(mapped(lambda *row: np.stack(row), *batch), case.kind)


def _answer(name: str, point: Instance, batched: bool) -> Tree:
    if name == "value":
        return point.given("value")
    if not batched:
        return point.answer(name)
    return mapped(lambda *row: np.stack(row), *(point.answer(name, k) for k in range(BATCH)))


def check_aux(aux: Tree, answer: Tree) -> None:
    """Raise AssertionError, in words, unless ``aux`` is the ``answer``."""
    assert structure(aux) == structure(answer), f"aux has the structure {structure(aux)}"
    for leaf, wanted in zip(leaves(aux), leaves(answer), strict=True):
        if isinstance(wanted, np.ndarray | np.inexact):
            scale = float(np.max(np.abs(wanted), initial=0.0))
            close("aux", leaf, wanted, 1e-12 if wanted.dtype.itemsize >= 8 else 1e-5, scale)
        else:
            assert type(leaf) is type(wanted), f"aux has {leaf!r}"
            assert leaf == wanted, f"aux has {leaf!r}"


def _copied(leaf: Any) -> Any:
    kind = library_of(leaf)
    if kind is None:
        return leaf
    return kind.from_numpy(np.array(kind.to_numpy(leaf)), kind.describe(leaf)[2])
