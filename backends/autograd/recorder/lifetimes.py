"""How long each value of a program, and its memory, is needed."""

from diffface.backends.autograd.recorder.functions import is_fresh
from diffface.backends.autograd.recorder.graph import Node


class Lifetimes:
    """The nodes that outputs need, in an order of execution, and when each is needed last.

    Attributes
    ----------
    order : list of Node
        What must run; positions are indices into it. Dead code is not in it.
    last_use : dict of Node to int
        Position where a value is used last; outputs are used after the end.
    """

    def __init__(self, outputs: list[Node]) -> None:
        self.order = _live(outputs)
        self.last_use: dict[Node, int] = {}
        self._last_touch: dict[Node, int] = {}
        self._owners: dict[Node, frozenset[Node]] = {}
        for position, node in enumerate(self.order):
            self._owners[node] = self._find_owners(node)
            for parent in node.parents:
                self._use(parent, position)
        for node in outputs:
            self._use(node, len(self.order))

    def shares(self, x: Node) -> bool:
        """Whether `x` may lie in the memory of another value."""
        return len(self._owners[x]) > 1

    def may_overwrite(self, x: Node, position: int, result: Node) -> bool:
        """Whether `result`, computed at `position`, may take over the memory of `x`.

        It may if `x` is a temporary of the same kind, and neither it nor a view is needed later.
        """
        return (
            x.fn is not None
            and bool(x.shape)
            and not self.shares(x)
            and self._last_touch[x] == position
            and (x.shape, x.dtype) == (result.shape, result.dtype)
        )

    def overlap(self, x: Node, y: Node) -> bool:
        """Whether `x` and `y` may have memory in common."""
        return not self._owners[x].isdisjoint(self._owners[y])

    def _find_owners(self, node: Node) -> frozenset[Node]:
        """Return the values in whose memory `node` may lie, itself included."""
        own = frozenset((node,))
        if node.fn is None or is_fresh(node.fn):
            return own
        return own.union(*(self._owners[parent] for parent in node.parents))

    def _use(self, node: Node, position: int) -> None:
        self.last_use[node] = position
        for owner in self._owners[node]:
            self._last_touch[owner] = position


def _live(outputs: list[Node]) -> list[Node]:
    found = set(outputs)
    pending = list(outputs)
    while pending:
        for parent in pending.pop().parents:
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return sorted(found, key=lambda node: node.index)
