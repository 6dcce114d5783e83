"""From an operator and a signature to a program on flat arrays, and from its outputs to results."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from diffface.backends._adapter import Adapter
from diffface.backends._compiled import Array, Arrays, Program
from diffface.backends._second_order import bridge
from diffface.prep._carry import take
from diffface.prep._flat import Flat, Trace
from diffface.prep._layout import Layout
from diffface.prep._operator import Operator, Part, Point, Settings
from diffface.prep._out import write
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
        results, rest = [], iter(outputs)
        for i, count in zip(self.wanted, trace.counts, strict=True):
            arrays = [next(rest) for _ in range(count)]
            results.append(self.part(self.operator.parts[i], arrays, trace))
        if out is not None:
            results = self._written(results, out)
        if self.settings.has_aux:
            results.append(self.aux(rest, trace))
        return results[0] if len(results) == 1 else tuple(results)

    def _written(self, results: list[Any], out: Any) -> list[Any]:
        """``results`` with the derivatives written into ``out``, which leaves out the value."""
        values = [r for i, r in zip(self.wanted, results, strict=True) if i == 0]
        derivatives = results[len(values) :]
        if len(derivatives) == 1:
            return [*values, write(derivatives[0], out, self.inner)]
        return [*values, *write(tuple(derivatives), out, self.inner)]

    def part(self, part: Part, arrays: Sequence[Array], trace: Trace) -> Any:
        """One part of the result, from its fresh arrays."""
        if part in (Part.VALUE, Part.LIKE_Y):
            kind, device = self.layout.result_kind()
            taken = [take(a, self.outer.kind, kind, device) for a in arrays]
            return _like_y(taken, trace)
        primals = self.layout.primals
        columns = len(primals)
        taken = [
            take(a, self.outer.kind, primals[i % columns].kind, primals[i % columns].device)
            for i, a in enumerate(arrays)
        ]
        if part is Part.LIKE_X:
            return self.layout.like_active(taken)
        rows = [
            self.layout.like_active(taken[i : i + columns]) for i in range(0, len(taken), columns)
        ]
        return _like_y(rows, trace) if part is Part.Y_BY_X else self.layout.like_active(rows)

    def aux(self, arrays: Iterable[Array], trace: Trace) -> Any:
        """What ``f`` returned besides its value, from the fresh arrays in it."""
        kind, device = self.layout.result_kind()
        rest = iter(arrays)
        leaves = [
            take(next(rest), self.outer.kind, kind, device) if static is None else static.value
            for static in trace.aux_leaves
        ]
        return unflatten(trace.aux, leaves)  # type: ignore[arg-type]


def _like_y(leaves: Sequence[Any], trace: Trace) -> Any:
    return leaves[0] if trace.y is None else unflatten(trace.y, leaves)
