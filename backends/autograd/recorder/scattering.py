"""How a sum of updates at indices, the gradient of indexing, is written as Python source."""

from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.expressions import argument, index_source
from diffface.backends.autograd.recorder.graph import Node, nodes_in, substitute
from diffface.backends.autograd.recorder.names import Names


def scatter_lines(names: Names, node: Node, target: str, start: str | None) -> list[str]:
    """Return the lines that make `target` the sum of a base and of updates at indices.

    `start` creates a copy of the base; "" means that there is none, None that `target` is the base.
    """
    _, shape, dtype, *updates = node.args
    lines = [start] if start else []
    if start == "":
        kind = "" if dtype == np.float64 else f", {names.constant(dtype)}"
        lines = [f"{target} = {names.bind(np.zeros)}({argument(names, shape)}{kind})"]
    touched = None if start != "" else np.zeros(shape, np.uint8)
    for index, x in updates:
        place, value = f"{target}[{index_source(names, index)}]", argument(names, x)
        touch = _touch(index, shape)
        if touch is None and not _permutes(index, shape):
            lines.append(f"{names.bind(np.add.at)}({target}, {_at(names, index)}, {value})")
        elif touched is not None and not (
            touched.any() if touch is None else (touched & touch).any()
        ):
            lines.append(f"{place} = {value}")
        elif x.shape == () or touch is None or not _is_basic(index):
            lines.append(f"{place} += {value}")
        else:
            lines += [f"v = {place}", f"{names.bind(np.add)}(v, {value}, v)"]
        if touched is not None:
            touched |= 1 if touch is None else touch
    return lines


def _at(names: Names, index: Any) -> str:
    if isinstance(index, tuple):
        return f"({''.join(_at(names, i) + ', ' for i in index)})"
    return index_source(names, index) if isinstance(index, list) else argument(names, index)


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    # True and False add an axis, and copy.
    return all(
        p is None
        or p is Ellipsis
        or (isinstance(p, (int, np.integer, slice)) and not isinstance(p, bool))
        for p in parts
    )


def _touch(index: Any, shape: Any) -> Any:
    """Return which elements a constant index reaches; None if it varies or repeats some."""
    if any(not n.is_constant for n in nodes_in(index)):
        return None
    index = substitute(index, lambda n: n.value)
    if isinstance(index, list):
        index = np.asarray(index, dtype=int if not index else None)
    counts = np.zeros(shape, np.uint8)
    if _is_basic(index):
        counts[index] = 1
        return counts
    many = np.zeros(shape, np.int64)
    np.add.at(many, index, 1)
    return many.astype(np.uint8) if many.max(initial=0) <= 1 else None


def _permutes(index: Any, shape: Any) -> bool:
    """Whether `index` is a permutation of a vector, found at run time by sorting."""
    return (
        isinstance(index, Node)
        and index.fn is np.argsort
        and index.shape == shape
        and len(shape) == 1
    )
