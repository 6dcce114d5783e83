"""The plan of a call: everything that its signature determines."""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.numpy_arrays import NUMPY, PYTHON
from diffface.backends.registry import Backend
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.arguments.axes import Axes, split, stacked
from diffface.prep.arguments.bind import Call, describe
from diffface.prep.arguments.seeds import Lead
from diffface.prep.arguments.signature import Argument, Leaf, Signature, by_value, parameter
from diffface.prep.carry import Kept, any_traced, check_carried, constants_to, primals_to
from diffface.prep.deferred import may_defer
from diffface.prep.flat_function import FlatFunction, OutputStructure
from diffface.prep.operator import Operator, Recipe, Seeds, Settings
from diffface.prep.points import Points
from diffface.prep.result import Result
from diffface.prep.validate import check_mode, find_problem


def plan_for(
    recipe: Recipe, backend: Backend, call: Call
) -> tuple["Plan", Sequence[Any], Sequence[Any]]:
    """The plan for a call, with the leaves of its primals and constants.

    Raises
    ------
    NotDifferentiableError, InvalidArgumentError
        If its arguments cannot be differentiated.
    """
    operator, wanted, f, settings, in_axes = recipe
    arguments, primals, constants = describe(call)
    axes: Axes | None = None
    if in_axes is not None:
        arguments, axes = split(arguments, call, in_axes, partial(parameter, f))
    # Trees and static constants are compared by code of the user's, so that a plan for one of them
    # is never taken for another.
    known = True
    for spec, leaves in arguments:
        if spec is not None or type(leaves[0]) is not Leaf:
            known = False
    make = _known_plan if known else _plan
    plan = make(operator, wanted, backend, settings, arguments, *call[1:], axes)
    if plan.problem is not None:
        raise plan.problem.said_of(f, plan.signature)
    return plan, primals, constants


