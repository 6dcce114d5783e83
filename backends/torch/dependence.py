"""What the results of a torch program depend on, from its traced graph."""

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx

from diffface.backends.compiled import Arrays, Program
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Dependence, Maybe
from diffface.backends.recording.report import Found, Line, Report
from diffface.backends.torch.graph.graph import name_of
from diffface.backends.torch.graph.trace import trace

# Operations that act on each element alone, those whose results depend on all operands, and those
# that move elements: torch runs these on positions.
SAME = dep.words(
    "neg clone _to_copy alias detach contiguous lift_fresh_copy lift_fresh _conj conj "
    "_neg_view resolve_conj resolve_neg positive _conj_physical conj_physical real imag "
    "convert_element_type"
)
UNION = dep.words("add sub mul div rsub complex")
MOVES = dep.words(
    "view reshape _unsafe_view permute transpose t expand squeeze unsqueeze slice select "
    "index flip roll cat stack split split_with_sizes unbind constant_pad_nd repeat "
    "slice_backward select_backward diagonal diagonal_copy diagonal_backward index_select "
    "gather take as_strided narrow movedim tril triu slice_scatter select_scatter "
    "diagonal_scatter copy unfold expand_copy permute_copy view_copy slice_copy select_copy "
    "squeeze_copy unsqueeze_copy transpose_copy t_copy detach_copy alias_copy flatten "
    "unflatten"
)
# Operations that take no more than the shape of their operand.
FILLED = dep.words(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty"
)
PRODUCTS = ("mm", "bmm", "mv", "dot")


def dependence(program: Program, examples: Arrays, inputs: range) -> Found:
    """What the outputs of ``program`` depend on among its ``inputs``, at any point.

    The program must be linear in these inputs.
    """
    module = trace(program, examples)
    shapes = [tuple(examples[i].shape) for i in inputs]
    deps = dict(zip(inputs, dep.identity(shapes), strict=True))
    reader = _Reader(module, deps)
    found, outputs = reader.run()
    matrix = dep.stacked(found, outputs, sum(map(prod, shapes)))
    return Found(matrix, str(reader.report))


