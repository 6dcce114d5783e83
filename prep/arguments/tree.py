"""Trees of arguments: optree, plus dataclasses and whatever a library registers as a tree."""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import optree

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of, library_of_tree
from diffface.prep.arguments.const import Const

# Registrations under a namespace leave the user's own use of optree alone.
NAMESPACE = "diffface"
# The same trees, with the keys of dicts sorted, so that their order makes no difference.
SORTED = "diffface.sorted"
# The same trees as results of a function, where nothing is constant.
RESULTS = "diffface.results"

# A function may look at the order of the keys. This holds for as long as these are referred to.
_IN_ORDER = [optree.dict_insertion_ordered(True, namespace=name) for name in (NAMESPACE, RESULTS)]
for each in _IN_ORDER:
    each.__enter__()

Spec = optree.PyTreeSpec

# Types that optree was taught under the namespaces, once each.
_known: set[type] = set()
_LEARNING = threading.Lock()


def flatten(tree: Any, namespace: str = NAMESPACE) -> tuple[list[Any], Spec]:
    """Leaves and structure of ``tree``; what is in a ``Const`` is one leaf."""
    while True:
        leaves, spec = optree.tree_flatten(tree, namespace=namespace)
        learnt = False
        for leaf in leaves:
            if library_of(leaf) is None and _register(leaf):
                learnt = True
        if not learnt:
            return leaves, spec


def unflatten(spec: Spec, leaves: Any) -> Any:
    """The tree of structure ``spec`` with ``leaves``."""
    return optree.tree_unflatten(spec, leaves)


def leaves_like(
    spec: Spec, tree: Any, namespace: str = NAMESPACE, active: Sequence[int] | None = None
) -> list[Any]:
    """Leaves of ``tree`` in the order of ``spec``: all, or those at the positions ``active``.

    Keys may be in another order, and nothing needs to be where ``spec`` has a constant.

    Raises
    ------
    ValueError
        If the structure differs.
    """
    leaves, found = flatten(tree, namespace)
    if found == spec and active is None:
        return leaves
    at = spec.accessors()
    wanted = at if active is None else [at[i] for i in active]
    given = {
        accessor: leaf
        for accessor, leaf in zip(found.accessors(), leaves, strict=True)
        if type(leaf) is not Const
    }
    if set(given) != set(wanted):
        raise ValueError(shown(found))
    return [given[accessor] for accessor in wanted]


def paths(spec: Spec) -> list[str]:
    """Where each leaf is, as one would write it in Python: ``['a'][0].b``."""
    return ["".join(entry.codify("") for entry in accessor) for accessor in spec.accessors()]


def branches(spec: Spec) -> Iterator[tuple[Any, Spec, slice]]:
    """Entry and structure of each child, and which of the leaves are in it."""
    start = 0
    for entry, child in zip(spec.entries(), spec.children(), strict=True):
        stop = start + child.num_leaves
        yield entry, child, slice(start, stop)
        start = stop


def _register(node: Any) -> bool:
    """Teach optree the type of ``node``, if it is no leaf; say whether it is a tree."""
    cls: Any = type(node)
    if cls is Const:
        return False
    with _LEARNING:
        if cls in _known:
            return True
        # The library first: it may know that some fields of a dataclass are static.
        if (library := library_of_tree(node)) is not None:
            argument = partial(_split_argument, library)
            splits = {NAMESPACE: argument, SORTED: argument, RESULTS: partial(_split, library)}
            for namespace, split in splits.items():
                optree.register_pytree_node(
                    cls, split, _rebuild, path_entry_type=_Written, namespace=namespace
                )
        elif dataclasses.is_dataclass(cls):
            _register_dataclass(cls)
        else:
            return False
        _known.add(cls)
        return True


class _Written(optree.PyTreeEntry):
    """A place that knows how it is written."""

    def codify(self, node: str = "", /) -> str:
        return f"{node}{self.entry}"


# What the entries and the structure of such a node are, as optree asks for them.
_Split = tuple[Sequence[Any], Any, Sequence[str]]


