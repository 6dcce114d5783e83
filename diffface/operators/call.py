"""An operator called, or prepared: from the user's arguments to a result, or a callable."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from diffface.backends.errors import NotDifferentiableError
from diffface.backends.registry import Backend
from diffface.operators.options import PREPARATION, check_choice, settings
from diffface.operators.using import backend_for, named_or_in_use, of_arrays
from diffface.prep.arguments.bind import bind
from diffface.prep.arguments.signature import Call
from diffface.prep.evaluate import evaluate
from diffface.prep.operator import Operator
from diffface.prep.plan_cache import plan_for
from diffface.prep.prepared import Prepared
from diffface.prep.recipe import Recipe


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
    backend = backend_for(options.get("backend"), bound)
    plan, primals, constants = plan_for(operator, wanted, f, backend, chosen, bound)
    return evaluate(plan, f, primals, constants, seeds, options.get("out"))


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
    backend = named_or_in_use(options.get("backend"))

    def settle() -> Callable[[Call], Backend]:
        fixed = named_or_in_use(backend)
        return of_arrays if fixed is None else lambda _: fixed

    recipe = Recipe(operator, wanted, f, settle, chosen)
    return Prepared(
        recipe, args, options.get("argnums"), options.get("kwargs"), on_mismatch, fallback
    )


def refuse(f: object) -> NoReturn:
    """Say that ``f`` is no function."""
    raise NotDifferentiableError(
        f"`f` must be callable, got {type(f).__name__}; the function comes first, then its "
        "arguments."
    )
