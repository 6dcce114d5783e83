"""Build the documentation site, ``build/docs/html``, from ``docs`` and the documents beside it.

Sphinx works on a copy, ``build/docs/source``, since it writes generated pages beside the others.
The copy differs in this: README, CONTRIBUTING and CHANGELOG are pages of it, links follow them,
and the examples have titles, as sphinx-gallery wants them.
"""

import ast
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from sphinx.cmd.build import main as sphinx

import diffface as dif
import diffface.backends
import diffface.testing

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BUILD = ROOT / "build" / "docs"
SOURCE = BUILD / "source"
# Documents of the root, and the pages that they become.
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
# Where public names live, and what that is called.
GROUPS = {
    "diffface.operators": "Operators",
    "diffface.prep": "Arguments and prepared calls",
    "diffface.optimize": "Optimizers, solvers and samplers",
    "diffface.rules": "Derivatives of your own",
    "diffface.sparse": "Sparse derivatives",
    "diffface.backends": "Backends and errors",
}
TABLE = re.compile(r"<!-- table: public -->.*?<!-- end -->", re.DOTALL)
GALLERY = (
    "Examples\n========\n\nEach is short, says what it needs, and is followed by its output.\n"
)
# The target of a link; code that looks like one comes first, and is left alone.
LINK = re.compile(r"`[^`\n]*`|(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def stage() -> None:
    """Write the copy; files that did not change keep their time."""
    for old in (SOURCE / "reference" / "api", BUILD / "html"):  # names and pages may be gone
        shutil.rmtree(old, ignore_errors=True)
    for path in (ROOT / name for name in PAGES):
        write(SOURCE / PAGES[path.name], linked(path))
    write(SOURCE / "scripts" / "README.rst", GALLERY)
    for path in (p for p in DOCS.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        page = SOURCE / path.relative_to(DOCS)
        if path.suffix == ".md":
            write(page, linked(path))
        elif path.parent.name == "examples" and path.suffix == ".py":
            write(SOURCE / "scripts" / path.name, titled(path.read_text(encoding="utf-8")))
        else:
            page.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, page)


def write(path: Path, text: str) -> None:
    """Write ``text``, unless it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def linked(path: Path) -> str:
    """The document at ``path`` with its links as they are in the site."""
    here = page_of(path.relative_to(ROOT)).parent

    def follow(link: re.Match[str]) -> str:
        if link[1] is None:
            return link[0]
        target = (path.parent / link[1]).resolve().relative_to(ROOT)
        return os.path.relpath(page_of(target), here)

    text = LINK.sub(follow, path.read_text(encoding="utf-8"))
    text = text.replace("\n\n```\n", "\n```\n")  # which doctest needs
    return TABLE.sub(lambda _: "\n".join(public_names()), text)


def page_of(path: Path) -> Path:
    """Where the file ``path`` of the repository stands in the site."""
    if str(path) in PAGES:
        return Path(PAGES[str(path)])
    if not path.is_relative_to("docs"):
        return path
    page = path.relative_to("docs")
    if page == Path("examples"):
        return page / "index.rst"
    return page.with_suffix(".rst") if page.parts[0] == "examples" else page


def public_names() -> Iterator[str]:
    """In place of the table: a list for each group, with a page for each name."""
    for folder, title in GROUPS.items():
        names = [n for n in dif.__all__ if getattr(dif, n).__module__.startswith(folder)]
        prepare = [name for name in names if name.startswith("prepare_")]
        yield listed(title, "diffface", [name for name in names if name not in prepare])
        if prepare:
            yield listed(f"Prepared {title.lower()}", "diffface", prepare)
    for module in (diffface.backends, diffface.testing):
        names = sorted(n for n in set(module.__all__) - set(dif.__all__) if own(module, n))
        yield listed(f"`{module.__name__}`", module.__name__, names)


def own(module: ModuleType, name: str) -> bool:
    """Whether the name is a class or a function; aliases of types have no page."""
    return getattr(getattr(module, name), "__module__", "").startswith("diffface")


def listed(title: str, module: str, names: Iterable[str]) -> str:
    """A section with names, each linked to a page of its own."""
    lines = "\n".join(f"   {name}" for name in names)
    head = f".. currentmodule:: {module}\n\n.. autosummary::\n   :toctree: api\n   :nosignatures:\n"
    return f"## {title}\n\n```{{eval-rst}}\n{head}\n{lines}\n```\n"


def titled(code: str) -> str:
    """An example as sphinx-gallery wants it: with a title, its first sentence up to a colon.

    The comment at the end, a block of its own, makes the output follow the code.
    """
    docstring = ast.get_docstring(ast.parse(code), clean=False) or ""
    first, *rest = docstring.split("\n", 1)
    title, _, subtitle = first.removesuffix(".").partition(": ")
    if subtitle.split(" ")[0].isalpha():  # and no name in code
        subtitle = subtitle[0].upper() + subtitle[1:]
    subtitle += ".\n" if subtitle else ""
    text = f"{title}\n{'=' * len(title)}\n\n{subtitle}{''.join(rest)}"
    return code.replace(docstring, text, 1) + "\n# %%\n# .. end\n"


def main() -> None:
    """Build; a warning is an error."""
    stage()
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(BUILD / "doctrees")]
    sys.exit(sphinx([*options, *sys.argv[1:], str(SOURCE), str(BUILD / "html")]))


if __name__ == "__main__":
    main()
