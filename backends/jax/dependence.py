"""What the results of a JAX program depend on, from its jaxpr."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from diffface.backends.compiled import Arrays, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.jax.structure import derivative, folded, structure
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Dependence, Maybe
from diffface.backends.recording.report import Found, Line, Report
from diffface.backends.recording.user_frame import line_of_places

# Where calls keep the program that they call.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
    "remat": "jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr", "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr", "diffface_rule": "call_jaxpr",
}  # fmt: skip
# Those with a derivative of their own.
RULES = {"custom_jvp_call", "custom_vjp_call", "diffface_rule"}
# Scans are unrolled up to this length.
UNROLL = 2000

# For each result: what it depends on, and its value where that is known.
Results = tuple[list[Maybe], list[Any]]


def dependence(program: Program, examples: Arrays, inputs: range) -> Found:
    """What the derivative of ``program`` by its ``inputs`` depends on among them, at any point."""
    try:
        closed = jax.make_jaxpr(program)(*examples)
    except (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError) as error:
        raise CannotRecord(str(error).splitlines()[0]) from error
    shapes = [tuple(examples[i].shape) for i in inputs]
    deps: list[Maybe] = [None] * len(examples)
    for i, d in zip(inputs, dep.identity(shapes), strict=True):
        deps[i] = d
    reader = _Reader(closed.jaxpr)
    found, _ = reader.run(closed.jaxpr, closed.consts, deps, [None] * len(examples))
    outputs = [tuple(a.shape) for a in closed.out_avals]
    matrix = dep.stacked(found, outputs, sum(map(prod, shapes)))
    return Found(matrix, str(reader.report))


class _Reader:
    """Reads jaxprs operation by operation."""

    def __init__(self, record: Any) -> None:
        self.report = Report()
        # A program, to make others like it.
        self._record = record
        # Of the call that is read: what it calls may have been traced for another one, long ago.
        self._around: Line = lambda: ""
        # The derivatives of operations that have been traced, and whether one of them is read.
        self._derivatives: dict[Any, Any] = {}
        self._linear = False

    def run(
        self, jaxpr: Any, consts: Sequence[Any], deps: Sequence[Maybe], values: Sequence[Any]
    ) -> Results:
        known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        depends: dict[Any, Dependence] = {}

        def note(variables: Sequence[Any], deps: Sequence[Maybe], values: Sequence[Any]) -> None:
            for variable, d, value in zip(variables, deps, values, strict=True):
                if d is not None:
                    depends[variable] = d
                elif value is not None:
                    known[variable] = value

        def read(atoms: Sequence[Any]) -> Results:
            literal = [isinstance(a, Literal) for a in atoms]
            return (
                [
                    None if fixed else depends.get(a)
                    for a, fixed in zip(atoms, literal, strict=True)
                ],
                [a.val if fixed else known.get(a) for a, fixed in zip(atoms, literal, strict=True)],
            )

        note(jaxpr.invars, deps, values)
        for equation in jaxpr.eqns:
            line = partial(_line, equation, self._around)
            with self.report.naming(equation.primitive.name, line):
                note(equation.outvars, *self._equation(equation, line, *read(equation.invars)))
        return read(jaxpr.outvars)

    @contextmanager
    def _called(self, line: Line, linear: bool) -> Iterator[None]:
        before = self._around, self._linear
        self._around, self._linear = line, linear
        try:
            yield
        finally:
            self._around, self._linear = before

    def _equation(self, e: Any, line: Line, deps: list[Maybe], values: list[Any]) -> Results:
        name = e.primitive.name
        nothing: list[Any] = [None] * len(e.outvars)
        shapes = [tuple(v.aval.shape) for v in e.outvars]
        constant = all(d is None for d in deps)
        called = e.params.get(CALLS[name]) if name in CALLS else None
        if called is not None and (constant or self._linear or name not in RULES):
            with self._called(line, self._linear):
                return self.run(*_opened(called), deps, values)
        if name in ("cond", "scan", "while"):
            return {"cond": self._cond, "scan": self._scan, "while": self._while}[name](
                e, deps, values, shapes
            )
        if constant:
            return nothing, folded(e, values, shapes) or nothing
        # An integer carries no derivative.
        floating = [jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in e.outvars]
        if not any(floating):
            return nothing, nothing
        found = (structure if self._linear else derivative)(e, deps, values, shapes)
        if found is None and not self._linear:
            with self._called(line, linear=True):
                found = self._differentiated(e, deps, values)
        if found is None:
            found = [self.report.everything(name, line, deps, shape) for shape in shapes]
        return [d if f else None for d, f in zip(found, floating, strict=True)], nothing

    def _differentiated(self, e: Any, deps: list[Maybe], values: list[Any]) -> list[Maybe]:
        """What the results of an operation depend on, by the derivative that JAX has for it."""
        given = {
            v: (d, value)
            for v, d, value in zip(e.invars, deps, values, strict=True)
            if not isinstance(v, Literal)
        }
        moving = [v for v, (d, _) in given.items() if d is not None]
        fixed = [v for v, (d, _) in given.items() if d is None]
        key = id(e), *map(id, moving)
        if key not in self._derivatives:
            self._derivatives[key] = _derivative_of(self._record, e, moving, fixed)
        closed, unknown = self._derivatives[key], [None] * len(moving)
        found, _ = self.run(
            closed.jaxpr, closed.consts,
            [*unknown, *(given[v][0] for v in moving), *(None for _ in fixed)],
            [*unknown, *unknown, *(given[v][1] for v in fixed)],
        )  # fmt: skip
        rest = iter(found)
        return [
            next(rest) if jnp.issubdtype(v.aval.dtype, jnp.inexact) else None for v in e.outvars
        ]

    def _cond(self, e: Any, deps: list[Maybe], values: list[Any], shapes: Any) -> Results:
        branches = e.params["branches"]
        if values[0] is not None:
            index = int(np.clip(int(values[0]), 0, len(branches) - 1))
            return self.run(*_opened(branches[index]), deps[1:], values[1:])
        found = [self.run(*_opened(b), deps[1:], values[1:])[0] for b in branches]
        merged = [dep.union([one[i] for one in found], shape) for i, shape in enumerate(shapes)]
        return merged, [None] * len(shapes)

    def _while(self, e: Any, deps: list[Maybe], values: list[Any], shapes: Any) -> Results:
        skip, count = e.params["cond_nconsts"], e.params["body_nconsts"]
        fixed, known = deps[skip : skip + count], values[skip : skip + count]

        def step(carry: list[Maybe]) -> list[Maybe]:
            unknown = [None] * len(carry)
            body, consts = _opened(e.params["body_jaxpr"])
            return self.run(body, consts, [*fixed, *carry], [*known, *unknown])[0]

        return _settled(step, deps[skip + count :], shapes), [None] * len(shapes)

    def _scan(self, e: Any, deps: list[Maybe], values: list[Any], shapes: Any) -> Results:
        first, count, length = e.params["num_consts"], e.params["num_carry"], e.params["length"]
        body = _opened(e.params["jaxpr"])
        fixed, carry, rows = deps[:first], deps[first : first + count], deps[first + count :]
        known, state = values[:first], values[first : first + count]
        columns = values[first + count :]
        if length > UNROLL:
            return self._long_scan(body, fixed, known, carry, rows, shapes), [None] * len(shapes)
        collected: list[list[Maybe]] = [[None] * length for _ in shapes[count:]]
        for i in reversed(range(length)) if e.params["reverse"] else range(length):
            now = [_row(d, i) for d in rows]
            seen = [None if v is None else np.asarray(v)[i] for v in columns]
            found, state_and_more = self.run(*body, [*fixed, *carry, *now], [*known, *state, *seen])
            carry, state = found[:count], state_and_more[:count]
            for parts, d in zip(collected, found[count:], strict=True):
                parts[i] = d
        ys = [_stack(p, shape) for p, shape in zip(collected, shapes[count:], strict=True)]
        return [*carry, *ys], [*state, *[None] * len(ys)]

    def _long_scan(
        self, body: Any, fixed: Any, known: Any, carry: list[Maybe], rows: list[Maybe], shapes: Any
    ) -> list[Maybe]:
        """A scan whose steps are taken to depend on all rows of what it goes over."""
        count = len(carry)
        merged = [dep.reduce(d, (0,)) for d in rows]
        unknown = [None] * (count + len(rows))

        def step(carry: list[Maybe]) -> list[Maybe]:
            return self.run(body[0], body[1], [*fixed, *carry, *merged], [*known, *unknown])[0]

        carry = _settled(lambda c: step(c)[:count], carry, shapes[:count])
        ys = [
            None if d is None else dep.broadcast(Dependence((1, *d.shape), d.matrix), shape)
            for d, shape in zip(step(carry)[count:], shapes[count:], strict=True)
        ]
        return [*carry, *ys]


def _derivative_of(record: Any, e: Any, moving: list[Any], fixed: list[Any]) -> Any:
    """The program of an operation's derivative: of what moves, how it moves, and what does not."""
    results = [v for v in e.outvars if jnp.issubdtype(v.aval.dtype, jnp.inexact)]
    alone = record.replace(constvars=[], invars=[*moving, *fixed], outvars=results, eqns=[e])
    n = len(moving)

    def push(*given: Any) -> Any:
        x, dx, rest = given[:n], given[n : 2 * n], given[2 * n :]
        return jax.jvp(lambda *x: jax.core.eval_jaxpr(alone, (), *x, *rest), x, dx)[1]

    like = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in (*moving, *moving, *fixed)]
    return jax.make_jaxpr(push)(*like)


