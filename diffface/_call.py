"""An operator called, or prepared: from the user's arguments to a result, or a callable."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from diffface._options import PREPARATION, check_choice, settings
from diffface._using import backend_for
from diffface.backends._errors import NotDifferentiableError
from diffface.backends._registry import resolve
from diffface.prep._bind import bind
from diffface.prep._evaluate import evaluate
from diffface.prep._layout import Call
from diffface.prep._operator import Operator
from diffface.prep._prepared import Prepared
from diffface.prep._recipe import Recipe
from diffface.prep._signature import derivation_for


def call(
    operator: Operator,
    wanted: tuple[int, ...],
    f: Callable[..., Any],
    args: Sequence[object],
    options: Mapping[str, Any],
    seeds: object = None,
) -> Any:
    """Evaluate ``operator`` once, eagerly."""
    if not callable(f):
        refuse(f)
    bound = bind(args, options.get("argnums"), options.get("kwargs"))
    chosen = settings(options, operator.keywords, operator.names[wanted])
    named = options.get("backend")
    backend = backend_for(None, bound) if named is None else resolve(named)
    derivation, primals, constants = derivation_for(operator, wanted, f, backend, chosen, bound)
    return evaluate(derivation, f, primals, constants, seeds, options.get("out"))


def prepare(
    operator: Operator,
    wanted: tuple[int, ...],
    f: Callable[..., Any],
    args: Sequence[object],
    options: Mapping[str, Any],
) -> Prepared:
    """Make ``operator`` ready for many calls."""
    if not callable(f):
        refuse(f)
    allowed = (operator.keywords - {"out"}) | PREPARATION
    chosen = settings(options, allowed, f"prepare_{operator.names[wanted]}")
    on_mismatch = check_choice(options, "on_mismatch", ("error", "reprepare"))
    fallback = check_choice(options, "fallback", ("eager", "error"))
    named = options.get("backend")
    backend = resolve(named) if named is not None else None

    def choose(bound: Call) -> Any:
        return backend_for(backend, bound)

    recipe = Recipe(operator, wanted, f, choose, chosen)
    return Prepared(
        recipe, args, options.get("argnums"), options.get("kwargs"), on_mismatch, fallback
    )


def refuse(f: object) -> NoReturn:
    """Say that ``f`` is no function."""
    raise NotDifferentiableError(
        f"`f` must be callable, got {type(f).__name__}; the function comes first, then its "
        "arguments."
    )