class _Reader:
    """Reads a graph node by node."""

    def __init__(self, module: fx.GraphModule, inputs: dict[int, Dependence]) -> None:
        self.report = Report()
        self._module = module
        self._inputs = inputs
        # What a node depends on (a list, where it has several results); its value where known.
        self.deps: dict[fx.Node, Any] = {}
        self.values: dict[fx.Node, Any] = {}

    def run(self) -> tuple[list[Maybe], list[tuple[int, ...]]]:
        place = 0
        for node in self._module.graph.nodes:
            if node.op == "placeholder":
                if place in self._inputs:
                    self.deps[node] = self._inputs[place]
                place += 1
            elif node.op == "get_attr":
                self.values[node] = getattr(self._module, str(node.target))
            elif node.op == "call_function":
                self._call(node)
        (output,) = [node for node in self._module.graph.nodes if node.op == "output"]
        results = output.args[0]
        return [self._of(r) for r in results], [
            tuple(r.meta["val"].shape) if isinstance(r, fx.Node) else () for r in results
        ]

    def _of(self, x: Any) -> Maybe:
        return self.deps.get(x) if isinstance(x, fx.Node) else None

    def _known(self, x: Any) -> Any:
        return self.values.get(x) if isinstance(x, fx.Node) else x

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, i = node.args
            for table in (self.deps, self.values):
                if source in table and table[source][i] is not None:  # type: ignore[index]  # a node
                    table[node] = table[source][i]  # type: ignore[index]  # a node
            return
        operands = node.all_input_nodes
        if not any(x in self.deps for x in operands):
            self._fold(node, operands)
            return
        name = name_of(node).removeprefix("aten::")
        line = lambda: _line(node)
        with self.report.naming(name, line):
            found = self._rule(name, node)
            value = node.meta["val"]
            if found is NotImplemented:
                found = self._unknown(name, line, operands, value)
        if isinstance(value, torch.Tensor) and not (
            value.is_floating_point() or value.is_complex()
        ):
            return
        if found is not None:
            self.deps[node] = found

    def _fold(self, node: fx.Node, operands: Sequence[fx.Node]) -> None:
        """Compute what is constant."""
        target: Any = node.target
        random = torch.Tag.nondeterministic_seeded in target.tags
        if random or not all(x in self.values for x in operands):
            return
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
        self.values[node] = target(*args, **kwargs)

    def _unknown(self, name: str, line: Line, operands: Any, value: Any) -> Any:
        deps: list[Maybe] = []
        for x in operands:
            found = self.deps.get(x)
            deps += found if isinstance(found, list) else [found]
        if isinstance(value, torch.Tensor):
            return self.report.everything(name, line, deps, tuple(value.shape))
        return [self.report.everything(name, line, deps, tuple(v.shape)) for v in value]

    def _rule(self, name: str, node: fx.Node) -> Any:
        """What a known operation depends on; NotImplemented where it is not known."""
        args, value = node.args, node.meta["val"]
        if name in FILLED:
            return None
        if isinstance(value, torch.Tensor):
            shape = tuple(value.shape)
            if name in SAME:
                found = self._of(args[0])
                return found if found is None or found.shape == shape else NotImplemented
            if name in UNION:
                return self._product(name, args, shape)
            handler = _HANDLERS.get(name)
            if handler is not None:
                return handler(self, name, node, shape)
        return self._moved(node) if name in MOVES else NotImplemented

    def _product(self, name: str, args: Any, shape: Any) -> Maybe:
        deps = [self._of(a) for a in args[:2]]
        found = dep.union(deps, shape)
        if name == "mul" and (deps[0] is None) != (deps[1] is None):
            factor = self._known(args[0 if deps[0] is None else 1])
            if factor is not None:
                return dep.drop(found, _array(factor) == 0)
        return found

    def _moved(self, node: fx.Node) -> Any:
        parts: list[tuple[Maybe, int]] = []
        start = 1

        def numbered(x: fx.Node) -> Any:
            nonlocal start
            value: Any = x.meta.get("val", self.values.get(x))
            if x in self.deps:
                d = self.deps[x]
                (found,) = dep.positions_of([d.shape], start)
                start += d.size
                parts.append((d, d.size))
                return torch.from_numpy(found.astype(float))
            if value.is_floating_point() or value.is_complex():
                return torch.zeros(tuple(value.shape), dtype=torch.float64)
            return self.values[x]

        kwargs = {k: v for k, v in node.kwargs.items() if k != "dtype"}
        target: Any = node.target
        try:
            args, kwargs = fx.map_arg((node.args, kwargs), numbered)
            result = target(*args, **kwargs)
        except KeyError:  # indices that are not known
            return NotImplemented

        def chosen(t: torch.Tensor) -> Maybe:
            return dep.select(parts, t.numpy().astype(np.int64) - 1)

        return list(map(chosen, result)) if isinstance(result, tuple | list) else chosen(result)


