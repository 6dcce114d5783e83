"""The text of ``docs/results.md``, around the figures that were measured."""

import statistics
from collections.abc import Sequence
from typing import Any

from diffface.testing import Benchmark, Measurement
from diffface.testing._benchmark._table import digits, duration, markdown

# GMM, d = 10, K = 25, 1,000 points, in GradBench's nightly run of 2026-03-14 (one thread): seconds
# of the function and of the gradient. github.com/gradbench/gradbench (MIT).
GRADBENCH = {
    "hand-written C++": (0.002118717, 0.003865850),
    "TensorFlow": (0.339633388, 0.653615651),
    "Tapenade": (0.002064540, 0.005120255),
    "JAX": (0.001239453, 0.005090342),
    "PyTorch": (0.001214676, 0.005965542),
    "Futhark": (0.001442266, 0.008748060),
    "Zygote": (0.003147883, 0.034758640),
    "Enzyme (C++)": (0.001565786, 0.020021476),
    "finite differences (C++)": (0.002116951, 7.008062286),
}
SHOWN = ("backend", "strategy", "prepare", "call", "by hand", "ratio", "quartiles", "over f",
         "error", "pays after", "flags")  # fmt: skip


def page(found: dict[str, Any], reports: dict[str, Benchmark]) -> str:
    """The whole page."""
    gmm, hvp, problems = (reports[name].rows for name in ("gmm", "hvp", "problems"))
    where = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    effort = found["effort"]
    return f"""# Results

Prepared derivatives by every backend, beside the best code that one would write by hand for the same framework,
and beside other tools. All of it is measured and written by one command, `python -m benchmarks.results` (or `make results`);
the figures are in [results.json](results.json).

{where}.
torch runs on one thread, JAX with 64 bits and as many threads as it likes.

## How to read it

* Every call of a table takes its turn, {effort["rounds"]} rounds, about {1e3 * effort["seconds"]:.0f} ms each, so that a drift of the machine hits all alike.
  A ratio is the median of those of the rounds; quartiles are its quartiles. A call that takes seconds gets fewer rounds, and the flag `few`.
* Each backend works on arrays of its own library, and every call is timed until its result is there.
* *By hand* is `jax.jit(jax.grad(f))` built once, `torch.autograd.grad`, `torch.func.jvp(torch.func.grad(f), ...)`, `autograd.grad`,
  `autograd.hessian_vector_product`, SciPy's `approx_derivative` (three points), a loop of complex steps;
  word for word in `backends/_jax_by_hand.py` and its neighbours.
* *Ratio* is the prepared call over that: less than 1 is faster than by hand.
* *Over f* is the derivative over its function, both prepared in the same framework.
* *Error* is relative to the largest number of the result, against the median of the backends that are exact.
* *Pays after* is the number of calls after which the preparation has paid for itself, compared with unprepared ones.
* Nothing is left out for being slow: what is flagged is explained below its table.

The objectives are ADBench's, reproduced from their published formulas: on ADBench's own inputs, GMM has the published value and gradient
to 12 digits, BA the residuals and the Jacobian to 11, and the LSTM the gradient to 12 (its value is published with 8);
`tests/test_problems.py` checks that on every run.

## GMM: the gradient, d = 10, K = 25, 1,000 points

ADBench's Gaussian mixture, 1,650 parameters.

{markdown(gmm, SHOWN)}
The same beside plain JAX, PyTorch and autograd, and [CasADi](https://web.casadi.org), in one run. Times relative to the first line.

{others(found["gmm_beside"])}
For comparison, what others publish for this size: GradBench's nightly run of 2026-03-14, on another machine, one thread
([github.com/gradbench/gradbench](https://github.com/gradbench/gradbench), MIT). Its JAX tool does not wait for results.
Our ratios are in the column *over f* above.

{gradbench()}
## Rosenbrock: Hessian-vector products

{markdown(hvp, ("size", *SHOWN))}
![Time of a Hessian-vector product against size, and its ratio to hand-written code](results-hvp.png)

Beside other ways to the same product, 1,000 variables:

{others(found["hvp_beside"])}
## Differences: Rosenbrock's gradient, 100 variables

{others(found["differences"])}
SciPy's line is *numpy, by hand*; *autograd* is exact and stands there for scale.

## All problems

One operator each, at a small size; FD and complex steps included.

{markdown(problems, ("problem", "size", "operator", *SHOWN))}
![Ratios of prepared calls to hand-written code, for every problem](results-problems.png)

## What surprised us

{surprises(gmm, hvp, problems, found)}"""


