"""Values that escape from a trace: into numbers, memory or text that a graph cannot follow."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_call

READS_NUMBER = "a value was read as a Python number (a branch, float(), item(), an index)"
READS_SHAPE = "the shape of a result depends on values (a boolean mask, nonzero, unique)"
_READS_MEMORY = "the memory of a tensor was read (numpy(), dlpack, data_ptr)"
_READS_TEXT = "the values of a tensor were printed or made text"

# These answer for a tensor without values, or fail in a way that a program may swallow
_READERS = {
    torch.Tensor.__array__: _READS_MEMORY,
    torch.Tensor.__dlpack__: _READS_MEMORY,
    torch.Tensor.__format__: _READS_TEXT,
    torch.Tensor.__repr__: _READS_TEXT,
    torch.Tensor.data_ptr: _READS_MEMORY,
    torch.Tensor.numpy: _READS_MEMORY,
}
# These take values along, so that what they make looks like a constant
_COPIERS = {
    torch.Tensor.__cuda_array_interface__.__get__: _READS_MEMORY,
    torch.Tensor.__deepcopy__: _READS_MEMORY,
    torch.Tensor.__reduce_ex__: _READS_MEMORY,
    torch.Tensor.storage: _READS_MEMORY,
    torch.Tensor.tolist: READS_NUMBER,
    torch.Tensor.untyped_storage: _READS_MEMORY,
}
# These read numbers and lengths in memory without a word
_READ_INSIDE = {
    torch.Tensor.tensor_split, torch._pack_padded_sequence, torch.ctc_loss, torch.tensor_split,
}  # fmt: skip
# These do it with tensors in a list
_MADE_OF_LISTS = {
    torch.Tensor.__getitem__, torch.Tensor.__setitem__, torch.Tensor.new_tensor, torch.as_tensor,
    torch.asarray, torch.tensor,
}  # fmt: skip


class Escapes:
    """What a trace has seen escape; the first one is kept.

    An escape counts even where the program swallows the error: what it did next is a guess.
    """

    def __init__(self) -> None:
        self.first: CannotRecord | None = None

    def note(self, reason: str) -> CannotRecord:
        """Remember an escape that happens now, on this stack."""
        found = CannotRecord(reason, line_of_call())
        self.first = self.first or found
        return found


class WatchedCalls(TorchFunctionMode):
    """Refuses the Python calls that read a tensor behind the dispatcher's back."""

    def __init__(self, escapes: Escapes, varies: Callable[[torch.Tensor], bool]) -> None:
        super().__init__()
        self._escapes = escapes
        self._varies = varies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READERS:
            raise self._escapes.note(_READERS[func])
        if func in _COPIERS and self._varies(args[0]):
            raise self._escapes.note(_COPIERS[func])
        if func in _READ_INSIDE and any(map(self._varies, tensors(args[1:]))):
            raise self._escapes.note(READS_NUMBER)
        if func in _MADE_OF_LISTS and any(map(self._varies, _in_lists(args))):
            raise self._escapes.note(READS_NUMBER)
        return func(*args, **(kwargs or {}))


def _in_lists(args: Any) -> Iterator[torch.Tensor]:
    """Tensors in lists among ``args``, and in lists in a tuple, which is an index."""
    for x in args:
        if isinstance(x, list):
            yield from tensors(x)
        elif isinstance(x, tuple):
            yield from _in_lists(x)


def tensors(x: Any) -> Iterator[torch.Tensor]:
    """The tensors in a tree of lists, tuples and dicts."""
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, (list, tuple)):
        for each in x:
            yield from tensors(each)
    elif isinstance(x, dict):
        yield from tensors(tuple(x.values()))


def reads_values(error: BaseException) -> str | None:
    """Say in words how ``error`` betrays a look at values; None if it does not."""
    for link in _chain(error):
        # By name: one of these classes lives in a module that takes long to import
        name = type(link).__name__
        if name == "DynamicOutputShapeException":
            return READS_SHAPE
        if name in ("DataDependentOutputException", "GuardOnDataDependentSymNode"):
            return READS_NUMBER
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
