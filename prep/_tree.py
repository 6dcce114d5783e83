"""Trees of arguments: optree, plus dataclasses and whatever the backend's library registers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import optree

from diffface.backends._adapter import Adapter
from diffface.backends._kind import kind_of

# Registrations under a namespace leave the user's own use of optree alone.
NAMESPACE = "diffface"

Spec = optree.PyTreeSpec


def flatten(tree: object, adapter: Adapter) -> tuple[list[Any], Spec]:
    """Leaves and structure of ``tree``."""
    while True:
        leaves, spec = optree.tree_flatten(tree, namespace=NAMESPACE)  # type: ignore[arg-type]
        new = {type(leaf): leaf for leaf in leaves if kind_of(leaf) is None}
        if not any([_register(leaf, adapter) for leaf in new.values()]):
            return leaves, spec


def unflatten(spec: Spec, leaves: Any) -> Any:
    """The tree of structure ``spec`` with ``leaves``."""
    return optree.tree_unflatten(spec, leaves)


def paths(spec: Spec) -> list[str]:
    """Where each leaf is, as one would write it in Python: ``['a'][0].b``."""
    return ["".join(entry.codify("") for entry in accessor) for accessor in spec.accessors()]


def _register(node: Any, adapter: Adapter) -> bool:
    """Teach optree the type of ``node``, if it is no leaf; say whether it was news."""
    cls = type(node)
    if dataclasses.is_dataclass(cls):
        fields = [f.name for f in dataclasses.fields(cls) if f.init]
        optree.register_pytree_node(
            cls,
            lambda value: ([getattr(value, name) for name in fields], None, fields),
            lambda _, children: cls(**dict(zip(fields, children, strict=True))),
            path_entry_type=optree.GetAttrEntry,
            namespace=NAMESPACE,
        )
        return True
    if adapter.subtree(node) is None:
        return False
    optree.register_pytree_node(
        cls, _splitter(adapter), lambda rebuild, children: rebuild(children), namespace=NAMESPACE
    )
    return True


def _splitter(adapter: Adapter) -> Callable[[Any], Any]:
    return adapter.subtree  # type: ignore[return-value]


def leaves_of(tree: object) -> list[Any]:
    """Leaves as far as optree alone can see them; for a look, not for work."""
    return [tree] if kind_of(tree) is not None else _optree_leaves(tree)


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
