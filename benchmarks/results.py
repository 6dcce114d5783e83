"""The results page, ``docs/reference/results.md``: measured anew, and written with its pictures.

``python -m benchmarks.results`` measures (about fifteen minutes on a quiet machine), writes the
figures to ``docs/reference/results.json``, and from those the page. ``--page`` does only the
latter, ``--sparse`` and ``--rules`` measure those parts alone. Needs the extras ``all`` and
``results``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import COMPILED, gmm_args, one_thread, point, rosenbrock
from benchmarks.others import casadi_gmm, numdifftools_gradient, torch_double_backward
from benchmarks.page import page
from benchmarks.rules import everything as rules
from benchmarks.sparse import everything as sparse
from benchmarks.sparse_page import curves, patterns
from diffface.backends.registry import Backend, resolve
from diffface.benchmark import problems
from diffface.benchmark.contestants import Contestant
from diffface.benchmark.task import Task
from diffface.benchmark.timing import Timed, interleave, numbers, ratio
from diffface.testing import Benchmark, Effort, benchmark

DOCS = Path(__file__).parent.parent / "docs" / "reference"
EVERY = ["jax", "torch", COMPILED, "autograd", "numpy", "complex-step"]
COMPILING = ["jax", "torch", COMPILED, "autograd"]
GMM_SIZE = (1_000, 10, 25)
SIZES = [(10,), (100,), (1_000,)]
# Where the backends are compared on every problem: small, but no toys.
AT = {
    "rosenbrock": (100,), "mlp": (64, 16, 32, 32, 4), "gmm": (1_000, 2, 5), "ba": (2, 10, 10),
    "lstm": (2, 8, 5), "hand-simple": (2, 20, 3), "hand-complicated": (2, 20, 3), "lse": (2_500,),
    "kmeans": (1_000, 8, 10), "ode": (32, 10), "brusselator": (8,),
}  # fmt: skip


def beside_others(
    case: Task, backends: Sequence[str | Backend], others: dict[str, Callable[[], Any]],
    effort: Effort,
) -> list[dict[str, Any]]:  # fmt: skip
    """Prepared calls, the same by hand, and other tools, all timed in turn."""
    calls: dict[str, Timed] = {}
    right: Any = None
    wrong: dict[str, float] = {}
    for backend in backends:
        label = backend if isinstance(backend, str) else repr(backend)
        found = Contestant(case, label, resolve(backend), {})
        right = found.result if right is None else right
        for who, call, result in (
            (f"diffface, {label}", found.prepared, found.result),
            (f"{label}, by hand", found.hand, found.by_hand_result),
        ):
            # By hand, both of torch's are the same.
            if call is not None and not (backend is COMPILED and "hand" in who):
                calls[who], wrong[who] = call, _error(result, right)
    for who, other in others.items():
        calls[who], wrong[who] = Timed(other), _error(numbers(other()), right)
    interleave(list(calls.values()), effort)
    first = next(iter(calls.values()))
    return [
        {
            "who": who, "time": statistics.median(call.seconds), "error": wrong[who],
            "ratio": ratio(call, first).median, "quartiles": ratio(call, first)[1:],
        }
        for who, call in calls.items()
    ]  # fmt: skip


def _error(found: Any, right: Any) -> float:
    return float(np.max(np.abs(found - right)) / np.max(np.abs(right)))


def measure(effort: Effort, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of the page."""
    import torch

    x, small = point(1_000), point(100)
    with one_thread():
        gmm = benchmark(problems.GMM, sizes=[GMM_SIZE], backends=EVERY, effort=effort, progress=say)
        hvp = benchmark(
            problems.ROSENBROCK, sizes=SIZES, operators=["hvp"], backends=EVERY, effort=effort,
            progress=say,
        )  # fmt: skip
        every = [
            benchmark(p, sizes=[AT[p.name]], backends=EVERY, effort=effort, progress=say)
            for p in problems.PROBLEMS
        ]
        say("beside other tools")
        args = gmm_args(*GMM_SIZE)
        gmm_case = Task("gmm", "", problems.GMM.f, args, "gradient")
        hvp_case = Task("rosenbrock", "", rosenbrock, (x,), "hvp")
        dx = hvp_case.seeds(None, resolve("torch").first_order().arrays)["tangents"]
        differences_case = Task("rosenbrock", "", rosenbrock, (small,), "gradient")
        found = {
            "gmm_beside": beside_others(
                gmm_case, COMPILING, {"CasADi": casadi_gmm(problems.plain(args))}, effort
            ),
            "hvp_beside": beside_others(
                hvp_case, COMPILING,
                {"torch, reverse over reverse": torch_double_backward(torch.tensor(x), dx)}, effort,
            ),
            "differences": beside_others(
                differences_case,
                ["autograd", "numpy", dif.FiniteDifferences("forward"),
                 dif.FiniteDifferences("richardson"), "complex-step"],
                {"numdifftools": numdifftools_gradient(rosenbrock, small)}, effort,
            ),
            "sparse": sparse(effort, say),
            "rules": rules(effort, say),
        }  # fmt: skip
    machine = dict(gmm.machine)
    machine |= {name: version(name) for name in ("asdex", "casadi", "numdifftools")}
    reports = {"gmm": gmm, "hvp": hvp, "problems": sum(every[1:], every[0])}
    rows = {name: json.loads(report.json())["rows"] for name, report in reports.items()}
    return {"machine": machine, "effort": vars(effort), **rows, **found}


def write(found: dict[str, Any]) -> None:
    """The page and its pictures."""
    reports = {
        name: Benchmark.from_json(json.dumps({"machine": found["machine"], "rows": found[name]}))
        for name in ("gmm", "hvp", "problems")
    }
    reports["hvp"].plot(DOCS / "results-hvp.png")
    reports["problems"].plot(DOCS / "results-problems.png")
    curves(found["sparse"]["rows"]).savefig(DOCS / "results-sparse.png")
    patterns().savefig(DOCS / "results-patterns.png", dpi=80)
    (DOCS / "results.md").write_text(page(found, reports), encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, unless only the page is wanted, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--page", action="store_true", help="write the page from docs/reference/results.json"
    )
    parser.add_argument("--sparse", action="store_true", help="measure the sparse part alone")
    parser.add_argument("--rules", action="store_true", help="measure the part on rules alone")
    parser.add_argument("--rounds", type=int, default=15, help="how often each call is timed")
    options = parser.parse_args()
    file, effort = DOCS / "results.json", Effort(rounds=options.rounds)
    if options.sparse or options.rules:
        found = json.loads(file.read_text(encoding="utf-8"))
        with one_thread():
            if options.sparse:
                found["sparse"] = sparse(effort, _say)
                found["machine"]["asdex"] = version("asdex")
            if options.rules:
                found["rules"] = rules(effort, _say)
    elif not options.page:
        found = measure(effort, _say)
    if not options.page:
        text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        file.write_text(text + "\n", encoding="utf-8")
    write(json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
