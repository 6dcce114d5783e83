"""How a value is written into an array that the caller gives, as Python source."""

import numpy as np

from diffface.backends.autograd.recorder.expressions import expression
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.kernels import scatter
from diffface.backends.autograd.recorder.names import Names
from diffface.backends.autograd.recorder.scattering import scatter_lines


def into_lines(names: Names, node: Node, target: str) -> list[str]:
    """Return the lines that write the value of `node` into the array `target`, of any layout.

    Sums of updates, ufuncs, products and repetitions need no memory; all else is copied.
    """
    if node.fn is scatter and node.args[0] is None:
        _, *updates = scatter_lines(names, node, target, "")
        return [f"{target}.fill(0)", *updates]
    if node.fn is scatter:
        return scatter_lines(names, node, target, f"{target}[...] = {names.operand(node.args[0])}")
    if node.fn is np.broadcast_to:
        return [f"{target}[...] = {names.operand(node.args[0])}"]
    if node.shape and node.fn is np.dot and all(x.ndim in (1, 2) for x in node.args):
        # `dot` takes contiguous arrays only; for one and two dimensions it is the same.
        product = ", ".join(names.operand(x) for x in node.args)
        return [f"{names.bind(np.matmul)}({product}, {target})"]
    written = expression(names, node)
    if node.shape and _is_elementwise(node):
        return [f"{written[:-1]}, {target})"]
    return [f"{target}[...] = {written}"]


def _is_elementwise(node: Node) -> bool:
    fn = node.fn
    if not isinstance(fn, np.ufunc) or node.kwargs:
        return False
    return fn.signature is None and fn.nout == 1 and len(node.args) == fn.nin
