"""Second derivatives by one backend over another."""

from dataclasses import dataclass

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import UnsupportedOperatorError
from diffface.backends.registry import resolve


@dataclass(frozen=True)
class SecondOrder:
    """Differentiate with ``outer`` the derivatives that ``inner`` computes.

    For ``hvp``, ``hessian`` and ``second_derivative``; operators of first order use ``inner``.

    Parameters
    ----------
    outer, inner : str or Adapter
        Backends. Either the same one, or an outer one that differentiates black boxes (finite
        differences) over any other.

    Raises
    ------
    UnsupportedOperatorError
        If ``outer`` cannot see through ``inner``.

    Examples
    --------
    >>> from diffface import SecondOrder
    >>> SecondOrder("numpy", "autograd").first_order()
    Autograd()
    """

    outer: str | Adapter
    inner: str | Adapter

    def first_order(self) -> Adapter:
        """Who computes first derivatives."""
        return _adapter(self.inner)

    def within(self, lower: Array, upper: Array) -> "SecondOrder":
        """The same, with both evaluating within bounds."""
        pair = (_adapter(a).within(lower, upper) for a in (self.outer, self.inner))
        return SecondOrder(*pair)

    def second_order(self) -> tuple[Adapter, Adapter]:
        """``(outer, inner)``."""
        outer, inner = _adapter(self.outer), _adapter(self.inner)
        if not outer.black_box and type(outer) is not type(inner):
            raise UnsupportedOperatorError(
                f"{outer!r} cannot differentiate through {inner!r}: the outer backend must be the "
                'same as the inner one, or finite differences, as in SecondOrder("numpy", ...).'
            )
        if outer == inner:
            return inner.second_order()
        return outer.outside(), inner


def bridge(outer: Adapter, inner: Adapter, g: Function) -> Function:
    """``g``, which takes and returns arrays of ``inner``, on arrays of ``outer``."""
    if outer.arrays is inner.arrays:
        return g

    def crossing(x: Arrays) -> tuple[Arrays, Arrays]:
        plain = [outer.arrays.to_numpy(a) for a in x]
        with inner.scope([a.dtype for a in plain]):
            y, aux = g(tuple(inner.arrays.from_numpy(a, None) for a in plain))
        back = tuple(
            tuple(outer.arrays.from_numpy(inner.arrays.to_numpy(a), None) for a in part)
            for part in (y, aux)
        )
        return back[0], back[1]

    return crossing


def _adapter(backend: str | Adapter) -> Adapter:
    return resolve(backend).first_order()
