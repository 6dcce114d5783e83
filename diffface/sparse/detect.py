"""Detection: the pattern of a derivative, traced, probed or given."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import CannotRecord, InvalidArgumentError, SparsityError
from diffface.backends.recording.user_frame import users_line
from diffface.prep.flat_function import OutputStructure
from diffface.prep.plan import Plan
from diffface.sparse.pattern import Sparsity, scipy_sparse

# A flat vector of primals, shape (n,), to the flat vector that is differentiated, shape (m,).
Flat = Callable[[Any], Any]


class Subject:
    """What is differentiated: ``f``, or its gradient, at one point.

    Parameters
    ----------
    plan : Plan
        How it would be derived densely.
    f : callable
        The user's function.
    primals, constants : sequence of leaves
        Where.
    """

    def __init__(self, plan: Plan, f: Callable[..., Any], primals: Any, constants: Any) -> None:
        self.plan = plan
        self.f = f
        # To the inner backend: it is its programs that are read.
        self.x, self.constants = plan.to_backend(primals, constants)
        inner, outer = plan.inner.arrays, plan.outer.arrays
        if inner is not outer:
            self.x = tuple(inner.from_numpy(outer.to_numpy(a), plan.device) for a in self.x)
        self.trace = OutputStructure()
        self.order = plan.operator.order

    def program(self, *inputs: Array) -> Arrays:
        """``f`` on the leaves of its primals and constants."""
        x, constants = inputs[: len(self.x)], inputs[len(self.x) :]
        return self.plan.flat(self.f, constants, self.trace)(x)[0]

    def inputs(self) -> list[Any]:
        """Shape, dtype and device of each primal."""
        kind = self.plan.inner.arrays
        return [kind.describe(a) for a in self.x]

    def outputs(self) -> list[Any]:
        """The same for what is differentiated."""
        if self.order == 2:
            return self.inputs()
        if not self.trace.y_leaves:
            self.program(*map(self.plan.inner.arrays.fresh, self.x), *self.constants)
        return list(self.trace.y_leaves)

    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        sizes = [sum(int(np.prod(d[0], dtype=int)) for d in leaves)
                 for leaves in (self.outputs(), self.inputs())]  # fmt: skip
        return sizes[0], sizes[1]

    def flat(self, x: Any) -> Any:
        """What is differentiated at another point, on flat vectors of NumPy."""
        inner, leaves, start = self.plan.inner, [], 0
        for shape, dtype, device in self.inputs():
            n = int(np.prod(shape, dtype=int))
            part = x[start : start + n].reshape(shape).astype(dtype)
            leaves.append(inner.arrays.from_numpy(part, device))
            start += n
        f = self.plan.flat(self.f, self.constants, self.trace)
        if self.order == 2:
            y = inner.gradient(f, tuple(leaves), value=False)[1]
        else:
            y = f(tuple(leaves))[0]
        return np.concatenate([np.reshape(inner.arrays.to_numpy(a), -1) for a in y] or [x[:0]])


def find(given: Any, subject: Subject) -> Sparsity:
    """The pattern that ``sparsity=`` asks for.

    Raises
    ------
    InvalidArgumentError
        If it is no pattern, or does not have the shape of the derivative.
    SparsityError
        If it cannot be traced, or would be dense and large.
    """
    scipy_sparse()
    if isinstance(given, str):
        if given not in ("trace", "probe"):
            Sparsity.of(given)
        return _traced(subject) if given == "trace" else _probed(subject)
    pattern, shape = Sparsity.of(given), subject.shape()
    if pattern.shape != shape:
        raise InvalidArgumentError(
            f"`sparsity` must have the shape of the matrix, {shape}, got {pattern.shape}: one row "
            "for each element that is differentiated, one column for each element of the active "
            "arguments."
        )
    return pattern.symmetric() if subject.order == 2 else pattern


def _traced(subject: Subject) -> Sparsity:
    inner = subject.plan.inner
    examples = (*subject.x, *subject.constants)
    try:
        found = inner.dependence(subject.program, examples, len(subject.x), subject.order)
    except CannotRecord as error:
        from diffface.backends.recording.report import dense

        cause = error.__cause__
        line = users_line(error) or (users_line(cause) if cause else "")
        line = line or (f", at {error.line}" if error.line else "")
        found = dense(*subject.shape(), f"f, which cannot be recorded ({error.reason})", line)
    entries = found.matrix.tocoo()
    rows, cols = entries.coords
    pattern = Sparsity(found.matrix.shape, rows, cols, found.dense)
    return pattern.symmetric() if subject.order == 2 else pattern


def _probed(subject: Subject) -> Sparsity:
    from diffface.sparse.probe import probe

    kind = subject.plan.inner.arrays
    x = [np.reshape(kind.to_numpy(a), -1) for a in subject.x]
    adapter = subject.plan.outer

    def f(point: Any) -> Any:
        return subject.flat(*adapter.inside((point,)))

    matrix = probe(f, np.concatenate(x))
    entries = matrix.tocoo()
    pattern = Sparsity(matrix.shape, *entries.coords)
    return pattern.symmetric() if subject.order == 2 else pattern


def lacking(row: int, expected: Any, found: Any, full: bool, *, traced: bool) -> SparsityError:
    """The error for a pattern that is too small, or that only a symmetric Hessian has."""
    values = (
        f"the derivative along a random direction is {expected:.6g} there, and {found:.6g} by the "
        "pattern."
    )
    if full:
        return SparsityError(
            f"The Hessian is not symmetric in row {row}: {values} Of sparse ones the lower "
            "triangle is computed; where a rule in `f` is no true derivative, leave `sparsity` out."
        )
    if traced:
        return SparsityError(
            f"The pattern that was traced lacks an entry in row {row}: {values} Rules in `f` that "
            "are no true derivatives (of a straight-through estimator, say) are not always "
            "followed; give a pattern with what they add, or leave `sparsity` out."
        )
    return SparsityError(
        f"The pattern lacks an entry in row {row}: {values} Use sparsity='trace' for one that "
        "holds at every point, or add what is missing."
    )
