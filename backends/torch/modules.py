"""``torch.nn.Module`` as a tree: its tensors, and a skeleton of all else."""

import copy
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch._C import _len_torch_dispatch_stack

from diffface.backends.arrays import Subtree
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.recording.reachable import frozen
from diffface.backends.torch.contents import Contents
from diffface.backends.torch.processes import synchronises

# Modules of which it is remembered what they are made of.
_CAPACITY = 64


class Skeleton:
    """A module with gaps for its tensors, as it was when it was taken apart.

    Parameters
    ----------
    module : Module
        The caller's; nothing in it is changed or kept.
    tensors : sequence of Tensor
        What gaps are left for.
    shared : sequence of object
        What cannot be copied.
    rebuild : _Rebuild
        What else tells modules of other structures from this one.
    """

    __slots__ = ("__weakref__", "_empty", "_gaps", "_rebuild", "_shared")

    def __init__(
        self, module: nn.Module, tensors: Sequence[Any], shared: Sequence[object],
        rebuild: "_Rebuild",
    ) -> None:  # fmt: skip
        self._rebuild = rebuild
        self._gaps = [_Gap(i) for i in range(len(tensors))]
        self._shared = list(shared)
        memo = {id(t): gap for t, gap in zip(tensors, self._gaps, strict=True)}
        self._empty = copy.deepcopy(module, {**memo, **{id(each): each for each in shared}})

    def __repr__(self) -> str:
        mode = "training" if self._empty.training else "evaluation"
        return f"{type(self._empty).__name__} in {mode} mode"

    def filled(self, tensors: Iterable[Any]) -> Any:
        """Such a module, with ``tensors`` in it."""
        memo = {id(gap): t for gap, t in zip(self._gaps, tensors, strict=True)}
        return copy.deepcopy(self._empty, {**memo, **{id(each): each for each in self._shared}})


frozen.add(Skeleton)


class _Gap:
    """Stands for a tensor."""

    def __init__(self, index: int) -> None:
        self.index = index


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """From leaves to a module; from derivatives, which have no skeleton, to a dict by name.

    Attributes
    ----------
    names : tuple of str
        Of the parameters that a derivative is of; they come first.
    parameters : int
        How many parameters there are; those that are constant come next.
    """

    names: tuple[str, ...]
    parameters: int

    def __call__(self, leaves: Iterable[Any]) -> object:
        *tensors, skeleton = leaves
        if skeleton is None:
            return dict(zip(self.names, tensors, strict=False))
        for t in tensors:
            if not hasattr(t, "requires_grad"):
                raise NotDifferentiableError(
                    "A torch.nn.Module computes with tensors of torch alone, and would get NumPy "
                    "arrays; use backend='torch', and black_box=False where a rule or a solver "
                    "takes the module."
                )
        active, count = len(self.names), self.parameters
        # A layer may write to its buffers, such as running averages.
        held = [t.clone() if isinstance(t, torch.Tensor) else t for t in tensors[count:]]
        return skeleton.filled((*tensors[:active], *map(_frozen, tensors[active:count]), *held))


def subtree(module: nn.Module) -> Subtree:
    """``module`` taken apart; parameters that require a gradient are active."""
    entry = _known.get(id(module))
    if entry is None or entry.owner() is not module or not entry.is_unchanged():
        entry = _remember(module)
    return entry.subtree()


def leaves(module: nn.Module) -> Sequence[object] | None:
    """Those of `subtree`, as `ArrayLibrary.quick_leaves` says, if ``module`` is as it was."""
    entry = _known.get(id(module))
    if entry is None or entry.owner() is not module or not entry.is_unchanged():
        return None
    return entry.leaves()


