"""Names of public functions with what each returns, and of backends."""

from collections.abc import Sequence

from diffface.backends.registry import Backend, list_backends, resolve


def named(asked: Sequence[str | Backend] | None) -> dict[str, Backend]:
    """``asked`` by name, objects by what they look like; None stands for all that are installed."""
    if asked is None:
        return {info.name: info.backend for info in list_backends() if info.backend is not None}
    return {b if isinstance(b, str) else repr(b): resolve(b) for b in asked}


FUNCTIONS: dict[str, tuple[str, ...]] = {
    "derivative": ("derivative",),
    "value_and_derivative": ("value", "derivative"),
    "second_derivative": ("second_derivative",),
    "value_derivative_and_second_derivative": ("value", "derivative", "second_derivative"),
    "gradient": ("gradient",),
    "value_and_gradient": ("value", "gradient"),
    "jacobian": ("jacobian",),
    "value_and_jacobian": ("value", "jacobian"),
    "hessian": ("hessian",),
    "value_gradient_and_hessian": ("value", "gradient", "hessian"),
    "hvp": ("hvp",),
    "gradient_and_hvp": ("gradient", "hvp"),
    "pushforward": ("pushforward",),
    "value_and_pushforward": ("value", "pushforward"),
    "pullback": ("pullback",),
    "value_and_pullback": ("value", "pullback"),
    "linearize": ("value", "pushforward"),
    "vjp": ("value", "pullback"),
}

# Of f at a fixed point: they return a callable, and have no preparation.
FIXED_POINT = ("linearize", "vjp")

# How often f is differentiated for an answer.
ORDER = {
    "value": 0, "derivative": 1, "second_derivative": 2, "gradient": 1, "jacobian": 1, "hessian": 2,
    "hvp": 2, "pushforward": 1, "pullback": 1,
}  # fmt: skip


def operator_of(function: str) -> str:
    """The operator that a function is a variant of."""
    return FUNCTIONS[function][-1]
