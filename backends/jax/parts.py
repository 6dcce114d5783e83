"""Programs of derivatives, taken apart into what depends on the direction and what does not."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from diffface.backends.compiled import Arrays
from diffface.backends.jax.diagonals import Factor, Unfit
from diffface.backends.jax.structure import folded

# Larger constants are not looked at.
_MANY = 1 << 23
# Constants that are computed from others in more steps are not looked for.
_DEEP = 100
# Programs that are called are read as parts of the one that calls.
_CALLS = ("jit", "pjit")


class Parts:
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

    def __init__(self, record: Any, x: Arrays, results: int) -> None:
        closed = _inlined(record, (*x, *x))
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
