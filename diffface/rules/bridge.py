"""Functions of one framework as functions of every other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Arrays
from diffface.backends.libraries import library_of
from diffface.backends.registry import Backend, resolve
from diffface.backends.rule import Active, Puller, Pusher
from diffface.operators.value import prepare_value
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.rules.arguments import Arguments
from diffface.rules.bridged import BridgedOperation, Inner, constants_marked
from diffface.rules.custom_rule import CustomRule
from diffface.rules.operation import Operation


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
