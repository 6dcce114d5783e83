"""Programs that XLA runs in the thread that calls them.

On a CPU, XLA hands every program of a thousand operations or more to a thread of its own and
returns before it is done. Who waits for the result at once gains nothing by that, and loses the
time in which the two threads wake each other: 10 to 30 microseconds, more on a machine with other
work. Programs that may call the host are run where they are called. These say that they may, and
never do: what XLA compiles is the same as without.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from diffface.backends.compiled import Array, Arrays, Program

_synchronous = Primitive("diffface_synchronous")


def synchronous(program: Program) -> Program:
    """``program``, to be compiled so that its results are there when a call returns.

    Large arguments are copied by another thread, and the program waits for them elsewhere.
    """

    def run(*inputs: Array) -> Arrays:
        if _are_kept_on_disk():
            return program(*inputs)
        marked = list(inputs)
        for i, a in enumerate(inputs):
            if isinstance(a, jax.Array) and isinstance(a.dtype, np.dtype):
                marked[i] = _synchronous.bind(a)
                break
        return program(*marked)

    return run


def _are_kept_on_disk() -> bool:
    """Whether JAX keeps programs on disk, but for those that may call the host."""
    settings: Any = jax.config
    return bool(settings.jax_enable_compilation_cache and settings.jax_compilation_cache_dir)


def _lower(ctx: Any, x: Any) -> Sequence[Any]:
    # Without it, programs run as they do elsewhere.
    note = getattr(ctx.module_context, "add_host_callback", None)
    if note is not None:
        note(_nothing)
    return [x]


def _nothing() -> None:
    """What programs say that they may call."""


def _jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    return _synchronous.bind(*primals), tangents[0]


_synchronous.def_impl(lambda x: x)
_synchronous.def_abstract_eval(lambda x: x)
mlir.register_lowering(_synchronous, lambda ctx, x: [x])
mlir.register_lowering(_synchronous, _lower, platform="cpu")
ad.primitive_jvps[_synchronous] = _jvp
batching.defvectorized(_synchronous)
