"""Arguments of one call as flat arrays, and other arrays put in their places."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Arrays
from diffface.backends.libraries import library_of
from diffface.backends.owner import belongs_to_a_backend
from diffface.prep.arguments.tree import Spec, derivative_of, flatten, leaves_like, unflatten


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    specs : tuple of Spec
        The tree of each.
    leaves : tuple
        Leaves of all of them, in order; None where an array goes.
    places : tuple of int
        Where arrays go among the leaves.
    parameters : tuple of int
        Which parameter each array belongs to.
    """

    names: tuple[str, ...]
    specs: tuple[Spec, ...]
    leaves: tuple[Any, ...]
    places: tuple[int, ...]
    parameters: tuple[int, ...]

    @property
    def key(self) -> Any:
        """Equal for calls that differ in arrays alone; not always hashable."""
        typed = tuple((type(leaf), leaf) for leaf in self.leaves)
        return self.specs, typed, self.places

    def names_of(self, active: frozenset[int]) -> frozenset[str]:
        """Names of the parameters that the arrays at ``active`` belong to."""
        return frozenset(self.names[self.parameters[i]] for i in active)

    def filled(self, arrays: Sequence[Any], rest: Callable[[Any], Any] | None = None) -> list[Any]:
        """The arguments with ``arrays`` in their places, and other leaves as they are."""
        leaves = list(self.leaves) if rest is None else list(map(rest, self.leaves))
        for place, array in zip(self.places, arrays, strict=True):
            leaves[place] = array
        found, start = [], 0
        for spec in self.specs:
            stop = start + spec.num_leaves
            found.append(unflatten(spec, leaves[start:stop]))
            start = stop
        return found

    def tangents(self, dx: Sequence[Any], zeros: Callable[[int], Any]) -> tuple[Any, ...]:
        """One tree of tangents for each argument, None for those that no tangent belongs to."""
        moving = {self.parameters[i] for i, d in enumerate(dx) if d is not None}
        full = [
            zeros(i) if d is None and self.parameters[i] in moving else d for i, d in enumerate(dx)
        ]
        trees = self.filled(full, lambda leaf: None)
        return tuple(tree if k in moving else None for k, tree in enumerate(trees))

    def entries(self, parameter: int, tree: Any) -> list[tuple[int, Any]]:
        """Leaves of ``tree``, which is like an argument, with the number of the array of each.

        Raises
        ------
        ValueError
            If its structure is another.
        """
        spec = self.specs[parameter]
        start = sum(spec.num_leaves for spec in self.specs[:parameter])
        numbers = {
            place - start: i
            for i, place in enumerate(self.places)
            if self.parameters[i] == parameter
        }
        return [(numbers[k], a) for k, a in zip(numbers, parts(spec, tree, numbers), strict=True)]


def parts(spec: Spec, tree: Any, places: Iterable[int]) -> list[Any]:
    """Leaves of ``tree``, which is like ``spec`` or like a derivative of it, at some places.

    Raises
    ------
    ValueError
        If its structure is another.
    """
    places = tuple(places)
    derivative, active = derivative_of(spec, places)
    # That of a module goes by the names of its parameters
    if derivative != spec and flatten(tree)[1] == derivative:
        return leaves_like(derivative, tree, active=active)
    leaves: list[Any] = spec.flatten_up_to(tree)
    return [leaves[i] for i in places]


def split(
    names: tuple[str, ...], values: Sequence[Any], adapter: Adapter
) -> tuple[Arguments, Arrays]:
    """The arguments of a call, and the arrays among them, those of NumPy as the backend's own."""
    specs, leaves, parameters = [], [], []
    for k, value in enumerate(values):
        found, spec = flatten(value)
        specs.append(spec)
        leaves += found
        parameters += [k] * len(found)
    for i, variable in adapter.arrays.variables(leaves).items():
        leaves[i] = variable
    places = tuple(i for i, leaf in enumerate(leaves) if is_array(leaf))
    own = next((leaves[i] for i in places if belongs_to_a_backend(leaves[i])), None)
    arrays = tuple(leaves[i] if own is None else adapter.lift(leaves[i], own) for i in places)
    for i in places:
        leaves[i] = None
    of_arrays = tuple(parameters[i] for i in places)
    return Arguments(names, tuple(specs), tuple(leaves), places, of_arrays), arrays


def followed(array: Any) -> Any:
    """``array``, or the caller's variable that it is the value of, as a leaf of a model may be."""
    library = library_of(array)
    return array if library is None else library.variables((array,)).get(0, array)


def is_array(leaf: object) -> bool:
    """Whether ``leaf`` is an array of numbers, or stands for one; Python's numbers are none."""
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind in "biufc"
    return belongs_to_a_backend(leaf)


def is_inexact(a: Any) -> bool:
    """Whether ``a``, an array of any library, has floating-point or complex numbers."""
    return any(name in str(a.dtype) for name in ("float", "complex"))
