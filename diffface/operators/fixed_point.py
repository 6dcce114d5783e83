"""Derivatives at a point that stays while tangents or cotangents change."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.operators.call import refuse
from diffface.operators.options import Options, settings
from diffface.operators.using import backend_for
from diffface.prep.arguments.bind import bind
from diffface.prep.carry import to_caller
from diffface.prep.flat_function import FlatFunction, OutputStructure
from diffface.prep.operator import Operator, Part
from diffface.prep.plan_cache import plan_for


class FixedPoint:
    """``f`` at copies of its arguments, so that the caller may overwrite them afterwards.

    Parameters
    ----------
    operator : Operator
        Whose checks of arguments apply.
    name : str
        The function that the user called.
    f, args, options
        As the user gave them.
    """

    def __init__(
        self,
        operator: Operator,
        name: str,
        f: Callable[..., Any],
        args: Sequence[object],
        options: Mapping[str, Any],
    ) -> None:
        if not callable(f):
            refuse(f)
        allowed = Options.__optional_keys__ - {"out"}
        chosen = settings(options, allowed, name)
        call = bind(args, options.get("argnums"), options.get("kwargs"))
        backend = backend_for(options.get("backend"), call)
        self._plan, primals, constants = plan_for(operator, (1,), f, backend, chosen, call)
        self.adapter: Adapter = self._plan.inner
        self.signature = self._plan.signature
        self.trace = OutputStructure()
        with self.scope():
            self.x, c = self._plan.to_backend(primals, constants, copy=True)
        self.f = FlatFunction(
            f, self.signature, c, self.adapter, self.trace, chosen.has_aux, scalar=False,
            holomorphic=False,
        )  # fmt: skip

    def scope(self) -> AbstractContextManager[object]:
        """Where anything of this point has to be computed."""
        return self.adapter.scope(self._plan.dtypes)

    def result(self, part: Part, arrays: Arrays) -> Any:
        """A part of the result as the user sees it."""
        signature = self.signature
        like_x = [(leaf.kind, leaf.device) for leaf in signature.primals]
        targets = like_x if part is Part.LIKE_X else [signature.result_kind()] * len(arrays)
        return self._plan.part(part, self._taken(arrays, targets), self.trace)

    def with_aux(self, y: Arrays, derivative: Any, aux: Arrays) -> Any:
        """``(y, derivative)``, and aux where ``f`` returns it."""
        value = self.result(Part.VALUE, y)
        if not self._plan.settings.has_aux:
            return value, derivative
        taken = self._taken(aux, [self.signature.result_kind()] * len(aux))
        return value, derivative, self._plan.aux(taken, self.trace)

    def _taken(self, arrays: Arrays, targets: Sequence[tuple[ArrayLibrary, Hashable]]) -> list[Any]:
        kind = self.adapter.arrays
        return [
            to_caller(kind.fresh(array), kind, target, device)
            for array, (target, device) in zip(arrays, targets, strict=True)
        ]
