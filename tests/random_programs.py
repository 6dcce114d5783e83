"""Random programs: portable functions of trees of arrays, made of steps that a seed draws.

They draw what people rarely write: options under which a function does nothing, empty arrays and
arrays of size 1, constants of odd types, containers of all kinds, operators inside.
"""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import diffface as dif

Array = Any
Pair = namedtuple("Pair", ["first", "second"])  # noqa: PYI024 - the class is what is tested

# What a constant may be; each means the same number to NumPy.
CONSTANTS: tuple[Callable[[float], Any], ...] = (
    float,
    np.float64,
    np.float32,
    np.asarray,
    lambda c: round(4 * c),
    lambda c: np.int64(round(4 * c)),
    lambda c: bool(c > 0),
    lambda c: np.array([c]),
)
CONTAINERS: tuple[Callable[[Array, Array], Any], ...] = (
    lambda a, b: (a, b),
    lambda a, b: [a, b],
    lambda a, b: {"b": b, "a": a},
    lambda a, b: {"a": a, "b": b},
    lambda a, b: OrderedDict(z=a, y=b),
    Pair,
    lambda a, b: {"nested": ([a], {"x": (b,)}), "nothing": None},
)


class Step(NamedTuple):
    """One operation on earlier values, and how it is written."""

    text: str
    call: Callable[[Any, list[Array]], Array]


