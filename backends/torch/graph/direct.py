"""Calls of programs without looks at each tensor, which one look at all of them replaces.

Knows: what programs assume about their inputs, and torch's own guard of tensors.
Must not know: what is computed.
"""

from collections.abc import Callable

from torch._C._dynamo.guards import TensorGuards

from diffface.backends.compiled import Array, Program
from diffface.backends.torch.levels import are_plain

# To meet tensors takes longer than the guards of single arrays, which know them all.
_MEETINGS = 32


class Direct:
    """A program for tensors like earlier ones.

    Torch's guard compares class, dtype, device, sizes, strides and ``requires_grad`` of each tensor
    and what is dispatched on: layout, lazy negation and conjugation, inference mode, autocast, and
    in this thread transforms of torch.func and tracing. Modes of dispatch it may overlook.

    Parameters
    ----------
    run : callable
        For tensors that are nothing but memory, row by row, which nobody watches.

    Attributes
    ----------
    knows : callable
        Whether tensors, outside of modes of dispatch, are like those of the last `meet`.
    """

    __slots__ = ("_left", "knows", "run")

    def __init__(self, run: Program) -> None:
        self.run = run
        self.knows: Callable[..., bool] = _knows_none
        self._left = _MEETINGS

    def meet(self, *tensors: Array) -> None:
        """Know tensors like these, if ``run`` can take them, and not too many came before."""
        if self._left <= 0:
            return
        self._left -= 1
        # The guard wants to see each tensor once.
        if len({*map(id, tensors)}) == len(tensors) and _are_bare(*tensors):
            guards = TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None)
            self.knows = guards.check


def _are_bare(*tensors: Array) -> bool:
    """Whether tensors are nothing but memory, row by row, and nobody watches."""
    return are_plain(*tensors) and all(
        x.is_contiguous() and not x.is_neg() and not x.is_conj() for x in tensors
    )


def _knows_none(*_: object) -> bool:
    return False
