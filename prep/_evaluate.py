"""One evaluation of a derivation, eagerly: no value is kept, so that none is stale."""

from collections.abc import Callable, Sequence
from typing import Any

from diffface.backends._compiled import Arrays
from diffface.prep import _seeds
from diffface.prep._derivation import Derivation
from diffface.prep._flat import Trace
from diffface.prep._operator import Seeds
from diffface.prep._tree import leaves_of


def batch_of(seeds: object, batched: bool) -> tuple[int, ...]:
    """The leading axis of batched seeds, as far as they have one."""
    first = next(iter(leaves_of(seeds)), None) if batched else None
    shape = tuple(getattr(first, "shape", ()))
    return shape[:1]


def evaluate(
    derivation: Derivation,
    f: Callable[..., Any],
    primals: Sequence[Any],
    constants: Sequence[Any],
    seeds: object = None,
    out: object = None,
) -> Any:
    """The result as the user sees it."""
    trace = Trace()
    if out is not None:
        derivation.check_out(out, batch_of(seeds, derivation.settings.batched))
    outer = derivation.outer
    with derivation.inner.scope(derivation.dtypes):
        given: Callable[[], Arrays] = tuple
        if derivation.operator.seeds is not Seeds.NONE:
            given = _given(derivation, seeds, trace)
        x, c = derivation.bring(primals, constants)
        fresh = tuple(map(outer.kind.fresh, derivation.run(f, x, c, given, trace)))
    return derivation.assemble(fresh, trace, out)


def _given(derivation: Derivation, seeds: object, trace: Trace) -> Callable[[], Arrays]:
    """What gives the seeds when they are needed; they are checked as early as can be."""
    outer, batched = derivation.outer, derivation.settings.batched
    if derivation.operator.seeds is Seeds.TANGENTS:
        dx = _seeds.tangents(seeds, derivation.layout, outer, batched)
        return lambda: dx
    # What cotangents must look like is known once f has been evaluated.
    return lambda: _seeds.cotangents(seeds, trace.y, trace.y_leaves, outer, batched)
