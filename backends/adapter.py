"""The protocol that a backend implements: how it differentiates, compiles and carries arrays."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import UnsupportedOperatorError
from diffface.backends.generic import (
    Function,
    Part,
    Pull,
    Some,
    basis,
    gradient_by_basis,
    loop,
    pull_by_basis,
    push_batch,
    push_by_rows,
    push_by_transposing,
    side_by_side,
    size,
    typed,
)
from diffface.backends.rule import Rule
from diffface.backends.surroundings import Surroundings

__all__ = ["Adapter", "Function", "Pull", "Where"]

# Rows and columns of entries.
Where = Callable[[], tuple[Any, Any]]


class Adapter(Surroundings, ABC):
    """A backend. Subclasses are final frozen dataclasses; their fields, hashable, are its options.

    A subclass must say four things: `xp`, `arrays`, `lift`, and one of `pushforward` and
    `pullback`. All else has a default that is right, and is overridden where the library can do
    better. An adapter sees flat tuples of arrays of its own library, and nothing of users' trees,
    constants, devices or other arrays. What a framework does around a call, few of them need to
    know of: see `Surroundings`.

    Laws
    ----
    The shared conformance suite checks, for every adapter and every ``f`` it can differentiate:

    * *Adjoint.* ``Re<dy, pushforward(dx)> == Re<pull(dy), dx>``, complex arrays included.
    * *Linear.* Both primitives are linear in ``dx`` and ``dy``.
    * *Batch.* ``batch(call, seeds)`` equals the stack of single calls.
    * *Pure.* Neither writes to an array it was given; ``pull`` may be called any number of times.
    * *Dtype.* ``dx`` has the dtype and shape of ``x``, ``dy`` those of ``y``.
    * *Total.* A leaf that ``f`` ignores gives zeros, never None.
    * *Nest.* Where ``second_order`` names the adapter itself, ``f`` may call its primitives.
    * *Build.* ``build(p, e).run(*v) == p(*v)`` for every ``v`` of the signature of ``e``.

    Attributes
    ----------
    arrays : ArrayLibrary
        The arrays it computes with.
    forward, reverse : bool
        Which of the two primitives the subclass implements itself.
    black_box : bool
        Whether ``f`` may be any NumPy function, so that it can differentiate another backend's
        gradient.
    library : str
        The distribution to report the version of; by default the name of `arrays`.
    batching : str
        How a batch is computed in a compiled program: ``"vectorized"`` where the program is the
        same for any length, ``"unrolled"`` where it grows with it, ``"loop"`` where nothing is
        recorded, ``"in step"`` where in such a loop many points are evaluated at once.
    loops : bool
        Whether a compiled program can compute the chunks of a batch in a loop of its own.
    """

    arrays: ClassVar[ArrayLibrary]
    forward: ClassVar[bool] = False
    reverse: ClassVar[bool] = False
    black_box: ClassVar[bool] = False
    loops: ClassVar[bool] = False
    library: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        pushes = (cls.pushforward, cls.pushforwards)
        cls.forward = pushes != (Adapter.pushforward, Adapter.pushforwards)
        cls.reverse = cls.pullback is not Adapter.pullback
        if not hasattr(cls, "library") and hasattr(cls, "arrays"):
            cls.library = cls.arrays.name

    @property
    @abstractmethod
    def xp(self) -> Any:
        """The namespace (array API names) whose functions this backend differentiates."""

    @abstractmethod
    def lift(self, value: object, like: Array) -> Array:
        """One output of ``f`` as an array; numbers and foreign constants get zero derivative.

        Raises
        ------
        TypeError
            If ``value`` is neither an array nor a number.
        """

    @property
    def batching(self) -> str:
        """How a batch is computed; see above."""
        return "loop"

    # The two primitives: a subclass implements one of them, or both.

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        """``(y, J dx, aux)``; ``y`` and ``aux`` may be empty when ``value`` is false."""
        y, push, aux = self.linearize(f, x)
        return y, push(dx), aux

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        """``(y, dy -> J^H dy, aux)``; ``y`` and ``aux`` may be empty when ``value`` is false."""
        if not self.forward:
            raise TypeError(f"{type(self).__name__} must implement `pushforward` or `pullback`.")
        return pull_by_basis(self, f, x, value)

    # What follows from them.

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        """``call`` on every slice of ``seeds``, stacked; at most ``chunk_size`` at a time."""
        return loop(call, seeds, self.xp)

    def at_points(self, call: Pull, points: Arrays, chunk_size: int | None = None) -> Arrays:
        """``call``, which derives a function at one point, at many; `batch` takes one evaluation.

        It is asked where `batching` is not a loop over the points.
        """
        return self.batch(call, points, chunk_size)

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        """``pushforward`` along every slice of ``seeds``.

        Backends whose `batch` does not call in turn override it, so that ``y`` is computed once.
        """
        return push_batch(self, f, x, seeds, chunk_size, value)

    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True,
        part: Part | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        """``pushforwards`` along all unit vectors of the space of ``x``, or along a part of them.

        Backends that move along one coordinate at less cost than along a direction override it.
        """
        seeds = basis(self, x, part=part)
        return self.pushforwards(f, x, seeds, chunk_size=chunk_size, value=value)

    def repeated(self, call: Some) -> Some:
        """``call``, which is about to be called at many places: here, as it is."""
        return call

    def linearize(self, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
        """``(y, dx -> J dx, aux)`` from pullbacks alone, with one evaluation of ``f``."""
        if not self.reverse:
            raise TypeError(f"{type(self).__name__} must implement `pushforward` or `pullback`.")
        nests = self.second_order()[0] == self
        return (push_by_transposing if nests else push_by_rows)(self, f, x)

    def compressed(
        self, f: Function, x: Arrays, seeds: Arrays, *, value: bool = True, derived: bool = False
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays]:
        """``(y, dy, moves, aux)`` along ``seeds`` of zeros and ones, as one batch.

        They are of any dtype, and constants: they tell where a program that is traced will run.
        No element of ``y`` depends on two coordinates of one seed. Backends that take differences
        move each coordinate by a length of its own; these are the ``moves``, by which the elements
        of ``dy`` have still to be divided. The others return None for them. Where ``f`` is a
        derivative itself (``derived``), most of the work is the same along all directions.
        """
        y, dy, aux = self.pushforwards(f, x, typed(seeds, x, self.xp), value=value)
        return y, dy, None, aux

    def entries(
        self, f: Function, x: Arrays, seeds: Arrays, index: Array, where: Where, *,
        value: bool = True, derived: bool = False,
    ) -> tuple[Arrays, Array, Arrays | None, Arrays]:  # fmt: skip
        """``(y, entries, moves, aux)``: elements of what `compressed` gives, side by side.

        They are at ``index`` there, of an array of the library; ``where()`` returns the element of
        ``y`` that each belongs to and the coordinate of ``x`` that moves for it, as integers.
        """
        y, dy, moves, aux = self.compressed(f, x, seeds, value=value, derived=derived)
        return y, self.gather(side_by_side(dy, self.xp), index), moves, aux

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        """``(y, dx, aux)`` of a function with one real output of shape ``()``.

        It is the pullback of 1; backends that know a shorter way override it.
        """
        if not self.reverse:
            return gradient_by_basis(self, f, x, value)
        y, pull, aux = self.pullback(f, x, value=value)
        return y, pull((self.xp.ones_like(y[0]) if y else 1.0,)), aux

    def gather(self, flat: Array, index: Array) -> Array:
        """Elements of an array of one axis at indices that are all within it."""
        return self.xp.take(flat, index, axis=0)

    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array:
        """Ones where ``row == column + offset``, of the dtype and device of ``like``."""
        _, dtype, device = self.arrays.describe(like)
        return self.arrays.from_numpy(np.eye(rows, columns, -offset, dtype), device)

    # What a library can do besides.

    def build(self, program: Program, examples: Arrays) -> Compiled:
        """Make ``program`` ready to run often on arrays like ``examples``: here, as it is.

        Raises
        ------
        CannotRecord
            If the program depends on values; it then has to run eagerly.
        """

        def run(*inputs: Array) -> Arrays:
            return tuple(map(self.arrays.fresh, program(*inputs)))

        return Compiled(run, "eager", program)

    def awaited(self, program: Program) -> Program:
        """``program``, to be built for calls that wait for its results: here, as it is."""
        return program

    def check_record(self, f: Program, examples: Arrays) -> None:
        """Raise Disagreement if a recording of ``f`` gives other results than a plain call.

        A preparation asks it after `build`, of the user's function alone. Backends override it
        whose `build` does not compare the whole program, because that would cost too much.
        """

    def second_order(self) -> tuple["Adapter", "Adapter"]:
        """``(outer, inner)``: who differentiates the derivative that inner computes."""
        return self, self

    def dependence(self, program: Program, examples: Arrays, primals: int, order: int) -> Any:
        """The pattern of a derivative, valid at every point: see `recording.report.Found`.

        ``program(*primals, *constants)`` returns the outputs; the first ``primals`` of
        ``examples`` are active. ``order`` is 1 for its Jacobian, 2 for the Hessian of its one
        output. Backends whose operations can be read override it: here everything depends on
        everything.

        Raises
        ------
        CannotRecord
            If the program depends on values.
        SparsityError
            If the pattern would be dense and large, or cannot be found.
        """
        from diffface.backends.recording.report import dense

        columns = sum(map(size, examples[:primals]))
        rows = columns if order == 2 else sum(map(size, program(*examples)))
        return dense(rows, columns, f"the backend {self!r}, which shows no structure")

    def first_order(self) -> "Adapter":
        """Who computes first derivatives: itself."""
        return self

    def outside(self) -> "Adapter":
        """Who differentiates the derivative that another adapter computes: itself."""
        return self

    def within(self, lower: np.ndarray[Any, Any], upper: np.ndarray[Any, Any]) -> "Adapter":
        """Who keeps evaluations within bounds, shape (n,): itself, if it leaves ``x`` nowhere."""
        return self

    def inside(self, x: Arrays) -> Arrays:
        """NumPy arrays like the primals, reflected at the bounds where they are beyond them."""
        return x

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        """``rule`` at ``x`` as one operation, whose derivatives the rule states.

        Raises
        ------
        UnsupportedOperatorError
            If the backend has no way to be told derivatives, as by default.
        """
        raise UnsupportedOperatorError(
            f"The backend {type(self).__name__} takes no rules for derivatives, such as those of "
            f"`{rule.name}`; write the function without, or use another backend."
        )

    def scratch(self, shape: tuple[int, ...], x: Arrays) -> Any:
        """Zeros of ``shape``, of the dtype of all of ``x``, for a function of ``x`` to write to.

        Where arrays of the library cannot be written to, a `Mutable`.
        """
        return self.xp.zeros(shape, dtype=self.xp.result_type(*x))

    def written(self, f: Callable[[], Array], memory: Sequence[Any]) -> Array:
        """``f()``, which writes to ``memory``, a list of what `scratch` made meanwhile."""
        return f()
