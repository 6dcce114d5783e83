"""The result of a benchmark, in every form that one wants it in."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from typing import Any

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
        plot(self.rows, path)


# The colours of M. Okabe and K. Ito, "Color universal design" (2008), which the colour-blind can
# tell apart; markers for those who print without colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"

Looks = dict[str, tuple[str, str]]
Panel = tuple[str, str]


def plot(rows: Sequence[Measurement], path: str | PathLike[str]) -> None:
    """Write a picture of ``rows``, in the format that the suffix of ``path`` names.

    On the left time against size, for what was measured at several sizes; on the right the ratios.
    """
    from matplotlib.figure import Figure

    measured = [row for row in rows if row.time is not None]
    names = list(dict.fromkeys(row.backend for row in measured))
    looks = {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }
    curves = {case: group for case, group in _groups(measured).items() if _sizes(group) > 1}
    compared = [row for row in measured if row.ratio is not None]
    bars = 0.14 * len(compared) + 0.1 * _cases(compared) + 0.8
    tall = max(3.0 * len(curves), bars, 2.4)
    wide = 4.2 * (bool(curves) + bool(compared)) or 4.2
    figure = Figure(figsize=(wide, tall + 0.4), layout="constrained", dpi=200)
    left, right = _parts(figure, bool(curves), bool(compared))
    for i, (case, group) in enumerate(curves.items()):
        _draw_times(left.add_subplot(len(curves), 1, i + 1), case, group, looks)
    if compared:
        _draw_ratios(right.add_subplot(), compared, looks)
    figure.legend(
        handles=[handle(name, *looks[name]) for name in names],
        loc="outside upper center",
        ncols=max(1, min(int(wide / 1.4), len(names))),
        frameon=False,
        fontsize=8,
    )
    figure.savefig(path)


def _groups(rows: Sequence[Measurement]) -> dict[Panel, list[Measurement]]:
    groups: dict[Panel, list[Measurement]] = {}
    for row in rows:
        groups.setdefault((row.problem, row.operator), []).append(row)
    return groups


def _sizes(rows: Sequence[Measurement]) -> int:
    return len({row.inputs for row in rows})


def _cases(rows: Sequence[Measurement]) -> int:
    return len({_label(row) for row in rows})


def _label(row: Measurement) -> str:
    return f"{row.problem} {row.size}\n{row.operator}"


def _parts(figure: Any, *wanted: bool) -> list[Any]:
    """A part of the figure for each that is wanted."""
    if not all(wanted):
        return [figure, figure]
    return list(figure.subfigures(1, 2))


def handle(name: str, colour: str, marker: str) -> Any:
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.2, label=name)


def _draw_times(axes: Any, case: Panel, rows: Sequence[Measurement], looks: Looks) -> None:
    """Time against the number of inputs; solid prepared, dashed by hand."""
    for name, (colour, marker) in looks.items():
        mine = sorted((row for row in rows if row.backend == name), key=lambda row: row.inputs)
        for attribute, style in (("time", "-"), ("by_hand", "--")):
            points = [(row.inputs, getattr(row, attribute)) for row in mine]
            points = [(n, 1e6 * seconds) for n, seconds in points if seconds is not None]
            if points:
                axes.plot(
                    *zip(*points, strict=True), style, color=colour, marker=marker, markersize=4,
                    linewidth=1.2, alpha=1.0 if style == "-" else 0.6,
                    markerfacecolor=colour if style == "-" else "white",
                )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"{case[0]}: {case[1]}", fontsize=9)
    axes.set_xlabel("numbers differentiated by", fontsize=8)
    axes.set_ylabel("time of a call (µs); dashed: by hand", fontsize=8)
    tidy(axes)


def _draw_ratios(axes: Any, rows: Sequence[Measurement], looks: Looks) -> None:
    """Bars from 1: to the left faster than by hand, to the right slower; whiskers are quartiles."""
    at, ticks, labels = 0.0, [], []
    for label in dict.fromkeys(map(_label, rows)):
        group = [row for row in rows if _label(row) == label]
        ticks.append(at + (len(group) - 1) / 2)
        labels.append(label)
        for row in group:
            assert row.ratio is not None
            axes.barh(at, row.ratio - 1, left=1, height=0.8, color=looks[row.backend][0])
            axes.plot([row.ratio_low, row.ratio_high], [at, at], color="black", linewidth=0.8)
            # On the far side of the line at 1, where nothing is in its way.
            beyond, ends = (max, "left") if row.ratio < 1 else (min, "right")
            axes.annotate(
                f"{row.ratio:.2g}", (beyond(1.0, row.ratio_low or 1, row.ratio_high or 1), at),
                (3 if ends == "left" else -3, 0), fontsize=6,
                textcoords="offset points", ha=ends, va="center",
            )  # fmt: skip
            at += 1.0
        at += 0.7
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    low, high = decades([row.ratio_low or 1 for row in rows], [row.ratio_high or 1 for row in rows])
    axes.set_xlim(low, high)
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.set_ylim(at - 1.0, -0.7)
    axes.set_title("time of a call / the same by hand", fontsize=9)
    axes.set_xlabel("ratio, 1 is equal, less is faster; lines: quartiles", fontsize=8)
    tidy(axes)
    axes.grid(visible=False, axis="y")


def decades(low: Sequence[float], high: Sequence[float]) -> tuple[float, float]:
    """Limits that leave room beside 1 on both sides."""
    return (
        min(0.2, 10 ** (math.log10(min(low)) - 0.2)),
        max(5.0, 10 ** (math.log10(max(high)) + 0.2)),
    )


def tidy(axes: Any) -> None:
    """The look of all pictures: a pale grid behind, small labels, no box."""
    axes.grid(visible=True, which="major", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
