"""Names for the objects that emitted source refers to."""


class Names:
    """Binds objects to identifiers; ``namespace`` is what the source is executed in."""

    def __init__(self) -> None:
        self.namespace: dict[str, object] = {}
        self._known: dict[int, str] = {}

    def __call__(self, value: object) -> str:
        """The identifier of ``value``."""
        name = self._known.get(id(value))
        if name is None:
            name = self._known[id(value)] = f"k{len(self._known)}"
            self.namespace[name] = value
        return name
