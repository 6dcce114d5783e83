"""The names in a program that is written as Python source."""

from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import (
    implementation,
    is_numpy,
    is_trusted,
    is_ufunc,
)
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.names import Names

_PREFIXED = ("linalg", "fft")
# Next to arrays, Python's numbers are weak in type promotion.
WEAK = (bool, int, float, complex)


class ProgramNames:
    """The global names of one program: functions and constants; and the local ones of its values.

    Attributes
    ----------
    bound : Names
        The global ones.
    comments : list of str
        One line on each constant.
    local : dict of Node to str
        The variable of each value that has one now.
    """

    def __init__(self, inputs: list[Node]) -> None:
        self.bound = Names()
        self.comments: list[str] = []
        self.local = {node: f"x{i}" for i, node in enumerate(inputs)}
        # Numbers are the same if their bits are, checked functions if their functions are.
        self._same: dict[Any, Any] = {}
        self._free: dict[str, None] = {}
        self._count = 0

    def operand(self, node: Node) -> str:
        """Return the name of a value."""
        return self.constant(node.value) if node.is_constant else self.local[node]

    def number(self, node: Node, others: list[Any]) -> str:
        """Return the name of a constant scalar next to arrays of the dtypes `others`.

        It is an array of no dimensions, which NumPy takes twice as fast as a number.
        """
        value = node.value
        dtype = np.result_type(*others, value) if type(value) in WEAK else node.dtype
        return self.constant(np.asarray(value, dtype))

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        scalar = isinstance(value, np.ndarray) and value.ndim == 0
        if scalar:
            value = self._same.setdefault((value.dtype.str, value.tobytes()), value)
        count = len(self.bound.namespace)
        name = self.bound(value, "c")
        if len(self.bound.namespace) > count:
            value = value[()] if scalar else value  # NumPy shows its numbers faster than its arrays
            text = f"{value.dtype} {value.shape}" if getattr(value, "ndim", 0) else repr(value)
            self.comments.append(f"# {name}: {text.splitlines()[0]}")
        return name

    def bind(self, fn: Any) -> str:
        """Return the name of a function."""
        return self.bound.spell(implementation(fn), _spelling(fn))

    def function(self, node: Node) -> str:
        """Return the name of a node's function, checked at run time if it is a stranger."""
        fn: Any = node.fn
        if is_trusted(fn):
            return self.bind(fn)
        # Each call of a function with several results has shapes of its own.
        key = (fn, node.shape, node.dtype) if node.shape is not None else (fn, node)
        checked = self._same.get(key) or _checked(fn, node.shape, node.dtype)
        return self.bound.spell(self._same.setdefault(key, checked), _spelling(fn))

    def variable(self) -> str:
        """Return the name of a variable that is free."""
        if self._free:
            return self._free.popitem()[0]
        self._count += 1
        return f"t{self._count}"

    def release(self, node: Node) -> None:
        """Give the variable of a value to values to come."""
        name = self.local.get(node, "")
        if name.startswith("t"):
            self._free[name] = None


def _spelling(fn: Any) -> str:
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}_{fn.__name__}"
    name = getattr(fn, "__name__", type(fn).__name__)
    name = "".join(c if c.isalnum() else "_" for c in name).strip("_")
    module = [*str(getattr(fn, "__module__", "")).split("."), ""]
    if module[0] == "numpy" and module[1] in _PREFIXED:
        return f"{module[1]}_{name}"
    # Strangers could be called anything: t1, say, or run.
    return name if is_numpy(fn) or is_ufunc(fn) else f"{name}_"


def _checked(fn: Any, shape: Any, dtype: Any) -> Any:
    """Return `fn`, of which we know nothing, with what the program relies on checked."""
    # Of a function with several results, the first run shows it, which is that of the recording.
    expected: Any = [] if shape is None else [(shape, dtype)]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        parts = result if shape is None else (result,)
        found = [(np.shape(part), np.result_type(part)) for part in parts]
        if shape is None and not expected:
            expected[:] = found
        if found != expected:
            raise CannotRecord(
                f"`{fn.__name__}` returned another shape or dtype than when it was recorded"
            )
        return result

    return call
