"""Torch's own kernels in a program for inductor, and whether to call them from C++ or from Python.

Knows: which operations inductor leaves to torch, and in which it has a code of its own.
Must not know: how a program is compiled.

A call from C++ is a microsecond or two shorter, and the code around the calls is then compiled in
one run with inductor's own kernels. For few calls that run takes longer than it saves.
"""

from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from diffface.backends.torch.graph.graph import aten_names, is_random, name_of

_KERNELS = aten_names(
    """
    _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_flash_attention_for_cpu_backward addmm baddbmm bmm convolution
    convolution_backward mm
    """
)
# So many calls make up for the longer run
_MANY = 4
_DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool)


def calls_many(module: fx.GraphModule) -> bool:
    """Whether to call kernels from C++: many, and nothing else that torch has few tests of there.

    Parameters
    ----------
    module : GraphModule
        As inductor gets it, with fake tensors in ``meta["val"]``.
    """
    # Half a second, for those who compile
    from torch._inductor import config
    from torch._inductor.lowering import fallbacks

    if not hasattr(config, "cpp_cache_precompile_headers"):
        return False  # an older torch, in which torch's headers would be compiled every time

    calls = [node for node in module.graph.nodes if isinstance(node.target, OpOverload)]
    others = [node for node in calls if name_of(node) not in _KERNELS]
    return (
        len(calls) - len(others) >= _MANY
        and all(map(_is_common, module.graph.nodes))
        and all(
            node.target.namespace in ("aten", "prims")
            and node.target not in fallbacks
            and not is_random(node)
            for node in others
        )
    )


def _is_common(node: fx.Node) -> bool:
    """Whether its results are numbers of common kinds, in the memory of the processor."""
    value: Any = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else (value,)
    return all(
        x.device.type == "cpu" and x.dtype in _DTYPES for x in values if isinstance(x, torch.Tensor)
    )
