"""``torch.nn.Module`` as a tree: its tensors, and a skeleton of all else."""

import copy
import types
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import nn

from diffface.backends.arrays import Subtree, frozen
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.recording.reachable import reachable
from diffface.backends.torch.processes import synchronises

# Modules of which it is remembered what they are made of.
_CAPACITY = 64
# Objects of these types never change.
_ATOMS = (
    str, bytes, bool, int, float, complex, type(None), type, Enum, torch.dtype, torch.device,
    torch.layout, torch.memory_format, torch.Size, types.FunctionType, types.BuiltinFunctionType,
    types.ModuleType, weakref.ref, np.generic, np.dtype,
)  # fmt: skip


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
    """

    __slots__ = ("__weakref__", "_empty", "_gaps", "_shared")

    def __init__(self, module: nn.Module, tensors: Sequence[Any], shared: Sequence[object]) -> None:
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
                    "A torch.nn.Module computes with tensors of torch alone; use backend='torch'."
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


class _Entry:
    """What a module is made of, and whether it still is."""

    def __init__(self, module: nn.Module) -> None:
        _refuse(module)
        self.owner = weakref.ref(module, partial(_forget, _known, id(module)))
        found = _Contents(module)
        names = {id(p): name for name, p in module.named_parameters()}
        wanted = [p for p in module.parameters() if _is_wanted(p)]
        parameters = [*wanted, *(p for p in module.parameters() if not _is_wanted(p))]
        others = [t for _, t in found.tensors if id(t) not in names]
        self._tensors = [*parameters, *others]
        self._skeleton = Skeleton(module, self._tensors, found.shared)
        self._rebuild = _Rebuild(tuple(names[id(p)] for p in wanted), len(parameters))
        places = {id(t): f".{name}" for name, t in found.tensors}
        self._names = (*(places[id(t)] for t in self._tensors), "")
        self._constant = (*(False for _ in wanted), *(True for _ in self._tensors[len(wanted) :]))
        self._flags = [getattr(t, "requires_grad", None) for t in self._tensors]
        self.contents = found

    def is_unchanged(self) -> bool:
        """Whether the module has the same tensors in the same places, and all else is the same."""
        flags = [getattr(t, "requires_grad", None) for t in self._tensors]
        return flags == self._flags and self.contents.is_unchanged()

    def subtree(self) -> Subtree:
        """The module taken apart as it is now."""
        leaves = [t.detach() if _is_value(t) else t for t in self._tensors]
        return Subtree(
            (*leaves, self._skeleton), self._rebuild, self._names, (*self._constant, True)
        )


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
    # Parameters are what training starts from. In a function that is being differentiated, plain
    # tensors stand in their places.
    return isinstance(t, nn.Parameter) and t.is_leaf


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
    for p in module.parameters():
        if torch.nn.parameter.is_lazy(p):
            raise NotDifferentiableError(
                f"{name} has parameters without a shape yet; call it once on an example input."
            )


class _Contents:
    """All that can be reached in a module.

    Attributes
    ----------
    tensors : list of (str, Tensor)
        Each once, by its place.
    shared : list of object
        What cannot be copied.
    is_opaque : bool
        Whether there is an object that may change without being noticed, or the module itself.
    """

    def __init__(self, module: nn.Module) -> None:
        self.tensors: list[tuple[str, Any]] = []
        self.shared: list[object] = []
        # By identity, and kept, so that no other object gets the same.
        self._seen: dict[int, object] = {}
        self._modules: list[tuple[nn.Module, type]] = []
        # Containers, and what was in them.
        self._dicts: list[tuple[dict[Any, Any], list[Any], list[Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._sets: list[tuple[Any, Any]] = []
        self._empty: list[Any] = []
        self._functions: list[tuple[str, types.FunctionType]] = []
        self.is_opaque = False
        self._class = type(module)
        self._root = weakref.ref(module)
        self._module(module, "")
        self._refuse_functions(module)

    def is_unchanged(self) -> bool:
        """Whether the same objects are in the same places."""
        if self.is_opaque or any(self._empty) or type(self._root()) is not self._class:
            return False
        for held, keys, values in self._dicts:
            if list(held) != keys or not all(map(is_, held.values(), values)):
                return False
        for module, cls in self._modules:
            if type(module) is not cls:
                return False
        for each, values in self._lists:
            if len(each) != len(values) or not all(map(is_, each, values)):
                return False
        return all(each == known for each, known in self._sets)

    def _module(self, module: nn.Module, place: str) -> None:
        if module is not self._root():
            self._modules.append((module, type(module)))
        else:
            self._seen[id(module)] = None  # it is not kept
        own = module.__dict__
        for held in (own["_parameters"], own["_buffers"], own["_modules"]):
            self._dict(held, place)
        rest = {name: each for name, each in own.items() if name not in _REGISTERED}
        self._noted(own)
        for name, each in rest.items():
            self._visit(each, f"{place}{name}")

    def _refuse_functions(self, root: nn.Module) -> None:
        """Refuse functions that go on with the caller's module where `f` has a copy."""
        own = {id(each) for each, _ in self._modules} | {id(t) for _, t in self.tensors}
        for place, function in self._functions:
            for held in reachable(function):
                if held is root or id(held) in own:
                    raise NotDifferentiableError(
                        f"`{place}` of {type(root).__name__} is a function that captures a part of "
                        "the module, of which `f` gets a copy. Take that part from its first "
                        "argument (as hooks can, and methods bound by types.MethodType)."
                    )

    def _dict(self, held: dict[Any, Any], place: str) -> None:
        if not held:
            self._empty.append(held)
            return
        self._noted(held)
        for name, each in held.items():
            self._visit(each, f"{place}{name}")

    def _noted(self, held: dict[Any, Any]) -> None:
        self._dicts.append((held, list(held), list(held.values())))

    def _visit(self, value: Any, place: str) -> None:
        if value is self._root():
            self.is_opaque = True  # or it would be kept for ever
        if isinstance(value, types.FunctionType):
            self._functions.append((place, value))
        if isinstance(value, _ATOMS) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, torch.Tensor) or type(value).__name__ == "Shape":
            self.tensors.append((place, value))
        elif isinstance(value, nn.Module):
            self._module(value, f"{place}.")
        elif isinstance(value, dict):
            self._dict(value, f"{place}.")
        elif isinstance(value, list | tuple):
            if isinstance(value, list):
                self._lists.append((value, list(value)))
            for i, each in enumerate(value):
                self._visit(each, f"{place}[{i}]")
        elif isinstance(value, set | frozenset):
            if value:
                self._sets.append((value, set(value)))
            else:
                self._empty.append(value)
        elif isinstance(value, types.MethodType):
            self._visit(value.__self__, f"{place}.__self__")
        elif isinstance(value, partial):
            self._visit((value.func, value.args, value.keywords), place)
        else:
            self.is_opaque = True
            try:
                copy.deepcopy(value)
            except Exception:  # noqa: BLE001 - locks, files, generators: whatever refuses to
                self.shared.append(value)


_REGISTERED = ("_parameters", "_buffers", "_modules")
