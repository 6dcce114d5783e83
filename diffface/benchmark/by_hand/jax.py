"""Derivatives as an expert writes them with JAX: a transformation under ``jax.jit``, built once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from diffface.benchmark.by_hand.library import Example, Library, put

# The event that JAX reports when XLA has compiled a program.
COMPILED = "/jax/core/compile/backend_compile_duration"

Transform = Callable[[Callable[..., Any], Any], Callable[..., Any]]


def _jitted(transform: Transform, example: Example) -> Callable[[], Any]:
    """``jax.jit(transform(f, argnums))``; arrays and numbers may move, the rest is fixed."""
    moving = [i for i, a in enumerate(example.args) if i in example.active or _moves(a)]
    fixed = example.args

    def f(*values: Any) -> Any:
        return example.f(*put(fixed, tuple(moving), values))

    where = [moving.index(i) for i in example.active]
    argnums = where[0] if len(where) == 1 else tuple(where)
    jitted = jax.jit(transform(example.f if len(moving) == len(fixed) else f, argnums))
    values = [fixed[i] for i in moving]
    if example.seed is not None:
        values.append(example.seed)
    return lambda: jitted(*values)


def _moves(argument: Any) -> bool:
    return all(isinstance(leaf, jax.Array | float) for leaf in jax.tree.leaves(argument))


def _along(f: Callable[..., Any], argnums: Any, args: Any) -> tuple[Callable[..., Any], Any]:
    """``f`` of its active arguments alone, and those."""
    where = (argnums,) if isinstance(argnums, int) else argnums
    return lambda *x: f(*put(args, where, x)), tuple(args[i] for i in where)


def _push(f: Callable[..., Any], argnums: Any) -> Callable[..., Any]:
    def pushforward(*args: Any) -> Any:
        *rest, dx = args
        g, x = _along(f, argnums, rest)
        return jax.jvp(g, x, dx)[1]

    return pushforward


def _pull(f: Callable[..., Any], argnums: Any) -> Callable[..., Any]:
    def pullback(*args: Any) -> Any:
        *rest, dy = args
        g, x = _along(f, argnums, rest)
        return jax.vjp(g, *x)[1](dy)

    return pullback


def _hvp(f: Callable[..., Any], argnums: Any) -> Callable[..., Any]:
    return _push(jax.grad(f, argnums), argnums)


def _jacobian(example: Example) -> Callable[[], Any]:
    return _jitted(jax.jacfwd if example.tall else jax.jacrev, example)


def _by(transform: Transform) -> Callable[[Example], Callable[[], Any]]:
    return lambda example: _jitted(transform, example)


BY_HAND = {
    "gradient": _by(jax.grad),
    "hessian": _by(jax.hessian),
    "hvp": _by(_hvp),
    "jacobian": _jacobian,
    "pushforward": _by(_push),
    "pullback": _by(_pull),
}


@contextmanager
def count_compilations() -> Iterator[Callable[[], int]]:
    """A count of what XLA has compiled since, by whomever in this process."""
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield lambda: len(compiled)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def devices() -> tuple[str, ...]:
    """The devices that JAX finds."""
    return tuple(str(device) for device in jax.devices())


LIBRARY = Library(lambda adapter: BY_HAND, count_compilations, devices)
