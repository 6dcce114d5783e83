"""The solution of a differential equation, and its adjoint, as operations with derivatives."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.rule import Active, Output, Puller, Pusher, Rule, among
from diffface.rules.field import Field, Packing, Solver, TangentField, check_times, size_of
from diffface.rules.operation import described


class _Part(Rule):
    """What a solution and its adjoint have in common."""

    host = True

    @abstractmethod
    def solved(self, x: Arrays) -> Arrays:
        """The value at ``x``, arrays of doubles."""

    def evaluate(self, x: Arrays) -> Arrays:
        y = self.solved(_in_double(x))
        return tuple(np.asarray(a, o.dtype) for a, o in zip(y, self.outputs(x), strict=True))

    def __init__(self, name: str, field: Field, solver: Solver, adapter: Adapter) -> None:
        self.name = name
        self.field = field
        self.solver = solver
        self.adapter = adapter
        self._derived: dict[Any, Any] = {}

    def _tangent(self, places: Sequence[int]) -> "Path":
        """The path of ``(*y, *s)``, with tangents of the arrays of ``(*y, t, *p)`` at places."""
        key = "tangent", *places
        if key not in self._derived:
            field = TangentField(self.field, [i for i in places if i > self.field.states])
            made = Path(f"the pushforward of {self.name}", field, self.solver, self.adapter)
            self._derived.setdefault(key, made)
        found: Path = self._derived[key]
        return found

    def _with_tangents(self, x: Arrays, places: Sequence[int], dx: Sequence[Any]) -> Arrays:
        """What `_tangent` is a function of; ``dx`` are tangents for ``places``."""
        y, t, p = self.field.split(x)
        given = dict(zip(places, dx, strict=True))
        zeros_like = self.adapter.xp.zeros_like
        s = [given[i] if i in given else zeros_like(a) for i, a in enumerate(y)]
        dp = [d for i, d in given.items() if i > self.field.states]
        return *y, *s, t, *p, *dp


class Path(_Part):
    """``(*y0, t, *p) -> y`` at each of the times ``t``, with a leading axis for them."""

    def solved(self, x: Arrays) -> Arrays:
        y0, t, p = self.field.split(x)
        if len(t) == 1:
            return tuple(a[None] for a in y0)
        y, packing = self._solved(y0, t, p, t_eval=t)
        path = y.y.T
        path[0] = packing.pack(y0)
        return packing.unpack(path)

    def _solved(self, y0: Arrays, t: Any, p: Arrays, **options: Any) -> tuple[Any, Packing]:
        """The solution from the first of the times to the last."""
        check_times(t)
        packing = Packing(y0)

        def slope(at: float, y: Any) -> Any:
            return packing.pack(self.field.slope(packing.unpack(y), at, p))

        sizes = packing.spread(self.field.sizes((*y0, t, *p)))
        return self.solver.run(slope, t[0], t[-1], packing.pack(y0), sizes, **options), packing

    def dense(self, y0: Arrays, t: Any, p: Arrays) -> Callable[[float], Arrays]:
        """The state as a function of time."""
        found, packing = self._solved(y0, t, p, dense_output=True)
        return lambda at: packing.unpack(found.sol(at))

    def outputs(self, x: Arrays) -> list[Output]:
        times = described(self.adapter, x[self.field.states])[0]
        found = [described(self.adapter, a) for a in x[: self.field.states]]
        return [Output((*times, *shape), dtype) for shape, dtype in found]

    def save(self, active: Active, y: Arrays, x: Arrays) -> Arrays:
        return x

    def adjoint(self, places: Sequence[int]) -> "Adjoint":
        """``(*y0, t, *p, *dy) -> J^H dy`` for the arrays of x at ``places``."""
        key = "adjoint", *places
        if key not in self._derived:
            self._derived.setdefault(key, Adjoint(self, list(places)))
        found: Adjoint = self._derived[key]
        return found

    def puller(self, active: Active) -> Puller:
        places = self._checked(active)

        def pull(x: Arrays, dy: Arrays) -> tuple[Array | None, ...]:
            found = self.adapter.primitive(self.adjoint(places), (*x, *dy))
            return among(found, places, [None] * len(x))

        return pull

    def pusher(self, active: Active) -> Pusher:
        places = self._checked(active)

        def push(y: Arrays, x: Arrays, dx: Sequence[Array | None]) -> Arrays:
            given = self._with_tangents(x, places, [dx[i] for i in places])
            return self.adapter.primitive(self._tangent(places), given)[self.field.states :]

        return push

    def _checked(self, active: Active) -> list[int]:
        if self.field.states in active:
            raise NotDifferentiableError(
                "The times `t` of `odeint` are constant: mark them with `diffface.Const`. For "
                "derivatives with respect to the last one, solve for `t = T * s` with "
                "`lambda y, s, T: T * rhs(y, T * s)` from s = 0 to 1, and T as a parameter."
            )
        return sorted(active)


class Adjoint(_Part):
    """``(*y0, t, *p, *dy) -> J^H dy`` for the arrays of ``(*y0, t, *p)`` at ``places``."""

    def __init__(self, path: Path, places: list[int]) -> None:
        super().__init__(f"the pullback of {path.name}", path.field, path.solver, path.adapter)
        self._path = path
        self._places = places
        self._derived = path._derived
        self._programs: dict[int, Callable[[Arrays], Arrays]] = {}

    def _split(self, arrays: Sequence[Any]) -> tuple[Arrays, Arrays]:
        count = len(arrays) - self.field.states
        return tuple(arrays[:count]), tuple(arrays[count:])

    def outputs(self, x: Arrays) -> list[Output]:
        return [Output(*described(self.adapter, x[i])) for i in self._places]

    def save(self, active: Active, y: Arrays, x: Arrays) -> Arrays:
        return x

    def solved(self, arrays: Arrays) -> Arrays:
        x, dy = self._split(arrays)
        y0, t, _ = self.field.split(x)
        check_times(t)
        states = Packing(y0)
        cotangents = np.stack([states.pack(tuple(a[k] for a in dy)) for k in range(len(t))])
        moving = [i for i in self._places if i > self.field.states]
        whole = Packing((*y0, *(x[i] for i in moving)))
        z = np.zeros(whole.size, whole.dtype)
        z[: states.size] = cotangents[-1]
        last = len(t) - 1
        run: Callable[[float, float, Any], Any] | None = None
        for k in reversed(range(last)):
            # Where nothing is added to the adjoint, the solver goes on.
            if k == 0 or np.any(cotangents[k]):
                run = run or self._backwards(x, dy, whole, moving)
                z = run(t[last], t[k], z)
                z[: states.size] += cotangents[k]
                last = k
        found = dict(zip([*range(self.field.states), *moving], whole.unpack(z), strict=True))
        return tuple(found[i] for i in self._places)

    def _backwards(
        self, x: Arrays, dy: Arrays, whole: Packing, moving: list[int]
    ) -> Callable[[float, float, Any], Any]:
        """``(start, stop, z) -> z`` for ``dz/dt = -(df/dx)^H a``, where ``z = (*a, *g)``."""
        y0, t, p = self.field.split(x)
        path = self._path.dense(y0, t, p)
        places = [*range(self.field.states), *moving]
        transposed = self._programs.get(len(x))
        if transposed is None:
            transposed = self._programs[len(x)] = self.field.transposed(places, len(x))

        def slope(at: float, z: Any) -> Any:
            a = whole.unpack(z)[: self.field.states]
            return -whole.pack(transposed((*path(at), np.asarray(at), *p, *a)))

        sizes = self._sizes(x, dy, whole, moving)
        return lambda start, stop, z: self.solver.run(slope, start, stop, z, sizes).y[:, -1]

    def _sizes(self, x: Arrays, dy: Arrays, whole: Packing, moving: list[int]) -> Any:
        """How large adjoints are, by the sizes of the states and of the parameters."""
        of_states = self.field.sizes(x)
        size = (
            max(
                float(np.max(np.abs(d), initial=0.0)) * n
                for d, n in zip(dy, of_states, strict=True)
            )
            or 1.0
        )
        return whole.spread(
            [*(size / n for n in of_states), *(size / size_of(x[i]) for i in moving)]
        )

    # The derivative of J^H dy in the direction (s, ddy) is the adjoint of the path of (y, J s), for
    # cotangents (ddy, dy), with respect to y alone.

    def _of_tangent(self, wanted: Sequence[int], places: Sequence[int], count: int) -> Any:
        """That adjoint, for tangents at ``places``, with respect to the arrays at ``wanted``."""
        n = self.field.states
        return self._tangent(places).adjoint([i if i < n else i + n for i in wanted])

    def pusher(self, active: Active) -> Pusher:
        def push(y: Arrays, arrays: Arrays, tangents: Sequence[Array | None]) -> Arrays:
            x, dy = self._split(arrays)
            dx, ddy = self._split(tangents)
            zeros = self.adapter.xp.zeros_like
            ddy = tuple(zeros(a) if d is None else d for a, d in zip(dy, ddy, strict=True))
            places = [i for i, d in enumerate(dx) if d is not None]
            if not places:
                return self.adapter.primitive(self, (*x, *ddy))
            operation = self._of_tangent(self._places, places, len(x))
            given = self._with_tangents(x, places, [dx[i] for i in places])
            return self.adapter.primitive(operation, (*given, *ddy, *dy))

        return push

    def puller(self, active: Active) -> Puller:
        def pull(arrays: Arrays, w: Arrays) -> tuple[Array | None, ...]:
            x, dy = self._split(arrays)
            given = self._with_tangents(x, self._places, w)
            found: list[Array | None] = [None] * len(arrays)
            of_dy = [i for i in active if i >= len(x)]
            if of_dy:
                pushed = self.adapter.primitive(self._tangent(self._places), given)
                for i in of_dy:
                    found[i] = pushed[self.field.states + i - len(x)]
            wanted = sorted(i for i in active if i < len(x))
            if wanted:
                operation = self._of_tangent(wanted, self._places, len(x))
                zeros = map(self.adapter.xp.zeros_like, dy)
                dx = self.adapter.primitive(operation, (*given, *zeros, *dy))
                for i, d in zip(wanted, dx, strict=True):
                    found[i] = d
            return tuple(found)

        return pull


def _in_double(arrays: Arrays) -> Arrays:
    """NumPy arrays in the precision in which equations are solved."""
    wide = {"f": np.float64, "c": np.complex128}
    return tuple(np.asarray(a, wide.get(a.dtype.kind)) for a in map(np.asarray, arrays))
