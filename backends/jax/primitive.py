"""Operations with derivatives of their own, in JAX."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from diffface.backends.compiled import Array, Arrays
from diffface.backends.jax.host import host_call
from diffface.backends.jax.linear import linear
from diffface.backends.rule import Active, Pusher, Rule


def call_rule(rule: Rule, x: Arrays) -> Arrays:
    """``rule`` at ``x``: its value, and its derivatives under JAX's transformations.

    A ``custom_jvp`` whose tangent is one linear primitive, so that both modes have their own rule.
    """

    @jax.custom_jvp
    def call(*x: Array) -> Arrays:
        x = _arrays(x)
        return host_call(rule, x) if rule.host else rule.evaluate(x)

    def jvp(x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays]:
        x = _arrays(x)
        y = call(*x)
        active = frozenset(i for i, d in enumerate(dx) if not isinstance(d, SymbolicZero))
        if not active:
            return y, tuple(zero_from_primal(a, symbolic_zeros=True) for a in y)
        return y, _differential(rule, active, y, x, dx)

    call.defjvp(jvp, symbolic_zeros=True)
    return call(*x)


def _differential(rule: Rule, active: Active, y: Arrays, x: Arrays, dx: Arrays) -> Arrays:
    """``J dx`` for every result that has a derivative, and a symbolic zero for the others."""
    pull, push = rule.puller(active), rule.pusher(active)
    tangents = tuple(d if i in active else None for i, d in enumerate(dx))
    if pull is None and push is None:
        push = _differential_itself(rule)
    if pull is None:
        assert push is not None
        return _among(y, [d for a, d in zip(y, push(y, x, tangents), strict=True) if _moves(a)])
    moving = sorted(active)
    # What is no array stays with the functions; arrays may be tracers, and come as residuals.
    leaves, tree = jax.tree.flatten(rule.save(active, y, x))
    fixed = [None if isinstance(a, jax.Array) else (a,) for a in leaves]
    saved = tuple(a for a in leaves if isinstance(a, jax.Array))

    def restored(arrays: Arrays) -> Any:
        rest = iter(arrays)
        return jax.tree.unflatten(tree, [next(rest) if f is None else f[0] for f in fixed])

    inexact = [i for i, a in enumerate(y) if _moves(a)]
    wanted = [y[i] for i in inexact]
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in y]
    start = 0 if push is None else len(x) + len(y)

    def lpull(residuals: Arrays, dy: Arrays) -> Arrays:
        given = [jnp.zeros(a.shape, a.dtype) for a in shapes]
        for i, d in zip(inexact, dy, strict=True):
            given[i] = _conj(d)
        dx = pull(restored(residuals[start:]), tuple(given))
        return tuple(_conj(dx[i]) for i in moving)

    def lpush(residuals: Arrays, t: Arrays) -> Arrays:
        if push is None:
            # Linearised away from zero, since rules need not be linear (one that clips is not).
            ones = [jnp.ones(shapes[i].shape, shapes[i].dtype) for i in inexact]
            return tuple(jax.vjp(lambda *dy: lpull(residuals, dy), *ones)[1](t))
        given: list[Any] = [None] * len(x)
        for i, d in zip(moving, t, strict=True):
            given[i] = d
        dy = push(residuals[: len(y)], residuals[len(y) : start], tuple(given))
        return tuple(dy[i] for i in inexact)

    residuals = saved if push is None else (*y, *x, *saved)
    return _among(y, linear(lpush, lpull, residuals, tuple(dx[i] for i in moving), tuple(wanted)))


def _differential_itself(rule: Rule) -> Pusher:
    """Pushforwards of a function that has no rule."""

    def push(y: Arrays, x: Arrays, dx: Sequence[Array | None]) -> Arrays:
        places = [i for i, d in enumerate(dx) if d is not None]

        def of_moving(*moving: Array) -> Arrays:
            changed = list(x)
            for i, value in zip(places, moving, strict=True):
                changed[i] = value
            return rule.evaluate(tuple(changed))

        points, tangents = tuple(x[i] for i in places), tuple(dx[i] for i in places)
        dy: Arrays = jax.jvp(of_moving, points, tangents)[1]
        return dy

    return push


def _among(y: Arrays, derivatives: Sequence[Array]) -> Arrays:
    """``derivatives`` of the inexact arrays of ``y``, and symbolic zeros of the others."""
    rest = iter(derivatives)
    return tuple(next(rest) if _moves(a) else zero_from_primal(a, symbolic_zeros=True) for a in y)


def _arrays(x: Arrays) -> Arrays:
    # JAX traces Python's numbers, too, which have no shape.
    return tuple(a if hasattr(a, "shape") else jnp.asarray(a) for a in x)


def _moves(a: Array) -> bool:
    return bool(jnp.issubdtype(a.dtype, jnp.inexact))


def _conj(a: Any) -> Any:
    return jnp.conj(a) if jnp.iscomplexobj(a) else a
