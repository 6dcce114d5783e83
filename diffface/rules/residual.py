"""A residual at a solution: its derivatives, and linear systems with them."""

from collections.abc import Callable, Sequence
from inspect import Signature
from typing import Any

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.generic import is_complex
from diffface.backends.namespace import namespace
from diffface.backends.registry import computing, owner_of, resolve
from diffface.operators.calculus import jacobian
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.prep.operator import Mode, Point, Settings
from diffface.rules.arguments import ignored, moves, parts, passed_on, signature_of
from diffface.rules.custom_rule import custom_rule

LinearSolve = Callable[[Callable[[Array], Array], Array], Array]


class Residual:
    """The residual at a solution, as a function of ``x`` and of the active parameters."""

    def __init__(
        self, residual: Callable[..., Any], signature: Signature, x: Array, params: Sequence[Any],
        active: frozenset[str],
    ) -> None:  # fmt: skip
        self._residual = residual
        self._signature = signature
        for name in sorted(active & ignored(signature, signature_of(residual))):
            raise NotDifferentiableError(
                f"The residual does not take `{name}`, which is differentiated; make it a "
                "parameter of the residual, too."
            )
        self._x = x
        self._active = [name in active for name in signature.parameters]
        self._leaves, self._spec = flatten(tuple(params))
        self._places, start = [], 0
        for spec, is_active in zip(self._spec.children(), self._active, strict=True):
            own = range(start, start + spec.num_leaves)
            self._places += [i for i in own if is_active and moves(self._leaves[i])]
            start = own.stop
        self._adapter = adapter_of((x, *self._leaves))

    def scope(self) -> Any:
        """What differentiating here needs of the library's global state."""
        return self._adapter.scope(())

    def _at(self, x: Array, moving: Sequence[Any]) -> tuple[Arrays, Arrays]:
        leaves = list(self._leaves)
        for i, value in zip(self._places, moving, strict=True):
            leaves[i] = value
        values: Any = unflatten(self._spec, leaves)
        args, kwargs = passed_on(self._signature, signature_of(self._residual), values)
        found = self._residual(x, *args, **kwargs)
        if tuple(found.shape) != tuple(self._x.shape):
            raise NotDifferentiableError(
                f"The residual must have the shape {tuple(self._x.shape)} of x, got "
                f"{tuple(found.shape)}."
            )
        return (found,), ()

    def _of_x(self, x: Arrays) -> tuple[Arrays, Arrays]:
        return self._at(x[0], self._moving())

    def _moved(self, moving: Arrays) -> tuple[Arrays, Arrays]:
        return self._at(self._x, moving)

    def _moving(self) -> Arrays:
        return tuple(self._leaves[i] for i in self._places)

    def pulled_to_params(self, w: Array) -> Arrays:
        """``(d residual / dp)^T w``."""
        _, pull, _ = self._adapter.pullback(self._moved, self._moving())
        pulled: Arrays = pull((w,))
        return pulled

    def pushed_from_params(self, tangents: Sequence[Any]) -> Array:
        """``(d residual / dp) dp``."""
        flat: list[Any] = []
        start = 0
        for spec, tree in zip(self._spec.children(), tangents, strict=True):
            stop = start + spec.num_leaves
            flat += parts(spec, tree, [i - start for i in self._places if start <= i < stop])
            start = stop
        return self._adapter.pushforward(self._moved, self._moving(), tuple(flat))[1][0]

    def solved(self, b: Array, linear_solve: LinearSolve | None, *, transposed: bool) -> Array:
        """``w`` with ``A w = b``, or ``A^H w = b``."""
        adapter = self._adapter
        if linear_solve is None:
            return self._densely(b, transposed)
        if transposed:
            _, pull, _ = adapter.pullback(self._of_x, (self._x,))
            return linear_solve(lambda w: pull((w,))[0], b)
        return linear_solve(lambda w: adapter.pushforward(self._of_x, (self._x,), (w,))[1][0], b)

    def _densely(self, b: Array, transposed: bool) -> Array:
        """The same by the matrix ``A``: of real numbers, two for a complex one."""
        adapter, xp = self._adapter, self._adapter.xp
        parts = self._parts(self._x)
        at = Point(self._of_parts, parts, tuple, adapter, adapter, Settings(), value=False)
        # By rows, which nest in every mode of every backend.
        mode: Mode = "reverse" if adapter.reverse else "auto"
        _, blocks, _ = jacobian(adapter, self._of_parts, at, mode)
        size, shape, n = int(np.prod(self._x.shape)), tuple(self._x.shape), len(parts)
        blocks = tuple(xp.reshape(block, (size, size)) for block in blocks)
        right = tuple(xp.reshape(part, (size,)) for part in self._parts(b))
        matrix, vector = blocks[0], right[0]
        if n == 2:
            rows = [xp.concat(blocks[i : i + 2], axis=1) for i in (0, 2)]
            matrix, vector = xp.concat(rows, axis=0), xp.concat(right, axis=0)
        matrix = xp.permute_dims(matrix, (1, 0)) if transposed else matrix
        w = solve_dense(matrix, vector)
        if n == 1:
            return xp.reshape(w, shape)
        return xp.reshape(w[:size], shape) + 1j * xp.reshape(w[size:], shape)

    def _parts(self, a: Array) -> Arrays:
        """``a``, or its real and imaginary part where ``x`` is complex."""
        xp = self._adapter.xp
        if not is_complex(self._adapter, self._x):
            return (a,)
        a = a + 0j
        return xp.real(a), xp.imag(a)

    def _of_parts(self, parts: Arrays) -> tuple[Arrays, Arrays]:
        x = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
        (found,), _ = self._of_x((x,))
        # A complex step makes both complex
        if is_complex(self._adapter, found) and not is_complex(self._adapter, x):
            raise NotDifferentiableError(
                "The residual must be real where x is, got complex numbers; make x complex."
            )
        return self._parts(found), ()

    def entries(self, dx: Arrays) -> tuple[Any, ...]:
        """Derivatives of the active leaves as one tree for each parameter."""
        leaves: list[Any] = [None] * len(self._leaves)
        for i, d in zip(self._places, dx, strict=True):
            leaves[i] = d
        trees: Any = unflatten(self._spec, leaves)
        return tuple(t if a else None for t, a in zip(trees, self._active, strict=True))


