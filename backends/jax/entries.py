"""Entries of sparse derivatives, computed where they are rather than gathered from a batch.

Knows: how a program of derivatives is taken apart into what depends on the direction and what does
not, and when a batch has to be computed after all.
Must not know: how an operation acts on diagonals.

A batch along seeds of zeros and ones is mostly zeros. Diagonals have no more elements than the
entries that there are, or few more, and each is computed by the operations of the batch in their
order. A product of zero with infinity or NaN is NaN, which they lose. So the program computes the
batch where one of the numbers that zeros are multiplied by is not finite.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Literal

from diffface.backends.compiled import Array, Arrays
from diffface.backends.jax.diagonal_rules import applied
from diffface.backends.jax.diagonals import (
    Diagonals,
    Factor,
    Unfit,
    as_zero,
    gathered,
    identity,
)
from diffface.backends.jax.structure import folded

# What diagonals may cost in terms of a batch, and the size beyond which nobody looks.
_WORTH, _MANY = 0.75, 1 << 23
# Constants that are computed from others in more steps are not looked for.
_DEEP = 100
# Programs that are called are read as parts of the one that calls.
_CALLS = ("jit", "pjit")
_REAL = (np.float32, np.float64)

# ``(x, dx) -> (what does not depend on dx, derivatives along dx)``.
Push = Callable[[Arrays, Arrays], tuple[Any, Arrays]]
# Along all seeds, from the derivatives along one.
Batch = Callable[[Callable[[Arrays], Arrays]], Array]
# Rows and columns.
Places = tuple[Any, Any]


def entries(
    push: Push, x: Arrays, where: Callable[[], Places], count: int, batch: Batch
) -> tuple[Any, Array] | None:
    """What ``push`` returns besides, and entries of its derivatives by ``x``.

    None where they are better gathered from a batch.

    Parameters
    ----------
    push : callable
        Linear in ``dx``.
    x : tuple of arrays
        Tracers.
    where : callable
        ``where()`` says which of the results the entries belong to, and which coordinate of ``x``,
        as two arrays of int.
    count : int
        Along how many directions the batch is computed.
    batch : callable
        ``batch(along)`` gathers the entries from the derivatives along all of them.
    """
    record, shapes = jax.make_jaxpr(push, return_shape=True)(x, x)
    if record.effects:
        return None
    try:
        program = _Program(_inlined(record, (*x, *x)), x, len(jax.tree.leaves(shapes[1])))
        reader = _Reader(program)
        few = jax.make_jaxpr(lambda: reader.entries(x, *where()))()
    except Unfit:
        return None
    if _cost(few.eqns) > _WORTH * count * _cost(program.moving):
        return None

    def run() -> Array:
        return jax.core.eval_jaxpr(few.jaxpr, few.consts)[0]

    fine, whole = reader.are_finite(), lambda: batch(program.along)
    found = run() if fine is None else lax.cond(fine, run, whole)
    return jax.tree.unflatten(jax.tree.structure(shapes[0]), program.besides), found


def _inlined(record: Any, examples: Arrays) -> Any:
    """The same program without calls of others, each variable of which has one meaning."""

    def run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True))
        read = lambda a: a.val if isinstance(a, Literal) else values[a]
        for e in jaxpr.eqns:
            if e.primitive.name in _CALLS:
                inner = e.params["jaxpr"]
                found = run(inner.jaxpr, inner.consts, [*map(read, e.invars)])
            else:
                given = [*dict.fromkeys(_variables(e.invars))]
                alone = jaxpr.replace(constvars=[], invars=given, outvars=e.outvars, eqns=[e])
                found = jax.core.eval_jaxpr(alone, (), *map(read, given))
            values.update(zip(e.outvars, found, strict=True))
        return [*map(read, jaxpr.outvars)]

    return jax.make_jaxpr(lambda *inputs: run(record.jaxpr, record.consts, inputs))(*examples)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [a for a in atoms if not isinstance(a, Literal)]


def _cost(equations: Sequence[Any]) -> int:
    """Elements that are computed."""
    return sum(prod(v.aval.shape) for e in equations for v in e.outvars)


class _Program:
    """A program of derivatives, taken apart.

    Attributes
    ----------
    besides : list of arrays
        The results that do not depend on the direction.
    moving : list of equations
        Those that do, as far as they are needed.
    steps : list of variables
        The direction.
    derivatives : list of variables
        Its last results.
    values : dict
        Of all variables that ``moving`` needs besides.
    """

    def __init__(self, closed: Any, x: Arrays, results: int) -> None:
        jaxpr = closed.jaxpr
        self._jaxpr, self._x = jaxpr, x
        self.steps = jaxpr.invars[len(x) :]
        self.derivatives = jaxpr.outvars[-results:]
        moves = set(self.steps)
        fixed: list[Any] = []
        moving: list[Any] = []
        for e in jaxpr.eqns:
            depends = not moves.isdisjoint(_variables(e.invars))
            (moving if depends else fixed).append(e)
            moves.update(e.outvars if depends else ())
        if not moves.isdisjoint(_variables(jaxpr.outvars[:-results])):
            raise Unfit("a loop or a choice")
        # In order, so that the same program is written each time.
        needed = dict.fromkeys(_variables(self.derivatives))
        self.moving: list[Any] = []
        for e in reversed(moving):
            if not needed.keys().isdisjoint(e.outvars):
                needed.update(dict.fromkeys(_variables(e.invars)))
                self.moving.append(e)
        self.moving.reverse()
        self._defined = {v: e for e in fixed for v in e.outvars}
        self._known = {
            v: None if isinstance(c, jax.core.Tracer) or c.size > _MANY else np.asarray(c)
            for v, c in zip(jaxpr.constvars, closed.consts, strict=True)
        }
        self._known.update((v, None) for v in jaxpr.invars)
        held = [v for v in needed if v not in moves]
        before = jaxpr.replace(
            invars=jaxpr.invars[: len(x)], outvars=[*jaxpr.outvars[:-results], *held], eqns=fixed
        )
        found = jax.core.eval_jaxpr(before, closed.consts, *x)
        self.besides = found[: len(jaxpr.outvars) - results]
        self.values = dict(zip(held, found[len(self.besides) :], strict=True))

    def along(self, steps: Arrays) -> Arrays:
        """The derivatives along one direction."""
        jaxpr = self._jaxpr.replace(
            constvars=[*self.values], invars=self.steps, outvars=self.derivatives, eqns=self.moving
        )
        return tuple(jax.core.eval_jaxpr(jaxpr, [*self.values.values()], *steps))

    def factor(self, atom: Any) -> Factor:
        """What does not depend on the direction, as an operand."""
        value = atom.val if isinstance(atom, Literal) else self.values[atom]
        return Factor(value, self._constant(atom, _DEEP))

    def _constant(self, atom: Any, deep: int) -> Any:
        """The value of a constant, or None."""
        if isinstance(atom, Literal):
            aval: Any = atom.aval
            return np.asarray(atom.val, aval.dtype)
        if atom not in self._known:
            e = self._defined[atom]
            inputs = [self._constant(a, deep - 1) if deep else None for a in e.invars]
            shapes = [tuple(v.aval.shape) for v in e.outvars]
            with jax.ensure_compile_time_eval():
                found = folded(e, inputs, shapes) or [None] * len(shapes)
            self._known.update(zip(e.outvars, found, strict=True))
        return self._known[atom]


class _Reader:
    """Reads the part of a program that depends on the direction.

    Attributes
    ----------
    guards : dict
        What zeros are multiplied by, and whether it divides them as well.
    """

    def __init__(self, program: _Program) -> None:
        self._program = program
        self.guards: dict[Any, bool] = {}

    def entries(self, x: Arrays, rows: Any, columns: Any) -> Array:
        """The derivatives of some results by some coordinates."""
        program, results = self._program, self._program.derivatives
        if any(v.aval.dtype not in _REAL for v in (*program.steps, *results)):
            raise Unfit("kinds of numbers")
        start = identity([a.shape for a in x], [a.dtype for a in x])
        found: dict[Any, Diagonals] = dict(zip(program.steps, start, strict=True))

        def read(atom: Any) -> Diagonals | Factor:
            moves = not isinstance(atom, Literal) and atom in found
            return found[atom] if moves else program.factor(atom)

        for e in program.moving:
            if any(v.aval.dtype not in _REAL or prod(v.aval.shape) > _MANY for v in e.outvars):
                raise Unfit(e.primitive.name)
            operands = [*map(read, e.invars)]
            self._guard(e, operands)
            found.update(zip(e.outvars, applied(e, operands), strict=True))
        leaves = [x if isinstance(x, list) else as_zero(x) for x in map(read, results)]
        return gathered(leaves, [v.aval for v in results], rows, columns)

    def _guard(self, e: Any, operands: Sequence[Any]) -> None:
        if e.primitive.name not in ("mul", "div"):
            return
        for a, x in zip(e.invars, operands, strict=True):
            if not isinstance(x, Factor):
                continue
            divides = e.primitive.name == "div"
            if x.known is None:
                self.guards[a] = divides or self.guards.get(a, False)
            elif not np.isfinite(x.known).all() or (divides and not np.all(x.known)):
                raise Unfit("a constant that is not finite")

    def are_finite(self) -> Array | None:
        """Whether zeros stay zeros; None if nothing is multiplied by them."""
        found = None
        for a, divides in self.guards.items():
            value = self._program.values[a]
            fine = jnp.isfinite(value)
            every = jnp.all(fine & (value != 0) if divides else fine)
            found = every if found is None else found & every
        return found
