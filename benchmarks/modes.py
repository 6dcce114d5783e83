"""Jacobians by columns and by rows, on a tall and on a wide function.

Run as ``python -m benchmarks.modes``. Tall: ADBench's hand, 3 residuals for each of many
correspondences, 26 parameters. Wide: 3 linear combinations of the squares of many inputs.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import one_thread
from benchmarks.pairs import pair
from diffface.benchmark import problems


def wide(x: Any, matrix: Any) -> Any:
    return matrix @ (x * x)


def cases() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    rng = np.random.default_rng(0)
    hand = problems.HAND_SIMPLE
    return {
        "tall, hand": (hand.f, hand.make_args(hand.sizes[1], 0)),
        "wide, 3 x 300": (wide, (rng.normal(size=300), dif.Const(rng.normal(size=(3, 300))))),
    }


def main() -> None:
    print(
        f"{'prepared Jacobian':30} {'shape':>12} {'forward':>10} {'reverse':>10} {'auto':>10}  (us)"
    )
    for name, (f, args) in cases().items():
        plain = problems.plain(args)
        for backend in ("jax", "torch", "autograd"):
            calls = {}
            for mode in ("forward", "reverse", "auto"):
                prepared = dif.prepare_jacobian(f, *args, backend=backend, mode=mode)
                calls[mode] = functools.partial(prepared, *plain)
            shape = calls["auto"]().shape
            with one_thread():
                forward = pair(calls["forward"], calls["auto"], rounds=7)
                reverse = pair(calls["reverse"], calls["auto"], rounds=7)
            print(
                f"{name + ', ' + backend:30} {shape!s:>12} {forward.first:10.0f} "
                f"{reverse.first:10.0f} {forward.second:10.0f}"
            )


if __name__ == "__main__":
    main()
