"""``python -m diffface backends``: what is installed, and what it can do."""

import argparse
from typing import Any

from diffface._backends import BackendInfo, backends
from diffface._table import Table
from diffface.cli._show import show


def add(subparsers: Any) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "backends",
        help="what is installed, and what it can do",
        description="List the backends: versions and modes.",
        epilog="example: python -m diffface backends",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the tables."""
    infos = backends()
    show(Table(("backend", "version", "modes"), [_row(info) for info in infos]))
    for info in infos:
        if not info.available:
            print(info.problem)
    return 0


def _row(info: BackendInfo) -> tuple[str, ...]:
    modes = [mode for mode in ("forward", "reverse") if getattr(info, mode)]
    return info.name, info.version if info.available else "not installed", ", ".join(modes)
