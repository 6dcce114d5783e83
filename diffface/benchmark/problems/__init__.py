"""Portable problems: published functions, written once for every array library.

Each is a ``Problem``: the function, arguments of any size from a seed, and its source.
"""

from diffface.benchmark.problems.adbench_files import (
    read_bundle_adjustment,
    read_gmm,
    read_hand_complicated,
    read_hand_model,
    read_hand_simple,
    read_lstm,
)
from diffface.benchmark.problems.bundle_adjustment import BUNDLE_ADJUSTMENT
from diffface.benchmark.problems.hand import HAND_COMPLICATED, HAND_SIMPLE
from diffface.benchmark.problems.mixtures import GMM, KMEANS, LSE
from diffface.benchmark.problems.networks import LSTM, MLP
from diffface.benchmark.problems.ode import BRUSSELATOR, ODE
from diffface.benchmark.problems.problem import ROSENBROCK, Problem
from diffface.prep.arguments.const import plain

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
