"""What differs between the signature of a preparation and that of a call."""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from diffface.prep.arguments.signature import Argument, Signature
from diffface.prep.arguments.tree import paths, shown, unflatten
from diffface.prep.validate import argument_name


def report(prepared: Signature, called: Signature, f: Callable[..., Any]) -> str:
    """A message that lists, argument by argument, only what differs."""
    lines = []
    arguments = zip_longest(prepared.arguments, called.arguments)
    for i, (before, now) in enumerate(arguments):
        if before != now:
            keyword = i - (len(prepared.arguments) - len(prepared.keywords))
            name = prepared.keywords[keyword] if keyword >= 0 else argument_name(f, i)
            lines += _differences(name, before, now)
    return (
        "The arguments differ from those it was prepared with:\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nPrepare anew for these, or with on_mismatch='reprepare'."
    )


def _differences(name: str, before: Argument, now: Argument) -> list[str]:
    if before.spec != now.spec:
        return [f"`{name}`: prepared with {_structure(before)}, called with {_structure(now)}"]
    places = paths(before.spec) if before.spec is not None else [""]
    return [
        f"`{name}{place}`: prepared with {old}, called with {new}"
        for place, old, new in zip(places, before.leaves, now.leaves, strict=True)
        if old != new
    ]


def _structure(argument: Argument) -> str:
    if argument.spec is None or argument.spec.is_leaf():
        return str(argument.leaves[0])
    if argument.spec.num_nodes == 1 and not argument.leaves:
        return f"static {unflatten(argument.spec, ())!r}"
    return f"the structure {shown(argument.spec)}"
