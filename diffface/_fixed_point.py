"""Derivatives at a point that stays while tangents or cotangents change."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from diffface._call import refuse
from diffface._options import Options, settings
from diffface._using import backend_for
from diffface.backends._adapter import Adapter
from diffface.backends._compiled import Arrays
from diffface.backends._kind import Kind
from diffface.prep._bind import bind
from diffface.prep._carry import take
from diffface.prep._flat import Flat, Trace
from diffface.prep._operator import Operator, Part
from diffface.prep._signature import derivation_for


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
        self._derivation, primals, constants = derivation_for(
            operator, (1,), f, backend, chosen, call
        )
        self.adapter: Adapter = self._derivation.inner
        self.layout = self._derivation.layout
        self.trace = Trace()
        with self.scope():
            self.x, c = self._derivation.bring(primals, constants, copy=True)
        self.f = Flat(
            f, self.layout, c, self.adapter, self.trace, chosen.has_aux, scalar=False,
            holomorphic=False,
        )  # fmt: skip

    def scope(self) -> AbstractContextManager[object]:
        """Where anything of this point has to be computed."""
        return self.adapter.scope(self._derivation.dtypes)

    def result(self, part: Part, arrays: Arrays) -> Any:
        """A part of the result as the user sees it."""
        layout = self.layout
        like_x = [(leaf.kind, leaf.device) for leaf in layout.primals]
        targets = like_x if part is Part.LIKE_X else [layout.result_kind()] * len(arrays)
        return self._derivation.part(part, self._taken(arrays, targets), self.trace)

    def with_aux(self, y: Arrays, derivative: Any, aux: Arrays) -> Any:
        """``(y, derivative)``, and aux where ``f`` returns it."""
        value = self.result(Part.VALUE, y)
        if not self._derivation.settings.has_aux:
            return value, derivative
        taken = self._taken(aux, [self.layout.result_kind()] * len(aux))
        return value, derivative, self._derivation.aux(taken, self.trace)

    def _taken(self, arrays: Arrays, targets: Sequence[tuple[Kind, Hashable]]) -> list[Any]:
        kind = self.adapter.kind
        return [
            take(kind.fresh(array), kind, target, device)
            for array, (target, device) in zip(arrays, targets, strict=True)
        ]
