"""The derivatives of an operation from the rules that it has: the ladder.

The rule of the smallest registered set of arguments that contains the active ones, then the
general rule, then the other mode's rule transposed (by a basis of directions if it is NumPy code),
then the derivative of the function itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.registry import computing
from diffface.backends.rule import Active, Output, Puller, Pusher, among
from diffface.prep.arguments.tree import Spec, unflatten
from diffface.rules.arguments import Arguments
from diffface.rules.host_derivative import HostDerivative, transpose_by_basis
from diffface.rules.operation import Derivative, Operation, Ruled, numpy_adapter, own


@dataclass(frozen=True, slots=True)
class Shapes:
    """What does not change with the values: the tree of y, and (shape, dtype) of each of x."""

    tree: Spec
    x: tuple[tuple[tuple[int, ...], Any], ...]


class RuledOperation(Operation):
    """An operation with the rules of its function."""

    def __init__(self, function: Ruled, arguments: Arguments, adapter: Adapter) -> None:
        super().__init__(function, arguments, adapter)
        self._on_host: dict[Any, HostDerivative] = {}

    def save(self, active: Active, y: Arrays, x: Arrays) -> Any:
        rule = self.function.pulls.pick(self.arguments.names_of(active))
        if rule is None or rule.black_box:
            return y, x
        return self._shapes(x), self._saved(active, y, x)

    def puller(self, active: Active) -> Puller | None:
        pull, push = self._rules(active)
        if pull is None and push is None and self.host:
            self._refuse(active)
        if pull is not None and not pull.black_box:
            return partial(self._pull, pull, active, self.adapter)
        if pull is None and (push is None or not push.black_box):
            return None
        return self._pull_on_host(active)

    def pusher(self, active: Active) -> Pusher | None:
        pull, push = self._rules(active)
        if pull is None and push is None and self.host:
            self._refuse(active)
        if push is not None and not push.black_box:
            return partial(self._push, push, active, self.adapter)
        if push is None and (pull is None or not pull.black_box):
            return None
        return self._push_on_host(active)

    def _rules(self, active: Active) -> tuple[Derivative | None, Derivative | None]:
        names = self.arguments.names_of(active)
        return self.function.pulls.pick(names), self.function.pushes.pick(names)

    def _shapes(self, x: Arrays) -> Shapes:
        return Shapes(self.tree(x), tuple((tuple(a.shape), a.dtype) for a in x))

    def _saved(self, active: Active, y: Arrays, x: Arrays) -> Any:
        result, args = unflatten(self.tree(x), y), self.arguments.filled(x)
        if self.function.saver is None:
            return (result, *args)
        result, args = own((result, args), self.function.copy)
        return self.function.saver(self.arguments.names_of(active), result, *args)

    # Rules, applied to flat arrays and checked

    def _pull(
        self, rule: Derivative, active: Active, adapter: Adapter, saved: Any, dy: Arrays
    ) -> tuple[Array | None, ...]:
        shapes, found = saved
        names = self.arguments.names_of(active)
        given = own((found, unflatten(shapes.tree, dy)), self.function.copy)
        with _computing_for(adapter):
            returned = rule.compute(names, *given)
        entries = self._entries(returned)
        dx: list[Array | None] = [None] * len(shapes.x)
        for parameter in sorted({self.arguments.parameters[i] for i in active}):
            name = self.arguments.names[parameter]
            for i, value in self._leaves(parameter, entries[parameter]):
                if i in active:
                    dx[i] = _fitted(
                        adapter, value, shapes.x[i], dy[0],
                        f"The pullback rule of `{self.name}`", f"for `{name}`",
                    )  # fmt: skip
        return tuple(dx)

    def _entries(self, returned: Any) -> tuple[Any, ...]:
        count = len(self.arguments.names)
        if isinstance(returned, tuple) and len(returned) == count:
            return returned
        if count == 1:
            return (returned,)
        found = f"{len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise NotDifferentiableError(
            f"The pullback rule of `{self.name}` must return a tuple of {count}, one entry per "
            f"argument ({', '.join(self.arguments.names)}) and None where it is not active, got "
            f"{found}."
        )

    def _leaves(self, parameter: int, entry: Any) -> list[tuple[int, Any]]:
        try:
            return self.arguments.entries(parameter, entry)
        except ValueError as error:
            raise NotDifferentiableError(
                f"The pullback rule of `{self.name}` must return the structure of "
                f"`{self.arguments.names[parameter]}` for it: {error}."
            ) from None

    def _push(
        self, rule: Derivative, active: Active, adapter: Adapter, y: Arrays, x: Arrays,
        dx: Sequence[Array | None],
    ) -> Arrays:  # fmt: skip
        tangents = self.arguments.tangents(dx, lambda i: adapter.xp.zeros_like(x[i]))
        value = (unflatten(self.tree(x), y),) if rule.takes_value else ()
        given = own((*value, tuple(self.arguments.filled(x)), tangents), self.function.copy)
        with _computing_for(adapter):
            returned = rule.compute(self.arguments.names_of(active), *given)
        subject = f"The pushforward rule of `{self.name}`"
        try:
            leaves = self.tree(x).flatten_up_to(returned)
        except ValueError as error:
            raise NotDifferentiableError(
                f"{subject} must return the structure of the result: {error}."
            ) from None
        return tuple(
            _fitted(adapter, d, (tuple(a.shape), a.dtype), a, subject, "for the result")
            for d, a in zip(leaves, y, strict=True)
        )

    # No rule

    def _refuse(self, active: Active) -> NoReturn:
        raise NotDifferentiableError(
            f"`{self.name}` is NumPy code (black_box=True) and has no rule for the derivative "
            f"with respect to {self._shown(active)}; write a pullback or a pushforward, or "
            'use `diffface.bridge(f, backend="numpy")`, which takes differences.'
        )

    def _shown(self, active: Active) -> str:
        return " and ".join(f"`{name}`" for name in sorted(self.arguments.names_of(active)))

    # NumPy rules, on the host: operations on (*x, *y, *dy or *dx)

    def _pull_on_host(self, active: Active) -> Puller:
        places = sorted(active)

        def compute(arrays: Arrays) -> Arrays:
            x, rest = arrays[: self._count], arrays[self._count :]
            y, dy = rest[: len(rest) // 2], rest[len(rest) // 2 :]
            dx = self._pulled_by_numpy(active, x, y, dy)
            return tuple(dx[i] for i in places)

        def like(arrays: Arrays) -> list[Output]:
            return [Output(*self.described(arrays[i])) for i in places]

        operation = self._hosted("pullback", active, compute, like)

        def pull(saved: Any, dy: Arrays) -> tuple[Array | None, ...]:
            y, x = saved
            found = self.adapter.primitive(operation, (*x, *y, *dy))
            return among(found, places, [None] * len(x))

        return pull

    def _push_on_host(self, active: Active) -> Pusher:
        places = sorted(active)

        def compute(arrays: Arrays) -> Arrays:
            x, rest = arrays[: self._count], arrays[self._count :]
            y, dx = rest[: len(rest) - len(places)], rest[len(rest) - len(places) :]
            return self._pushed_by_numpy(active, x, y, among(dx, places, [None] * len(x)))

        def like(arrays: Arrays) -> list[Output]:
            results = arrays[self._count : len(arrays) - len(places)]
            return [Output(*self.described(a)) for a in results]

        operation = self._hosted("pushforward", active, compute, like)

        def push(y: Arrays, x: Arrays, dx: Sequence[Array | None]) -> Arrays:
            return self.adapter.primitive(operation, (*x, *y, *(dx[i] for i in places)))

        return push

    @property
    def _count(self) -> int:
        return len(self.arguments.places)

    def _hosted(
        self, mode: str, active: Active, compute: Callable[[Arrays], Arrays],
        like: Callable[[Arrays], list[Output]],
    ) -> HostDerivative:  # fmt: skip
        # Kept, since compiled programs refer to it.
        name = f"The {mode} of `{self.name}`"
        return self._on_host.setdefault((mode, active), HostDerivative(name, compute, like))

    def _pulled_by_numpy(
        self, active: Active, x: Arrays, y: Arrays, dy: Arrays
    ) -> tuple[Array | None, ...]:
        pull, push = self._rules(active)
        if pull is not None:
            saved = self._shapes(x), self._saved(active, y, x)
            return self._pull(pull, active, numpy_adapter(), saved, dy)
        assert push is not None
        places, inexact = sorted(active), _inexact(y)

        def linear(moving: Arrays) -> Arrays:
            dx = among(moving, places, [None] * len(x))
            pushed = self._push(push, active, numpy_adapter(), y, x, dx)
            return tuple(pushed[i] for i in inexact)

        given = tuple(dy[i] for i in inexact)
        found = transpose_by_basis(linear, tuple(x[i] for i in places), given)
        return among(found, places, [None] * len(x))

    def _pushed_by_numpy(
        self, active: Active, x: Arrays, y: Arrays, dx: tuple[Array | None, ...]
    ) -> Arrays:
        pull, push = self._rules(active)
        if push is not None:
            return self._push(push, active, numpy_adapter(), y, x, dx)
        assert pull is not None
        places, inexact = sorted(active), _inexact(y)
        saved = self._shapes(x), self._saved(active, y, x)
        zeros = tuple(map(np.zeros_like, y))

        def linear(cotangents: Arrays) -> Arrays:
            dy = among(cotangents, inexact, zeros)
            pulled = self._pull(pull, active, numpy_adapter(), saved, dy)
            return tuple(pulled[i] for i in places)

        given = tuple(dx[i] for i in places)
        found = transpose_by_basis(linear, tuple(y[i] for i in inexact), given)
        return among(found, inexact, zeros)


@contextmanager
def _computing_for(adapter: Adapter) -> Iterator[None]:
    token = computing.set(adapter)
    try:
        yield
    finally:
        computing.reset(token)


def _inexact(arrays: Arrays) -> list[int]:
    return [i for i, a in enumerate(arrays) if a.dtype.kind in "fc"]


def _fitted(
    adapter: Adapter, value: object, like: tuple[tuple[int, ...], Any], example: Array,
    subject: str, whose: str,
) -> Array:  # fmt: skip
    """One array of a rule's result, with the shape and dtype that it must have."""
    shape, dtype = like
    if value is None:
        raise NotDifferentiableError(
            f"{subject} returned None {whose}, which is active; return zeros where the derivative "
            "is zero."
        )
    try:
        array = adapter.lift(value, example)
    except TypeError:
        raise NotDifferentiableError(
            f"{subject} must return an array {whose}, got {type(value).__name__}."
        ) from None
    found = tuple(array.shape)
    if found != shape:
        raise NotDifferentiableError(
            f"{subject} must return an array of shape {shape} {whose}, got shape {found}."
        )
    if array.dtype == dtype:
        return array
    xp = adapter.xp
    if xp.isdtype(array.dtype, "complex floating") and not xp.isdtype(dtype, "complex floating"):
        array = xp.real(array)
    return xp.astype(array, dtype)
