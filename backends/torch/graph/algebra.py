"""Algebra on a traced graph: rules that make operations fewer and keep the numbers.

Knows: what some aten operations mean.
Must not know: how the graph is run.

Every rule gives the same numbers wherever the program is called, infinities, subnormal numbers and
NaN included. Some change the sign of a zero, and are used only where nobody can tell but by the
sign bit of a result. Derivatives are full of products with one, first powers, negations and sums of
padded pieces, and each costs a kernel launch.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from diffface.backends.torch.graph import parts, views
from diffface.backends.torch.graph.graph import (
    aten,
    aten_names,
    call,
    filled,
    filling,
    looks_like,
    name_of,
    sees_sign_of_zero,
    value_of,
)
from diffface.backends.torch.graph.parts import is_plus_zero

Rule = Callable[[fx.Node], fx.Node | None]

# These do nothing where they change no metadata
_RELABELS = aten_names(
    """
    _to_copy _unsafe_view alias clone detach expand lift_fresh lift_fresh_copy slice squeeze sum
    view
    """
)
_PADDED = (aten.slice_backward.default, aten.select_backward.default)


def rewrite(node: fx.Node) -> fx.Node | None:
    """Return a cheaper node for the same result, or None."""
    name = name_of(node)
    if name in _RELABELS and not (name == "aten::sum" and sees_sign_of_zero(node)):
        (source, *_) = node.args
        if isinstance(source, fx.Node) and looks_like(source.meta["val"], node.meta["val"]):
            return source
    rule = _RULES.get(node.target)
    return None if rule is None else rule(node)


# Products


def _mul(node: fx.Node) -> fx.Node | None:
    a, b = _operands(node)
    if (n := filling(a)) is not None:
        a, b = b, n
    elif (n := filling(b)) is not None:
        b = n
    else:
        return _changed(node, aten.mul.Tensor, a, b)
    if not _is_real(a, b, node):
        return None
    if b == 1:
        return a  # type: ignore[no-any-return]
    if b == -1:
        return call(node, aten.neg.default, a)
    inner, factor = _scaled(a)
    if factor is not None and _may_join(factor, b, node):
        return call(node, aten.mul.Tensor, inner, factor * b)
    return _changed(node, aten.mul.Tensor, a, b)


def _may_join(first: Any, then: Any, node: fx.Node) -> bool:
    """Whether ``(x * first) * then`` is ``x * (first * then)``, whatever ``x`` is.

    Of the products only the last may round, and none may leave the range of the dtype before the
    result does.
    """
    if abs(first) == 1:
        return True
    limit = torch.finfo(node.meta["val"].dtype).max
    grows = abs(first) >= 1 and abs(then) >= 1
    return is_power_of_two(first) and grows and abs(first * then) <= limit


def _neg(node: fx.Node) -> fx.Node | None:
    inner, factor = _scaled(node.args[0])
    if factor is None:
        return None
    return inner if factor == -1 else call(node, aten.mul.Tensor, inner, -factor)


def _div(node: fx.Node) -> fx.Node | None:
    a, b = _operands(node)
    n = filling(b)
    if n is None:
        return _changed(node, aten.div.Tensor, a, b)
    if not _is_real(a, n, node):
        return None
    if is_power_of_two(n):
        return a if n == 1 else call(node, aten.mul.Tensor, a, 1 / n)
    return _changed(node, aten.div.Tensor, a, n)


def _pow(node: fx.Node) -> fx.Node | None:
    base, exponent = node.args
    if exponent == 0:
        return filled(node, torch.ones((), dtype=node.meta["val"].dtype).item())
    if not _carries_result(base, node):
        return None
    if exponent == 1:
        return base  # type: ignore[return-value]
    if exponent == 2:
        return call(node, aten.mul.Tensor, base, base)
    return None


# Sums


def _add(node: fx.Node) -> fx.Node | None:
    if node.kwargs or len(node.args) > 2:
        return None
    a, b = _operands(node)
    if filling(a) is not None:
        a, b = b, a
    if (n := filling(b)) is not None:
        if not _is_real(a, n, node):
            return None
        keeps = n == 0 and not (is_plus_zero(n) and sees_sign_of_zero(node))
        return a if keeps else _changed(node, aten.add.Tensor, a, n)
    if not (isinstance(a, fx.Node) and isinstance(b, fx.Node)):  # True, which is no number here
        return None
    for x, y in ((a, b), (b, a)):
        if _carries_result(x, node) and (opposite := _opposite(y, node)) is not None:
            return call(node, aten.sub.Tensor, x, opposite)
    alike = a.target is b.target and a.target in _PADDED and a.args[1:] == b.args[1:]
    if alike and len(a.users) == len(b.users) == 1:
        inner = call(node, aten.add.Tensor, a.args[0], b.args[0])
        return call(node, a.target, inner, *a.args[1:])
    return _changed(node, aten.add.Tensor, a, b)


def _sub(node: fx.Node) -> fx.Node | None:
    if node.kwargs or len(node.args) > 2:
        return None
    a, b = _operands(node)
    if (n := filling(b)) is not None:
        if not _is_real(a, n, node):
            return None
        keeps = n == 0 and (is_plus_zero(n) or not sees_sign_of_zero(node))
        return a if keeps else _changed(node, aten.sub.Tensor, a, n)
    if filling(a) is not None:
        if not _is_real(b, filling(a), node):
            return None
        return call(node, aten.rsub.Scalar, b, filling(a))
    if _carries_result(a, node) and (opposite := _opposite(b, node)) is not None:
        return call(node, aten.add.Tensor, a, opposite)
    return _changed(node, aten.sub.Tensor, a, b)


def _opposite(x: Any, node: fx.Node) -> Any:
    """The negative of ``x`` for ``node`` to take, if that is there or takes fewer operations."""
    if x.target is aten.neg.default:
        return x.args[0]
    if x.target is not aten.mul.Tensor or len(x.users) > 1 or x.meta["val"].is_complex():
        return None
    # A product with `inner * factor`, where `inner * -factor` is there
    for scaled, other in (x.args, x.args[::-1]):
        inner, factor = _scaled(scaled)
        if factor is None or len(scaled.users) > 1 or not isinstance(other, fx.Node):
            continue
        for user in inner.users:
            if user.args == (inner, -factor) and user.target is aten.mul.Tensor and user < x:
                return call(node, aten.mul.Tensor, user, other)
    return None


# Matrices


def _bmm(node: fx.Node) -> fx.Node | None:
    """Products of columns and rows, of which each number is one product."""
    a, b = node.args
    x, result = value_of(a), node.meta["val"]
    if x is None or x.shape[2] != 1 or result.dtype not in (torch.float32, torch.float64):
        return None
    if sees_sign_of_zero(node):
        return None
    new = call(node, aten.mul.Tensor, a, b)
    return new if looks_like(new.meta["val"], result) else None


# Choices


def _where(node: fx.Node) -> fx.Node | None:
    """The one that a condition which is known chooses."""
    condition, then, otherwise = node.args
    known = filling(condition)
    if known is None:
        return None
    chosen = then if known else otherwise
    fits = isinstance(chosen, fx.Node) and looks_like(chosen.meta["val"], node.meta["val"])
    return chosen if fits else None  # type: ignore[return-value]


_RULES: dict[Any, Rule] = {
    **parts.RULES,
    **views.RULES,
    aten.add.Scalar: _add,
    aten.add.Tensor: _add,
    aten.bmm.default: _bmm,
    aten.div.Scalar: _div,
    aten.div.Tensor: _div,
    aten.mul.Scalar: _mul,
    aten.mul.Tensor: _mul,
    aten.neg.default: _neg,
    aten.pow.Tensor_Scalar: _pow,
    aten.sub.Scalar: _sub,
    aten.sub.Tensor: _sub,
    aten.where.self: _where,
}


# Helpers


def _operands(node: fx.Node) -> tuple[Any, Any]:
    """Return the two operands without the views that only make their shapes equal."""
    a, b = node.args[:2]
    a = _unbroadcast(a, b, node)
    # One after the other: of two that have the result's shape, one has to keep it
    return a, _unbroadcast(b, a, node)


def _unbroadcast(x: Any, other: Any, node: fx.Node) -> Any:
    if not isinstance(x, fx.Node) or not _carries_result(other, node):
        return x
    base = x.args[0] if name_of(x) in ("aten::expand", "aten::view", "aten::unsqueeze") else None
    value, result = value_of(base), node.meta["val"]
    if value is None or value.dtype != result.dtype or value.dim() > x.meta["val"].dim():
        return x
    # A view that only adds leading ones is what broadcasting does anyway
    added = x.meta["val"].dim() - value.dim()
    if name_of(x) != "aten::expand" and x.meta["val"].shape != (1,) * added + value.shape:
        return x
    return base


def _carries_result(x: Any, node: fx.Node) -> bool:
    """Whether ``x`` alone decides shape, dtype and device of the node's result."""
    value, result = value_of(x), node.meta["val"]
    return (
        value is not None
        and value.shape == result.shape
        and value.dtype == result.dtype
        and value.device == result.device
        and (value.is_floating_point() or value.is_complex())
    )


def _is_real(x: Any, number: Any, node: fx.Node) -> bool:
    """Whether ``x`` alone decides the result, which is real, and ``number`` is real as well.

    Products of complex numbers have four terms, of which a zero, an infinity or NaN is part.
    """
    real = isinstance(number, (int, float)) and not node.meta["val"].is_complex()
    return real and _carries_result(x, node)


def _changed(node: fx.Node, target: Any, *args: Any) -> fx.Node | None:
    if node.target is target and node.args == args:
        return None
    return call(node, target, *args)


def _scaled(x: Any) -> tuple[Any, Any]:
    """Take a node apart into ``factor * inner``; the factor is None if there is none."""
    if isinstance(x, fx.Node) and x.target is aten.neg.default:
        return x.args[0], -1
    if isinstance(x, fx.Node) and x.target is aten.mul.Tensor:
        inner, factor = x.args
        if not isinstance(factor, fx.Node) and _is_real(inner, factor, x):
            return inner, factor
    return x, None


def is_power_of_two(n: Any) -> bool:
    """Whether a quotient by ``n`` is the product with its inverse."""
    return isinstance(n, (int, float)) and math.frexp(abs(n))[0] == 0.5 and 2**-64 < abs(n) < 2**64
