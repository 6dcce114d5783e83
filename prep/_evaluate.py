"""One evaluation of a derivation, eagerly: nothing cached, nothing stale."""

from collections.abc import Sequence
from typing import Any

from diffface.backends._compiled import Arrays
from diffface.prep import _seeds
from diffface.prep._carry import bring, bring_constants
from diffface.prep._derivation import Derivation
from diffface.prep._flat import Trace
from diffface.prep._operator import Seeds
from diffface.prep._tree import leaves_of


def inputs(
    derivation: Derivation, primals: Sequence[Any], constants: Sequence[Any], copy: bool = False
) -> tuple[Arrays, Arrays]:
    """Primals and constants as arrays of the backends that take them."""
    layout, outer, inner = derivation.layout, derivation.outer, derivation.inner
    # NumPy arrays go where the first array of the framework is.
    device = None
    for leaf in layout.primals + layout.constants:
        if leaf.kind is inner.kind:
            device = leaf.device
            break
    x = bring(primals, layout.primals, outer.kind, device if inner is outer else None, copy)
    return x, bring_constants(constants, layout.constants, inner.kind, device, copy)


def batch_of(seeds: object, batched: bool) -> tuple[int, ...]:
    """The leading axis of batched seeds, as far as they have one."""
    first = next(iter(leaves_of(seeds)), None) if batched else None
    shape = tuple(getattr(first, "shape", ()))
    return shape[:1]


def evaluate(
    derivation: Derivation,
    primals: Sequence[Any],
    constants: Sequence[Any],
    seeds: object = None,
    out: object = None,
) -> Any:
    """The result as the user sees it."""
    trace = Trace()
    if out is not None:
        derivation.check_out(out, batch_of(seeds, derivation.settings.batched))
    outer, batched = derivation.outer, derivation.settings.batched
    which = derivation.operator.seeds

    def seeded() -> Arrays:
        if which is Seeds.TANGENTS:
            return dx
        # What cotangents must look like is known once f has been evaluated.
        return _seeds.cotangents(seeds, trace.y, trace.y_leaves, outer, batched)

    with derivation.scope():
        if which is Seeds.TANGENTS:
            dx = _seeds.tangents(seeds, derivation.layout, outer, batched)
        x, c = inputs(derivation, primals, constants)
        outputs = derivation.program(trace, seeded)(*x, *c)
        fresh = tuple([outer.kind.fresh(a) for a in outputs])
    return derivation.assemble(fresh, trace, out)
