"""What the results of an autograd program depend on: its recorded graph, run on index sets."""

from math import prod
from typing import Any

import numpy as np
from autograd import tracer

from diffface.backends.autograd.recorder import functions
from diffface.backends.autograd.recorder.graph import Node, substitute
from diffface.backends.autograd.recorder.recorder import trace
from diffface.backends.autograd.recorder.tape import Tape
from diffface.backends.autograd.writing import write
from diffface.backends.compiled import Arrays, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording import dependence as dep
from diffface.backends.recording.index_sets.array import IndexSets
from diffface.backends.recording.index_sets.hidden import leaves
from diffface.backends.recording.report import Found, Line, Report
from diffface.backends.recording.user_frame import line_of_call
from diffface.backends.rule import Rule


class _LinedTape(Tape):
    """A tape that knows which line of the user's each node came from."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[int, str] = {}
        # Of backward passes, all that is known is who asked for the derivative: they are named by
        # the one line of the user's that has the same operation.
        self._outside = line_of_call()
        self._of: dict[Any, set[str]] = {}

    def apply(self, fn: Any, args: Any, kwargs: Any, value: Any, raw: Any) -> Any:
        first = len(self.graph.nodes)
        found = super().apply(fn, args, kwargs, value, raw)
        if len(self.graph.nodes) > first:
            line = line_of_call() or ""
            if line == self._outside:
                known = self._of.get(fn, set())
                line = next(iter(known)) if len(known) == 1 else ""
            else:
                self._of.setdefault(fn, set()).add(line)
            for i in range(first, len(self.graph.nodes)):
                self.lines[i] = line
        return found


def dependence(program: Program, examples: Arrays, inputs: range) -> Found:
    """What the outputs of ``program`` depend on among its ``inputs``, at any point.

    The program must be linear in these inputs.
    """
    tape = _LinedTape()
    top = tracer.trace_stack.top
    try:
        outputs = trace(tape, program, examples)
    except Exception:
        if tape.escaped is not None:
            raise tape.escaped from None
        raise
    finally:
        tracer.trace_stack.top = top
    if tape.escaped is not None:
        raise tape.escaped
    shapes = [np.shape(examples[i]) for i in inputs]
    report = Report(inputs=sum(map(prod, shapes)))
    sets = dict(zip(inputs, dep.identity(shapes), strict=True))
    values: dict[Node, Any] = {
        node: IndexSets(node.shape, sets.get(i), report, node.dtype)
        for i, node in enumerate(tape.inputs)
    }
    found = [_value(node, values, report, tape.lines) for node in outputs]
    deps = [d.deps if isinstance(d, IndexSets) else None for d in found]
    matrix = dep.stacked(deps, [np.shape(d) for d in found], sum(map(prod, shapes)))
    return Found(matrix, str(report))


def _value(wanted: Node, values: dict[Node, Any], report: Report, lines: dict[int, str]) -> Any:
    """The index sets of a node (or its value, where it is constant), and of all it is made of."""
    stack = [wanted]
    while stack:
        node = stack[-1]
        waiting = [p for p in node.parents if p not in values]
        if node in values or not waiting:
            stack.pop()
            if node not in values:
                values[node] = node.value if node.is_constant else _run(node, values, report, lines)
        stack += waiting
    return values[wanted]


def _run(node: Node, values: dict[Node, Any], report: Report, lines: dict[int, str]) -> Any:
    fn: Any = node.fn
    args = substitute(node.args, values.__getitem__)
    kwargs = {name: substitute(value, values.__getitem__) for name, value in node.kwargs.items()}
    sets = list(leaves([args, kwargs]))
    if not any(s.deps is not None for s in sets):
        if not sets:
            return fn(*args, **kwargs)
        if node.shape is not None:
            return IndexSets(node.shape, None, report, node.dtype)
    rule = args[0] if args and isinstance(args[0], Rule) else None
    name = rule.name if rule else getattr(fn, "__name__", str(fn))
    line: Line = lambda: f", at {found}" if (found := lines.get(node.index, "")) else ""
    before = set(report.operations)

    def everything(shape: Any, dtype: Any) -> IndexSets:
        found = report.everything(name, line, [s.deps for s in sets], shape)
        return IndexSets(shape, found, report, dtype)

    with report.naming(name, line):
        try:
            return OWN.get(fn, fn)(*args, **kwargs)
        except (dep.TooDense, CannotRecord):
            raise
        except Exception:
            # Functions that want values, or that NumPy does not dispatch.
            if node.shape is not None:
                return everything(node.shape, node.dtype)
            if rule is None:
                raise
            # A rule of several results.
            return tuple([everything(y.shape, y.dtype) for y in rule.outputs(tuple(args[1:]))])
        finally:
            # What runs now is not the user's function.
            report.operations |= {new: line() for new in set(report.operations) - before}


def _scatter(base: Any, shape: Any, dtype: Any, index: Any, x: Any, overwrite: bool = False) -> Any:
    report = next(leaves([base, index, x])).report
    deps = [v.deps if isinstance(v, IndexSets) else None for v in (base, x)]
    if any(True for _ in leaves([index])):
        found = report.everything("indexing by values", lambda: "", deps, shape)
        return IndexSets(shape, found, report, dtype)
    at = np.arange(prod(shape)).reshape(shape)[index]
    spread = dep.broadcast(deps[1], np.shape(at))
    return IndexSets(shape, dep.scatter(deps[0], spread, at, shape, overwrite), report, dtype)


def _written(array: Any, index: Any, value: Any) -> Any:
    return _scatter(array, np.shape(array), array.dtype, index, value, overwrite=True)


# Index sets in place of the functions that are not NumPy's.
OWN: dict[Any, Any] = {
    functions.scatter: _scatter,
    write.fun: _written,
    functions.product: lambda a, b, shape, dtype: np.dot(a, b),
    functions.cast: lambda x, dtype: x.astype(dtype),
    functions.joined: lambda parts, shape, dtype: np.concatenate(parts),
    functions.gathered: lambda x, index: x[index],
    functions.total: lambda x, axes, keepdims: np.sum(x, axis=axes, keepdims=keepdims),
    functions.expand: lambda x, shape, dtype: np.broadcast_to(x, shape),
}
