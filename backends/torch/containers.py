"""Lists and dicts as graphs of torch.fx hold them: functions get plain ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx.immutable_collections import immutable_dict, immutable_list

from diffface.backends.arrays import Subtree


@dataclass(frozen=True)
class _Plain:
    """How such a container is made again; a dict if there are keys."""

    keys: tuple[Any, ...] | None

    def __call__(self, leaves: Sequence[Any]) -> Any:
        return list(leaves) if self.keys is None else dict(zip(self.keys, leaves, strict=True))


def subtree(value: object) -> Subtree | None:
    """``value`` taken apart, if it is one of them."""
    if isinstance(value, immutable_dict):
        names = tuple(f"[{key!r}]" for key in value)
        return Subtree(tuple(value.values()), _Plain(tuple(value)), names)
    if isinstance(value, immutable_list):
        names = tuple(f"[{i}]" for i in range(len(value)))
        return Subtree(tuple(value), _Plain(None), names)
    return None
