"""Portable problems: published functions, written once for every array library.

Each is a ``Problem``: the function, arguments of any size from a seed, and its source.
"""

from diffface.prep._const import plain
from diffface.testing.problems._adbench_files import (
    read_bundle_adjustment,
    read_gmm,
    read_hand_complicated,
    read_hand_model,
    read_hand_simple,
    read_lstm,
)
from diffface.testing.problems._brusselator import BRUSSELATOR
from diffface.testing.problems._bundle_adjustment import BUNDLE_ADJUSTMENT
from diffface.testing.problems._gmm import GMM
from diffface.testing.problems._hand import HAND_COMPLICATED, HAND_SIMPLE
from diffface.testing.problems._kmeans import KMEANS
from diffface.testing.problems._lse import LSE
from diffface.testing.problems._lstm import LSTM
from diffface.testing.problems._mlp import MLP
from diffface.testing.problems._ode import ODE
from diffface.testing.problems._problem import Problem
from diffface.testing.problems._rosenbrock import ROSENBROCK

PROBLEMS = (
    ROSENBROCK,
    MLP,
    GMM,
    BUNDLE_ADJUSTMENT,
    LSTM,
    HAND_SIMPLE,
    HAND_COMPLICATED,
    LSE,
    KMEANS,
    ODE,
    BRUSSELATOR,
)

__all__ = [
    "BRUSSELATOR",
    "BUNDLE_ADJUSTMENT",
    "GMM",
    "HAND_COMPLICATED",
    "HAND_SIMPLE",
    "KMEANS",
    "LSE",
    "LSTM",
    "MLP",
    "ODE",
    "PROBLEMS",
    "ROSENBROCK",
    "Problem",
    "plain",
    "read_bundle_adjustment",
    "read_gmm",
    "read_hand_complicated",
    "read_hand_model",
    "read_hand_simple",
    "read_lstm",
]