def adapter_of(values: Sequence[Any]) -> Any:
    """Who differentiates ``values``, or computes a derivative with them."""
    return owner_of(values) or computing.get() or resolve("numpy")


@custom_rule(black_box=True, copy=False, shape=lambda matrix, b: b)
def solve_dense(matrix: Any, b: Any) -> Any:
    """``matrix^-1 b``, or an error where there is none, up to rounding errors."""
    # Two more right-hand sides tell how close to singular it is, whatever the units are: rows are
    # divided by their largest elements, and then columns.
    rows = np.max(np.abs(matrix), axis=1, keepdims=True, initial=0.0)
    columns = np.max(np.abs(matrix) / np.where(rows, rows, 1.0), axis=0, initial=0.0)
    turns = np.arange(len(b))[:, None]
    probes = rows * np.hstack([np.cos(turns), np.sin(1.0 + 2.0 * turns)])
    try:
        found = np.linalg.solve(matrix, np.hstack([b[:, None], probes.astype(b.dtype)]))
    except np.linalg.LinAlgError:
        found = np.full((len(b), 3), np.nan, b.dtype)
    size = np.max(np.abs(found[:, 1:]) * columns[:, None], initial=0.0)
    limit = 0.1 / float(np.finfo(b.dtype).eps) / max(1.0, len(b)) ** 0.5
    if not size < limit and np.all(np.isfinite(matrix)):
        raise NotDifferentiableError(
            "The derivative of the residual with respect to x is singular at the solution, so that "
            "the solution has no derivative there."
        )
    return found[:, 0]


@solve_dense.pullback
def _(active: Any, saved: Any, dy: Any) -> Any:
    x, matrix, _ = saved
    xp = namespace(matrix, dy)
    w = solve_dense(xp.permute_dims(matrix, (1, 0)), dy)
    return -w[:, None] * x[None, :] if "matrix" in active else None, w


@solve_dense.pushforward
def _(active: Any, args: Any, tangents: Any) -> Any:
    matrix, b = args
    d_matrix, db = tangents
    right = 0.0 if db is None else db
    if d_matrix is not None:
        right = right - d_matrix @ solve_dense(matrix, b)
    return solve_dense(matrix, right)
