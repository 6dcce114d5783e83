"""From an operator and a signature to a program on flat arrays, and from its outputs to results."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from diffface.backends._adapter import Adapter
from diffface.backends._compiled import Array, Arrays, Program
from diffface.backends._kind import PYTHON, Kind
from diffface.prep._carry import take
from diffface.prep._flat import Flat, Trace
from diffface.prep._layout import Layout
from diffface.prep._operator import Operator, Part, Point, Settings
from diffface.prep._out import Slot, check, targets, write
from diffface.prep._tree import unflatten


class Derivation(NamedTuple):
    """Everything that is fixed once the signature of a call is known.

    Attributes
    ----------
    operator : Operator
        What to derive.
    wanted : tuple of int
        Which of the operator's parts are asked for.
    f : callable
        The user's function.
    layout : Layout
        Its arguments.
    inner, outer : Adapter
        Who computes first derivatives, and who differentiates those; the same for first order.
    settings : Settings
        Options.
    """

    operator: Operator
    wanted: tuple[int, ...]
    f: Callable[..., Any]
    layout: Layout
    inner: Adapter
    outer: Adapter
    settings: Settings

    def scope(self) -> AbstractContextManager[object]:
        """Where everything of it is computed, from bringing the arguments in."""
        # Python numbers among the constants promote nothing.
        constants = [c.dtype for c in self.layout.constants if c.kind is not PYTHON]
        return self.inner.scope([p.dtype for p in self.layout.primals] + constants)

    def program(self, trace: Trace, seeds: Callable[[], Arrays] | None = None) -> Program:
        """``(*primals, *constants, *seeds) -> (*parts, *aux)``, all flat arrays.

        Primals, seeds and outputs are arrays of the outer adapter, constants of the inner one.
        ``seeds`` is asked for when they are needed, if they are not among the inputs.
        """
        n_primals, n_constants = len(self.layout.primals), len(self.layout.constants)

        def program(*inputs: Array) -> Arrays:
            x, rest = inputs[:n_primals], inputs[n_primals:]
            f = Flat(
                self.f, self.layout, rest[:n_constants], self.inner, trace,
                self.settings.has_aux, self.operator.scalar,
            )  # fmt: skip
            value = len(self.wanted) > 1 or self.settings.has_aux
            given = seeds or (lambda: rest[n_constants:])
            point = Point(f, x, given, self.inner, self.outer, self.settings, value)
            parts, aux = self.operator.derive(point)
            trace.counts = [len(parts[i]) for i in self.wanted]
            return tuple(a for i in self.wanted for a in parts[i]) + aux

        return program

    def assemble(self, outputs: Arrays, trace: Trace, out: object = None) -> Any:
        """The result as the user sees it, from the fresh outputs of the program."""
        taken = [
            take(output, self.outer.kind, kind, device)
            for output, (kind, device) in zip(outputs, self.destinations(trace), strict=True)
        ]
        return self.structure(taken, trace, out)

    def destinations(self, trace: Trace) -> list[tuple[Kind, Hashable]]:
        """For every output of the program, the caller's kind of array and device."""
        found: list[tuple[Kind, Hashable]] = []
        for i, count in zip(self.wanted, trace.counts, strict=True):
            if self.operator.parts[i] in (Part.VALUE, Part.LIKE_Y):
                found += [self.layout.result_kind()] * count
            else:
                columns = [(leaf.kind, leaf.device) for leaf in self.layout.primals]
                found += columns * (count // len(columns))
        if self.settings.has_aux:
            found += [self.layout.result_kind()] * trace.aux_leaves.count(None)
        return found

    def structure(self, leaves: Sequence[Any], trace: Trace, out: object = None) -> Any:
        """The trees of the result, from their leaves in the order of the program's outputs."""
        results, rest = [], iter(leaves)
        for i, count in zip(self.wanted, trace.counts, strict=True):
            part = [next(rest) for _ in range(count)]
            results.append(self.part(self.operator.parts[i], part, trace))
        if out is not None:
            results = self._written(results, out)
        if self.settings.has_aux:
            results.append(self.aux(rest, trace))
        return results[0] if len(results) == 1 else tuple(results)

    def check_out(self, out: object, batch: tuple[int, ...]) -> None:
        """Refuse an ``out`` that cannot take the derivatives, as far as arguments tell.

        Raises
        ------
        InvalidArgumentError
            If it has the wrong structure, kind, shape or dtype, or cannot be written to.
        """
        parts = [self.operator.parts[i] for i in self.wanted if i]
        for part, target in zip(parts, targets(out, len(parts)), strict=True):
            layout, primals = self.layout, self.layout.primals
            if part is Part.LIKE_X:
                slots = [Slot(p.kind, batch + p.shape, p.dtype) for p in primals]
                check(target, layout.like_active(slots), self.inner)
            elif part is Part.X_BY_X:
                rows = [
                    layout.like_active([Slot(q.kind, p.shape + q.shape, q.dtype) for q in primals])
                    for p in primals
                ]
                check(target, layout.like_active(rows), self.inner)

    def _written(self, results: list[Any], out: object) -> list[Any]:
        """``results`` with the derivatives written into ``out``, which leaves out the value."""
        count = sum(1 for i in self.wanted if i)
        values, derivatives = results[:-count], results[-count:]
        written = [
            write(target, result, self.inner)
            for target, result in zip(targets(out, count), derivatives, strict=True)
        ]
        return [*values, *written]

    def part(self, part: Part, leaves: Sequence[Any], trace: Trace) -> Any:
        """The tree of one part of the result."""
        if part in (Part.VALUE, Part.LIKE_Y):
            return _like_y(leaves, trace)
        if part is Part.LIKE_X:
            return self.layout.like_active(leaves)
        columns = len(self.layout.primals)
        rows = [
            self.layout.like_active(leaves[i : i + columns]) for i in range(0, len(leaves), columns)
        ]
        return _like_y(rows, trace) if part is Part.Y_BY_X else self.layout.like_active(rows)

    def aux(self, leaves: Iterable[Any], trace: Trace) -> Any:
        """What ``f`` returned besides its value, from the arrays in it."""
        rest = iter(leaves)
        filled = [next(rest) if static is None else static.value for static in trace.aux_leaves]
        return unflatten(trace.aux, filled)  # type: ignore[arg-type]


def _like_y(leaves: Sequence[Any], trace: Trace) -> Any:
    return leaves[0] if trace.y is None else unflatten(trace.y, leaves)