def others(rows: Sequence[dict[str, Any]]) -> str:
    """A table of tools."""
    lines = ["| who | time | relative | quartiles | error |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        low, high = row["quartiles"]
        lines.append(
            f"| {row['who']} | {duration(row['time'])} | {digits(row['ratio'])} | "
            f"{digits(low)} to {digits(high)} | {row['error']:.0e} |"
        )
    return "\n".join(lines) + "\n"


def gradbench() -> str:
    """What GradBench published."""
    lines = ["| GradBench | function | gradient | ratio |", "| --- | ---: | ---: | ---: |"]
    for who, (function, gradient) in GRADBENCH.items():
        ratio = digits(gradient / function)
        lines.append(f"| {who} | {duration(function)} | {duration(gradient)} | {ratio} |")
    return "\n".join(lines) + "\n"


def surprises(
    gmm: Sequence[Measurement], hvp: Sequence[Measurement], problems: Sequence[Measurement],
    found: dict[str, Any],
) -> str:  # fmt: skip
    """What one would not have guessed, with the figures that say so."""
    ratios = {
        name: [row.ratio for row in problems if row.backend == name and row.ratio is not None]
        for name in ("jax", "torch", "autograd", "numpy", "complex-step")
    }
    worst = max((row for row in problems if row.backend == "jax"), key=lambda row: row.ratio or 0)
    beside = {row["who"]: row for row in found["hvp_beside"]}
    forward, backward = (beside[k] for k in ("torch, by hand", "torch, reverse over reverse"))
    casadi = next(row for row in found["gmm_beside"] if row["who"] == "CasADi")
    kinks = next(r for r in problems if r.problem == "kmeans" and r.backend == "numpy")
    prepared = {row.backend: row for row in gmm}
    small = {row.backend: row for row in hvp if row.inputs == 10}
    return f"""* A recorded NumPy program is hard to beat where arrays are small: autograd's Hessian-vector product at n = 10 takes {duration(small["autograd"].time)},
  jax's {duration(small["jax"].time)}. Over all problems, the recorded program took {span(ratios["autograd"])} times as long as `autograd` called by hand,
  torch's replayed graph {span(ratios["torch"])} times as long as `torch.autograd.grad` and its like.
* On JAX there is nothing to win over `jax.jit` built once, only something to lose: {span(ratios["jax"])} times as long by hand;
  the worst is {worst.problem} ({digits(worst.ratio)}), a call of {duration(worst.time)}. What diffface adds is the check of the signature.
* Forward over reverse, the textbook's way to a Hessian-vector product, is the slow one in eager PyTorch:
  {duration(forward["time"])} against {duration(backward["time"])} by reverse over reverse at n = 1,000. Once traced, nothing of that is left.
* Complex steps lose {span(ratios["complex-step"])} times against a plain loop by hand, for a function of microseconds most of all:
  the stencil builds every point anew, where a loop moves one coordinate in place.
* Prepared differences take {span(ratios["numpy"])} times as long as SciPy's; for Hessian-vector products they evaluate more, for two more digits.
* Differences of differences do not see kinks: of k-means, whose clusters change within their step, the product is off by {error(kinks)};
  the benchmark flags it.
* CasADi takes {digits(casadi["ratio"])} times as long as diffface on jax for GMM, from an expression that took more lines than the function.
* The gradient of GMM costs {digits(prepared["jax"].over_function)} (jax), {digits(prepared["torch"].over_function)} (torch), {digits(prepared["Torch(compile=True)"].over_function)} (compiled) and
  {digits(prepared["autograd"].over_function)} (autograd) times its function, where the theory of reverse mode allows about 4 (A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., 2008, section 4.6).
"""


def span(ratios: Sequence[float]) -> str:
    """Smallest to largest, and the median."""
    low, high = digits(min(ratios)), digits(max(ratios))
    return f"{low} to {high} (median {digits(statistics.median(ratios))})"


def error(row: Measurement) -> str:
    """An error in words."""
    return "an amount unknown" if row.error is None else f"{row.error:.0e} of its largest number"
