"""Sparse derivatives timed beside asdex, beside NumPy by hand, and beside one direction a color.

``python -m benchmarks.sparse`` prints a table; ``--sizes 1000 10000 100000`` for the larger ones,
``--json FILE`` and ``--plot FILE`` keep the figures and draw time over size. asdex (with numba) is
timed where it is installed; it needs Python packages that no extra of diffface brings.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import COMPILED, one_thread
from diffface.benchmark import problems
from diffface.benchmark.problems.adbench_files import read_bundle_adjustment
from diffface.benchmark.row import digits, duration
from diffface.benchmark.timing import Effort, Timed, interleave, ratio, wait
from diffface.operators.value import prepare_value

try:
    import asdex
except ImportError:
    asdex = None

BACKENDS = {"jax": "jax", "autograd": "autograd", "torch": "torch", "torch compiled": COMPILED}


@dataclass(frozen=True)
class Case:
    """A function with a sparse derivative.

    Attributes
    ----------
    name : str
    operator : str
        ``"jacobian"`` or ``"hessian"``.
    f : callable
    by_hand : callable or None
        The values of the derivative at a point, computed by NumPy alone.
    """

    name: str
    operator: str
    f: Callable[[Any], Any]
    by_hand: Callable[[Any], Any] | None = None


def banded(x: Any) -> Any:
    """Broyden's tridiagonal function."""
    xp = dif.namespace(x)
    zero = xp.zeros_like(x[:1])
    return (3 - 2 * x) * x - xp.concat([zero, x[:-1]]) - 2 * xp.concat([x[1:], zero]) + 1


def banded_by_hand(x: Any) -> Any:
    n = len(x)
    data = np.empty(3 * n - 2)
    data[0::3] = 3 - 4 * x
    data[1::3] = -2.0
    data[2::3] = -1.0
    return data


def brusselator(x: Any) -> Any:
    """The right-hand side of the Brusselator of one dimension, one species after the other."""
    xp = dif.namespace(x)
    half = x.shape[0] // 2
    u, v = x[:half], x[half:]
    apart = [z[:1] * 0 for z in (u, v)]
    spread = [
        xp.concat([e, z[:-1]]) - 2 * z + xp.concat([z[1:], e])
        for z, e in zip((u, v), apart, strict=True)
    ]
    return xp.concat([1 + u * u * v - 4 * u + spread[0], 3 * u - u * u * v + spread[1]])


def five_point(x: Any) -> Any:
    """The energy of a grid of springs that are not linear."""
    xp = dif.namespace(x)
    side = int(x.shape[0] ** 0.5)
    grid = xp.reshape(x[: side * side], (side, side))
    down, across = grid[1:] - grid[:-1], grid[:, 1:] - grid[:, :-1]
    return xp.sum(down**4) + xp.sum(across**4) + xp.sum(x**2)


def arrow(x: Any) -> Any:
    """Each element meets the first."""
    xp = dif.namespace(x)
    return xp.sum(xp.sin(x) * x[0] ** 2) + xp.sum(x**4)


CASES = (
    Case("banded", "jacobian", banded, banded_by_hand),
    Case("Brusselator", "jacobian", brusselator),
    Case("five-point", "hessian", five_point),
    Case("arrow", "hessian", arrow),
)


@dataclass
class Row:
    """What was measured of one case; times in seconds, ratios are paired medians."""

    problem: str
    n: int
    backend: str
    colors: str
    prepare: float
    detect: float
    call: float
    over_directions: float | None = None
    over_hand: float | None = None
    over_asdex: float | None = None
    detect_over_asdex: float | None = None


