"""Functions of one framework as functions of every other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.libraries import library_of
from diffface.backends.registry import Backend, resolve
from diffface.backends.rule import Active, Output, Puller, Pusher, Rule, among
from diffface.operators.call import prepare_value
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.rules.arguments import Arguments
from diffface.rules.custom_rule import CustomRule
from diffface.rules.operation import Operation, described

Flat = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Inner:
    """A function on flat arrays of the backend that it was written for.

    Attributes
    ----------
    value : callable
        The function.
    again : callable
        The same, so computed that it can be differentiated: where that is by differences of
        differences, they take other steps.
    adapter, stacked : Adapter
        Who differentiates ``again``, and who does for what is differentiated once more.
    """

    value: Flat
    again: Flat
    adapter: Adapter
    stacked: Adapter

    @cached_property
    def program(self) -> Callable[..., Arrays]:
        """``value`` on NumPy arrays, compiled for each signature when it first comes."""
        return prepare_value(lambda *x: self.value(x), backend=self.adapter)

    def derivative(self, of: Callable[[Adapter, Flat], Flat]) -> "Inner":
        """What an adapter makes of ``again``."""
        outer, stacked = self.adapter.second_order()
        return Inner(of(self.adapter, self.again), of(self.stacked, self.again), outer, stacked)


class BridgedOperation(Rule):
    """``inner`` as an operation of ``adapter``.

    Its derivatives are bridged as well, and so on: there are all that the inner backend has.
    """

    host = True
    fresh = True

    def __init__(
        self, name: str, inner: Inner, adapter: Adapter,
        outputs: Callable[[Arrays], Sequence[Output]],
    ) -> None:  # fmt: skip
        self.name = name
        self._inner = inner
        self._adapter = adapter
        self._outputs = outputs
        self._derivatives: dict[Any, BridgedOperation] = {}

    def evaluate(self, x: Arrays) -> Arrays:
        return self._inner.program(*constants_marked(x))

    def outputs(self, x: Arrays) -> Sequence[Output]:
        return self._outputs(x)

    def save(self, active: Active, y: Arrays, x: Arrays) -> Arrays:
        return x

    def puller(self, active: Active) -> Puller:
        places = sorted(active)

        def outputs(arrays: Arrays) -> list[Output]:
            return [Output(*described(self._adapter, arrays[i])) for i in places]

        def pull(saved: Any, dy: Arrays) -> tuple[Array | None, ...]:
            operation = self._derivative("pullback", active, outputs, len(saved))
            found = self._adapter.primitive(operation, (*saved, *dy))
            return among(found, places, [None] * len(saved))

        return pull

    def pusher(self, active: Active) -> Pusher:
        places = sorted(active)

        def push(y: Arrays, x: Arrays, dx: Sequence[Array | None]) -> Arrays:
            count = len(x)
            operation = self._derivative(
                "pushforward", active, lambda arrays: self._outputs(arrays[:count]), count
            )
            return self._adapter.primitive(operation, (*x, *(dx[i] for i in places)))

        return push

    def _derivative(
        self, mode: str, active: Active, outputs: Callable[[Arrays], Sequence[Output]], count: int
    ) -> "BridgedOperation":
        # Kept, since compiled programs refer to it.
        key = mode, active
        if key not in self._derivatives:
            of = pulled if mode == "pullback" else pushed
            inner = self._inner.derivative(lambda a, f: of(a, f, sorted(active), count))
            name = f"the {mode} of {self.name}"
            self._derivatives.setdefault(key, BridgedOperation(name, inner, self._adapter, outputs))
        return self._derivatives[key]


def constants_marked(x: Arrays) -> list[Any]:
    """NumPy arrays as a preparation takes them: what has no derivative is a constant."""
    return [a if a.dtype.kind in "fc" else Const(a) for a in map(np.asarray, x)]


def pulled(adapter: Adapter, f: Flat, places: list[int], count: int) -> Flat:
    """``(*x, *dy) -> J^H dy`` for the arrays of x at ``places``."""

    def pull(arrays: Arrays) -> Arrays:
        x, dy = arrays[:count], arrays[count:]
        of_active = lambda moving: (f(among(moving, places, x)), ())
        return adapter.pullback(of_active, tuple(x[i] for i in places))[1](dy)

    return pull


def pushed(adapter: Adapter, f: Flat, places: list[int], count: int) -> Flat:
    """``(*x, *dx) -> J dx``, with tangents for the arrays of x at ``places``."""

    def push(arrays: Arrays) -> Arrays:
        x, dx = arrays[:count], arrays[count:]
        of_active = lambda moving: (f(among(moving, places, x)), ())
        return adapter.pushforward(of_active, tuple(x[i] for i in places), dx)[1]

    return push


class Bridge(CustomRule):
    """A function of one framework, callable from every other; see `diffface.bridge`.

    Attributes
    ----------
    backend : backend object
        The backend that computes it and its derivatives.
    """

    def __init__(
        self, f: Callable[..., Any], backend: str | Backend, shape: Callable[..., Any] | None
    ) -> None:
        super().__init__(f, black_box=True, copy=False, shape=shape)
        self.backend = resolve(backend)

    def __repr__(self) -> str:
        return f"<bridge to {self.name}{self.signature} by {self.backend!r}>"

    def _needs_a_primitive(self, adapter: Adapter | None) -> bool:
        # In its own framework it is a function like any other.
        return type(adapter) is not type(self.backend.first_order())

    def _of_constants(self, values: Sequence[Any]) -> Any:
        leaves, spec = flatten(self.compute(values))
        return unflatten(spec, map(_as_numpy, leaves))

    def _make(self, arguments: Arguments, adapter: Adapter) -> Operation:
        return _BridgedCall(self, arguments, adapter)


class _BridgedCall(Operation):
    """One call: trees become flat arrays, and those an operation of the outer backend."""

    fresh = True

    def __init__(self, function: Bridge, arguments: Arguments, adapter: Adapter) -> None:
        super().__init__(function, arguments, adapter)
        self._backend = function.backend.first_order()
        self._program = prepare_value(self._of_arrays, backend=self._backend)
        _, stacked = function.backend.second_order()
        inner = Inner(self._flat, self._flat, self._backend, stacked)
        self._bridged = BridgedOperation(f"`{self.name}`", inner, adapter, self.outputs)

    def _of_arrays(self, *x: Any) -> Any:
        return self.function.compute(self.arguments.filled(x))

    def _flat(self, x: Arrays) -> Arrays:
        leaves, _ = flatten(self._of_arrays(*x))
        return tuple(self._backend.lift(leaf, x[0]) for leaf in leaves)

    def compute(self, x: Arrays) -> Any:
        return self._program(*constants_marked(x))

    def save(self, active: Active, y: Arrays, x: Arrays) -> Any:
        return self._bridged.save(active, y, x)

    def puller(self, active: Active) -> Puller:
        return self._bridged.puller(active)

    def pusher(self, active: Active) -> Pusher:
        return self._bridged.pusher(active)


def _as_numpy(leaf: Any) -> Any:
    library = library_of(leaf)
    return leaf if library is None else np.asarray(library.to_numpy(leaf))


def bridge(
    f: Callable[..., Any], /, backend: str | Backend, *, shape: Callable[..., Any] | None = None
) -> Bridge:
    """Make a function of one framework, or a black box, one of every other.

    The result takes NumPy arrays and arrays of any framework, and returns the same kind. Inside a
    function that another framework differentiates, compiles or batches, it is one operation, whose
    derivatives are those that ``backend`` computes: in both modes and of any order, custom rules of
    that framework included. In its own framework it is ``f``.

    Parameters
    ----------
    f : callable
        A function written for ``backend``; any NumPy code for ``"numpy"`` (finite differences).
        Its arguments are arrays, trees of them and static objects, its results floating-point
        arrays or trees of them.
    backend : str or backend object
        Who computes ``f`` and its derivatives.
    shape : callable, optional
        Takes the arguments (arrays of ones) and returns arrays like the results. By default ``f``
        is evaluated once where a program is compiled and values are hidden.

    Returns
    -------
    Bridge
        The function. It is compiled for each signature when it first comes; values that ``f``
        captures are frozen then, as with ``jax.jit``: what changes is an argument. It keeps what it
        compiled, so make it once, not at every call.

    Raises
    ------
    UnknownBackendError, BackendNotAvailableError
        If there is no such backend.
    NotDifferentiableError
        At a call, if ``backend`` cannot differentiate ``f``.

    Notes
    -----
    Arrays pass through the memory of the host, in their own precision whatever a framework's flags
    say. Under ``jax.vmap`` and ``torch.vmap`` the function is called once for each element.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> import jax.numpy as jnp
    >>> f = dif.bridge(lambda x: jnp.sum(jnp.sin(x)), backend="jax")
    >>> dif.gradient(lambda x: f(2.0 * x), np.zeros(2), backend="torch")
    array([2., 2.])
    """
    return Bridge(f, backend, shape)
