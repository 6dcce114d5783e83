"""Prepared Jacobians by chunks: the program of one chunk, run for each of them."""

from collections.abc import Callable, Sequence
from typing import Any

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.chunks import filled
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.generic import basis, is_complex, size
from diffface.prep import derivation
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Part, Seeds
from diffface.prep.plan import Plan

# Where a program loops over chunks, a call computes this part of the result, or so many elements,
# in chunks: few calls, for little more memory.
PART, ELEMENTS = 32, 2**17

Build = Callable[[Program, Arrays], tuple[Compiled, Arrays]]


def build_by_chunks(
    plan: Plan, f: Callable[..., Any], x: Arrays, constants: Arrays, structure: OutputStructure,
    build: Build,
) -> tuple[Compiled, Arrays] | None:  # fmt: skip
    """``plan`` for ``f``, made ready to run often, and its outputs at the examples.

    None where its result is no Jacobian or Hessian that is asked for by chunks, or cannot be put
    together from them.

    Raises
    ------
    CannotRecord, MissingRuleError
        If the program of a chunk cannot be recorded.
    """
    adapter, settings, chunk = plan.outer, plan.settings, plan.settings.chunk_size
    matrix = Part.Y_BY_X if plan.operator.order == 1 else Part.X_BY_X
    library = plan.tables()
    if chunk is None or library is None or plan.result.parts[-1:] != [matrix]:
        return None
    if not adapter.reverse:
        return _evaluated_by_chunks(plan, f, (*x, *constants), structure, build)
    if adapter is not plan.inner or settings.holomorphic:
        return None
    y = x if plan.operator.order == 2 else derivation.results_at(plan, f, x, constants, structure)
    if any(is_complex(adapter, a) for a in (*x, *y)) or (cut := _cut(plan, x, y)) is None:
        return None
    columns, length = cut
    some = Seeds.TANGENTS if columns else Seeds.COTANGENTS
    both = len(x) + len(constants)

    def program(*inputs: Array) -> Arrays:
        first, c, seeds = inputs[: len(x)], inputs[len(x) : both], inputs[both:]
        return derivation.derive(plan, f, first, c, lambda: seeds, structure, some=some)

    # Of the results only shapes, dtypes and devices are needed, which zeros have, too.
    rows = None if columns else tuple(map(adapter.xp.zeros_like, y))
    seeds = basis(adapter, x if rows is None else rows, part=(0, length))
    one, _ = build(program, (*x, *constants, *seeds))
    if one.draws:
        return None
    loop = _Loop(plan, one, structure.counts, rows, length, library)
    into = loop.into if library.writable else None
    made = one.run_by(loop.run, into)
    return made, loop.run(*x, *constants)


def _cut(plan: Plan, x: Arrays, y: Arrays) -> tuple[bool, int] | None:
    """Whether chunks are of columns, and how many at a time; None where one has them all."""
    adapter, mode, chunk = plan.outer, plan.settings.mode, plan.settings.chunk_size
    assert chunk is not None
    inputs, outputs = sum(map(size, x)), sum(map(size, y))
    columns = mode == "forward" or (mode == "auto" and adapter.forward and outputs >= inputs)
    total = inputs if columns else outputs
    if min(inputs, outputs) == 0 or total <= chunk:
        return None
    if adapter.loops:
        most = max(total // PART, ELEMENTS // max(inputs, outputs))
        chunk *= max(1, min(most, total) // chunk)
    return columns, chunk


class _Loop:
    """The program of one chunk, run for each of them.

    Parameters
    ----------
    plan : Plan
        What is derived.
    one : Compiled
        ``one.run(*primals, *constants, *seeds)`` is a chunk of columns, or of rows.
    counts : sequence of int
        How many arrays each part of the result has; the last is the Jacobian.
    y : tuple of arrays or None
        What the results look like, where the chunks are rows; None for columns.
    length : int
        How many columns or rows at a time.
    library : ArrayLibrary
        Of the arrays that take them.
    """

    def __init__(
        self, plan: Plan, one: Compiled, counts: Sequence[int], y: Arrays | None, length: int,
        library: ArrayLibrary,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._one = one
        self._y = y
        self._length = length
        self._library = library
        self._primals = len(plan.signature.primals)
        self._before = sum(counts[:-1])
        self._count = counts[-1] // (self._primals if y is None else len(y))

    def run(self, *inputs: Array, into: dict[int, Array] | None = None) -> Arrays:
        """All outputs of the derivation; blocks of the Jacobian may go ``into`` arrays."""
        plan, x = self._plan, inputs[: self._primals]
        space = x if self._y is None else self._y
        start, stop = self._before, self._before + self._count

        def call(first: int, length: int) -> tuple[Arrays, Arrays]:
            seeds = basis(plan.outer, space, part=(first, length))
            found = self._one.run(*inputs, *seeds)
            return found[start:stop], found[:start] + found[stop:]

        columns = self._y is None
        with plan.inner.scope(plan.dtypes):
            made = filled(plan.outer, call, space, self._length, columns, self._library, x, into)
        if made is None:
            raise CannotRecord("its derivative cannot be put together from chunks")
        blocks, rest = made
        return rest[:start] + blocks + rest[start:]

    def into(self, places: tuple[int, ...]) -> Program:
        """``run`` with arrays for the outputs at ``places`` as further inputs."""
        both = self._primals + len(self._plan.signature.constants)

        def run_into(*inputs: Array) -> Arrays:
            given = dict(zip(places, inputs[both:], strict=True))
            blocks = {i - self._before: a for i, a in given.items() if i >= self._before}
            outputs = list(self.run(*inputs[:both], into=blocks))
            for i, a in given.items():
                if outputs[i] is not a:
                    a[...] = outputs[i]
                    outputs[i] = a
            return tuple(outputs)

        return run_into


def _evaluated_by_chunks(
    plan: Plan, f: Callable[..., Any], examples: Arrays, structure: OutputStructure, build: Build
) -> tuple[Compiled, Arrays]:
    """The same of a black box, of which nothing is recorded."""
    arrays, library = plan.outer.arrays, plan.tables()
    n = len(plan.signature.primals)

    def derive(*inputs: Array) -> Arrays:
        return derivation.derive(plan, f, inputs[:n], inputs[n:], tuple, structure, tables=library)

    def run(*inputs: Array) -> Arrays:
        with plan.inner.scope(plan.dtypes):
            outputs = derive(*inputs)
        return tuple(
            [a if i in structure.filled else arrays.fresh(a) for i, a in enumerate(outputs)]
        )

    compiled, outputs = build(derive, examples)
    return compiled.run_by(run), outputs
