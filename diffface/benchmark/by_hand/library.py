"""What benchmarks use of a library directly, and where, and functions of one vector for it."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array
from diffface.prep.arguments.tree import SORTED, flatten, unflatten


class Example(NamedTuple):
    """A derivative to write by hand.

    Attributes
    ----------
    f : callable
        The user's function.
    args : tuple of array, number or tree
        Its arguments, of the framework's own arrays.
    active : tuple of int
        Which of them are differentiated.
    seed : tree of arrays or None
        Tangents (a tuple with one entry for each active argument) or cotangents (like ``y``).
    tall : bool
        Whether ``f`` returns more numbers than it is differentiated by.
    y : array or tree
        What ``f`` returns; by :meth:`by_leaf` an array, or a tuple of several.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    active: tuple[int, ...]
    seed: Any
    tall: bool
    y: Any

    @property
    def argnums(self) -> int | tuple[int, ...]:
        """What frameworks call ``argnums``: an int for one active argument."""
        return self.active[0] if len(self.active) == 1 else self.active

    @property
    def x(self) -> Any:
        """The active arguments, a tuple."""
        return tuple(self.args[i] for i in self.active)

    @property
    def single(self) -> bool:
        """Whether there is one active argument, and that an array."""
        return len(self.active) == 1 and hasattr(self.x[0], "shape")

    def by_leaf(self, as_array: Callable[[Any], Any]) -> "Example":
        """The same with an argument for each array or number of a tree, and a tuple of results.

        Libraries take trees of other kinds, and some take none; ``as_array`` makes arrays of
        numbers. Where there are arrays alone, nothing is wrapped.
        """
        if all(hasattr(x, "shape") for x in self.x) and hasattr(self.y, "shape"):
            return self
        x, spec = flatten(self.x, SORTED)
        count, (y, bare) = len(x), _results(self.y)
        others = tuple(i for i in range(len(self.args)) if i not in self.active)

        def f(*values: Any) -> Any:
            args = put(self.args, self.active, unflatten(spec, values[:count]))
            found, _ = _results(self.f(*put(tuple(args), others, values[count:])))
            return found[0] if bare else found

        seed = self.seed
        if seed is not None:
            seed = tuple(map(as_array, flatten(seed, SORTED)[0]))
            # Tangents are a tuple, with one entry for each argument; cotangents are like y.
            seed = seed[0] if bare and len(seed) == 1 and not isinstance(self.seed, tuple) else seed
        args = (*map(as_array, x), *(self.args[i] for i in others))
        return Example(f, args, tuple(range(count)), seed, self.tall, y[0] if bare else y)


def _results(y: Any) -> tuple[tuple[Any, ...], bool]:
    """The arrays of a result, and whether it is one itself."""
    leaves, _ = flatten(y, SORTED)
    return tuple(leaves), len(leaves) == 1 and leaves[0] is y


# Makes, once, what is then called often: takes nothing, returns the derivative.
Make = Callable[[Example], Callable[[], Any]]
# By operator.
ByHand = Mapping[str, Make]


def put(args: tuple[Any, ...], where: tuple[int, ...], values: Any) -> list[Any]:
    """``args`` with ``values`` in the places ``where``."""
    changed = list(args)
    for i, value in zip(where, values, strict=True):
        changed[i] = value
    return changed


def of_active(example: Example) -> Callable[..., Any]:
    """``f`` of its active arguments alone."""
    if len(example.args) == len(example.active):
        return example.f
    return lambda *x: example.f(*put(example.args, example.active, x))


def _on_the_processor() -> tuple[str, ...]:
    return ("cpu",)


@contextmanager
def _never_compiles() -> Iterator[Callable[[], int]]:
    yield lambda: 0


class Library(NamedTuple):
    """What benchmarks use of a backend's library directly.

    Attributes
    ----------
    by_hand : callable
        Takes the adapter, and returns what an expert would write for each operator.
    compilations : callable
        A context manager: a count of the programs the library has compiled since it was entered.
    devices : callable
        The names of the devices that arrays can be on, found by starting the library's drivers.
    """

    by_hand: Callable[[Adapter], ByHand]
    compilations: Callable[[], AbstractContextManager[Callable[[], int]]] = _never_compiles
    devices: Callable[[], tuple[str, ...]] = _on_the_processor


# By the adapter's class: a module of this folder, and the name of its `Library`.
MODULES = {
    "diffface.backends.jax.adapter.JAX": ("jax", "LIBRARY"),
    "diffface.backends.torch.adapter.Torch": ("torch", "LIBRARY"),
    "diffface.backends.autograd.adapter.Autograd": ("autograd", "LIBRARY"),
    "diffface.backends.numpy.finite_differences.FiniteDifferences": ("numpy", "FINITE_DIFFERENCES"),
    "diffface.backends.numpy.complex_step.ComplexStep": ("numpy", "COMPLEX_STEP"),
}

_registered: dict[type[Adapter], Library] = {}


def register(adapter: type[Adapter], library: Library) -> None:
    """Compare ``adapter``, a backend from outside, with code by hand, too."""
    _registered[adapter] = library


def library_tools(adapter: Adapter) -> Library:
    """What is known of the adapter's library; for an unknown backend, no code by hand."""
    cls = type(adapter)
    if cls in _registered:
        return _registered[cls]
    row = MODULES.get(f"{cls.__module__}.{cls.__qualname__}")
    if row is None:
        return Library(lambda adapter: {})
    module, name = row
    found: Library = getattr(importlib.import_module(f"diffface.benchmark.by_hand.{module}"), name)
    return found


def flat(example: Example, xp: Any) -> tuple[Callable[[Array], Array], Array]:
    """``f`` from one vector to one, and the vector it is at; nothing is wrapped needlessly.

    Parameters
    ----------
    example : Example
        By leaf.
    xp : module
        NumPy, or autograd's.
    """
    f = of_active(example)
    if example.single and example.x[0].ndim == 1 and not np.iscomplexobj(example.x[0]):
        of_vector, x = f, example.x[0]
    else:
        leaves = [np.asarray(leaf) for leaf in example.x]
        ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
        parts = [slice(*pair) for pair in pairwise(ends)]
        x = np.concatenate([leaf.ravel() for leaf in leaves])

        def of_vector(v: Array) -> Array:
            return f(*(v[at].reshape(leaf.shape) for at, leaf in zip(parts, leaves, strict=True)))

    if not isinstance(example.y, tuple) and np.ndim(example.y) < 2:
        return of_vector, x
    return lambda v: vector(of_vector(v), xp), x


def vector(arrays: Any, xp: Any) -> Array:
    """Several arrays, or one, as one vector."""
    parts = arrays if isinstance(arrays, tuple) else (arrays,)
    return xp.concatenate([xp.reshape(part, (-1,)) for part in parts])


def by_block(example: Example, matrix: Array, square: bool = False) -> Any:
    """A Jacobian of vectors as blocks, for each array of ``y`` (or of ``x``) and each of ``x``."""
    y = example.y if isinstance(example.y, tuple) else (example.y,)
    results = example.x if square else y
    if len(results) == len(example.x) == 1:
        return matrix
    below = np.cumsum([np.size(result) for result in results])[:-1]
    beside = np.cumsum([np.size(x) for x in example.x])[:-1]
    rows = np.split(matrix.reshape(-1, matrix.shape[-1]), below)
    return tuple(block for row in rows for block in np.split(row, beside, axis=1))
