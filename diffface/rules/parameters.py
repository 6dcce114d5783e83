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


def passed_on(
    source: inspect.Signature, target: inspect.Signature, values: Sequence[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for ``target``, after its first, from one value for each parameter of ``source``.

    They go by place, and keyword-only ones by name; all but those that are `ignored`.
    """
    left_out = ignored(source, target)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter, value in zip(source.parameters.values(), values, strict=True):
        if parameter.name in left_out:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs |= value
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = value
        else:
            args.append(value)
    return args, kwargs


def ignored(source: inspect.Signature, target: inspect.Signature) -> set[str]:
    """Names of the options of ``source`` alone.

    They are the keyword-only parameters that ``target`` does not name, and parameters with a
    default, from the first on for which ``target`` has no place, or one for another option.
    """
    places = list(target.parameters.values())[1:]
    names: set[str] = set()
    for place, parameter in enumerate(source.parameters.values()):
        if parameter.kind is parameter.KEYWORD_ONLY:
            left_out = parameter.name not in target.parameters
        else:
            optional = parameter.default is not parameter.empty
            left_out = optional and (bool(names) or not _has_place(places, place, parameter.name))
        if left_out:
            names.add(parameter.name)
    return names


def _has_place(places: list[inspect.Parameter], place: int, name: str) -> bool:
    """Whether the argument ``name`` is meant for what stands at ``place``."""
    for k, parameter in enumerate(places):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return True
        if k == place and parameter.kind is not parameter.KEYWORD_ONLY:
            return parameter.name == name or parameter.default is parameter.empty
    return False
