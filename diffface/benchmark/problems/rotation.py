"""Rotation of vectors by an angle-axis vector, differentiable at the angle zero."""

from types import ModuleType

from diffface.benchmark.problems.problem import Array


def rotate(xp: ModuleType, rotation: Array, vectors: Array) -> Array:
    """Rotate `vectors` by the angle ``|rotation|`` about `rotation` (Rodrigues' formula).

    ``v cos(t) + (r x v) sin(t)/t + r (r.v) (1 - cos(t))/t**2`` with ``t = |r|``. Where the angle
    is zero, the series of the three factors in ``t**2`` takes over, so that derivatives of first
    and second order are right there as well; the other branch then gets a harmless angle, as a
    NaN in the branch not taken would still spoil the derivative.

    Parameters
    ----------
    rotation : array, shape (..., 3)
    vectors : array, shape (..., 3)

    Returns
    -------
    array, shape (..., 3)
    """
    square = xp.sum(rotation * rotation, axis=-1, keepdims=True)
    zero = square == 0.0
    angle = xp.sqrt(xp.where(zero, 1.0, square))
    half_sine = xp.sin(0.5 * angle)
    cosine = xp.where(zero, 1.0 - square / 2.0, xp.cos(angle))
    sine = xp.where(zero, 1.0 - square / 6.0, xp.sin(angle) / angle)
    # 1 - cos(t) = 2 sin(t/2)**2, without the cancellation.
    versine = xp.where(zero, 0.5 - square / 24.0, 2.0 * (half_sine / angle) ** 2)
    along = xp.sum(rotation * vectors, axis=-1, keepdims=True)
    return cosine * vectors + sine * xp.linalg.cross(rotation, vectors) + versine * along * rotation
