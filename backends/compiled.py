"""What an adapter's compiler hands back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

Array = Any
Arrays = tuple[Any, ...]
Program = Callable[..., Arrays]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A cheaper call that the fast path may make instead of ``run``.

    It calls ``direct`` while ``holder.attribute`` is ``wanted``, and else ``direct`` within
    ``scope(wanted)``.
    """

    direct: Program
    holder: object
    attribute: str
    wanted: bool
    scope: Callable[[bool], AbstractContextManager[object]]


class Direct(Protocol):
    """A program without the looks at its inputs that `Compiled.run` begins with.

    Attributes
    ----------
    run : callable
        For inputs that are known.
    knows : callable
        ``knows(*inputs)`` is true only where they, and all else that the guards of single arrays
        and ``Compiled.run`` look at, are as at the last `meet`. It takes whatever it is given.
    """

    run: Program
    knows: Callable[..., bool]

    def meet(self, *inputs: Array) -> None:
        """Know inputs like these, which have passed the guards, if ``run`` can take them."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program made ready to run often.

    Attributes
    ----------
    run : callable
        ``run(*inputs) -> tuple of outputs``, arrays of the adapter's own kind. Re-entrant; its
        outputs are fresh (they alias no input, no constant, no earlier result, not each other),
        C-contiguous and writable wherever the library's arrays can be.
    strategy : str
        ``"xla"``, ``"replay"``, ``"inductor"``, ``"program"``, ``"stencil"`` or ``"eager"``.
    native : object
        The framework's own callable, for those who want to look or to go on without diffface.
    shortcut : Shortcut, optional
        What the fast path may call in place of ``run``.
    direct : Direct, optional
        The same, for inputs like earlier ones.
    into : callable, optional
        ``into(places)`` is ``run`` with arrays for the outputs at ``places`` as further inputs. It
        writes these outputs there, and nowhere else, and returns the arrays in their places. They
        have the outputs' shapes and dtypes, and share no memory with anything
        (`ArrayLibrary.view_for_output`).
    many : callable, optional
        ``many(moving, size)`` is the same at ``size`` points: inputs where ``moving`` is true have
        them as their first axis, and so have all outputs. It raises CannotRecord where an operation
        cannot be computed so.
    draws : bool
        Whether it draws random numbers anew at every call.
    taken : callable, optional
        ``taken(output)`` is an output that nobody else has as an array of NumPy, which may be
        written to, in the same memory.
    """

    run: Program
    strategy: str
    native: object
    shortcut: Shortcut | None = None
    direct: Direct | None = None
    into: Callable[[tuple[int, ...]], Program] | None = None
    many: "Callable[[tuple[bool, ...], int], Compiled] | None" = None
    draws: bool = False
    taken: Callable[[Array], Any] | None = None

    def run_by(
        self, run: Program, into: Callable[[tuple[int, ...]], Program] | None = None
    ) -> "Compiled":
        """The same, run in another way, and without the ways that this one has besides."""
        return replace(self, run=run, shortcut=None, direct=None, into=into, many=None, taken=None)
