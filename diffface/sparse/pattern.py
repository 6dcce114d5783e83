"""The pattern of a sparse matrix: where it may be non-zero, and how it is colored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffface.backends.errors import BackendNotAvailableError, InvalidArgumentError

if TYPE_CHECKING:
    from diffface.sparse.coloring import Coloring


class Sparsity:
    """Where a Jacobian or a Hessian may be non-zero.

    Parameters
    ----------
    shape : tuple of int
        ``(m, n)``.
    rows, cols : array of int, shape (nnz,)
        Where the entries are, in any order; duplicates count once.
    dense : str, optional
        Why everything depends on everything, where it does: the operation whose structure is not
        known. Empty otherwise.

    Attributes
    ----------
    nnz : int
        How many entries there are.
    colors : str
        What one evaluation costs, such as ``"forward 12"`` or ``"forward 2 + reverse 1"``: so many
        pushforwards and pullbacks. Empty for a pattern that has not been colored.

    Examples
    --------
    >>> import diffface as dif
    >>> dif.Sparsity((2, 3), [1, 0, 0], [2, 0, 1])
    <sparsity of shape (2, 3), 3 non-zeros>
    """

    __slots__ = ("_coloring", "_paint", "cols", "dense", "rows", "shape")

    def __init__(self, shape: tuple[int, int], rows: Any, cols: Any, dense: str = "") -> None:
        m, n = (int(k) for k in shape)
        i, j = np.asarray(rows, np.int64).reshape(-1), np.asarray(cols, np.int64).reshape(-1)
        if i.shape != j.shape:
            raise InvalidArgumentError(
                f"`rows` and `cols` must have the same length, got {i.size} and {j.size}."
            )
        if i.size and (min(i.min(), j.min()) < 0 or i.max() >= m or j.max() >= n):
            raise InvalidArgumentError(
                f"`rows` and `cols` must be indices of a matrix of shape {(m, n)}, got rows "
                f"{i.min()} to {i.max()} and columns {j.min()} to {j.max()}."
            )
        places = i * n + j
        if i.size and not (places[1:] > places[:-1]).all():
            i, j = np.divmod(np.unique(places), n)
        self.shape = (m, n)
        self.rows, self.cols = _frozen(i), _frozen(j)
        self.dense = dense
        self._coloring: Coloring | None = None
        self._paint: Callable[[Any], Coloring] | None = None

    @classmethod
    def of(cls, given: Any, name: str = "sparsity") -> Sparsity:
        """The pattern of an array, a ``scipy.sparse`` array or matrix, or a pattern itself.

        Entries that a sparse matrix stores belong to the pattern, zeros too.
        """
        if isinstance(given, cls):
            return given
        if hasattr(given, "tocoo"):
            entries = given.tocoo()
            return cls(entries.shape, entries.row, entries.col)
        matrix = np.asarray(given)
        if matrix.ndim != 2 or matrix.dtype.kind not in "biufc":
            raise InvalidArgumentError(
                f"`{name}` must be 'trace', 'probe', a matrix (an array, a scipy.sparse one, or a "
                f"diffface.Sparsity), got {_shown(given)}."
            )
        rows, cols = np.nonzero(matrix)
        return cls(matrix.shape, rows, cols)

    @property
    def coloring(self) -> Coloring | None:
        """How it is colored, once somebody asks; None if nobody has said how."""
        paint = self._paint
        if self._coloring is None and paint is not None:
            self._coloring = paint(self.matrix)
        return self._coloring

    def color_by(self, paint: Callable[[Any], Coloring]) -> None:
        """Color `matrix` by ``paint``, when that is needed."""
        self._paint, self._coloring = paint, None

    @property
    def nnz(self) -> int:
        """How many entries there are."""
        return len(self.rows)

    @property
    def colors(self) -> str:
        """What one evaluation costs, in words."""
        coloring = self.coloring
        return "" if coloring is None else str(coloring)

    @property
    def matrix(self) -> Any:
        """The pattern as a ``scipy.sparse.csr_array`` of bool."""
        sp = scipy_sparse()
        ends = np.searchsorted(self.rows, np.arange(self.shape[0] + 1))
        parts = (np.ones(self.nnz, bool), self.cols.copy(), ends)
        return sp.csr_array(parts, shape=self.shape)

    def toarray(self) -> Any:
        """The pattern as an array of bool, shape ``(m, n)``."""
        found = np.zeros(self.shape, bool)
        found[self.rows, self.cols] = True
        return found

    def symmetric(self) -> Sparsity:
        """The pattern together with its transpose."""
        rows = np.concatenate([self.rows, self.cols])
        cols = np.concatenate([self.cols, self.rows])
        return Sparsity(self.shape, rows, cols, self.dense)

    def save(self, path: str | Path) -> None:
        """Write the pattern to a file of NumPy's format ``.npz``."""
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file, shape=self.shape, rows=self.rows, cols=self.cols, dense=self.dense
            )

    @classmethod
    def load(cls, path: str | Path) -> Sparsity:
        """Read a pattern that :meth:`save` wrote."""
        with np.load(Path(path), allow_pickle=False) as file:
            m, n = file["shape"].tolist()
            return cls((m, n), file["rows"], file["cols"], str(file["dense"]))

    def plot(self) -> Any:
        """A picture of the pattern, with its colors, and of what is computed in its place.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8 if self.coloring else 4, 4), layout="constrained")
        draw(self, figure)
        return figure

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sparsity):
            return NotImplemented
        return (
            self.shape == other.shape
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self.cols, other.cols)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.rows.tobytes(), self.cols.tobytes()))

    def __repr__(self) -> str:
        parts = [f"shape {self.shape}", f"{self.nnz} non-zeros"]
        parts += [self.colors] if self.colors else []
        parts += [f"dense because of {self.dense}"] if self.dense else []
        return f"<sparsity of {', '.join(parts)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Sparsity, (self.shape, self.rows, self.cols, self.dense)


def draw(sparsity: Sparsity, figure: Any) -> None:
    """Draw a pattern into a figure, or a part of one."""
    coloring = sparsity.coloring
    panels = figure.subplots(1, 2 if coloring else 1, squeeze=False)[0]
    if coloring is None:
        colors = np.zeros(sparsity.nnz)
    else:
        # Pullbacks get the colors after those of pushforwards.
        colors = coloring.color + coloring.forward * coloring.by_row
    _dots(panels[0], sparsity.cols, sparsity.rows, colors, sparsity.shape)
    panels[0].set_title(f"{sparsity.nnz} non-zeros of {sparsity.shape}", fontsize=9)
    if coloring is not None:
        m, n = sparsity.shape
        along, total = np.arange(sparsity.nnz), coloring.forward + coloring.reverse
        x = np.where(coloring.by_row, coloring.place, coloring.color)[along]
        y = np.where(coloring.by_row, m + coloring.color, coloring.place)[along]
        width = n if coloring.reverse else total
        _dots(panels[1], x, y, colors, (m + coloring.reverse, width))
        panels[1].set_title(sparsity.colors, fontsize=9)
        panels[1].set_aspect("auto")


def _dots(panel: Any, x: Any, y: Any, colors: Any, shape: tuple[int, int]) -> None:
    size = max(0.5, 40_000 / max(*shape, 1) ** 2)
    panel.scatter(x, y, c=colors % 20, s=size, cmap="tab20", vmin=0, vmax=19, marker="s")
    panel.set_xlim(-1, shape[1])
    panel.set_ylim(shape[0], -1)
    panel.set_aspect("equal")
    panel.locator_params(integer=True)
    panel.tick_params(labelsize=7)


def scipy_sparse() -> Any:
    """The module ``scipy.sparse``, which is needed for sparse derivatives alone."""
    try:
        import scipy.sparse
    except ImportError as error:
        raise BackendNotAvailableError(
            "Sparse derivatives need SciPy, which is not installed; pip install 'diffface[sparse]'."
        ) from error
    return scipy.sparse


def _frozen(array: Any) -> Any:
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _shown(given: Any) -> str:
    if isinstance(given, str):
        return repr(given)
    shape = getattr(given, "shape", None)
    return type(given).__name__ if shape is None else f"an array of shape {tuple(shape)}"
