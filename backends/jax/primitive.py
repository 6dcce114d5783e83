"""Operations with derivatives of their own, as one primitive of JAX.

``jax.custom_jvp`` is the same, but where a loop is linearised JAX forgets its rule, and second
derivatives there are those of the function itself.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.core import is_concrete  # there is no public way to ask
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.jax.differential import differential, moves
from diffface.backends.jax.host import host_call
from diffface.backends.jax.varying import axes_of, varying
from diffface.backends.rule import Rule

_rule = Primitive("diffface_rule")
_rule.multiple_results = True


def call_rule(rule: Rule, x: Arrays) -> Arrays:
    """``rule`` at ``x``: its value, and its derivatives under JAX's transformations."""

    def evaluate(*x: Array) -> Arrays:
        return host_call(rule, x) if rule.host else rule.evaluate(x)

    x = _arrays(x)
    x = varying(x, axes_of(x))
    if all(map(is_concrete, x)):
        # Functions may decide on values that they can see.
        with suppress(jax.errors.UnexpectedTracerError):  # a tracer that the function captures
            return _bind(x, (), evaluate, partial(differential, rule, ()), None, rule.name)
    record = jax.make_jaxpr(evaluate)(*x)
    # What the function captures becomes an input: it may be a tracer, which nobody may keep.
    captured, jaxpr = tuple(record.consts), record.jaxpr
    closed = ClosedJaxpr(jaxpr.replace(constvars=[], invars=[*jaxpr.invars, *jaxpr.constvars]), ())
    return _bind(
        x, captured, jaxpr_as_fun(closed), partial(differential, rule, captured), closed, rule.name
    )


def _bind(
    x: Arrays,
    captured: Arrays,
    evaluate: Callable[..., Sequence[Array]],
    differential: Callable[..., Sequence[Array]],
    call_jaxpr: ClosedJaxpr | None,
    name: str,
) -> Arrays:
    y = _rule.bind(
        *x, *captured, count=len(x), evaluate=evaluate, differential=differential,
        call_jaxpr=call_jaxpr, name=name,
    )  # fmt: skip
    return tuple(y)


def _evaluate(*inputs: Any, evaluate: Callable[..., Sequence[Array]], **_: Any) -> list[Any]:
    return list(evaluate(*_arrays(inputs)))


def _abstract(*inputs: Any, evaluate: Any, call_jaxpr: Any, **_: Any) -> list[Any]:
    record = call_jaxpr or jax.make_jaxpr(evaluate)(*inputs)
    if any(isinstance(a, jax.core.Tracer) for a in record.consts):
        raise jax.errors.UnexpectedTracerError("captured")
    return list(record.out_avals)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    primals = _arrays(primals)
    y = tuple(_rule.bind(*primals, **params))
    dy = [ad.Zero(jax.typeof(a).to_tangent_aval()) for a in y]
    count = params["count"]
    x, captured = primals[:count], primals[count:]
    active = [i for i, d in enumerate(tangents) if type(d) is not ad.Zero and moves(primals[i])]
    if active and active[-1] >= count:
        raise NotDifferentiableError(
            f"`{params['name']}` has derivatives by its arguments, and captures a value that is "
            "differentiated. Pass it as an argument."
        )
    places = [i for i, a in enumerate(y) if moves(a)]
    if active and places:
        dx = tuple(tangents[i] for i in active)
        found = params["differential"](frozenset(active), y, x, dx, captured)
        for i, d in zip(places, found, strict=True):
            dy[i] = d
    return y, dy


def _batch(size: int, axis: Any, _: Any, inputs: Any, dims: Any, **params: Any) -> Any:
    if all(d is None for d in dims):
        y = _rule.bind(*inputs, **params)
        return y, [None] * len(y)
    count, dims = params["count"], tuple(dims)
    mapped = partial(jax.vmap, axis_size=size, axis_name=axis)
    evaluate = mapped(params["evaluate"], in_axes=dims)

    def differential(active: frozenset[int], *arrays: Any) -> Sequence[Array]:
        axes = 0, dims[:count], tuple(dims[i] for i in sorted(active)), dims[count:]
        f = mapped(partial(params["differential"], active), in_axes=axes)
        found: Sequence[Array] = f(*arrays)
        return found

    concrete = all(map(is_concrete, inputs))
    closed = None if concrete else jax.make_jaxpr(evaluate)(*inputs)
    x, captured = tuple(inputs[:count]), tuple(inputs[count:])
    y = _bind(x, captured, evaluate, differential, closed, params["name"])
    return y, [0] * len(y)


def _arrays(x: Sequence[Any]) -> Arrays:
    # JAX traces Python's numbers, too, which have no shape.
    return tuple(a if hasattr(a, "shape") else jnp.asarray(a) for a in x)


_rule.def_impl(_evaluate)
_rule.def_abstract_eval(_abstract)
mlir.register_lowering(_rule, mlir.lower_fun(_evaluate, multiple_results=True))
ad.primitive_jvps[_rule] = _jvp
batching.axis_primitive_batchers[_rule] = _batch
