"""The axes along which arguments go from point to point, as ``in_axes`` says."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import optree

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.bind import Call
from diffface.prep.arguments.signature import Argument, Described, Leaf
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import NAMESPACE, Spec, branches, paths, shown

# Where the points of one leaf are; None for what all points share.
Axis = int | None


class Axes(NamedTuple):
    """Where the points of a call are.

    Attributes
    ----------
    size : int
        How many there are.
    primals, constants : tuple of int or None
        For each leaf, the axis along which it goes from point to point.
    """

    size: int
    primals: tuple[Axis, ...]
    constants: tuple[Axis, ...]

    def of(self, inputs: Sequence[Any]) -> tuple[Axis, ...]:
        """The axes of the inputs of a program: primals, constants, and seeds, one for each."""
        known = self.primals + self.constants
        return known + (0,) * (len(inputs) - len(known))

    def of_numbers_left_out(self, constants: Sequence[Leaf]) -> "Axes":
        """The axes where Python numbers among the constants are none of the inputs."""
        pairs = zip(self.constants, constants, strict=True)
        return self._replace(constants=tuple(a for a, leaf in pairs if leaf.library is not PYTHON))


def stacked(library: ArrayLibrary) -> ArrayLibrary:
    """The library of many results, where one would be of ``library``."""
    return NUMPY if library in (PYTHON, NUMPY_SCALAR) else library


def split(
    arguments: tuple[Argument, ...], call: Call, in_axes: object, name: Callable[[int], str]
) -> tuple[tuple[Argument, ...], Axes]:
    """The arguments of a single point, and where the points are.

    Parameters
    ----------
    arguments : tuple of Argument
        The call as it came.
    call : Call
        Which of them are active, and which came by keyword; the latter are shared.
    in_axes : int, None, or a sequence of ints, None and trees of them
        As the user gave it.
    name : callable
        What messages call the argument at a position.

    Raises
    ------
    InvalidArgumentError
        If an axis is not there, there is none at all, or their lengths differ.
    """
    count = len(arguments) - len(call.keywords)
    entries = [*_entries(in_axes, count), *(None for _ in call.keywords)]
    found = [_Found(name(i), i in call.active) for i in range(len(arguments))]
    single = tuple(
        each.split(argument, axes)
        for each, argument, axes in zip(found, arguments, entries, strict=True)
    )
    lengths = {n: place for each in reversed(found) for place, n in reversed(each.lengths)}
    if not lengths:
        raise InvalidArgumentError(
            "`in_axes` has no axis to go along: no array has one. Say which arguments differ from "
            "point to point, as in in_axes=0 or in_axes=(None, 0), or leave it out."
        )
    if len(lengths) > 1:
        shown = ", ".join(f"`{place}` has {n}" for n, place in reversed(lengths.items()))
        raise InvalidArgumentError(f"`in_axes` goes along axes of different lengths: {shown}.")
    primals = [axis for i in call.active for axis in found[i].axes]
    constants: list[Axis] = []
    for i, each in enumerate(found):
        constants += each.held if i in call.active else each.axes
    return single, Axes(next(iter(lengths)), tuple(primals), tuple(constants))


def _entries(in_axes: object, count: int) -> Sequence[object]:
    if in_axes is None or _is_axis(in_axes):
        return [in_axes] * count
    if not isinstance(in_axes, tuple | list):
        raise InvalidArgumentError(
            "`in_axes` must be an int, None, or a tuple with one entry for each argument, got "
            f"{in_axes!r}."
        )
    if len(in_axes) != count:
        noun = "argument" if count == 1 else "arguments"
        raise InvalidArgumentError(
            f"`in_axes` must have one entry for each of {count} {noun}, got {in_axes!r}."
        )
    return in_axes


class _Found:
    """What was found out about one argument.

    Attributes
    ----------
    axes, held : list
        The axes of its leaves; where it is active, those in a ``Const`` inside of it are apart.
    lengths : list of (place, int)
        The lengths of the axes.
    """

    def __init__(self, name: str, active: bool) -> None:
        self.axes: list[Axis] = []
        self.held: list[Axis] = [] if active else self.axes
        self.lengths: list[tuple[str, int]] = []
        self._name = name

    def split(self, argument: Argument, axes: object) -> Argument:
        """The argument at a single point."""
        return self._split(argument, axes, self._name, self.axes)

    def _split(self, argument: Argument, axes: object, name: str, found: list[Axis]) -> Argument:
        spec = argument.spec
        if spec is not None and axes is None and not self._holds_constants(argument):
            found += [None for leaf in argument.leaves if isinstance(leaf, Leaf)]
            return argument
        places = [""] if spec is None else paths(spec)
        each = zip(argument.leaves, _spread(axes, spec, name), places, strict=True)
        leaves = tuple(self._leaf(leaf, axis, name + place, found) for leaf, axis, place in each)
        return Argument(spec, leaves)

    def _holds_constants(self, argument: Argument) -> bool:
        return any(isinstance(leaf, Argument) for leaf in argument.leaves)

    def _leaf(self, leaf: Described, axis: object, name: str, found: list[Axis]) -> Described:
        if isinstance(leaf, Argument):
            return self._split(leaf, axis, name, self.held)
        if isinstance(leaf, Static):
            if axis is not None and library_of(leaf.value) is not None:
                raise _no_axis(name, axis, ())
            return leaf
        if axis is None:
            found.append(None)
            return leaf
        if not _is_axis(axis):
            raise _unfit(name, None, axis)
        rank = len(leaf.shape)
        if not -rank <= axis < rank:
            raise _no_axis(name, axis, leaf.shape)
        at = int(axis) % rank
        found.append(at)
        self.lengths.append((name, leaf.shape[at]))
        return leaf._replace(shape=leaf.shape[:at] + leaf.shape[at + 1 :])


def _is_axis(axes: object) -> TypeGuard[int]:
    return isinstance(axes, int | np.integer) and not isinstance(axes, bool)


def _spread(axes: Any, spec: Spec | None, name: str) -> list[Any]:
    """For each leaf of ``spec``, its part of ``axes``, which is a prefix of the tree."""
    count = 1 if spec is None else spec.num_leaves
    if axes is None or _is_axis(axes):
        return [axes] * count
    if spec is None or spec.is_leaf():
        return [axes]
    try:
        children, _, entries, _ = optree.tree_flatten_one_level(
            axes, none_is_leaf=True, namespace=NAMESPACE
        )
    except ValueError:  # a leaf
        raise _unfit(name, spec, axes) from None
    given = dict(zip(entries, children, strict=True))
    if set(given) != set(spec.entries()):
        raise _unfit(name, spec, axes)
    found: list[Any] = []
    for entry, child, _ in branches(spec):
        found += _spread(given[entry], child, f"{name}[{entry!r}]")
    return found


def _unfit(name: str, spec: Spec | None, axes: object) -> InvalidArgumentError:
    wanted = "an int or None" if spec is None else f"an int, None, or these for {shown(spec)}"
    return InvalidArgumentError(f"`in_axes` of `{name}` must be {wanted}, got {axes!r}.")


def _no_axis(name: str, axis: object, shape: tuple[int, ...]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"`{name}` has no axis {axis} to go along: its shape is {shape}. Say None in `in_axes` for "
        "what all points share."
    )
