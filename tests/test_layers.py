"""The house: three floors, arrows only downwards, adapters that know nothing of each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from helpers import ROOT

from diffface.backends.registry import ROWS

# Each floor, what its modules are called, and the floors it may stand on.
FLOORS = {
    "diffface": ("diffface", ("diffface.prep", "diffface.backends")),
    "prep": ("diffface.prep", ("diffface.backends",)),
    "backends": ("diffface.backends", ()),
}
# diffface/backends and diffface/prep are links to other floors, which are not to be read twice.
LINKS = [ROOT / "diffface" / name for name in ("backends", "prep")]
# What an expert writes with a library imports it, too.
BY_HAND = ROOT / "diffface" / "benchmark" / "by_hand"
LIBRARIES = {module for row in ROWS.values() for module in row.needs}
# The folder of each adapter.
ADAPTERS = {row.module.split(".")[2] for row in ROWS.values()}


def files() -> list[Path]:
    return [
        path
        for floor in FLOORS
        for path in sorted((ROOT / floor).rglob("*.py"))
        if not any(path.is_relative_to(link) for link in LINKS)
    ]


FILES = files()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    """What a file is imported as; a package is its ``__init__``."""
    floor, *inside = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FLOORS[floor][0], *inside]).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imported_by(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of the modules, or of what is in them, that statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> Iterator[str]:
    """What a file imports, anywhere in it."""
    return imported_by(ast.walk(tree(path)))


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def needed(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    found = set()
    for name in imports(path):
        for known in (name, name.rpartition(".")[0]):
            if known in MODULES:
                found.add(known)
                break
    return found


def adapter_of(path: Path) -> str | None:
    """The adapter whose folder a file is in."""
    floor, first, *_ = path.relative_to(ROOT).parts
    return first if floor == "backends" and first in ADAPTERS else None


def refused(rule: Iterator[str]) -> None:
    """Show every place that breaks a rule, not the first alone."""
    found = sorted(rule)
    assert not found, "\n".join(["", *found])


def test_every_file_is_read_once() -> None:
    assert len({path.resolve() for path in FILES}) == len(FILES) == len(MODULES)
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(FLOORS)


def test_imports_go_down() -> None:
    def upwards() -> Iterator[str]:
        for path in FILES:
            name, below = FLOORS[path.relative_to(ROOT).parts[0]]
            for imported in filter(lambda i: within(i, "diffface"), imports(path)):
                floors = ("diffface.prep", "diffface.backends", "diffface")
                floor = next(f for f in floors if within(imported, f))
                if floor not in (name, *below):
                    yield f"{path.relative_to(ROOT)} imports {imported}"

    refused(upwards())


def test_no_two_files_import_each_other() -> None:
    """Not in a circle of any length, wherever in a file the imports stand."""
    graph = {module: needed(path) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_arguments_know_neither_adapters_nor_functions() -> None:
    """prep/arguments/ describes what a call looks like, with array libraries and errors alone."""
    above = [f"diffface.prep.{path.stem}" for path in (ROOT / "prep").glob("*.py")]
    adapters = ["diffface.backends.adapter", "diffface.backends.registry"]
    adapters += [f"diffface.backends.{name}" for name in ADAPTERS]
    refused(
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in FILES
        if path.is_relative_to(ROOT / "prep" / "arguments")
        for imported in imports(path)
        if any(within(imported, name) for name in above + adapters)
    )


def test_floors_are_imported_by_their_package() -> None:
    refused(
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in FILES
        for imported in imports(path)
        if imported.split(".")[0] in ("prep", "backends")
    )


def test_only_an_adapter_imports_its_library() -> None:
    refused(
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in FILES
        if adapter_of(path) is None and not path.is_relative_to(BY_HAND)
        for imported in imports(path)
        if imported.split(".")[0] in LIBRARIES
    )


def test_adapters_do_not_know_each_other() -> None:
    refused(
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in FILES
        if path.is_relative_to(ROOT / "backends")
        for imported in imports(path)
        if within(imported, "diffface.backends")
        and imported.split(".")[2] in ADAPTERS - {adapter_of(path)}
    )


def test_no_condition_on_a_backends_name() -> None:
    def named(test: ast.AST) -> set[str]:
        leaves = (leaf for leaf in ast.walk(test) if isinstance(leaf, ast.Constant))
        return {leaf.value for leaf in leaves if isinstance(leaf.value, str)}

    def asking() -> Iterator[str]:
        for path in FILES:
            # Among adapters, that is the name of the library that most of them compute with.
            names = ROWS.keys() - ({"numpy"} if adapter_of(path) else set())
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Compare | ast.match_case):
                    test = node.pattern if isinstance(node, ast.match_case) else node
                    if found := named(test) & names:
                        yield f"{path.relative_to(ROOT)}:{test.lineno} asks for {found}"

    refused(entry for entry in asking() if not entry.startswith("backends/registry.py"))


@pytest.mark.smoke
def test_importing_diffface_imports_no_framework() -> None:
    code = "import sys, diffface, diffface.testing; print(*{m.split('.')[0] for m in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & LIBRARIES
