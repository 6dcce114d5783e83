"""``python -m diffface backends``: what is installed, and what it can do."""

import argparse
from typing import Any

from diffface.backends.registry import BackendInfo, list_backends
from diffface.benchmark.by_hand.library import library_tools
from diffface.cli.usage import one_of, progress, show, split
from diffface.testing.support import probes, reasons_table, support, support_table
from diffface.testing.text_table import Table

EXAMPLE = """\
examples:

  $ python -m diffface backends
  $ python -m diffface backends --backends jax,torch --installed

The second table is found out by running functions whose derivatives are known, unprepared and
prepared, which takes some seconds."""


def add(subparsers: Any) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "backends",
        help="what is installed, and what it can do",
        description="List the backends: versions, devices, modes, and which operators they have.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "--backends", metavar="NAME,...", help="only these; by default all that there are"
    )
    parser.add_argument(
        "--installed", action="store_true", help="only say what is installed, which is quick"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the tables."""
    infos = {info.name: info for info in list_backends()}
    if options.backends is not None:
        infos = {name: infos[one_of(name, infos, "backend")] for name in split(options.backends)}
    show(Table(("backend", "version", "modes", "devices"), [_row(i) for i in infos.values()]))
    for info in infos.values():
        if not info.available:
            print(f"\n{info.problem}")
    available = [info.name for info in infos.values() if info.available]
    if options.installed or not available:
        return 0
    with progress(sum(1 for _ in probes())) as say:
        found = support(available, say)
    print()
    show(support_table(found))
    reasons = reasons_table(found)
    if reasons.rows:
        print("\nno, because:")
        for backend, sort, operators, why in reasons.rows:
            print(f"- {backend}, {operators} of {sort}: {why}")
    return 0


def _row(info: BackendInfo) -> tuple[str, ...]:
    if info.backend is None:
        return info.name, "not installed", "", ""
    modes = [mode for mode in ("forward", "reverse") if getattr(info, mode)]
    devices = library_tools(info.backend.first_order()).devices()
    return info.name, info.version, ", ".join(modes), ", ".join(devices)