def _settled(step: Any, deps: list[Maybe], shapes: Any) -> list[Maybe]:
    """What carried values depend on after any number of steps."""
    while True:
        after = [
            dep.union(pair, shape) for *pair, shape in zip(deps, step(deps), shapes, strict=True)
        ]
        counts = [[0 if d is None else d.matrix.nnz for d in some] for some in (deps, after)]
        if counts[0] == counts[1]:
            return after
        deps = after


def _row(d: Maybe, i: int) -> Maybe:
    if d is None:
        return None
    return dep.select([(d, d.size)], np.arange(d.size).reshape(d.shape)[i])


def _stack(parts: list[Maybe], shape: tuple[int, ...]) -> Maybe:
    live = next((d for d in parts if d is not None), None)
    if live is None:
        return None
    matrix = dep.stacked(parts, [shape[1:]] * len(parts), live.matrix.shape[1])
    return Dependence(shape, matrix)


def _opened(closed: Any) -> tuple[Any, Sequence[Any]]:
    return (closed.jaxpr, closed.consts) if hasattr(closed, "jaxpr") else (closed, ())


def _line(e: Any, around: Line) -> str:
    """Where the user's code asked for an operation."""
    found = e.source_info.traceback
    frames = () if found is None else found.frames
    line = line_of_places((f.file_name, f.line_num, f.function_name) for f in frames)
    return f", at {line}" if line else around()
