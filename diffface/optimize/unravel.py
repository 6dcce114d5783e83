"""The way back from a flat vector to a tree of arrays."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.optimize.structure import Structure
from diffface.prep.arguments.signature import Leaf
from diffface.prep.arguments.tree import SORTED, flatten
from diffface.prep.carry import carries
from diffface.prep.portable import Shape


class Unravel:
    """``unravel(x)``: the tree that a flat vector stands for; made by :func:`diffface.ravel`.

    Attributes
    ----------
    size : int
        Length ``n`` of the vector.
    dtype : numpy.dtype
        The common dtype of the leaves.
    """

    __slots__ = ("__weakref__", "_adapter", "_leaves", "_slices", "dtype", "size", "structure")

    def __init__(self, structure: Structure, leaves: Sequence[Leaf], adapter: Adapter) -> None:
        self.structure = structure
        self._leaves = tuple(leaves)
        self._adapter = adapter
        ends = np.cumsum([0, *(int(np.prod(leaf.shape)) for leaf in leaves)]).tolist()
        self._slices = tuple(map(slice, ends[:-1], ends[1:]))
        self.size: int = ends[-1]
        self.dtype = np.result_type(*(leaf.dtype for leaf in leaves)) if leaves else np.dtype(float)

    def __reduce__(self) -> tuple[Any, ...]:
        # optree's structures go by what a process has met.
        return _unravel, (self.structure.marked(list(map(Shape, self._leaves))), self._adapter)

    def __repr__(self) -> str:
        return f"<unravel vectors of {self.size} into {self._described()}>"

    def __call__(self, x: Any) -> Any:
        """The tree at ``x``: a fresh one in the user's kinds of arrays, shapes and dtypes.

        Parameters
        ----------
        x : array of shape (n,)
            Of NumPy; of any other library (a JAX tracer, say, or a tensor), and of complex numbers,
            the leaves are parts of ``x`` itself, so that a function of a flat vector, which is
            differentiated, may call this.
        """
        if carries(x):
            self.check_shape(x, "x")
            return self.split(x)
        x = self.checked(x)
        return self.structure.tree([_own(x[at], leaf) for at, leaf in self._pairs()])

    def by(self, adapter: Adapter) -> "Unravel":
        """The same with the trees that another adapter knows."""
        return Unravel(self.structure, self._leaves, adapter)

    def batch(self, x: Any) -> Any:
        """The tree of arrays with a leading axis of length k, for ``x`` of shape (k, n).

        Raises
        ------
        InvalidArgumentError
            If ``x`` has another shape.
        """
        self.check_samples(x)
        shapes = [(len(x), *leaf.shape) for leaf in self._leaves]
        return self.structure.tree(
            [
                _own(x[:, at], leaf._replace(shape=shape))
                for (at, leaf), shape in zip(self._pairs(), shapes, strict=True)
            ]
        )

    def check_samples(self, x: Any) -> None:
        """Refuse what is not of shape (k, n)."""
        if np.shape(x)[1:] != (self.size,):
            raise InvalidArgumentError(
                f"samples must be of shape (k, {self.size}), one in each row, got {np.shape(x)}; "
                f"several chains become one by reshape(-1, {self.size})."
            )

    def split(self, x: Any) -> Any:
        """The tree of the parts of ``x``, an array of any library that can be differentiated.

        Where ``x`` is of shape (..., n), each part has the axes in front, too.
        """
        if len(x.shape) == 1:
            parts = [_part(x, at, leaf.shape) for at, leaf in self._pairs()]
        else:
            parts = self.parts(x)
        return self.structure.beside(x, parts)

    def example(self, x: Any) -> Any:
        """The tree at ``x`` with its constants in ``Const``: what another `Unravel` is made of."""
        return self.structure.marked([_own(x[at], leaf) for at, leaf in self._pairs()])

    def join(self, leaves: Sequence[Any]) -> Any:
        """The flat float64 vector of the ``leaves`` of a tree; a fresh copy."""
        x = np.empty(self.size)
        for (at, leaf), value in zip(self._pairs(), leaves, strict=True):
            x[at] = np.asarray(leaf.library.to_numpy(value)).reshape(-1)
        return x

    def ravel(self, tree: Any) -> Any:
        """The flat float64 vector, shape (n,), of a tree of the same structure and shapes.

        Raises
        ------
        InvalidArgumentError
            If structure or shapes differ.
        """
        own = self.structure.spec
        values, spec = ([tree], None) if own is None else flatten(tree, SORTED)
        values = self.structure.active(values)
        shapes = [np.shape(value) for value in values]
        if spec != own or shapes != self.shapes:
            raise InvalidArgumentError(
                "`tree` must have the structure and shapes of the parameters, "
                f"{self._described()}, got {spec or 'a leaf'} of shapes {shapes}."
            )
        return self.join(values)

    def checked(self, x: Any, name: str = "x") -> Any:
        """``x`` as a float64 vector of the right length; errors call it ``name``.

        Raises
        ------
        InvalidArgumentError
            If it is complex, or of another shape.
        """
        x = np.asarray(x)
        self.check_shape(x, name)
        return self._floating(x)

    def check_shape(self, x: Any, name: str) -> None:
        """Refuse what is not of shape (n,); the error calls it ``name``."""
        shape = tuple(np.shape(x))
        if shape != (self.size,):
            raise InvalidArgumentError(
                f"`{name}` must be a vector of shape ({self.size},), got shape {shape}; "
                "use `x0`, or `ravel` of a tree of parameters."
            )

    def checked_points(self, x: Any) -> Any:
        """Many of them, shape (k, n), likewise."""
        x = np.asarray(x)
        if x.shape[1:] != (self.size,):
            raise InvalidArgumentError(
                f"`x` must be a vector of shape ({self.size},), or many of shape (k, {self.size}), "
                f"got shape {x.shape}."
            )
        return self._floating(x)

    def _floating(self, x: Any) -> Any:
        if x.dtype.kind == "c":
            raise InvalidArgumentError(
                "`x` must be real, got complex128; for complex steps (jac='cs') there is "
                "backend='complex-step'."
            )
        return x if x.dtype == np.float64 else x.astype(np.float64)

    def bounds(self, lower: Any = None, upper: Any = None) -> Any:
        """``scipy.optimize.Bounds`` from bounds in the structure of the parameters.

        Parameters
        ----------
        lower, upper : tree, number or None
            A tree like the parameters with, for each leaf, an array of its shape, a number for all
            of it, or None where there is no bound; or a number (or None) for all.

        Raises
        ------
        InvalidArgumentError
            If one does not fit the parameters, is nan, or if they leave nothing between them.
        """
        from scipy.optimize import Bounds

        lb, ub = self._bound(lower, -np.inf, "lower"), self._bound(upper, np.inf, "upper")
        if not np.all(lb <= ub):
            raise InvalidArgumentError(
                f"`lower` must not be above `upper`, and neither may be nan, got {lb} and {ub}."
            )
        return Bounds(lb, ub)

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, which takes the parameters as a tree, as a callback for SciPy.

        A parameter called ``intermediate_result`` gets SciPy's ``OptimizeResult``, with its ``x``
        as a tree.
        """
        if list(signature(function).parameters) == ["intermediate_result"]:

            def with_result(intermediate_result: Any) -> Any:
                fields = {**intermediate_result, "x": self(intermediate_result.x)}
                return function(intermediate_result=type(intermediate_result)(fields))

            return with_result

        def with_x(x: Any, *rest: Any) -> Any:
            return function(self(x), *rest)

        return with_x

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each leaf."""
        return [leaf.shape for leaf in self._leaves]

    def parts(self, x: Any) -> list[Any]:
        """The leaves of ``x``, shape (..., n), as arrays of shape ``(..., *own)``."""
        return [x[..., at].reshape((*x.shape[:-1], *leaf.shape)) for at, leaf in self._pairs()]

    def entries(self, given: Any, name: str) -> list[Any]:
        """What ``given`` says of each leaf: a tree like the parameters, or one entry for all.

        Raises
        ------
        InvalidArgumentError
            If it has another structure; calls it ``name``.
        """
        number = library_of(given) is not None and np.ndim(given) == 0
        if self.structure.spec is None or given is None or number:
            return [given] * len(self._leaves)
        try:
            return self.structure.leaves(given)
        except ValueError as error:
            raise InvalidArgumentError(
                f"`{name}` must have the structure of the parameters, {self._described()}, "
                f"or be one number: {error}"
            ) from None

    def with_shapes(self, shapes: Sequence[tuple[int, ...]]) -> "Unravel":
        """The same structure with leaves of other shapes."""
        leaves = [leaf._replace(shape=shape)
                  for leaf, shape in zip(self._leaves, shapes, strict=True)]  # fmt: skip
        return Unravel(self.structure, leaves, self._adapter)

    def _pairs(self) -> Any:
        return zip(self._slices, self._leaves, strict=True)

    def _bound(self, given: Any, default: float, name: str) -> Any:
        x = np.full(self.size, default)
        entries = self.entries(given, name)
        for (at, leaf), entry in zip(self._pairs(), entries, strict=True):
            if entry is not None:
                kind = library_of(entry)
                try:
                    bound = np.asarray(entry if kind is None else kind.to_numpy(entry), float)
                    x[at] = np.broadcast_to(bound, leaf.shape).reshape(-1)
                except ValueError:
                    raise InvalidArgumentError(
                        f"`{name}` must fit a parameter of shape {leaf.shape}, got {entry!r}."
                    ) from None
        return x

    def _described(self) -> str:
        return f"{self.structure} of shapes {self.shapes}"


def _part(x: Any, at: slice, shape: tuple[int, ...]) -> Any:
    if shape == ():
        return x[at.start]
    part = x[at]
    return part if len(shape) == 1 else part.reshape(shape)


def _own(part: Any, leaf: Leaf) -> Any:
    fresh = np.array(part.reshape(leaf.shape), leaf.dtype)
    return leaf.library.from_numpy(fresh, leaf.device)


def _unravel(tree: Any, adapter: Adapter) -> Unravel:
    structure, leaves = Structure.of(tree, bare=isinstance(tree, Shape))
    return Unravel(structure, [each.leaf for each in leaves.values()], adapter)
