"""The calculus that operators share: gradients, and Jacobians by columns or by rows."""

from functools import partial

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.chunks import filled
from diffface.backends.compiled import Arrays
from diffface.backends.errors import MissingRuleError
from diffface.backends.generic import (
    Some,
    basis,
    gradient_by_basis,
    is_complex,
    like,
    pull_by_basis,
    size,
)
from diffface.backends.second_order import bridge
from diffface.prep.operator import First, Mode, Point, Seeds


def gradient_function(point: Point) -> Function:
    """``x -> (gradient, (y, *aux))`` on arrays of the outer backend, to be differentiated again."""
    # What is compiled must not keep the arrays of the point.
    adapter, value = point.adapter, point.value

    def first(f: Function, x: Arrays) -> tuple[Arrays, Arrays]:
        y, dx, aux = gradient(adapter, f, x, value)
        return dx, y + aux

    return to_differentiate(point, first)


def to_differentiate(point: Point, first: First) -> Function:
    """``x -> first(f, x)`` on arrays of the outer backend; compiled, in a prepared call."""
    if point.compiled is None:
        return bridge(point.outer, point.adapter, lambda x: first(point.f, x))
    return bridge(point.outer, point.adapter, point.compiled(first))


# The framework may lack a rule in the mode that is the natural one: then it is the other.


