"""Whether the active arguments of a call can be differentiated."""

import inspect
from collections.abc import Callable
from typing import Any

from diffface.backends._errors import InvalidArgumentError, NotDifferentiableError
from diffface.prep._layout import Layout
from diffface.prep._leaf import Static
from diffface.prep._operator import Operator
from diffface.prep._tree import paths


def check_differentiable(
    layout: Layout, f: Callable[..., Any], operator: Operator, holomorphic: bool
) -> None:
    """Refuse active arguments that have no derivative, before any work.

    Raises
    ------
    NotDifferentiableError
        If a leaf is no floating-point array or number.
    InvalidArgumentError
        If there is no leaf at all, or not the one number that the operator needs.
    """
    for i in layout.active:
        spec, leaves = layout.arguments[i]
        places = paths(spec) if spec is not None else [""]
        for leaf, place in zip(leaves, places, strict=True):
            if isinstance(leaf, Static):
                raise NotDifferentiableError(
                    f"`{argument_name(f, i)}{place}` must be floating-point, got "
                    f"{type(leaf.value).__name__}; wrap the argument in Const if it is constant."
                )
            if leaf.dtype.kind not in "fc":
                raise NotDifferentiableError(
                    f"`{argument_name(f, i)}{place}` must be floating-point, got {leaf.dtype.name}; "
                    "convert it with astype(float) or float(), or wrap it in Const if it is "
                    "constant."
                )
            if holomorphic and leaf.dtype.kind != "c":
                raise NotDifferentiableError(
                    f"`{argument_name(f, i)}{place}` must be complex because of holomorphic=True, got "
                    f"{leaf.dtype.name}; convert it, or leave holomorphic out."
                )
            if (
                not holomorphic
                and leaf.dtype.kind == "c"
                and not operator.complex_arguments
            ):
                raise NotDifferentiableError(
                    f"`{argument_name(f, i)}{place}` is complex, where {operator.name} is not defined"
                    + (" without holomorphic=True" if operator.order == 1 else "")
                    + "; differentiate with respect to its real and imaginary parts."
                )
    if not layout.primals:
        raise InvalidArgumentError(
            "There is nothing to differentiate: the active arguments have no leaves."
        )
    if operator.scalar_argument and [leaf.shape for leaf in layout.primals] != [()]:
        shapes = ", ".join(str(leaf.shape) for leaf in layout.primals)
        raise InvalidArgumentError(
            f"`{operator.name}` takes one active argument of shape (), got {shapes}; use `jacobian` or "
            "`pushforward` for arrays, and Const for the arguments that are constant."
        )


def argument_name(f: Callable[..., Any], position: int) -> str:
    """The parameter's name in ``f``, or its position where that cannot be known."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    named = parameters[position].kind if position < len(parameters) else None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return parameters[position].name if named in positional else f"args[{position}]"
