"""What the command line differentiates: a function and its arguments, by name."""

import ast
import importlib
import pkgutil
import re
import sys
from functools import reduce
from types import ModuleType
from typing import Any

import diffface as dif
from diffface.backends.recording.user_frame import users_line
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


def load(target: str) -> Any:
    """The object at ``module:attribute``; the current directory is importable.

    Parameters
    ----------
    target : str
        Such as ``mymodule:loss`` or ``package.module:Model.loss``.

    Raises
    ------
    UsageError
        If there is no such module or attribute (names the nearest), or importing it fails.
    """
    name, _, attribute = target.partition(":")
    if not name or not attribute:
        raise UsageError(f"expected module:attribute, such as mymodule:loss, got {target!r}.")
    if name.endswith(".py"):
        raise UsageError(
            f"expected the name of a module, not of a file, got {name!r}; "
            f"write {name.removesuffix('.py').replace('/', '.')}:{attribute}."
        )
    return reduce(lambda found, part: _attribute(found, part, target),
                  attribute.split("."), _module(name))  # fmt: skip


def arguments(target: str, *size: int) -> tuple[Any, ...]:
    """The point that ``target`` names, or returns for a size."""
    found = load(target)
    if size and not callable(found):
        raise UsageError(f"--sizes need a function that takes them; {target} is not callable.")
    if callable(found):
        try:
            found = found(*size)
        except BrokenPipeError:
            raise
        except Exception as error:
            raise UsageError(
                f"{target} cannot be called: {type(error).__name__}: {error}{users_line(error)}"
            ) from error
    return found if isinstance(found, tuple) else (found,)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What is missing may also be something that the module imports.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise UsageError(_failure(name, error)) from error
        parent = error.name.rpartition(".")[0]
        raise UsageError(
            f"there is no module {error.name!r}.{nearest(error.name, _beside(parent))}"
        ) from error
    except Exception as error:
        raise UsageError(_failure(name, error)) from error


def _failure(name: str, error: Exception) -> str:
    return f"module {name!r} cannot be imported: {type(error).__name__}: {error}{users_line(error)}"


def _beside(parent: str) -> list[str]:
    """Modules of the package ``parent``, or of the current directory."""
    package = sys.modules.get(parent)
    paths = ["."] if package is None else getattr(package, "__path__", [])
    prefix = f"{parent}." if parent else ""
    return [prefix + module.name for module in pkgutil.iter_modules(paths)]


def _attribute(found: Any, name: str, target: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError as error:
        public = [n for n in dir(found) if not n.startswith("_")]
        noun = "module" if isinstance(found, ModuleType) else type(found).__name__
        called = getattr(found, "__name__", target)
        raise UsageError(
            f"{noun} {called!r} has no attribute {name!r}.{nearest(name, public)}"
        ) from error
