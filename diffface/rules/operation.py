"""A call of a function with rules on flat arrays: its value, its rules, and who notes it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.backends.registry import evaluating, resolve
from diffface.backends.rule import Output, Rule
from diffface.prep.arguments.tree import RESULTS, Spec, flatten, unflatten
from diffface.rules.arguments import Arguments, followed

# Names of the arguments whose derivative is wanted.
Names = frozenset[str]

# The tree of a result that is one array.
_LEAF = flatten(0.0)[1]


@dataclass(frozen=True, slots=True)
class Derivative:
    """One rule, as the user wrote it.

    Attributes
    ----------
    compute : callable
        The user's function.
    black_box : bool
        Whether it is NumPy code, to be run on the host.
    takes_value : bool
        Whether it is a pushforward that also takes the result, before the arguments.
    """

    compute: Callable[..., Any]
    black_box: bool
    takes_value: bool = False


@dataclass(slots=True)
class Table:
    """The rules of one mode, by the set of arguments that they are for; None is for any."""

    rules: dict[Names | None, Derivative] = field(default_factory=dict)

    @property
    def on_host(self) -> bool:
        """Whether some rule is NumPy code."""
        return any(rule.black_box for rule in self.rules.values())

    def pick(self, active: Names) -> Derivative | None:
        """The rule of the smallest registered set that contains ``active``, else the general."""
        fitting = [names for names in self.rules if names is not None and active <= names]
        if fitting:
            return self.rules[min(fitting, key=len)]
        return self.rules.get(None)


class Ruled(Protocol):
    """What is asked here of a function with rules."""

    name: str
    black_box: bool
    elementwise: bool
    copy: bool
    shape: Callable[..., Any] | None
    pulls: Table
    pushes: Table
    saver: Callable[..., Any] | None

    def compute(self, args: Sequence[Any]) -> Any:
        """The function itself, at one value for each parameter."""


class Operation(Rule):
    """``function`` at ``arguments``, on flat arrays of the library of ``adapter``."""

    def __init__(self, function: Ruled, arguments: Arguments, adapter: Adapter) -> None:
        self.function = function
        self.arguments = arguments
        self.adapter = adapter
        self.name = function.name
        self.host = function.black_box
        self.elementwise = function.elementwise
        # Trees of results, and what their leaves look like, by the signature of the arrays.
        self._known: dict[Any, tuple[Spec, tuple[Output, ...]]] = {}

    def compute(self, x: Arrays) -> Any:
        """The function itself: what it returns for ``x``, as a tree."""
        return self.function.compute(
            self.arguments.filled([protected(a, self.function.copy) for a in x])
        )

    def evaluate(self, x: Arrays) -> Arrays:
        return self._results(self.compute(x), x)

    def outputs(self, x: Arrays) -> Sequence[Output]:
        return self._structure(x)[1]

    def tree(self, x: Arrays) -> Spec:
        """The tree of what ``f(x)`` is; only shapes and dtypes of ``x`` are looked at."""
        return self._structure(x)[0]

    def described(self, a: Array) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of an array of the library, or of NumPy."""
        return described(self.adapter, a)

    def _structure(self, x: Arrays) -> tuple[Spec, tuple[Output, ...]]:
        found = self._known.get(self._key(x))
        if found is None:
            self._results(self._example(x), x)
            found = self._known[self._key(x)]
        return found

    def _key(self, x: Arrays) -> Any:
        if not self.host:
            return None
        # What runs on the host is one operation for arrays of all signatures. Where a backend steps
        # into the complex plane, the function itself sees real numbers.
        found = tuple(map(self.described, x))
        if self.adapter is not evaluating.get():
            return found
        return tuple((shape, np.empty(0, dtype).real.dtype) for shape, dtype in found)

    def _results(self, returned: Any, x: Arrays) -> Arrays:
        """Leaves of what ``f(x)`` returned; their tree is noted."""
        alone = library_of(returned) is not None
        leaves, spec = ([returned], _LEAF) if alone else flatten(returned)
        y = tuple([self._lifted(leaf, x[0]) for leaf in leaves])
        found = spec, tuple(Output(*self.described(a)) for a in y)
        before = self._known.setdefault(self._key(x), found)
        if self.host and before != found:
            raise NotDifferentiableError(
                f"`{self.name}` returned {_shown(found[1])} where it returned {_shown(before[1])} "
                "for other arguments of the same shapes; a program cannot follow that."
            )
        return y

    def _lifted(self, leaf: object, like: Array) -> Array:
        try:
            array = np.asarray(leaf) if self.host else self.adapter.lift(leaf, like)
            if not self.host or array.dtype.kind in "biufc":
                return array
        except TypeError:
            pass
        raise NotDifferentiableError(
            f"`{self.name}` must return arrays or numbers, or trees of them, got "
            f"{type(leaf).__name__}."
        )

    def _example(self, x: Arrays) -> Any:
        """What ``f`` returns, by what the user says, or else at made-up arguments."""
        made_up = tuple(np.ones(*self.described(a)) for a in x)
        if self.function.shape is not None:
            return self.function.shape(*self.arguments.filled(made_up))
        try:
            with np.errstate(all="ignore"):
                return self.compute(made_up)
        except Exception as error:
            raise NotDifferentiableError(
                f"`{self.name}` runs on the host, and while values are hidden it is not known what "
                f"it returns: at arguments full of ones it failed with {type(error).__name__}: "
                f"{error}. Say it by `shape=`, a function of the arguments that returns arrays "
                "like the results."
            ) from error


