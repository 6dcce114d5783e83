"""Emitted source: names for the objects that it refers to, and the code that it is."""

from functools import lru_cache
from types import CodeType


class Names:
    """Binds objects to identifiers, the same object always to the same.

    Attributes
    ----------
    namespace : dict
        What the source is executed in. It keeps the objects, so that no other gets their id.
    """

    def __init__(self) -> None:
        self.namespace: dict[str, object] = {}
        self._known: dict[int, str] = {}

    def __call__(self, value: object, stem: str = "k") -> str:
        """Return the identifier of `value`: `stem` and a number."""
        return self._known.get(id(value)) or self._bind(value, f"{stem}{len(self._known)}")

    def spell(self, value: object, name: str) -> str:
        """Return the identifier of `value`: `name`, or like it if it is taken."""
        known = self._known.get(id(value))
        if known is not None:
            return known
        while name in self.namespace:
            name += "_"
        return self._bind(value, name)

    def _bind(self, value: object, name: str) -> str:
        self.namespace[name] = value
        self._known[id(value)] = name
        return name


# Longer texts are not kept: they are rarely emitted twice, and take memory.
_SHORT = 10_000


def code(source: str, title: str) -> CodeType:
    """``source`` compiled; ``title`` stands for its file in tracebacks."""
    return (_known if len(source) < _SHORT else _compile)(source, title)


def _compile(source: str, title: str) -> CodeType:
    return compile(source, title, "exec")


_known = lru_cache(maxsize=128)(_compile)


def forget() -> None:
    """Compile every text anew, as in a fresh process."""
    _known.cache_clear()
