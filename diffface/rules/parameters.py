"""Parameters of a function: its signature, and the call with one value for each."""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_ANY = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


def signature_of(f: Callable[..., Any]) -> inspect.Signature:
    """The signature of ``f``.

    That of ``*args, **kwargs`` for C functions that tell none, and the inputs alone for NumPy's
    ufuncs, which refuse some of their keywords together, even at their defaults.
    """
    if isinstance(f, np.ufunc):
        names = ["x"] if f.nin == 1 else [f"x{i}" for i in range(f.nin)]
        kind = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(name, kind) for name in names])
    try:
        return inspect.signature(f)
    except (TypeError, ValueError):
        return _ANY


def tells_none(signature: inspect.Signature) -> bool:
    """Whether `signature_of` found no signature."""
    return signature is _ANY


def called(f: Callable[..., Any], signature: inspect.Signature, values: Sequence[Any]) -> Any:
    """``f`` at one value for each of its parameters."""
    bound = inspect.BoundArguments(
        signature, OrderedDict(zip(signature.parameters, values, strict=True))
    )
    return f(*bound.args, **bound.kwargs)


def ignored(source: inspect.Signature, target: inspect.Signature) -> set[str]:
    """Names of the keyword-only parameters of ``source`` that `passed_on` leaves out."""
    return {
        name
        for name, parameter in source.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in target.parameters
    }


def passed_on(
    source: inspect.Signature, target: inspect.Signature, values: Sequence[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for ``target``, after its first, from one value for each parameter of ``source``.

    They go by place, and keyword-only ones by name. Options of ``source`` alone are left out:
    keyword-only ones that ``target`` does not name, and those at the end that are at their
    defaults, for which it has no place or an option of another name.
    """
    places = list(target.parameters.values())[1:]
    optional: list[inspect.Parameter] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter, value in zip(source.parameters.values(), values, strict=True):
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs |= value
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            args.append(value)
            at_default = value is parameter.default
            optional = [*optional, parameter] if at_default else []
        elif parameter.name in target.parameters:
            kwargs[parameter.name] = value
    while optional and not _has_place(places, len(args) - 1, optional.pop().name):
        args.pop()
    return args, kwargs


def _has_place(places: list[inspect.Parameter], place: int, name: str) -> bool:
    """Whether the argument ``name`` is meant for what stands at ``place``."""
    for k, parameter in enumerate(places):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return True
        if k == place and parameter.kind is not parameter.KEYWORD_ONLY:
            return parameter.name == name or parameter.default is parameter.empty
    return False
