"""From the graph of one point to that of many."""

from diffface.backends.autograd.recorder.batch import Batch, Value, replaced
from diffface.backends.autograd.recorder.batch_rules import RULES, elementwise
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.errors import CannotRecord


def batched(
    inputs: list[Node], outputs: list[Node], order: list[Node], moving: tuple[bool, ...], size: int
) -> tuple[list[Node], list[Node]]:
    """Inputs and outputs of a graph of ``size`` points at once.

    Parameters
    ----------
    inputs, outputs : list of Node
        Of the graph of one point.
    order : list of Node
        What the outputs need, in the order of execution.
    moving : tuple of bool
        Which of the inputs have the points as their first axis; the others are shared.
    size : int
        How many points there are.

    Raises
    ------
    CannotRecord
        If a function in the graph is none that can be batched.
    """
    batch = Batch(size)
    for node, moves in zip(inputs, moving, strict=True):
        shape = (size, *node.shape) if moves else node.shape
        batch.known[node] = batch.graph.input(shape, node.dtype), moves
    new = [batch.known[node][0] for node in inputs]
    for node in order:
        if node not in batch.known:
            batch.known[node] = _value(batch, node)
    return new, [batch.spread(node) for node in outputs]


def _value(batch: Batch, node: Node) -> Value:
    """The value of ``node`` at all points."""
    if node.is_constant:
        return batch.graph.constant(node.value), False
    if node.fn is None:
        raise CannotRecord("an input that is not listed")
    if not any(batch.known[parent][1] for parent in node.parents):
        args = replaced(node.args, batch.plain)
        kwargs = {name: replaced(item, batch.plain) for name, item in node.kwargs.items()}
        return batch.graph.node(node.fn, args, kwargs, node.shape, node.dtype), False
    rule = RULES.get(node.fn)
    if rule is None and node.is_elementwise:
        rule = elementwise
    made = None if rule is None or node.shape is None else rule(batch, node, node.args, node.kwargs)
    if made is None:
        name = getattr(node.fn, "__name__", "?")
        raise CannotRecord(f"`{name}` has no rule for many points")
    return made, True
