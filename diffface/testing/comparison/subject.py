"""What is compared: a function, a point, the options of the calls; and lines through the point."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.recording.agreement import perturb
from diffface.backends.registry import Backend
from diffface.operators.call import value
from diffface.prep.arguments.bind import bind, describe
from diffface.prep.arguments.signature import Leaf, Signature
from diffface.prep.arguments.tree import RESULTS, flatten, paths, unflatten
from diffface.testing.protocol import to_numpy
from diffface.testing.trees import wave

Arrays = tuple[Any, ...]
# s -> f(x + s d), flat; d is fixed.
Line = Callable[[float], Arrays]

# So many coordinates are moved one by one, so many directions move all of them at once.
COORDINATES, MIXED = 8, 4


class Direction(NamedTuple):
    """A tangent at the point.

    Attributes
    ----------
    dx : tuple of arrays
        One for each leaf of the active arguments, in double precision.
    name : str
        What moves: ``x[2]``.
    scale : float
        ``max(1, abs(x_k))`` of the coordinates that move.
    """

    dx: Arrays
    name: str
    scale: float


@dataclass(frozen=True, eq=False)
class Subject:
    """A function at a point.

    Parameters
    ----------
    f : callable
        The function.
    args : tuple
        Its arguments, constants in ``Const``.
    options : mapping
        ``argnums``, ``has_aux`` and ``kwargs`` of the calls.
    layout : Signature
        The arguments taken apart.
    primals : tuple of arrays
        Leaves of the active arguments, as NumPy arrays.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    layout: Signature
    primals: Arrays

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarsest real dtype among the active leaves."""
        return min((a.real.dtype for a in self.primals), key=lambda d: d.itemsize)

    @property
    def is_complex(self) -> bool:
        """Whether an active leaf is complex."""
        return any(a.dtype.kind == "c" for a in self.primals)

    def value(self, backend: Backend, primals: Arrays | None = None) -> Arrays:
        """Leaves of ``f``'s value, with other active leaves if given."""
        return numbers(self.tree(backend, primals))

    def tree(self, backend: Backend, primals: Arrays | None = None) -> Any:
        """``f``'s value as it comes."""
        args = self.args if primals is None else self.moved(primals)
        found = value(self.f, *args, backend=backend, **self.options)
        return found[0] if self.options["has_aux"] else found

    def is_scalar(self, backend: Backend) -> bool:
        """Whether ``f`` returns one real number."""
        tree = self.tree(backend)
        if library_of(tree) is None:
            return False
        array = to_numpy(tree)
        return bool(array.shape == () and array.dtype.kind == "f")

    def moved(self, primals: Arrays) -> tuple[Any, ...]:
        """The arguments with other active leaves, which are NumPy arrays."""
        args = list(self.args)
        for place in self.layout.places:
            i, spec, start, *_ = place
            if spec is None:
                args[i] = primals[start]
            else:
                constants = flatten(args[i])[0] if place.active is not None else None
                args[i] = unflatten(spec, place.leaves(primals, constants))
        return tuple(args)

    def perturbed(self) -> tuple[Any, ...]:
        """Arguments of the same signature at a point nearby."""
        leaves = zip(self.primals, self.layout.primals, strict=True)
        return self.moved(
            tuple(leaf.library.from_numpy(perturb(a), leaf.device) for a, leaf in leaves)
        )

    def line(self, backend: Backend, direction: Direction, fine: bool = True) -> Line:
        """``f`` along a direction, evaluated by a backend; in double precision if ``fine``."""
        start = self.fine() if fine else self.primals

        def along(s: float) -> Arrays:
            step = s * direction.scale
            moved = (np.asarray(a + step * d, a.dtype)
                     for a, d in zip(start, direction.dx, strict=True))  # fmt: skip
            return self.value(backend, tuple(moved))

        return along

    def fine(self) -> Arrays:
        """The active leaves in double precision."""
        return tuple(a.astype(np.result_type(a.dtype, np.float64)) for a in self.primals)

    def directions(self) -> Iterator[Direction]:
        """A mixed direction first; then single coordinates, all of them where they are few."""
        total = sum(a.size for a in self.primals)
        for k in range(1 if total <= COORDINATES else MIXED):
            yield self.mixed(k)
        if total == 1 and not self.is_complex:
            return
        chosen = np.unique(np.linspace(0, total - 1, min(total, COORDINATES)).astype(int))
        names = list(self.names())
        for k in chosen.tolist():
            for unit in (1.0, 1.0j) if self._leaf_of(k)[1].dtype.kind == "c" else (1.0,):
                yield self._unit(k, unit, names[k])

    def mixed(self, k: int = 0) -> Direction:
        """A direction that moves everything, each coordinate by another amount."""
        dx = tuple(np.asarray(wave(a, 0.3 + 3 * k)) for a in self.fine())
        largest = max((float(np.max(np.abs(a), initial=0.0)) for a in self.primals), default=0.0)
        name = "all coordinates at once"
        if sum(a.size for a in self.primals) == 1 and not self.is_complex:
            dx, name = tuple(np.ones_like(a) for a in dx), next(iter(self.names()))
        return Direction(dx, name, max(1.0, largest))

    def names(self) -> Iterator[str]:
        """What every coordinate is called."""
        for i in self.layout.active:
            spec, leaves = self.layout.arguments[i]
            places = [""] if spec is None else paths(spec)
            for place, leaf in zip(places, leaves, strict=True):
                if not isinstance(leaf, Leaf):  # a constant in the tree
                    continue
                name = self.layout.name(self.f, i) + place
                for index in np.ndindex(leaf.shape):
                    yield f"{name}[{', '.join(map(str, index))}]" if index else name

    def _leaf_of(self, k: int) -> tuple[int, Any, int]:
        """Position of coordinate ``k``'s leaf, the leaf, and the coordinate within it."""
        for j, leaf in enumerate(self.primals):
            if k < leaf.size:
                return j, leaf, k
            k -= leaf.size
        raise IndexError(k)

    def _unit(self, k: int, unit: complex, name: str) -> Direction:
        j, leaf, place = self._leaf_of(k)
        dx = tuple(np.zeros_like(a) for a in self.fine())
        dx[j].flat[place] = unit
        shown = name if unit == 1 else f"the imaginary part of {name}"
        return Direction(dx, shown, max(1.0, float(np.abs(leaf.flat[place]))))


