"""The command line, ``python -m diffface``: one file for each subcommand.

Such a file has ``add(subparsers)``, which describes the subcommand and sets ``run`` as a default,
and ``run(options)``, which does it and returns the exit code.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from diffface.backends.errors import DifffaceError
from diffface.cli import backends as _backends
from diffface.cli import bench as _bench
from diffface.cli import check as _check
from diffface.cli import doctor as _doctor
from diffface.cli.usage import Parser, UsageError, nearest

COMMANDS = (_backends, _bench, _check, _doctor)

# What a command returns is its own affair, but for these: as argparse does, and as shells do for
# programs that are ended by the signals SIGINT and SIGPIPE.
WRONG_USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``python -m diffface``; by default those of this process.

    Returns
    -------
    int
        2 for wrong usage, 130 when interrupted, else what the subcommand says.
    """
    # With -P or PYTHONSAFEPATH, Python leaves it out; targets are looked for here all the same.
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109 (sys.path has strings)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 (the same)
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except (UsageError, DifffaceError) as error:
        print(f"diffface: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("diffface: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on, as in `| head`. At exit Python flushes once more, into nothing then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _run(argv: list[str]) -> int:
    parser = Parser(
        prog="python -m diffface",
        description="One thin interface to derivatives over JAX, PyTorch, autograd and NumPy.",
        epilog="example: python -m diffface backends\n\nEach command has a --help of its own.",
    )
    parser.add_argument("--version", action="version", version=version("diffface"))
    commands = parser.add_subparsers(metavar="command", title="commands")
    for command in COMMANDS:
        command.add(commands)
    if argv and not argv[0].startswith("-") and argv[0] not in commands.choices:
        raise UsageError(f"there is no command {argv[0]!r}.{nearest(argv[0], commands.choices)}")
    options = parser.parse_args(argv or ["--help"])
    try:
        code: int = options.run(options)
    except SystemExit as ended:
        # A script without a guard ends when it is imported, with code 0 and as if all were well.
        raise UsageError(
            f"the code that was given ended the program (exit code {ended.code!r}); keep what "
            "should not run at import under `if __name__ == '__main__':`."
        ) from None
    return code