class _Entry:
    """What a module is made of, and whether it still is."""

    def __init__(self, module: nn.Module) -> None:
        _refuse(module)
        self.owner = weakref.ref(module, partial(_forget, _known, id(module)))
        found = Contents(module)
        names = {id(p): name for name, p in module.named_parameters()}
        wanted = [p for p in module.parameters() if _is_wanted(p)]
        parameters = [*wanted, *(p for p in module.parameters() if not _is_wanted(p))]
        others = [t for _, t in found.tensors if id(t) not in names]
        self._tensors = [*parameters, *others]
        self._rebuild = _Rebuild(tuple(names[id(p)] for p in wanted), len(parameters))
        self._skeleton = Skeleton(module, self._tensors, found.shared, self._rebuild)
        places = {id(t): f".{name}" for name, t in found.tensors}
        self._names = (*(places[id(t)] for t in self._tensors), "")
        self._constant = (*(False for _ in wanted), *(True for _ in self._tensors[len(wanted) :]))
        self._flags = [getattr(t, "requires_grad", None) for t in self._tensors]
        self._types = [*map(type, self._tensors)]
        pairs = zip(self._types, self._flags, strict=True)
        self._is_plain = all(t is nn.Parameter or (t is torch.Tensor and not r) for t, r in pairs)
        self.contents = found

    def is_unchanged(self) -> bool:
        """Whether the module has the same tensors in the same places, and all else is the same."""
        flags = [getattr(t, "requires_grad", None) for t in self._tensors]
        return flags == self._flags and self.contents.is_unchanged()

    def subtree(self) -> Subtree:
        """The module taken apart as it is now."""
        leaves = [_value(t) if _is_value(t) else t for t in self._tensors]
        return Subtree(
            (*leaves, self._skeleton), self._rebuild, self._names, (*self._constant, True)
        )

    def leaves(self) -> Sequence[object] | None:
        """The tensors and the skeleton; None if a tensor is more than its numbers."""
        tensors = self._tensors
        if not self._is_plain or [*map(type, tensors)] != self._types:
            return None
        if not all(map(_IS_LEAF, tensors)):
            return None
        if torch.is_grad_enabled():
            tensors = [_value(t) if _is_value(t) else t for t in tensors]
        # Nothing is computed but by programs that do not follow: parameters will do as they are.
        return *tensors, self._skeleton


_IS_LEAF = attrgetter("is_leaf")

_known: OrderedDict[int, _Entry] = OrderedDict()


def _remember(module: nn.Module) -> _Entry:
    entry = _Entry(module)
    if entry.contents.is_opaque:
        return entry
    _known[id(module)] = entry
    while len(_known) > _CAPACITY:
        _known.popitem(last=False)
    return entry


def _forget(known: dict[int, _Entry], key: int, _: object) -> None:
    known.pop(key, None)


def _is_value(t: Any) -> bool:
    # In a function that is being differentiated, plain tensors stand in the places of parameters.
    return isinstance(t, nn.Parameter) and t.is_leaf


# What marks the value of a parameter, to find that again.
_VARIABLE = "_diffface_variable"


def _value(p: Any) -> Any:
    """The value of a parameter, without a graph."""
    value = p.detach()
    if p.requires_grad:
        setattr(value, _VARIABLE, p)
    return value


def variables(leaves: Sequence[Any]) -> dict[int, Any]:
    """The parameters that ``leaves`` are values of, if what is computed carries derivatives."""
    # What is recorded is frozen in a program.
    if not torch.is_grad_enabled() or _len_torch_dispatch_stack():
        return {}
    found = [getattr(leaf, _VARIABLE, None) for leaf in leaves]
    return {i: p for i, p in enumerate(found) if p is not None}


def _is_wanted(p: Any) -> bool:
    """Whether a derivative is of this parameter."""
    return bool(p.requires_grad) if _is_known(p) else not hasattr(p, _FROZEN)


def _is_known(p: Any) -> bool:
    return isinstance(p, nn.Parameter) or not isinstance(p, torch.Tensor)


# What marks constant parameters in a function that is being differentiated, where whether a tensor
# requires a gradient tells something else.
_FROZEN = "_diffface_frozen"


def _frozen(t: Any) -> Any:
    """``t`` as a parameter that is constant."""
    if isinstance(t, torch.Tensor):
        t = t.view_as(t)
        setattr(t, _FROZEN, True)
    return t


def _refuse(module: nn.Module) -> None:
    name = type(module).__name__
    if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise synchronises(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise NotDifferentiableError(
            f"A {name} cannot be taken apart; pass the module that it was made from."
        )
    for each in module.modules():
        if "_orig_mod" in each._modules or getattr(each, "_compiled_call_impl", None) is not None:
            raise NotDifferentiableError(
                f"{name} went through torch.compile, which keeps the module itself where `f` gets "
                "a copy. Pass it as it was before (`model._orig_mod` of what torch.compile "
                "returned), and backend=diffface.Torch(compile=True)."
            )
    for p in module.parameters():
        if torch.nn.parameter.is_lazy(p):
            raise NotDifferentiableError(
                f"{name} has parameters without a shape yet; call it once on an example input."
            )
