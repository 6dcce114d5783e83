"""Constrained parameters, and a log density of them, as functions of vectors without constraints.

Samplers move in all of R^n. A density of constrained parameters x = t(u) is there the density
p(t(u)) |det dt/du|, whose second factor each transform gives as a logarithm.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, final

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.namespace import namespace
from diffface.optimize.ravel import ravel_with
from diffface.optimize.unravel import Unravel
from diffface.prep.carry import carries


class Transform(ABC):
    """A smooth map from vectors without constraints onto the allowed values of one leaf."""

    @abstractmethod
    def constrain(self, u: Any, xp: Any) -> tuple[Any, Any]:
        """``(t(u), terms)`` by the functions of ``xp``; ``log |det dt/du|`` is the sum of terms.

        The terms have the shape of ``t(u)``, and so have both of many points.
        """

    @abstractmethod
    def free(self, x: Any) -> Any:
        """``u`` with ``t(u) = x``, both NumPy arrays.

        Raises
        ------
        InvalidArgumentError
            If ``x`` is not allowed, or lies on the edge of what is.
        """


@final
@dataclass(frozen=True)
class Positive(Transform):
    """``x = exp(u)``, whose log-Jacobian is the sum of ``u``."""

    def constrain(self, u: Any, xp: Any) -> tuple[Any, Any]:
        return xp.exp(u), u

    def free(self, x: Any) -> Any:
        if not np.all(x > 0):
            raise InvalidArgumentError(f"a positive parameter must be greater than 0, got {x}.")
        return np.log(x)


@final
@dataclass(frozen=True)
class Interval(Transform):
    """``x = lower + (upper - lower) (1 + tanh(u / 2)) / 2``, a scaled logistic function.

    Its derivative is ``(upper - lower) / (2 cosh(u / 2))**2``.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lower) and np.isfinite(self.upper) and self.lower < self.upper):
            raise InvalidArgumentError(
                f"an interval needs finite bounds, lower < upper, got {self.lower} and "
                f"{self.upper}; for one bound, shift a positive parameter in your function."
            )

    def constrain(self, u: Any, xp: Any) -> tuple[Any, Any]:
        width = self.upper - self.lower
        x = self.lower + width * (0.5 + 0.5 * xp.tanh(0.5 * u))
        # Analytic, where the usual forms with abs(u) have no second derivative at 0.
        return x, log(width) - 2 * xp.log(2 * xp.cosh(0.5 * u))

    def free(self, x: Any) -> Any:
        if not np.all((self.lower < x) & (x < self.upper)):
            raise InvalidArgumentError(
                f"a parameter must lie between {self.lower} and {self.upper}, got {x}."
            )
        return np.log(x - self.lower) - np.log(self.upper - x)


@final
@dataclass(frozen=True)
class Simplex(Transform):
    """Positive numbers along the last axis whose sum is 1, by additive log-ratios.

    ``x = exp([u, 0]) / sum(exp([u, 0]))``, with the determinant ``prod(x)`` (J. Aitchison, The
    Statistical Analysis of Compositional Data, 1986, section 6.4).
    """

    def constrain(self, u: Any, xp: Any) -> tuple[Any, Any]:
        parts = xp.concat([u, xp.zeros_like(u[..., :1])], axis=-1)
        log_x = parts - xp.log(xp.sum(xp.exp(parts), axis=-1, keepdims=True))
        return xp.exp(log_x), log_x

    def free(self, x: Any) -> Any:
        if np.shape(x)[-1:] < (2,):
            raise InvalidArgumentError(
                f"a simplex needs a last axis of 2 elements or more, got the shape {np.shape(x)}."
            )
        if not (np.all(x > 0) and np.allclose(np.sum(x, axis=-1), 1)):
            raise InvalidArgumentError(
                f"parameters on a simplex must be positive and have the sum 1, got {x}."
            )
        return np.log(x[..., :-1]) - np.log(x[..., -1:])


positive = Positive()
simplex = Simplex()


