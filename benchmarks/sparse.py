"""Sparse derivatives timed beside asdex, SciPy, NumPy by hand, and one direction a color.

``python -m benchmarks.sparse`` prints a table; ``--sizes 1000 10000 100000`` for the larger ones,
``--heat 2000`` for BDF, ``--ba`` for bundle adjustment, ``--json FILE`` and ``--plot FILE`` to keep
the figures and draw time over size. asdex comes with the extra ``results``.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asdex
import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize._numdiff import approx_derivative, group_columns

import diffface as dif
from benchmarks.cells import COMPILED, one_thread
from benchmarks.sparse_cases import CASES, Case, ba1, heat
from benchmarks.sparse_page import curves, table
from diffface.benchmark.timing import Effort, Timed, interleave, ratio, wait
from diffface.operators.call import prepare_value
from diffface.sparse.coloring import color_hessian, color_jacobian

BACKENDS: dict[str, Any] = {
    "jax": "jax", "autograd": "autograd", "torch": "torch", "torch compiled": COMPILED,
}  # fmt: skip
SIZES = (1_000, 10_000, 100_000)


@dataclass
class Row:
    """What was measured of one case; times in seconds, ratios are paired medians."""

    problem: str
    n: int
    backend: str
    colors: str
    prepare: float
    detect: float
    call: float = 0.0
    over_directions: float | None = None
    over_hand: float | None = None
    over_asdex: float | None = None
    over_scipy: float | None = None
    detect_over_asdex: float | None = None
    color_over_asdex: float | None = None


def measure(case: Case, n: int, backend: str, effort: Effort) -> Row:
    """One case of one size on one backend."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, n)
    chosen = BACKENDS[backend]
    jacobian = case.operator == "jacobian"
    find = dif.jacobian_sparsity if jacobian else dif.hessian_sparsity
    prepare = dif.prepare_jacobian if jacobian else dif.prepare_hessian
    detect = _once(lambda: find(case.f, x, backend=chosen))
    start = time.perf_counter()
    prepared: Any = prepare(case.f, x, backend=chosen, sparsity="trace")
    took = time.perf_counter() - start
    row = Row(case.name, n, backend, prepared.sparsity.colors, took, detect)
    calls = {
        "ours": Timed(lambda: prepared.data(x)),
        "directions": Timed(_direction(case, x, chosen)),
        "hand": Timed(lambda: case.by_hand(x)),
    }
    _check(prepared.data(x), case.by_hand(x))
    if backend == "jax":
        calls["asdex"] = Timed(_asdex(case, x, row, prepared.sparsity))
    if jacobian:
        calls["scipy"] = Timed(_scipy(case, x, prepared.sparsity))
    for call in calls.values():
        call.run()
    interleave(list(calls.values()), effort)
    row.call = statistics.median(calls["ours"].seconds)
    colors = sum(int(word) for word in row.colors.split() if word.isdigit())
    over = {name: ratio(calls["ours"], call).median for name, call in calls.items()}
    row.over_directions = over["directions"] / max(colors, 1)
    row.over_hand = over["hand"]
    row.over_asdex, row.over_scipy = over.get("asdex"), over.get("scipy")
    return row


def _check(found: Any, by_hand: Any) -> None:
    np.testing.assert_allclose(np.sort(found), np.sort(by_hand), rtol=1e-8, atol=1e-12)


def _direction(case: Case, x: Any, backend: Any) -> Callable[[], Any]:
    """One derivative along one direction, prepared."""
    v = np.ones_like(x)
    make = dif.prepare_pushforward if case.operator == "jacobian" else dif.prepare_hvp
    prepared = make(case.f, x, backend=backend)
    return lambda: prepared(x, tangents=v)


def _asdex(case: Case, x: Any, row: Row, sparsity: Any) -> Callable[[], Any]:
    """The entries by asdex, compiled; detection and coloring are compared with ours."""
    import jax

    like = jax.numpy.asarray(x)
    if case.operator == "jacobian":
        find, paint, make = asdex.jacobian_sparsity, asdex.color_cols, asdex.jacobian
        ours = color_jacobian
    else:
        find, paint, make = asdex.hessian_sparsity, asdex.color_symmetric, asdex.hessian
        ours = color_hessian
    row.detect_over_asdex = row.detect / _once(lambda: find(case.f, like))
    pattern, matrix = find(case.f, like), sparsity.matrix
    row.color_over_asdex = _once(lambda: ours(matrix)) / _once(lambda: paint(pattern))
    derive = jax.jit(make(case.f, like))
    return lambda: wait(derive(x).data)


