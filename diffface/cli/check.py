"""``python -m diffface check``: the derivatives of one function, compared over backends."""

import argparse
from collections.abc import Sequence
from typing import Any

from diffface.cli.target import arguments, listed_backends, load
from diffface.cli.usage import UsageError, show
from diffface.testing import check

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
        "--args", metavar="module:attribute", required=True,
        help="the point: a tuple of arguments (Const marks constants), one argument that is no "
        "tuple, or a function that returns them",
    )  # fmt: skip
    parser.add_argument(
        "--backends", metavar="NAME,...",
        help="backends that must agree; by default all that are installed and can run it",
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and print the numbers and the reasons."""
    chosen = None if options.backends is None else listed_backends(options.backends)
    argnums = None if options.argnums is None else positions(options.argnums)
    f = load(options.function)
    if not callable(f):
        raise UsageError(f"{options.function} is not a function but a {type(f).__name__}.")
    report = check(
        f, *arguments(options.args), backends=chosen, argnums=argnums, has_aux=options.has_aux,
        holomorphic=options.holomorphic,
    )  # fmt: skip
    show(report.table())
    print(f"\n{report.conclusion()}")
    return 0 if report.ok else 1


def positions(text: str) -> int | Sequence[int]:
    """``0`` as one number, ``0,2`` as several."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--argnums must be integers separated by commas, got {text!r}.") from None
    return numbers if "," in text else numbers[0]