def measure(case: Case, n: int, backend: str, effort: Effort) -> Row:
    """One case of one size on one backend."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, n)
    chosen: Any = BACKENDS[backend]
    find = dif.jacobian_sparsity if case.operator == "jacobian" else dif.hessian_sparsity
    prepare = dif.prepare_jacobian if case.operator == "jacobian" else dif.prepare_hessian
    detect = _once(lambda: find(case.f, x, backend=chosen))
    start = time.perf_counter()
    prepared: Any = prepare(case.f, x, backend=chosen, sparsity="trace")
    took = time.perf_counter() - start
    calls = {"ours": Timed(lambda: prepared.data(x))}
    calls["direction"] = Timed(_direction(case, x, chosen))
    if case.by_hand is not None:
        by_hand = case.by_hand
        calls["hand"] = Timed(lambda: by_hand(x))
    row = Row(case.name, n, backend, prepared.sparsity.colors, took, detect, 0.0)
    if asdex is not None and backend == "jax":
        derive, seconds = _asdex(case, x)
        calls["asdex"] = Timed(derive)
        row.detect_over_asdex = detect / seconds
    for call in calls.values():
        call.run()
    interleave(list(calls.values()), effort)
    ours = calls["ours"]
    row.call = statistics.median(ours.seconds)
    colors = sum(int(word) for word in prepared.sparsity.colors.split() if word.isdigit())
    row.over_directions = ratio(ours, calls["direction"]).median / max(colors, 1)
    row.over_hand = ratio(ours, calls["hand"]).median if "hand" in calls else None
    row.over_asdex = ratio(ours, calls["asdex"]).median if "asdex" in calls else None
    return row


def _direction(case: Case, x: Any, backend: Any) -> Callable[[], Any]:
    """One derivative along one direction, prepared."""
    v = np.ones_like(x)
    make = dif.prepare_pushforward if case.operator == "jacobian" else dif.prepare_hvp
    prepared = make(case.f, x, backend=backend)
    return lambda: prepared(x, tangents=v)


def _asdex(case: Case, x: Any) -> tuple[Callable[[], Any], float]:
    """The compressed derivative by asdex, compiled, and how long it detects."""
    import jax

    like = jax.numpy.asarray(x)
    find = asdex.jacobian_sparsity if case.operator == "jacobian" else asdex.hessian_sparsity
    seconds = _once(lambda: find(case.f, like))
    make = asdex.compressed_jacobian if case.operator == "jacobian" else asdex.compressed_hessian
    derive = jax.jit(make(case.f, like))
    return lambda: wait(derive(x)), seconds


def _once(call: Callable[[], Any]) -> float:
    call()  # imports and compilations of the first time
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bundle_adjustment(path: Path, backend: Any) -> str:
    """The time of ADBench's Jacobian over that of its function."""
    *active, cameras, points, features = read_bundle_adjustment(path)
    # Which camera sees which point is captured: in `Const` it could differ at the next call.
    seen = cameras.value, points.value, features.value

    def f(*x: Any) -> Any:
        return problems.BUNDLE_ADJUSTMENT.f(*x, *map(dif.namespace(x[0]).asarray, seen))

    prepared: Any = dif.prepare_jacobian(f, *active, backend=backend, sparsity="trace")
    function = prepare_value(f, *active, backend=backend)
    calls = Timed(lambda: prepared.data(*active)), Timed(lambda: function(*active))
    for call in calls:
        call.run()
    interleave(calls, Effort(rounds=7))
    return f"{backend}: {prepared.sparsity!r}, Jacobian / function {digits(ratio(*calls).median)}"


def heat(n: int, backend: Any) -> float:
    """BDF on the heat equation: our Jacobian over SciPy's own by ``jac_sparsity``."""
    from scipy.integrate import solve_ivp

    def rhs(t: float, u: Any) -> Any:
        xp = dif.namespace(u)
        zero = xp.zeros_like(u[:1])
        return n * (xp.concat([zero, u[:-1]]) - 2 * u + xp.concat([u[1:], zero]))

    u0 = np.sin(np.linspace(0, 3, n))
    problem: Any = dif.residuals(rhs, 0.0, u0, argnums=1, backend=backend, sparsity="trace")
    pattern = dif.jacobian_sparsity(rhs, 0.0, u0, argnums=1, backend=backend).matrix
    solve = lambda f, **options: solve_ivp(f, (0, 1), u0, method="BDF", **options)
    calls = (
        Timed(lambda: solve(problem.rhs, jac=problem.rhs_jac)),
        Timed(lambda: solve(lambda t, u: rhs(t, u), jac_sparsity=pattern)),
    )
    for call in calls:
        call.run()
    interleave(calls, Effort(rounds=5))
    return ratio(*calls).median


def table(rows: Sequence[Row]) -> str:
    """The figures in Markdown."""
    columns = (
        "problem", "n", "backend", "colors", "detect", "prepare", "call", "over directions",
        "over NumPy by hand", "over asdex", "detection over asdex",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for r in rows:
        ratios = (r.over_directions, r.over_hand, r.over_asdex, r.detect_over_asdex)
        shown = " | ".join("" if value is None else digits(value) for value in ratios)
        lines.append(
            f"| {r.problem} | {r.n} | {r.backend} | {r.colors} | {duration(r.detect)} | "
            f"{duration(r.prepare)} | {duration(r.call)} | {shown} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], file: Path) -> None:
    """Time of a call over the size, a line for each backend and a panel for each problem."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r.problem for r in rows))
    figure = Figure(figsize=(4 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for panel, name in zip(panels, names, strict=True):
        mine = [r for r in rows if r.problem == name]
        for backend in dict.fromkeys(r.backend for r in mine):
            line = [(r.n, r.call) for r in mine if r.backend == backend]
            panel.loglog(*zip(*line, strict=True), marker="o", label=backend)
            if any(r.over_asdex for r in mine if r.backend == backend):
                other = [(r.n, r.call / r.over_asdex) for r in mine if r.over_asdex]
                panel.loglog(*zip(*other, strict=True), marker="x", linestyle="--", label="asdex")
        panel.set_title(name)
        panel.set_xlabel("n")
    panels[0].set_ylabel("seconds per call")
    panels[0].legend()
    figure.savefig(file)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000])
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=list(BACKENDS))
    parser.add_argument("--problems", nargs="+", default=[c.name for c in CASES])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--heat", type=int, help="size of the heat equation for BDF")
    parser.add_argument("--ba", type=Path, help="a file of ADBench's bundle adjustment")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows = []
    with one_thread():
        for case in (c for c in CASES if c.name in options.problems):
            for n in options.sizes:
                for backend in options.backends:
                    rows.append(measure(case, n, backend, Effort(rounds=options.rounds)))
                    print(table(rows[-1:]).splitlines()[-1], flush=True)
        if options.heat:
            for backend in options.backends:
                print(f"BDF / jac_sparsity, {backend}: {digits(heat(options.heat, backend))}")
        if options.ba:
            for backend in options.backends:
                print(bundle_adjustment(options.ba, BACKENDS[backend]))
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n", "utf-8")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
