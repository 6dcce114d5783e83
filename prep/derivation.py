"""A derivation: a plan carried out on a function and values, eagerly or as a program."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter, Function
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.chunks import Filled
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.prep.arguments.seeds import batch_of
from diffface.prep.deferred import attached, deferred
from diffface.prep.flat_function import FlatFunction, OutputStructure
from diffface.prep.operator import First, Point, Seeds
from diffface.prep.plan import Plan
from diffface.prep.result import fresh


class Inner:
    """The first derivatives that another backend differentiates again, compiled.

    Parameters
    ----------
    adapter : Adapter
        Who computes them.
    flat : callable
        ``flat(constants)`` is the user's function.
    """

    __slots__ = ("_adapter", "_flat", "_known")

    def __init__(self, adapter: Adapter, flat: Callable[[Arrays], Function]) -> None:
        self._adapter = adapter
        self._flat = flat
        # By the signature that the outer backend asks for.
        self._known: dict[Any, tuple[Compiled, int]] = {}

    def function(self, first: First, constants: Arrays) -> Function:
        """``first`` of the user's function, as a function of the primals alone."""

        def run(x: Arrays) -> tuple[Arrays, Arrays]:
            key = tuple([(a.shape, a.dtype) for a in x])
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self._build(first, x, constants)
            compiled, count = known
            outputs = compiled.run(*x, *constants)
            return outputs[:count], outputs[count:]

        return run

    def _build(self, first: First, x: Arrays, constants: Arrays) -> tuple[Compiled, int]:
        count = 0

        def program(*inputs: Array) -> Arrays:
            nonlocal count
            derivatives, rest = first(self._flat(inputs[len(x) :]), inputs[: len(x)])
            count = len(derivatives)
            return derivatives + rest

        def function(*inputs: Array) -> Arrays:
            y, aux = self._flat(inputs[len(x) :])(inputs[: len(x)])
            return y + aux

        compiled = self._adapter.build(program, (*x, *constants))
        self._adapter.check_record(function, (*x, *constants))
        if not count:
            compiled.run(*x, *constants)
        return compiled, count


_NOTHING = nullcontext()


def evaluate(
    plan: Plan, f: Callable[..., Any], primals: Sequence[Any], constants: Sequence[Any],
    seeds: object = None, out: object = None, flat: bool = False,
) -> Any:  # fmt: skip
    """The result as the user sees it, computed eagerly: no value is kept that could go stale.

    ``seeds`` are the tangents or cotangents as the user gave them; ``flat`` asks for the arrays
    of the result alone.
    """
    structure = OutputStructure()
    if out is not None:
        plan.result.check_out(out, batch_of(seeds, plan.lead))
    asked = plan.may_trace or seeds is not None
    traced = asked and plan.is_traced(primals, constants, seeds)
    if plan.defers and (traced or plan.outer.is_nested()):
        primals, constants, found = attached(plan.outer, primals, constants)
        traced |= found
    following = plan.outer.following(f, traced) if plan.follows else _NOTHING
    with plan.inner.scope(plan.dtypes), following:
        given: Callable[[], Arrays] = tuple
        if plan.operator.seeds is not Seeds.NONE:
            given = _given(plan, seeds, structure, traced)
        x, c = plan.to_backend(primals, constants, traced=traced)
        if plan.points is None:
            tables = None if plan.settings.chunk_size is None else plan.tables(traced)
            derived = derive(plan, f, x, c, given, structure, tables=tables)
        else:
            if plan.operator.seeds is Seeds.COTANGENTS:
                results_at(plan, f, x, c, structure)
            single = _single(plan, f, structure, None)
            derived = plan.points.evaluate(single, (*x, *c, *given()), structure)
    outputs = []
    for i, output in enumerate(derived):
        # Plain arrays carry no derivative; a call less for them, and none for a list.
        plain = type(output) is np.ndarray
        own = plan.outer.arrays
        if i in structure.filled:
            outputs.append(output)
        else:
            outputs.append(own.fresh(output) if plain else fresh(output, own))
    if flat:
        return tuple(outputs)
    if plan.defers and not traced and out is None:
        return deferred_result(plan, f, outputs, structure, primals, constants, seeds)
    like = plan.result.like
    if like is not None and like.library is plan.outer.arrays and out is None:
        return outputs[0]
    return plan.result.assemble(tuple(outputs), structure, out)


