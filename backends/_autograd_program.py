"""From a graph to Python source, and from source to a function.

The source is a straight line of NumPy calls on local variables: dead code is gone, and a temporary
that nobody needs any more lends its memory to the next result (``out=``). It shares no state between
calls, so it may run in many threads at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffface.backends._autograd_expressions import expression, number_operand
from diffface.backends._autograd_functions import implementation, is_fresh, is_numpy, is_ufunc
from diffface.backends._autograd_graph import Node
from diffface.backends._autograd_kernels import scatter
from diffface.backends._autograd_scattering import scatter_lines
from diffface.backends._compiled import Compiled
from diffface.backends._errors import CannotRecord

_OURS = ("autograd", "diffface")


@dataclass(frozen=True)
class SourceProgram:
    """The recorded program, for those who want to read it.

    Attributes
    ----------
    source : str
        Python source of ``run``.
    run : callable
        The compiled function.
    """

    source: str
    run: Callable[..., tuple[Any, ...]] = field(repr=False)

    def __repr__(self) -> str:
        return f"<recorded NumPy program of {self.source.count(chr(10))} lines; print its .source>"


def compile_graph(inputs: list[Node], outputs: list[Node]) -> Compiled:
    """Compile the part of a graph that leads from `inputs` to `outputs`."""
    writer = _Writer(inputs, outputs)
    source = writer.write()
    exec(compile(source, "<diffface recorded program>", "exec"), writer.names)
    run = writer.names["run"]
    return Compiled(run, "program", SourceProgram(source, run))


class _Writer:
    """Writes the source of one program."""

    def __init__(self, inputs: list[Node], outputs: list[Node]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.names: dict[str, Any] = {}
        self.comments: list[str] = []
        self.lines: list[str] = []
        self._bound: dict[Any, str] = {}
        self._kept: list[Any] = []  # keeps ids in `_bound` alive
        self._of: dict[Node, str] = {node: f"x{i}" for i, node in enumerate(inputs)}
        self._free: list[str] = []
        self._count = 0
        self._order = _live(outputs)
        self._owners: dict[Node, frozenset[Node]] = {}
        self._last_use: dict[Node, int] = {}
        self._last_touch: dict[Node, int] = {}
        self._analyse()

    def write(self) -> str:
        """Return the source."""
        for position, node in enumerate(self._order):
            if node.fn is not None:
                self._statement(position, node)
        results = "".join(f"{self._result(i, node)}, " for i, node in enumerate(self.outputs))
        self.lines.append(f"return ({results.strip()})")
        parameters = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        return "\n".join([*self.comments, f"def run({parameters}):", *("    " + line for line in self.lines), ""])

    def _analyse(self) -> None:
        """Find when each value is last used, and when its memory is, through itself or a view."""
        for position, node in enumerate(self._order):
            fresh = node.fn is None or is_fresh(node.fn)
            shared = frozenset() if fresh else frozenset().union(*(self._owners[p] for p in node.parents))
            self._owners[node] = shared | {node}
            for parent in node.parents:
                self._use(parent, position)
        for node in self.outputs:
            self._use(node, len(self._order))

    def _use(self, node: Node, position: int) -> None:
        self._last_use[node] = position
        for owner in self._owners[node]:
            self._last_touch[owner] = position

    def _statement(self, position: int, node: Node) -> None:
        reusable = self._reusable(position, node)
        if node.fn is scatter:
            name = self._scatter(position, node)
        elif reusable is not None:
            name = self._of[reusable]
            call = expression(self, node)
            self.lines.append(f"{call[:-1]}, {name})")
        else:
            call = expression(self, node)
            self._release(position, node)
            name = self._fresh_name()
            self.lines.append(f"{name} = {call}")
        self._of[node] = name
        if reusable is not None:
            self._release(position, node, keep=name)

    def _scatter(self, position: int, node: Node) -> str:
        base = node.args[0]
        name = None
        if base is not None and self._owned_until(base, position, node):
            name = self._of[base]
        target = name or self._fresh_name()
        start = None if name is not None else "" if base is None else f"{target} = {self.operand(base)}.copy()"
        self.lines += scatter_lines(self, node, target, start)
        self._release(position, node, keep=target)
        return target

    def _release(self, position: int, node: Node, keep: str = "") -> None:
        """Give the names of values used here for the last time to values to come."""
        for parent in dict.fromkeys(node.parents):
            name = self._of.get(parent, "")
            if name.startswith("t") and name != keep and self._last_use[parent] == position:
                self._free.append(name)

    def _fresh_name(self) -> str:
        if self._free:
            return self._free.pop()
        self._count += 1
        return f"t{self._count}"

    def _reusable(self, position: int, node: Node) -> Node | None:
        """Return an operand whose memory the result may take over."""
        if not (isinstance(node.fn, np.ufunc) and node.fn.nout == 1 and node.fn.signature is None and not node.kwargs):
            return None
        return next((p for p in node.parents if self._owned_until(p, position, node)), None)

    def _owned_until(self, x: Node, position: int, result: Node) -> bool:
        """Whether `x` is a temporary of ours, like `result`, that nothing needs after `position`."""
        return (
            x.fn is not None
            and bool(x.shape)
            and len(self._owners[x]) == 1
            and self._last_touch[x] == position
            and (x.shape, x.dtype) == (result.shape, result.dtype)
        )

    def _result(self, i: int, node: Node) -> str:
        """Return the expression of a result that aliases nothing and is C-contiguous."""
        name = self.operand(node)
        if node.is_constant:
            return f"{self.constant(np.asarray(node.value))}.copy()"
        if node.fn is None or len(self._owners[node]) > 1 or node in self.outputs[:i]:
            return f"{name}.copy()"
        layout_known = node.ndim < 2 or node.fn is np.broadcast_to or (node.fn is scatter and node.args[0] is None)
        return name if layout_known else f"{self.bind(np.ascontiguousarray)}({name})"

    # What expressions need

    def operand(self, node: Node) -> str:
        """Return the name of a value."""
        return self.constant(node.value) if node.is_constant else self._of[node]

    def number(self, node: Node, others: list[Any]) -> str:
        """Return a constant scalar next to arrays: an array of no dimensions, which NumPy takes fastest."""
        return self.constant(number_operand(node.value, others))

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        if isinstance(value, np.ndarray) and value.ndim == 0:
            key: Any = (value.dtype.str, repr(value[()]))
        else:
            key = id(value)
        if key not in self._bound:
            name = f"c{len(self.comments)}"
            kind = f"array {value.shape} {value.dtype}" if getattr(value, "ndim", 0) else repr(value)
            self.comments.append(f"# {name}: {kind.splitlines()[0]}")
            self._bound[key] = name
            self._kept.append(value)
            self.names[name] = value
        return self._bound[key]

    def bind(self, fn: Any, check: Node | None = None) -> str:
        """Return the name of a function."""
        key = (fn, None if check is None else (check.shape, check.dtype))
        if key not in self._bound:
            target = implementation(fn) if check is None else _checked(fn, check.shape, check.dtype)
            name = _name(fn)
            while name in self.names or name in ("v", "run"):
                name += "_"
            self._bound[key] = name
            self.names[name] = target
        return self._bound[key]

    def function(self, node: Node) -> str:
        """Return the name of a node's function, checked at run time if it is a stranger."""
        module = str(getattr(node.fn, "__module__", "")).split(".")[0]
        known = is_ufunc(node.fn) or is_numpy(node.fn) or module in _OURS
        return self.bind(node.fn, None if known else node)


def _live(outputs: list[Node]) -> list[Node]:
    """Return the nodes that `outputs` need, in an order of execution."""
    found = set(outputs)
    pending = list(outputs)
    while pending:
        for parent in pending.pop().parents:
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return sorted(found, key=lambda node: node.index)


def _name(fn: Any) -> str:
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}_{fn.__name__}"
    name = "".join(c if c.isalnum() else "_" for c in getattr(fn, "__name__", type(fn).__name__)).strip("_")
    module = str(getattr(fn, "__module__", "")).split(".")
    return f"{module[1]}_{name}" if module[0] == "numpy" and len(module) > 1 and module[1] in ("linalg", "fft") else f"f_{name}" if not is_numpy(fn) and not is_ufunc(fn) else name


def _checked(fn: Any, shape: Any, dtype: Any) -> Any:
    """Return `fn`, a function we know nothing of, with its promise checked: this shape and dtype."""

    def call(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        if np.shape(result) != shape or np.result_type(result) != dtype:
            raise CannotRecord(f"`{fn.__name__}` returned another shape or dtype than when it was recorded")
        return result

    return call

