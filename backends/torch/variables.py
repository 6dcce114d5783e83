"""Variables: functions evaluated on new ones, and the backward pass to them."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import array_api_compat.torch as xp
import torch
from torch.autograd.graph import _engine_run_backward

from diffface.backends.adapter import Function, Pull
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import MissingRuleError, NotDifferentiableError
from diffface.backends.torch.attention import PlainAttention
from diffface.backends.torch.levels import is_once_differentiable
from diffface.backends.torch.numbers import NO_FLOOR

# Set while a pushforward or pullback evaluates its function.
NESTED: ContextVar[bool] = ContextVar("nested", default=False)

# Whether results must carry the derivatives of captured tensors; None: look whether there are any.
FOLLOW: ContextVar[bool | None] = ContextVar("follow", default=False)


# What marks variables that were made here.
OWN = "_diffface_own"


class Following:
    """Sets whether captured tensors are followed."""

    __slots__ = ("_follow", "_token")

    def __init__(self, follow: bool | None) -> None:
        self._follow = follow

    def __enter__(self) -> None:
        self._token = FOLLOW.set(self._follow)

    def __exit__(self, *_: object) -> None:
        FOLLOW.reset(self._token)


def evaluate(f: Function, leaves: Arrays, *, again: bool = False) -> tuple[Arrays, Arrays]:
    """``f(leaves)``, while `NESTED` says so.

    It may be differentiated twice inside of another evaluation, or if it is to be ``again``.
    """
    again |= NESTED.get()
    token = NESTED.set(True)
    try:
        if again:
            with PlainAttention():
                return f(leaves)
        return f(leaves)
    finally:
        NESTED.reset(token)


def leaf(array: Array) -> Array:
    """A new variable with the value, and any outer derivative, of ``array``."""
    # view_as, unlike detach, keeps the tangent of an outer forward differentiation.
    leaf = array.view_as(array)
    if not leaf.requires_grad:
        leaf.requires_grad_()
        setattr(leaf, OWN, True)
    return leaf


def detach(arrays: Arrays) -> Arrays:
    """``arrays`` without the derivatives that they carry."""
    return tuple(a.detach() for a in arrays)


def functional_pullback(f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    """The pullback by a transform of torch.func, as it must be within another."""
    with PlainAttention():
        pulled: Any = torch.func.vjp(lambda *a: f(a), *x, has_aux=True)
    y, pull, aux = pulled
    return y, pull, aux


def backward(
    outputs: Sequence[Array], seeds: Sequence[Array], leaves: Sequence[Array], keep: bool = False,
    again: bool = False,
) -> tuple[Array | None, ...]:  # fmt: skip
    """`torch.autograd.grad`, without its questions about arguments, which take a tenth of a call.

    With ``keep`` the graph is kept for another time; ``again`` makes what comes out differentiable.
    """
    try:
        found: tuple[Array | None, ...] = _engine_run_backward(
            tuple(outputs), tuple(seeds), keep, again, tuple(leaves), True, accumulate_grad=False
        )
    except NotImplementedError as error:
        raise MissingRuleError(
            f"`f` calls a function that has no reverse mode ({error}); use mode='forward' or "
            "mode='auto'."
        ) from error
    except RuntimeError as error:
        if "aten::floor_divide" not in str(error):
            raise
        raise NotDifferentiableError(
            f"`f` cannot be differentiated: {NO_FLOOR}. Take the functions from `xp = "
            "diffface.namespace(x)` instead."
        ) from error
    return found


def zeros_for_none(dx: Sequence[Array | None], like: Arrays, outputs: Sequence[Array]) -> Arrays:
    """Derivatives by leaves; None says that the outputs do not depend on one."""
    if None in [d if d is None else 0 for d in dx] and is_once_differentiable(outputs):
        raise MissingRuleError(
            "`f` calls a function that torch can differentiate only once (once_differentiable)."
        )
    return tuple([torch.zeros_like(a) if d is None else d for d, a in zip(dx, like, strict=True)])


def zeros(shape: tuple[int, ...], x: Arrays) -> Array:
    """Zeros for a function of ``x`` to write to, of the dtype of all of ``x``."""
    out = torch.zeros(shape, dtype=xp.result_type(*x), device=x[0].device)
    # A zero that is batched and carries tangents as x does, or torch could not write there.
    never = torch.zeros((), dtype=torch.bool, device=out.device)
    for a in x:
        if a.is_floating_point() or a.is_complex():
            out = out + torch.where(never, a.sum(), torch.zeros_like(a.sum())).to(out.dtype)
    return out
