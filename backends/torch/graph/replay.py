"""Replay: a program recorded once, then run as straight-line Python. The default for torch.

Knows: the passes from program to function.
Must not know: what any of them does.
"""

from dataclasses import dataclass
from functools import cache

from torch import fx

from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.torch.graph.emit import emit
from diffface.backends.torch.graph.lowering import lower
from diffface.backends.torch.graph.simplify import simplify
from diffface.backends.torch.graph.trace import trace


@dataclass(frozen=True, slots=True, repr=False)
class Replay:
    """A recorded program, to look at or to go on with.

    Attributes
    ----------
    module : GraphModule
        The graph, a callable by itself.
    source : str
        The Python function that runs it; lower-case letters with numbers are its constants.
    run : callable
        That function.
    """

    module: fx.GraphModule
    source: str
    run: Program

    def __call__(self, *inputs: Array) -> Arrays:
        return self.run(*inputs)

    def __repr__(self) -> str:
        return f"<replay of {len(self.module.graph.nodes)} nodes>\n{self.source}"


def replay(program: Program, examples: Arrays) -> Compiled:
    """Record ``program`` and make it straight-line Python.

    Parameters
    ----------
    program : callable
        ``program(*inputs) -> tuple of tensors``.
    examples : tuple of Tensor
        Give shape, dtype and device of every input.

    Returns
    -------
    Compiled
        With strategy ``"replay"``; ``native`` is a `Replay`.

    Raises
    ------
    CannotRecord
        If the program depends on values.
    """
    module = trace(program, examples)
    simplify(module)
    return replay_graph(module)


def replay_graph(module: fx.GraphModule) -> Compiled:
    """Make straight-line Python of a recorded and simplified program; ``module`` is changed."""
    lower(module)
    source, run = emit(module)

    @cache
    def into(places: tuple[int, ...]) -> Program:
        return emit(module, places)[1]

    return Compiled(run, "replay", Replay(module, source, run), into=into)
