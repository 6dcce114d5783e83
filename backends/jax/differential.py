"""The derivative of an operation with rules, as a linear operation of JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from diffface.backends.compiled import Array, Arrays
from diffface.backends.jax.linear import linear
from diffface.backends.jax.varying import axes_of, varying
from diffface.backends.rule import Active, Pusher, Rule


def differential(
    rule: Rule, names: Arrays, active: Active, y: Arrays, x: Arrays, dx: Arrays, captured: Arrays
) -> Arrays:
    """``J dx`` for every inexact result; both modes have their own rule.

    Parameters
    ----------
    rule : Rule
        The operation.
    names : tuple of array
        What its functions captured where it was called, tracers among it.
    active : set of int
        The places in ``x`` of what has tangents.
    y, x : tuple of array
        The result and the arguments.
    dx : tuple of array
        The tangents of those that are active.
    captured : tuple of array
        What is in the place of ``names`` now.
    """
    if not any(isinstance(a, jax.core.Tracer) for a in names):
        names = captured = ()
    moving = sorted(active)
    pull, push = rule.puller(active), rule.pusher(active)
    if pull is None and push is None:
        push = _differential_itself(rule)
    inexact = [i for i, a in enumerate(y) if moves(a)]

    def pushed(y: Arrays, x: Arrays, dx: Arrays) -> Arrays:
        given: list[Any] = [None] * len(x)
        for i, d in zip(moving, dx, strict=True):
            given[i] = d
        assert push is not None
        dy = push(y, x, tuple(given))
        return tuple(dy[i] for i in inexact)

    if pull is None:
        return _with(captured, names, pushed)(y, x, dx)
    # What is no array stays with the functions; arrays may be tracers, and come as residuals.
    leaves, tree = jax.tree.flatten(rule.save(active, y, x))
    fixed = [None if isinstance(a, jax.Array) else (a,) for a in leaves]
    saved = tuple(a for a in leaves if isinstance(a, jax.Array))
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in y]
    axes = axes_of(y)

    def pulled(saved: Arrays, dy: Arrays) -> Arrays:
        rest = iter(saved)
        restored = jax.tree.unflatten(tree, [next(rest) if f is None else f[0] for f in fixed])
        given = [jnp.zeros(a.shape, a.dtype) for a in shapes]
        for i, d in zip(inexact, dy, strict=True):
            given[i] = _conj(d)
        dx = pull(restored, tuple(given))
        return tuple(_conj(dx[i]) for i in moving)

    def lpull(residuals: tuple[Arrays, ...], dy: Arrays) -> Arrays:
        captured, saved = residuals[:2]
        return _with(captured, names, pulled)(saved, dy)

    def lpush(residuals: tuple[Arrays, ...], t: Arrays) -> Arrays:
        if push is not None:
            captured, _, y, x = residuals
            return _with(captured, names, pushed)(y, x, t)
        # Linearised away from zero, since rules need not be linear (one that clips is not).
        ones = tuple(jnp.ones(shapes[i].shape, shapes[i].dtype) for i in inexact)
        return tuple(jax.vjp(lambda *dy: lpull(residuals, dy), *varying(ones, axes))[1](t))

    residuals = (captured, saved) if push is None else (captured, saved, y, x)
    return linear(lpush, lpull, residuals, dx, tuple(y[i] for i in inexact))


def _with(values: Arrays, names: Arrays, f: Callable[..., Arrays]) -> Callable[..., Arrays]:
    """``f`` with ``values`` for the tracers ``names`` that it captures, which nobody may keep."""
    if not names:
        return f
    now = {id(a): value for a, value in zip(names, values, strict=True)}

    def replaced(*arrays: Arrays) -> Arrays:
        record = jax.make_jaxpr(f)(*arrays)
        consts = [now.get(id(a), a) for a in record.consts]
        return tuple(jax.core.eval_jaxpr(record.jaxpr, consts, *jax.tree.leaves(arrays)))

    return replaced


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


def moves(a: Array) -> bool:
    """Whether there are derivatives by ``a``."""
    return bool(jnp.issubdtype(a.dtype, jnp.inexact))


def _conj(a: Any) -> Any:
    return jnp.conj(a) if jnp.iscomplexobj(a) else a
