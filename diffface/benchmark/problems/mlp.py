"""A multi-layer perceptron: the loss as a function of a tree of parameters."""

from itertools import pairwise
from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


def mlp_loss(params: dict[str, list[Array]], inputs: Array, targets: Array) -> Array:
    """Mean squared error of a perceptron with tanh layers and a linear last one.

    Parameters
    ----------
    params : dict of list of array
        ``"weights"``, of shapes (n[i], n[i+1]), and ``"biases"``, of shapes (n[i+1],).
    inputs : array, shape (batch, n[0])
    targets : array, shape (batch, n[-1])

    Returns
    -------
    array, shape ()
    """
    *hidden, last = zip(params["weights"], params["biases"], strict=True)
    xp = namespace(*params["weights"], *params["biases"], inputs)
    for weight, bias in hidden:
        inputs = xp.tanh(inputs @ weight + bias)
    weight, bias = last
    return xp.mean((inputs @ weight + bias - targets) ** 2)


def _make_args(size: Size, seed: int) -> tuple[Any, ...]:
    batch, *widths = size
    rng = np.random.default_rng(seed)
    # Scaled so that the activations have unit variance (LeCun et al., "Efficient BackProp", 1998).
    pairs = list(pairwise(widths))
    params = {
        "weights": [rng.standard_normal((n, m)) / np.sqrt(n) for n, m in pairs],
        "biases": [0.1 * rng.standard_normal(m) for _, m in pairs],
    }
    inputs = rng.standard_normal((batch, widths[0]))
    return params, Const(inputs), Const(rng.standard_normal((batch, widths[-1])))


MLP = Problem(
    name="mlp",
    f=mlp_loss,
    make_args=_make_args,
    sizes=((16, 4, 8, 1), (64, 16, 32, 32, 4), (256, 64, 256, 256, 10)),
    dimensions="batch, widths of the layers",
    operator="gradient",
    source="Rumelhart, Hinton and Williams, Nature 323 (1986), 533-536.",
)
