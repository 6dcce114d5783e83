"""What the results of a NumPy function depend on, from one evaluation on index sets."""

from math import prod

import numpy as np

from diffface.backends.compiled import Arrays, Program
from diffface.backends.errors import DifffaceError, SparsityError
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.index_sets.array import IndexSets
from diffface.backends.recording.report import Found, Report
from diffface.backends.recording.user_frame import users_line


def dependence(program: Program, examples: Arrays, primals: int, order: int) -> Found:
    """The pattern of the Jacobian, or Hessian, of ``program`` by its first ``primals`` inputs."""
    shapes = [np.shape(a) for a in examples[:primals]]
    n = sum(map(prod, shapes))
    report = Report(order, n)
    sets = [*dep.identity(shapes), *[None] * (len(examples) - primals)]
    inputs = [
        IndexSets(np.shape(a), d, report, np.result_type(a))
        for a, d in zip(examples, sets, strict=True)
    ]
    try:
        with report.naming("f", str):
            outputs = program(*inputs)
    except SparsityError:
        raise
    except Exception as error:
        if isinstance(error, DifffaceError) and error.__cause__ is None:
            raise
        # An error of the function's own comes again, and goes up from here.
        program(*map(np.array, examples))
        raise SparsityError(
            f"The structure of `f` cannot be traced{users_line(error)} ({_reason(error)}). Find it "
            "numerically with sparsity='probe', pass a pattern of your own, or make arrays like "
            "the argument, with `np.zeros_like(x)`, and decide with `np.where`."
        ) from error
    if order == 2:
        pairs = report.pairs
        pairs.sort_indices()
        return Found(pairs, str(report))
    deps = [y.deps if isinstance(y, IndexSets) else None for y in outputs]
    return Found(dep.stacked(deps, [np.shape(y) for y in outputs], n), str(report))


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None and not str(error):
        error = error.__cause__
    text = str(error)
    if "setting an array element with a sequence" in text:
        return "values were written into an array of NumPy"
    return text.rstrip(".")
