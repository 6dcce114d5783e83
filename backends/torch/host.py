"""Calls of NumPy functions as one operation of torch, which stays whole in every graph."""

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch
from torch._C import _len_torch_dispatch_stack
from torch.autograd import forward_ad

from diffface.backends.compiled import Arrays
from diffface.backends.errors import UnsupportedOperatorError
from diffface.backends.rule import Rule
from diffface.backends.torch.arrays import TORCH

# A graph holds the number of a rule, which may have been made for that call alone. So our own
# graphs keep the rules that they call, and of those that torch traced the latest are kept here.
_rules: WeakValueDictionary[int, Rule] = WeakValueDictionary()
_traced: deque[Rule] = deque(maxlen=1024)
_called: ContextVar[list[Rule] | None] = ContextVar("called", default=None)
_numbers: WeakKeyDictionary[Rule, int] = WeakKeyDictionary()
_next = itertools.count()


def _keys() -> tuple[Any, Any]:
    return torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()


# What torch does with the operations of a thread that is in no transformation.
with ThreadPoolExecutor(1) as fresh:
    _PLAIN = fresh.submit(_keys).result()

_library = torch.library.Library("diffface", "DEF")  # the operation is there while this is
_library.define("host(int rule, Tensor[] x) -> Tensor[]")


@contextmanager
def called_rules() -> Iterator[list[Rule]]:
    """A list that grows by every rule that is called within, on this thread."""
    rules: list[Rule] = []
    token = _called.set(rules)
    try:
        yield rules
    finally:
        _called.reset(token)


def host_call(rule: Rule, x: Arrays) -> Arrays:
    """``rule.evaluate(x)`` on NumPy arrays."""
    called = _called.get()
    if called is not None:
        called.append(rule)
    elif _len_torch_dispatch_stack() > 0:
        _keep(rule)
    number = _numbers.get(rule)
    if number is None:
        number = _numbers[rule] = next(_next)
        _rules[number] = rule
    return tuple(torch.ops.diffface.host(number, list(x)))


def _rule(number: int) -> Rule:
    rule = _rules.get(number)
    if rule is None:
        raise UnsupportedOperatorError(
            "A compiled program calls a function with a rule that is gone; keep the function, or "
            "compile where it is."
        )
    return rule


def run_on_host(number: int, x: list[torch.Tensor]) -> list[torch.Tensor]:
    """What the operation does to tensors with values; cheaper than through torch's dispatcher."""
    rule = _rule(number)
    arrays = tuple(TORCH.to_numpy(a) for a in x)
    # Within a transformation torch switches its derivatives off, and what the rule differentiates
    # on its own would be zero.
    with torch._C._ForceDispatchKeyGuard(*_PLAIN), forward_ad._set_fwd_grad_enabled(True):
        y = rule.evaluate(arrays)
    # Copies where the function may keep what it returns, or return what it was given.
    copy = None if rule.fresh else True
    found = [torch.from_numpy(np.array(a, order="C", copy=copy)) for a in y]
    return found if x[0].is_cpu else [a.to(x[0].device) for a in found]


def _fake(number: int, x: list[torch.Tensor]) -> list[torch.Tensor]:
    rule = _rule(number)
    _keep(rule)
    found = rule.outputs(tuple(x))
    return [x[0].new_empty(o.shape, dtype=_torch_dtype(o.dtype)) for o in found]


def _keep(rule: Rule) -> None:
    """Keep a rule that torch may have traced."""
    if rule not in _traced:
        _traced.append(rule)


def _torch_dtype(dtype: Any) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


def _vmap(info: Any, in_dims: Any, number: int, x: list[torch.Tensor]) -> Any:
    dims = in_dims[1]
    if _rule(number).elementwise:
        y = torch.ops.diffface.host(number, _aligned(x, dims))
        return y, [0] * len(y)
    if info.batch_size == 0:
        singles = [
            a if d is None else a.new_ones(_without(a.shape, d))
            for a, d in zip(x, dims, strict=True)
        ]
        y = [a[None][:0] for a in torch.ops.diffface.host(number, singles)]
        return y, [0] * len(y)
    rows = [
        torch.ops.diffface.host(
            number, [a if d is None else a.select(d, i) for a, d in zip(x, dims, strict=True)]
        )
        for i in range(info.batch_size)
    ]
    y = [torch.stack(column) for column in zip(*rows, strict=True)]
    return y, [0] * len(y)


def _aligned(x: list[torch.Tensor], dims: Any) -> list[torch.Tensor]:
    """``x`` with the batch as leading axis where there is one, and as many axes each."""
    rank = max(a.dim() - (d is not None) for a, d in zip(x, dims, strict=True))
    aligned = []
    for a, d in zip(x, dims, strict=True):
        if d is not None:
            a = a.movedim(d, 0)
            a = a.reshape(a.shape[0], *(1,) * (rank - a.dim() + 1), *a.shape[1:])
        aligned.append(a)
    return aligned


def _without(shape: Any, dim: int) -> list[int]:
    return [n for i, n in enumerate(shape) if i != dim]


_library.impl("host", run_on_host, "CompositeExplicitAutograd")
torch.library.register_fake("diffface::host", _fake, lib=_library)
torch.library.register_vmap("diffface::host", _vmap, lib=_library)
HOST = torch.ops.diffface.host.default