def subject(
    f: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any], adapter: Adapter
) -> Subject:
    """Take the arguments apart; ``adapter`` knows its library's own trees.

    Raises
    ------
    InvalidArgumentError
        If no argument is active, or ``argnums`` or ``kwargs`` make no sense.
    """
    call = bind(args, options["argnums"], options["kwargs"])
    arguments, leaves, _ = describe(call)
    layout = Signature.of(arguments, *call[1:])
    primals = tuple(to_numpy(leaf) for leaf in leaves if library_of(leaf) is not None)
    return Subject(f, tuple(args), options, layout, primals)


def numbers(tree: object) -> Arrays:
    """Leaves of a result as NumPy arrays."""
    return tuple(to_numpy(leaf) for leaf in flatten(tree, RESULTS)[0])


def tangents(subject: Subject) -> Any:
    """The mixed direction, as the caller would give it."""
    layout = subject.layout
    return layout.like_active([
        leaf.library.from_numpy(np.asarray(d, leaf.dtype), leaf.device)
        for leaf, d in zip(layout.primals, subject.mixed().dx, strict=True)
    ])  # fmt: skip


def cotangents(subject: Subject, backend: Backend) -> Any:
    """Numbers of no symmetry, in the structure, kinds and dtypes of ``f``'s value."""
    leaves, spec = flatten(subject.tree(backend), RESULTS)
    seeds = weights(tuple(map(to_numpy, leaves)))
    return unflatten(spec, [
        _kind(leaf).from_numpy(seed, _kind(leaf).describe(leaf)[2])
        for leaf, seed in zip(leaves, seeds, strict=True)
    ])  # fmt: skip


def weights(y: Arrays) -> Arrays:
    """The cotangents as arrays like those of ``y``."""
    return tuple(np.asarray(wave(a, 0.7), a.dtype) for a in y)


def _kind(leaf: Any) -> ArrayLibrary:
    kind = library_of(leaf)
    assert kind is not None, type(leaf)
    return kind
