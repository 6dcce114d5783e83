"""Rewriting a graph keeps its numbers: prepared near one, called anywhere."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import diffface as dif
from diffface.backends.torch.graph.replay import replay
from diffface.backends.torch.graph.simplify import simplify
from diffface.backends.torch.graph.trace import trace

torch = pytest.importorskip("torch")


def written_over(x: Any) -> Any:
    y = torch.zeros_like(x)
    y[:] = -0.0
    y[0], y[-1] = 3.0, -0.0
    y[1:-1] = x[:-2]
    y[1:-1] = x[1:-1]
    y[0] = x[0]
    y[-2:] = x[-2:] * y[0:1].abs().clamp(1, 1).nan_to_num()
    return y


def read_back(x: Any) -> Any:
    y = torch.zeros_like(x)
    y[2:] = x[2:]
    y[0] = x[0]
    return torch.cat([y[:1], x[1:2], y[2:].clone()])


def by_address(x: Any) -> Any:
    n, y = x.numel(), x * 1.0
    pieces = y.as_strided((1,), (1,), 0), y.as_strided((n - 1,), (1,), 1)
    return torch.cat(pieces).reshape(n, 1).as_strided((n,), (1,), 0)


def columns_by_rows(x: Any) -> Any:
    rows = x.new_full((len(x), 1, 2), -3)
    return torch.bmm(x[:, None, None], rows)[:, 0, 1]


# Factors whose products leave the range of float32, or nearly.
FACTORS = (1e30, 2.0**60, 2.0**-60, 1e-30, 3.0, -1.0, 1.0, 0.5, 2.0**127, -2.0, 2.0**-140)
BINARY: dict[str, Callable[[Any, float], Any]] = {
    "times": lambda x, c: x * c,
    "over": lambda x, c: x / c,
    "plus": lambda x, c: x + c,
    "minus": lambda x, c: x - c,
    "from": lambda x, c: c - x,
    "inverse": lambda x, c: c / x,
    "times filled": lambda x, c: x * torch.full_like(x, c),
    "over filled": lambda x, c: x / torch.full_like(x, c),
    "plus filled": lambda x, c: torch.full_like(x, c) + x,
    "minus filled": lambda x, c: x - torch.full_like(x, c),
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: -x,
    "square": lambda x: x**2,
    "first power": lambda x: x**1,
    "no power": lambda x: x**0,
    "zero added": lambda x: x + 0.0,
    "minus zero added": lambda x: x + -0.0,
    "zero taken": lambda x: x - 0.0,
    "minus zero taken": lambda x: x - -0.0,
    "sum of one": lambda x: x.reshape(-1, 1).sum(1),
    "half negative": lambda x: torch.cat([-x[:2], x[2:]]),
    "padded": lambda x: x + torch.cat([x.new_zeros(2), x[2:]]),
    "put into zeros": lambda x: torch.slice_scatter(torch.zeros_like(x), x[1:], 0, 1),
    "one side": lambda x: torch.where(torch.zeros_like(x, dtype=torch.bool), 1 / (x - x), x),
    "the other side": lambda x: torch.where(torch.tensor(True), x, x.sum()),
    "one side of fewer axes": lambda x: torch.where(torch.tensor(False), x, x[:1] * 2) + x,
    "written over": written_over,
    "read back": read_back,
    "by address": by_address,
    "axes to and fro": lambda x: x[None, :, None].transpose(0, 1).reshape(1, -1, 1).squeeze(2)[0],
    "columns by rows": columns_by_rows,
    "plus a product with a negative": lambda x: (x * 3.0).sin() + (x + x * -3.0 * x.flip(0)),
    "minus a product with a negative": lambda x: (x * 3.0).sin() + (x - x.flip(0) * (x * -3.0)),
    "put into minus zeros": lambda x: torch.slice_scatter(-torch.zeros_like(x), x[1:], 0, 1),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, 1e-45, 3e-39, 3e38, -1e30, 65504.0]


def everywhere(dtype: Any) -> Any:
    """Numbers of every size, those with names first."""
    rng = np.random.default_rng(5)
    sizes = rng.choice([-1, 1], 60) * 2.0 ** rng.uniform(-160, 128, 60)
    with np.errstate(over="ignore"):
        return torch.tensor(np.array([*SPECIAL, *sizes], dtype))


def programs(count: int, seed: int) -> list[Callable[[Any], Any]]:
    """Random chains of operations that rules look at."""
    rng = np.random.default_rng(seed)

    def chain(steps: list[Any]) -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            for name, factor in steps:
                x = UNARY[name](x) if factor is None else BINARY[name](x, factor)
            return x

        return f

    names = [*UNARY, *BINARY]
    return [
        chain(
            [
                (name, None if name in UNARY else FACTORS[rng.integers(len(FACTORS))])
                for name in rng.choice(names, 3)
            ]
        )
        for _ in range(count)
    ]


def same_numbers(found: Any, expected: Any) -> None:
    """To the bit, but for the sign of a zero."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())


