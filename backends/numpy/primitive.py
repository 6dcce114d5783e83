"""Operations with derivatives of their own, at points in the complex plane."""

from typing import Any

import numpy as np

from diffface.backends.compiled import Arrays
from diffface.backends.rule import Active, Rule


def step_by_rule(rule: Rule, x: Arrays) -> Arrays:
    """``f(a + i h v) = f(a) + i h J v``, so that ``f`` itself only sees real numbers.

    Without a rule, ``f`` is evaluated at the complex point.
    """
    active = frozenset(i for i, a in enumerate(x) if a.dtype.kind == "c" and np.any(a.imag))
    complex_ = [a.dtype.kind == "c" for a in x]
    if not any(complex_):
        return rule.evaluate(x)
    push, pull = rule.pusher(active), rule.puller(active)
    if push is None and pull is None:
        return rule.evaluate(x)
    a = tuple(np.array(b.real) if c else b for b, c in zip(x, complex_, strict=True))
    y = rule.evaluate(a)
    if not active:
        return tuple(b + 0j if b.dtype.kind == "f" else b for b in map(np.asarray, y))
    dx = tuple(np.array(b.imag) if i in active else None for i, b in enumerate(x))
    dy = push(y, a, dx) if push is not None else _push_by_basis(rule, active, y, a, dx)
    return tuple(b + 1j * d if d is not None else b for b, d in zip(y, dy, strict=True))


def _push_by_basis(rule: Rule, active: Active, y: Arrays, x: Arrays, dx: Any) -> list[Any]:
    """``J dx`` by pulling unit vectors back."""
    pull = rule.puller(active)
    assert pull is not None
    saved = rule.save(active, y, x)
    derivatives: list[Any] = []
    for k, leaf in enumerate(y):
        if leaf.dtype.kind != "f":
            derivatives.append(None)
            continue
        column = np.zeros(leaf.shape, leaf.dtype)
        for j in range(leaf.size):
            seeds = tuple(map(np.zeros_like, y))
            seeds[k].reshape(-1)[j] = 1.0
            pulled = pull(saved, seeds)
            column.reshape(-1)[j] = sum(float(np.sum(pulled[i] * dx[i])) for i in sorted(active))
        derivatives.append(column)
    return derivatives
