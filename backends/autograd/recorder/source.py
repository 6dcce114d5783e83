"""How one node is written as Python source."""

from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import (
    cast,
    expand,
    gathered,
    joined,
    product,
    total,
)
from diffface.backends.autograd.recorder.graph import Node, nodes_in
from diffface.backends.autograd.recorder.program_names import WEAK, ProgramNames
from diffface.backends.autograd.recorder.shapes import GETITEM

_OPERATORS = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/"}
_C_EINSUM = np._core.multiarray.c_einsum  # type: ignore[attr-defined]  # private; np.einsum itself calls it


def expression(names: ProgramNames, node: Node) -> str:
    """Return the expression of a node."""
    special = _SPECIAL.get(node.fn)
    if special is not None:
        written: str | None = special(names, node)
        if written is not None:
            return written
    if isinstance(node.fn, np.ufunc) or node.fn is np.where:
        return _elementwise(names, node)
    return _call(names, names.function(node), node.args, node.kwargs)


def argument(names: ProgramNames, x: Any) -> str:
    """Return the source of an argument."""
    if isinstance(x, Node):
        # A NumPy scalar is no literal: a Python number would be weaker in type promotion.
        return _literal(names, x.value) if type(x.value) in WEAK else names.operand(x)
    if isinstance(x, tuple):
        return f"({''.join(argument(names, item) + ', ' for item in x).strip()})"
    if isinstance(x, list):
        return f"[{', '.join(argument(names, item) for item in x)}]"
    if isinstance(x, slice):
        return f"slice({', '.join(argument(names, s) for s in (x.start, x.stop, x.step))})"
    if x is Ellipsis:
        return "..."
    if x is None or type(x) in (int, str, bool):
        return repr(x)
    return names.constant(x)


def _literal(names: ProgramNames, value: Any) -> str:
    return repr(value) if np.isfinite(value) else names.constant(value)


def _call(names: ProgramNames, function: str, args: Any, kwargs: Any) -> str:
    written = [argument(names, a) for a in args] + [
        f"{k}={argument(names, v)}" for k, v in kwargs.items()
    ]
    return f"{function}({', '.join(written)})"


def _elementwise(names: ProgramNames, node: Node) -> str:
    if not all(isinstance(a, Node) for a in node.args):
        return _call(names, names.function(node), node.args, node.kwargs)
    if all(a.shape == () for a in node.args) and not node.kwargs:
        scalar = _scalar(names, node)
        if scalar is not None:
            return scalar
        return _call(names, names.function(node), node.args, {})
    strong = [a.dtype for a in node.args if type(a.value) not in WEAK]
    written = []
    for a in node.args:
        if a.is_constant and a.shape == ():
            written.append(names.number(a, strong))
        else:
            written.append(argument(names, a))
    written += [f"{k}={argument(names, v)}" for k, v in node.kwargs.items()]
    return f"{names.function(node)}({', '.join(written)})"


def _scalar(names: ProgramNames, node: Node) -> str | None:
    """Write arithmetic on scalars with operators: ten times as fast as ufuncs there."""
    if node.dtype.kind not in "fc" or any(
        a.dtype.kind not in "fc" for a in node.args if type(a.value) not in WEAK
    ):
        return None
    operands = [argument(names, a) for a in node.args]
    if node.fn in _OPERATORS:
        return f"{operands[0]} {_OPERATORS[node.fn]} {operands[1]}"
    if node.fn is np.square:
        return f"{operands[0]} * {operands[0]}"
    return f"-{operands[0]}" if node.fn is np.negative else None


def _getitem(names: ProgramNames, node: Node) -> str:
    x, index = node.args
    return f"{names.operand(x)}[{index_source(names, index)}]"


def index_source(names: ProgramNames, index: Any) -> str:
    """Return an index as it stands between brackets."""
    if isinstance(index, list) and not list(nodes_in(index)):
        return names.constant(np.asarray(index, dtype=int if not index else None))
    if isinstance(index, slice):
        parts = [
            "" if s is None else argument(names, s) for s in (index.start, index.stop, index.step)
        ]
        return ":".join(parts if index.step is not None else parts[:2])
    if isinstance(index, tuple) and index:
        return ", ".join(index_source(names, i) for i in index) + ("," if len(index) == 1 else "")
    return argument(names, index)


