"""The benchmark: operators, backends and sizes, each beside the same written by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.errors import InvalidArgumentError
from diffface.backends.registry import Backend
from diffface.benchmark.asynchrony import numbers
from diffface.benchmark.case import Case
from diffface.benchmark.machine import machine
from diffface.benchmark.measure import References, measure
from diffface.benchmark.problems import Problem
from diffface.benchmark.report import Benchmark
from diffface.benchmark.timing import Effort
from diffface.prep.arguments.const import plain
from diffface.testing.functions import FIXED_POINT, FUNCTIONS
from diffface.testing.labels import named


def benchmark(
    f: Callable[..., Any] | Problem,
    /,
    *args: Any,
    backends: Sequence[str | Backend] | None = None,
    operators: Sequence[str] | None = None,
    sizes: Sequence[tuple[int, ...]] | None = None,
    by_hand: References | None = None,
    reference: Any = None,
    effort: Effort | None = None,
    progress: Callable[[str], None] | None = None,
) -> Benchmark:
    """Measure derivatives by several backends, each beside the same written by hand.

    Every backend gets arrays of its own library, made before anything is timed, and every call is
    timed until its result is there. All calls of a case take turns, so that a drift of the machine
    hits all of them alike; ratios are paired round by round.

    Parameters
    ----------
    f : callable or Problem
        The function; or one of :mod:`diffface.benchmark.problems`, which brings its arguments.
    *args : array, number, or tree of them; Const
        Arguments of ``f``, as for :func:`diffface.gradient`; none for a problem.
    backends : sequence of str or backend object, optional
        Who differentiates. By default all that are installed.
    operators : sequence of str, optional
        Such as ``"gradient"``, ``"hvp"`` or ``"value_and_gradient"``. By default that of the
        problem, or the gradient of a function with one result and the Jacobian of others. Tangents
        and cotangents are made up.
    sizes : sequence of tuple of int, optional
        For a problem: at which sizes. By default its smallest.
    by_hand : mapping of str to mapping of str to callable, optional
        What to compare with in place of the code that comes with a backend:
        ``by_hand[backend][operator](*args)``, after the arguments the tangents or cotangents.
        For a function of one's own best code, or a backend that comes without.
    reference : tree of arrays, optional
        The right answer, if it is known, for one operator at one size. By default the median of
        the backends that are exact, or extrapolated differences if there is only one.
    effort : Effort, optional
        How thoroughly to measure.
    progress : callable, optional
        Is told, in words, what is done next.

    Returns
    -------
    Benchmark
        One row for each operator, size and backend. ``str`` of it is a table.

    Raises
    ------
    InvalidArgumentError
        If an operator does not exist, or options contradict each other.
    UnknownBackendError, BackendNotAvailableError
        If a backend does not exist, or is not installed.

    Notes
    -----
    The code written by hand is that of one who knows the framework: ``jax.jit(jax.grad(f))`` built
    once, ``torch.autograd.grad``, ``autograd.grad``, SciPy's ``approx_derivative``; it stands in
    ``diffface/benchmark/by_hand``. Frameworks are set up as by one who works with them, with
    64 bits on JAX for instance.

    Examples
    --------
    >>> import numpy as np
    >>> from diffface.testing import Effort, benchmark
    >>> report = benchmark(
    ...     lambda x: (x**3).sum(), np.ones(4), backends=["autograd", "numpy"],
    ...     effort=Effort(rounds=3, seconds=0.001),
    ... )
    >>> [(row.backend, row.strategy, row.evaluations) for row in report.rows]
    [('autograd', 'program', 0), ('numpy', 'stencil', 8)]
    """
    chosen = _backends(backends)
    cases = _cases(f, args, operators, sizes)
    if reference is not None and len(cases) != 1:
        raise InvalidArgumentError(
            "`reference` is the answer of one operator at one size, got "
            f"{len(cases)} cases; call benchmark once for each."
        )
    rows = []
    for case in cases:
        rows += measure(
            case, chosen, by_hand or {}, reference, effort or Effort(), progress or _silent
        )
    return Benchmark(tuple(rows), machine())


def _silent(_: str) -> None:
    """Nobody watches."""


def _backends(asked: Sequence[str | Backend] | None) -> dict[str, Backend]:
    found = named([asked] if isinstance(asked, str) else asked)
    if not found:
        raise InvalidArgumentError("`backends` must name at least one backend, got none.")
    return found


def _cases(
    f: Callable[..., Any] | Problem,
    args: tuple[Any, ...],
    operators: Sequence[str] | None,
    sizes: Sequence[tuple[int, ...]] | None,
) -> list[Case]:
    if isinstance(f, Problem):
        if args:
            raise InvalidArgumentError(
                "A problem brings its arguments: pass `sizes` in their place."
            )
        names = _operators(operators, f.operator)
        points = {"x".join(map(str, s)): f.make_args(s, 0) for s in sizes or f.sizes[:1]}
        return [Case(f.name, s, f.f, a, name) for name in names for s, a in points.items()]
    if sizes is not None:
        raise InvalidArgumentError("`sizes` are for problems: a function comes with its arguments.")
    if not callable(f):
        raise InvalidArgumentError(
            f"`f` must be a function or a problem, got {type(f).__name__}; the function comes "
            "first, then its arguments."
        )
    usual = "gradient" if operators else _usual(f, args)
    name = getattr(f, "__name__", type(f).__name__)
    cases = [Case(name, "", f, args, operator) for operator in _operators(operators, usual)]
    return [case._replace(size=str(case.inputs)) for case in cases]


def _usual(f: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The first derivative that fits what ``f`` returns."""
    y = f(*plain(args))
    return "gradient" if np.shape(y) == () and numbers(y).size == 1 else "jacobian"


def _operators(asked: Sequence[str] | None, usual: str) -> list[str]:
    known = [name for name in FUNCTIONS if name not in FIXED_POINT]
    names = [asked] if isinstance(asked, str) else list([usual] if asked is None else asked)
    for name in names:
        if name not in known:
            raise InvalidArgumentError(
                f"`operators` must be among {', '.join(map(repr, known))}, got {name!r}."
            )
    if not names:
        raise InvalidArgumentError("`operators` must name at least one operator, got none.")
    return names
