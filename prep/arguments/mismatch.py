"""In what two signatures differ, and whether a call of one may go where the other is expected."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.signature import Argument, Described, Leaf, Signature
from diffface.prep.arguments.tree import Spec, branches, paths, shown, unflatten


def fits(called: Signature, prepared: Signature) -> bool:
    """Whether a call may go where ``prepared`` is expected.

    Arrays that a transformation of the caller's is tracing are on no device yet.
    """
    return called == prepared or _agree(called, prepared, _fits, True)


def resembles(
    called: Signature, prepared: Signature, traced: bool = False, in_order: bool = False
) -> bool:
    """Whether a call has another signature, but one that is the same to the eye.

    The order of keys may differ, unless ``in_order``. A Python number, a NumPy scalar and an array
    of shape () are taken for one another, since NumPy's own arithmetic turns one into the other.
    Where the caller is differentiating or tracing, arrays of its framework stand for those of
    another library.
    """
    return _agree(called, prepared, _stands_for if traced else _resembles, in_order)


def report(prepared: Signature, called: Signature, f: Callable[..., Any]) -> str:
    """A message that lists, argument by argument, only what differs."""
    lines = []
    arguments = zip_longest(prepared.arguments, called.arguments)
    for i, (before, now) in enumerate(arguments):
        if before != now:
            lines += _differences(prepared.name(f, i), before, now)
    return (
        "The arguments differ from those it was prepared with:\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nPrepare anew for these, or with on_mismatch='reprepare'."
    )


def _agree(a: Signature, b: Signature, leaves: Callable[[Any, Any], bool], in_order: bool) -> bool:
    return (
        a[1:4] == b[1:4]
        and len(a.arguments) == len(b.arguments)
        and all(map(_Agreement(leaves, in_order), a.arguments, b.arguments))
    )


class _Agreement:
    """Whether two arguments agree, by ``agree`` for two of their leaves."""

    def __init__(self, agree: Callable[[Any, Any], bool], in_order: bool) -> None:
        self._agree = agree
        self._in_order = in_order

    def __call__(self, a: Argument, b: Argument) -> bool:
        if a.spec == b.spec:
            return all(map(self._leaves, a.leaves, b.leaves))
        if a.spec is None or b.spec is None or self._in_order:
            return False
        return self._trees(a.spec, a.leaves, b.spec, b.leaves)

    def _leaves(self, a: Described, b: Described) -> bool:
        if type(a) is Argument and type(b) is Argument:
            return self(a, b)
        return self._agree(a, b)

    def _trees(self, a: Spec, la: Sequence[Any], b: Spec, lb: Sequence[Any]) -> bool:
        if a.is_leaf() and b.is_leaf():
            return self._leaves(la[0], lb[0])
        if a.type is not b.type or a.num_children != b.num_children:
            return False
        others = {entry: (child, lb[at]) for entry, child, at in branches(b)}
        return all(
            entry in others and self._trees(child, la[at], *others[entry])
            for entry, child, at in branches(a)
        )


def _fits(a: Described, b: Described) -> bool:
    if type(a) is Leaf and type(b) is Leaf and a.device is None:
        return a == b._replace(device=None)
    return a == b


def _stands_for(a: Described, b: Described) -> bool:
    if type(a) is Leaf and type(b) is Leaf:
        return a[1:3] == b[1:3]
    return a == b


def _resembles(a: Described, b: Described) -> bool:
    numbers = (PYTHON, NUMPY_SCALAR, NUMPY)
    if type(a) is Leaf and type(b) is Leaf and a.library in numbers and b.library in numbers:
        return (a.shape == b.shape == () and a.dtype == b.dtype) or _fits(a, b)
    return _fits(a, b)


def _differences(name: str, before: Argument, now: Argument) -> list[str]:
    if before.spec != now.spec:
        return [f"`{name}`: prepared with {_structure(before)}, called with {_structure(now)}"]
    places = paths(before.spec) if before.spec is not None else [""]
    lines = []
    for place, old, new in zip(places, before.leaves, now.leaves, strict=True):
        if isinstance(old, Argument) and isinstance(new, Argument):
            lines += _differences(name + place, old, new)
        elif old != new:
            changed = ", which has changed since" if str(old) == str(new) else ""
            lines.append(f"`{name}{place}`: prepared with {old}, called with {new}{changed}")
    return lines


def _structure(argument: Argument) -> str:
    if argument.spec is None or argument.spec.is_leaf():
        return str(argument.leaves[0])
    if argument.spec.num_nodes == 1 and not argument.leaves:
        return f"static {unflatten(argument.spec, ())!r}"
    return f"the structure {shown(argument.spec)}"
