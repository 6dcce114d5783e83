"""What is under way in torch: transforms, dual numbers, tracing, and graphs that reach further."""

import dis
import re
import types
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch._C import _functorch, _len_torch_dispatch_stack
from torch._subclasses import FakeTensor
from torch.autograd import forward_ad

from diffface.backends.compiled import Array

# Packages whose functions and modules keep no tensors of the user's.
_LIBRARIES = {
    "array_api_compat", "builtins", "collections", "diffface", "functools", "itertools", "math",
    "numpy", "operator", "scipy", "torch",
}  # fmt: skip
# Functions of torch.special without a derivative, by their names.
WITHOUT_RULE = re.compile(r"bessel|airy_ai|_polynomial_")

# Tensors that are nothing but memory.
PLAIN = (torch.Tensor, torch.nn.Parameter)

_HARMLESS = (bool, int, float, complex, str, bytes, type(None), types.BuiltinFunctionType)


def in_transform() -> bool:
    """Whether a transform of torch.func is under way in this thread."""
    return _functorch.peek_interpreter_stack() is not None


def in_derivative() -> bool:
    """Whether a differentiation by dual numbers or by torch.func is under way, besides ours."""
    if forward_ad._current_level >= 0:
        return True
    stack = _functorch.get_interpreter_stack() if in_transform() else None
    vmap = _functorch.TransformType.Vmap
    return any(i.key() != vmap for i in stack or ())


def in_batch() -> bool:
    """Whether a vmap of torch.func is under way."""
    stack = _functorch.get_interpreter_stack() if in_transform() else None
    return any(i.key() == _functorch.TransformType.Vmap for i in stack or ())


def alive(array: Array) -> Array:
    """``array`` without the wrappers of transforms that are over, which no new one can take."""
    while (inner := _functorch.unwrap_if_dead(array)) is not array:
        array = inner
    return array


def primal(array: Array) -> Array:
    """``array`` without its tangent of the innermost forward differentiation."""
    if _functorch.is_batchedtensor(array):
        # The operation that unpacks has no rule for batches.
        inner, axis = _functorch.get_unwrapped(array), _functorch.maybe_get_bdim(array)
        return _functorch._add_batch_dim(primal(inner), axis, _functorch.maybe_get_level(array))
    stack = _functorch.get_interpreter_stack() or []
    levels = [i.level() for i in stack if i.key() == _functorch.TransformType.Jvp]
    if not levels:
        return forward_ad.unpack_dual(array).primal
    inner = _functorch._unwrap_for_grad(array, levels[-1])
    return _functorch._wrap_for_grad(inner, levels[-1])


def transformed() -> bool:
    """Whether tensors may be more than they seem: wrapped, dual, or recorded."""
    return (
        _functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or _len_torch_dispatch_stack() > 0
    )


def are_plain(*tensors: Array) -> bool:
    """Whether tensors are nothing but memory, and nobody watches what is done to them.

    Fake tensors, transforms and tracers want to see every operation.
    """
    if _len_torch_dispatch_stack() > 0 or _functorch.maybe_current_level() is not None:
        return False
    if torch._C._get_tracing_state() is not None:
        return False
    return all([type(x) in PLAIN for x in tensors])  # noqa: C419 - a generator takes longer


def is_traced(array: Array) -> bool:
    """Whether ``array`` carries a derivative, is fake, or is being recorded."""
    if array.requires_grad and torch.is_grad_enabled():
        return True
    if not transformed():
        return isinstance(array, FakeTensor)
    if _functorch.is_functorch_wrapped_tensor(array) or _len_torch_dispatch_stack() > 0:
        return True
    if forward_ad._current_level < 0:
        return isinstance(array, FakeTensor)
    return forward_ad.unpack_dual(array).tangent is not None


