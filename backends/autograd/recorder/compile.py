"""From a graph to a function, by way of its source."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.many import batched
from diffface.backends.autograd.recorder.program import Writer, live
from diffface.backends.compiled import Compiled, Program
from diffface.backends.recording.names import code


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
    source, run = _compile(Writer(inputs, outputs))

    @cache
    def into(places: tuple[int, ...]) -> Program:
        return _compile(Writer(inputs, outputs, places))[1]

    def many(moving: tuple[bool, ...], size: int) -> Compiled:
        return compile_graph(*batched(inputs, outputs, live(outputs), moving, size))

    return Compiled(run, "program", SourceProgram(source, run), into=into, many=many)


def compile_watched(
    inputs: list[Node], outputs: list[Node], watch: Node | None, general: Compiled
) -> Compiled:
    """Compile outputs that may be used if a number is finite; else the general program runs."""
    source, run = _compile(Writer(inputs, outputs, watch=watch, general=general.run))
    return replace(general, run=run, native=SourceProgram(source, run))


def _compile(writer: Writer) -> tuple[str, Program]:
    """Return the source and the function."""
    source = writer.write()
    compiled = code(source, "<diffface recorded program>")
    exec(compiled, writer.names.bound.namespace)  # noqa: S102  # our own: names and calls, no user's text
    run: Any = writer.names.bound.namespace["run"]
    return source, run
