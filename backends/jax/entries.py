"""Entries of sparse derivatives, computed where they are rather than gathered from a batch.

Knows: when a batch has to be computed after all.
Must not know: how an operation acts on diagonals.

A batch along seeds of zeros and ones is mostly zeros. Diagonals have no more elements than the
entries that there are, or few more, and each is computed by the operations of the batch in their
order. A product of zero with infinity or NaN is NaN, which they lose. So the program computes the
batch where one of the numbers that zeros are multiplied by is not finite.
"""

import operator
from collections.abc import Callable, Sequence
from functools import reduce
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
from diffface.backends.jax.parts import MANY, Parts

# What diagonals may cost in terms of a batch.
_WORTH = 0.75
# So many bools are looked at together.
_ROW = 512
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
        program = Parts(record, x, len(jax.tree.leaves(shapes[1])))
        reader = _Reader(program)
        few = jax.make_jaxpr(lambda: reader.entries(x, *where()))()
    except Unfit:
        return None
    if _cost(few.eqns) > _WORTH * count * _cost(program.moving):
        return None

    def run() -> Array:
        return jax.core.eval_jaxpr(few.jaxpr, few.consts)[0]

    fine, whole = reader.are_finite(), lambda: batch(program.along())
    found = run() if fine is None else lax.cond(fine, run, whole)
    return jax.tree.unflatten(jax.tree.structure(shapes[0]), program.besides), found


def _cost(equations: Sequence[Any]) -> int:
    """Elements that are computed."""
    return sum(prod(v.aval.shape) for e in equations for v in e.outvars)


class _Reader:
    """Reads the part of a program that depends on the direction.

    Attributes
    ----------
    guards : dict
        What zeros are multiplied by, and whether it divides them as well.
    """

    def __init__(self, program: Parts) -> None:
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
            if any(v.aval.dtype not in _REAL or prod(v.aval.shape) > MANY for v in e.outvars):
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
        carried = self._program.carried(self.guards)
        fine: dict[int, Array] = {}
        for a, divides in self.guards.items():
            if a in carried and not divides:
                continue
            value = self._program.values[a].reshape(-1)
            here = jnp.isfinite(value) & (value != 0) if divides else jnp.isfinite(value)
            fine[value.size] = fine[value.size] & here if value.size in fine else here
        found = [*map(_every, fine.values())]
        return reduce(operator.and_, found) if found else None


def _every(fine: Array) -> Array:
    """`jax.numpy.all` of an array of one axis, in the order in which a processor does many."""
    rows = fine.size // _ROW
    head, tail = fine[: rows * _ROW], fine[rows * _ROW :]
    # Without a barrier, XLA makes one sum of the two.
    together = lax.optimization_barrier(head.reshape(rows, _ROW).all(0))
    return together.all() & tail.all()
