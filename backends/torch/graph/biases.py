"""Biases of linear layers, added by whatever kernel comes after the product.

torch's own kernel for the processor copies the bias to each row of the result before it multiplies.
"""

import torch
from torch import fx

from diffface.backends.torch.graph.graph import aten

# Others round once for the product and the sum
_DTYPES = (torch.float32, torch.float64)


def part_biases(module: fx.GraphModule) -> None:
    """Write products with a bias as a product and a sum; nodes have a `Look` in ``meta["val"]``."""
    for node in list(module.graph.nodes):
        if node.target is not aten.addmm.default or node.kwargs:
            continue
        bias, *factors = node.args
        look = node.meta["val"]
        if bias.meta["val"].dim() != 1 or look.dtype not in _DTYPES or look.device.type != "cpu":
            continue
        with module.graph.inserting_before(node):
            product = module.graph.call_function(aten.mm.default, tuple(factors))
            # Inductor would put the two together again, were they side by side.
            apart = module.graph.call_function(aten.view.default, (product, [1, *look.shape]))
            whole = module.graph.call_function(aten.add.Tensor, (apart, bias))
            result = module.graph.call_function(aten.view.default, (whole, [*look.shape]))
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)
        module.graph.erase_node(node)
    module.recompile()