class RandomProgram:
    """A function ``f(tree)`` of a random structure, with an example of its argument.

    Parameters
    ----------
    seed : int
        Equal seeds give equal programs.
    length : int
        Number of steps.
    alike : bool
        Whether both arrays of the example have the same shape.

    Attributes
    ----------
    example : tree of arrays
        Float64, of sizes 0 to 6.
    smooth : bool
        Whether no step has a kink.
    """

    def __init__(self, seed: int, length: int = 6, alike: bool = False) -> None:
        self._rng = np.random.default_rng(seed)
        self.smooth = True
        self._steps: list[Step] = []
        shape = self._pick(((3,), (1,), (2, 3), (1, 3), (3, 1), (2, 1), (), (0,)))
        other = self._pick((shape, shape, shape if alike else ()))
        arrays = [self._array(shape), self._array(other)]
        self.example = self._pick(CONTAINERS)(*arrays)
        values = _leaves(self.example)
        while len(self._steps) < length:
            self._add(values)

    def __repr__(self) -> str:
        shapes = [np.shape(leaf) for leaf in _leaves(self.example)]
        lines = [f"v{i + len(shapes)} = {step.text}" for i, step in enumerate(self._steps)]
        return "\n".join([f"{type(self.example).__name__} of {shapes}", *lines])

    def vector(self, tree: Any) -> Array:
        """Return all values of the program in a row, shape ``(n,)``."""
        values = _leaves(tree)
        xp = dif.namespace(*values)
        for step in self._steps:
            values.append(step.call(xp, values))
        return xp.concat([xp.reshape(v * 1.0, (-1,)) for v in values[-4:]])

    def scalar(self, tree: Any) -> Array:
        """Return a number that depends on all values."""
        y = self.vector(tree)
        xp = dif.namespace(y)
        return xp.sum(xp.sin(y) + 0.25 * y * y)

    def nested(self, tree: Any) -> Array:
        """Return a number that depends on a gradient at all values."""
        y = self.vector(tree)
        xp = dif.namespace(y)
        return xp.sum(y * dif.gradient(lambda z: xp.sum(xp.sin(z) * z), y))

    def shuffled(self, tree: Any) -> Any:
        """Return the same tree with the keys of its dicts in another order."""
        if isinstance(tree, dict):
            return type(tree)((k, self.shuffled(tree[k])) for k in reversed(tree))
        return tree

    def random_like(self, tree: Any, scale: float = 1.0) -> Any:
        """Return random numbers in the structure and shapes of `tree`."""
        return _map(lambda a: np.asarray(scale * self._rng.standard_normal(np.shape(a))), tree)

    def _add(self, values: list[Array]) -> None:
        names = [*UNARY, *UNARY, *BINARY, *(MATRIX if np.ndim(values[-1]) == 2 else ())]
        name = self._pick(names)
        i = len(values) - 1 if self._rng.random() < 0.6 else int(self._rng.integers(len(values)))
        j = int(self._rng.integers(len(values)))
        step = {**UNARY, **BINARY, **MATRIX}[name](self, i, j, values)
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(step.call(np, values))
        except (ValueError, IndexError, RuntimeWarning):  # the shapes do not fit
            return
        if value.size > 64 or not np.isfinite(value).all() or value.ndim > 3:
            return
        if np.abs(value).max(initial=0) > 4:
            inner = step.call
            step = Step(f"sin({step.text})", lambda xp, v: xp.sin(inner(xp, v)))
        self._steps.append(step)
        values.append(np.asarray(step.call(np, values)))

    def _array(self, shape: tuple[int, ...]) -> Array:
        return np.asarray(self._rng.uniform(0.3, 1.7, shape))

    def _pick(self, options: Any) -> Any:
        return options[int(self._rng.integers(len(options)))]

    def constant(self) -> Any:
        """Return a number of a random type."""
        return self._pick(CONSTANTS)(float(np.round(self._rng.uniform(0.5, 1.5), 3)))

    def axis(self, ndim: int) -> Any:
        """Return axes of an array: one, some, none at all, or all."""
        return self._pick([None, (), *range(-ndim, ndim), tuple(range(ndim))])

    def integer(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return int(self._rng.integers(low, high + 1))


# Steps; each is made of the program, places of two values, and the values


def _elementwise(name: str, outer: Callable[[Any, Array], Array]) -> Any:
    return lambda p, i, j, values: Step(f"{name}(v{i})", lambda xp, v: outer(xp, v[i]))


def _reduction(name: str) -> Any:
    def make(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
        axis, keep = p.axis(np.ndim(values[i])), bool(p.integer(0, 1))
        p.smooth &= name not in ("max", "min")
        return Step(
            f"{name}(v{i}, axis={axis}, keepdims={keep})",
            lambda xp, v: getattr(xp, name)(v[i], axis=axis, keepdims=keep),
        )

    return make


def _along(name: str, option: str, low: int, high: int) -> Any:
    def make(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
        if not np.ndim(values[i]):  # there is no axis to go along, but for NumPy
            return _reshaped(p, i, j, values)
        axis, n = p.integer(-1, max(np.ndim(values[i]) - 1, 0)), p.integer(low, high)
        return Step(
            f"{name}(v{i}, {option}={n}, axis={axis})",
            lambda xp, v: getattr(xp, name)(v[i], **{option: n}, axis=axis),
        )

    return make


def _sliced(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    start, stop = p.integer(0, 2), p.integer(0, 4)
    step = p.integer(1, 2)
    return Step(f"v{i}[{start}:{stop}:{step}]", lambda xp, v: v[i][start:stop:step])


def _element(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    place = p.integer(-1, 0)
    return Step(f"v{i}[{place}]", lambda xp, v: v[i][place])


def _reshaped(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    shape = [(-1,), np.shape(values[i]), (1, -1), (-1, 1)][p.integer(0, 3)]
    return Step(f"reshape(v{i}, {shape})", lambda xp, v: xp.reshape(v[i], shape))


def _taken(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    if not np.ndim(values[i]):  # there is no axis to take along, but for NumPy
        return _reshaped(p, i, j, values)
    where = [0] * p.integer(0, 3)
    indices = np.asarray(where, dtype=int)
    return Step(
        f"take(v{i}, {where}, axis=0)",
        lambda xp, v: xp.take(v[i], xp.asarray(indices), axis=0),
    )


def _clipped(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    p.smooth = False
    return Step(f"clip(v{i}, -9, 0.9)", lambda xp, v: xp.clip(v[i], -9.0, 0.9))


def _chosen(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
    p.smooth = False
    return Step(f"where(v{i} > 0.7, v{i}, v{j})", lambda xp, v: xp.where(v[i] > 0.7, v[i], v[j]))


def _with_constant(symbol: str, apply: Callable[[Array, Any], Array]) -> Any:
    def make(p: RandomProgram, i: int, j: int, values: list[Array]) -> Step:
        c = p.constant()
        plain = not isinstance(c, np.ndarray)
        # An array is made one of the library's own, as its users would.
        return Step(
            f"v{i} {symbol} {c!r}",
            lambda xp, v: apply(v[i], c if plain else xp.asarray(c)),
        )

    return make


UNARY: dict[str, Any] = {
    "sin": _elementwise("sin", lambda xp, x: xp.sin(x)),
    "tanh": _elementwise("tanh", lambda xp, x: xp.tanh(x)),
    "exp": _elementwise("exp", lambda xp, x: xp.exp(x)),
    "log": _elementwise("log1p square", lambda xp, x: xp.log1p(x * x)),
    "sqrt": _elementwise("sqrt of 1 + square", lambda xp, x: xp.sqrt(1.0 + x * x)),
    "power": _elementwise("power 3", lambda xp, x: x**3),
    "power 0": _elementwise("power 0", lambda xp, x: x**0),
    "square root of exp": _elementwise("exp / 2", lambda xp, x: xp.exp(x / 2) ** 1),
    "negative": _elementwise("negative", lambda xp, x: -x),
    "itself": _elementwise("itself", lambda xp, x: x),
    "zeros": _elementwise("zeros_like", lambda xp, x: x + xp.zeros_like(x)),
    "sum": _reduction("sum"),
    "mean": _reduction("mean"),
    "prod": _reduction("prod"),
    "max": _reduction("max"),
    "diff": _along("diff", "n", 0, 2),
    "roll": _along("roll", "shift", -2, 2),
    "slice": _sliced,
    "element": _element,
    "reshape": _reshaped,
    "take": _taken,
    "clip": _clipped,
    "flip": _elementwise("flip", lambda xp, x: xp.flip(x)),
    "add a constant": _with_constant("+", lambda x, c: x + c),
    "multiply by a constant": _with_constant("*", lambda x, c: c * x),
    # torch subtracts no truth values.
    "subtract from a constant": _with_constant("-", lambda x, c: (c + 0 if c is True else c) - x),
    "divide by a constant": _with_constant("/", lambda x, c: x / (c + 1)),
}
BINARY: dict[str, Any] = {
    "add": lambda p, i, j, v: Step(f"v{i} + v{j}", lambda xp, v: v[i] + v[j]),
    "multiply": lambda p, i, j, v: Step(f"v{i} * v{j}", lambda xp, v: v[i] * v[j]),
    "subtract": lambda p, i, j, v: Step(f"v{i} - v{j}", lambda xp, v: v[i] - v[j]),
    "divide": lambda p, i, j, v: Step(
        f"v{i} / (1 + v{j}^2)", lambda xp, v: v[i] / (1.0 + v[j] * v[j])
    ),
    "where": _chosen,
    "concat": lambda p, i, j, v: Step(
        f"concat([v{i}, v{j}])", lambda xp, v: xp.concat([v[i], v[j]], axis=0)
    ),
    "concat one": lambda p, i, j, v: Step(f"concat([v{i}])", lambda xp, v: xp.concat([v[i]])),
    "stack": lambda p, i, j, v: Step(f"stack([v{i}, v{i}])", lambda xp, v: xp.stack([v[i], v[i]])),
}
MATRIX: dict[str, Any] = {
    "transpose": lambda p, i, j, v: Step(f"v{i}^T", lambda xp, v: xp.permute_dims(v[i], (1, 0))),
    "gram": lambda p, i, j, v: Step(
        f"v{i} v{i}^T", lambda xp, v: xp.matmul(v[i], xp.permute_dims(v[i], (1, 0)))
    ),
}


def _leaves(tree: Any) -> list[Array]:
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in _leaves(tree[key])]
    if isinstance(tree, tuple | list):
        return [leaf for item in tree for leaf in _leaves(item)]
    return [] if tree is None else [tree]


def _map(change: Callable[[Array], Array], tree: Any) -> Any:
    if isinstance(tree, dict):
        return type(tree)((key, _map(change, tree[key])) for key in tree)
    if isinstance(tree, tuple | list):
        items = [_map(change, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return None if tree is None else change(tree)


leaves, tree_map = _leaves, _map
