"""Functions with rules, bridges, solvers and functions that write, beside the same by hand.

Run as ``python -m benchmarks.rules``; ``python -m benchmarks.results --rules`` puts the figures on
the results page. Everything is prepared, takes NumPy arrays of float64 and returns such, and
agrees with what is written by hand before it is timed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import one_thread
from benchmarks.pairs import pair
from benchmarks.rules_by_hand import (
    Call,
    cubic,
    jax_in_torch,
    newton,
    root_in_autograd,
    root_in_jax,
    root_in_torch,
    rule_in_autograd,
    rule_in_jax,
    rule_in_torch,
    torch_in_jax,
)
from diffface.benchmark.row import digits, duration
from diffface.benchmark.timing import Effort

# Name, prepared, by hand, and where.
Case = tuple[str, Call, Call, Any]
SIZES = (10, 10_000)
ALL = ("jax", "torch", "autograd", "numpy", "complex-step")
WRITES = (100, 200, 400)


def main() -> None:
    with one_thread():
        found = everything(Effort(rounds=15), lambda text: print(text, file=sys.stderr))
    print("\n".join(tables(found).values()))


def everything(effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of the part on rules."""
    load, rows = [os.getloadavg()[0]], []
    for title, cases in (
        ("softplus with a rule, n = 100", rules),
        ("bridge", bridges),
        ("roots by Newton's method, n = 20", roots),
        ("`in_place`, heat equation, N = 100", in_place),
    ):
        say(title)
        rows += [measured(title, case, effort) for case in cases()]
    say("writes")
    found = {"rows": rows, "writes": {name: writes(name) for name in ("jax", "torch", "autograd")}}
    return {**found, "load": [*load, os.getloadavg()[0]]}


def measured(title: str, case: Case, effort: Effort) -> dict[str, Any]:
    """One line of the table; seconds."""
    name, ours, by_hand, x = case
    np.testing.assert_allclose(ours(x), by_hand(x), rtol=1e-5, atol=1e-7)
    found = pair(lambda: ours(x), lambda: by_hand(x), effort.rounds, effort.seconds)
    return {
        "what": title, "case": name, "call": found.first * 1e-6, "hand": found.second * 1e-6,
        "ratio": found.ratio, "quartiles": [found.low, found.high],
    }  # fmt: skip


def tables(found: dict[str, Any]) -> dict[str, str]:
    """The texts that the template of the page has places for."""
    names = ("what", "case", "call", "by hand", "ratio", "quartiles")
    lines = [f"| {' | '.join(names)} |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for r in found["rows"]:
        low, high = map(digits, r["quartiles"])
        times = f"{duration(r['call'])} | {duration(r['hand'])} | {digits(r['ratio'])}"
        lines.append(f"| {r['what']} | {r['case']} | {times} | {low} to {high} |")
    seconds = [
        f"{name} {', '.join(map(duration, times))}" for name, times in found["writes"].items()
    ]
    return {
        "rules": "\n".join(lines) + "\n",
        "rules_writes": "; ".join(seconds),
        "rules_load": " to ".join(f"{load:.1f}" for load in found["load"]),
    }


# One rule: d softplus = sigmoid


@dif.custom_rule
def softplus(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


@softplus.pullback
def _(active: Any, saved: Any, dy: Any) -> Any:
    y, x = saved
    return dy * dif.namespace(x).exp(x - y)


def rules(n: int = 100) -> list[Case]:
    """Gradients on each backend that has rules."""
    x = np.linspace(-3.0, 3.0, n)

    def loss(x: Any) -> Any:
        return dif.namespace(x).sum(softplus(x) ** 2)

    made = {"jax": rule_in_jax(), "torch": rule_in_torch(), "autograd": rule_in_autograd()}
    return _beside(loss, x, made)


def _beside(f: Call, x: Any, made: dict[str, Call]) -> list[Case]:
    """The prepared gradient on each backend, beside what was made by hand."""
    return [
        (name, dif.prepare_gradient(f, x, backend=name, fallback="error"), by_hand, x)
        for name, by_hand in made.items()
    ]


# Bridges: x sin x of one framework, in the sum of its squares in another


def bridges(sizes: Iterable[int] = SIZES) -> list[Case]:
    """A torch function in JAX, and a JAX function in torch."""
    import jax.numpy as jnp
    import torch

    inner = {"torch": lambda x: x * torch.sin(x), "jax": lambda x: x * jnp.sin(x)}
    made = {("torch", "jax"): torch_in_jax, ("jax", "torch"): jax_in_torch}
    found = []
    for n in sizes:
        x = np.linspace(-3.0, 3.0, n)
        for (inside, outside), by_hand in made.items():
            f = dif.bridge(inner[inside], backend=inside)
            loss = lambda x, f=f: dif.namespace(x).sum(f(x) ** 2)
            ours = dif.prepare_gradient(loss, x, backend=outside, fallback="error")
            name = f"{inside} in {outside}, n = {n:,}"
            found.append((name, ours, by_hand(inner[inside]), x))
    return found


# Roots of x³ + x = p, found in NumPy


def roots(n: int = 20) -> list[Case]:
    """Gradients through `implicit`, on each backend that has rules."""
    root = dif.implicit(cubic, newton)
    made = {"jax": root_in_jax(), "torch": root_in_torch(), "autograd": root_in_autograd()}
    return _beside(lambda p: dif.namespace(p).sum(root(p) ** 2), np.linspace(0.1, 3.0, n), made)


# Functions that write


def heat(dx: Any, x: Any, p: Any, t: Any) -> None:
    dx[0] = dx[-1] = 0.0
    dx[1:-1] = p * t * (x[:-2] - 2.0 * x[1:-1] + x[2:])


def functional(x: Any, p: Any, t: Any) -> Any:
    xp = dif.namespace(x, p)
    zero = xp.zeros_like(x[:1])
    return xp.concat([zero, p * t * (x[:-2] - 2.0 * x[1:-1] + x[2:]), zero])


def in_place(n: int = 100) -> list[Case]:
    """The prepared Jacobian and gradient on every backend, beside the functional form."""
    x, p, t = np.linspace(0.0, 1.0, n) ** 2, dif.Const(1.5), dif.Const(0.7)
    found = []
    for backend in ALL:
        for operator in ("jacobian", "gradient"):
            calls = []
            for f in (dif.in_place(heat), functional):
                whole = f if operator == "jacobian" else _energy(f)
                prepare = getattr(dif, f"prepare_{operator}")
                prepared = prepare(whole, x, p, t, backend=backend, fallback="error")
                calls.append(lambda x, g=prepared: g(x, 1.5, 0.7))
            found.append((f"{operator}, {backend}", *calls, x))
    return found


def _energy(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, p, t: dif.namespace(x).sum(f(x, p, t) ** 2)


def writes(backend: str, counts: Sequence[int] = WRITES) -> list[float]:
    """Seconds of a preparation, by the number of elements that are written one by one."""
    times = []
    for count in (20, *counts):  # the first one warms up
        start = time.perf_counter()
        f, x = _energy(dif.in_place(_by_elements)), np.linspace(0.0, 1.0, count)
        dif.prepare_gradient(f, x, dif.Const(1.5), dif.Const(0.7), backend=backend)
        times.append(time.perf_counter() - start)
    return times[1:]


def _by_elements(dx: Any, x: Any, p: Any, t: Any) -> None:
    for i in range(1, x.shape[0] - 1):
        dx[i] = p * t * (x[i - 1] - 2.0 * x[i] + x[i + 1])


if __name__ == "__main__":
    main()
