"""Which arguments of a call are active."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffface.backends._errors import InvalidArgumentError
from diffface.prep._const import Const
from diffface.prep._layout import Call


def bind(
    args: Sequence[object], argnums: int | Sequence[int] | None, kwargs: Mapping[str, Any] | None
) -> Call:
    """The arguments without their ``Const``, and which are active."""
    values = tuple(a.value if isinstance(a, Const) else a for a in args)
    if argnums is None:
        active = tuple(i for i, a in enumerate(args) if not isinstance(a, Const))
        bare = len(active) == 1
    else:
        active, bare = _positions(argnums, args), isinstance(argnums, int)
    if not active:
        raise InvalidArgumentError(
            "There is no active argument: "
            + ("`f` was given none." if not args else "every one is Const, or `argnums` is empty.")
            + " Leave at least one argument outside Const."
        )
    keywords = {k: v.value if isinstance(v, Const) else v for k, v in (kwargs or {}).items()}
    return Call((*values, *keywords.values()), tuple(keywords), active, bare)


def _positions(argnums: int | Sequence[int], args: Sequence[object]) -> tuple[int, ...]:
    count = len(args)
    found: list[int] = []
    for n in (argnums,) if isinstance(argnums, int) else argnums:
        if not isinstance(n, int) or not -count <= n < count:
            raise InvalidArgumentError(
                f"`argnums` must be within -{count} and {count - 1} for {count} arguments, "
                f"got {n!r}."
            )
        position = n % count
        if position in found:
            raise InvalidArgumentError(f"`argnums` names argument {position} twice: {argnums!r}.")
        if isinstance(args[position], Const):
            raise InvalidArgumentError(
                f"`argnums` makes argument {position} active, but it is wrapped in Const; "
                "use one or the other."
            )
        found.append(position)
    return tuple(found)
