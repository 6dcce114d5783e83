"""The protocol that a backend implements: two primitives, and how to compile and carry arrays.

Everything else (gradients, Jacobians, Hessians, batching of trees, ...) is derived from these once,
for all backends. An adapter sees flat tuples of arrays of its own library, and nothing of users'
trees, constants, devices or array kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.basis import basis
from diffface.backends.compiled import Array, Arrays, Compiled, Program

# x -> (y, aux): both flat tuples of arrays; aux is carried along and not differentiated.
# Where `f.direct` exists and is not None, it is the same function of the one array in x, returning
# its one number as it comes, unchecked: for backends that evaluate f very often.
Function = Callable[[Arrays], tuple[Arrays, Arrays]]


class Pull(Protocol):
    """``dy -> dx``; with ``batched`` every leaf has a leading batch axis."""

    def __call__(
        self, dy: Arrays, /, *, batched: bool = False, chunk_size: int | None = None
    ) -> Arrays: ...


class Adapter(ABC):
    """A backend. Subclasses are final frozen dataclasses; their fields, hashable, are its options.

    Laws
    ----
    The shared conformance suite checks, for every adapter and every ``f`` it can differentiate:

    * *Adjoint.* ``Re<dy, pushforward(dx)> == Re<pull(dy), dx>``, complex arrays included.
    * *Linear.* Both primitives are linear in ``dx`` and ``dy``.
    * *Batch.* A batched call equals the stack of single calls.
    * *Pure.* Neither writes to an array it was given; ``pull`` may be called any number of times.
    * *Dtype.* ``dx`` has the dtype and shape of ``x``, ``dy`` those of ``y``.
    * *Total.* A leaf that ``f`` ignores gives zeros, never None.
    * *Nest.* Where ``second_order`` names the adapter itself, ``f`` may call its primitives.
    * *Build.* ``build(p, e).run(*v) == p(*v)`` for every ``v`` of the signature of ``e``.

    Attributes
    ----------
    forward, reverse : bool
        Which of the two primitives the backend has.
    black_box : bool
        Whether ``f`` may be any NumPy function, so that it can differentiate another backend's
        gradient.
    kind : ArrayLibrary
        The arrays it computes with.
    library : str
        The library to report the version of.
    """

    forward: ClassVar[bool]
    reverse: ClassVar[bool]
    black_box: ClassVar[bool]
    kind: ClassVar[ArrayLibrary]
    library: ClassVar[str]

    @property
    @abstractmethod
    def xp(self) -> Any:
        """The namespace (array API names) whose functions this backend differentiates."""

    @abstractmethod
    def pushforward(
        self,
        f: Function,
        x: Arrays,
        dx: Arrays,
        *,
        batched: bool = False,
        chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """``(y, J dx, aux)``; ``y`` and ``aux`` may be empty when ``value`` is false."""

    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        """``pushforward`` along all unit vectors of the space of ``x``, as one batch.

        Backends that move along one coordinate at less cost than along a direction override it.
        """
        seeds = basis(self, x)
        return self.pushforward(f, x, seeds, batched=True, chunk_size=chunk_size, value=value)

    @abstractmethod
    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        """``(y, dy -> J^H dy, aux)``; ``y`` and ``aux`` may be empty when ``value`` is false."""

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        """``(y, dx, aux)`` of a function with one real output of shape ``()``.

        It is the pullback of 1; backends that know a shorter way override it.
        """
        y, pull, aux = self.pullback(f, x, value=value)
        return y, pull((self.xp.ones_like(y[0]) if y else 1.0,)), aux

    @abstractmethod
    def build(self, program: Program, examples: Arrays) -> Compiled:
        """Make ``program`` ready to run often on arrays like ``examples``.

        Raises
        ------
        CannotRecord
            If the program depends on values; it then has to run eagerly.
        """

    @abstractmethod
    def lift(self, value: object, like: Array) -> Array:
        """One output of ``f`` as an array; numbers and foreign constants get zero derivative.

        Raises
        ------
        TypeError
            If ``value`` is neither an array nor a number.
        """

    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array:
        """Ones where ``row == column + offset``, of the dtype and device of ``like``."""
        return self.xp.eye(rows, columns, k=-offset, dtype=like.dtype)

    @abstractmethod
    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        """What a call on arrays of ``dtypes`` needs of the library's global state, and no longer.

        Arrays are brought to the backend inside it.
        """

    def first_order(self) -> "Adapter":
        """Who computes first derivatives: itself."""
        return self

    def outside(self) -> "Adapter":
        """Who differentiates the derivative that another adapter computes: itself."""
        return self

    @abstractmethod
    def second_order(self) -> tuple["Adapter", "Adapter"]:
        """``(outer, inner)``: who differentiates the derivative that inner computes."""

    def explain(self, error: Exception) -> str | None:
        """What the user should know, if ``error`` is this library's cry for a portable function."""
        return None

    def subtree(self, value: object) -> tuple[tuple[object, ...], Callable[[Any], object]] | None:
        """Children of ``value`` and how to rebuild it, if the library registers it as a tree."""
        return None
