"""A scenario at one point: its arguments as any arrays, and every answer, stated or derived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.const import Const, plain
from diffface.testing.closed_form.scenario import Scenario
from diffface.testing.trees import Tree, leaves, mapped, rebuild, wave


@dataclass(frozen=True, eq=False)
class Instance:
    """A scenario at one choice of its arguments.

    Parameters
    ----------
    scenario : Scenario
        The scenario.
    args : tuple
        Arguments, constants in ``Const``.
    kwargs : mapping
        Keywords.
    phase : float
        Makes the seeds of points differ.
    """

    scenario: Scenario
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    phase: float

    @property
    def plain(self) -> tuple[Any, ...]:
        """Arguments without ``Const``."""
        return plain(self.args)

    @property
    def active(self) -> tuple[int, ...]:
        """Positions of the active arguments, in the order of results."""
        n = self.scenario.argnums
        if n is None:
            return tuple(i for i, a in enumerate(self.args) if not isinstance(a, Const))
        return tuple(i % len(self.args) for i in ((n,) if isinstance(n, int) else n))

    @property
    def x(self) -> Tree:
        """The active arguments as results are structured."""
        bare = self.scenario.argnums is None or isinstance(self.scenario.argnums, int)
        chosen = tuple(self.plain[i] for i in self.active)
        return chosen[0] if bare and len(chosen) == 1 else chosen

    def given(self, name: str, *seeds: Tree) -> Tree:
        """The answer called ``name`` as the scenario states it."""
        found = getattr(self.scenario, name, None)
        return None if found is None else found(*seeds, *self.plain, **self.kwargs)

    def seeds(self, name: str, k: int = 0) -> Tree:
        """The ``k``-th tangents or cotangents for an operator, None where it takes none."""
        which = SEEDS.get(name)
        if which is None:
            return None
        own = getattr(self.scenario, which)
        if own is not None and k == 0:
            return own
        like = self.x if which == "tangents" else self.given("value")
        return mapped(lambda leaf: wave(leaf, self.phase + 3 * k), like)

    def answer(self, name: str, k: int = 0) -> Tree:
        """What ``name`` must return, None where it is not known or makes no sense."""
        seeds = self.seeds(name, k)
        stated = self.given(name, *(() if seeds is None else (seeds,)))
        return _DERIVED[name](self, seeds) if stated is None else stated

    def first(self) -> Tree:
        """The Jacobian, from whichever operator states it."""
        for name in ("jacobian", "gradient", "derivative"):
            if (stated := self.given(name)) is not None:
                return stated
        return None

    def second(self) -> Tree:
        """The Hessian, or the second derivative."""
        stated = self.given("hessian")
        return self.given("second_derivative") if stated is None else stated


def _is_number(tree: Tree) -> bool:
    return leaves(tree)[0] is tree and np.shape(tree) == ()


def _is_real(tree: Tree) -> bool:
    return not any(np.iscomplexobj(leaf) for leaf in leaves(tree))


def _jacobian(at: Instance, _: Tree) -> Tree:
    return at.first() if _is_real(at.x) or at.scenario.holomorphic else None


def _gradient(at: Instance, _: Tree) -> Tree:
    value = at.given("value")
    return at.first() if _is_number(value) and _is_real(value) else None


def _derivative(at: Instance, seeds: Tree) -> Tree:
    return _jacobian(at, seeds) if _is_number(at.x) else None


def _hessian(at: Instance, _: Tree) -> Tree:
    value = at.given("value")
    return at.second() if _is_number(value) and _is_real((value, at.x)) else None


def _second_derivative(at: Instance, _: Tree) -> Tree:
    return at.second() if _is_number(at.x) and _is_real(at.x) else None


def _hvp(at: Instance, tangents: Tree) -> Tree:
    hessian = _hessian(at, None)
    return None if hessian is None else _push(hessian, at.x, tangents)


def _pushforward(at: Instance, tangents: Tree) -> Tree:
    jacobian = _jacobian(at, None)
    return None if jacobian is None else _push(jacobian, at.given("value"), tangents)


def _pullback(at: Instance, cotangents: Tree) -> Tree:
    jacobian = _jacobian(at, None)
    if jacobian is None:
        return None
    flat = [np.conj(block) for block in leaves(jacobian)]
    columns = len(leaves(at.x))
    pulled = []
    for j, leaf in enumerate(leaves(at.x)):
        total = sum(
            np.tensordot(dy, block, axes=np.ndim(dy))
            for dy, block in zip(leaves(cotangents), flat[j::columns], strict=True)
        )
        pulled.append(_cast(total, leaf))
    return rebuild(at.x, pulled)


def _push(jacobian: Tree, y: Tree, dx: Tree) -> Tree:
    flat, tangents = leaves(jacobian), leaves(dx)
    pushed = []
    for k, leaf in enumerate(leaves(y)):
        row = flat[k * len(tangents) : (k + 1) * len(tangents)]
        total = sum(np.tensordot(b, v, axes=np.ndim(v)) for b, v in zip(row, tangents, strict=True))
        pushed.append(_cast(total, leaf))
    return rebuild(y, pushed)


def _cast(total: Any, like: Any) -> Any:
    dtype = np.asarray(like).dtype
    array = np.asarray(total)
    return (array if dtype.kind == "c" else array.real).astype(dtype)


_DERIVED = {
    "derivative": _derivative,
    "second_derivative": _second_derivative,
    "gradient": _gradient,
    "jacobian": _jacobian,
    "hessian": _hessian,
    "hvp": _hvp,
    "pushforward": _pushforward,
    "pullback": _pullback,
}
OPERATORS = tuple(_DERIVED)
SEEDS = {"hvp": "tangents", "pushforward": "tangents", "pullback": "cotangents"}


def points(scenario: Scenario) -> tuple[Instance, Instance]:
    """``args`` and ``other_args``, with everything known there."""
    kwargs = scenario.other_kwargs or scenario.kwargs
    here = Instance(scenario, scenario.args, scenario.kwargs, 0.0)
    return here, Instance(scenario, scenario.other_args, kwargs, 0.7)


def supported(scenario: Scenario) -> tuple[str, ...]:
    """The operators that have an answer."""
    here, _ = points(scenario)
    asked = OPERATORS if scenario.operators is None else scenario.operators
    return tuple(name for name in OPERATORS if name in asked and here.answer(name) is not None)


# Of NumPy and Python: what is left when no framework has a part in a call.
PLAIN = (PYTHON, NUMPY_SCALAR, NUMPY)


def converted(tree: Tree, kind: ArrayLibrary) -> Tree:
    """``tree`` with arrays of ``kind``, whatever is no floating-point array or number as it is.

    For NumPy, arrays stay themselves (their strides and flags are part of a scenario), and so do
    numbers; other kinds have arrays of shape () instead.
    """
    if kind is NUMPY:
        return tree
    return mapped(
        lambda leaf: kind.from_numpy(np.array(leaf, order="C"), None) if _counts(leaf) else leaf,
        tree,
    )


def arguments(point: Instance, kind: ArrayLibrary) -> tuple[Any, ...]:
    """The arguments of a point; constants that are Python numbers stay so."""
    seen: dict[int, Any] = {}
    result = []
    for i, argument in enumerate(point.args):
        value = argument.value if isinstance(argument, Const) else argument
        if i in point.active or not isinstance(value, float | complex):
            # The same array twice stays the same array twice.
            if id(value) not in seen:
                seen[id(value)] = converted(value, kind)
            value = seen[id(value)]
        result.append(Const(value) if isinstance(argument, Const) else value)
    return tuple(result)


def _counts(leaf: object) -> bool:
    return isinstance(leaf, float | complex | np.ndarray | np.number)


def kinds_of_y(point: Instance, args: Sequence[Any]) -> tuple[ArrayLibrary, ArrayLibrary]:
    """Kinds of what is like ``f``'s result: of arrays, and of shape ()."""
    values = plain(args)
    primals = [leaf for i in point.active for leaf in leaves(values[i])]
    rest = [leaf for i, a in enumerate(values) if i not in point.active for leaf in leaves(a)]
    for kind in map(library_of, primals + rest):
        if kind is not None and kind not in PLAIN:
            return kind, kind
    numbers = all(library_of(leaf) is PYTHON for leaf in primals)
    return NUMPY, PYTHON if numbers else NUMPY_SCALAR


def kinds_of_x(leaf: object) -> tuple[ArrayLibrary, ArrayLibrary]:
    """Kinds of what is like an argument's ``leaf``: with more axes, and of shape ()."""
    kind = library_of(leaf)
    assert kind is not None
    return (NUMPY if kind in PLAIN else kind), kind


def shape_class(scenario: Scenario) -> tuple[str, str]:
    """What ``f`` takes and returns: a number, vector, matrix or tree, empty or complex."""
    here, _ = points(scenario)
    return _shape(here.x), _shape(here.given("value"))


def _shape(tree: Tree) -> str:
    if leaves(tree)[0] is not tree:
        return "tree"
    array = np.asarray(tree)
    shape = ("number", "vector", "matrix", "tensor")[array.ndim] if array.size else "empty"
    return f"complex {shape}" if array.dtype.kind == "c" else shape
