"""Sums of padded pieces in compiled calls: put together from segments, and the same numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import diffface as dif

torch = pytest.importorskip("torch")

F64 = torch.float64
RNG = np.random.default_rng(0)
LONG, WIDE = RNG.normal(size=5000), RNG.normal(size=(60, 90))

CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "neighbours": (lambda x: (x[1:] * x[:-1] ** 2).sum(), LONG),
    "difference": (lambda x: ((x[1:] - x[:-1]) ** 3).sum(), LONG),
    "and all": (lambda x: (x[2:] * x[:-2]).sum() - (x**3).sum(), LONG),
    "rows": (lambda x: (x[1:] * x[:-1] ** 2).sum(), WIDE),
    "columns": (lambda x: (x[:, 3:] * x[:, :-3] ** 2).sum(), WIDE),
    "both": (lambda x: (x[:, 1:] ** 2 * x[:, :-1]).sum() + (x[1:] * x[:-1] ** 2).sum(), WIDE),
    "ends": (lambda x: (x[1:] * x[:-1]).sum() + x[0] * x[-1], LONG),
    "one row": (lambda x: (x[1:] * x[:-1]).sum() - (x[7] ** 3 * x[-1]).sum(), WIDE),
    "apart": (lambda x: (x[:100] ** 3).sum() + (x[300:400] ** 4).sum(), LONG),
    "in steps": (lambda x: (x[1::2] * x[::2] ** 2).sum() + (x[1:] ** 2).sum(), LONG),
    "many": (lambda x: sum(((k + 1) * x[k:] * x[: 5000 - k]).sum() for k in range(1, 9)), LONG),
    "of a matrix product": (lambda x: (x[1:] @ x[:-1].T).square().sum(), WIDE),
    "one over the other": (lambda x: (x[1:][1:] * x[:-1][:-1] * x[1:-1]).sum(), LONG),
}


def prepared(f: Any, x: Any, operator: str, compiled: bool) -> Any:
    prepare = getattr(dif, f"prepare_{operator}")
    return prepare(f, x, backend=dif.Torch(compile=compiled), fallback="error")


@pytest.mark.parametrize("operator", ["gradient", "hvp"])
@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_a_replay_gives(name: str, operator: str) -> None:
    f, example = CASES[name]
    x = torch.from_numpy(example)
    seeds = {"tangents": x.sin()} if operator == "hvp" else {}
    found = prepared(f, x, operator, True)(2 * x, **seeds)
    expected = prepared(f, x, operator, False)(2 * x, **seeds)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_what_is_not_finite_stays_in_its_segment() -> None:
    f, example = CASES["neighbours"]
    x = torch.from_numpy(example).clone()
    x[10], x[20], x[-1], x[0] = np.inf, np.nan, -np.inf, np.nan
    found, expected = (prepared(f, x.sin(), "gradient", c)(x) for c in (True, False))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0.0, equal_nan=True)


def test_where_segments_are_used() -> None:
    uses = lambda f, x: "aten.cat" in prepared(f, x, "gradient", True).native.module.code
    f, example = CASES["neighbours"]
    x = torch.from_numpy(example)
    assert uses(f, x)
    assert not uses(f, x[:100])  # takes longer than it saves
    # Who goes on with a sum would have to wait until it is in memory.
    assert not uses(lambda x: (x.exp()[1:] * x.exp()[:-1]).sum(), x)
    # Pieces that do not meet are no sum.
    rows = torch.from_numpy(RNG.normal(size=(3, 2000)))
    assert uses(lambda x: (lambda y: (y[0] * y[1] * y[2]).sum())(x.exp()), rows)


def test_zeros_of_either_sign_stay_apart_where_that_can_be_told() -> None:
    # The sum is passed on to an operation which tells +0 and -0 apart.
    f = lambda x: (1 / (x[1:] * 0 + 1)).sum() + x[:-1].sum()
    x = torch.from_numpy(LONG)
    h = lambda x: torch.copysign(torch.ones_like(x), dif.gradient(f, x, backend="torch"))
    found, expected = (
        dif.prepare_value_and_jacobian(lambda x: h(x)[:5], x, backend=dif.Torch(compile=c))
        for c in (True, False)
    )
    torch.testing.assert_close(found(x)[0], expected(x)[0], rtol=0, atol=0)


def test_at_many_points() -> None:
    f = lambda x: (x[1:] * x[:-1] ** 2).sum()
    points = torch.from_numpy(RNG.normal(size=(700, 9)))
    options: dict[str, Any] = {"in_axes": 0}
    found, expected = (
        dif.prepare_gradient(f, points, backend=dif.Torch(compile=c), **options)(2 * points)
        for c in (True, False)
    )
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0.0)
