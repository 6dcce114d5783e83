"""Trees of arguments: optree, plus dataclasses and whatever a library registers as a tree."""

import dataclasses
import threading
from typing import Any

import optree

from diffface.backends.arrays import library_of, subtree_of

# Registrations under a namespace leave the user's own use of optree alone.
NAMESPACE = "diffface"

Spec = optree.PyTreeSpec

# Types that optree was taught under the namespace, once each.
_known: set[type] = set()
_LEARNING = threading.Lock()


def flatten(tree: Any) -> tuple[list[Any], Spec]:
    """Leaves and structure of ``tree``."""
    while True:
        leaves, spec = optree.tree_flatten(tree, namespace=NAMESPACE)
        learnt = False
        for leaf in leaves:
            if library_of(leaf) is None and _register(leaf):
                learnt = True
        if not learnt:
            return leaves, spec


def unflatten(spec: Spec, leaves: Any) -> Any:
    """The tree of structure ``spec`` with ``leaves``."""
    return optree.tree_unflatten(spec, leaves)


def paths(spec: Spec) -> list[str]:
    """Where each leaf is, as one would write it in Python: ``['a'][0].b``."""
    return ["".join(entry.codify("") for entry in accessor) for accessor in spec.accessors()]


def _register(node: Any) -> bool:
    """Teach optree the type of ``node``, if it is no leaf; say whether it is a tree."""
    cls: Any = type(node)
    with _LEARNING:
        if cls in _known:
            return True
        # The library first: it may know that some fields of a dataclass are static.
        if subtree_of(node) is not None:
            split: Any = subtree_of
            optree.register_pytree_node(cls, split, _rebuild, namespace=NAMESPACE)
        elif dataclasses.is_dataclass(cls):
            _register_dataclass(cls)
        else:
            return False
        _known.add(cls)
        return True


def _rebuild(rebuild: Any, leaves: Any) -> Any:
    return rebuild(leaves)


def _register_dataclass(cls: Any) -> None:
    fields = [f.name for f in dataclasses.fields(cls) if f.init]
    optree.register_pytree_node(
        cls,
        lambda value: ([getattr(value, name) for name in fields], None, fields),
        lambda _, leaves: cls(**dict(zip(fields, leaves, strict=True))),
        path_entry_type=optree.GetAttrEntry,
        namespace=NAMESPACE,
    )


def leaves_of(tree: object) -> list[Any]:
    """Leaves as far as optree alone can see them; for a look, not for work."""
    return [tree] if library_of(tree) is not None else _optree_leaves(tree)


def _optree_leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = []
    for leaf in optree.tree_leaves(tree, namespace=NAMESPACE):
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            for field in dataclasses.fields(leaf):
                leaves += leaves_of(getattr(leaf, field.name))
        else:
            leaves.append(leaf)
    return leaves


def shown(spec: Spec | None) -> str:
    """A structure as messages show it, with ``*`` for a leaf."""
    if spec is None:
        return "*"
    text = str(spec).removeprefix("PyTreeSpec(").removesuffix(")")
    return text.removesuffix(f", namespace={NAMESPACE!r}")
