"""The table of diffface's own backends: where each is, what it needs, and its arrays."""

import importlib
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """Where to find a backend, and what it needs installed.

    Attributes
    ----------
    module, cls : str
        The adapter.
    needs : tuple of str
        Modules that must be importable.
    extra : str
        The extra of diffface that installs them; empty if nothing needs to be installed.
    array : str
        The type of its arrays, as ``"module:name"``; empty if they are NumPy's.
    arrays : str
        Their ArrayLibrary; empty if the caller never has any.
    namespace : str
        The namespace of functions of them, a module or ``"module:name"``; or the name of a function
        that chooses one for some arrays.
    """

    module: str
    cls: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    array: str = ""
    arrays: str = ""
    namespace: str = ""

    def is_imported(self) -> bool:
        """Whether this process uses the library of its arrays."""
        return self.array.partition(":")[0] in sys.modules

    def has(self, value: object) -> bool:
        """Whether ``value`` is an array of this backend."""
        # A value of a library's type means that the library is imported (or about to be).
        module, _, name = self.array.partition(":")
        return isinstance(value, getattr(sys.modules.get(module), name, ()))


ROWS = {
    "jax": Row(
        "diffface.backends.jax.adapter", "JAX", ("jax",), "jax",
        "jax:Array", "diffface.backends.jax.arrays:JAX_ARRAYS", "jax.numpy",
    ),
    "torch": Row(
        "diffface.backends.torch.adapter", "Torch", ("torch", "array_api_compat"), "torch",
        "torch:Tensor", "diffface.backends.torch.arrays:TORCH",
        "diffface.backends.torch.namespace:namespace",
    ),
    "autograd": Row(
        "diffface.backends.autograd.adapter", "Autograd", ("autograd",), "autograd",
        "autograd.numpy.numpy_boxes:ArrayBox", "diffface.backends.autograd.arrays:BOXES",
        "diffface.backends.autograd.namespace.namespace:namespace_of",
    ),
    "numpy": Row("diffface.backends.numpy.finite_differences", "FiniteDifferences"),
    "complex-step": Row("diffface.backends.numpy.complex_step", "ComplexStep"),
}  # fmt: skip


def found(address: str) -> Any:
    """What is at ``"module"`` or ``"module:name"``, imported when first asked for."""
    module, _, name = address.partition(":")
    imported = importlib.import_module(module)
    return getattr(imported, name) if name else imported
