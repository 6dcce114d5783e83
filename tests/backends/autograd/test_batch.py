"""Programs of one point at many of them: which functions have a rule, and what it computes."""

from typing import Any

import numpy as np
import pytest
from helpers import same

import diffface as dif
from diffface.prep.points import Points

RNG = np.random.default_rng(0)
# As long as an axis of the arguments, so that axes cannot be told by their length.
SIZE = 3
W, B = RNG.normal(size=(3, 3)), RNG.normal(size=3)

FUNCTIONS = {
    "slices": lambda xp, x: xp.sum((x[1:] - x[:-1] ** 2) ** 2),
    "elements": lambda xp, x: x[0] * x[1] + x[2] ** 3,
    "a matrix and a vector": lambda xp, x: xp.sum(xp.tanh(W @ x + B) ** 2),
    "a vector and a matrix": lambda xp, x: xp.sum(xp.tanh(x @ W + B)),
    "two vectors": lambda xp, x: (x @ B) * (x @ x),
    "matrices": lambda xp, x: xp.sum((x[:, None] * x[None, :] @ W) ** 2),
    "broadcasting": lambda xp, x: xp.sum(W * x + x[:, None]),
    "axes": lambda xp, x: xp.sum(xp.sum(W * x, axis=1, keepdims=True) ** 2 * W, axis=-1)[0],
    "the largest": lambda xp, x: xp.max(W * x) + xp.min(x),
    "where": lambda xp, x: xp.sum(xp.where(x > 0, x**2, -x)),
    "stacked": lambda xp, x: xp.sum(xp.stack([x, x**2, B]) ** 2),
    "concatenated": lambda xp, x: xp.sum(xp.concat([x, B, x[:1]]) ** 3),
    "in other shapes": lambda xp, x: xp.sum(xp.reshape(W * x, (9,))[2:7] ** 2),
    "transposed": lambda xp, x: xp.sum(xp.permute_dims(W * x, (1, 0)) @ x),
    "solved": lambda xp, x: xp.sum(xp.linalg.solve(W + x[:, None] * x, x) ** 2),
    "inverted": lambda xp, x: xp.sum(xp.linalg.inv(W + x[:, None] * x)),
    "cumulated": lambda xp, x: xp.cumulative_sum(x)[1] ** 2,
}


@pytest.mark.parametrize("operator", ["gradient", "hvp"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_at_every_point(name: str, operator: str, monkeypatch: Any) -> None:
    looped: list[Any] = []
    in_turn = Points._in_turn
    monkeypatch.setattr(Points, "_in_turn", lambda *a: looped.append(a) or in_turn(*a))
    f = lambda x: FUNCTIONS[name](dif.namespace(x), x)
    x, seeds = RNG.normal(size=(SIZE, 3)), {}
    if operator == "hvp":
        seeds["tangents"] = RNG.normal(size=(SIZE, 3))
    g = getattr(dif, f"prepare_{operator}")(f, x, backend="autograd", in_axes=0)
    found = g(x, **seeds)
    one = getattr(dif, operator)
    want = [
        one(f, x[i], backend="autograd", **{k: v[i] for k, v in seeds.items()}) for i in range(SIZE)
    ]
    same(found, np.stack(want), 1e-10)
    assert not looped


def test_a_function_without_a_rule() -> None:
    f = lambda x: dif.namespace(x).sum(dif.namespace(x).sort(x) * x**2)
    x = RNG.normal(size=(SIZE, 3))
    g = dif.prepare_gradient(f, x, backend="autograd", in_axes=0)
    same(g(x), np.stack([dif.gradient(f, each, backend="autograd") for each in x]))


def test_shared_parameters_and_numbers() -> None:
    def loss(p: Any, x: Any, scale: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum(xp.tanh(x @ p["w"] + p["b"]) ** 2) * scale

    p, x = {"w": W, "b": B}, RNG.normal(size=(SIZE, 3))
    g = dif.prepare_gradient(
        loss, p, dif.Const(x), dif.Const(2.0), backend="autograd", in_axes=(None, 0, None)
    )
    for scale in (2.0, 5.0):
        one = [dif.gradient(loss, p, dif.Const(a), dif.Const(scale), backend="autograd") for a in x]
        want = {k: np.stack([each[k] for each in one]) for k in p}
        same(g(p, x, scale), want, 1e-10)
