"""Functions that a compiler of Python's bytecode is to leave whole, as one operation of a graph.

``torch.compile`` meets functions before any backend does. It is not imported for them, which would
take seconds.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def called_while_tracing(method: F) -> F:
    """``method``, which compilers call when they come to it, instead of tracing what it does."""
    method._dynamo_marked_constant = True  # type: ignore[attr-defined]  # read by torch
    return method


def leave_whole(f: Callable[..., Any]) -> None:
    """Have compilers take this very object for one operation, which torch itself looks through.

    That is known to a compiler that comes to ``f`` after this call.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.allow_in_graph(f)
