"""Programs compiled by XLA."""

from contextlib import AbstractContextManager

import jax

from diffface.backends._compiled import Arrays, Compiled, Program
from diffface.backends._errors import CannotRecord


def compile_xla(
    program: Program, examples: Arrays, scope: AbstractContextManager[object]
) -> Compiled:
    """``jax.jit`` of ``program``, compiled for the signature of ``examples``."""
    jitted = jax.jit(program)
    try:
        with scope:
            jax.block_until_ready(jitted(*examples))
    except (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError) as error:
        raise CannotRecord(str(error).splitlines()[0]) from error
    return Compiled(jitted, "xla", jitted)
