"""The user's function on flat tuples of arrays."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.bfloat16 import kind_of
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY, PYTHON
from diffface.backends.recording.user_frame import raised_by_user, users_line
from diffface.prep.arguments.signature import Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import RESULTS, Spec, flatten, unflatten
from diffface.prep.operator import Settings

# Who evaluates the function that is running, on arrays of its own: what is prepared and called in
# there gets those for the arrays that it was prepared with.
evaluated_by: ContextVar[Adapter | None] = ContextVar("evaluated_by", default=None)

# Shape, dtype and device.
_Described = tuple[Any, Any, Any]


class OutputStructure:
    """What one evaluation showed of ``f``'s results: their trees, and what is not an array."""

    y: Spec | None = None
    y_leaves: Sequence[_Described] = ()
    aux: Spec | None = None
    # Static leaves of aux as they are; None where an array goes, and the type of a Python number
    # that goes as an array.
    aux_leaves: Sequence[Static | type | None] = ()
    # Of each array in aux, whether it may depend on active arguments.
    aux_depends: Sequence[bool] = ()
    # How many arrays each part of the result has.
    counts: Sequence[int] = ()
    # Which outputs of a derivation nobody else holds, so that they need no copy.
    filled: range = range(0)
    # The type of the NumPy number that f returned before: it needs no second look.
    seen: type | None = None

    def aux_arrays(self) -> int:
        """How many arrays aux has."""
        return sum(not isinstance(leaf, Static) for leaf in self.aux_leaves)


