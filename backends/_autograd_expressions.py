"""How one node is written as Python source."""

from typing import Any, Protocol

import numpy as np

from diffface.backends._autograd_functions import is_ufunc
from diffface.backends._autograd_graph import Node, nodes_in, substitute
from diffface.backends._autograd_rules import GETITEM, cast, scatter

_OPERATORS = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/"}
_C_EINSUM = np._core.multiarray.c_einsum  # type: ignore[attr-defined]  # private; np.einsum itself calls it


class Names(Protocol):
    """What a writer offers to expressions."""

    def operand(self, node: Node) -> str:
        """Return the name of a value."""

    def number(self, node: Node, others: list[Any]) -> str:
        """Return the name of a constant scalar used next to arrays."""

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""

    def bind(self, fn: Any) -> str:
        """Return the name of a function."""

    def function(self, node: Node) -> str:
        """Return the name of the function of a node."""


def expand(x: Any, shape: Any, dtype: Any) -> Any:
    """Return a new array of `shape` filled with `x`."""
    result = np.empty(shape, dtype)
    result[...] = x
    return result


def splits(fn: Any) -> bool:
    """Whether `fn`, one of ours, returns fresh memory."""
    return fn in (np.broadcast_to, scatter, cast, np.array)


def expression(names: Names, node: Node) -> str:
    """Return the expression of a node."""
    special = _SPECIAL.get(node.fn)
    if special is not None:
        written: str | None = special(names, node)
        if written is not None:
            return written
    if isinstance(node.fn, np.ufunc) or node.fn is np.where:
        return _elementwise(names, node)
    return _call(names, names.function(node), node.args, node.kwargs)


def argument(names: Names, x: Any) -> str:
    """Return the source of an argument."""
    if isinstance(x, Node):
        value = x.value
        if x.is_constant and (type(value) in (int, float, complex, bool) or type(value) is np.float64):
            return _literal(names, value)
        return names.operand(x)
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


def number_operand(value: Any, others: list[Any]) -> Any:
    """Return the array of no dimensions that acts like the number `value` next to `others`."""
    weak = type(value) in (int, float, complex)
    return np.asarray(value, np.result_type(*others, value) if weak else value.dtype)


def _literal(names: Names, value: Any) -> str:
    if isinstance(value, (float, complex)) and not np.isfinite(value):
        return names.constant(value)
    return repr(float(value)) if isinstance(value, float) else repr(value)


def _call(names: Names, function: str, args: Any, kwargs: Any) -> str:
    written = [argument(names, a) for a in args] + [f"{k}={argument(names, v)}" for k, v in kwargs.items()]
    return f"{function}({', '.join(written)})"


def _elementwise(names: Names, node: Node) -> str:
    if all(isinstance(a, Node) and a.shape == () for a in node.args) and not node.kwargs:
        scalar = _scalar(names, node)
        if scalar is not None:
            return scalar
        return _call(names, names.function(node), node.args, {})
    strong = [a.dtype for a in node.args if isinstance(a, Node) and not (a.is_constant and type(a.value) in (int, float, complex))]
    written = []
    for a in node.args:
        if isinstance(a, Node) and a.is_constant and a.shape == () and not isinstance(a.value, bool):
            written.append(names.number(a, strong))
        else:
            written.append(argument(names, a))
    written += [f"{k}={argument(names, v)}" for k, v in node.kwargs.items()]
    return f"{names.function(node)}({', '.join(written)})"


def _scalar(names: Names, node: Node) -> str | None:
    """Write arithmetic on scalars with operators: ten times as fast as ufuncs there."""
    if node.dtype.kind not in "fc" or any(a.dtype.kind not in "fc" for a in node.args if type(a.value) is not int):
        return None
    operands = [argument(names, a) for a in node.args]
    if node.fn in _OPERATORS:
        return f"{operands[0]} {_OPERATORS[node.fn]} {operands[1]}"
    if node.fn is np.square:
        return f"{operands[0]} * {operands[0]}"
    return f"-{operands[0]}" if node.fn is np.negative else None


def _getitem(names: Names, node: Node) -> str:
    x, index = node.args
    return f"{names.operand(x)}[{index_source(names, index)}]"


def index_source(names: Names, index: Any) -> str:
    """Return an index as it stands between brackets."""
    if isinstance(index, list) and not list(nodes_in(index)):
        return names.constant(np.asarray(index, dtype=int if not index else None))
    if isinstance(index, slice):
        parts = ["" if s is None else argument(names, s) for s in (index.start, index.stop, index.step)]
        return ":".join(parts if index.step is not None else parts[:2])
    if isinstance(index, tuple) and index:
        return ", ".join(index_source(names, i) for i in index) + ("," if len(index) == 1 else "")
    return argument(names, index)


def _reshape(names: Names, node: Node) -> str:
    return f"{names.operand(node.args[0])}.reshape({argument(names, node.args[1])})"


def _transpose(names: Names, node: Node) -> str | None:
    x, axes = node.args
    name = names.operand(x)
    return f"{name}.T" if axes == tuple(reversed(range(x.ndim))) else f"{name}.transpose({argument(names, axes)})"


def _reduce(names: Names, node: Node) -> str:
    x, axes = node.args
    keepdims = ", None, None, True" if node.kwargs["keepdims"] else ""
    if axes is not None and len(axes) == 1:
        axes = axes[0]
    if not keepdims and (axes == 0 or (axes is None and x.ndim == 1)):
        return f"{names.bind(np.add.reduce)}({names.operand(x)})"
    return f"{names.bind(np.add.reduce)}({names.operand(x)}, {argument(names, axes)}{keepdims})"


def _einsum(names: Names, node: Node) -> str | None:
    return None if node.kwargs else _call(names, names.bind(_C_EINSUM), node.args, {})


def _dot(names: Names, node: Node) -> str:
    a, b = (names.operand(x) for x in node.args)
    return f"{a}.dot({b})"


def scatter_lines(names: Any, node: Node, target: str, start: str | None) -> list[str]:
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
        elif touched is not None and not (touched.any() if touch is None else (touched & touch).any()):
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
    return all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, slice)) for p in parts)


def _touch(index: Any, shape: Any) -> Any:
    """Return which elements a constant index reaches; None if not constant or if it repeats some."""
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
    return isinstance(index, Node) and index.fn is np.argsort and index.shape == shape and len(shape) == 1


_SPECIAL: dict[Any, Any] = {
    GETITEM: _getitem,
    np.reshape: _reshape,
    np.transpose: _transpose,
    np.add.reduce: _reduce,
    np.einsum: _einsum,
    np.dot: _dot,
    np.broadcast_to: lambda names, node: _call(names, names.bind(expand), (*node.args, node.dtype), {}),
    cast: lambda names, node: f"{names.operand(node.args[0])}.astype({names.constant(node.args[1])})",
}

__all__ = ["expression", "is_ufunc", "number_operand", "scatter_lines", "splits"]
