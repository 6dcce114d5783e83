"""Backends on the command line: by name, or with options as in Python, ``Torch(compile=True)``."""

import ast
import re
from typing import Any

import diffface as dif
from diffface.backends.registry import ROWS, Backend, resolve
from diffface.cli.usage import UsageError, nearest

# Commas that are in no parentheses.
COMMA = re.compile(r",(?![^()]*\))")


def listed_backends(text: str) -> list[str | Backend]:
    """The backends of a list such as ``jax,Torch(compile=True)``.

    Raises
    ------
    UsageError
        If one is neither a name nor an object.
    UnknownBackendError, BackendNotAvailableError
        If one does not exist, or is not installed.
    """
    words = [word for word in map(str.strip, COMMA.split(text)) if word]
    if not words:
        raise UsageError(f"expected backends separated by commas, got {text!r}.")
    return [_made(word) if "(" in word else _named(word) for word in words]


def _named(word: str) -> str:
    resolve(word)
    return word


def _made(word: str) -> Backend:
    try:
        call: Any = ast.parse(word, mode="eval").body
        name = call.func.id
        args = [ast.literal_eval(a) for a in call.args]
        options = {k.arg or "": ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise UsageError(
            f"expected a backend such as jax or Torch(compile=True), got {word!r}."
        ) from error
    classes = [*(row.cls for row in ROWS.values()), "SecondOrder"]
    if name not in classes:
        raise UsageError(f"there is no backend {name!r}.{nearest(name, classes)}")
    try:
        return resolve(getattr(dif, name)(*args, **options))
    except TypeError as error:
        raise UsageError(f"{word}: {error}.") from error
