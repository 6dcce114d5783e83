"""What surrounds a call: modes and settings of the framework, and differentiation under way."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.recording.reachable import undisturbed

_NOTHING = nullcontext()


class Surroundings:
    """The part of `Adapter` that few backends override.

    They are those whose framework has a state of its own, or arrays that carry derivatives; for
    the others, all that is said here is right.
    """

    arrays: ClassVar[ArrayLibrary]

    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        """What a call on arrays of ``dtypes`` needs of the library's global state, and no longer.

        Arrays are brought to the backend inside it.
        """
        return _NOTHING

    def undisturbed(self, f: object) -> AbstractContextManager[object]:
        """Puts back, once a preparation is over, what the calls of ``f`` changed around it."""
        return undisturbed(f)

    def carries(self, library: ArrayLibrary) -> bool:
        """Whether derivatives that arrays of ``library`` carry go through this backend."""
        return library is self.arrays

    def is_nested(self) -> bool:
        """Whether this library is differentiating or tracing something already, here and now."""
        return False

    def deferred(
        self, outputs: Arrays, variables: Arrays, held: Arrays, again: Callable[[Arrays], Arrays]
    ) -> Arrays:
        """``outputs``, as they carry derivatives with respect to ``variables``.

        These are computed when they are asked for, from ``again(variables)``, which are the same
        outputs, differentiably. ``held`` are the arrays that those depend on besides.
        """
        return outputs

    def following(self, f: Any, traced: bool) -> AbstractContextManager[object]:
        """Where results must carry the derivatives of arrays that come, or that ``f`` captures.

        ``traced`` says whether any of those that come does.
        """
        return _NOTHING

    def settings(self) -> tuple[tuple[Callable[[], object], object], ...]:
        """Settings of the framework that ``f`` sees: functions, and the object each returns now.

        A program holds while they return these; it is made anew for others.
        """
        return ()

    def explain(self, error: Exception) -> str | None:
        """Hint for the user if ``error`` came from a function that is not portable; else None."""
        return None
