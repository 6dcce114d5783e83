"""Programs of derivatives, taken apart into what depends on the direction and what does not."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from diffface.backends.compiled import Arrays
from diffface.backends.jax.diagonals import Factor, Unfit
from diffface.backends.jax.structure import folded

# Arrays of more elements are not looked at.
MANY = 1 << 23
# Constants that are computed from others in more steps are not looked for.
_DEEP = 100
# Sooner computed again, in so many steps, than written to memory and read from there.
_CHEAP, _STEPS = ("add", "mul", "neg", "sub"), 3
# Whose results are not finite where one of their operands is not.
_CARRIERS = frozenset(
    ("abs", "add", "add_any", "broadcast_in_dim", "concatenate", "mul", "neg", "reshape", "square",
     "sub", "transpose")
)  # fmt: skip
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
            v: None if isinstance(c, jax.core.Tracer) or c.size > MANY else np.asarray(c)
            for v, c in zip(jaxpr.constvars, closed.consts, strict=True)
        }
        self._known.update((v, None) for v in jaxpr.invars)
        held = [*dict.fromkeys(v for a in needed if a not in moves for v in self._sources(a))]
        outvars = [*jaxpr.outvars[:-results], *held]
        self._before = jaxpr.replace(invars=jaxpr.invars[: len(x)], outvars=outvars, eqns=fixed)
        self._consts = closed.consts
        found = self._found()
        self.besides = found[: len(jaxpr.outvars) - results]
        self.values = dict(zip(held, found[len(self.besides) :], strict=True))

    def _found(self) -> list[Any]:
        return jax.core.eval_jaxpr(self._before, self._consts, *self._x)

    def along(self) -> Callable[[Arrays], Arrays]:
        """The derivatives along one direction, from values that are computed anew.

        So none has to be in memory for a batch that is hardly ever computed.
        """
        values = dict(zip(self.values, self._found()[len(self.besides) :], strict=True))
        jaxpr = self._jaxpr.replace(
            constvars=[*values], invars=self.steps, outvars=self.derivatives, eqns=self.moving
        )
        return lambda steps: tuple(jax.core.eval_jaxpr(jaxpr, [*values.values()], *steps))

    def factor(self, atom: Any) -> Factor:
        """What does not depend on the direction, as an operand."""
        value = atom.val if isinstance(atom, Literal) else self._again(atom, _STEPS)
        return Factor(value, self._constant(atom, _DEEP))

    def carried(self, places: Iterable[Any]) -> set[Any]:
        """Variables that are finite if those at ``places`` are that are computed from them."""
        ends, found = set(places), set[Any]()
        for v, e in reversed(self._defined.items()):
            if e.primitive.name in _CARRIERS and v.aval.size and (v in ends or v in found):
                found.update(_variables(e.invars))
        return found

    def _sources(self, v: Any, steps: int = _STEPS) -> list[Any]:
        """Variables whose values `factor` may read."""
        e = self._defined.get(v)
        near = _variables(e.invars) if e and steps and e.primitive.name in _CHEAP else []
        return [v, *(u for a in near for u in self._sources(a, steps - 1))]

    def _again(self, v: Any, steps: int) -> Any:
        e = self._defined.get(v)
        if e is None or not steps or e.primitive.name not in _CHEAP:
            return self.values[v]
        return _evaluated(e, self._jaxpr, lambda a: self._again(a, steps - 1))[0]

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
                found = _evaluated(e, jaxpr, read)
            values.update(zip(e.outvars, found, strict=True))
        return [*map(read, jaxpr.outvars)]

    return jax.make_jaxpr(lambda *inputs: run(record.jaxpr, record.consts, inputs))(*examples)


def _evaluated(e: Any, jaxpr: Any, read: Callable[[Any], Any]) -> list[Any]:
    """The results of one equation of ``jaxpr``."""
    given = [*dict.fromkeys(_variables(e.invars))]
    alone = jaxpr.replace(constvars=[], invars=given, outvars=e.outvars, eqns=[e])
    return jax.core.eval_jaxpr(alone, (), *map(read, given))


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [a for a in atoms if not isinstance(a, Literal)]
