"""Programs of one point, at many points: one batch where the backend has such, else a loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord, NotDifferentiableError
from diffface.backends.recording.agreement import check_agreement
from diffface.prep.arguments.axes import Axes, Axis
from diffface.prep.arguments.static import Static
from diffface.prep.flat_function import OutputStructure

# Makes a program ready to run often on arrays like the examples; with its outputs at these.
Build = Callable[[Program, Arrays], tuple[Compiled, Arrays]]


class Points:
    """What to do at many points.

    Parameters
    ----------
    axes : Axes
        Where the points are.
    adapter : Adapter
        Whose arrays the outputs are, and the inputs but for ``constants``.
    constants : Adapter
        Whose arrays these are.
    scope : callable
        In which their arrays are handled.
    chunk_size : int or None
        How many points to compute at once.
    """

    __slots__ = ("_adapter", "_axes", "_chunk_size", "_constants", "_scope")

    def __init__(
        self, axes: Axes, adapter: Adapter, constants: Adapter,
        scope: Callable[[], AbstractContextManager[object]], chunk_size: int | None,
    ) -> None:  # fmt: skip
        self._axes = axes
        self._adapter = adapter
        self._constants = constants
        self._scope = scope
        self._chunk_size = chunk_size

    @property
    def _is_vectorized(self) -> bool:
        return self._adapter.batching == "vectorized"

    @property
    def _in_step(self) -> bool:
        """Whether the adapter may evaluate one function for all points."""
        batched = any(axis is not None for axis in self._axes.constants)
        in_step = self._adapter.batching == "in step"
        return in_step and self._adapter is self._constants and not batched

    def first(self, inputs: Arrays) -> Arrays:
        """The inputs of the first point; zeros, to learn from, where there is none."""
        moved = self._leading(inputs)
        if self._axes.size:
            return _at(moved, self._axes.of(inputs), 0)
        sums = (
            a if axis is None else xp.zeros_like(xp.sum(a, axis=0), dtype=a.dtype)
            for a, axis, xp in zip(moved, self._axes.of(inputs), self._spaces(inputs), strict=True)
        )
        return tuple(sums)

    def repeated(self, array: Array) -> Array:
        """``array`` for every point."""
        size = self._axes.size
        return self._adapter.xp.stack([array] * max(1, size))[:size]

    def evaluate(self, single: Program, inputs: Arrays, structure: OutputStructure) -> Arrays:
        """``single`` at every point, eagerly; ``structure`` is what it notes of its results."""
        if self._is_vectorized:
            # What cannot be batched may be computed one by one.
            with suppress(Exception):
                return self._whole(single, self._chunk_size)(*inputs)
        return self._in_turn(inputs, single, structure)

    def build(
        self, build: Build, single: Program, inputs: Arrays, structure: OutputStructure
    ) -> tuple[Compiled, Arrays]:
        """``single`` at every point, made ready to run often; ``inputs`` are examples.

        Raises
        ------
        CannotRecord
            If the program of one point cannot be recorded.
        """
        if self._is_vectorized:
            whole = self._whole(single, None, once=True)
            # The plain call of a derivative may cost too much.
            compares = type(self._adapter).check_record is Adapter.check_record
            with suppress(Exception):
                return self._in_chunks(
                    lambda part: build(whole, part)[0], inputs, single if compares else None
                )
        compiled, _ = build(single, self.first(inputs))
        if compiled.many is not None and self._axes.size:
            with suppress(Exception):
                return self._in_chunks(
                    lambda part: self._many(compiled, part), inputs, compiled.run
                )
        # Black boxes are evaluated at every call.
        noting = structure if structure.aux is not None else None

        def run(*inputs: Array) -> Arrays:
            with self._scope():
                return self._in_turn(inputs, compiled.run, noting)

        return compiled.run_by(run), run(*inputs)

    # One batch

    def _whole(self, single: Program, chunk_size: int | None, once: bool = False) -> Program:
        """``single`` as one batch; with ``once``, it must not be unrolled into the program."""

        def program(*inputs: Array) -> Arrays:
            axes = self._axes.of(inputs)
            moved = self._leading(inputs)
            count = 0

            def call(points: Arrays) -> Arrays:
                nonlocal count
                count += 1
                if once and count > 1:
                    raise CannotRecord("one of its operations has no rule for a batch")
                rest = iter(points)
                return single(
                    *(
                        a if axis is None else next(rest)
                        for a, axis in zip(moved, axes, strict=True)
                    )
                )

            batch = tuple(a for a, axis in zip(moved, axes, strict=True) if axis is not None)
            return self._adapter.at_points(call, batch, chunk_size)

        return program

    def _many(self, compiled: Compiled, inputs: Arrays) -> Compiled:
        """The program of one point as that of as many as the examples have."""
        axes, moved = self._axes.of(inputs), self._leading(inputs)
        size = next(a.shape[0] for a, axis in zip(moved, axes, strict=True) if axis is not None)
        assert compiled.many is not None
        found = compiled.many(tuple(axis is not None for axis in axes), size)
        if not any(axes):
            return found
        return found.run_by(lambda *inputs: found.run(*self._leading(inputs)))

    def _in_chunks(
        self, make: Callable[[Arrays], Compiled], inputs: Arrays, single: Program | None
    ) -> tuple[Compiled, Arrays]:
        """What ``make`` makes of all points, or of so many as may be computed at once."""
        size = self._axes.size
        chunk = self._chunk_size or max(1, size)
        compiled = make(inputs) if chunk >= size else self._chunked(make, inputs, chunk)
        if single is not None and not compiled.draws:
            self._check(compiled.run, single, inputs)
        return compiled, compiled.run(*inputs)

    def _chunked(self, make: Callable[[Arrays], Compiled], inputs: Arrays, chunk: int) -> Compiled:
        size = self._axes.size
        parts = [slice(start, min(start + chunk, size)) for start in range(0, size, chunk)]
        # The last of the chunks may be shorter.
        compiled, last = make(self._cut(inputs, parts[0])), make(self._cut(inputs, parts[-1]))

        def run(*inputs: Array) -> Arrays:
            with self._scope():
                found = [compiled.run(*self._cut(inputs, part)) for part in parts[:-1]]
                found.append(last.run(*self._cut(inputs, parts[-1])))
                return tuple(map(self._adapter.xp.concat, zip(*found, strict=True)))

        return compiled.run_by(run)

    def _check(self, run: Program, single: Program, inputs: Arrays) -> None:
        """Raise Disagreement if the batch gives another result than some of the points alone."""
        axes, size = self._axes.of(inputs), self._axes.size
        # Rules for batches that are wrong are often right for the first point.
        some = sorted({0, size // 2, size - 1}) if size else []

        def of_some(*inputs: Array) -> Arrays:
            return tuple([a[i, ...] for a in run(*inputs) for i in some])

        def alone(*inputs: Array) -> Arrays:
            moved = self._leading(inputs)
            found = [single(*_at(moved, axes, i)) for i in some]
            return tuple([a for column in zip(*found, strict=True) for a in column])

        check_agreement(of_some, alone, inputs, self._adapter.arrays)

    # One by one

    def _in_turn(
        self, inputs: Arrays, single: Program, structure: OutputStructure | None = None
    ) -> Arrays:
        size, axes, moved = self._axes.size, self._axes.of(inputs), self._leading(inputs)
        if not size:
            with np.errstate(all="ignore"):
                return tuple(self._adapter.xp.stack([a])[:0] for a in single(*self.first(inputs)))
        if self._in_step:
            return self._whole(single, self._chunk_size)(*inputs)
        results, noted = [], None
        for i in range(size):
            results.append(single(*_at(moved, axes, i)))
            if structure is not None:
                noted = _same_as_before(noted, structure)
        return tuple([self._stack(column) for column in zip(*results, strict=True)])

    def _stack(self, column: Sequence[Array]) -> Array:
        shapes = {tuple(a.shape) for a in column}
        if len(shapes) > 1:
            shown = " and ".join(map(str, sorted(shapes)[:2]))
            raise NotDifferentiableError(
                f"`f` returns results of different shapes at different points: {shown}."
            )
        return self._adapter.xp.stack(column)

    # Inputs

    def _spaces(self, inputs: Arrays) -> Iterator[Any]:
        """The namespace of each input."""
        first = len(self._axes.primals)
        last = first + len(self._axes.constants)
        for i in range(len(inputs)):
            yield (self._constants if first <= i < last else self._adapter).xp

    def _leading(self, inputs: Arrays) -> Arrays:
        """``inputs`` with their points along axis 0."""
        axes = self._axes.of(inputs)
        if not any(axes):
            return inputs
        found = zip(inputs, axes, self._spaces(inputs), strict=True)
        return tuple(_leading(a, axis, xp) for a, axis, xp in found)

    def _cut(self, inputs: Arrays, part: slice) -> Arrays:
        """Some of the points."""
        return tuple(
            a if axis is None else a[(*[slice(None)] * axis, part)]
            for a, axis in zip(inputs, self._axes.of(inputs), strict=True)
        )


def _at(moved: Arrays, axes: Sequence[Axis], i: int) -> Arrays:
    """The inputs of one point, of arrays with their points along axis 0."""
    return tuple([a if axis is None else a[i, ...] for a, axis in zip(moved, axes, strict=True)])


def _leading(array: Array, axis: Axis, xp: Any) -> Array:
    if not axis:
        return array
    return xp.permute_dims(array, (axis, *(i for i in range(len(array.shape)) if i != axis)))


def _same_as_before(noted: Any, structure: OutputStructure) -> Any:
    """What ``f`` returned besides arrays, which must be the same at all points."""
    now = structure.y, structure.aux, list(structure.aux_leaves)
    if noted is not None and now != noted:
        differing = [
            f" ({a} and {b})"
            for a, b in zip(noted[2], now[2], strict=False)
            if isinstance(a, Static) and isinstance(b, Static) and a != b
        ]
        where = "aux" if noted[0] == now[0] else "its result"
        raise NotDifferentiableError(
            f"`f` returns {where} with something else than arrays that differs from point to "
            f"point{''.join(differing[:1])}; make it an array, or leave it out."
        )
    return now
