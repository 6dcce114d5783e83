"""One evaluation of a plan, eagerly: no value is kept, so that none is stale."""

from collections.abc import Callable, Sequence
from typing import Any

from diffface.backends.compiled import Arrays
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.arguments.tree import leaves_of
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Seeds
from diffface.prep.plan import Plan


def batch_of(seeds: object, batched: bool) -> tuple[int, ...]:
    """The leading axis of batched seeds, as far as they have one."""
    first = next(iter(leaves_of(seeds)), None) if batched else None
    shape = tuple(getattr(first, "shape", ()))
    return shape[:1]


def evaluate(
    plan: Plan,
    f: Callable[..., Any],
    primals: Sequence[Any],
    constants: Sequence[Any],
    seeds: object = None,
    out: object = None,
) -> Any:
    """The result as the user sees it."""
    trace = OutputStructure()
    if out is not None:
        plan.check_out(out, batch_of(seeds, plan.settings.batched))
    outer = plan.outer
    with plan.inner.scope(plan.dtypes):
        given: Callable[[], Arrays] = tuple
        if plan.operator.seeds is not Seeds.NONE:
            given = _given(plan, seeds, trace)
        x, c = plan.to_backend(primals, constants)
        fresh = tuple(map(outer.arrays.fresh, plan.run(f, x, c, given, trace)))
    return plan.assemble(fresh, trace, out)


def _given(plan: Plan, seeds: object, trace: OutputStructure) -> Callable[[], Arrays]:
    """What gives the seeds when they are needed; they are checked as early as can be."""
    outer, batched = plan.outer, plan.settings.batched
    if plan.operator.seeds is Seeds.TANGENTS:
        dx = _seeds.tangents(seeds, plan.signature, outer, batched)
        return lambda: dx
    # What cotangents must look like is known once f has been evaluated.
    return lambda: _seeds.cotangents(seeds, trace.y, trace.y_leaves, outer, batched)
