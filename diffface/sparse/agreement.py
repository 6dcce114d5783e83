"""Whether the entries of a pattern are all there are: one random direction tells."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.compiled import Arrays
from diffface.backends.errors import MissingRuleError
from diffface.backends.libraries import library_of
from diffface.operators.calculus import gradient_function
from diffface.prep.arguments.signature import Leaf, Signature
from diffface.prep.arguments.tree import unflatten
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Point
from diffface.prep.plan import Plan
from diffface.sparse.detect import lacking

# How many times as much as the sum of its halves a derivative may differ from what the entries say.
_ROUNDED = 30


class Check:
    """Compares a derivative along a random direction with what its entries say.

    Parameters
    ----------
    plan : Plan
        How it would be derived densely.
    f : callable
        The user's function.
    rows, cols : array of int, shape (nnz,)
        Where the entries are, in their order.
    evaluate : callable
        ``evaluate(primals, constants)`` computes the entries anew.
    traced : bool
        Whether the pattern was traced.
    """

    def __init__(
        self, plan: Plan, f: Callable[..., Any], rows: Any, cols: Any,
        evaluate: Callable[[Any, Any], Any], traced: bool,
    ) -> None:  # fmt: skip
        self._plan, self._f, self._rows, self._cols = plan, f, rows, cols
        self._evaluate, self._traced = evaluate, traced

    def __call__(self, entries: Any, primals: Any, constants: Any) -> None:
        """Raise if they differ.

        Raises
        ------
        SparsityError
            The pattern is too small, or a Hessian is not symmetric.
        """
        found = self._disagreement(entries, primals, constants)
        if found is not None and self._plan.outer.black_box:
            # Differences say nothing where `f` has a kink; hardly any point nearby has one.
            primals = self.moved(primals)
            found = self._disagreement(self._evaluate(primals, constants), primals, constants)
        elif found is not None:
            # Compiled functions of lower precision on the way are rounded otherwise.
            eager = self._evaluate(primals, constants)
            if _are_close(entries, eager):
                found = self._disagreement(eager, primals, constants)
        if found is not None:
            raise lacking(*found, traced=self._traced)

    def _disagreement(self, entries: Any, primals: Any, constants: Any) -> Any:
        return disagreement(
            self._plan, self._f, primals, constants, self._rows, self._cols, entries
        )

    def moved(self, primals: Any) -> list[Any]:
        """Primals a little elsewhere."""
        leaves = self._plan.signature.primals
        moved = self._plan.outer.inside(tuple(map(nearby, leaves, primals)))
        pairs = zip(leaves, moved, strict=True)
        return [leaf.library.from_numpy(a, leaf.device) for leaf, a in pairs]


def disagreement(
    plan: Plan, f: Callable[..., Any], primals: Any, constants: Any, rows: Any, cols: Any,
    entries: Any,
) -> tuple[int, Any, Any, bool] | None:  # fmt: skip
    """The row where ``J v`` differs most from what the entries say, and both values there.

    The last says whether the row has every entry. None where they agree up to rounding. Rows that
    are not finite say nothing.
    """
    adapter = plan.outer
    with plan.inner.scope(plan.dtypes):
        x, c = plan.to_backend(primals, constants)
        seeds = _direction(adapter, x)
        point = Point(
            plan.flat(f, c, OutputStructure()), x, tuple, plan.inner, adapter, plan.settings,
            False,
        )  # fmt: skip
        g = gradient_function(point) if plan.operator.order == 2 else point.f
        try:
            y, dy, moves, _ = adapter.compressed(g, x, seeds, value=True)
        except MissingRuleError:  # for pushforwards: there is no J v
            return _by_pullback(plan, g, x, rows, cols, entries)
        expected = _flat(adapter, dy)
        v = _flat(adapter, seeds)
        noise = 0.0
        if moves is not None:
            v = v * _flat(adapter, moves)
            # What rounding leaves of a difference; those of differences are rounded twice.
            sizes = np.abs(_flat(adapter, y))
            rounding = np.finfo(sizes.dtype).eps ** (0.75 if plan.operator.order == 1 else 0.45)
            noise = float(rounding * np.max(sizes[np.isfinite(sizes)], initial=0.0))

        def halves() -> Any:
            parts = (_direction(adapter, x, part) for part in (0, 1))
            pushed = (adapter.compressed(g, x, part, value=True)[1] for part in parts)
            return sum(_flat(adapter, dy) for dy in pushed)

        sums = _Sums(rows, cols, _plain(entries), v, expected)
        return _worst(sums, plan.operator.order, noise, halves)


def _by_pullback(
    plan: Plan, g: Any, x: Arrays, rows: Any, cols: Any, entries: Any
) -> tuple[int, Any, Any, bool] | None:
    """The same along a random cotangent; the row is then the one that the worst column needs."""
    adapter = plan.outer
    y, pull, _ = adapter.pullback(g, x)
    plain = np.conj if plan.settings.holomorphic else np.asarray

    def along(part: int | None = None) -> tuple[Any, Any]:
        dy = tuple(a[0] for a in _direction(adapter, y, part))
        return plain(_flat(adapter, dy)), plain(_flat(adapter, pull(dy)))

    sums = _Sums(cols, rows, _plain(entries), *along())
    return _worst(sums, plan.operator.order, 0.0, lambda: along(0)[1] + along(1)[1])


class _Sums:
    """A derivative along a direction, and what the entries say it is.

    Attributes
    ----------
    expected, found : ndarray
        The two.
    sizes : ndarray
        The sums of the sizes of terms.
    full : ndarray of bool
        Which rows have every entry.
    """

    def __init__(self, rows: Any, cols: Any, entries: Any, v: Any, expected: Any) -> None:
        terms, count = entries * v[cols], len(expected)
        self.v, self.expected = v, expected
        self.found = np.zeros(expected.shape, np.result_type(terms, expected))
        np.add.at(self.found, rows, terms)
        self.sizes = np.bincount(rows, np.abs(terms), count) if len(rows) else self.found.real
        self.full = np.bincount(rows, minlength=count) == len(v)


def _worst(
    sums: _Sums, order: int, noise: float, halves: Callable[[], Any]
) -> tuple[int, Any, Any, bool] | None:
    """The row that differs most; ``halves()`` is the derivative in two parts of the direction."""
    expected, sizes = sums.expected, sums.sizes
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(sums.found - expected)
        scale = max(_largest(sizes), _largest(expected))
        single = np.finfo(np.result_type(expected, sums.v, np.float32)).eps
        loose, floor = (1e-2, 1e-3) if noise else (single**0.4, single**0.7)
        # A row that has every entry lacks none, but a Hessian's may be mirrored without right.
        maybe = ~sums.full | (order == 2)
        wrong = maybe & (apart > loose * sizes + floor * scale + noise)
        if wrong.any() and not noise:
            # Numbers of lower precision on the way are rounded more: how far from linear is it?
            rounded = np.abs(halves() - expected) / np.maximum(sizes, np.abs(expected))
            wrong &= apart > _ROUNDED * _largest(rounded) * np.maximum(sizes, np.abs(expected))
    if not wrong.any():
        return None
    row = int(np.argmax(np.where(wrong, apart, 0)))
    return row, expected[row], sums.found[row], bool(sums.full[row])


def _largest(numbers: Any) -> float:
    """The size of the largest finite one."""
    return float(np.max(np.abs(numbers[np.isfinite(numbers)]), initial=0.0))


def _direction(adapter: Any, like: Arrays, part: int | None = None) -> Arrays:
    """Numbers of both signs, none of them near zero, as a batch of one; or every second of them."""
    found = []
    for n, a in enumerate(like):
        shape, dtype, device = adapter.arrays.describe(a)
        random = np.random.default_rng(n + 1)
        v = random.uniform(0.5, 1.0, (1, *shape)) * random.choice([-1.0, 1.0], (1, *shape))
        if part is not None:
            v = v * (random.integers(2, size=v.shape) == part)
        found.append(adapter.arrays.from_numpy(v.astype(dtype), device))
    return tuple(found)


def _are_close(entries: Any, others: Any) -> bool:
    found, expected = _plain(entries), _plain(others)
    size = 1e-3 * _largest(expected)
    return np.allclose(found, expected, rtol=1e-3, atol=size, equal_nan=True)


def _plain(array: Any) -> Any:
    kind = library_of(array)
    assert kind is not None
    return kind.to_numpy(array)


def _flat(adapter: Any, arrays: Arrays) -> Any:
    return np.concatenate([np.reshape(adapter.arrays.to_numpy(a), -1) for a in arrays])


def rebuilt(signature: Signature, args: Sequence[Any], primals: Sequence[Any]) -> list[Any]:
    """``args`` with other primals."""
    found = list(args)
    for place in signature.places:
        if place.spec is None:
            found[place.position] = primals[place.start]
            continue
        mixed = place.active is not None
        own: Any = place.spec.flatten_up_to(args[place.position]) if mixed else None
        found[place.position] = unflatten(place.spec, place.leaves(primals, own))
    return found


def nearby(leaf: Leaf, array: Any) -> Any:
    """The array a little elsewhere, as one of NumPy."""
    plain = np.asarray(leaf.library.to_numpy(array))
    move = np.random.default_rng(0).uniform(0.01, 0.02, plain.shape) * np.maximum(1, np.abs(plain))
    return (plain + move).astype(plain.dtype)
