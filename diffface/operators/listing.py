"""Which operators there are, found in their files; keywords and names as users look them up."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import Any, get_args, get_type_hints, is_typeddict

import diffface.operators
from diffface.backends.registry import backend_class
from diffface.operators.options import PREPARATION
from diffface.prep.operator import Operator, Part

# What newcomers look for, as other libraries call it or in another place.
OTHER_NAMES = {
    "benchmark": "`diffface.testing.benchmark`",
    "check": "`diffface.testing.check`",
    "elementwise_grad": "`diffface.derivative`, or `diffface.gradient` with `in_axes=`",
    "grad": "`diffface.gradient`",
    "grad_and_value": "`diffface.value_and_gradient`",
    "hess": "`diffface.hessian`",
    "jac": "`diffface.jacobian`",
    "jacfwd": '`diffface.jacobian` with `mode="forward"`',
    "jacrev": '`diffface.jacobian` with `mode="reverse"`',
    "jit": "`diffface.prepare_gradient` and its like",
    "jvp": "`diffface.pushforward`",
    "make_jvp": "`diffface.linearize`",
    "make_vjp": "`diffface.vjp`",
    "value_and_grad": "`diffface.value_and_gradient`",
    "vmap": "`in_axes=` of every operator, for many points",
}


def operators() -> list[Operator]:
    """Every operator that derives something, first order first."""
    names = (module.name for module in pkgutil.iter_modules(diffface.operators.__path__))
    modules = [importlib.import_module(f"diffface.operators.{name}") for name in names]
    found = {id(o): o for m in modules for o in vars(m).values() if isinstance(o, Operator)}
    deriving = (operator for operator in found.values() if operator.parts != (Part.VALUE,))
    return sorted(deriving, key=lambda o: (o.order, main_name(o)))


def main_name(operator: Operator) -> str:
    """The name under which nothing but the derivative itself is returned."""
    return operator.names[(len(operator.parts) - 1,)]


def list_keywords(public: Iterable[Any]) -> None:
    """Show ``**options`` of public functions as what they are: for ``help`` and for tooltips.

    Their signatures get every keyword with its default, their documentation the meaning of each,
    from the TypedDict that types them. The code that runs stays as it is.
    """
    allowed: dict[str, frozenset[str]] = {}
    for operator in operators():
        for name in operator.names.values():
            allowed[name] = operator.keywords
            allowed[f"prepare_{name}"] = (operator.keywords - {"out"}) | PREPARATION
    for function in public:
        if inspect.isfunction(function) and "options" in function.__annotations__:
            (typed,) = get_args(function.__annotations__["options"])
            _list(function, typed, allowed.get(function.__name__, frozenset(typed.__annotations__)))


def _list(function: Any, typed: Any, allowed: frozenset[str]) -> None:
    signature, texts, types = inspect.signature(function), _meanings(typed), _types(typed)
    *named, _ = signature.parameters.values()
    keywords = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(texts[name]),
            annotation=types[name],
        )
        for name in types
        if name in allowed
    ]
    function.__signature__ = signature.replace(parameters=[*named, *keywords])
    text = "".join(texts[keyword.name] for keyword in keywords)
    paragraph = r"    \*\*options : .*\n(?: {8}.*\n)+"
    function.__doc__ = re.sub(paragraph, lambda _: text, function.__doc__ or "")


def _default(meaning: str) -> Any:
    """As numpydoc has it: what stands after "default", or the first of a set; None if optional."""
    kind = meaning.partition("\n")[0]
    found = re.search(r", default (.+)", kind) or re.search(r"\{([^,}]+)", kind)
    return None if found is None or kind.endswith(", optional") else ast.literal_eval(found[1])


_types = cache(get_type_hints)


@cache
def _meanings(typed: Any) -> dict[str, str]:
    """What each keyword of a TypedDict means, from its docstring and those of what it extends."""
    own = typed.__annotations__
    found: dict[str, str] = {}
    for base in vars(sys.modules[typed.__module__]).values():
        # A TypedDict does not know its bases: they are those with some of its keywords.
        if is_typeddict(base) and base.__annotations__.keys() <= own.keys():
            entries = re.findall(r"^ {4}\w+ : .*\n(?: {8}.*\n)+", base.__doc__ or "", re.MULTILINE)
            found |= {entry.split()[0]: entry for entry in entries}
    return {name: found.get(name, f"    {name}\n") for name in own}


def attribute(name: str) -> Any:
    """What ``diffface.name`` is, where that is found out when it is asked for.

    Raises
    ------
    AttributeError
        If there is nothing; says what to use, if it is known what is looked for.
    """
    if name == "__version__":
        return version("diffface")
    if name == "testing":
        return importlib.import_module("diffface.testing")
    if name in OTHER_NAMES:
        raise AttributeError(
            f"module 'diffface' has no attribute {name!r}; use {OTHER_NAMES[name]}."
        )
    return backend_class(name)
