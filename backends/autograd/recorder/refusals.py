"""Which calls cannot be recorded, because their meaning is more than a function of arrays."""

from typing import Any, NoReturn, Protocol

import numpy as np
from autograd import tracer

from diffface.backends.autograd.recorder.boxes import is_a
from diffface.backends.autograd.recorder.functions import DATA_ARGUMENTS, is_numpy, is_ufunc
from diffface.backends.autograd.recorder.graph import nodes_in
from diffface.backends.autograd.recorder.shapes import GETITEM

# Options that carry data, so that they do not decide the shape or the dtype of a result.
_DATA_OPTIONS = ("where", "initial", "fill_value", "weights", "a_min", "a_max", "min", "max")


class Recording(Protocol):
    """What is asked of a tape here."""

    def escape(self, reason: str) -> NoReturn:
        """Refuse the recording."""

    def argument(self, x: Any) -> Any:
        """Return an argument with nodes for boxes."""


def result_type(tape: Recording, value: Any) -> tuple[Any, Any]:
    """Return the shape and dtype of a result; refuse what is no array of numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = value.dtype
    elif isinstance(value, (bool, int, float, complex)):
        dtype = np.result_type(value)
    else:
        tape.escape(f"a function returned a {type(value).__name__}")
    if dtype.kind not in "biufc":
        tape.escape(f"a function returned an array of dtype {dtype}")
    return np.shape(value), dtype


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", "?")


def refuse_unsafe(tape: Recording, fn: Any, args: Any, kwargs: Any, value: Any) -> None:
    """Stop the recording if the call ``fn(*args, **kwargs)``, which gave `value`, is not pure.

    Or if the shape or dtype of its result may depend on values.
    """
    if is_a(value, tracer.Box):
        tape.escape(f"`{_name(fn)}` hides a value that it depends on")
    # Given by position, what is written to is what is returned.
    by_position = any(a is value for a in args if isinstance(a, np.ndarray))
    if by_position or kwargs.get("out") is not None:
        tape.escape(f"`{_name(fn)}` writes into an array (`out=`)")
    if type(fn) is np.ufunc and not kwargs:
        return
    if fn is GETITEM:
        index = nodes_in(tape.argument(args[1]))
        if any(n.dtype.kind == "b" for n in index if not n.is_constant):
            tape.escape("a boolean mask that depends on a value selects elements")
    elif is_numpy(fn) and not is_ufunc(fn):
        _refuse_numpy(tape, fn, args, kwargs)


def _refuse_numpy(tape: Recording, fn: Any, args: Any, kwargs: Any) -> None:
    data = DATA_ARGUMENTS.get(fn)
    if data is None or (fn is np.where and len(args) != 3):
        tape.escape(f"the shape or dtype of the result of `{fn.__name__}` may depend on values")
    options = [v for k, v in kwargs.items() if k not in _DATA_OPTIONS] + list(args[data:])
    if any(not n.is_constant for n in nodes_in(tape.argument(options))):
        tape.escape(f"an option of `{fn.__name__}` depends on a value")
    if fn in (np.ravel, np.reshape) and any(type(o) is str and o in "AaKk" for o in options):
        tape.escape(f"`{fn.__name__}` depends on how an array lies in memory (`order=`)")