def _reshape(names: ProgramNames, node: Node) -> str | None:
    if len(node.args) > 2 or node.kwargs:
        return None
    return f"{names.operand(node.args[0])}.reshape({argument(names, node.args[1])})"


def _transpose(names: ProgramNames, node: Node) -> str | None:
    x, axes = node.args
    name = names.operand(x)
    return (
        f"{name}.T"
        if axes == tuple(reversed(range(x.ndim)))
        else f"{name}.transpose({argument(names, axes)})"
    )


def _total(names: ProgramNames, node: Node) -> str:
    x, axes, keep = node.args
    keepdims = ", None, None, True" if keep else ""
    if axes is not None and len(axes) == 1:
        axes = axes[0]
    if not keepdims and (axes == 0 or (axes is None and x.ndim == 1)):
        return f"{names.bind(np.add.reduce)}({names.operand(x)})"
    return f"{names.bind(np.add.reduce)}({names.operand(x)}, {argument(names, axes)}{keepdims})"


def _reduction(ufunc: Any) -> Any:
    """Return the writer of a reduction that NumPy wraps in several layers of Python."""

    def write(names: ProgramNames, node: Node) -> str | None:
        x, *rest = node.args
        options = dict(zip(("axis",), rest, strict=False)) | node.kwargs
        if len(rest) > 1 or options.keys() - {"axis", "keepdims"} or not x.shape:
            return None
        axis, keep = options.get("axis"), bool(options.get("keepdims"))
        given = f"{names.operand(x)}, {argument(names, axis)}{', None, None, True' if keep else ''}"
        return f"{names.bind(ufunc.reduce)}({given})"

    return write


def _einsum(names: ProgramNames, node: Node) -> str | None:
    return None if node.kwargs else _call(names, names.bind(_C_EINSUM), node.args, {})


def _dot(names: ProgramNames, node: Node) -> str:
    a, b = (names.operand(x) for x in node.args)
    return f"{a}.dot({b})"


def empty(names: ProgramNames, shape: Any, dtype: Any) -> str:
    """Return the expression of an array to be written to."""
    kind = "" if dtype == np.float64 else f", {names.constant(dtype)}"
    return f"{names.bind(np.empty)}({argument(names, shape)}{kind})"


# Functions whose result goes into an array, which is the last argument here


def _product(names: ProgramNames, node: Node, place: str) -> str:
    a, b = (names.operand(x) for x in node.args[:2])
    return f"{a}.dot({b}, {place})"


def _joined(names: ProgramNames, node: Node, place: str) -> str:
    return f"{names.bind(np.concatenate)}({argument(names, node.args[0])}, 0, {place})"


def _gathered(names: ProgramNames, node: Node, place: str) -> str:
    x, index = (names.operand(a) for a in node.args)
    return f"{x}.take({index}, None, {place}, 'clip')"


FILLING: dict[Any, Any] = {product: _product, joined: _joined, gathered: _gathered}


def _into_new(fn: Any) -> Any:
    write = FILLING[fn]
    return lambda names, node: write(names, node, empty(names, node.shape, node.dtype))


_SPECIAL: dict[Any, Any] = {
    GETITEM: _getitem,
    np.reshape: _reshape,
    np.transpose: _transpose,
    total: _total,
    np.einsum: _einsum,
    **dict.fromkeys((np.max, np.amax), _reduction(np.maximum)),
    **dict.fromkeys((np.min, np.amin), _reduction(np.minimum)),
    np.prod: _reduction(np.multiply),
    np.dot: _dot,
    **{fn: _into_new(fn) for fn in FILLING},
    np.broadcast_to: lambda names, node: _call(
        names, names.bind(expand), (*node.args, node.dtype), {}
    ),
    cast: lambda names, node: (
        f"{names.operand(node.args[0])}.astype({names.constant(node.args[1])})"
    ),
}
