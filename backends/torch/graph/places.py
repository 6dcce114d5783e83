"""Places of parts in the memory of tensors, for views that look at nothing, and new memory.

Knows: what a slice and an index mean, and how tensors lie row by row.
Must not know: which tensors lie so.
"""

from math import prod
from typing import Any

from torch._C._dynamo import guards

# ``view(tensor, shape, strides, start)`` takes no more time than it takes to make a tensor, half of
# what `torch.Tensor.narrow` takes. Some releases of torch may not have it.
view: Any = getattr(guards, "_reinterpret_tensor", None)
# ``empty(shape, strides, dtype)`` on the processor
empty: Any = getattr(guards, "_empty_strided_cpu", None)


def place(
    shape: tuple[int, ...], where: tuple[Any, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Shape, strides and start of a part of a tensor that lies row by row.

    Parameters
    ----------
    shape : tuple of int
        That of the tensor.
    where : tuple
        ``(dim, index)``, or ``(dim, start, end, step)``.
    """
    lengths, steps = [*shape], [prod(shape[i + 1 :]) for i in range(len(shape))]
    dim = where[0] % len(shape)
    if len(where) == 2:
        start = where[1] % shape[dim] * steps[dim]
        del lengths[dim], steps[dim]
    else:
        within = range(shape[dim])[slice(*where[1:])]
        start = within.start * steps[dim]
        lengths[dim], steps[dim] = len(within), within.step * steps[dim]
    return tuple(lengths), tuple(steps), start
