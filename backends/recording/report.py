"""What is found out about the structure of a program, and which operations are not known."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from diffface.backends.errors import SparsityError
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe, Shape

# Finds ", at file:line ..." of the user's, when it is asked for.
Line = Callable[[], str]


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

    With ``order=2`` it also collects pairs of inputs that are multiplied with each other.
    """

    def __init__(self, order: int = 1) -> None:
        self.operations: dict[str, str] = {}
        self.pairs: Any = None
        self._order = order

    def product(self, a: Maybe, b: Maybe, shape: Shape) -> None:
        """Note that the elements of an array have second derivatives by these two."""
        if self._order == 1 or a is None or b is None:
            return
        first, second = dep.dep_matrix(a, shape), dep.dep_matrix(b, shape)
        dep.check_size(int(np.diff(first.indptr) @ np.diff(second.indptr)))
        pairs = sp.csr_array(first.T.tocsr() @ second)
        pairs = pairs + sp.csr_array(pairs.T)
        self.pairs = pairs if self.pairs is None else self.pairs + pairs

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