def described(adapter: Adapter, a: Array) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array of ``adapter``'s library, or of NumPy.

    A compiler's sizes that may vary are fixed by that: what runs on the host is asked for each.
    """
    if isinstance(a, np.ndarray | np.generic):
        return a.shape, a.dtype
    shape, dtype = adapter.arrays.describe(a)[:2]
    return tuple(map(int, shape)), dtype


def protected(array: Any, copy: bool) -> Any:
    """``array`` as a function may have it that perhaps writes to it."""
    if copy:
        return copied(array)
    return _read_only(array) if _is_numpy(array) else followed(array)


def own(tree: Any, copy: bool) -> Any:
    """``tree`` for a rule to work on, which may be called again for other directions.

    Its containers are new, and arrays of NumPy are protected. Those of other libraries cannot be
    written to, or tell that they were.
    """
    leaves, spec = flatten(tree, RESULTS)
    # What rules save may be masked.
    for_rule: Callable[[Any], Any] = partial(np.array, subok=True) if copy else _read_only
    return unflatten(spec, [for_rule(leaf) if _is_numpy(leaf) else leaf for leaf in leaves])


def _is_numpy(array: Any) -> bool:
    # Recorded arrays say that they are, and lie.
    return issubclass(type(array), np.ndarray)


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def numpy_adapter() -> Adapter:
    """Who computes with rules on NumPy arrays, where no framework does."""
    return resolve("numpy").first_order()


def copied(array: Any) -> Any:
    """A copy of ``array``, which carries its derivative, where somebody can write to it."""
    if issubclass(type(array), np.ndarray):
        return np.array(array)
    array = followed(array)
    clone = getattr(array, "clone", None)
    return array if clone is None else clone()


def _shown(outputs: Sequence[Output]) -> str:
    return ", ".join(f"{o.dtype.name} {o.shape}" for o in outputs) or "nothing"


# Functions with rules, and one value for each of their parameters.
Calls = list[tuple[Any, tuple[Any, ...]]]

# Where to note them; None as long as nobody wants to know.
notes: ContextVar[Calls | None] = ContextVar("notes", default=None)


@contextmanager
def noted_calls() -> Iterator[Calls]:
    """The calls that are made inside, in order."""
    calls: Calls = []
    token = notes.set(calls)
    try:
        yield calls
    finally:
        notes.reset(token)
