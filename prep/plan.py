"""The plan of a call: what its signature determines, and its eager evaluation."""

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import PYTHON, ArrayLibrary
from diffface.backends.compiled import Array, Arrays, Program
from diffface.backends.registry import Backend
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.arguments.axes import Axes, split, stacked
from diffface.prep.arguments.seeds import Lead
from diffface.prep.arguments.signature import (
    Argument,
    Call,
    Leaf,
    Signature,
    by_value,
    describe,
    parameter,
)
from diffface.prep.carry import constants_to, primals_to
from diffface.prep.deferred import attached, deferred, may_defer
from diffface.prep.flat_function import FlatFunction, OutputStructure
from diffface.prep.inner import Inner
from diffface.prep.kept import Kept
from diffface.prep.operator import Operator, Point, Recipe, Seeds, Settings
from diffface.prep.points import Points
from diffface.prep.result import Result, fresh
from diffface.prep.traced import any_traced, check_carried
from diffface.prep.validate import check_mode, find_problem

_NOTHING = nullcontext()


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
    """

    __slots__ = (
        "_follows", "_given_settings", "_may_trace", "_native", "axes", "backend", "defers",
        "device", "dtypes", "inner", "lead", "operator", "outer", "points", "problem", "result",
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
        self._follows = type(self.outer).following is not Adapter.following
        self._may_trace = False
        for leaf in signature.primals + signature.constants:
            if type(leaf.library).is_traced is not ArrayLibrary.is_traced:
                self._may_trace = True
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

    def evaluate(
        self, f: Callable[..., Any], primals: Sequence[Any], constants: Sequence[Any],
        seeds: object = None, out: object = None, flat: bool = False,
    ) -> Any:  # fmt: skip
        """The result as the user sees it, computed eagerly: no value is kept that could go stale.

        ``seeds`` are the tangents or cotangents as the user gave them; ``flat`` asks for the arrays
        of the result alone.
        """
        structure = OutputStructure()
        if out is not None:
            self.result.check_out(out, _seeds.batch_of(seeds, self.lead))
        traced = (self._may_trace or seeds is not None) and self.is_traced(
            primals, constants, seeds
        )
        if self.defers and (traced or self.outer.is_nested()):
            primals, constants, found = attached(self.outer, primals, constants)
            traced |= found
        following = self.outer.following(f, traced) if self._follows else _NOTHING
        with self.inner.scope(self.dtypes), following:
            given: Callable[[], Arrays] = tuple
            if self.operator.seeds is not Seeds.NONE:
                given = self._given(seeds, structure, traced)
            x, c = self.to_backend(primals, constants, traced=traced)
            if self.points is None:
                derived = self.derive(f, x, c, given, structure)
            else:
                if self.operator.seeds is Seeds.COTANGENTS:
                    self.results_at(f, x, c, structure)
                single = self._single(f, structure, None)
                derived = self.points.evaluate(single, (*x, *c, *given()), structure)
        outputs = []
        for output in derived:
            # Plain arrays carry no derivative; a call less for them, and none for a list.
            plain = type(output) is np.ndarray
            own = self.outer.arrays
            outputs.append(own.fresh(output) if plain else fresh(output, own))
        if flat:
            return tuple(outputs)
        if self.defers and not traced and out is None:
            return self.deferred(f, outputs, structure, primals, constants, seeds)
        like = self.result.like
        if like is not None and like.library is self.outer.arrays and out is None:
            return outputs[0]
        return self.result.assemble(tuple(outputs), structure, out)

    def deferred(
        self, f: Callable[..., Any], outputs: Sequence[Array], structure: OutputStructure,
        primals: Sequence[Any], constants: Sequence[Any], seeds: object,
    ) -> Any:  # fmt: skip
        """The result as the user sees it, with derivatives by variables of models in it."""
        if any(map(self.outer.arrays.is_traced, outputs)):
            # What f captures is followed, and variables together with that.
            primals, constants, found = attached(self.outer, primals, constants)
            if found:
                return self.evaluate(f, primals, constants, seeds)
        carried = self.carried(f, tuple(outputs), structure, primals, constants, seeds)
        return self.result.assemble(carried, structure)

    def carried(
        self, f: Callable[..., Any], outputs: Arrays, structure: OutputStructure,
        primals: Sequence[Any], constants: Sequence[Any], seeds: object,
    ) -> Arrays:  # fmt: skip
        """``outputs``, as they carry derivatives by variables of models."""
        evaluate = lambda x, c: self.evaluate(f, x, c, seeds, flat=True)
        return deferred(self.outer, outputs, structure, primals, constants, evaluate)

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

    def derive(
        self, f: Callable[..., Any], x: Arrays, constants: Arrays, seeds: Callable[[], Arrays],
        structure: OutputStructure, inner: Inner | None = None,
    ) -> Arrays:  # fmt: skip
        """The arrays of the parts that are wanted, then those of aux.

        Primals, seeds and outputs are arrays of the outer adapter, constants of the inner one;
        ``seeds`` is called when they are needed. ``inner`` has the derivatives that the outer
        adapter differentiates, if they are compiled.
        """
        compiled = None
        if inner is not None:
            compiled = lambda first: inner.function(first, constants)
        flat = FlatFunction(
            f, self.signature, constants, self.inner, structure, self.settings, self.operator.scalar
        )
        point = Point(
            flat, x, seeds, self.inner, self.outer, self.settings, self.value, compiled
        )  # fmt: skip
        kept = self.keep(constants) if constants else None
        parts, aux = self.operator.derive(point)
        if kept is not None:
            kept.check(f)
        outputs: Arrays = ()
        counts = []
        for i in self.wanted:
            outputs += parts[i]
            counts.append(len(parts[i]))
        structure.counts = counts
        return outputs + aux

    def keep(self, constants: Arrays) -> Kept | None:
        """Copies of the constants, where ``f`` is evaluated more than once."""
        return None if self.outer.reverse else Kept(self.signature, constants, self.inner.arrays)

    def program(self, f: Callable[..., Any], structure: OutputStructure) -> Program:
        """``(*primals, *constants, *seeds) -> (*parts, *aux)``, all flat arrays, of one point."""
        inner = None
        if self.inner is not self.outer:
            inner = Inner(self.inner, lambda constants: self.flat(f, constants, structure))
        return self._single(f, structure, inner)

    def _single(
        self, f: Callable[..., Any], structure: OutputStructure, inner: Inner | None
    ) -> Program:
        primals = len(self.signature.primals)
        both = primals + len(self.signature.constants)

        def program(*inputs: Array) -> Arrays:
            x, constants = inputs[:primals], inputs[primals:both]
            return self.derive(f, x, constants, lambda: inputs[both:], structure, inner)

        return program

    def function(self, f: Callable[..., Any], structure: OutputStructure | None = None) -> Program:
        """``(*primals, *constants) -> (*y, *aux)``: what ``f`` itself returns, all flat arrays."""
        primals = len(self.signature.primals)

        def function(*inputs: Array) -> Arrays:
            noting = structure or OutputStructure()
            y, aux = self.flat(f, inputs[primals:], noting)(inputs[:primals])
            return y + aux

        return function

    def flat(
        self, f: Callable[..., Any], constants: Arrays, structure: OutputStructure
    ) -> FlatFunction:
        """``f`` on flat arrays."""
        settings, scalar = self.settings, self.operator.scalar
        return FlatFunction(f, self.signature, constants, self.inner, structure, settings, scalar)

    def results_at(
        self, f: Callable[..., Any], x: Arrays, constants: Arrays, structure: OutputStructure
    ) -> Arrays:
        """What ``f`` returns, at the first of many points; on copies, since it may write to ``x``.

        It is how one learns what cotangents look like.
        """
        if self.points is not None:
            first = self.points.first((*x, *constants))
            x, constants = first[: len(x)], first[len(x) :]
        x = tuple(map(self.outer.arrays.fresh, x))
        return self.flat(f, constants, structure)(x)[0]

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

    def _given(
        self, seeds: object, structure: OutputStructure, traced: bool
    ) -> Callable[[], Arrays]:
        """What gives the seeds when they are needed; they are checked as early as can be."""
        if self.operator.seeds is Seeds.TANGENTS:
            dx = self.seeds(seeds, structure, traced)
            return lambda: dx
        # What cotangents must look like is known once f has been evaluated.
        return lambda: self.seeds(seeds, structure, traced)


def _plan(
    operator: Operator, wanted: tuple[int, ...], backend: Backend, settings: Settings,
    arguments: tuple[Argument, ...], keywords: tuple[str, ...], active: tuple[int, ...], bare: bool,
    axes: Axes | None,
) -> Plan:  # fmt: skip
    signature = Signature.of(arguments, keywords, active, bare)
    return Plan(operator, wanted, signature, backend, settings, axes)


# Remembered, since it depends on no value: neither of `f` nor of any array.
_known_plan = lru_cache(maxsize=256)(_plan)