@pytest.mark.parametrize("times", [1, 60])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("seed", range(20))
def test_random_chains(seed: int, dtype: str, times: int) -> None:
    x = everywhere(dtype).repeat(times)  # many numbers are overwritten in another way
    for f in programs(3, seed):
        prepared = dif.prepare_value_and_pushforward(
            f, torch.ones_like(x), backend="torch", fallback="error"
        )
        expected = torch.func.jvp(f, (x,), (torch.ones_like(x),))
        value, slope = prepared(x, tangents=torch.ones_like(x))
        same_numbers(value, f(x))
        torch.testing.assert_close(slope, expected[1], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("outer", ["reciprocal", "atan2", "copysign", "rsqrt", "negative power"])
@pytest.mark.parametrize("inner", UNARY)
def test_the_sign_of_a_zero_where_it_decides(inner: str, outer: str) -> None:
    ends: dict[str, Callable[[Any], Any]] = {
        "reciprocal": lambda y: 1 / y,
        "atan2": lambda y: torch.atan2(y, -torch.ones_like(y)),
        "copysign": lambda y: torch.copysign(torch.ones_like(y), y),
        "rsqrt": torch.rsqrt,
        "negative power": lambda y: y**-3,
    }
    f = lambda x: ends[outer](UNARY[inner](x))
    x = everywhere("f8")
    prepared = dif.prepare_value_and_jacobian(f, torch.ones_like(x), backend="torch")
    same_numbers(prepared(x)[0], f(x))


def test_a_sum_of_padded_pieces_where_the_sign_of_a_zero_decides() -> None:
    def f(x: Any) -> Any:
        y = torch.slice_scatter(torch.zeros_like(x), x[1:] * 2, 0, 1)
        return 1 / (x + y)

    x = torch.tensor([-0.0, -0.0, 1.0])
    prepared = dif.prepare_value_and_jacobian(f, torch.ones_like(x), backend="torch")
    same_numbers(prepared(x)[0], f(x))


def test_addresses_in_results_become_parts() -> None:
    """Where they are slices and rows of it: not where they overlap, or go on in the next row."""

    def parts(x: Any) -> tuple[Any, ...]:
        y, z = x * 2, x[1:] * 3
        return (
            y.as_strided((2, 2), (4, 2), 5), y.as_strided((3,), (4,), 2), y.as_strided((), (), 7),
            y.as_strided((1, 3), (4, 1), 4), z[1:].as_strided((4,), (1,), 4),
            torch.as_strided_scatter(y, z[0], (4,), (1,), 4),
            torch.as_strided_scatter(y, z[:2, :2], (2, 2), (8, 1), 1),
            torch.as_strided_scatter(y, z, (2, 4), (4, 1), 4),
        )  # fmt: skip

    def others(x: Any) -> tuple[Any, ...]:
        y = x * 2
        return (
            y[1:].as_strided((2,), (1,), 0), y.as_strided((2, 3), (1, 1), 0),
            y.as_strided((6,), (1,), 2), y.T.as_strided((3,), (1,), 1),
        )  # fmt: skip

    x = torch.arange(12.0).reshape(3, 4)
    for f, left in ((parts, 0), (others, 4)):
        module = trace(f, (x,))
        for found, expected in zip(module(-x), f(-x), strict=True):
            same_numbers(found, expected)
        assert sum("as_strided" in str(node.target) for node in module.graph.nodes) == left


def test_writes_cost_no_more_than_what_is_put_together() -> None:
    def writes(x: Any) -> Any:
        y = torch.zeros_like(x)
        y[0] = y[-1] = 0.0
        y[1:-1] = x[2:] - x[:-2]
        return (y**2).sum()

    def puts_together(x: Any) -> Any:
        zero = torch.zeros_like(x[:1])
        return (torch.cat([zero, x[2:] - x[:-2], zero]) ** 2).sum()

    x = torch.ones(9)
    counts = [
        len(dif.prepare_gradient(f, x, backend="torch").native.module.graph.nodes)
        for f in (writes, puts_together)
    ]
    assert counts[0] <= counts[1]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x * 3.0, x + x * -3.0 * x.flip(0)),
        lambda x: (x * -3.0, x - x.flip(0) * (x * 3.0)),
    ],
)
def test_a_product_with_the_negative_of_another_is_that(
    f: Callable[[Any], tuple[Any, Any]],
) -> None:
    module = trace(f, (torch.ones(4),))
    products = lambda: sum(n.target is torch.ops.aten.mul.Tensor for n in module.graph.nodes)
    assert products() == 3
    simplify(module)
    assert products() == 2


