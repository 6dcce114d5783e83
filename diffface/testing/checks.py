"""What is right about a result: structure, kind, dtype, device, layout, and the numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import ArrayLibrary, library_of
from diffface.backends.registry import Backend
from diffface.prep.arguments.const import plain
from diffface.testing import tolerance as _tolerance
from diffface.testing.convert import kinds_of_x, kinds_of_y
from diffface.testing.functions import ORDER
from diffface.testing.point import Point
from diffface.testing.trees import Tree, leaves, structure

LIKE_X = ("gradient", "pullback", "hvp")


class Expected(NamedTuple):
    """What one leaf of a result must be."""

    # Kinds of array for results with axes, and for shape ().
    kinds: tuple[ArrayLibrary, ArrayLibrary]
    dtype: np.dtype[Any]
    device: object


def expectations(name: str, point: Point, args: Sequence[Any]) -> list[Expected]:
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
    name: str, result: Tree, answer: Tree, wanted: Sequence[Expected], point: Point,
    backend: Backend,
) -> None:  # fmt: skip
    """Raise AssertionError, in words, unless ``result`` is the ``answer``."""
    assert result is not None, f"{name} is None"
    assert structure(result) == structure(answer), (
        f"{name} has the structure {structure(result)}, not {structure(answer)}"
    )
    numbers = [np.asarray(leaf) for leaf in leaves(answer)]
    scale = max((float(np.max(np.abs(a), initial=0.0)) for a in numbers), default=0.0)
    if ORDER[name] and _tolerance.adapter_of(backend, ORDER[name]).black_box:
        # Differences have errors relative to f, and to the step.
        size = [float(np.max(np.abs(y), initial=0.0)) for y in leaves(point.given("value"))]
        scale = max(1.0, scale, *size)
    for i, (leaf, number, want) in enumerate(zip(leaves(result), numbers, wanted, strict=True)):
        _check_leaf(f"{name}, leaf {i}", leaf, number, want)
        dtype = np.result_type(*(e.dtype for e in wanted))
        close(f"{name}, leaf {i}", leaf, number, _tolerance.relative(backend, ORDER[name], dtype),
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