def deferred_result(
    plan: Plan, f: Callable[..., Any], outputs: Sequence[Array], structure: OutputStructure,
    primals: Sequence[Any], constants: Sequence[Any], seeds: object,
) -> Any:  # fmt: skip
    """The result as the user sees it, with derivatives by variables of models in it."""
    if any(map(plan.outer.arrays.is_traced, outputs)):
        # What f captures is followed, and variables together with that.
        primals, constants, found = attached(plan.outer, primals, constants)
        if found:
            return evaluate(plan, f, primals, constants, seeds)
    carried = deferred_outputs(plan, f, tuple(outputs), structure, primals, constants, seeds)
    return plan.result.assemble(carried, structure)


def deferred_outputs(
    plan: Plan, f: Callable[..., Any], outputs: Arrays, structure: OutputStructure,
    primals: Sequence[Any], constants: Sequence[Any], seeds: object,
) -> Arrays:  # fmt: skip
    """``outputs``, as they carry derivatives by variables of models."""
    again = lambda x, c: evaluate(plan, f, x, c, seeds, flat=True)
    return deferred(plan.outer, outputs, structure, primals, constants, again)


def derive(
    plan: Plan, f: Callable[..., Any], x: Arrays, constants: Arrays, seeds: Callable[[], Arrays],
    structure: OutputStructure, inner: Inner | None = None, some: Seeds = Seeds.NONE,
    tables: ArrayLibrary | None = None,
) -> Arrays:  # fmt: skip
    """The arrays of the parts that are wanted, then those of aux.

    Primals, seeds and outputs are arrays of the outer adapter, constants of the inner one;
    ``seeds`` is called when they are needed. ``inner`` has the derivatives that the outer
    adapter differentiates, if they are compiled. ``some`` and ``tables`` are those of `Point`.
    """
    compiled = None
    if inner is not None:
        compiled = lambda first: inner.function(first, constants)
    flat = FlatFunction(
        f, plan.signature, constants, plan.inner, structure, plan.settings, plan.operator.scalar
    )
    point = Point(
        flat, x, seeds, plan.inner, plan.outer, plan.settings, plan.value, compiled, some, tables
    )
    kept = plan.keep(constants) if constants else None
    parts, aux = plan.operator.derive(point)
    if kept is not None:
        kept.check(f)
    outputs: Arrays = ()
    counts = []
    for i in plan.wanted:
        if type(parts[i]) is Filled:
            structure.filled = range(len(outputs), len(outputs) + len(parts[i]))
        outputs += parts[i]
        counts.append(len(parts[i]))
    if some is not Seeds.NONE:
        # Each of these columns, or rows, is cut into blocks.
        counts[-1] *= len(x if some is Seeds.TANGENTS else seeds())
    structure.counts = counts
    return outputs + aux


def program(plan: Plan, f: Callable[..., Any], structure: OutputStructure) -> Program:
    """``(*primals, *constants, *seeds) -> (*parts, *aux)``, all flat arrays, of one point."""
    inner = None
    if plan.inner is not plan.outer:
        inner = Inner(plan.inner, lambda constants: plan.flat(f, constants, structure))
    return _single(plan, f, structure, inner)


def _single(
    plan: Plan, f: Callable[..., Any], structure: OutputStructure, inner: Inner | None
) -> Program:
    primals = len(plan.signature.primals)
    both = primals + len(plan.signature.constants)

    def run(*inputs: Array) -> Arrays:
        x, constants = inputs[:primals], inputs[primals:both]
        return derive(plan, f, x, constants, lambda: inputs[both:], structure, inner)

    return run


def function(
    plan: Plan, f: Callable[..., Any], structure: OutputStructure | None = None
) -> Program:
    """``(*primals, *constants) -> (*y, *aux)``: what ``f`` itself returns, all flat arrays."""
    primals = len(plan.signature.primals)

    def run(*inputs: Array) -> Arrays:
        noting = structure or OutputStructure()
        y, aux = plan.flat(f, inputs[primals:], noting)(inputs[:primals])
        return y + aux

    return run


def results_at(
    plan: Plan, f: Callable[..., Any], x: Arrays, constants: Arrays, structure: OutputStructure
) -> Arrays:
    """What ``f`` returns, at the first of many points; on copies, since it may write to ``x``.

    It is how one learns what cotangents look like.
    """
    if plan.points is not None:
        first = plan.points.first((*x, *constants))
        x, constants = first[: len(x)], first[len(x) :]
    x = tuple(map(plan.outer.arrays.fresh, x))
    return plan.flat(f, constants, structure)(x)[0]


def _given(
    plan: Plan, seeds: object, structure: OutputStructure, traced: bool
) -> Callable[[], Arrays]:
    """What gives the seeds when they are needed; they are checked as early as can be."""
    if plan.operator.seeds is Seeds.TANGENTS:
        dx = plan.seeds(seeds, structure, traced)
        return lambda: dx
    # What cotangents must look like is known once f has been evaluated.
    return lambda: plan.seeds(seeds, structure, traced)
