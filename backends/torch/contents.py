"""All that can be reached in a ``torch.nn.Module``, and whether it is still as it was."""

import copy
import types
import weakref
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import nn

from diffface.backends.errors import NotDifferentiableError
from diffface.backends.recording.reachable import is_atom, reachable

# What never changes besides `is_atom`.
_NUMBERS_AND_MARKS = (
    float, complex, np.generic, torch.dtype, torch.device, torch.layout, torch.memory_format,
    torch.Size, weakref.ref,
)  # fmt: skip


class Contents:
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
        self._modules: list[tuple[nn.Module, type, dict[str, Any]]] = []
        # Containers, and what was in them.
        self._dicts: list[tuple[dict[Any, Any], list[Any], list[Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._sets: list[tuple[Any, Any]] = []
        self._empty: list[Any] = []
        self._functions: list[tuple[str, types.FunctionType]] = []
        self.is_opaque = False
        self._class, self._attributes = type(module), module.__dict__
        self._root = weakref.ref(module)
        self._module(module, "")
        self._refuse_functions(module)

    def is_unchanged(self) -> bool:
        """Whether the same objects are in the same places."""
        root = self._root()
        if self.is_opaque or any(self._empty) or type(root) is not self._class:
            return False
        if root.__dict__ is not self._attributes:
            return False
        for held, keys, values in self._dicts:
            if list(held) != keys or not all(map(is_, held.values(), values)):
                return False
        for module, cls, attributes in self._modules:
            if type(module) is not cls or module.__dict__ is not attributes:
                return False
        for each, values in self._lists:
            if len(each) != len(values) or not all(map(is_, each, values)):
                return False
        return all(each == known for each, known in self._sets)

    def _module(self, module: nn.Module, place: str) -> None:
        own = module.__dict__
        if module is not self._root():
            self._modules.append((module, type(module), own))
        else:
            self._seen[id(module)] = None  # it is not kept
        for held in (own["_parameters"], own["_buffers"], own["_modules"]):
            self._dict(held, place)
        rest = {name: each for name, each in own.items() if name not in _REGISTERED}
        self._noted(own)
        for name, each in rest.items():
            self._visit(each, f"{place}{name}")

    def _refuse_functions(self, root: nn.Module) -> None:
        """Refuse functions that go on with the caller's module where `f` has a copy."""
        own = {id(each) for each, *_ in self._modules} | {id(t) for _, t in self.tensors}
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
        if is_atom(value) or isinstance(value, _NUMBERS_AND_MARKS) or id(value) in self._seen:
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