def interval(lower: float, upper: float) -> Interval:
    """Parameters between two bounds, for ``log_density(transforms=...)``.

    Parameters
    ----------
    lower, upper : float
        Finite, ``lower < upper``; both are excluded.

    Returns
    -------
    Interval
        The logistic function, scaled.

    Raises
    ------
    InvalidArgumentError
        If the bounds are not two finite numbers in this order.
    """
    for bound in (lower, upper):
        if np.ndim(bound):
            raise InvalidArgumentError(
                f"bounds of an interval are numbers, got {bound!r}; make a leaf for each interval."
            )
    return Interval(float(lower), float(upper))


class Constrained:
    """``u -> log density at t(u) + log |det dt/du|``, where ``u`` is a tree like the parameters.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, the log density of the parameters.
    transforms : sequence of Transform or None
        One for each leaf of ``x`` that is not constant; None leaves it as it is.
    free : Unravel
        The structure of ``u``, and how many axes its leaves have.
    """

    def __init__(
        self, f: Callable[..., Any], transforms: Sequence[Transform | None], free: Unravel
    ) -> None:
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self._f = f
        self._transforms = transforms
        self._structure = free.structure
        self._axes = [tuple(range(-len(shape), 0)) for shape in free.shapes]

    def __call__(self, u: Any, /, *args: Any, **kwargs: Any) -> Any:
        x, added = [], []
        leaves = self._structure.leaves(u)
        for leaf, transform, axes in zip(leaves, self._transforms, self._axes, strict=True):
            if transform is None:
                x.append(leaf)
                continue
            xp = namespace(leaf)
            value, terms = transform.constrain(leaf, xp)
            x.append(value)
            # Of many points, each has a sum of its own.
            added.append(xp.sum(terms, axis=axes) if axes else terms)
        y = self._f(self._structure.replaced(u, x), *args, **kwargs)
        return sum(added, y)


class Parameters:
    """From a vector without constraints to the tree of parameters, which obey theirs.

    Attributes
    ----------
    size : int
        Length of the vector.
    start : tree
        The parameters that it was made with, without constraints.
    """

    def __init__(self, tree: Any, adapter: Adapter, transforms: Any) -> None:
        x, self._constrained = ravel_with(tree, adapter, "x0")
        all_parts = self._constrained.parts(x)
        if isinstance(transforms, Transform):
            entries = [transforms] * len(all_parts)
        else:
            entries = self._constrained.entries(transforms, "transforms")
        self.transforms = [_checked(entry) for entry in entries]
        pairs = zip(all_parts, self.transforms, strict=True)
        parts = [part if transform is None else transform.free(part) for part, transform in pairs]
        self._free = self._constrained.with_shapes([np.shape(part) for part in parts])
        self.size = self._free.size
        self.start = self._free.example(np.concatenate([np.ravel(part) for part in parts]))

    def __repr__(self) -> str:
        return f"<parameters of {self.size} numbers without constraints, by {self.transforms}>"

    def __call__(self, u: Any) -> Any:
        """The parameters at ``u``, shape (n,), in the user's kinds of arrays.

        Of a ``u`` that is differentiated or traced they are arrays of that kind.
        """
        if carries(u):
            self._free.check_shape(u, "u")
            return self._constrained.structure.beside(u, self._values(u, namespace(u)))
        return self._constrained(self._join(self._free.checked(u)))

    @property
    def free(self) -> Unravel:
        """The way from ``u`` to its tree, without constraints."""
        return self._free

    def batch(self, u: Any) -> Any:
        """The same with a leading axis of length k, for ``u`` of shape (k, n)."""
        self._free.check_samples(u)
        return self._constrained.batch(self._join(u))

    def _join(self, u: Any) -> Any:
        values = [np.reshape(value, (*u.shape[:-1], -1)) for value in self._values(u, np)]
        return np.concatenate(values, axis=-1)

    def _values(self, u: Any, xp: Any) -> list[Any]:
        """The leaves at ``u``, shape (..., n), which obey their constraints."""
        return [
            part if transform is None else transform.constrain(part, xp)[0]
            for part, transform in zip(self._free.parts(u), self.transforms, strict=True)
        ]


def _checked(entry: Any) -> Transform | None:
    if entry is not None and not isinstance(entry, Transform):
        raise InvalidArgumentError(
            "`transforms` must be diffface.positive, diffface.interval(lower, upper), "
            f"diffface.simplex or None for each leaf, got {entry!r}."
        )
    return entry
