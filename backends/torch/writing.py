"""Reading memory that is written to later, on torch: operations get copies of it."""

from functools import lru_cache
from typing import Any

import torch
from torch._C import _functorch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

# Python's operators, by the names of operations
_OPERATORS = {
    "mul": "mul", "rmul": "mul", "truediv": "div", "rtruediv": "div", "rdiv": "div", "div": "div",
    "add": "add", "radd": "add", "sub": "sub", "rsub": "rsub", "pow": "pow", "rpow": "pow",
    "neg": "neg", "abs": "abs", "matmul": "matmul", "rmatmul": "matmul",
}  # fmt: skip

_IN_PLACE = {
    "__iadd__", "__idiv__", "__imod__", "__imul__", "__ipow__", "__isub__", "__itruediv__",
}  # fmt: skip
# Composed of other operations, and new all the same
_COMPOSED = {
    "absolute", "cross", "cumulative_trapezoid", "diff", "divide", "float_power", "inner", "kron",
    "linalg_det", "linalg_norm", "linalg_solve", "log_softmax", "logsumexp", "matmul", "max", "min",
    "multiply", "negative", "outer", "softmax", "square", "std", "subtract", "tensordot",
    "trapezoid", "true_divide", "var", "where",
}  # fmt: skip


class Writing(TorchFunctionMode):
    """Lets a function write over what its derivative needs.

    Torch keeps the operands of a product, and refuses a backward pass once they were written over.
    A copy is a node of the graph as any other, so that this holds to every order, and in a recorded
    graph it costs nothing.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        updates = _updates(func)
        if (updates or _reads(func)) and not (kwargs and kwargs.get("out") is not None):
            args = (*args[:updates], *_copied(args[updates:]))
            kwargs = kwargs and {name: _copied(x) for name, x in kwargs.items()}
        return func(*args, **(kwargs or {}))


def as_read(x: Any) -> Any:
    """``x`` as an operation with a rule may keep it, which is no function of torch's."""
    stack = _get_current_function_mode_stack()
    return _copied(x) if any(type(mode) is Writing for mode in stack) else x


def _copied(x: Any) -> Any:
    """``x`` with copies of the tensors in it that were written to."""
    if isinstance(x, torch.Tensor):
        return x.clone() if _was_written(x) else x
    return type(x)(map(_copied, x)) if type(x) in (tuple, list) else x


def _was_written(x: torch.Tensor) -> bool:
    while _functorch.is_functorch_wrapped_tensor(x):
        if x._version:
            return True
        x = _functorch.get_unwrapped(x)
    return bool(x._version)


def _updates(func: Any) -> bool:
    """Whether ``func`` writes into its first argument, and reads the others."""
    name = getattr(func, "__name__", "")
    return name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))


@lru_cache(maxsize=1000)
def _reads(func: Any) -> bool:
    """Whether ``func`` surely only reads its arguments, and returns no views of them."""
    name = getattr(func, "__name__", "")
    name = _OPERATORS.get(name.strip("_"), "") if name.startswith("__") else name
    found = [each for each in _schemas(f"aten::{name}") if "out" not in each.overload_name]
    return name in _COMPOSED or (bool(found) and not any(map(_may_alias, found)))


def _schemas(name: str) -> list[Any]:
    """Those of the operations of this name that are for tensors, not for scripts."""
    schemas: Any = torch._C._jit_get_schemas_for_operator(name)
    return [each for each in schemas if torch._C._dispatch_has_kernel(_qualified(each))]


def _qualified(schema: Any) -> str:
    overload = schema.overload_name
    return f"{schema.name}.{overload}" if overload else str(schema.name)


def _may_alias(schema: Any) -> bool:
    if any(a.alias_info for a in (*schema.arguments, *schema.returns)):
        return True
    # What is composed of others may return its argument
    find = torch._C._dispatch_has_kernel_for_dispatch_key
    return bool(find(_qualified(schema), "CompositeImplicitAutograd"))
