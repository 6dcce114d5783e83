"""Python numbers among the inputs of programs that are recorded from arrays."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays, Compiled, Program


def build_with_numbers(
    build: Callable[[Program, Arrays], Compiled],
    program: Program,
    examples: Arrays,
    library: ArrayLibrary,
) -> Compiled:
    """``build(program, examples)``, where inputs that are Python numbers go in as arrays.

    A record would keep a number as it is. As an array of shape () and of its own precision it may
    change. A function that treats numbers and arrays differently is found out where the program is
    compared with a plain call.
    """
    places = [i for i, a in enumerate(examples) if isinstance(a, float | complex)]
    if not places:
        return build(program, examples)

    def arrays(inputs: Arrays) -> Arrays:
        changed = list(inputs)
        for i in places:
            changed[i] = library.from_numpy(np.asarray(inputs[i]), device)
        return tuple(changed)

    def lifted(run: Program) -> Program:
        return lambda *inputs: run(*arrays(inputs))

    device = library.describe(examples[0])[2]
    compiled = build(program, arrays(examples))
    into, many = compiled.into, compiled.many

    def lifted_many(moving: tuple[bool, ...], size: int) -> Compiled:
        assert many is not None
        found = many(moving, size)
        return found.run_by(lifted(found.run))

    changed = compiled.run_by(
        lifted(compiled.run), None if into is None else lambda places: lifted(into(places))
    )
    return changed if many is None else replace(changed, many=lifted_many)
