"""Prepared Jacobians by chunks: the program of one chunk, run for each of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
    inputs, outputs = sum(map(size, x)), sum(map(size, y))
    columns = settings.mode == "forward" or (
        settings.mode == "auto" and adapter.forward and outputs >= inputs
    )
    if min(inputs, outputs) == 0 or (inputs if columns else outputs) <= chunk:
        return None
    if any(is_complex(adapter, a) for a in (*x, *y)):
        return None
    if adapter.loops:
        total = inputs if columns else outputs
        most = max(total // PART, ELEMENTS // max(inputs, outputs))
        chunk *= max(1, min(most, total) // chunk)
    some = Seeds.TANGENTS if columns else Seeds.COTANGENTS
    both = len(x) + len(constants)

    def program(*inputs: Array) -> Arrays:
        c, seeds = inputs[len(x) : both], inputs[both:]
        first = inputs[: len(x)]
        return derivation.derive(plan, f, first, c, lambda: seeds, structure, some=some)

    # Of the results only shapes, dtypes and devices are needed, which zeros have, too.
    y = tuple(map(adapter.xp.zeros_like, y)) if not columns else ()
    examples = (*x, *constants)
    one, _ = build(program, (*examples, *basis(adapter, x if columns else y, part=(0, chunk))))
    if one.draws:
        return None
    before, blocks = sum(structure.counts[:-1]), structure.counts[-1]
    count = blocks // len(x if columns else y)

    def run(*inputs: Array, into: dict[int, Array] | None = None) -> Arrays:
        space = inputs[: len(x)] if columns else y

        def call(start: int, length: int) -> tuple[Arrays, Arrays]:
            found = one.run(*inputs, *basis(adapter, space, part=(start, length)))
            return found[before : before + count], found[:before] + found[before + count :]

        with plan.inner.scope(plan.dtypes):
            made = filled(adapter, call, space, chunk, columns, library, inputs[: len(x)], into)
        if made is None:
            raise CannotRecord("its derivative cannot be put together from chunks")
        return made[1][:before] + made[0] + made[1][before:]

    def filling(places: tuple[int, ...]) -> Program:
        def run_into(*inputs: Array) -> Arrays:
            given = dict(zip(places, inputs[both:], strict=True))
            into = {i - before: a for i, a in given.items() if i >= before}
            outputs = list(run(*inputs[:both], into=into))
            for i, a in given.items():
                if outputs[i] is not a:
                    a[...] = outputs[i]
                    outputs[i] = a
            return tuple(outputs)

        return run_into

    into = filling if library.writable else None
    return replace(one, run=run, shortcut=None, into=into, many=None), run(*examples)


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
    return replace(compiled, run=run), outputs
