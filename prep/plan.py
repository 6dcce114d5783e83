"""From an operator and a signature to a program on flat arrays, and from its outputs to results."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import PYTHON, ArrayLibrary
from diffface.backends.compiled import Array, Arrays, Program
from diffface.backends.errors import UnsupportedOperatorError
from diffface.backends.registry import Backend
from diffface.prep.arguments.out import Slot, check, targets, write
from diffface.prep.arguments.signature import Signature
from diffface.prep.arguments.tree import unflatten
from diffface.prep.carry import to_backend, to_caller
from diffface.prep.flat_function import FlatFunction, OutputStructure
from diffface.prep.inner import Inner
from diffface.prep.operator import Mode, Operator, Part, Point, Settings
from diffface.prep.validate import find_problem


class Plan:
    """Everything that follows from the signature of a call: from neither its values nor ``f``.

    Parameters
    ----------
    operator : Operator
        What to derive.
    wanted : tuple of int
        Which of the operator's parts are asked for.
    signature : Signature
        The arguments.
    backend : Adapter or SecondOrder
        Who derives.
    settings : Settings
        Options.

    Attributes
    ----------
    inner, outer : Adapter
        Who computes first derivatives, and who differentiates those; the same for first order.
    problem : Problem or None
        Why the arguments cannot be differentiated, if they cannot.
    device : hashable
        Where NumPy arrays go: to the first array of the framework.
    dtypes : list of dtype
        What the scope of ``inner``, in which everything is computed, must allow.
    value : bool
        Whether anything besides the last part is asked for.
    """

    __slots__ = (
        "_only",
        "device",
        "dtypes",
        "inner",
        "operator",
        "outer",
        "problem",
        "settings",
        "signature",
        "value",
        "wanted",
    )  # fmt: skip

    def __init__(
        self, operator: Operator, wanted: tuple[int, ...], signature: Signature, backend: Backend,
        settings: Settings,
    ) -> None:  # fmt: skip
        self.operator = operator
        self.wanted = wanted
        self.signature = signature
        self.settings = settings
        self.inner: Adapter = backend.first_order()
        self.outer: Adapter = self.inner
        if operator.order == 2:
            self.outer, self.inner = backend.second_order()
        _check_mode(settings.mode, self.outer)
        self.problem = find_problem(
            signature, operator, operator.names[wanted], settings.holomorphic, self.inner
        )
        self.value = len(wanted) > 1 or settings.has_aux
        leaves = signature.primals + signature.constants
        self.device: Hashable = next(
            (leaf.device for leaf in leaves if leaf.kind is self.inner.arrays), None
        )
        # Python numbers among the constants promote nothing.
        self.dtypes = [p.dtype for p in signature.primals]
        self.dtypes += [c.dtype for c in signature.constants if c.kind is not PYTHON]
        # The one leaf that the result is like, if it is one array and nothing else.
        like_x = [operator.parts[i] for i in wanted] == [Part.LIKE_X]
        alone = signature.bare and signature.arguments[signature.active[0]].spec is None
        self._only = signature.primals[0] if like_x and alone and not settings.has_aux else None

    def to_backend(
        self, primals: Sequence[Any], constants: Sequence[Any], copy: bool = False
    ) -> tuple[Arrays, Arrays]:
        """Primals and constants as arrays of the backends that take them.

        With ``copy`` they share no memory with what was given.
        """
        kind = self.outer.arrays
        device = self.device if self.inner is self.outer else None
        x = [
            kind.detach(value)
            if leaf.kind is kind and not copy
            else to_backend(value, leaf.kind, kind, device, copy)
            for value, leaf in zip(primals, self.signature.primals, strict=True)
        ]
        if not constants:
            return tuple(x), ()
        kind = self.inner.arrays
        # Python numbers stay what they are: frameworks promote them weakly.
        c = [
            value if leaf.kind is PYTHON else to_backend(value, leaf.kind, kind, self.device, copy)
            for value, leaf in zip(constants, self.signature.constants, strict=True)
        ]
        return tuple(x), tuple(c)

    def run(
        self, f: Callable[..., Any], x: Arrays, constants: Arrays, seeds: Callable[[], Arrays],
        trace: OutputStructure, inner: Inner | None = None,
    ) -> Arrays:  # fmt: skip
        """The arrays of the parts that are wanted, then those of aux.

        Primals, seeds and outputs are arrays of the outer adapter, constants of the inner one;
        ``seeds`` is called when they are needed. ``inner`` has the derivatives that the outer
        adapter differentiates, if they are compiled.
        """
        compiled = None
        if inner is not None:
            compiled = lambda first: inner.function(first, constants)
        point = Point(
            self.flat(f, constants, trace), x, seeds, self.inner, self.outer, self.settings,
            self.value, compiled,
        )  # fmt: skip
        parts, aux = self.operator.derive(point)
        outputs: Arrays = ()
        counts = []
        for i in self.wanted:
            outputs += parts[i]
            counts.append(len(parts[i]))
        trace.counts = counts
        return outputs + aux

    def program(self, f: Callable[..., Any], trace: OutputStructure) -> Program:
        """``(*primals, *constants, *seeds) -> (*parts, *aux)``, all flat arrays."""
        primals = len(self.signature.primals)
        both = primals + len(self.signature.constants)
        inner = None
        if self.inner is not self.outer:
            inner = Inner(self.inner, lambda constants: self.flat(f, constants, trace))

        def program(*inputs: Array) -> Arrays:
            x, constants = inputs[:primals], inputs[primals:both]
            return self.run(f, x, constants, lambda: inputs[both:], trace, inner)

        return program

    def flat(
        self, f: Callable[..., Any], constants: Arrays, trace: OutputStructure
    ) -> FlatFunction:
        """``f`` on flat arrays."""
        has_aux, holomorphic = self.settings.has_aux, self.settings.holomorphic
        scalar = self.operator.scalar
        return FlatFunction(
            f, self.signature, constants, self.inner, trace, has_aux, scalar, holomorphic
        )

    def assemble(self, outputs: Arrays, trace: OutputStructure, out: object = None) -> Any:
        """The result as the user sees it, from the fresh outputs of the program."""
        if self._only is not None and out is None:
            kind, _, _, device = self._only
            return to_caller(outputs[0], self.outer.arrays, kind, device)
        taken = [
            to_caller(output, self.outer.arrays, kind, device)
            for output, (kind, device) in zip(outputs, self.destinations(trace), strict=True)
        ]
        return self.structure(taken, trace, out)

    def destinations(self, trace: OutputStructure) -> list[tuple[ArrayLibrary, Hashable]]:
        """For every output of the program, the caller's kind of array and device."""
        found: list[tuple[ArrayLibrary, Hashable]] = []
        for i, count in zip(self.wanted, trace.counts, strict=True):
            if self.operator.parts[i] in (Part.VALUE, Part.LIKE_Y):
                found += [self.signature.result_kind()] * count
            else:
                columns = [(leaf.kind, leaf.device) for leaf in self.signature.primals]
                found += columns * (count // len(columns))
        if self.settings.has_aux:
            found += [self.signature.result_kind()] * trace.aux_leaves.count(None)
        return found

    def structure(self, leaves: Sequence[Any], trace: OutputStructure, out: object = None) -> Any:
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
            signature, primals = self.signature, self.signature.primals
            if part is Part.LIKE_X:
                slots = [Slot(p.kind, batch + p.shape, p.dtype) for p in primals]
                check(target, signature.like_active(slots), self.inner)
            elif part is Part.X_BY_X:
                rows = [
                    signature.like_active(
                        [Slot(q.kind, p.shape + q.shape, q.dtype) for q in primals]
                    )
                    for p in primals
                ]
                check(target, signature.like_active(rows), self.inner)

    def _written(self, results: list[Any], out: object) -> list[Any]:
        """``results`` with the derivatives written into ``out``, which leaves out the value."""
        count = sum(1 for i in self.wanted if i)
        values, derivatives = results[:-count], results[-count:]
        written = [
            write(target, result, self.inner)
            for target, result in zip(targets(out, count), derivatives, strict=True)
        ]
        return [*values, *written]

    def part(self, part: Part, leaves: Sequence[Any], trace: OutputStructure) -> Any:
        """The tree of one part of the result."""
        if part in (Part.VALUE, Part.LIKE_Y):
            return _like_y(leaves, trace)
        if part is Part.LIKE_X:
            return self.signature.like_active(leaves)
        columns = len(self.signature.primals)
        rows = [
            self.signature.like_active(leaves[i : i + columns])
            for i in range(0, len(leaves), columns)
        ]
        return _like_y(rows, trace) if part is Part.Y_BY_X else self.signature.like_active(rows)

    def aux(self, leaves: Iterable[Any], trace: OutputStructure) -> Any:
        """What ``f`` returned besides its value, from the arrays in it."""
        rest = iter(leaves)
        filled = [next(rest) if static is None else static.value for static in trace.aux_leaves]
        return unflatten(trace.aux, filled)  # type: ignore[arg-type]


def _like_y(leaves: Sequence[Any], trace: OutputStructure) -> Any:
    return leaves[0] if trace.y is None else unflatten(trace.y, leaves)


def _check_mode(mode: Mode, adapter: Adapter) -> None:
    if mode != "auto" and not getattr(adapter, mode):
        other = "forward" if adapter.forward else "reverse"
        raise UnsupportedOperatorError(
            f"{adapter!r} has no {mode} mode; use mode={other!r} or mode='auto', "
            "or a backend that has both."
        )
