"""PyTorch."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, final

import array_api_compat.torch as xp
import numpy as np
import torch
from torch.autograd import forward_ad

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.generic import loop
from diffface.backends.rule import Rule
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.numbers import NumberTakenError, refuse_taken_numbers
from diffface.backends.torch.primitive import call_rule

# torch counts levels of forward differentiation in globals that all threads share.
_LEVELS = threading.RLock()

_AS_IT_IS = nullcontext()

# Set inside the transforms of torch.func, where a pullback has to be one of them, too.
_functional: ContextVar[bool] = ContextVar("functional", default=False)

# Set inside a pushforward by dual numbers.
_dual: ContextVar[bool] = ContextVar("dual", default=False)


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
        nested = _functional.get()
        try:
            if nested:
                return _push_functional(f, x, lambda push: push(dx))
            if not _dual.get():  # dual numbers do not nest
                return _push_dual(f, x, dx)
        except NotImplementedError:  # an operation without a forward rule
            if nested:
                raise
        y, push, aux = self.linearize(f, x)
        return y, push(dx), aux

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        try:
            return _push_functional(f, x, lambda push: self.batch(push, seeds, chunk_size))
        except NotImplementedError:  # an operation without a forward rule
            if _functional.get():
                raise
        y, push, aux = self.linearize(f, x)
        return y, self.batch(push, seeds, chunk_size), aux

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        if _functional.get():
            return _functional_pullback(f, x)
        # Only an outer differentiation hands in arrays that carry derivatives; then the graph of
        # the backward pass is needed, too.
        nested, leaves = False, []
        for a in x:
            nested |= a.requires_grad
            leaves.append(_leaf(a))
        y, aux = f(tuple(leaves))
        ends = [i for i, a in enumerate(y) if a.requires_grad]
        outputs = [y[i] for i in ends]
        if not ends:
            refuse_taken_numbers(f, tuple(leaves))

        def pull(dy: Arrays) -> Arrays:
            again, seeds = nested, []
            for i in ends:
                again |= dy[i].requires_grad
                seeds.append(dy[i])
            if not ends:
                return tuple([torch.zeros_like(a) for a in x])
            dx = torch.autograd.grad(
                outputs, leaves, seeds, retain_graph=True, create_graph=again, allow_unused=True
            )
            return tuple(
                [torch.zeros_like(a) if d is None else d for d, a in zip(dx, x, strict=True)]
            )

        if nested or not value:
            return y, pull, aux
        return _detach(y), pull, _detach(aux)

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        if _functional.get():
            return Adapter.gradient(self, f, x, value=value)
        leaves = []
        for a in x:
            if a.requires_grad:
                return Adapter.gradient(self, f, x, value=value)
            leaves.append(a.detach().requires_grad_())
        y, aux = f(tuple(leaves))
        if not y[0].requires_grad:
            refuse_taken_numbers(f, tuple(leaves))
            return _detach(y), tuple(map(torch.zeros_like, x)), _detach(aux)
        # Once through the graph, which need not be kept for another time.
        dx: Arrays = torch.autograd.grad(y[0], leaves, allow_unused=True)
        unused = False
        for d in dx:
            unused |= d is None
        if unused:
            dx = tuple(
                [torch.zeros_like(a) if d is None else d for d, a in zip(dx, x, strict=True)]
            )
        return (_detach(y), dx, _detach(aux)) if value else (y, dx, aux)

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        # torch has no batching rule for conjugation, and complains; chunks need one seed at least.
        if any(seed.is_complex() for seed in seeds) or not seeds[0].shape[0]:
            return loop(call, seeds, xp)
        try:
            return torch.vmap(call, chunk_size=chunk_size)(seeds)
        except RuntimeError as error:
            if "atching rule not implemented" not in str(error):
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

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return call_rule(rule, x)

    def explain(self, error: Exception) -> str | None:
        if isinstance(error, NumberTakenError):
            return "a number was taken out of a torch tensor that is being differentiated"
        text = str(error)
        if ("numpy()" in text and "requires grad" in text) or "__array__" in text:
            return "a NumPy function was called on a torch tensor that is being differentiated"
        return None


def _push_dual(f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays, Arrays]:
    """Pushforward by dual numbers, which cost less than the transforms of torch.func."""
    token = _dual.set(True)
    try:
        with _LEVELS, forward_ad.dual_level():
            # Variables, since NumPy functions would take other tensors and drop the tangent.
            points = tuple(map(forward_ad.make_dual, map(_leaf, x), dx))
            y, aux = f(points)
            if not any(a.requires_grad for a in y):
                refuse_taken_numbers(f, points)
            duals = [forward_ad.unpack_dual(a) for a in y]
            plain = tuple(forward_ad.unpack_dual(a).primal for a in aux)
    finally:
        _dual.reset(token)
    values = tuple(d.primal for d in duals)
    dy = tuple(torch.zeros_like(d.primal) if d.tangent is None else d.tangent for d in duals)
    if any(a.requires_grad for a in (*x, *dx)):
        return values, dy, plain
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

    token = _functional.set(True)
    try:
        with _LEVELS:
            dy = run(push)
    finally:
        _functional.reset(token)
    return shared[0][0], dy, shared[0][1]


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