SHIFTS: dict[str, Callable[[Any, float], Any]] = {
    "a number and": lambda x, c: c + x,
    "a number less": lambda x, c: c - x,
    "less a number": lambda x, c: x - c,
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_scaled_difference_from_a_number_is_one_pass(shift: str, dtype: str) -> None:
    """To the bit, near the number and at both ends of the range, too."""
    rewritten = 0
    for c in (1.0, -3.0, 0.1, 1e17, 1e-17, 2.0**70, 2.0**-70):
        near = np.array(c * (1 + np.arange(-4, 5) * np.finfo(dtype).eps), dtype)
        scale = 2.0 ** np.arange(-48, 49)
        with np.errstate(over="ignore"):
            limits = np.finfo(dtype)
            sizes = [limits.max, limits.max / 2 * (1 + limits.eps), limits.tiny]
            ends = np.outer(sizes, scale).astype(dtype)
        points = np.concatenate([near, ends.ravel(), -ends.ravel(), everywhere(dtype).numpy()])
        x = torch.tensor(points)
        for k in (2, -2.0, 16.0, -16.0, 1.0, 3.0, 0.5, 32.0, 2.0**40):
            f = lambda x, c=c, k=k: SHIFTS[shift](x, c) * k
            for g in (f, lambda x, f=f: (f(x) + 1).abs()):  # which hides the sign of a zero
                module = trace(lambda x, g=g: (g(x),), (x,))
                simplify(module)
                found = replay(module)
                same_numbers(found.run(x)[0], g(x))
                rewritten += "alpha" in found.native.source
    assert rewritten > 10


def test_many_numbers_within_transforms() -> None:
    def f(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    x = torch.linspace(-1, 1, 5001, dtype=torch.float64)
    prepared = dif.prepare_gradient(f, x, backend="torch")
    assert "empty" in prepared.native.source
    points = torch.stack([x, x + 1])
    expected = torch.stack([torch.func.grad(f)(p) for p in points])
    torch.testing.assert_close(torch.stack([prepared(p) for p in points]), expected)
    torch.testing.assert_close(torch.func.vmap(prepared)(points), expected)
    with torch.inference_mode():
        found = prepared(x)
    torch.testing.assert_close(found, expected[0])
    curvature = dif.pushforward(prepared, x, tangents=torch.ones_like(x))
    by_torch = torch.func.jvp(torch.func.grad(f), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(curvature, by_torch)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_a_zero_that_is_scaled(sign: int) -> None:
    f = lambda x: 1 / ((1 - x) * (2.0 * sign))
    prepared = dif.prepare_value_and_jacobian(f, torch.full((3,), 2.0), backend="torch")
    same_numbers(prepared(torch.ones(3))[0], f(torch.ones(3)))


@pytest.mark.parametrize("compiled", [False, True])
def test_factors_that_would_overflow_together(compiled: bool) -> None:
    f = lambda x: ((x * 1e30) * 2.0**60).sum()
    g = dif.prepare_value_and_gradient(f, torch.ones(2), backend=dif.Torch(compile=compiled))
    x = torch.full((2,), 1e-30)
    same_numbers(g(x)[0], f(x))
    assert torch.isfinite(g(x)[0])


@pytest.mark.parametrize("number", [-1 - 0j, complex(-1, -0.0), 1 + 0j, 1j, complex(0.0, -0.0)])
@pytest.mark.parametrize("power", [0.5, 2, 1])
def test_complex_constants_keep_their_signs(number: complex, power: float) -> None:
    def f(x: Any) -> Any:
        z = x * torch.tensor(number, dtype=torch.complex128)
        whole = (torch.tensor(number, dtype=torch.complex128) * x[0] * 1.0) ** power
        return torch.view_as_real(torch.stack([*z, *(-(z * 2.0)), whole, torch.sqrt(z[0])]))

    x = torch.tensor([1.0, -0.0, np.inf], dtype=torch.float64)
    prepared = dif.prepare_value_and_jacobian(f, torch.ones_like(x), backend="torch")
    found, expected = prepared(x)[0], f(x)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    finite = ~torch.isnan(expected)
    assert (torch.signbit(found) == torch.signbit(expected))[finite].all()


def test_equal_complex_constants_of_other_signs_are_two() -> None:
    above, below = complex(-1, 0.0), complex(-1, -0.0)

    def f(x: Any) -> Any:
        up = torch.sqrt(torch.full((2,), above, dtype=torch.complex128))
        down = torch.sqrt(torch.full((2,), below, dtype=torch.complex128))
        return (x * up).imag.sum() + 3 * (x * down).imag.sum()

    x = torch.ones(2, dtype=torch.float64)
    assert dif.prepare_value_and_gradient(f, x, backend="torch")(x)[0] == f(x) == -4


def test_integers_wrap_as_in_torch() -> None:
    def f(x: Any) -> Any:
        n = torch.full((2,), 2**62) * 2 + torch.full((2,), 7, dtype=torch.int32) * 2**30
        return (x * n).sum()

    x = torch.ones(2, dtype=torch.float64)
    assert dif.prepare_value_and_gradient(f, x, backend="torch")(x)[0] == f(x)


@pytest.mark.parametrize(
    "f",
    [lambda x: x + True, lambda x: x * True, lambda x: x / True, lambda x: x**True],
    ids=["sum", "product", "quotient", "power"],
)
def test_truth_values_among_numbers(f):
    x = np.array([1.0, 2.0])
    loss = lambda x: (f(x) ** 2).sum()
    prepared = dif.prepare_gradient(loss, x, backend="torch")
    assert prepared.strategy == "replay"
    np.testing.assert_array_equal(prepared(2 * x), dif.gradient(loss, 2 * x, backend="torch"))
