"""Operations with derivatives of their own, in autograd."""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.builtins import SequenceBox, make_sequence
from autograd.core import make_vjp
from autograd.extend import defjvp_argnums, defvjp_argnums, primitive

from diffface.backends.autograd.namespace.rules import constant
from diffface.backends.compiled import Array, Arrays
from diffface.backends.rule import Active, Rule


@primitive  # type: ignore[untyped-decorator]  # autograd is untyped
def _call(rule: Rule, *x: Array) -> Any:
    """``rule`` at ``x``; one result comes bare, since autograd boxes tuples as such."""
    return _bare(tuple(map(np.asarray, rule.evaluate(tuple(map(np.asarray, x))))))


# What the user wrote runs in it: programs must not trust it to keep its hands off their arrays.
_call.fun.__module__ = "rules"


# Autograd would give integers cotangents as it does all numbers, and adds them up as integers.
_constant = constant(np.asarray)


def call_rule(rule: Rule, x: Arrays) -> Arrays:
    """``rule`` at ``x``: its value, and its derivatives in both modes of autograd."""
    y = _several(_call(rule, *x))
    return tuple([a if a.dtype.kind in "fc" else _constant(a) for a in y])


def _arrays(x: Any) -> Arrays:
    # autograd traces Python's numbers, too, which have neither shape nor dtype.
    return tuple(a if hasattr(a, "dtype") else np.asarray(a) for a in x)


def _several(y: Any) -> Arrays:
    return tuple(y) if type(y) is tuple or issubclass(type(y), SequenceBox) else (y,)


def _bare(y: Arrays) -> Any:
    return y[0] if len(y) == 1 else y


def _vjp(places: Any, y: Arrays, args: Any, kwargs: Any) -> Any:
    """Cotangents of the arguments at ``places``, which count the rule as well."""
    rule, x, y = args[0], _arrays(args[1:]), _several(y)
    active = frozenset(i - 1 for i in places)
    pull = rule.puller(active)
    if pull is None:
        return _vjp_functionally(rule, active, y, x)
    saved = rule.save(active, y, x)

    def vjp(dy: Any) -> Any:
        dx = pull(saved, tuple(map(_conj, _several(dy))))
        return tuple(_conj(dx[i - 1]) for i in places)

    return vjp


def _vjp_functionally(rule: Rule, active: Active, y: Arrays, x: Arrays) -> Any:
    """By transposing pushforwards, which are linear, or by differentiating the function itself."""
    push, places = rule.pusher(active), sorted(active)

    def of_moving(moving: Any) -> Any:
        given: list[Any] = [None] * len(x) if push is not None else list(x)
        for i, value in zip(places, moving, strict=True):
            given[i] = value
        found = rule.evaluate(tuple(given)) if push is None else push(y, x, tuple(given))
        return found[0] if len(found) == 1 else make_sequence(tuple, *found)

    def vjp(dy: Any) -> Any:
        points = [x[i] if push is None else _ones_like(x[i]) for i in places]
        return tuple(make_vjp(of_moving, make_sequence(tuple, *points))[0](dy))

    return vjp


def _ones_like(a: Array) -> Array:
    return np.ones(np.shape(a), np.result_type(a))


def _jvp(places: Any, tangents: Any, y: Arrays, args: Any, kwargs: Any) -> Any:
    rule, x = args[0], _arrays(args[1:])
    push = rule.pusher(frozenset(i - 1 for i in places))
    if push is None:
        raise NotImplementedError(f"{rule.name} has no rule for pushforwards")
    given: list[Any] = [None] * len(x)
    for i, d in zip(places, tangents, strict=True):
        given[i - 1] = d
    return _bare(push(_several(y), x, tuple(given)))


def _conj(a: Array) -> Array:
    return anp.conj(a) if anp.iscomplexobj(a) else a


defvjp_argnums(_call, _vjp)
defjvp_argnums(_call, _jvp)
