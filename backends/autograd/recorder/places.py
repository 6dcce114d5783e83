"""Places: memory in which a value is computed that was given, or is of another, or kept."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import joined, product, scatter
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.program_names import ProgramNames
from diffface.backends.autograd.recorder.source import FILLING, expression
from diffface.backends.recording.workspace import Form

# A view costs about as much as a copy of so many elements.
_MANY = 1000


def parts_of(whole: Node) -> list[tuple[Node, int, int]]:
    """Return the parts of what is joined, and from where to where each of them is."""
    parts = whole.args[0]
    ends = list(accumulate((p.shape[0] for p in parts), initial=0))
    return list(zip(parts, ends, ends[1:], strict=False))


def reshaped(node: Node) -> Node:
    """Return what `node` shows in another shape."""
    return node.args[0] if node.fn is np.reshape and len(node.parents) == 1 else node


def fills(node: Node) -> bool:
    """Whether `node` can be computed in memory that is given, and a copy would cost more."""
    return node.size >= _MANY and (node.fn in (product, joined) or node.is_elementwise)


def fits_anywhere(node: Node) -> bool:
    """Whether `node` can be computed in memory that is given, without a copy."""
    return node.fn in FILLING or node.fn in (scatter, np.broadcast_to) or node.is_elementwise


def turned(order: Iterable[Node]) -> set[Node]:
    """Return the values that may lie column by column, and so are better not put elsewhere."""
    found: set[Node] = set()
    for node in order:
        if node.fn is np.transpose or not found.isdisjoint(node.parents):
            found.add(node)
    return found


def form(node: Node) -> Form:
    """What the array of a value is like."""
    return Form(node.shape, node.dtype, node.size * node.dtype.itemsize if node.shape else 0)


def view_of(memory: Any, start: int, form: Form) -> Any:
    """Return an array in memory."""
    return np.ndarray(form.shape, form.dtype, memory, start)


def lines_into(names: ProgramNames, node: Node, target: str) -> list[str]:
    """Return the lines that write the value of `node` into the array `target`, of any layout.

    Ufuncs, products and repetitions need no memory; all else is copied.
    """
    if node.fn is np.broadcast_to:
        return [f"{target}[...] = {names.operand(node.args[0])}"]
    factors = node.args[:2]
    if node.fn in (np.dot, product) and all(x.ndim in (1, 2) for x in factors) and node.shape:
        # `dot` takes contiguous arrays only; for one and two dimensions it is the same.
        written = ", ".join(names.operand(x) for x in factors)
        return [f"{names.bind(np.matmul)}({written}, {target})"]
    if node.shape and node.is_elementwise:
        return [written_into(names, node, target)]
    return [f"{target}[...] = {expression(names, node)}"]


def written_into(names: ProgramNames, node: Node, target: str) -> str:
    """Return the line that writes the value of an elementwise `node` into the array `target`."""
    # NumPy deprecates a third argument by position for these two; elsewhere it is the fastest way.
    keyword = "out=" if node.fn in (np.maximum, np.minimum) else ""
    return f"{expression(names, node)[:-1]}, {keyword}{target})"