class FlatFunction:
    """``f`` as an adapter wants it: ``x -> (y, aux)``, constants bound, outputs arrays."""

    __slots__ = (
        "_constants", "_has_aux", "_holomorphic", "_names", "_noted", "_places", "_scalar",
        "_signature", "_simple", "_structure", "_values", "adapter", "f",
    )  # fmt: skip

    def __init__(
        self, f: Callable[..., Any], signature: Signature, constants: Arrays, adapter: Adapter,
        structure: OutputStructure, settings: Settings, scalar: bool,
    ) -> None:  # fmt: skip
        self.f = f
        self.adapter = adapter
        self._signature = signature
        self._structure = structure
        self._has_aux = settings.has_aux
        self._holomorphic = settings.holomorphic
        self._scalar = scalar
        self._noted = False
        places = signature.places
        simple = len(places) == 1 == len(signature.arguments) and places[0].active is None
        self._values = [None] if simple else signature.values(constants)
        # Every evaluation gets containers of its own, since `f` may write to them.
        self._constants = constants if not simple and signature.has_containers else None
        self._places = places
        self._names = signature.keywords
        # One array is all there is.
        self._simple = simple and places[0].spec is None and not self._names

    def __call__(self, x: Arrays) -> tuple[Arrays, Arrays]:
        args, named = (x, {}) if self._simple else self.arguments(x)
        token = evaluated_by.set(self.adapter)
        try:
            returned = self.f(*args, **named)
        except Exception as error:
            hint = None if raised_by_user(error) else self.adapter.explain(error)
            if hint is None:
                raise
            raise NotDifferentiableError(
                f"`f` cannot be differentiated: {hint}{users_line(error)}. Take the functions "
                "from `xp = diffface.namespace(x)` instead, or from the framework itself."
            ) from error
        finally:
            evaluated_by.reset(token)
        return self.taken(returned, x) if self._has_aux else (self._value(returned, x[0]), ())

    def arguments(self, x: Arrays) -> tuple[list[Any], dict[str, Any]]:
        """What ``f`` is called with at ``x``."""
        if self._constants is None:
            args = self._values.copy()
        else:
            args = self._signature.values(self._constants)
        for place in self._places:
            i, spec, start, stop, active = place
            if spec is None:
                args[i] = x[start]
            else:
                leaves = x[start:stop] if active is None else place.leaves(x, args[i])
                args[i] = unflatten(spec, leaves)
        if not self._names:
            return args, {}
        count = len(args) - len(self._names)
        return args[:count], dict(zip(self._names, args[count:], strict=True))

    def taken(self, returned: Any, x: Arrays) -> tuple[Arrays, Arrays]:
        """``(y, aux)`` from what ``f`` returned at ``x``."""
        if not self._has_aux:
            return self._value(returned, x[0]), ()
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise NotDifferentiableError(
                "`f` must return a pair (value, aux) because of has_aux=True, got "
                f"{self._shown(returned, x[0])}; return a pair, or leave has_aux out."
            )
        return self._value(returned[0], x[0]), self._auxiliary(returned[1], x[0])

    def _shown(self, returned: object, like: Array) -> str:
        if isinstance(returned, tuple):
            return f"a tuple of {len(returned)}"
        try:
            self.adapter.lift(returned, like)
        except TypeError:
            return type(returned).__name__
        return "one array"

    @property
    def direct(self) -> Callable[[Array], Any] | None:
        """``f`` itself as a function of one array that returns a number, if it is one."""
        if not self._scalar or self._has_aux or self._names or len(self._places) != 1:
            return None
        if self._constants is not None:
            return None
        ((place, spec, *_),) = self._places
        if spec is not None:
            return None
        if len(self._values) == 1:
            return self.f
        before, after = self._values[:place], self._values[place + 1 :]
        return lambda array: self.f(*before, array, *after)

    def _value(self, value: object, like: Array) -> Arrays:
        adapter, structure = self.adapter, self._structure
        if type(value) is structure.seen:
            return (value,)
        structure.seen = None
        try:
            array = adapter.lift(value, like)
        except TypeError:
            leaves, structure.y = flatten(value, RESULTS)
            y = tuple([self._lifted(leaf, like) for leaf in leaves or [value]])
        else:
            y, structure.y = (array,), None
            described = adapter.arrays.describe(array)
            usual = described[0] == () and described[1].kind == "f"
            if usual and adapter.reverse and not self._holomorphic:
                # The usual case by far, and nothing is wrong with it.
                structure.y_leaves = (described,)
                return y
        found = [adapter.arrays.describe(a) for a in y]
        # At once, since threads that call a prepared callable share it.
        structure.y_leaves = found if adapter.reverse else self._at_point(found, like)
        self._check(value)
        if isinstance(value, np.generic) and not adapter.reverse:
            structure.seen = type(value)
        return y

    def _at_point(self, leaves: list[_Described], like: Array) -> list[_Described]:
        """What ``leaves`` of ``y`` are at the arguments that were given.

        A backend without a reverse mode may step into the complex plane, or add a leading axis to
        evaluate a batch of points; that is not the function's doing.
        """
        primal = self._signature.primals[0]
        shape, dtype, _ = self.adapter.arrays.describe(like)
        batch = len(shape) - len(primal.shape)
        if not batch and (dtype.kind == "c") == (primal.dtype.kind == "c"):
            return leaves
        return [(s[batch:], np.empty(0, d).real.dtype, device) for s, d, device in leaves]

    def _check(self, value: object) -> None:
        bare, leaves = self._structure.y is None, self._structure.y_leaves
        if self._scalar and not (bare and leaves[0][0] == ()):
            found = f"shape {leaves[0][0]}" if bare else type(value).__name__
            raise NotDifferentiableError(
                f"`f` must return a real scalar (shape ()), got {found}; sum it up, "
                "or use `jacobian`, `pushforward` or `pullback`."
            )
        for _, dtype, _ in leaves:
            if kind_of(dtype) not in "fc":
                raise NotDifferentiableError(
                    f"`f` must return floating-point numbers, got {dtype.name}; convert them, or "
                    "return them as aux with has_aux=True."
                )
            if self._holomorphic and dtype.kind != "c":
                raise NotDifferentiableError(
                    "`f` must return complex numbers because of holomorphic=True, got "
                    f"{dtype.name}; leave holomorphic out."
                )
            if self._scalar and dtype.kind == "c":
                raise NotDifferentiableError(
                    f"`f` must return a real scalar, got {dtype.name}; return its real part or "
                    "its absolute value, or use `jacobian` or `derivative` with holomorphic=True."
                )

    def _lifted(self, leaf: object, like: Array) -> Array:
        try:
            return self.adapter.lift(leaf, like)
        except TypeError:
            raise NotDifferentiableError(_why_unfit(leaf)) from None

    def _auxiliary(self, aux: object, like: Array) -> Arrays:
        leaves, self._structure.aux = flatten(aux, RESULTS)
        arrays: list[Array] = []
        static: list[Static | type | None] = []
        # What is evaluated elsewhere, too, has other numbers there, which nothing records.
        varying = not self.adapter.reverse and self.adapter.arrays is NUMPY
        for leaf in leaves:
            if library_of(leaf) is PYTHON:
                array = _number(leaf) if varying else None
                static.append(Static(leaf) if array is None else type(leaf))
            else:
                array = self._lifted_if_array(leaf, like)
                static.append(Static(leaf) if array is None else None)
            if array is not None:
                arrays.append(array)
        if not self._noted:  # where it is evaluated first is where the caller asks
            self._structure.aux_depends = [*map(self.adapter.arrays.depends, arrays)]
            self._structure.aux_leaves, self._noted = static, True
        return tuple(arrays)

    def _lifted_if_array(self, leaf: object, like: Array) -> Array | None:
        try:
            return self.adapter.lift(leaf, like)
        except TypeError:
            return None


def _why_unfit(leaf: object) -> str:
    """What a function returned that is no array of the backend's, and what to do."""
    library = library_of(leaf)
    if library is not None and library.backend:
        return (
            f"`f` returned {library.noun}, which is of another backend; pass "
            f"backend={library.backend!r}, or take the functions from `xp = diffface.namespace(x)`."
        )
    return (
        "`f` must return arrays or numbers, or trees of them, got "
        f"{type(leaf).__name__}; did you forget to return the result?"
    )


def _number(value: Any) -> Array | None:
    """A Python number as an array of its own dtype, if there is one."""
    array = np.asarray(value)
    return None if array.dtype.hasobject else array
