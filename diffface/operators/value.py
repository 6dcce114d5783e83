"""The value of a function alone, prepared like a derivative."""

from collections.abc import Callable
from typing import Any, Unpack

from diffface.backends.compiled import Arrays
from diffface.operators.call import call, prepare
from diffface.operators.options import Options, PrepareOptions
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    y, aux = at.f(at.x)
    return (y,), aux


# None of the operators that users know.
VALUE = Operator({(0,): "value"}, _derive, (Part.VALUE,), keywords=Options.__optional_keys__)


def value(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """``f(*args)`` as a backend computes it, on arrays of its own."""
    return call(VALUE, (0,), f, args, options)


def prepare_value(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare ``f`` itself for repeated calls: compiled as its derivatives are."""
    return prepare(VALUE, (0,), f, example_args, options)
