"""``python -m diffface check``: the derivatives of one function, compared over backends."""

import argparse
from collections.abc import Sequence
from typing import Any

from diffface.cli.target import arguments, listed_backends, load
from diffface.cli.usage import UsageError, one_of, progress, show, split
from diffface.testing import Report, check
from diffface.testing.case import ORDER

EXAMPLE = """\
example:

  # mymodule.py
  import numpy as np
  import diffface as dif

  def loss(x, data):
      return dif.namespace(x).sum((x - data) ** 2)

  def point():
      return np.array([1.0, 2.0]), dif.Const(np.array([0.5, 3.0]))

  $ python -m diffface check mymodule:loss --args mymodule:point --backends jax,torch

Only what disagrees is shown, and why; --all shows what agrees as well.
The exit code is 0 if all agree, 1 if not, and 2 for wrong usage."""


def add(subparsers: Any) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="compare the derivatives of a function over backends, and with differences",
        description="Compare every derivative of a function at a point, unprepared and prepared,\n"
        "over backends and with extrapolated differences, and say why what disagrees does.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "function", metavar="module:function", help="what to differentiate; imported from here"
    )
    parser.add_argument(
        "--args", metavar="module:attribute",
        help="the point, required: a tuple of arguments (Const marks constants), one argument that "
        "is no tuple, or a function that returns them",
    )  # fmt: skip
    parser.add_argument(
        "--backends", metavar="NAME,...",
        help="backends that must agree; by default all that are installed and can run it",
    )  # fmt: skip
    parser.add_argument(
        "--operators", metavar="LIST", help="only these, such as gradient,hvp; default: all"
    )
    parser.add_argument(
        "--rtol", type=float, metavar="NUMBER",
        help="how far results may be apart, relative to the largest number; default: as the "
        "precision of the arguments allows",
    )  # fmt: skip
    parser.add_argument(
        "--argnums", metavar="N,...", help="positions of the active arguments, such as 0 or 0,2"
    )
    parser.add_argument(
        "--has-aux", action="store_true", help="the function returns a pair (value, aux)"
    )
    parser.add_argument(
        "--holomorphic", action="store_true", help="it is a holomorphic function of complex numbers"
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--all", action="store_true", help="show what agrees, too")
    shown.add_argument("--brief", action="store_true", help="say in one line whether all agree")
    shown.add_argument("--json", action="store_true", help="print everything, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and print the numbers and the reasons."""
    chosen = None if options.backends is None else listed_backends(options.backends)
    argnums = None if options.argnums is None else positions(options.argnums)
    operators = None
    if options.operators is not None:
        known = [name for name, order in ORDER.items() if order]
        operators = [one_of(name, known, "operator") for name in split(options.operators)]
    f = load(options.function)
    if not callable(f):
        raise UsageError(f"{options.function} is not a function but a {type(f).__name__}.")
    if options.rtol is not None and not options.rtol > 0:
        raise UsageError(f"--rtol must be positive, got {options.rtol:g}.")
    if options.args is None:
        raise UsageError(
            "name the point with --args, such as --args mymodule:point: a tuple of arguments, or a "
            "function that returns it."
        )
    args = arguments(options.args)
    with progress(2 + len(operators or ORDER)) as say:
        report = check(
            f, *args, backends=chosen, operators=operators, rtol=options.rtol, argnums=argnums,
            has_aux=options.has_aux, holomorphic=options.holomorphic, progress=say,
        )  # fmt: skip
    _print(report, options)
    return 0 if report.ok else 1


def _print(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        print(report.json())
        return
    if options.brief:
        print(report.conclusion().splitlines()[0])
        return
    if options.all or report.wrong:
        show(report.table(only_wrong=not options.all))
        print()
    print(report.conclusion())


def positions(text: str) -> int | Sequence[int]:
    """``0`` as one number, ``0,2`` as several."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--argnums must be integers separated by commas, got {text!r}.") from None
    return numbers if "," in text else numbers[0]
