"""From a graph to Python source, and from source to a function.

The source is a straight line of NumPy calls on local variables: dead code is gone, and a temporary
that nobody needs any more lends its memory to the next result. It shares no state between calls, so
it may run in many threads at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.expressions import expression
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.into import into_lines
from diffface.backends.autograd.recorder.kernels import scatter
from diffface.backends.autograd.recorder.lifetimes import Lifetimes
from diffface.backends.autograd.recorder.names import Names
from diffface.backends.autograd.recorder.scattering import scatter_lines
from diffface.backends.compiled import Compiled, Program
from diffface.backends.recording.source import code


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

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Run the program."""
        return self.run(*inputs)

    def __repr__(self) -> str:
        return f"<recorded NumPy program of {self.source.count(chr(10))} lines; print its .source>"


def compile_graph(inputs: list[Node], outputs: list[Node]) -> Compiled:
    """Compile the part of a graph that leads from `inputs` to `outputs`."""
    source, run = _compile(inputs, outputs)

    @cache
    def into(places: tuple[int, ...]) -> Program:
        return _compile(inputs, outputs, places)[1]

    return Compiled(run, "program", SourceProgram(source, run), into=into)


def _compile(
    inputs: list[Node], outputs: list[Node], places: tuple[int, ...] = ()
) -> tuple[str, Program]:
    """Return the source and the function; it writes the outputs at `places` into more inputs."""
    writer = _Writer(inputs, outputs, places)
    source = writer.write()
    compiled = code(source, "<diffface recorded program>")
    exec(compiled, writer.names.globals)  # noqa: S102  # our own: names and calls, no user's text
    run: Program = writer.names.globals["run"]
    return source, run


class _Writer:
    """Writes the source of one program."""

    def __init__(
        self, inputs: list[Node], outputs: list[Node], places: tuple[int, ...] = ()
    ) -> None:
        self.names = Names(inputs)
        # Outputs that go into arrays which are given, those that are computed only there first.
        self._places = {i: f"o{i}" for i in places}
        self._given = {outputs[i]: name for i, name in reversed(self._places.items())}
        self._inputs = inputs
        self._outputs = outputs
        self._lives = Lifetimes(outputs)
        self._lines: list[str] = []

    def write(self) -> str:
        """Return the source."""
        for position, node in enumerate(self._lives.order):
            if node.fn is not None:
                self._write_statement(position, node)
        results = "".join(f"{self._result(i, node)}, " for i, node in enumerate(self._outputs))
        self._lines.append(f"return ({results.strip()})")
        arguments = [*(f"x{i}" for i in range(len(self._inputs))), *self._places.values()]
        head = f"def run({', '.join(arguments)}):"
        body = ("    " + line for line in self._lines)
        return "\n".join([*self.names.comments, head, *body, ""])

    def _write_statement(self, position: int, node: Node) -> None:
        name = self._given.get(node, "")
        if name and not self._lives.shares(node):
            self._lines += into_lines(self.names, node, name)
            self._release(position, node, None)
            self.names.local[node] = name
            return
        lender = self._lender(position, node)
        if node.fn is scatter:
            name, start = self._target(node, lender)
            self._lines += scatter_lines(self.names, node, name, start)
            self._release(position, node, lender)
        elif lender is not None:
            name = self.names.local[lender]
            self._lines.append(f"{expression(self.names, node)[:-1]}, {name})")
            self._release(position, node, lender)
        else:
            call = expression(self.names, node)
            self._release(position, node, None)
            name = self.names.variable()
            self._lines.append(f"{name} = {call}")
        self.names.local[node] = name

    def _lender(self, position: int, node: Node) -> Node | None:
        """Return an operand whose memory the result may take over."""
        candidates: tuple[Node, ...] = ()
        if node.fn is scatter and node.args[0] is not None:
            base = node.args[0]
            # The updates come one after the other, so none may be a view of what they change.
            if not any(self._lives.overlap(base, x) for _, x in node.args[3:]):
                candidates = (base,)
        elif isinstance(node.fn, np.ufunc) and node.fn.signature is None:
            # NumPy itself minds operands that overlap with the result.
            candidates = node.parents if node.fn.nout == 1 and not node.kwargs else ()
        may = self._lives.may_overwrite
        return next((x for x in candidates if may(x, position, node)), None)

    def _target(self, node: Node, lender: Node | None) -> tuple[str, str | None]:
        """Return the variable of a scattering, and the line that starts it."""
        if lender is not None:
            return self.names.local[lender], None
        name, base = self.names.variable(), node.args[0]
        return name, "" if base is None else f"{name} = {self.names.operand(base)}.copy()"

    def _release(self, position: int, node: Node, lender: Node | None) -> None:
        for parent in dict.fromkeys(node.parents):
            if parent is not lender and self._lives.last_use[parent] == position:
                self.names.release(parent)

    def _result(self, i: int, node: Node) -> str:
        """Return the expression of a result that aliases nothing and is C-contiguous."""
        if i in self._places:
            given = self._places[i]
            found = self.names.operand(node)
            if found != given:
                self._lines.append(f"{given}[...] = {found}")
            return given
        if node.is_constant:
            return f"{self.names.constant(np.asarray(node.value))}.copy()"
        name = self.names.operand(node)
        taken = node in self._given or node in self._outputs[:i]
        if node.fn is None or self._lives.shares(node) or taken:
            return f"{name}.copy()"
        from_zeros = node.fn is scatter and node.args[0] is None
        if node.ndim < 2 or from_zeros or node.fn is np.broadcast_to:
            return name
        return f"{self.names.bind(np.ascontiguousarray)}({name})"
