"""A linear function together with its transpose, as one primitive of JAX.

``jax.custom_derivatives.linear_call`` is the same without batching and without derivatives in what
the function is not linear in.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.core import unmapped_aval  # its public place changes between versions
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from diffface.backends.compiled import Arrays

# ``(residuals, t) -> y``, and ``(residuals, cotangent of y) -> cotangent of t``.
Linear = Callable[[Any, Arrays], Arrays]

_linear = Primitive("diffface_linear")
_linear.multiple_results = True


def linear(push: Linear, pull: Linear, residuals: Any, t: Arrays, like: Arrays) -> Arrays:
    """``push(residuals, t)``, with ``pull`` for its transpose; results are like ``like``.

    ``residuals`` is a tree of arrays.
    """
    leaves, tree = jax.tree.flatten(residuals)
    push, pull = (_on_leaves(f, tree) for f in (push, pull))
    avals = tuple(jax.typeof(a).to_tangent_aval() for a in like)
    return tuple(
        _linear.bind(*leaves, *t, push=push, pull=pull, count=len(leaves), avals=avals)
    )  # fmt: skip


def _on_leaves(f: Linear, tree: Any) -> Linear:
    return lambda leaves, t: f(jax.tree.unflatten(tree, leaves), t)


def _evaluate(*inputs: Any, push: Linear, pull: Linear, count: int, avals: Any) -> list[Any]:
    return list(push(inputs[:count], inputs[count:]))


def _abstract(*inputs: Any, push: Linear, pull: Linear, count: int, avals: Any) -> list[Any]:
    return list(avals)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
    count, push = params["count"], params["push"]
    residuals, t = tuple(primals[:count]), tuple(primals[count:])
    y = _linear.bind(*primals, **params)
    terms = []
    if any(type(d) is not ad.Zero for d in tangents[count:]):
        dt = [ad.instantiate_zeros(d) for d in tangents[count:]]
        terms.append(_linear.bind(*residuals, *dt, **params))
    moving = [i for i, d in enumerate(tangents[:count]) if type(d) is not ad.Zero]
    if moving:

        def of_moving(*values: Any) -> Arrays:
            changed = list(residuals)
            for i, value in zip(moving, values, strict=True):
                changed[i] = value
            return tuple(push(tuple(changed), t))

        points = tuple(residuals[i] for i in moving)
        terms.append(jax.jvp(of_moving, points, tuple(tangents[i] for i in moving))[1])
    return y, [sum(column[1:], start=column[0]) for column in zip(*terms, strict=True)]


def _transpose(cotangents: Any, *inputs: Any, **params: Any) -> list[Any]:
    count = params["count"]
    given = tuple(map(ad.instantiate_zeros, cotangents))
    return [None] * count + list(params["pull"](inputs[:count], given))


def _batch(
    size: int, axis: Any, _: Any, inputs: Sequence[Any], dims: Sequence[Any], **params: Any
) -> Any:
    if all(d is None for d in dims):
        y = _linear.bind(*inputs, **params)
        return y, [None] * len(y)
    count = params["count"]
    t = [_leading(a, d, size) for a, d in zip(inputs[count:], dims[count:], strict=True)]
    mapped = partial(jax.vmap, in_axes=(tuple(dims[:count]), 0), axis_size=size, axis_name=axis)
    avals = tuple(unmapped_aval(size, 0, a) for a in params["avals"])
    y = _linear.bind(
        *inputs[:count], *t, count=count, push=mapped(params["push"]), pull=mapped(params["pull"]),
        avals=avals,
    )  # fmt: skip
    return y, [0] * len(y)


def _leading(a: Any, dim: int | None, size: int) -> Any:
    return jnp.broadcast_to(a, (size, *a.shape)) if dim is None else jnp.moveaxis(a, dim, 0)


_linear.def_impl(_evaluate)
_linear.def_abstract_eval(_abstract)
mlir.register_lowering(_linear, mlir.lower_fun(_evaluate, multiple_results=True))
ad.primitive_jvps[_linear] = _jvp
ad.primitive_transposes[_linear] = _transpose
batching.axis_primitive_batchers[_linear] = _batch
