"""The names in the source of a program, and what they stand for."""

from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import implementation, is_numpy, is_ufunc
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.errors import CannotRecord

_TRUSTED = ("autograd", "diffface")
_PREFIXED = ("linalg", "fft")
# Next to arrays, Python's numbers are weak in type promotion.
_WEAK = (bool, int, float, complex)


class Names:
    """The global names of one program: functions and constants; and the local ones of its values.

    Attributes
    ----------
    globals : dict
        What the source is executed in.
    comments : list of str
        One line on each constant.
    local : dict of Node to str
        The variable of each value that has one now.
    """

    def __init__(self, inputs: list[Node]) -> None:
        self.globals: dict[str, Any] = {}
        self.comments: list[str] = []
        self.local = {node: f"x{i}" for i, node in enumerate(inputs)}
        self._known: dict[Any, str] = {}
        self._free: list[str] = []
        self._count = 0

    def operand(self, node: Node) -> str:
        """Return the name of a value."""
        return self.constant(node.value) if node.is_constant else self.local[node]

    def number(self, node: Node, others: list[Any]) -> str:
        """Return the name of a constant scalar next to arrays of the dtypes `others`.

        It is an array of no dimensions, which NumPy takes twice as fast as a number.
        """
        value = node.value
        dtype = np.result_type(*others, value) if type(value) in _WEAK else node.dtype
        return self.constant(np.asarray(value, dtype))

    def constant(self, value: Any) -> str:
        """Return the name of a constant."""
        scalar = isinstance(value, np.ndarray) and value.ndim == 0
        key = (value.dtype.str, value.tobytes()) if scalar else id(value)
        if key not in self._known:
            self._known[key] = name = f"c{len(self.comments)}"
            self.globals[name] = value  # which keeps its id alive, too
            value = value[()] if scalar else value  # NumPy shows its numbers faster than its arrays
            text = f"{value.dtype} {value.shape}" if getattr(value, "ndim", 0) else repr(value)
            self.comments.append(f"# {name}: {text.splitlines()[0]}")
        return self._known[key]

    def bind(self, fn: Any) -> str:
        """Return the name of a function."""
        if fn not in self._known:
            self._bind(fn, fn, implementation(fn))
        return self._known[fn]

    def function(self, node: Node) -> str:
        """Return the name of a node's function, checked at run time if it is a stranger."""
        fn: Any = node.fn
        module = str(getattr(fn, "__module__", "")).split(".")[0]
        if is_ufunc(fn) or is_numpy(fn) or module in _TRUSTED:
            return self.bind(fn)
        key = (fn, node.shape, node.dtype)
        if key not in self._known:
            self._bind(key, fn, _checked(fn, node.shape, node.dtype))
        return self._known[key]

    def variable(self) -> str:
        """Return the name of a variable that is free."""
        if self._free:
            return self._free.pop()
        self._count += 1
        return f"t{self._count}"

    def release(self, node: Node) -> None:
        """Give the variable of a value to values to come."""
        name = self.local.get(node, "")
        if name.startswith("t") and name not in self._free:
            self._free.append(name)

    def _bind(self, key: Any, fn: Any, target: Any) -> None:
        name = _spelling(fn)
        while name in self.globals:
            name += "_"
        self._known[key] = name
        self.globals[name] = target


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

    def call(*args: Any, **kwargs: Any) -> Any:
        result = fn(*args, **kwargs)
        if np.shape(result) != shape or np.result_type(result) != dtype:
            raise CannotRecord(
                f"`{fn.__name__}` returned another shape or dtype than when it was recorded"
            )
        return result

    return call
