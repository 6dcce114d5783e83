"""Arguments of one call, by parameter, as flat arrays, and other arrays put in their places."""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Arrays
from diffface.backends.libraries import library_of
from diffface.backends.registry import belongs_to_a_backend
from diffface.prep.arguments.tree import Spec, derivative_of, flatten, leaves_like, unflatten

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


def moves(leaf: object) -> bool:
    """Whether there may be derivatives with respect to ``leaf``."""
    return is_array(leaf) and is_inexact(leaf)


def is_inexact(a: Any) -> bool:
    """Whether ``a``, an array of any library, has floating-point or complex numbers."""
    return any(name in str(a.dtype) for name in ("float", "complex"))