def _where(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    condition, *branches = node.args
    if reader._of(condition) is not None:
        return NotImplemented
    deps = [dep.broadcast(reader._of(b), shape) for b in branches]
    known = reader._known(condition)
    if known is None:
        return dep.union(deps, shape)
    n = prod(shape)
    first = np.arange(n).reshape(shape)
    chosen = np.where(np.broadcast_to(_array(known), shape), first, first + n)
    return dep.select([(d, n) for d in deps], chosen)


def _sum(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader._of(node.args[0])
    assert found is not None
    axes: Any = node.args[1] if len(node.args) > 1 and node.args[1] else range(len(found.shape))
    axes = [axes] if isinstance(axes, int) else axes
    return dep.reduce(found, axes)._replace(shape=shape)  # type: ignore[union-attr]  # not None


def _cumsum(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    axis: Any = node.args[1]
    found = reader._of(node.args[0])
    return dep.cumulate(found, axis) if shape else found


def _matrix_product(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    a, b = node.args[:2]
    if (reader._of(a) is None) == (reader._of(b) is None):
        return NotImplemented
    left = reader._of(a) is not None
    d, other = (reader._of(a), b) if left else (reader._of(b), a)
    known = reader._known(other)
    factor = other.meta["val"] if known is None else _array(known)  # type: ignore[union-attr]
    batch = 1 if name == "bmm" else 0
    axis = len(d.shape if left else factor.shape) - 1  # type: ignore[union-attr]  # not None
    dims = (((axis,), (batch,)), ((0,) * batch, (0,) * batch))
    return dep.contract(d, factor, known is not None, dims, left)  # type: ignore[arg-type]


def _sum_with_product(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    base, a, b = node.args[:3]
    if reader._of(a) is None and reader._of(b) is None:
        return dep.broadcast(reader._of(base), shape)
    return NotImplemented


def _scattered(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    """Updates of an array at indices: where each goes is found by reading positions there."""
    n = prod(shape)
    places = torch.arange(n).reshape(shape)
    if name == "index_put":
        base, indices, update, *rest = node.args
        chosen: Any = [None if i is None else reader._known(i) for i in indices]  # type: ignore[union-attr]
        if any(c is None for c, i in zip(chosen, indices, strict=True) if i is not None):  # type: ignore[arg-type]
            return NotImplemented
        target = places[tuple(slice(None) if i is None else i for i in chosen)]
        overwrite = not (rest and rest[0])
    else:
        base, axis, index, update = node.args[:4]
        axis = int(axis)  # type: ignore[arg-type]  # a number, by the schema
        index = reader._known(index)
        if index is None or not isinstance(update, fx.Node):
            return NotImplemented
        by_rows = name.startswith("index_")
        target = places.index_select(axis, index) if by_rows else places.gather(axis, index)
        overwrite = name in ("scatter", "index_copy")
        if not by_rows and tuple(update.meta["val"].shape) != tuple(index.shape):
            return NotImplemented
    if any(reader._of(x) is not None for x in node.args[1:2] if isinstance(x, fx.Node)):
        return NotImplemented
    spread = dep.broadcast(reader._of(update), tuple(target.shape))
    return dep.scatter(reader._of(base), spread, target.numpy(), shape, overwrite)


def _spectral(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader._of(node.args[0])
    if found is None or found.shape != shape:
        return NotImplemented
    axes: Any = node.args[1]
    return dep.along(found, axes)


def _view_as_real(reader: _Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader._of(node.args[0])
    if found is None:
        return None
    if name == "view_as_complex":
        return dep.reduce(found, (-1,))
    return dep.broadcast(found._replace(shape=(*found.shape, 1)), shape)


_HANDLERS: dict[str, Callable[..., Any]] = {
    "where": _where, "sum": _sum, "mean": _sum, "cumsum": _cumsum,
    **dict.fromkeys(PRODUCTS, _matrix_product), "addmm": _sum_with_product,
    **dict.fromkeys(
        ("index_put", "scatter_add", "scatter", "index_add", "index_copy"), _scattered
    ),
    **dict.fromkeys(("_fft_c2c",), _spectral),
    **dict.fromkeys(("view_as_real", "view_as_complex"), _view_as_real),
}  # fmt: skip


def _array(x: Any) -> Any:
    return x.resolve_conj().resolve_neg().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _line(node: fx.Node) -> str:
    """Where the user's code asked for an operation, if torch has kept it."""
    stack = node.meta.get("stack_trace") or ""
    last = [line.strip() for line in stack.splitlines() if line.strip().startswith("File ")]
    return f", at {last[-1]}" if last else ""
