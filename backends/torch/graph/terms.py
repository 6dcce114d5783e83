"""Terms: a traced graph, as the computation of entries reads and writes it.

Knows: which of torch's operations are sums, products and moves, and how vectors are made by torch.
Must not know: which entries there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from diffface.backends.torch.graph.constants import keep
from diffface.backends.torch.graph.graph import aten, aten_names, call, filling, name_of, value_of

# These move elements, and may put zeros around them.
_MOVES = aten_names(
    """
    _unsafe_view alias cat clone detach expand flip index_select permute select select_backward
    select_scatter slice slice_backward slice_scatter squeeze stack t transpose unsqueeze view
    """
)
_VIEWS = _MOVES - aten_names("cat clone flip index_select stack") - aten_names(
    "select_backward select_scatter slice_backward slice_scatter"
)  # fmt: skip
_FUNCTIONS: dict[Any, Any] = {
    aten.add.Tensor: np.add,
    aten.div.Tensor: np.divide,
    aten.mul.Tensor: np.multiply,
    aten.neg.default: np.negative,
    aten.rsub.Scalar: np.subtract,
    aten.sub.Tensor: np.subtract,
}
_OPERATIONS = {f: operation for operation, f in _FUNCTIONS.items()}
_REAL = (torch.float32, torch.float64)


class Terms:
    """A graph before one gather (see `recording.entries.graph.Graph`).

    Parameters
    ----------
    module : GraphModule
        Nodes are inserted into it.
    gather : Node
    """

    def __init__(self, module: fx.GraphModule, gather: fx.Node) -> None:
        self._module, self._gather = module, gather
        self._constants: dict[fx.Node, Any] = {}
        single = gather.meta["val"].dtype is torch.float32
        self.dtype: Any = np.float32 if single else np.float64

    # What is there.

    def needed(self) -> list[fx.Node]:
        """What the gather needs."""
        needed = {self._gather}
        for node in reversed(self._module.graph.nodes):
            if node in needed:
                needed.update(node.all_input_nodes)
        return [node for node in self._module.graph.nodes if node in needed]

    def shape(self, x: fx.Node) -> tuple[int, ...]:
        """Of a result."""
        return tuple(x.meta["val"].shape)

    def is_followed(self, x: fx.Node) -> bool:
        """Whether it is a tensor of real numbers on the CPU."""
        look = value_of(x)
        if look is None or look.dtype not in _REAL:
            return False
        return x.op == "get_attr" or (x.op == "call_function" and look.device.type == "cpu")

    def constant(self, x: fx.Node) -> Any:
        """The numbers of a constant."""
        if x.op != "get_attr":
            return None
        value = getattr(self._module, str(x.target))
        return self._constants.setdefault(x, value.detach().reshape(-1).numpy())

    def number(self, x: fx.Node) -> float | None:
        """The number that fills a tensor."""
        found: float | None = filling(x)
        return found

    def arithmetic(self, x: fx.Node) -> tuple[Any, tuple[Any, ...]] | None:
        """The function and its operands."""
        if x.target not in _FUNCTIONS or len(x.args) > 2 or x.kwargs:
            return None
        if any(not isinstance(y, fx.Node | int | float) for y in x.args) or not _is_of_one_type(x):
            return None
        terms = x.args[::-1] if x.target is aten.rsub.Scalar else x.args
        return _FUNCTIONS[x.target], terms

    def moved(self, x: fx.Node) -> Sequence[fx.Node]:
        """The operands of what only moves elements."""
        if name_of(x) not in _MOVES:
            return ()
        if x.target is aten.index_select.default:
            index: Any = x.args[2]
            return x.args[:1] if index.op == "get_attr" else ()  # type: ignore[return-value]
        operands: list[fx.Node] = []
        fx.map_arg(x.args, operands.append)
        return operands if _is_of_one_type(x) else ()

    def moves(self, x: fx.Node, numbers: Sequence[Any]) -> Any:
        """What it makes of integers."""
        rest = list(numbers)

        def numbered(y: fx.Node) -> Any:
            if x.target is aten.index_select.default and y is x.args[-1]:
                return getattr(self._module, str(y.target))
            return torch.from_numpy(rest.pop(0))

        args = fx.map_arg(x.args, numbered)
        moved: Any = x.target(*args)  # type: ignore[operator]
        return moved.numpy()

    def is_view(self, x: fx.Node) -> bool:
        """Whether it only looks at its operand in another way."""
        return name_of(x) in _VIEWS

    def pads(self, x: fx.Node) -> bool:
        """Zeros that are put around others are left to the program."""
        return False

    # What is added.

    def apply(self, function: Any, *terms: Any) -> fx.Node:
        """A function of vectors."""
        return self._call(_OPERATIONS[function], *terms)

    def flat(self, x: fx.Node) -> fx.Node:
        """All elements."""
        if not x.meta["val"].is_contiguous():
            x = self._call(aten.clone.default, x, memory_format=torch.contiguous_format)
        return self._call(aten.view.default, x, [-1])

    def sliced(self, x: fx.Node, start: int, stop: int) -> fx.Node:
        """A part of a vector."""
        return self._call(aten.slice.Tensor, x, 0, start, stop)

    def taken(self, x: fx.Node, places: Any) -> fx.Node:
        """Elements of a vector."""
        return self._call(aten.index_select.default, x, 0, self.held(places.astype(np.int32)))

    def repeated(self, x: fx.Node, count: int) -> fx.Node:
        """One element."""
        return self._call(aten.expand.default, x, [count])

    def held(self, x: Any) -> fx.Node:
        """Constants."""
        return keep(self._module, self._gather, torch.from_numpy(np.ascontiguousarray(x)))

    def placed(self, base: Any, parts: Sequence[tuple[Any, fx.Node]]) -> fx.Node:
        """Constants, and parts in their places."""
        if base.any():
            found = self.held(base)
        else:
            like = self._gather.meta["val"]
            kwargs = {"dtype": like.dtype, "device": like.device}
            found = self._call(aten.full.default, [len(base)], 0.0, **kwargs)
        for at, values in parts:
            found = self._call(aten.scatter.src, found, 0, self.held(at.astype(np.int64)), values)
        return found

    def _call(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        return call(self._gather, target, *args, **kwargs)


def _is_of_one_type(x: fx.Node) -> bool:
    return all(y.meta["val"].dtype == x.meta["val"].dtype for y in x.all_input_nodes)
