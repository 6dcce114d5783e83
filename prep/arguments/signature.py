"""The arguments of a call: which are active, of which structure, and where their leaves are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import NUMPY, NUMPY_SCALAR, PYTHON, ArrayLibrary, library_of
from diffface.backends.compiled import Arrays
from diffface.prep.arguments.leaf import Leaf, Static, describe
from diffface.prep.arguments.tree import Spec, flatten, unflatten


class Argument(NamedTuple):
    """Structure of one argument; ``spec`` is None for a bare leaf."""

    spec: Spec | None
    leaves: tuple[Leaf | Static, ...]


class Call(NamedTuple):
    """Arguments as given: values in order (keywords last), and which of them are active."""

    values: tuple[object, ...]
    keywords: tuple[str, ...]
    active: tuple[int, ...]
    # Whether the result is for the one active argument, not a tuple with one entry for each.
    bare: bool


class Place(NamedTuple):
    """Where an active argument is, and which primals make it up."""

    position: int
    spec: Spec | None
    start: int
    stop: int


class Signature(NamedTuple):
    """The signature of a call: everything about its arguments but the values of arrays."""

    arguments: tuple[Argument, ...]
    keywords: tuple[str, ...]
    active: tuple[int, ...]
    bare: bool
    # What follows: leaves of the active arguments, in the order of the result; of the others, those
    # that may differ from call to call; and which primals make up which active argument.
    primals: tuple[Leaf, ...]
    constants: tuple[Leaf, ...]
    places: tuple["Place", ...]

    @classmethod
    def of(
        cls, arguments: tuple[Argument, ...], keywords: tuple[str, ...], active: tuple[int, ...],
        bare: bool,
    ) -> "Signature":  # fmt: skip
        """The signature of ``arguments``, with what follows from them."""
        places, start = [], 0
        for i in active:
            stop = start + len(arguments[i].leaves)
            places.append(Place(i, arguments[i].spec, start, stop))
            start = stop
        inside = [leaf for i in active for leaf in arguments[i].leaves]
        rest = [leaf for i, a in enumerate(arguments) if i not in active for leaf in a.leaves]
        # Static leaves of active arguments are refused before anything is derived.
        primals, constants = (
            tuple(leaf for leaf in leaves if isinstance(leaf, Leaf)) for leaves in (inside, rest)
        )
        return cls(arguments, keywords, active, bare, primals, constants, tuple(places))

    def __str__(self) -> str:
        return ", ".join(
            ("" if i in self.active else "Const ") + " ".join(map(str, argument.leaves))
            for i, argument in enumerate(self.arguments)
        )

    def fits(self, other: "Signature") -> bool:
        """Whether a call of this signature may go where ``other`` is expected.

        Arrays that a transformation of the caller's is tracing are on no device yet.
        """
        if self == other or self[1:4] != other[1:4]:
            return self == other
        return len(self.arguments) == len(other.arguments) and all(
            a.spec == b.spec and all(map(_fits, a.leaves, b.leaves))
            for a, b in zip(self.arguments, other.arguments, strict=True)
        )

    def values(self, c: Arrays) -> list[Any]:
        """Arguments with constants in place; those that are active are to be filled."""
        values: list[Any] = [None] * len(self.arguments)
        if len(self.active) == len(values):
            return values
        constants = iter(c)
        for i, (spec, leaves) in enumerate(self.arguments):
            if i not in self.active:
                filled = [n.value if isinstance(n, Static) else next(constants) for n in leaves]
                values[i] = filled[0] if spec is None else unflatten(spec, filled)
        return values

    def like_active(self, leaves: Sequence[Any]) -> Any:
        """``leaves`` of all active arguments as trees: bare, or a tuple with one entry for each."""
        entries, rest = [], iter(leaves)
        for i in self.active:
            spec, own = self.arguments[i]
            filled = [next(rest) for _ in own]
            entries.append(filled[0] if spec is None else unflatten(spec, filled))
        return entries[0] if self.bare else tuple(entries)

    def result_kind(self) -> tuple[ArrayLibrary, Any]:
        """Library and device of what ``f`` returns: those of the first array argument."""
        for leaf in self.primals + self.constants:
            if leaf.kind not in (PYTHON, NUMPY_SCALAR, NUMPY):
                return leaf.kind, leaf.device
        # NumPy's own functions return scalars for shape ().
        numbers = all(leaf.kind is PYTHON for leaf in self.primals)
        return (PYTHON if numbers else NUMPY_SCALAR), None


def _fits(leaf: Leaf | Static, other: Leaf | Static) -> bool:
    if type(leaf) is Leaf and type(other) is Leaf and leaf.device is None:
        return leaf == other._replace(device=None)
    return leaf == other


def signature_of(call: Call, adapter: Adapter) -> tuple[Signature, list[Any], list[Any]]:
    """Signature of a call, with the leaves of its active arguments and of its constants."""
    arguments: list[Argument] = []
    constants: list[Any] = []
    active: dict[int, Sequence[Any]] = {}
    for i, value in enumerate(call.values):
        if library_of(value) is not None:
            leaves: Sequence[Any] = (value,)
            spec = None
        else:
            leaves, spec = flatten(value, adapter)
        constant = i not in call.active
        described = tuple([describe(leaf, constant) for leaf in leaves])
        arguments.append(Argument(spec, described))
        if not constant:
            active[i] = leaves
            continue
        for leaf, known in zip(leaves, described, strict=True):
            if type(known) is Leaf:
                constants.append(leaf)
    primals = [leaf for i in call.active for leaf in active[i]]
    return Signature.of(tuple(arguments), *call[1:]), primals, constants