def _scipy(case: Case, x: Any, sparsity: Any) -> Callable[[], Any]:
    """SciPy's forward differences with the same pattern."""
    pattern = sparsity.matrix.astype(float)
    known = pattern, group_columns(pattern)
    return lambda: approx_derivative(case.f, x, method="2-point", sparsity=known)


def _once(call: Callable[[], Any]) -> float:
    call()  # imports and compilations of the first time
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bundle_adjustment(backend: str, effort: Effort) -> dict[str, Any]:
    """The time of ADBench's Jacobian over that of its function."""
    f, active = ba1()
    chosen = BACKENDS[backend]
    prepared: Any = dif.prepare_jacobian(f, *active, backend=chosen, sparsity="trace")
    function = prepare_value(f, *active, backend=chosen)
    calls = Timed(lambda: prepared.data(*active)), Timed(lambda: function(*active))
    for call in calls:
        call.run()
    interleave(calls, effort)
    return {
        "backend": backend, "colors": prepared.sparsity.colors, "nnz": prepared.sparsity.nnz,
        "call": statistics.median(calls[0].seconds),
        "function": statistics.median(calls[1].seconds), "over_function": ratio(*calls).median,
    }  # fmt: skip


def bdf(n: int, backend: str, effort: Effort) -> dict[str, Any]:
    """BDF on the heat equation: our Jacobian over SciPy's own by ``jac_sparsity``."""
    rhs, u0 = heat(n)
    problem: Any = dif.residuals(
        rhs, 0.0, u0, argnums=1, backend=BACKENDS[backend], sparsity="trace", format="csc"
    )
    pattern = dif.jacobian_sparsity(rhs, 0.0, u0, argnums=1, backend=BACKENDS[backend]).matrix
    solve = lambda f, **options: solve_ivp(f, (0, 1), u0, method="BDF", **options)
    # Both take the function as NumPy runs it.
    calls = (
        Timed(lambda: solve(rhs, jac=problem.rhs_jac)),
        Timed(lambda: solve(rhs, jac_sparsity=pattern)),
    )
    for call in calls:
        call.run()
    interleave(calls, effort)
    seconds = statistics.median(calls[0].seconds)
    return {"backend": backend, "n": n, "call": seconds, "over_scipy": ratio(*calls).median}


def everything(
    effort: Effort, say: Callable[[str], None], sizes: Sequence[int] = SIZES,
    backends: Sequence[str] = tuple(BACKENDS), problems: Sequence[str] = (), n_heat: int = 2_000,
    with_ba: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """All figures of the sparse part of the results page, and the load of the machine meanwhile."""
    rows, load = [], []
    for case in (c for c in CASES if not problems or c.name in problems):
        for n in sizes:
            for backend in backends:
                rows.append(asdict(measure(case, n, backend, effort)))
                load.append(os.getloadavg()[0])
                say(table(rows[-1:]).splitlines()[-1])
    few = Effort(min(effort.rounds, 7), effort.seconds, effort.limit)
    return {
        "rows": rows,
        "load": [min(load), max(load)] if load else [],
        "bdf": [bdf(n_heat, b, few) for b in backends if n_heat],
        "ba": [bundle_adjustment(b, few) for b in backends if with_ba],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000])
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), choices=list(BACKENDS))
    parser.add_argument("--problems", nargs="+", default=[c.name for c in CASES])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--heat", type=int, default=0, help="size of the heat equation for BDF")
    parser.add_argument("--ba", action="store_true", help="ADBench's bundle adjustment, too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with one_thread():
        found = everything(
            Effort(rounds=options.rounds), lambda text: print(text, flush=True), options.sizes,
            options.backends, options.problems, options.heat, options.ba,
        )  # fmt: skip
    print(table(found["rows"]), *found["bdf"], *found["ba"], sep="\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if options.plot:
        curves(found["rows"]).savefig(options.plot)


if __name__ == "__main__":
    main()
