"""Results are the caller's alone; arguments come in any memory layout."""

from typing import Any

import numpy as np
import pytest
from helpers import (
    EVERY_OPERATOR,
    EVERYWHERE,
    FIRST,
    NUMBER,
    PREPARED,
    VECTOR,
    cube_sum,
    expected,
    make,
    plain,
    run,
    same,
    tolerance,
)

import diffface as dif

VALUES = [1.0, 2.0, 3.0]


def values(operator: str) -> Any:
    return 2.0 if operator in NUMBER else VALUES


@EVERYWHERE
@PREPARED
@EVERY_OPERATOR
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_results_are_fresh(operator: str, of: str, prepared: bool, backend: str) -> None:
    """Writable, C-contiguous, and no part shares memory with an argument or another part."""
    x = make(of, values(operator))
    parts = run(operator, x, backend, prepared)
    arrays = [plain(x)] + [plain(p) for p in parts if not isinstance(p, np.generic)]
    for i, array in enumerate(arrays[1:], 1):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        for other in arrays[:i]:
            assert not np.shares_memory(array, other)
        array[...] = -1
    same(x, np.array(values(operator)))


# Functions that hand their argument, or a view of it, through.
VIEWS = {
    "identity": lambda x: x,
    "transpose": lambda x: dif.namespace(x).moveaxis(x, 0, 1),
    "slice": lambda x: x[1:, ::2],
    "reshape": lambda x: dif.namespace(x).reshape(x, (-1,)),
    "tree": lambda x: {"a": x, "b": [x, x[0]]},
}


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", VECTOR)
@pytest.mark.parametrize("view", VIEWS)
def test_results_of_views_are_fresh(view: str, operator: str, prepared: bool, backend: str) -> None:
    f, x = VIEWS[view], np.arange(6.0).reshape(2, 3)
    given = x.copy()
    seeds: dict[str, Any] = {}
    if operator.endswith("pushforward"):
        seeds["tangents"] = np.ones((2, 3))
    elif operator.endswith("pullback"):
        seeds["cotangents"] = f(np.ones((2, 3)))
    if prepared:
        result = getattr(dif, f"prepare_{operator}")(f, x, backend=backend)(x, **seeds)
    else:
        result = getattr(dif, operator)(f, x, backend=backend, **seeds)
    arrays = _arrays(result)
    inputs = [x, *_arrays(list(seeds.values()))]
    for i, array in enumerate(arrays):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        for other in arrays[:i] + inputs:
            assert not np.shares_memory(array, other)
    same(x, given)


def _arrays(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return _arrays(list(tree.values()))
    if isinstance(tree, list | tuple):
        return [a for child in tree for a in _arrays(child)]
    return [tree]


class Subclass(np.ndarray[Any, Any]):
    """As `numpy.memmap`: other memory, the same numbers."""


LAYOUTS: dict[str, Any] = {
    "subclass": np.array(VALUES).view(Subclass),
    "strided": np.repeat(VALUES, 2)[::2],
    "reversed": np.array(VALUES[::-1])[::-1],
    "column": np.array([VALUES, VALUES]).T[:, 0],
    "read-only": np.frombuffer(np.array(VALUES).tobytes()),
    "swapped": np.array(VALUES, ">f8"),
    "unaligned": np.frombuffer(b"." + np.array(VALUES).tobytes(), offset=1),
}


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian", "hvp", "pullback"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(layout: str, operator: str, prepared: bool, backend: str) -> None:
    x = LAYOUTS[layout]
    before = x.copy()
    (part,) = run(operator, x, backend, prepared)
    assert type(part) is np.ndarray
    assert part.dtype == np.float64
    same(part, expected(operator, VALUES)[0], tolerance(operator, backend, "float64"))
    assert part.flags.writeable
    assert np.array_equal(x, before)


@EVERYWHERE
def test_a_prepared_call_takes_any_layout(backend: str) -> None:
    """Strides are no part of the signature."""
    g = dif.prepare_gradient(cube_sum, np.array(VALUES), backend=backend)
    for name, x in LAYOUTS.items():
        if name != "swapped":
            same(g(x), 3 * np.array(VALUES) ** 2, FIRST[backend])
