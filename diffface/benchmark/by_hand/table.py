"""Which module of this folder belongs to which backend; it is imported when it is asked for."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from diffface.backends.adapter import Adapter
from diffface.benchmark.by_hand.example import ByHand


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


# By the adapter's class: a module with a `LIBRARY`.
MODULES = {
    "diffface.backends.jax.adapter.JAX": "jax",
    "diffface.backends.torch.adapter.Torch": "torch",
    "diffface.backends.autograd.adapter.Autograd": "autograd",
    "diffface.backends.numpy.finite_differences.FiniteDifferences": "finite_differences",
    "diffface.backends.numpy.complex_step.ComplexStep": "complex_step",
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
    module = MODULES.get(f"{cls.__module__}.{cls.__qualname__}")
    if module is None:
        return Library(lambda adapter: {})
    found: Library = importlib.import_module(f"diffface.benchmark.by_hand.{module}").LIBRARY
    return found
