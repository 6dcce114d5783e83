"""Results written into arrays that the caller provides."""

from typing import Any

import numpy as np

from diffface.backends._adapter import Adapter
from diffface.backends._errors import InvalidArgumentError
from diffface.backends._kind import Kind, kind_of
from diffface.prep._tree import flatten, paths


def write(result: Any, out: Any, adapter: Adapter) -> Any:
    """Overwrite the leaves of ``out`` with those of ``result``, and return ``out``."""
    values, wanted = flatten(result, adapter)
    targets, found = flatten(out, adapter)
    if found != wanted:
        raise InvalidArgumentError(
            "`out` must have the structure of the derivative, "
            f"{wanted.num_leaves} leaves as in {type(result).__name__}, got {type(out).__name__} "
            f"with {found.num_leaves}."
        )
    for value, target, place in zip(values, targets, paths(wanted), strict=True):
        kind = kind_of(value)
        assert kind is not None
        check(target, kind, value, f"out{place}")
    for value, target in zip(values, targets, strict=True):
        target[...] = value
    return out


def check(target: Any, kind: Kind, value: Any, name: str) -> None:
    """Refuse a ``target`` that cannot take ``value``."""
    own = kind_of(target)
    shape, dtype, device = kind.describe(value)
    if own is None or own.name not in ("numpy", "torch"):
        raise InvalidArgumentError(
            f"`{name}` must be a NumPy array or a torch tensor, got {type(target).__name__}."
        )
    found_shape, found_dtype, found_device = own.describe(target)
    if (found_shape, found_dtype) != (shape, dtype):
        raise InvalidArgumentError(
            f"`{name}` must have shape {shape} and dtype {dtype.name} like the result, got "
            f"{found_shape} and {found_dtype.name}."
        )
    if isinstance(target, np.ndarray) and not target.flags.writeable:
        raise InvalidArgumentError(f"`{name}` must be writable, got a read-only array.")
