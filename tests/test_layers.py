"""The house: three floors, arrows only downwards, adapters that know nothing of each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffface.backends.registry import ROWS

ROOT = Path(__file__).parent.parent
# Each floor, what its modules are called, and the floors it may stand on.
FLOORS = {
    "diffface": ("diffface", ("diffface.prep", "diffface.backends")),
    "prep": ("diffface.prep", ("diffface.backends",)),
    "backends": ("diffface.backends", ()),
}
BY_HAND = ROOT / "diffface/benchmark/by_hand"
LIBRARIES = {module for row in ROWS.values() for module in row.needs}
# The folder of each adapter.
ADAPTERS = {row.module.split(".")[2] for row in ROWS.values()}


def files() -> list[Path]:
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


every_file = pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules (or of what is in them) that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def family_of(path: Path) -> str | None:
    """The adapter that a file on any floor belongs to."""
    floor, first, *_ = path.relative_to(ROOT).parts
    return first if floor == "backends" and first in ADAPTERS else None


@every_file
def test_imports_go_down(path):
    name, below = FLOORS[path.relative_to(ROOT).parts[0]]
    for imported in imports(path):
        if within(imported, "diffface"):
            floor = next(
                f for f in ("diffface.prep", "diffface.backends", "diffface") if within(imported, f)
            )
            assert floor in (name, *below), f"{name} imports {imported}"


@every_file
def test_folders_are_imported_by_their_package(path):
    for imported in imports(path):
        assert imported.split(".")[0] not in ("prep", "backends"), imported


@every_file
def test_only_an_adapter_imports_its_library(path):
    # What an expert writes with a library imports it, too.
    is_adapters = family_of(path) is not None or path.is_relative_to(BY_HAND)
    for imported in imports(path):
        library = imported.split(".")[0]
        assert library not in LIBRARIES or is_adapters, f"{path} imports {library}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "backends").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_adapters_do_not_know_each_other(path):
    for imported in imports(path):
        if within(imported, "diffface.backends"):
            other = imported.split(".")[2]
            assert other not in ADAPTERS - {family_of(path)}, f"{path} imports {imported}"


@every_file
def test_no_condition_on_a_backends_name(path):
    if path.name == "registry.py":
        return
    # Among adapters, that is the name of the library that most of them compute with.
    names = ROWS.keys() - ({"numpy"} if family_of(path) else set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare | ast.match_case):
            tested = node.pattern if isinstance(node, ast.match_case) else node
            named = {
                leaf.value
                for leaf in ast.walk(tested)
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
            }
            assert not named & names, f"{path}:{tested.lineno} asks for {named}"


@pytest.mark.smoke
def test_importing_diffface_imports_no_framework():
    code = "import sys, diffface, diffface.testing; print(*{m.split('.')[0] for m in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & LIBRARIES
