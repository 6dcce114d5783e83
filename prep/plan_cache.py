"""From a call to the plan that its signature determines."""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

from diffface.backends.arrays import NUMPY_SCALAR, PYTHON, ArrayLibrary, library_of
from diffface.backends.registry import Backend
from diffface.prep.arguments.leaf import Leaf
from diffface.prep.arguments.signature import Argument, Call, Signature, signature_of
from diffface.prep.operator import Operator, Settings
from diffface.prep.plan import Plan

# ArrayLibrary, shape, dtype and device of the arguments, when each is an array or a number.
_Plain = tuple[tuple[ArrayLibrary, Any, Any, Hashable], ...]


def plan_for(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], backend: Backend,
    settings: Settings, call: Call,
) -> tuple[Plan, Sequence[Any], Sequence[Any]]:  # fmt: skip
    """The plan for a call, with the leaves of its primals and constants.

    Raises
    ------
    NotDifferentiableError, InvalidArgumentError
        If its arguments cannot be differentiated.
    """
    primals: Sequence[Any]
    constants: Sequence[Any]
    plain = _plain(call)
    if plain is None:
        signature, primals, constants = signature_of(call, backend.first_order())
        plan = Plan(operator, wanted, signature, backend, settings)
    else:
        plan = _plan(operator, wanted, backend, settings, *call[1:], plain)
        values, active = call.values, call.active
        if len(values) == 1:
            primals, constants = values, ()
        else:
            primals = [values[i] for i in active]
            constants = [value for i, value in enumerate(values) if i not in active]
    if plan.problem is not None:
        raise plan.problem.said_of(f, plan.signature)
    return plan, primals, constants


def _plain(call: Call) -> _Plain | None:
    """What is known of the arguments without a look into any; None if one is more than that.

    Trees and static constants have to be compared by code of the user's, so that what was derived
    for one of them is never taken for another.
    """
    found = []
    for i, value in enumerate(call.values):
        kind = library_of(value)
        if kind is None:
            return None
        shape, dtype, device = kind.describe(value)
        static = kind is PYTHON or kind is NUMPY_SCALAR
        if static and dtype.kind not in "fc" and i not in call.active:
            return None
        found.append((kind, shape, dtype, device))
    return tuple(found)


@lru_cache(maxsize=256)
def _plan(
    operator: Operator, wanted: tuple[int, ...], backend: Backend, settings: Settings,
    keywords: tuple[str, ...], active: tuple[int, ...], bare: bool, plain: _Plain,
) -> Plan:  # fmt: skip
    """Remembered, since it depends on no value: neither of ``f`` nor of any array."""
    arguments = tuple(Argument(None, (Leaf(*each),)) for each in plain)
    signature = Signature.of(arguments, keywords, active, bare)
    return Plan(operator, wanted, signature, backend, settings)
