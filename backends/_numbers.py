"""Python numbers among the inputs of programs that are recorded from arrays."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

from diffface.backends._compiled import Array, Arrays, Compiled, Program
from diffface.backends._errors import CannotRecord


def build_with_numbers(
    build: Callable[[Program, Arrays], Compiled],
    program: Program,
    examples: Arrays,
    lift: Callable[[object, Array], Array],
) -> Compiled:
    """``build(program, examples)``, where inputs that are Python numbers go in as arrays.

    A record would keep a number as it is. As an array of shape () and of the dtype of the first
    input it may change, and promotes nothing.
    """
    places = [i for i, a in enumerate(examples) if isinstance(a, float | complex)]
    if not places:
        return build(program, examples)

    def arrays(inputs: Arrays) -> Arrays:
        changed = list(inputs)
        for i in places:
            changed[i] = lift(inputs[i], like)
        return tuple(changed)

    def lifted(run: Program) -> Program:
        return lambda *inputs: run(*arrays(inputs))

    # Its dtype and device are all that is kept of the first example.
    like = lift(0.0, examples[0])
    try:
        compiled = build(program, arrays(examples))
    except CannotRecord:
        raise
    except Exception as error:
        program(*deepcopy(examples))  # an error of the function's own comes again
        line = "a Python number is used where no array can stand for it"
        raise CannotRecord(f"{line} ({type(error).__name__}: {error})") from error
    into = compiled.into
    return replace(
        compiled,
        run=lifted(compiled.run),
        into=None if into is None else lambda places: lifted(into(places)),
    )
