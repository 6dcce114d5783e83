"""``python -m diffface bench``: derivatives by several backends, beside the same by hand."""

import argparse
import importlib
import textwrap
import warnings
from pathlib import Path
from typing import Any

from diffface.backends.recording.user_frame import users_line
from diffface.benchmark.measure import first_operator
from diffface.benchmark.problems import PROBLEMS, Problem
from diffface.cli.target import arguments, listed_backends, load
from diffface.cli.usage import UsageError, one_of, progress, show, split
from diffface.testing import Benchmark, Effort, benchmark
from diffface.testing.case import FIXED_POINT, FUNCTIONS, named

NAMES = {problem.name: problem for problem in PROBLEMS}
FORMATS = ("json", "csv", "markdown", "plot")
# What is measured of a function whose first derivative this is, unless asked for.
SEVERAL = {
    "gradient": ["gradient", "hvp"],
    "jacobian": ["jacobian", "pushforward", "pullback"],
}


def add(subparsers: Any) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="time derivatives, beside the same written by hand",
        description=(
            "Time prepared derivatives by several backends, each beside the best code that one\n"
            "would write by hand for that framework, in turn; check the results, and flag what\n"
            "a careful reader should know.\n\n"
            f"problems: {', '.join(NAMES)}, all"
        ),
        epilog=(
            "examples: python -m diffface bench rosenbrock --sizes 10,100,1000\n"
            "          python -m diffface bench gmm --sizes 1000x10x5 --backends jax,torch\n"
            "          python -m diffface bench mymodule:loss --args mymodule:make_args"
        ),
    )
    parser.add_argument(
        "what", nargs="?", default="rosenbrock", metavar="problem",
        help="a problem, all, or module:function (default: rosenbrock)",
    )  # fmt: skip
    parser.add_argument(
        "--args", metavar="module:name",
        help="for a function: its arguments, or what makes them, of a size where there are --sizes",
    )  # fmt: skip
    parser.add_argument(
        "--backends", metavar="LIST", help="such as jax,torch,Torch(compile=True); default: all"
    )
    parser.add_argument(
        "--operators", metavar="LIST",
        help="such as gradient,hessian; default: gradient,hvp, or of functions of several "
        "results jacobian,pushforward,pullback",
    )  # fmt: skip
    parser.add_argument(
        "--sizes", metavar="LIST", help="such as 10,100 or 1000x10x5; default: small"
    )
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="default: 11")
    parser.add_argument(
        "--wide", action="store_true", help="show all columns, wider than 80 characters"
    )
    for name in FORMATS:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {name} here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write; when interrupted, what is there by then."""
    subjects, chosen = _subjects(options), _chosen(options)
    _check_files(options)
    given = chosen.pop("operators")
    operators = [given or _several(f, args) for f, args, _ in subjects]
    # Each is prepared by every backend, timed, and checked.
    steps = sum(map(len, operators)) * (len(named(chosen["backends"])) + 2)
    report: Benchmark | None = None
    try:
        with progress(steps) as say, warnings.catch_warnings():
            # autograd warns where an argument has no part in a result.
            warnings.filterwarnings("ignore", "Output seems independent of input")
            for (f, args, more), names in zip(subjects, operators, strict=True):
                found = benchmark(f, *args, operators=names, progress=say, **more, **chosen)
                report = found if report is None else report + found
    except KeyboardInterrupt:
        if report is not None:
            _finish(report, options)
        raise
    assert report is not None
    _finish(report, options)
    return 1 if any("failed" in row.flags for row in report.rows) else 0


def _subjects(options: argparse.Namespace) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """What to measure, one size and one problem at a time: function, arguments, options."""
    if ":" in options.what:
        if options.args is None:
            raise UsageError("a function needs --args, such as --args mymodule:make_args.")
        f = load(options.what)
        if options.sizes is None:
            return [(f, arguments(options.args), {})]
        return [(f, arguments(options.args, *size), {}) for size in _numbers(options.sizes)]
    if options.args:
        raise UsageError("--args are for module:function; a problem brings its own.")
    if options.what == "all":
        problems = list(PROBLEMS)
    else:
        problems = [NAMES[one_of(options.what, (*NAMES, "all"), "problem")]]
    return [(p, (), {"sizes": [s]}) for p in problems for s in _sizes(options.sizes, p)]


def _several(f: Any, args: tuple[Any, ...]) -> list[str]:
    """The operators of a function, where none were asked for."""
    try:
        first = f.operator if isinstance(f, Problem) else first_operator(f, args)
    except Exception as error:
        raise UsageError(
            f"the function cannot be called: {type(error).__name__}: {error}{users_line(error)}"
        ) from error
    return SEVERAL.get(first, [first])


def _sizes(text: str | None, problem: Problem) -> list[tuple[int, ...]]:
    if text is None:
        return [problem.sizes[0]]
    usual = {len(size) for size in problem.sizes}
    sizes = _numbers(text)
    if not all(len(size) in usual and min(size) > 0 for size in sizes):
        example = "x".join(map(str, problem.sizes[0]))
        raise UsageError(
            f"--sizes of {problem.name} are {problem.dimensions}, such as {example}; got {text!r}."
        )
    return sizes


def _numbers(text: str) -> list[tuple[int, ...]]:
    """``10,1000x5`` as tuples; one of them is empty where there is something else."""
    try:
        return [tuple(map(int, word.split("x"))) for word in split(text)]
    except ValueError:
        return [()]


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Options of benchmark."""
    if options.rounds < 1:
        raise UsageError(f"--rounds must be 1 or more, got {options.rounds}.")
    known = [name for name in FUNCTIONS if name not in FIXED_POINT]
    return {
        "backends": listed_backends(options.backends) if options.backends else None,
        "operators": [one_of(name, known, "operator") for name in split(options.operators)]
        if options.operators
        else None,
        "effort": Effort(rounds=options.rounds),
    }


def _check_files(options: argparse.Namespace) -> None:
    """Complain before measuring, not after."""
    for name in FORMATS:
        path = getattr(options, name)
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"--{name}: there is no folder {str(path.parent)!r}.")
    if options.plot is None:
        return
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise UsageError("--plot needs matplotlib; run: pip install 'diffface[bench]'.") from error
    figure = importlib.import_module("matplotlib.figure").Figure()
    kinds, kind = figure.canvas.get_supported_filetypes(), options.plot.suffix.removeprefix(".")
    if kind not in kinds:
        raise UsageError(
            f"--plot must end in one of .{', .'.join(kinds)}, got {str(options.plot)!r}."
        )


def _finish(report: Benchmark, options: argparse.Namespace) -> None:
    for table in [report.table()] if options.wide else report.tables():
        show(table)
        if not options.wide:
            print()
    for note in report.notes():
        print(textwrap.fill(note, 80, subsequent_indent="  "))
    for name in FORMATS[:-1]:
        if path := getattr(options, name):
            path.write_text(getattr(report, name)(), encoding="utf-8")
    if options.plot:
        report.plot(options.plot)