class Plan:
    """Everything that follows from the signature of a call: from neither its values nor ``f``.

    Parameters
    ----------
    operator : Operator
        What to derive.
    wanted : tuple of int
        Which of the operator's parts are asked for.
    signature : Signature
        The arguments.
    backend : Adapter or SecondOrder
        Who derives.
    settings : Settings
        Options.
    axes : Axes, optional
        Where the points are, if there are many; the signature is that of one.

    Attributes
    ----------
    inner, outer : Adapter
        Who computes first derivatives, and who differentiates those; the same for first order.
    problem : Problem or None
        Why the arguments cannot be differentiated, if they cannot.
    result : Result
        The trees of the result.
    device : hashable
        Where NumPy arrays go: to the first array of the framework.
    dtypes : list of dtype
        What the scope of ``inner``, in which everything is computed, must allow.
    value : bool
        Whether anything besides the last part is asked for.
    defers : bool
        Whether there may be a model whose variables the results carry derivatives of.
    follows : bool
        Whether the adapter may have something to follow while ``f`` is evaluated.
    may_trace : bool
        Whether an argument may carry a derivative of the caller's.
    """

    __slots__ = (
        "_given_settings", "_native", "axes", "backend", "defers", "device", "dtypes", "follows",
        "inner", "lead", "may_trace", "operator", "outer", "points", "problem", "result",
        "settings", "signature", "value", "wanted",
    )  # fmt: skip

    def __init__(
        self, operator: Operator, wanted: tuple[int, ...], signature: Signature, backend: Backend,
        settings: Settings, axes: Axes | None = None,
    ) -> None:  # fmt: skip
        self.operator = operator
        self.wanted = wanted
        self.signature = signature
        # Of many points, as many are computed at once as there would be directions of one.
        self.settings = settings if axes is None else settings._replace(chunk_size=None)
        self._given_settings = settings
        self.axes = axes
        self.lead = Lead(None if axes is None else axes.size, settings.batched)
        self.backend = backend
        self.inner: Adapter = backend.first_order()
        self.outer: Adapter = self.inner
        if operator.order == 2:
            self.outer, self.inner = backend.second_order()
        check_mode(settings.mode, self.outer)
        name = operator.names[wanted]
        self.problem = find_problem(signature, operator, name, settings.holomorphic, self.inner)
        self.points: Points | None = None
        if axes is not None:
            scope = lambda: self.inner.scope(self.dtypes)
            self.points = Points(axes, self.outer, self.inner, scope, settings.chunk_size)
        self.result = Result(
            operator, wanted, signature, settings.has_aux, self.outer.arrays, self.lead.points
        )
        self.value = len(wanted) > 1 or settings.has_aux
        # What a library or an adapter never does need not be asked at every call.
        self.follows = type(self.outer).following is not Adapter.following
        self.may_trace = False
        for leaf in signature.primals + signature.constants:
            if type(leaf.library).is_traced is not ArrayLibrary.is_traced:
                self.may_trace = True
        # Whether there is nothing but arrays of the backend's own, which need no conversion.
        self._native = not signature.constants
        for leaf in signature.primals:
            if leaf.library is not self.outer.arrays:
                self._native = False
        self.defers = self.outer.arrays.has_variables and may_defer(signature, self.outer)
        self.device: Hashable = None
        self.dtypes: list[np.dtype[Any]] = [p.dtype for p in signature.primals]
        for leaf in signature.constants:
            if leaf.library is not PYTHON:  # Python numbers promote nothing
                self.dtypes.append(leaf.dtype)
        for leaf in signature.primals + signature.constants:
            if leaf.library is self.inner.arrays:
                self.device = leaf.device
                break

    def by_value(self, constants: Sequence[Any]) -> tuple["Plan", Sequence[Any]]:
        """The plan in which Python numbers among ``constants`` are static, and the others."""
        signature, rest = by_value(self.signature, constants)
        settings, axes = self._given_settings, self.axes
        if axes is not None:
            axes = axes.of_numbers_left_out(self.signature.constants)
        return Plan(self.operator, self.wanted, signature, self.backend, settings, axes), rest

    def is_traced(
        self, primals: Sequence[Any], constants: Sequence[Any], seeds: object = None
    ) -> bool:
        """Whether an array that came carries a derivative of the caller's, or stands for values.

        Raises
        ------
        NotDifferentiableError
            If the backend does not see it.
        """
        found = False
        for value, leaf in zip(primals, self.signature.primals, strict=True):
            if leaf.library.is_traced(value):
                found = check_carried(leaf.library, self.inner, self.outer)
        for value, leaf in zip(constants, self.signature.constants, strict=True):
            if leaf.library.is_traced(value):
                found = check_carried(leaf.library, self.inner, self.outer)
        return found or (seeds is not None and self.seeds_traced(seeds))

    def seeds_traced(self, seeds: object) -> bool:
        """Like `is_traced`, of tangents or cotangents."""
        return any_traced(seeds, self.inner, self.outer)

    def to_backend(
        self, primals: Sequence[Any], constants: Sequence[Any], copy: bool = False,
        traced: bool = False,
    ) -> tuple[Arrays, Arrays]:  # fmt: skip
        """Primals and constants as arrays of the backends that take them.

        With ``copy`` they share no memory with what was given. Where any is ``traced``, those that
        are stay as they are.
        """
        own = self.outer.arrays
        if self._native and not copy and not traced:
            return tuple(map(own.detach, primals)), ()
        signature, device = self.signature, self.device if self.inner is self.outer else None
        return (
            primals_to(own, primals, signature.primals, device, copy, traced),
            constants_to(
                self.inner.arrays, constants, signature.constants, self.device, copy, traced
            ),
        )

    def tables(self, traced: bool = False) -> ArrayLibrary | None:
        """Whose arrays take the chunks of a Jacobian, where it is computed by chunks, here and now.

        NumPy's where the caller wants those, and arrays of the backend cannot be written to.
        """
        own = self.outer.arrays
        if self.settings.chunk_size is None or traced or self.outer.is_nested():
            return None
        wanted = {leaf.library for leaf in self.signature.primals}
        return NUMPY if wanted == {NUMPY} and not own.writable else own

    def keep(self, constants: Arrays) -> Kept | None:
        """Copies of the constants, where ``f`` is evaluated more than once."""
        return None if self.outer.reverse else Kept(self.signature, constants, self.inner.arrays)

    def flat(
        self, f: Callable[..., Any], constants: Arrays, structure: OutputStructure
    ) -> FlatFunction:
        """``f`` on flat arrays."""
        settings, scalar = self.settings, self.operator.scalar
        return FlatFunction(f, self.signature, constants, self.inner, structure, settings, scalar)

    def example_tangents(self, primals: Sequence[Any]) -> Any:
        """Tangents as the user would give them."""
        if self.axes is None:
            return self.signature.like_active(primals)
        return self.signature.like_active(
            [
                stacked(p.library).from_numpy(
                    np.ones((self.axes.size, *p.shape), p.dtype), p.device
                )
                for p in self.signature.primals
            ]
        )

    def seeds(self, given: object, structure: OutputStructure, traced: bool = False) -> Arrays:
        """The tangents or cotangents of a call as arrays, checked."""
        own, lead = self.outer.arrays, self.lead
        if self.operator.seeds is Seeds.NONE:
            return ()
        if self.operator.seeds is Seeds.TANGENTS:
            return _seeds.tangents(given, self.signature, own, lead, traced)
        return _seeds.cotangents(given, structure.y, structure.y_leaves, own, lead, traced)


def _plan(
    operator: Operator, wanted: tuple[int, ...], backend: Backend, settings: Settings,
    arguments: tuple[Argument, ...], keywords: tuple[str, ...], active: tuple[int, ...], bare: bool,
    axes: Axes | None,
) -> Plan:  # fmt: skip
    signature = Signature.of(arguments, keywords, active, bare)
    return Plan(operator, wanted, signature, backend, settings, axes)


# Remembered, since it depends on no value: neither of `f` nor of any array.
_known_plan = lru_cache(maxsize=256)(_plan)
