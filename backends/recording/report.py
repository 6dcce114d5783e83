"""What is found out about the structure of a program, and which operations are not known."""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from diffface.backends.errors import SparsityError
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe, Shape

# Finds ", at file:line ..." of the user's, when it is asked for.
Line = Callable[[], str]
# So many pairs are kept before they are merged.
MERGED = 10**6


class Found(NamedTuple):
    """What a backend found out about a program.

    Attributes
    ----------
    matrix : csr_array of bool, shape (elements of all outputs, elements of the inputs asked for)
        Which inputs each element may depend on.
    dense : str
        The operations that made everything depend on everything, in words; empty if there is none.
    """

    matrix: Any
    dense: str = ""


class Report:
    """The operations that are not known, each with the first line of the user's that needs it.

    With ``order=2`` it also collects pairs of inputs, of so many, that are multiplied with each
    other.
    """

    def __init__(self, order: int = 1, inputs: int = 0) -> None:
        self.operations: dict[str, str] = {}
        self.inputs = inputs
        self._order = order
        self._pairs: Any = sp.csr_array((inputs, inputs), dtype=bool)
        # Those that are not in the matrix yet, and how many that are.
        self._new: list[tuple[Any, Any]] = []
        self._count = 0

    @property
    def pairs(self) -> Any:
        """Inputs that are multiplied with each other: csr_array of bool, shape (inputs, inputs)."""
        if self._new:
            i, j = (np.concatenate(part) for part in zip(*self._new, strict=True))
            parts = (np.ones(i.size, bool), (i, j))
            found = sp.csr_array(parts, shape=self._pairs.shape, dtype=bool)
            self._pairs = self._pairs + found + sp.csr_array(found.T)
            self._new, self._count = [], 0
        return self._pairs

    def product(self, a: Maybe, b: Maybe, shape: Shape) -> None:
        """Note that the elements of an array have second derivatives by these two."""
        if self._order == 1 or a is None or b is None:
            return
        if (n := prod(shape)) <= dep.FEW:
            for each in zip(
                *(dep.columns_of(dep.broadcast(d, shape), n) for d in (a, b)), strict=True
            ):
                self.product_of_numbers(*each)
            return
        deps = [d for d in (dep.broadcast(d, shape) for d in (a, b)) if d is not None]
        first, second = (d.matrix for d in deps)
        dep.check_size(int(np.diff(first.indptr) @ np.diff(second.indptr)))
        self._note(*sp.coo_array(first.T.tocsr() @ second).coords)

    def product_of_numbers(self, a: Any, b: Any) -> None:
        """The same of one element, given the inputs that either depends on."""
        if self._order == 1 or not len(a) or not len(b):
            return
        self._note(np.repeat(a, len(b)), np.tile(b, len(a)))

    def _note(self, i: Any, j: Any) -> None:
        self._new.append((i, j))
        self._count += i.size
        if self._count > max(MERGED, self._pairs.nnz):
            assert self.pairs is not None

    def everything(self, operation: str, line: Line, deps: Iterable[Maybe], shape: Shape) -> Maybe:
        """What an unknown operation returns: every element depends on all that went in."""
        if operation not in self.operations:
            self.operations[operation] = line()
        with self.naming(operation, line):
            return dep.everything(deps, shape)

    def naming(self, operation: str, line: Line) -> "_Naming":
        """A scope in which a pattern that grows too dense is refused by name."""
        return _Naming(operation, line)

    def __str__(self) -> str:
        return "; ".join(f"{name}{line}" for name, line in self.operations.items())


class _Naming:
    def __init__(self, operation: str, line: Line) -> None:
        self._operation, self._line = operation, line

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, dep.TooDense):
            raise SparsityError(
                f"The pattern would have {error.args[0]:,} entries because of "
                f"`{self._operation}`{self._line()}, which makes everything depend on everything, "
                "as far as is known. Pass a pattern of your own as `sparsity`, or write it with "
                "operations whose structure is known; indices, and a matrix's zeros, are known if "
                "`f` captures them, rather than taking them in `Const`."
            ) from None


def dense(rows: int, columns: int, reason: str, line: str = "") -> Found:
    """Everything on everything, where nothing is known."""
    with Report().naming(reason, lambda: line):
        if rows * columns > dep.LIMIT:
            raise dep.TooDense(rows * columns)
    return Found(sp.csr_array(np.ones((rows, columns), bool)), reason + line)
