"""Backends by the name that reports have for them."""

from collections.abc import Sequence

from diffface.backends.listing import list_backends
from diffface.backends.registry import Backend, resolve


def named(asked: Sequence[str | Backend] | None) -> dict[str, Backend]:
    """``asked`` by name, objects by what they look like; None stands for all that are installed."""
    if asked is None:
        return {info.name: info.backend for info in list_backends() if info.backend is not None}
    return {b if isinstance(b, str) else repr(b): resolve(b) for b in asked}
