"""What the types of results depend on, for the overloads of the operators."""

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np


class HasShape(Protocol):
    """An array of any library; no tree of arrays."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


class Module(Protocol):
    """A ``torch.nn.Module``, whose derivative is a dict."""

    def named_parameters(self) -> Iterator[tuple[str, Any]]: ...


# One active argument, whose derivative has its type.
Argument = TypeVar("Argument")

# One array, whose Jacobian and Hessian have its type.
Array = TypeVar("Array", bound=HasShape)

# What a NumPy array has; a matrix has other axes than its argument, which its type would say.
Scalar = TypeVar("Scalar", bound=np.generic)
