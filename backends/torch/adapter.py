"""PyTorch."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import InvalidArgumentError, MissingRuleError
from diffface.backends.generic import loop, push_of_rows, size, slices, stack
from diffface.backends.rule import Rule
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.levels import (
    captures,
    in_batch,
    in_derivative,
    in_transform,
    is_once_differentiable,
    may_capture,
    names_without_rule,
    transformed,
    uses_norms,
)
from diffface.backends.torch.numbers import NumberTakenError, Refusing, refuse_taken_numbers
from diffface.backends.torch.primitive import call_rule
from diffface.backends.torch.state import unchanged

# torch counts levels of forward differentiation in globals that all threads share.
_LEVELS = threading.RLock()

_AS_IT_IS = nullcontext()

# Outputs up to which a derivative that is differentiated again takes one pullback each.
_FEW = 32

# Set while a pushforward or pullback evaluates its function.
_nested: ContextVar[bool] = ContextVar("nested", default=False)

# Set inside a pushforward by dual numbers.
_dual: ContextVar[bool] = ContextVar("dual", default=False)

# Whether results must carry the derivatives of captured tensors; None: look whether there are any.
_follow: ContextVar[bool | None] = ContextVar("follow", default=False)


@final
@dataclass(frozen=True)
class Torch(Adapter):
    """PyTorch; prepared calls replay a traced graph.

    Parameters
    ----------
    compile : bool
        Run the traced graph compiled by inductor, which needs a C++ compiler; without one there is
        a warning, and the graph is replayed.
    """

    compile: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.compile, bool):
            raise InvalidArgumentError(f"`compile` must be True or False, got {self.compile!r}.")

    arrays = TORCH
    library = "torch"
    batching = "vectorized"

    @property
    def xp(self) -> Any:
        return xp

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        again = self._differentiated_again(x, dx)
        if not again:
            try:
                if in_transform():
                    return _push_functional(f, x, lambda push: push(dx))
                if (pushed := _push_dual(f, x, dx)) is not None:
                    return pushed
                again = True
            except (NotImplementedError, RuntimeError) as error:
                if not _lacks_forward(error):
                    raise
        y, push, aux = self._linearize_again(f, x) if again else self.linearize(f, x)
        return y, push(dx), aux

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        again = self._differentiated_again(x, seeds)
        # A batch of directions within one of points: torch's forward rules are wrong there for
        # some functions (det, solve), those of pullbacks are right.
        if not again and not in_batch():
            try:
                run = lambda push: self.batch(push, seeds, chunk_size)
                pushed = _push_functional(f, x, run)
                # What carries the derivative of something captured is differentiated again.
                again = any(a.requires_grad for a in pushed[1])
                if not again:
                    return pushed
            except (NotImplementedError, RuntimeError) as error:
                if not (_lacks_forward(error) or _lacks_batching(error)):
                    raise
        try:
            y, push, aux = self._linearize_again(f, x) if again else self.linearize(f, x)
            return y, self.batch(push, seeds, chunk_size), aux
        except MissingRuleError:  # no reverse mode, and no vmap: one after the other
            if again:
                raise
        singles = [self.pushforward(f, x, dx) for dx in slices(seeds, xp)]
        return singles[0][0], stack([dy for _, dy, _ in singles], seeds, xp), singles[0][2]

    def _differentiated_again(self, x: Arrays, dx: Arrays) -> bool:
        """Whether a pushforward is a part of what is being differentiated."""
        if _dual.get() or _follow.get() or in_derivative():
            return True
        again = False
        for a in (*x, *dx):
            again |= a.requires_grad
        return again

    def _linearize_again(self, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
        """`linearize`, to be differentiated again.

        Of pushforwards, forward or transposed, torch's own derivatives are wrong for some functions
        (det, solve, norms of layers); those of pullbacks are right, one for each output.
        """
        y, pull, aux = self.pullback(f, x)
        few = sum(map(size, y)) <= _FEW or uses_norms(y)
        if not few:
            return y, self._transposed(x, y, pull), aux
        # One after the other: batched, some rules take another branch (NaN for det).
        return y, push_of_rows(self, x, y, pull, partial(loop, xp=xp)), aux

    def linearize(self, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
        y, pull, aux = self.pullback(f, x)
        return y, self._transposed(x, y, pull), aux

    def _transposed(self, x: Arrays, y: Arrays, pull: Pull) -> Pull:
        with _Following(in_transform() or any(a.requires_grad for a in y)):
            ones = tuple(map(torch.ones_like, y))
            _, transposed, _ = self.pullback(lambda dy: (pull(dy), ()), ones)

        def push(dx: Arrays) -> Arrays:
            try:
                return transposed(dx)
            except MissingRuleError:  # of a function that can be differentiated once
                return push_of_rows(self, x, y, pull, self.batch)(dx)

        return push

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        if in_transform():
            return _functional_pullback(f, x)
        # Arrays that carry derivatives come from an outer differentiation, or are captured; then
        # the graph of the backward pass is needed, too.
        follow = _follow.get()
        nested, leaves = bool(follow), []
        for a in x:
            nested |= a.requires_grad
            leaves.append(_leaf(a))
        y, aux = _evaluate(f, tuple(leaves))
        ends = [i for i, a in enumerate(y) if a.requires_grad]
        outputs = [y[i] for i in ends]
        if not ends:
            refuse_taken_numbers(f, tuple(leaves))
        if follow is None and not nested:
            nested = captures(outputs, leaves)

        def pull(dy: Arrays) -> Arrays:
            again, seeds = nested, []
            for i in ends:
                again |= dy[i].requires_grad
                seeds.append(dy[i])
            if not ends:
                return tuple([torch.zeros_like(a) for a in x])
            try:
                dx = torch.autograd.grad(
                    outputs, leaves, seeds, retain_graph=True, create_graph=again,
                    allow_unused=True,
                )  # fmt: skip
            except NotImplementedError as error:
                raise _no_reverse(error) from error
            return _zeros_for_none(dx, x, outputs)

        if nested or not value:
            return y, pull, aux
        return _detach(y), pull, _detach(aux)

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        if _follow.get() is not False or in_transform():
            return Adapter.gradient(self, f, x, value=value)
        leaves = []
        for a in x:
            if a.requires_grad:
                return Adapter.gradient(self, f, x, value=value)
            leaves.append(a.detach().requires_grad_())
        y, aux = _evaluate(f, tuple(leaves))
        if not y[0].requires_grad:
            refuse_taken_numbers(f, tuple(leaves))
            return _detach(y), tuple(map(torch.zeros_like, x)), _detach(aux)
        # Once through the graph, which need not be kept for another time.
        try:
            dx: Arrays = torch.autograd.grad(y[0], leaves, allow_unused=True)
        except NotImplementedError as error:
            raise _no_reverse(error) from error
        unused = False
        for d in dx:
            unused |= d is None
        if unused:
            dx = _zeros_for_none(dx, x, y)
        return (_detach(y), dx, _detach(aux)) if value else (y, dx, aux)

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        # torch has no batching rule for conjugation, and complains; chunks need one seed at least.
        # Dual numbers are not batched.
        if _dual.get() or any(seed.is_complex() for seed in seeds) or not seeds[0].shape[0]:
            return loop(call, seeds, xp)
        try:
            # One evaluation of a random function has one draw.
            return torch.vmap(call, chunk_size=chunk_size, randomness="same")(seeds)
        except RuntimeError as error:
            if not _lacks_batching(error):
                raise
            return loop(call, seeds, xp)

    def build(self, program: Program, examples: Arrays) -> Compiled:
        from diffface.backends.torch.graph.build import build

        return build(program, examples, self.lift, self.compile)

    def dependence(self, program: Program, examples: Arrays, primals: int, order: int) -> Any:
        from diffface.backends.recording.linear import read_derivative
        from diffface.backends.torch.dependence import dependence

        return read_derivative(self, dependence, program, examples, primals, order)

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, bool | int | float):
            return torch.as_tensor(value, dtype=like.dtype, device=like.device)
        if isinstance(value, complex | np.ndarray | np.generic):
            return torch.as_tensor(value, device=like.device)
        raise TypeError

    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array:
        return xp.eye(rows, columns, k=-offset, dtype=like.dtype, device=like.device)

    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        if not torch.is_inference_mode_enabled():
            return _AS_IT_IS if torch.is_grad_enabled() else torch.enable_grad()
        scopes = ExitStack()
        scopes.enter_context(torch.inference_mode(False))
        scopes.enter_context(torch.enable_grad())
        return scopes

    def scratch(self, shape: tuple[int, ...], x: Arrays) -> Array:
        out = torch.zeros(shape, dtype=xp.result_type(*x), device=x[0].device)
        # A zero that is batched and carries tangents as x does, or torch could not write there.
        never = torch.zeros((), dtype=torch.bool, device=out.device)
        for a in x:
            if a.is_floating_point() or a.is_complex():
                out = out + torch.where(never, a.sum(), torch.zeros_like(a.sum())).to(out.dtype)
        return out

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return call_rule(rule, x)

    def is_nested(self) -> bool:
        return _nested.get() or transformed()

    def following(self, f: Any, traced: bool) -> AbstractContextManager[object]:
        follow: bool | None = traced
        if not traced and torch.is_grad_enabled() and (_nested.get() or may_capture(f)):
            follow = None
        if names_without_rule(f):
            scopes = ExitStack()
            scopes.enter_context(_Following(follow))
            scopes.enter_context(Refusing())
            return scopes
        return _AS_IT_IS if _follow.get() is follow else _Following(follow)

    def undisturbed(self, f: object) -> AbstractContextManager[object]:
        return unchanged(f)

    def explain(self, error: Exception) -> str | None:
        if isinstance(error, NumberTakenError):
            return "a number was taken out of a torch tensor that is being differentiated"
        text = str(error)
        if ("numpy()" in text and "requires grad" in text) or "__array__" in text:
            return "a NumPy function was called on a torch tensor that is being differentiated"
        return None


class _Following:
    """Sets whether captured tensors are followed."""

    __slots__ = ("_follow", "_token")

    def __init__(self, follow: bool | None) -> None:
        self._follow = follow

    def __enter__(self) -> None:
        self._token = _follow.set(self._follow)

    def __exit__(self, *_: object) -> None:
        _follow.reset(self._token)


def _evaluate(f: Function, leaves: Arrays) -> tuple[Arrays, Arrays]:
    token = _nested.set(True)
    try:
        return f(leaves)
    finally:
        _nested.reset(token)


def _push_dual(f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays, Arrays] | None:
    """Pushforward by dual numbers, which cost less than the transforms of torch.func.

    None if ``f`` captures what is differentiated, too.
    """
    follow = _follow.get()
    token = _dual.set(True)
    try:
        with _LEVELS, forward_ad.dual_level():
            # Variables, since NumPy functions would take other tensors and drop the tangent.
            leaves = tuple(map(_leaf, x))
            points = tuple(map(forward_ad.make_dual, leaves, dx))
            y, aux = _evaluate(f, points)
            if not any(a.requires_grad for a in y):
                refuse_taken_numbers(f, points)
            duals = [forward_ad.unpack_dual(a) for a in y]
            plain = tuple(forward_ad.unpack_dual(a).primal for a in aux)
    finally:
        _dual.reset(token)
    values = tuple(d.primal for d in duals)
    dy = tuple(torch.zeros_like(d.primal) if d.tangent is None else d.tangent for d in duals)
    if follow is None and captures([*values, *dy], leaves):
        return None
    return _detach(values), _detach(dy), _detach(plain)


def _push_functional(
    f: Function, x: Arrays, run: Callable[[Pull], Arrays]
) -> tuple[Arrays, Arrays, Arrays]:
    """Pushforwards by the transforms of torch.func, which nest and can be batched."""
    shared: list[tuple[Arrays, Arrays]] = []

    def push(seed: Arrays) -> Arrays:
        pushed: Any = torch.func.jvp(lambda *a: f(a), x, seed, has_aux=True)
        dy: Arrays = pushed[1]
        shared[:] = [(pushed[0], pushed[2])]
        return dy

    token = _nested.set(True)
    try:
        with _LEVELS:
            dy = run(push)
    finally:
        _nested.reset(token)
    y, aux = shared[0]
    if _follow.get() is False and not in_transform():
        return _detach(y), _detach(dy), _detach(aux)
    return y, dy, aux


def _functional_pullback(f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    pulled: Any = torch.func.vjp(lambda *a: f(a), *x, has_aux=True)
    y, pull, aux = pulled
    return y, pull, aux


def _leaf(array: Array) -> Array:
    """A new variable with the value, and any outer derivative, of ``array``."""
    # view_as, unlike detach, keeps the tangent of an outer forward differentiation.
    leaf = array.view_as(array)
    return leaf if leaf.requires_grad else leaf.requires_grad_()


def _detach(arrays: Arrays) -> Arrays:
    return tuple(a.detach() for a in arrays)


def _zeros_for_none(dx: Sequence[Array | None], like: Arrays, outputs: Sequence[Array]) -> Arrays:
    """Derivatives by leaves; None says that the outputs do not depend on one."""
    if None in [d if d is None else 0 for d in dx] and is_once_differentiable(outputs):
        raise MissingRuleError(
            "`f` calls a function that torch can differentiate only once (once_differentiable)."
        )
    return tuple([torch.zeros_like(a) if d is None else d for d, a in zip(dx, like, strict=True)])


def _no_reverse(error: Exception) -> MissingRuleError:
    return MissingRuleError(
        f"`f` calls a function that has no reverse mode ({error}); use mode='forward' or "
        "mode='auto'."
    )


def _lacks_forward(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, NotImplementedError) or "setup_context" in text


def _lacks_batching(error: Exception) -> bool:
    text = str(error)
    signs = ("atching rule not implemented", "does not have vmap support", "setup_context")
    return any(sign in text for sign in signs)
