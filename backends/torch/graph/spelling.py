"""Spelling: how the parts of an emitted line are written.

Knows: names of variables and constants, and the cheapest way to write arguments and views.
Must not know: statements, and in which order they come.
"""

from typing import Any

import torch
from torch import fx

from diffface.backends.torch.graph.graph import aten

_NUMERIC = (
    aten.add.Tensor,
    aten.div.Tensor,
    aten.mul.Tensor,
    aten.rsub.Scalar,
    aten.sub.Tensor,
)
# In lower precisions an operation rounds a number differently than a 0-d tensor
_EXACT = (torch.float32, torch.float64, torch.complex64, torch.complex128)


class Spelling:
    """The names in use.

    Attributes
    ----------
    constants : dict
        What the emitted function finds among its globals.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._variables: dict[fx.Node, str] = {}

    def variable(self, node: fx.Node, name: str) -> str:
        """Say that the result of ``node`` is called ``name``."""
        self._variables[node] = name
        return name

    def constant(self, value: Any, name: str = "k") -> str:
        """Return the name of a constant, the same one for the same object."""
        if id(value) not in self._names:
            self._names[id(value)] = name = f"{name}_{len(self.constants)}"
            self.constants[name] = value
        return self._names[id(value)]

    def show(self, x: Any) -> str:
        """Write an argument."""
        if isinstance(x, fx.Node):
            return self._variables[x]
        if isinstance(x, (list, tuple)):
            return f"({''.join(f'{self.show(item)}, ' for item in x)})"
        # Most slices end at the largest integer, for which a literal is no worse
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        return self.constant(x)

    def arguments(self, args: Any, kwargs: dict[str, Any], node: fx.Node) -> str:
        """Write arguments of the call that ``node`` stands for."""
        shown = [self.number(x, node) or self.show(x) for x in args]
        return ", ".join([*shown, *(f"{name}={self.show(x)}" for name, x in kwargs.items())])

    def number(self, x: Any, node: fx.Node) -> str | None:
        """Write a number as a 0-d tensor, which spares torch from making one at every run."""
        if node.target not in _NUMERIC or isinstance(x, (fx.Node, bool)):
            return None
        value: torch.Tensor = node.meta["val"]
        first: Any = node.args[0]
        if (
            value.device.type != "cpu"
            or value.dtype not in _EXACT
            or first.meta["val"].dtype != value.dtype
        ):
            return None
        return self.constant(torch.tensor(x, dtype=value.dtype, device="cpu"), "n")

    def part(self, shown: str, whole: torch.Tensor, where: tuple[Any, ...]) -> str | None:
        """Write a view of a part of ``whole``.

        Parameters
        ----------
        shown : str
            The tensor as it is written.
        whole : Tensor
            Fake tensor with its shape.
        where : tuple
            ``(dim, index)``, or ``(dim, start, end, step)``.

        Returns
        -------
        str or None
            None where there is no cheap way.
        """
        if len(where) == 2:
            return f"{shown}.select({where[0]}, {where[1]})"
        dim, start, end, step = where
        if dim % whole.dim() == 0:
            # Indexing with a ready slice is the cheapest of all views
            return f"{shown}[{self.constant(slice(start, end, step), 's')}]"
        if step != 1:
            return None
        begin, stop, _ = slice(start, end).indices(whole.shape[dim])
        return f"{shown}.narrow({dim}, {begin}, {max(stop - begin, 0)})"
