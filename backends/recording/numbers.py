"""Python numbers among the inputs of programs that are recorded from arrays."""

from collections.abc import Callable
from dataclasses import replace

from diffface.backends.compiled import Array, Arrays, Compiled, Program


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
    compiled = build(program, arrays(examples))
    into = compiled.into
    return replace(
        compiled,
        run=lifted(compiled.run),
        into=None if into is None else lambda places: lifted(into(places)),
    )
