"""PyTorch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, final

import array_api_compat.torch as xp
import numpy as np
import torch
from torch._C._dynamo.eval_frame import set_eval_frame

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import InvalidArgumentError, MissingRuleError
from diffface.backends.generic import Some, slices, stack
from diffface.backends.rule import Rule
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.deferred import deferred
from diffface.backends.torch.levels import (
    captures,
    in_batch,
    in_transform,
    may_capture,
    names_without_rule,
    transformed,
)
from diffface.backends.torch.memory import Memory, as_read
from diffface.backends.torch.numbers import Refusing, hint, refuse_taken_numbers
from diffface.backends.torch.primitive import call_rule
from diffface.backends.torch.processes import refuse_synchronised
from diffface.backends.torch.pushforward import (
    differentiated_again,
    lacks_rule,
    linearize_again,
    push_dual,
    push_functional,
    transposed,
)
from diffface.backends.torch.state import Restoring, settings, unchanged
from diffface.backends.torch.variables import (
    FOLLOW,
    NESTED,
    Following,
    backward,
    detach,
    evaluate,
    functional_pullback,
    leaf,
    zeros,
    zeros_for_none,
)
from diffface.backends.torch.vmap import batched, lacks_batching

_AS_IT_IS = nullcontext()


@final
@dataclass(frozen=True)
class Torch(Adapter):
    """PyTorch; prepared calls replay a traced graph.

    Parameters
    ----------
    compile : bool
        Run the traced graph compiled by inductor, which needs a C++ compiler; without one there is
        a warning, and the graph is replayed.
    randomness : {"different", "same"}
        Whether each of many points (``in_axes``) draws random numbers of its own, such as those of
        dropout, or all of them share one draw.
    """

    compile: bool = False
    randomness: Literal["different", "same"] = field(default="different", repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.compile, bool):
            raise InvalidArgumentError(f"`compile` must be True or False, got {self.compile!r}.")
        if self.randomness not in ("different", "same"):
            raise InvalidArgumentError(
                f"`randomness` must be 'different' or 'same', got {self.randomness!r}."
            )

    arrays = TORCH
    library = "torch"
    batching = "vectorized"

    @property
    def xp(self) -> Any:
        return xp

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        again = differentiated_again(x, dx)
        if not again:
            try:
                if in_transform():
                    return push_functional(f, x, lambda push: push(dx))
                if (pushed := push_dual(f, x, dx)) is not None:
                    return pushed
                again = True
            except (NotImplementedError, RuntimeError) as error:
                if not lacks_rule(error):
                    raise
        y, push, aux = linearize_again(self, f, x) if again else self.linearize(f, x)
        return y, push(dx), aux

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        again = differentiated_again(x, seeds)
        # A batch of directions within one of points: torch's forward rules are wrong there for
        # some functions (det, solve), those of pullbacks are right.
        if not again and not in_batch():
            try:
                run = lambda push: self.batch(push, seeds, chunk_size)
                pushed = push_functional(f, x, run)
                # What carries the derivative of something captured is differentiated again.
                again = any(a.requires_grad for a in pushed[1])
                if not again:
                    return pushed
            except (NotImplementedError, RuntimeError) as error:
                if not (lacks_rule(error) or lacks_batching(error)):
                    raise
        try:
            y, push, aux = linearize_again(self, f, x) if again else self.linearize(f, x)
            return y, self.batch(push, seeds, chunk_size), aux
        except MissingRuleError:  # no reverse mode, and no vmap: one after the other
            if again:
                raise
        singles = [self.pushforward(f, x, dx) for dx in slices(seeds, xp)]
        return singles[0][0], stack([dy for _, dy, _ in singles], seeds, xp), singles[0][2]

    def linearize(self, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
        y, pull, aux = self.pullback(f, x)
        return y, transposed(self, x, y, pull), aux

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        if in_transform():
            return functional_pullback(f, x)
        # Arrays that carry derivatives come from an outer differentiation, or are captured; then
        # the graph of the backward pass is needed, too.
        follow = FOLLOW.get()
        nested, leaves = bool(follow), []
        for a in x:
            nested |= a.requires_grad
            leaves.append(leaf(a))
        # Directions may be batched, of which the fused kernels of attention know nothing either.
        y, aux = evaluate(f, tuple(leaves), again=True)
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
            dx = backward(outputs, seeds, leaves, keep=True, again=again)
            return zeros_for_none(dx, x, outputs)

        if nested or not value:
            return y, pull, aux
        return detach(y), pull, detach(aux)

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        if FOLLOW.get() is not False or in_transform():
            return Adapter.gradient(self, f, x, value=value)
        leaves = []
        for a in x:
            if a.requires_grad:
                return Adapter.gradient(self, f, x, value=value)
            leaves.append(a.detach().requires_grad_())
        y, aux = evaluate(f, tuple(leaves))
        if not y[0].requires_grad:
            refuse_taken_numbers(f, tuple(leaves))
            return detach(y), tuple(map(torch.zeros_like, x)), detach(aux)
        # Once through the graph, which need not be kept for another time.
        dx: Arrays = backward(y, (torch.ones_like(y[0]),), leaves)
        unused = False
        for d in dx:
            unused |= d is None
        if unused:
            dx = zeros_for_none(dx, x, y)
        return (detach(y), dx, detach(aux)) if value else (y, dx, aux)

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        # One evaluation of a random function has one draw.
        return batched(call, seeds, chunk_size, "same")

    def at_points(self, call: Pull, points: Arrays, chunk_size: int | None = None) -> Arrays:
        return batched(call, points, chunk_size, self.randomness)

    def repeated(self, call: Some) -> Some:
        # Each evaluation of a random function has the same draw.
        state = torch.get_rng_state()

        def repeated(start: int, count: int) -> tuple[Arrays, Arrays]:
            torch.set_rng_state(state)
            return call(start, count)

        return repeated

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
        if torch.is_inference_mode_enabled():
            return Restoring(torch.inference_mode(False), torch.enable_grad())
        if not torch.is_grad_enabled():
            return Restoring(torch.enable_grad())
        # Within another call it is that one which puts all back.
        return _AS_IT_IS if NESTED.get() else Restoring()

    def scratch(self, shape: tuple[int, ...], x: Arrays) -> Array:
        return zeros(shape, x)

    def written(self, f: Callable[[], Array], memory: Sequence[Any]) -> Array:
        # torch.compile follows the function itself, and writes new values in place of old ones.
        if torch.compiler.is_compiling():
            return f()
        # What torch.compile leaves out of a graph runs as it is: it could not follow the mode.
        follow = set_eval_frame(None)
        try:
            with Memory(memory):
                return f()
        finally:
            set_eval_frame(follow)

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return call_rule(rule, as_read(x))

    def is_nested(self) -> bool:
        return NESTED.get() or transformed()

    def deferred(
        self, outputs: Arrays, variables: Arrays, held: Arrays, again: Callable[[Arrays], Arrays]
    ) -> Arrays:
        return deferred(outputs, variables, held, again)

    def following(self, f: Any, traced: bool) -> AbstractContextManager[object]:
        refuse_synchronised(f)
        follow: bool | None = traced
        if not traced and torch.is_grad_enabled() and (NESTED.get() or may_capture(f)):
            follow = None
        if names_without_rule(f):
            scopes = ExitStack()
            scopes.enter_context(Following(follow))
            scopes.enter_context(Refusing())
            return scopes
        return _AS_IT_IS if FOLLOW.get() is follow else Following(follow)

    def undisturbed(self, f: object) -> AbstractContextManager[object]:
        refuse_synchronised(f)
        return unchanged(f)

    def settings(self) -> tuple[tuple[Callable[[], object], object], ...]:
        return settings()

    def explain(self, error: Exception) -> str | None:
        return hint(error)
