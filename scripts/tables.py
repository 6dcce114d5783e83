"""Write the tables of the documents anew, from the code; with ``--check``, only say which are old.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` in a Markdown file.
"""

import ast
import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import diffface as dif
from diffface.backends.registry import ROWS, adapter_class
from diffface.operators.listing import main_name, operators
from diffface.prep.operator import Part, Seeds
from diffface.testing.support import Support, reasons_table, support, support_table

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PLACE = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

SHAPES = {
    Part.VALUE: "`y`",
    Part.LIKE_Y: "like `y`",
    Part.LIKE_X: "like the active arguments",
    Part.Y_BY_X: "`y.shape + x.shape` for each pair of leaves",
    Part.X_BY_X: "`x.shape + x.shape` for each pair of leaves",
}
EVERY_OPERATOR = {"backend", "argnums", "has_aux", "kwargs", "out"}


def operator_rows() -> Iterator[tuple[str, ...]]:
    """One row for each operator."""
    yield "operator", "of", "result", "more results", "keywords of its own"
    for operator in operators():
        own = main_name(operator)
        given = "number `t`" if operator.scalar_argument else "arguments"
        returned = "one real number" if operator.scalar else "arrays `y`"
        keywords = {operator.seeds.value} - {Seeds.NONE.value} | operator.keywords - EVERY_OPERATOR
        yield (
            f"`{own}`",
            f"{given} to {returned}",
            SHAPES[operator.parts[-1]],
            ", ".join(f"`{name}`" for name in operator.names.values() if name != own),
            ", ".join(f"`{keyword}`" for keyword in sorted(keywords)),
        )


def backend_rows() -> Iterator[tuple[str, ...]]:
    """One row for each backend of diffface's own."""
    yield "`backend=`", "object", "what it is", "modes", "to install"
    for name, row in ROWS.items():
        adapter = adapter_class(name)
        options = ", ".join(
            f"{f.name}={f.default!r}" for f in dataclasses.fields(adapter) if f.repr
        )
        modes = ", ".join(mode for mode in ("forward", "reverse") if getattr(adapter, mode))
        yield (
            f'`"{name}"`',
            f"`{row.cls}({options})`",
            summary(adapter),
            modes,
            f"`pip install 'diffface[{row.extra}]'`" if row.extra else "nothing",
        )


def public_rows() -> Iterator[tuple[str, ...]]:
    """One row for each public name, but those that only prepare another."""
    yield "name", "what it is"
    for name in dif.__all__:
        if not name.startswith("prepare_"):
            yield f"`{name}`", summary(getattr(dif, name))


def folder_rows(floor: str) -> Iterator[tuple[str, ...]]:
    """One row for each file and package of a floor."""
    yield "file", "what it is"
    for path in sorted((ROOT / floor).iterdir()):
        inside = path / "__init__.py"
        if (
            path.is_symlink()
            or path.name.startswith("__")
            or not (path.suffix == ".py" or inside.exists())
        ):
            continue
        docstring = ast.get_docstring(ast.parse((path if path.is_file() else inside).read_text()))
        yield f"`{path.name}{'' if path.is_file() else '/'}`", first_line(docstring)


@functools.cache
def supported() -> tuple[Support, ...]:
    """What every backend of diffface's own can do: asked once for all tables."""
    return support(ROWS)


def support_rows() -> Iterator[tuple[str, ...]]:
    """One row for each operator, one column for each backend."""
    table = support_table(supported())
    yield from (tuple(row) for row in (table.head, *table.rows))


def reason_rows() -> Iterator[tuple[str, ...]]:
    """One row for each reason why a backend cannot do something."""
    table = reasons_table(supported())
    yield from (tuple(row) for row in (table.head, *table.rows))


def summary(thing: object) -> str:
    """First line of the docstring of ``thing``."""
    return first_line(inspect.getdoc(thing))


def first_line(docstring: str | None) -> str:
    """Summary of a docstring, as Markdown."""
    line = (docstring or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r":\w+:(`[^`]+`)", r"\1", line).replace("``", "`").removesuffix(".")


def markdown(rows: Iterable[tuple[str, ...]]) -> str:
    """``rows`` as a table; the first is the head."""
    head, *body = rows
    lines = [head, ("---",) * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: dict[str, Callable[[], Iterable[tuple[str, ...]]]] = {
    "operators": operator_rows,
    "backends": backend_rows,
    "public": public_rows,
    "reasons": reason_rows,
    "support": support_rows,
    **{
        f"files_of_{floor}": partial(folder_rows, floor)
        for floor in ("diffface", "prep", "backends")
    },
}


def renewed(text: str) -> str:
    """``text`` with every table as it should be."""
    return PLACE.sub(lambda place: f"{place[1]}{place[2]}{markdown(TABLES[place[1]]())}", text)


def main() -> None:
    """Renew the documents, or with ``--check`` fail where that would change one."""
    old = [path for path in DOCUMENTS if path.read_text() != renewed(path.read_text())]
    if "--check" in sys.argv:
        sys.exit(f"run `make tables` for {', '.join(map(str, old))}" if old else 0)
    for path in old:
        path.write_text(renewed(path.read_text()))
        print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
