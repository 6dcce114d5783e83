"""The result of a benchmark, in every form that one wants it in."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike

from diffface.benchmark.row import Measurement, markdown, notes, table, tables
from diffface.testing.text_table import Table


@dataclass(frozen=True, repr=False)
class Benchmark:
    """What :func:`benchmark` measured; a prompt and ``print`` show it as a table.

    Attributes
    ----------
    rows : tuple of Measurement
        One for each operator, backend and size.
    machine : mapping of str to str
        Processor, cores, and versions.
    """

    rows: tuple[Measurement, ...]
    machine: Mapping[str, str]

    def __add__(self, other: "Benchmark") -> "Benchmark":
        return Benchmark(self.rows + other.rows, self.machine)

    def __str__(self) -> str:
        return "\n".join([str(self.table()), *self.notes()])

    __repr__ = __str__

    def table(self) -> Table:
        """The rows, for people."""
        return table(self.rows)

    def tables(self) -> list[Table]:
        """The most important columns, in a table for each problem and size."""
        return tables(self.rows)

    def notes(self) -> list[str]:
        """What the flags of the rows mean, in sentences."""
        return notes(self.rows)

    def json(self) -> str:
        """Everything, as JSON; :meth:`from_json` reads it."""
        rows = [asdict(row) for row in self.rows]
        text = {"machine": dict(self.machine), "rows": rows}
        return json.dumps(text, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Benchmark":
        """The report that :meth:`json` wrote."""
        read = json.loads(text)
        rows = (Measurement(**{**row, "flags": tuple(row["flags"])}) for row in read["rows"])
        return cls(tuple(rows), read["machine"])

    def csv(self) -> str:
        """The rows, with a head that names the attributes; flags with spaces between them."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [f.name for f in fields(Measurement)]
        writer.writerow(names)
        for row in self.rows:
            values = {**asdict(row), "flags": " ".join(row.flags)}
            writer.writerow([values[name] for name in names])
        return text.getvalue()

    def markdown(self) -> str:
        """A table for a document, and below it a line for each note and for the machine."""
        where = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        return f"{markdown(self.rows)}\nMeasured on: {where}.\n"

    def plot(self, path: str | PathLike[str]) -> None:
        """Write a picture: time against size, and the ratio to hand-written code.

        Raises
        ------
        ModuleNotFoundError
            If Matplotlib is not installed.
        """
        from diffface.benchmark.plot import plot

        plot(self.rows, path)
