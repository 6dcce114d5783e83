"""A backend from outside: mygrad, a reverse-mode library, as ``backend="mygrad"``.

It says what an adapter must say, and gets forward mode, Jacobians and preparations for it.

    pip install diffface mygrad
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, final

import mygrad as mg
import numpy as np

import diffface as dif
from diffface.backends import Adapter, Array, ArrayLibrary, Arrays, Function, Pull

# What the array API calls otherwise.
renamed = {"concat": mg.concatenate, "cumulative_sum": mg.cumsum, "permute_dims": mg.transpose}
namespace = SimpleNamespace(**vars(mg), **renamed, astype=lambda a, dtype: a.astype(dtype))


class Tensors(ArrayLibrary):
    """``mygrad.Tensor``."""

    name = "mygrad"
    backend = "mygrad"

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return dtype.kind in "biuf"

    def to_numpy(self, array: Array) -> Any:
        return np.array(array.data)  # mygrad locks its own memory

    def from_numpy(self, array: Any, device: object) -> Array:
        return mg.tensor(array)


TENSORS = Tensors()


@final
@dataclass(frozen=True)
class MyGrad(Adapter):
    """mygrad: reverse mode, first order, real numbers."""

    arrays = TENSORS
    xp = namespace

    def pullback(self, f: Function, x: Arrays, **_: bool) -> tuple[Arrays, Pull, Arrays]:
        y, aux = f(x)

        def pull(dy: Arrays) -> Arrays:
            # A backward pass clears its graph, so each has one of its own.
            leaves = tuple(mg.tensor(a.data) for a in x)
            sum(mg.sum(a * d.data) for a, d in zip(f(leaves)[0], dy, strict=True)).backward()
            return tuple(mg.zeros_like(a) if a.grad is None else mg.tensor(a.grad) for a in leaves)

        return y, pull, aux

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, bool | int | float):
            return mg.tensor(value, dtype=like.dtype)
        if not isinstance(value, mg.Tensor | np.ndarray | np.generic):
            raise TypeError
        return mg.astensor(value)

    def second_order(self) -> tuple[Adapter, Adapter]:
        return dif.SecondOrder("numpy", self).second_order()


dif.backends.register_arrays(mg.Tensor, TENSORS, namespace)
dif.register_backend("mygrad", MyGrad)

x = np.linspace(0.1, 1.0, 4)
print(dif.pushforward(lambda x: mg.sin(x) * x, x, tangents=np.ones(4), backend="mygrad"))
print(np.cos(x) * x + np.sin(x))