def captures(outputs: Iterable[Array], leaves: Sequence[Array], mark: str = "") -> bool:
    """Whether the graph of ``outputs`` has other ends than ``leaves``, and those with ``mark``."""
    own = {id(leaf) for leaf in leaves}
    for node in _nodes(outputs):
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in own and not hasattr(variable, mark):
            return True
    return False


def uses_norms(outputs: Iterable[Array]) -> bool:
    """Whether the graph of ``outputs`` normalises layers, batches or groups."""
    return any("Norm" in node.name() and "Native" in node.name() for node in _nodes(outputs))


def is_once_differentiable(outputs: Iterable[Array]) -> bool:
    """Whether the graph of ``outputs`` ends where a function forbids to go on."""
    return any("Error" in node.name() for node in _nodes(outputs))


def _nodes(outputs: Iterable[Array]) -> Iterator[Any]:
    stack = [a.grad_fn for a in outputs if a.grad_fn is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        yield node
        for other, _ in node.next_functions:
            if other is not None and other not in seen:
                seen.add(other)
                stack.append(other)


def may_capture(f: Any) -> bool:
    """False only if nothing that ``f`` reaches by name can be a tensor that requires grad."""
    return _may_hold(f, set())


def _may_hold(value: Any, seen: set[int]) -> bool:
    if isinstance(value, types.FunctionType):
        return _function_may_hold(value, seen)
    if isinstance(value, _HARMLESS):
        return False
    if isinstance(value, torch.Tensor):
        return bool(value.requires_grad)
    if isinstance(value, types.ModuleType | type):
        name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
        return name.partition(".")[0] not in _LIBRARIES
    if isinstance(value, list | tuple):
        return len(value) > 100 or any(_may_hold(each, seen) for each in value)
    module = type(value).__module__.partition(".")[0]
    return module != "numpy"


def _function_may_hold(f: types.FunctionType, seen: set[int]) -> bool:
    if id(f) in seen:
        return False
    seen.add(id(f))
    names, imports = _globals_of(f.__code__)
    if (f.__module__ or "").partition(".")[0] in _LIBRARIES:
        names, imports = (), False
    if imports:
        return True
    for cell in f.__closure__ or ():
        try:
            if _may_hold(cell.cell_contents, seen):
                return True
        except ValueError:  # not filled yet
            return True
    for name in names:
        if name in f.__globals__ and _may_hold(f.__globals__[name], seen):
            return True
    return bool(f.__defaults__ or f.__kwdefaults__) and (
        _may_hold(f.__defaults__ or (), seen)
        or any(_may_hold(each, seen) for each in (f.__kwdefaults__ or {}).values())
    )


def names_without_rule(f: Any) -> bool:
    """Whether the code of ``f``, or of functions that it names, names one of `WITHOUT_RULE`."""
    return isinstance(f, types.FunctionType) and _names_without_rule(f, set())


def _names_without_rule(f: types.FunctionType, seen: set[int]) -> bool:
    seen.add(id(f))
    if _mentions_without_rule(f.__code__):
        return True
    for name in _globals_of(f.__code__)[0]:
        other = f.__globals__.get(name)
        if isinstance(other, types.FunctionType) and id(other) not in seen:
            library = (other.__module__ or "").partition(".")[0] in _LIBRARIES
            if not library and _names_without_rule(other, seen):
                return True
    return False


@lru_cache(maxsize=1024)
def _mentions_without_rule(code: types.CodeType) -> bool:
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    found = any(WITHOUT_RULE.search(name) for name in code.co_names)
    return found or any(map(_mentions_without_rule, inner))


@lru_cache(maxsize=1024)
def _globals_of(code: types.CodeType) -> tuple[tuple[str, ...], bool]:
    """Global names that ``code`` and what is defined in it use, and whether it imports."""
    names, imports = set(), False
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(instruction.argval)
        imports |= instruction.opname == "IMPORT_NAME"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, more = _globals_of(constant)
            names |= set(inner)
            imports |= more
    return tuple(sorted(names)), imports
