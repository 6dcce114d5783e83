"""Operations with derivatives of their own, in torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import forward_ad

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.rule import Active, Rule, among
from diffface.backends.torch.host import host_call
from diffface.backends.torch.levels import alive, in_derivative, in_transform, primal
from diffface.backends.torch.memory import innermost
from diffface.backends.torch.vmap import by_torch_vmap, is_batched


def call_rule(rule: Rule, x: Arrays) -> Arrays:
    """``rule`` at ``x``: its value, and its derivatives in every mode of torch."""
    apply: Callable[..., Arrays] = _Call.apply
    return apply(rule, *x)


class _Call(torch.autograd.Function):
    """``rule(*x)``. What backward needs is computed there, from inputs and outputs.

    torch differentiates a backward pass rightly only in what is saved of inputs and outputs.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rule: Rule, *x: Array) -> Arrays:
        before = _versions(x)
        y = host_call(rule, x) if rule.host else rule.evaluate(x)
        if before != _versions(x):
            raise NotDifferentiableError(
                f"`{rule.name}` writes to an argument; use custom_rule(copy=True), so that it "
                "gets copies."
            )
        return tuple(a.clone() if a._is_view() or any(a is b for b in x) else a for a in y)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        rule, *x = inputs
        ctx.rule, ctx.saved, ctx.count = rule, None, len(x)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*x, *output)
        ctx.save_for_forward(*x, *output)

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        if any(map(is_batched, dy)):
            return None, *by_torch_vmap(lambda *dy: _Call.backward(ctx, *dy)[1:], dy)
        arrays = tuple(map(alive, ctx.saved_tensors))
        x, y = arrays[: ctx.count], arrays[ctx.count :]
        dy = tuple(None if d is None else alive(d) for d in dy)
        active = frozenset(i for i, wanted in enumerate(ctx.needs_input_grad[1:]) if wanted)
        if not active or all(d is None for d in dy):
            return (None,) * (1 + len(x))
        given = tuple(torch.zeros_like(a) if d is None else d for a, d in zip(y, dy, strict=True))
        pull = ctx.rule.puller(active)
        with _untouched(ctx.rule, "pullback", (*x, *y, *given)):
            if pull is None:
                return None, *_pull_functionally(ctx.rule, active, y, x, given)
            dx = pull(_saved(ctx, active, y, x), given)
        if _is_differentiated_again():
            return None, *dx
        # A rule may differentiate on its own, and so leave a graph that nobody asked for.
        return None, *(None if d is None else d.detach() for d in dx)

    @staticmethod
    def jvp(ctx: Any, _: Any, *dx: Any) -> Any:
        if any(map(is_batched, dx)):
            return by_torch_vmap(lambda *dx: _Call.jvp(ctx, None, *dx), dx)
        # torch switches forward mode off for this, so that an outer forward differentiation would
        # find zeros. With it on, arrays must not carry the tangents of this level, too.
        with forward_ad._set_fwd_grad_enabled(True):
            arrays = [primal(alive(a)) for a in ctx.saved_tensors]
            x, y = tuple(arrays[: ctx.count]), tuple(arrays[ctx.count :])
            active = frozenset(i for i, d in enumerate(dx) if d is not None)
            push = ctx.rule.pusher(active)
            with _untouched(ctx.rule, "pushforward", (*x, *y, *(dx[i] for i in sorted(active)))):
                if push is None:
                    return _push_functionally(ctx.rule, active, y, x, dx)
                dy = push(y, x, dx)
            return tuple(d if _moves(a) else None for a, d in zip(y, dy, strict=True))


def _is_differentiated_again() -> bool:
    """Whether a backward pass is itself part of a derivative."""
    return torch.is_grad_enabled() or in_derivative()


def _saved(ctx: Any, active: Active, y: Arrays, x: Arrays) -> Any:
    """What the rule saves: computed once, unless it is itself part of a derivative or a batch."""
    if _is_differentiated_again() or in_transform():
        return ctx.rule.save(active, y, x)
    if ctx.saved is None:
        ctx.saved = (ctx.rule.save(active, y, x),)
    return ctx.saved[0]


def _pull_functionally(rule: Rule, active: Active, y: Arrays, x: Arrays, dy: Arrays) -> Any:
    """By transposing pushforwards, which are linear, or by differentiating the function itself."""
    push, places = rule.pusher(active), sorted(active)
    inexact = [i for i, a in enumerate(y) if _moves(a)]

    def of_moving(*moving: Array) -> Arrays:
        if push is not None:
            found = push(y, x, among(moving, places, [None] * len(x)))
        else:
            found = rule.evaluate(among(moving, places, x))
        return tuple(found[i] for i in inexact)

    points = (x[i] if push is None else torch.ones_like(x[i]) for i in places)
    pull: Any = torch.func.vjp(of_moving, *points)[1]
    return among(pull(tuple(dy[i] for i in inexact)), places, [None] * len(x))


def _push_functionally(
    rule: Rule, active: Active, y: Arrays, x: Arrays, dx: Arrays
) -> tuple[Array | None, ...]:
    """By transposing pullbacks, linearised away from zero: they need not be linear (a clip)."""
    pull, places = rule.puller(active), [i for i, a in enumerate(y) if _moves(a)]
    saved = None if pull is None else rule.save(active, y, x)

    def of_cotangents(*cotangents: Array) -> Arrays:
        given = among(cotangents, places, [torch.zeros_like(a) for a in y])
        dx = _pull_functionally(rule, active, y, x, given) if pull is None else pull(saved, given)
        return tuple(d for d in dx if d is not None)

    push: Any = torch.func.vjp(of_cotangents, *(torch.ones_like(y[i]) for i in places))[1]
    return among(push(tuple(dx[i] for i in sorted(active))), places, [None] * len(y))


def _moves(a: Array) -> bool:
    return bool(a.is_floating_point() or a.is_complex())


@contextmanager
def _untouched(rule: Rule, mode: str, given: Arrays) -> Iterator[None]:
    """Where a rule must not write to arrays that others read later."""
    before = _versions(given)
    yield
    if before != _versions(given):
        raise NotDifferentiableError(
            f"A rule of `{rule.name}` writes to an array that it is given for the {mode}, which "
            "others read later; write to a copy, as of `x.clone()`."
        )


def _versions(arrays: Arrays) -> list[int]:
    """How often each was written to."""
    return [_version(a) for a in arrays]


def _version(a: Array) -> int:
    if not torch.compiler.is_dynamo_compiling():  # which cannot trace the question
        a = innermost(a)  # a batch does not tell
    return 0 if a.is_inference() else int(a._version)
