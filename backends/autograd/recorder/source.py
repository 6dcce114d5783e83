"""How one node is written as Python source, and the names that stand in it."""

from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import (
    cast,
    expand,
    implementation,
    is_numpy,
    is_trusted,
    is_ufunc,
    product,
    total,
)
from diffface.backends.autograd.recorder.graph import Node, nodes_in
from diffface.backends.autograd.recorder.shapes import GETITEM
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.names import Names

_PREFIXED = ("linalg", "fft")
# Next to arrays, Python's numbers are weak in type promotion.
_WEAK = (bool, int, float, complex)


class ProgramNames:
    """The global names of one program: functions and constants; and the local ones of its values.

    Attributes
    ----------
    bound : Names
        The global ones.
    comments : list of str
        One line on each constant.
    local : dict of Node to str
        The variable of each value that has one now.
    """

    def __init__(self, inputs: list[Node]) -> None:
        self.bound = Names()
        self.comments: list[str] = []
        self.local = {node: f"x{i}" for i, node in enumerate(inputs)}
        # Numbers are the same if their bits are, checked functions if their functions are.
        self._same: dict[Any, Any] = {}
        self._free: dict[str, None] = {}
        self._count = 0

    def operand(self, node: Node) -> str:
        """Return the name of a value."""
        return self.constant(node.value) if node.is_constant else self.local[node]

    def number(self, node: Node, others: list[Any]) -> str:
        """Return the name of a constant scalar next to arrays of the dtypes `others`.

        It is an array of no dimensions, which NumPy takes twice as fast as a number.
        """
        value = node.value
        dtype = np.result_type(*others, value) if type(value) in _WEAK else node.dtype
        return self.constant(np.asarray(value, dtype))

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        scalar = isinstance(value, np.ndarray) and value.ndim == 0
        if scalar:
            value = self._same.setdefault((value.dtype.str, value.tobytes()), value)
        count = len(self.bound.namespace)
        name = self.bound(value, "c")
        if len(self.bound.namespace) > count:
            value = value[()] if scalar else value  # NumPy shows its numbers faster than its arrays
            text = f"{value.dtype} {value.shape}" if getattr(value, "ndim", 0) else repr(value)
            self.comments.append(f"# {name}: {text.splitlines()[0]}")
        return name

    def bind(self, fn: Any) -> str:
        """Return the name of a function."""
        return self.bound.spell(implementation(fn), _spelling(fn))

    def function(self, node: Node) -> str:
        """Return the name of a node's function, checked at run time if it is a stranger."""
        fn: Any = node.fn
        if is_trusted(fn):
            return self.bind(fn)
        # Each call of a function with several results has shapes of its own.
        key = (fn, node.shape, node.dtype) if node.shape is not None else (fn, node)
        checked = self._same.get(key) or _checked(fn, node.shape, node.dtype)
        return self.bound.spell(self._same.setdefault(key, checked), _spelling(fn))

    def variable(self) -> str:
        """Return the name of a variable that is free."""
        if self._free:
            return self._free.popitem()[0]
        self._count += 1
        return f"t{self._count}"

    def release(self, node: Node) -> None:
        """Give the variable of a value to values to come."""
        name = self.local.get(node, "")
        if name.startswith("t"):
            self._free[name] = None


def _spelling(fn: Any) -> str:
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}_{fn.__name__}"
    name = getattr(fn, "__name__", type(fn).__name__)
    name = "".join(c if c.isalnum() else "_" for c in name).strip("_")
    module = [*str(getattr(fn, "__module__", "")).split("."), ""]
    if module[0] == "numpy" and module[1] in _PREFIXED:
        return f"{module[1]}_{name}"
    # Strangers could be called anything: t1, say, or run.
    return name if is_numpy(fn) or is_ufunc(fn) else f"{name}_"


def _checked(fn: Any, shape: Any, dtype: Any) -> Any:
    """Return `fn`, of which we know nothing, with what the program relies on checked."""
    # Of a function with several results, the first run shows it, which is that of the recording.
    expected: Any = [] if shape is None else [(shape, dtype)]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        parts = result if shape is None else (result,)
        found = [(np.shape(part), np.result_type(part)) for part in parts]
        if shape is None and not expected:
            expected[:] = found
        if found != expected:
            raise CannotRecord(
                f"`{fn.__name__}` returned another shape or dtype than when it was recorded"
            )
        return result

    return call


# Expressions


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
        return _literal(names, x.value) if type(x.value) in _WEAK else names.operand(x)
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
    strong = [a.dtype for a in node.args if type(a.value) not in _WEAK]
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
        a.dtype.kind not in "fc" for a in node.args if type(a.value) not in _WEAK
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


def _product(names: ProgramNames, node: Node) -> str:
    a, b, shape, dtype = node.args
    kind = "" if dtype == np.float64 else f", {names.constant(dtype)}"
    place = f"{names.bind(np.empty)}({argument(names, shape)}{kind})"
    return f"{names.operand(a)}.dot({names.operand(b)}, {place})"


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
    product: _product,
    np.broadcast_to: lambda names, node: _call(
        names, names.bind(expand), (*node.args, node.dtype), {}
    ),
    cast: lambda names, node: (
        f"{names.operand(node.args[0])}.astype({names.constant(node.args[1])})"
    ),
}
