"""A dataclass and a function of it, in a module that other processes can import."""

import dataclasses
from typing import Any

import numpy as np

import diffface as dif


@dataclasses.dataclass
class Model:
    weights: Any
    offset: float
    name: str = "n"


def energy(model: Model, p: Any) -> Any:
    xp = dif.namespace(model.weights)
    return xp.sum(model.weights**2) * model.offset * p["a"] + len(model.name)


MODEL = Model(np.array([1.0, 2.0, 3.0]), 2.0, dif.Const("name"))
