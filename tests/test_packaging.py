"""What users download: every module, and nothing that was forgotten."""

import re
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from diffface.backends.registry import ROWS

ROOT = Path(__file__).parent.parent
# Folders of the checkout, and what they are imported as.
MAPPED = {"diffface": "diffface", "prep": "diffface/prep", "backends": "diffface/backends"}


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def wheel(distribution):
    with zipfile.ZipFile(distribution.wheel) as archive:
        yield archive


@pytest.fixture
def sdist_names(distribution):
    with tarfile.open(distribution.sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def modules():
    """Every module of the checkout, as a path in the wheel."""
    return {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in MAPPED.items()
        for path in (ROOT / folder).rglob("*.py")
    }


def test_every_package_is_listed(project):
    packages = {path.rpartition("/")[0].replace("/", ".") for path in modules()}
    assert sorted(packages) == project["tool"]["setuptools"]["packages"]


@pytest.mark.parametrize("folder", ["backends", "prep"])
def test_paths_are_import_paths(folder):
    link = ROOT / "diffface" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


@pytest.mark.slow
def test_every_module_is_in_the_wheel(wheel):
    assert {name for name in wheel.namelist() if name.endswith(".py")} == modules()


@pytest.mark.slow
def test_the_wheel_is_typed_and_licensed(wheel):
    names = wheel.namelist()
    assert "diffface/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["tests", "benchmarks", "docs", "scripts", ".ci"])
def test_the_sdist_has_all_that_the_checkout_has(folder, sdist_names):
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert names <= sdist_names


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_the_sdist_can_be_worked_on(name, sdist_names):
    assert name in sdist_names


def test_metadata(wheel, project):
    (name,) = (name for name in wheel.namelist() if name.endswith("dist-info/METADATA"))
    metadata = HeaderParser().parsestr(wheel.read(name).decode())
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(re.match(r"\w+", line)[0] for line in required) == ["numpy", "optree"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.extra])
def test_extras_install_what_backends_need(name, project):
    row, extras = ROWS[name], project["project"]["optional-dependencies"]
    installed = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in extras[row.extra]}
    assert set(row.needs) <= installed
    (everything,) = extras["all"]
    assert row.extra in re.split(r"[\[\],]", everything)


def test_constraints_pin_every_requirement(project):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in wanted}
    assert names - {"diffface"} <= pinned


def test_every_lint_exception_has_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    ignores = re.search(r"^ignore = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)[1]
    assert [line for line in ignores.splitlines() if not re.search(r'", +# \w', line)] == []