def _split(library: ArrayLibrary, value: Any) -> _Split:
    found = library.subtree(value)
    assert found is not None, "its type is known"
    return found[:3]


def _split_argument(library: ArrayLibrary, value: Any) -> _Split:
    found = library.subtree(value)
    assert found is not None, "its type is known"
    leaves, rebuild, names, constant, static = found
    if constant:
        marks = zip(leaves, constant, strict=True)
        leaves = tuple(
            Const(leaf) if held and type(leaf) is not Const else leaf for leaf, held in marks
        )
    if static is not None:
        return (*leaves, Const(static)), _WithoutLast(rebuild), (*names, "")
    return leaves, rebuild, names


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class _WithoutLast:
    """The way back from leaves, the last of which is there to be compared alone."""

    rebuild: Any

    def __call__(self, leaves: Any) -> object:
        return self.rebuild(leaves[:-1])

    def __repr__(self) -> str:
        return repr(self.rebuild)


def _rebuild(rebuild: Any, leaves: Any) -> Any:
    return rebuild([leaf.value if type(leaf) is Const else leaf for leaf in leaves])


@lru_cache(maxsize=256)
def derivative_of(spec: Spec, active: tuple[int, ...]) -> tuple[Spec, tuple[int, ...]]:
    """Structure of a derivative with respect to some leaves of ``spec``, and where those are."""
    leaves: list[Any] = [None] * spec.num_leaves
    for i in active:
        leaves[i] = np.zeros(())  # what libraries take for an array
    found, derivative = flatten(unflatten(spec, leaves))
    return derivative, tuple(i for i, leaf in enumerate(found) if type(leaf) is not Const)


def _register_dataclass(cls: Any) -> None:
    """Fields that ``__init__`` takes are children; whatever else an object holds is constant."""
    fields = tuple(f.name for f in dataclasses.fields(cls) if f.init)

    def split(value: Any) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        others = {name: at for name, at in attributes(value).items() if name not in fields}
        children = [getattr(value, name) for name in fields] + list(others.values())
        return children, tuple(others), (*fields, *others)

    def split_argument(value: Any) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        children, others, names = split(value)
        start = len(fields)
        constants = [at if type(at) is Const else Const(at) for at in children[start:]]
        return children[:start] + constants, others, names

    def join(others: Any, children: Any) -> Any:
        # Neither `__init__` nor `__post_init__`, which may change what they are given.
        copy = _allocate(cls)
        for name, child in zip((*fields, *others), children, strict=True):
            object.__setattr__(copy, name, child)
        return copy

    splits = {NAMESPACE: split_argument, SORTED: split_argument, RESULTS: split}
    for namespace, how in splits.items():
        optree.register_pytree_node(
            cls, how, join, path_entry_type=optree.GetAttrEntry, namespace=namespace
        )


def attributes(value: Any) -> dict[str, Any]:
    """What an object holds by name, but for cached properties, which are computed anew."""
    cls = type(value)
    found = dict(getattr(value, "__dict__", {}))
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{base.__name__.lstrip('_')}{name}"
            name = mangled if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return {
        name: at
        for name, at in found.items()
        if not isinstance(getattr(cls, name, None), cached_property)
    }


def _allocate(cls: Any) -> Any:
    """An object of class ``cls`` with nothing in it."""
    heap = 1 << 9  # of classes that were defined in Python
    builtin = next(base for base in cls.__mro__ if not base.__flags__ & heap)
    return builtin.__new__(cls)


def leaves_of(tree: object) -> list[Any]:
    """Leaves of ``tree``, with those in a ``Const``; for a look, not for work."""
    if library_of(tree) is not None:
        return [tree]
    found: list[Any] = []
    for leaf in flatten(tree)[0]:
        if isinstance(leaf, Const):
            found += leaves_of(leaf.value)
        else:
            found.append(leaf)
    return found


def shown(spec: Spec | None) -> str:
    """A structure as messages show it, with ``*`` for a leaf."""
    if spec is None:
        return "*"
    text = str(spec).removeprefix("PyTreeSpec(").removesuffix(")")
    return text.removesuffix(f", namespace={spec.namespace!r}")
