"""Derivatives at a point that stays while tangents or cotangents change."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from diffface.backends.adapter import Adapter, Pull
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.errors import MissingRuleError
from diffface.operators import calculus
from diffface.operators.call import backend_for, refuse
from diffface.operators.options import PointOptions, settings
from diffface.operators.pullback import PULLBACK
from diffface.operators.pushforward import PUSHFORWARD
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.arguments.bind import bind
from diffface.prep.carry import Kept
from diffface.prep.deferred import attached
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Operator, Part, Recipe
from diffface.prep.plan import plan_for
from diffface.prep.result import fresh, to_caller


class FixedPoint:
    """``f`` at copies of its arguments, so that the caller may overwrite them afterwards.

    Parameters
    ----------
    operator : Operator
        Whose checks of arguments apply.
    name : str
        The function that the user called.
    f, args, options
        As the user gave them.
    """

    def __init__(
        self, operator: Operator, name: str, f: Callable[..., Any], args: Sequence[object],
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        if not callable(f):
            refuse(f)
        allowed = PointOptions.__optional_keys__
        recipe = Recipe(operator, (1,), f, settings(options, allowed, name))
        call = bind(args, options.get("argnums"), options.get("kwargs"))
        backend = backend_for(options.get("backend"), call)
        self._plan, primals, constants = plan_for(recipe, backend, call)
        self.adapter: Adapter = self._plan.inner
        self.signature = self._plan.signature
        self.structure = OutputStructure()
        self._f = f
        self._kept: Kept | None = None
        self.traced = self._plan.is_traced(primals, constants)
        if self._plan.defers:
            primals, constants, found = attached(self.adapter, primals, constants, copy=True)
            self.traced |= found
        with self.scope():
            self.x, c = self._plan.to_backend(primals, constants, copy=True, traced=self.traced)
        self._kept = self._plan.keep(c)
        self.f = self._plan.flat(f, c, self.structure)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Where anything of this point has to be computed."""
        following = self.adapter.following(self._f, self.traced)
        with self.adapter.scope(self._plan.dtypes), following:
            yield
            if self._kept is not None:
                self._kept.check(self._f)

    def sees(self, seeds: object) -> bool:
        """Whether ``seeds`` carry a derivative of the caller's."""
        self.traced |= self._plan.seeds_traced(seeds)
        return self.traced

    def result(self, part: Part, arrays: Arrays) -> Any:
        """A part of the result as the user sees it."""
        signature = self.signature
        like_x = [(leaf.library, leaf.device) for leaf in signature.primals]
        targets = like_x if part is Part.LIKE_X else [signature.result_library()] * len(arrays)
        return self._plan.result.part(part, self._taken(arrays, targets), self.structure)

    def with_aux(self, y: Arrays, derivative: Any, aux: Arrays) -> Any:
        """``(y, derivative)``, and aux where ``f`` returns it."""
        value = self.result(Part.VALUE, y)
        if not self._plan.settings.has_aux:
            return value, derivative
        taken = self._taken(aux, [self.signature.result_library()] * len(aux))
        return value, derivative, self._plan.result.aux(taken, self.structure)

    def _taken(self, arrays: Arrays, targets: Sequence[tuple[ArrayLibrary, Hashable]]) -> list[Any]:
        own = self.adapter.arrays
        return [
            to_caller(fresh(array, own), own, target, device)
            for array, (target, device) in zip(arrays, targets, strict=True)
        ]


def linearize(f: Callable[..., Any], /, *args: Any, **options: Unpack[PointOptions]) -> Any:
    """Value of a function, and its pushforward at that point for many directions.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
        They are copied: the caller may overwrite them afterwards.
    **options : PointOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``.

    Returns
    -------
    y : tree of arrays
        ``f(*args)``.
    pushforward : callable
        ``pushforward(tangents, batched=False, chunk_size=None)`` is ``J tangents``, like ``y``.
        Where the backend has a reverse mode, ``f`` is not evaluated again.
    aux : tree
        With ``has_aux`` only.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> y, push = dif.linearize(lambda x: x**2, np.array([1.0, 2.0]), backend="autograd")
    >>> push(np.array([1.0, 0.0])), push(np.array([0.0, 1.0]))
    (array([2., 0.]), array([0., 4.]))
    """
    point = FixedPoint(PUSHFORWARD, "linearize", f, args, options)
    adapter = point.adapter
    push: Pull | None = None
    with point.scope():
        try:
            if adapter.reverse:
                y, push, aux = adapter.linearize(point.f, point.x)
        except MissingRuleError:  # no reverse mode: each direction evaluates f anew
            pass
        if push is None:
            y, aux = point.f(point.x)

    def run(dx: Arrays, batched: bool, chunk_size: int | None) -> Arrays:
        if push is not None:
            return adapter.batch(push, dx, chunk_size) if batched else push(dx)
        if batched:
            pushed = adapter.pushforwards(point.f, point.x, dx, chunk_size=chunk_size, value=False)
            return pushed[1]
        return adapter.pushforward(point.f, point.x, dx, value=False)[1]

    def pushforward(tangents: Any, *, batched: bool = False, chunk_size: int | None = None) -> Any:
        """``J tangents`` at the point of linearisation; ``batched`` adds a leading axis."""
        lead, traced = _seeds.Lead(batched=batched), point.sees(tangents)
        with point.scope():
            dx = _seeds.tangents(tangents, point.signature, adapter.arrays, lead, traced)
            dy = run(dx, batched, chunk_size)
            return point.result(Part.LIKE_Y, dy)

    return point.with_aux(y, pushforward, aux)


def vjp(f: Callable[..., Any], /, *args: Any, **options: Unpack[PointOptions]) -> Any:
    """Value of a function, and its pullback at that point for many cotangents.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
        They are copied: the caller may overwrite them afterwards.
    **options : PointOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``.

    Returns
    -------
    y : tree of arrays
        ``f(*args)``.
    pullback : callable
        ``pullback(cotangents, batched=False, chunk_size=None)`` is ``J^H cotangents``, like the
        active arguments. Where the backend has a reverse mode, ``f`` is not evaluated again.
    aux : tree
        With ``has_aux`` only.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> y, pull = dif.vjp(lambda x: x**2, np.array([1.0, 2.0]), backend="autograd")
    >>> pull(np.array([1.0, 0.0])), pull(np.array([0.0, 1.0]))
    (array([2., 0.]), array([0., 4.]))
    """
    point = FixedPoint(PULLBACK, "vjp", f, args, options)
    adapter = point.adapter
    with point.scope():
        y, pull, aux = calculus.pullback(adapter, point.f, point.x)
    # f may be evaluated again below, at stencil points; what it returned here is what counts.
    structure, leaves = point.structure.y, point.structure.y_leaves

    def pullback(cotangents: Any, *, batched: bool = False, chunk_size: int | None = None) -> Any:
        """``J^H cotangents`` at the fixed point; ``batched`` adds a leading axis."""
        lead, traced = _seeds.Lead(batched=batched), point.sees(cotangents)
        with point.scope():
            dy = _seeds.cotangents(cotangents, structure, leaves, adapter.arrays, lead, traced)
            dx = adapter.batch(pull, dy, chunk_size) if batched else pull(dy)
            return point.result(Part.LIKE_X, dx)

    return point.with_aux(y, pullback, aux)