def gradient(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.gradient``, by columns where a function has no reverse rule."""
    try:
        return adapter.gradient(f, x, value=value)
    except MissingRuleError:
        return gradient_by_basis(adapter, f, x, value)


def pullback(adapter: Adapter, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    """``adapter.pullback``, by columns where a function has no reverse rule."""
    try:
        y, pull, aux = adapter.pullback(f, x)
    except MissingRuleError:
        return pull_by_basis(adapter, f, x, True)

    def safe(dy: Arrays) -> Arrays:
        try:
            return pull(dy)
        except MissingRuleError:
            return pull_by_basis(adapter, f, x, False)[1](dy)

    return y, safe, aux


def pushforward(
    adapter: Adapter, f: Function, x: Arrays, dx: Arrays, value: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.pushforward``, by pullbacks where a function has no forward rule."""
    try:
        return adapter.pushforward(f, x, dx, value=value)
    except MissingRuleError:
        y, push, aux = adapter.linearize(f, x)
        return y, push(dx), aux


def push(adapter: Adapter, f: Function, point: Point) -> tuple[Arrays, Arrays, Arrays]:
    """``(y, J dx, aux)`` along the tangents of a call, or along each of their batch."""
    settings, seeds, value = point.settings, point.seeds(), point.value
    if not settings.batched:
        return pushforward(adapter, f, point.x, seeds, value)
    try:
        return adapter.pushforwards(f, point.x, seeds, chunk_size=settings.chunk_size, value=value)
    except MissingRuleError:
        y, push, aux = adapter.linearize(f, point.x)
        return y, adapter.batch(push, seeds, settings.chunk_size), aux


def jacobian(
    adapter: Adapter, f: Function, at: Point, mode: Mode, holomorphic: bool = False
) -> tuple[Arrays, Arrays, Arrays]:
    """``(y, blocks, aux)``: block ``k * len(x) + j`` is dy_k/dx_j, of shape y_k.shape + x_j.shape.

    ``mode="auto"`` goes by rows (reverse) where there are fewer outputs than inputs, and where the
    framework has no rule for that, the other way. Where the seeds of the point are some of the unit
    vectors, it is some of the columns or rows that are asked for.
    """
    if at.some is not Seeds.NONE:
        seeds, chunk = at.seeds(), at.settings.chunk_size
        chunk = None if chunk is None or len(seeds[0]) <= chunk else chunk
        if at.some is Seeds.TANGENTS:
            return adapter.pushforwards(f, at.x, seeds, chunk_size=chunk, value=at.value)
        y, pull, aux = adapter.pullback(f, at.x, value=at.value)
        return y, adapter.batch(pull, seeds, chunk), aux
    make = partial(_jacobian, adapter, f, at, holomorphic=holomorphic)
    if mode != "auto":
        return make(mode=mode)
    try:
        return make(mode=mode)
    except MissingRuleError as error:
        if not (adapter.forward and adapter.reverse):
            raise
        try:
            return make(mode="reverse")
        except MissingRuleError:
            pass
        try:
            return make(mode="forward")
        except MissingRuleError:
            raise error from None


def _jacobian(
    adapter: Adapter, f: Function, at: Point, *, mode: Mode, holomorphic: bool
) -> tuple[Arrays, Arrays, Arrays]:
    x, chunk_size = at.x, at.settings.chunk_size
    inputs = sum(map(size, x))
    if inputs == 0:
        y, aux = f(x)
        return y, _zeros(adapter, y, x), aux
    by_columns = mode == "auto" and inputs == 1 and adapter.forward
    if mode == "forward" or by_columns or not adapter.reverse:
        return _by_columns(adapter, f, at)
    y, pull, aux = adapter.pullback(f, x)
    outputs = sum(size(a) * (1 + is_complex(adapter, a)) for a in y)
    if outputs == 0:
        return y, _zeros(adapter, y, x), aux
    if mode == "auto" and adapter.forward and outputs >= inputs:
        return _by_columns(adapter, f, at)
    if not holomorphic:
        some = lambda start, n: (adapter.batch(pull, basis(adapter, y, part=(start, n))), ())
        if (found := _filled(adapter, at, some, y, columns=False)) is not None:
            return y, found[0], aux
    rows = adapter.batch(pull, basis(adapter, y), chunk_size)
    if holomorphic:
        # pull is J^H, whose rows are conjugated.
        rows = tuple(adapter.xp.conj(a) for a in rows)
    elif any(is_complex(adapter, a) for a in y):
        # Re<i e_k, J dx> is the imaginary part of row k.
        imaginary = adapter.batch(pull, basis(adapter, y, imaginary=True), chunk_size)
        rows = tuple(a + 1j * b for a, b in zip(rows, imaginary, strict=True))
    return y, _from_rows(adapter, rows, y, x), aux


def _filled(
    adapter: Adapter, at: Point, some: Some, space: Arrays, columns: bool
) -> tuple[Arrays, Arrays] | None:
    """The blocks, if they may take chunks of columns or rows, one for each vector of ``space``."""
    chunk, tables = at.settings.chunk_size, at.tables
    if tables is None or chunk is None or sum(map(size, space)) <= chunk:
        return None
    if any(is_complex(adapter, a) for a in (*at.x, *space)):
        return None
    return filled(adapter, adapter.repeated(some), space, chunk, columns, tables, at.x)


def _by_columns(adapter: Adapter, f: Function, at: Point) -> tuple[Arrays, Arrays, Arrays]:
    x, chunk_size, value = at.x, at.settings.chunk_size, at.value
    leaves: int | None = None

    def some(start: int, count: int) -> tuple[Arrays, Arrays]:
        nonlocal leaves
        asked, part = value and leaves is None, (start, count)
        # A black box takes points, of which there are several for each column.
        points = None if adapter.reverse else chunk_size
        y, columns, aux = adapter.columns(f, x, chunk_size=points, value=asked, part=part)
        leaves = len(y) if leaves is None else leaves
        return columns, y + aux

    if (found := _filled(adapter, at, some, x, columns=True)) is not None:
        blocks, rest = found
        return rest[:leaves], blocks, rest[leaves:]
    y, columns, aux = adapter.columns(f, x, chunk_size=chunk_size, value=value)
    return y, _from_columns(adapter, columns, x), aux


def _from_columns(adapter: Adapter, columns: Arrays, x: Arrays) -> Arrays:
    """Blocks from pushforwards of all unit vectors: ``(N, *y_k.shape)`` per output leaf."""
    xp, blocks = adapter.xp, []
    for column in columns:
        offset = 0
        for leaf in x:
            part = column[offset : offset + size(leaf)]
            part = xp.permute_dims(part, (*range(1, len(part.shape)), 0))
            block = xp.reshape(part, (*column.shape[1:], *leaf.shape))
            blocks.append(like(adapter, block, leaf))
            offset += size(leaf)
    return tuple(blocks)


def _from_rows(adapter: Adapter, rows: Arrays, y: Arrays, x: Arrays) -> Arrays:
    """Blocks from pullbacks of all unit vectors: ``(M, *x_j.shape)`` per input leaf."""
    blocks, offset = [], 0
    for output in y:
        for row, leaf in zip(rows, x, strict=True):
            part = row[offset : offset + size(output)]
            if is_complex(adapter, part) and not is_complex(adapter, output):
                part = adapter.xp.real(part)
            block = adapter.xp.reshape(part, (*output.shape, *leaf.shape))
            blocks.append(like(adapter, block, leaf))
        offset += size(output)
    return tuple(blocks)


def _zeros(adapter: Adapter, y: Arrays, x: Arrays) -> Arrays:
    return tuple(
        adapter.xp.reshape(adapter.eye(size(a), size(b), 0, b), (*a.shape, *b.shape))
        for a in y
        for b in x
    )
