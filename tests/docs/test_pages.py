"""Documents: examples run, links lead somewhere, tables are those of the code."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from tables import DOCUMENTS, ROOT, renewed

import diffface as dif

PAGES = sorted({*DOCUMENTS, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")})
MODULES = [m.name for m in pkgutil.walk_packages(dif.__path__, "diffface.")]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def run(examples):
    """Run doctest examples, and show what they printed where they fail."""
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(examples, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


# Compiles and runs a sampler.
SLOW = {"docs/tutorial/nuts.md"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=[pytest.mark.slow] if p in {ROOT / name for name in SLOW} else [])
        for p in PAGES
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_examples_of_documents_run(page):
    # A fence would be taken for output.
    text = re.sub(r"^```.*$", "", page.read_text(), flags=re.MULTILINE)
    run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0))


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    module = importlib.import_module(name)
    for examples in doctest.DocTestFinder().find(module):
        run(examples)


@every_page
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", page.read_text())  # code may look like a link
    for target in re.findall(r"\]\((?!https?:)([^)#]*)#?[^)]*\)", text):
        assert (page.parent / target).exists(), target


@every_page
def test_files_that_are_named_exist(page):
    named = re.findall(r"`((?:diffface|prep|backends|docs|tests)/[\w/.]+)`", page.read_text())
    for name in named:
        # Recipes say what to call the new file.
        assert (ROOT / name).exists() or "name" in Path(name).with_suffix("").parts, name


@every_page
def test_names_of_diffface_exist(page):
    named = set(re.findall(r"\bdif\.(\w+)", page.read_text()))
    assert named <= set(dir(dif))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_tables_are_those_of_the_code(page):
    assert page.read_text() == renewed(page.read_text()), "run `make tables`"


@pytest.mark.parametrize(
    ("recipe", "files"),
    [
        (
            "A new backend",
            [
                "backends/name.py",
                "backends/table.py",
                "diffface/operators/options.py",
                "pyproject.toml",
            ],
        ),
        (
            "A new operator",
            [
                "diffface/operators/name.py",
                "diffface/__init__.py",
                "diffface/testing/case.py",
                "diffface/testing/point.py",
            ],
        ),
    ],
)
def test_recipes_touch_few_files(recipe, files):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(rf"^## {recipe}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE) == files


def test_the_readme_names_every_operator():
    text = (ROOT / "README.md").read_text()
    operators = [n.removeprefix("prepare_") for n in dif.__all__ if n.startswith("prepare_")]
    assert [name for name in operators if f"`{name}`" not in text] == []


def test_the_changelog_is_kept():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## Unreleased\n\n### Added\n", text, re.MULTILINE)
