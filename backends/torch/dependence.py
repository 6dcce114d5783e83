"""What the results of a torch program depend on, from its traced graph."""

import operator
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx

from diffface.backends.compiled import Arrays, Program
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Dependence, Maybe
from diffface.backends.recording.report import Found, Line, Report
from diffface.backends.recording.user_frame import line_of_call
from diffface.backends.torch.graph.graph import name_of
from diffface.backends.torch.graph.look import Look
from diffface.backends.torch.graph.trace import trace
from diffface.backends.torch.structure import HANDLERS, array_of

# Operations that act on each element alone, those whose results depend on all operands, and those
# that move elements: torch runs these on positions.
SAME = dep.words(
    "neg clone _to_copy alias detach contiguous lift_fresh_copy lift_fresh _conj conj "
    "_neg_view resolve_conj resolve_neg positive _conj_physical conj_physical real imag "
    "convert_element_type"
)
UNION = dep.words("add sub mul div rsub complex lerp")
# Derivatives of functions of single elements, at places that are known: `(dy, ...)`.
ELEMENTWISE = dep.words(
    "threshold_backward tanh_backward sigmoid_backward gelu_backward silu_backward elu_backward "
    "softplus_backward leaky_relu_backward hardtanh_backward hardswish_backward "
    "hardsigmoid_backward log_sigmoid_backward mish_backward"
)
MOVES = dep.words(
    "view reshape _unsafe_view permute transpose t expand squeeze unsqueeze slice select "
    "index flip roll cat stack split split_with_sizes unbind constant_pad_nd repeat "
    "slice_backward select_backward diagonal diagonal_copy diagonal_backward index_select "
    "gather take as_strided as_strided_scatter narrow movedim tril triu slice_scatter "
    "select_scatter diagonal_scatter copy unfold expand_copy permute_copy view_copy slice_copy "
    "select_copy squeeze_copy unsqueeze_copy transpose_copy t_copy detach_copy alias_copy flatten "
    "unflatten"
)
# Operations that take no more than the shape of their operand.
FILLED = dep.words(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty "
    "new_empty_strided _new_zeros_with_same_feature_meta"
)


def dependence(program: Program, examples: Arrays, inputs: range) -> Found:
    """What the outputs of ``program`` depend on among its ``inputs``, at any point.

    The program must be linear in these inputs.
    """
    module = trace(program, examples, lined=True)
    shapes = [tuple(examples[i].shape) for i in inputs]
    deps = dict(zip(inputs, dep.identity(shapes), strict=True))
    # Of backward passes, all that is known is who asked for the derivative.
    reader = _Reader(module, deps, line_of_call())
    found, outputs = reader.run()
    matrix = dep.stacked(found, outputs, sum(map(prod, shapes)))
    return Found(matrix, str(reader.report))


def _has_derivative(value: Any) -> bool:
    """Whether a result has one: some are indices, and those that nobody asked for are None."""
    return isinstance(value, Look) and (value.is_floating_point() or value.is_complex())


class _Reader:
    """Reads a graph node by node."""

    def __init__(
        self, module: fx.GraphModule, inputs: dict[int, Dependence], outside: str | None
    ) -> None:
        self.report = Report()
        self._outside = outside
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
        return [self.of(r) for r in results], [
            tuple(r.meta["val"].shape) if isinstance(r, fx.Node) else () for r in results
        ]

    def of(self, x: Any) -> Maybe:
        return self.deps.get(x) if isinstance(x, fx.Node) else None

    def known(self, x: Any) -> Any:
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
        place = node.meta.get("line")
        line = lambda: f", at {place}" if place and place != self._outside else ""
        with self.report.naming(name, line):
            found = self._rule(name, node)
            value = node.meta["val"]
            if found is NotImplemented:
                found = self._unknown(name, line, operands, value)
        if isinstance(value, Look):
            found = found if _has_derivative(value) else None
        elif found is not None:
            found = [d if _has_derivative(v) else None for d, v in zip(found, value, strict=True)]
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
        if isinstance(value, Look):
            return self.report.everything(name, line, deps, tuple(value.shape))
        return [
            self.report.everything(name, line, deps, tuple(v.shape)) if _has_derivative(v) else None
            for v in value
        ]

    def _rule(self, name: str, node: fx.Node) -> Any:
        """What a known operation depends on; NotImplemented where it is not known."""
        args, value = node.args, node.meta["val"]
        if name in FILLED:
            return None
        if isinstance(value, Look):
            shape = tuple(value.shape)
            if name in SAME:
                found = self.of(args[0])
                return found if found is None or found.shape == shape else NotImplemented
            if name in UNION:
                return self._product(name, args, shape)
            if name in ELEMENTWISE:
                return dep.union([self.of(a) for a in node.all_input_nodes], shape)
            handler = HANDLERS.get(name)
            if handler is not None:
                return handler(self, name, node, shape)
        return self.moved(node) if name in MOVES else NotImplemented

    def _product(self, name: str, args: Any, shape: Any) -> Maybe:
        deps = [self.of(a) for a in args[:2]]
        found = dep.union(deps, shape)
        if name == "mul" and (deps[0] is None) != (deps[1] is None):
            factor = self.known(args[0 if deps[0] is None else 1])
            if factor is not None:
                return dep.drop(found, array_of(factor) == 0)
        return found

    def moved(self, node: fx.Node) -> Any:
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
