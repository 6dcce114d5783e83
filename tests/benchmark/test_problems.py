"""The portable problems: published figures, and agreement of all array libraries.

Published inputs and figures are those of microsoft/ADBench 38cb7931 (MIT), ``data/*/test.txt`` and
``test/cpp/modules/common/{Gmm,Ba,Lstm}Tests.cpp``.
"""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffface.backends.namespace import namespace
from diffface.benchmark.problems import (
    BUNDLE_ADJUSTMENT,
    GMM,
    HAND_COMPLICATED,
    HAND_SIMPLE,
    KMEANS,
    LSE,
    LSTM,
    ODE,
    PROBLEMS,
    Problem,
    plain,
    read_bundle_adjustment,
    read_gmm,
    read_hand_complicated,
    read_hand_simple,
    read_lstm,
)
from diffface.benchmark.problems.bundle_adjustment import rotate

pytestmark = pytest.mark.numerical

LIBRARIES = ("jax", "torch", "autograd")

GMM_FILE = """2 3 1
-0.649014
1.181166
-0.758453
0.092339 0.186260
0.345561 0.396767
0.538817 0.419195
0.586443 -0.851887 0.800321
-1.509405 0.875874 -0.242790
0.166813 -1.965419 -1.270071
1.175171 2.029160
1.000000 0
"""
GMM_VALUE = 8.073804080049758
GMM_GRADIENT = [
    *(0.10866285550865246, -0.7412700395238985, 0.6326071840152461),
    *(1.1169257653278701, 0.16333301355145527, -0.021998982407119314),
    *(0.2277782922542361, 1.2096302561283219, -0.060637592073395634),
    *(2.5852999405116224, 0.11263269452421379, 0.3857443098496118),
    *(0.07351805731823055, 5.418363627155952, -0.32149440967744647),
    *(1.7189230977500494, 0.8600910907908669, -0.9946409304663228),
]

BA_FILE = """2 10 10
1.797201 0.590697 -0.635786 90.859550 29.361415 28.777534 211.628116 -0.284531 -14.762924 0.058931 0.069976
4.173048 5.586898 1.403869
0.417022
-525.672849 161.811929
"""  # noqa: E501  # a camera is one line of eleven numbers
BA_ERROR = [-0.2690488492351894, 0.2599447926779019]
BA_WEIGHT_ERROR = 0.826092651516
# Two rows of the Jacobian: camera (11), point (3), weight (1).
BA_ROWS = [
    [
        *(228.87720220824676, 634.5748114955454, -782.2228662593405, 2.4289261560715967),
        *(-11.782807962801131, 2.5416931248774346, -1.0365708495851809, 0.417022, 0.0),
        *(-350.7395210960052, -912.1077736680086, -2.4289261560715967, 11.782807962801131),
        *(-2.5416931248774346, -0.6451670397129874),
    ],
    [
        *(-120.54243599499688, -385.6732407664604, 97.54762914033265, -1.7837210852957657),
        *(4.154667994331261, 2.040257180298989, 0.3491763974331459, 0.0, 0.417022),
        *(118.1491477044145, 307.25010896034325, 1.7837210852957657, -4.154667994331261),
        *(-2.040257180298989, 0.623335921553064),
    ],
]
BA_WEIGHT_DERIVATIVE = -0.834044


# Each library's own arrays and its own derivative


def convert(to: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `to` to the arrays of a tree."""
    if isinstance(tree, dict):
        return {key: convert(to, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [convert(to, value) for value in tree]
    return to(tree) if isinstance(tree, np.ndarray) else tree


def value(library: str, f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """`f` on the arrays of `library`, as a NumPy array."""
    if library == "numpy":
        return f(*args)
    if library == "autograd":
        return _autograd_vjp(f, args, 0)[1]
    if library == "torch":
        torch = pytest.importorskip("torch")
        pytest.importorskip("array_api_compat")
        return f(*convert(torch.tensor, list(args))).numpy()
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda x: f(x, *args[1:]))(args[0]))


def _autograd_vjp(f: Callable[..., Any], args: tuple[Any, ...], i: int) -> tuple[Any, Any]:
    core = pytest.importorskip("autograd.core")
    pullback, y = core.make_vjp(lambda x: f(*args[:i], x, *args[i + 1 :]), args[i])
    return pullback, y


def jacobian(library: str, f: Callable[..., Any], args: tuple[Any, ...], i: int = 0) -> Any:
    """Jacobian of `f` in its argument `i`, an array, shape ``y.shape + x.shape``."""
    if library == "autograd":
        pullback, y = _autograd_vjp(f, args, i)
        seeds = np.eye(np.size(y)).reshape(-1, *np.shape(y))
        rows = [pullback(s if np.ndim(y) else 1.0) for s in seeds]
        return np.reshape(rows, np.shape(y) + args[i].shape)
    if library == "torch":
        torch = pytest.importorskip("torch")
        pytest.importorskip("array_api_compat")
        args = tuple(convert(torch.tensor, list(args)))
        return torch.autograd.functional.jacobian(
            lambda x: f(*args[:i], x, *args[i + 1 :]), args[i]
        ).numpy()
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        transform = jax.jit(jax.jacrev(lambda x: f(*args[:i], x, *args[i + 1 :])))
        return np.asarray(transform(args[i]))


def central_differences(f: Callable[[Any], Any], x: Any, h: float = 1e-5) -> Any:
    """Jacobian by central differences of error O(h**2)."""
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    columns = [(f(x + s) - f(x - s)) / (2 * h) for s in steps]
    return np.stack(columns, axis=-1).reshape(*np.shape(columns[0]), *x.shape)


# Published figures


@pytest.fixture
def gmm_args(tmp_path: Path) -> tuple[Any, ...]:
    path = tmp_path / "gmm.txt"
    path.write_text(GMM_FILE)
    return plain(read_gmm(path))


@pytest.fixture
def ba_args(tmp_path: Path) -> tuple[Any, ...]:
    path = tmp_path / "ba.txt"
    path.write_text(BA_FILE)
    return plain(read_bundle_adjustment(path))


@pytest.mark.parametrize("library", ["numpy", *LIBRARIES])
def test_gmm_has_the_published_value(library: str, gmm_args: tuple[Any, ...]) -> None:
    np.testing.assert_allclose(value(library, GMM.f, gmm_args), GMM_VALUE, rtol=1e-13)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gmm_has_the_published_gradient(library: str, gmm_args: tuple[Any, ...]) -> None:
    parts = [jacobian(library, GMM.f, gmm_args, i).reshape(-1) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(parts), GMM_GRADIENT, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("library", ["numpy", *LIBRARIES])
def test_ba_has_the_published_residuals(library: str, ba_args: tuple[Any, ...]) -> None:
    expected = [*BA_ERROR * 10, *[BA_WEIGHT_ERROR] * 10]
    actual = value(library, BUNDLE_ADJUSTMENT.f, ba_args)
    np.testing.assert_allclose(actual, expected, rtol=1e-11)


@pytest.mark.parametrize("library", LIBRARIES)
def test_ba_has_the_published_jacobian(library: str, ba_args: tuple[Any, ...]) -> None:
    parts = [jacobian(library, BUNDLE_ADJUSTMENT.f, ba_args, i) for i in range(3)]
    expected = np.zeros((30, 62))
    for i in range(10):
        rows, row_block = slice(2 * i, 2 * i + 2), np.array(BA_ROWS)
        expected[rows, 11 * (i % 2) : 11 * (i % 2) + 11] = row_block[:, :11]
        expected[rows, 22 + 3 * i : 25 + 3 * i] = row_block[:, 11:14]
        expected[rows, 52 + i] = row_block[:, 14]
        expected[20 + i, 52 + i] = BA_WEIGHT_DERIVATIVE
    actual = np.concatenate([j.reshape(30, -1) for j in parts], axis=1)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def lstm_published() -> dict[str, Any]:
    read = json.loads(Path(__file__).with_name("adbench_lstm.json").read_text(encoding="utf-8"))
    bits = [[code >> i & 1 for i in reversed(range(14))] for code in map(ord, read["text"])]
    arguments = (read["main"], read["extra"], read["state"], bits)
    return {**read, "args": tuple(np.array(a, dtype=float) for a in arguments)}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["numpy", "torch", "autograd"])
def test_lstm_has_the_published_value(library: str, lstm_published: dict[str, Any]) -> None:
    """Not on jax, where 1,024 characters do not compile in reasonable time."""
    actual = value(library, LSTM.f, lstm_published["args"])
    # Published with 8 digits.
    np.testing.assert_allclose(actual, lstm_published["objective"], atol=5e-9)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torch", "autograd"])
def test_lstm_has_the_published_gradient(library: str, lstm_published: dict[str, Any]) -> None:
    args, expected = lstm_published["args"], np.array(lstm_published["gradient"])
    parts = [jacobian(library, LSTM.f, args, i).reshape(-1) for i in range(2)]
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-12 * scale)


# All problems, on generated data


def first_array(problem: Problem) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`problem` as a function whose first argument is an array: a leaf, if that is a tree."""
    args = plain(problem.make_args(problem.sizes[0], 0))
    if not isinstance(args[0], dict):
        return problem.f, args
    name = next(iter(args[0]))

    def of_one_leaf(leaf: Any, params: Any, *rest: Any) -> Any:
        return problem.f({**params, name: [leaf, *params[name][1:]]}, *rest)

    return of_one_leaf, (args[0][name][0], *args)


def names(problem: Problem) -> str:
    return problem.name


@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_equal_seeds_give_equal_arguments(problem: Problem) -> None:
    size = problem.sizes[0]
    first, again, other = (problem.make_args(size, seed) for seed in (1, 1, 2))
    np.testing.assert_equal(plain(first), plain(again))
    with pytest.raises(AssertionError):
        np.testing.assert_equal(plain(first), plain(other))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_libraries_agree_on_the_value(library: str, problem: Problem) -> None:
    f, args = first_array(problem)
    expected = f(*args)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(value(library, f, args), expected, atol=1e-13 * scale)


@pytest.mark.parametrize("library", ["torch", "autograd"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=names)
def test_derivative_matches_differences(library: str, problem: Problem) -> None:
    f, args = first_array(problem)
    expected = central_differences(lambda x: f(x, *args[1:]), args[0])
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(jacobian(library, f, args), expected, rtol=2e-7, atol=1e-8 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("problem", [GMM, LSTM, HAND_SIMPLE, HAND_COMPLICATED], ids=names)
def test_jax_derivative_matches_autograd(problem: Problem) -> None:
    args = plain(problem.make_args(problem.sizes[0], 3))
    expected = jacobian("autograd", problem.f, args)
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(jacobian("jax", problem.f, args), expected, atol=1e-13 * scale)


# Closed forms


def test_ode_meets_its_exact_solution() -> None:
    x = np.array([0.3, 1.1, 0.7, 0.9])
    # y3(2) = x0 x1 x2 x3 2**4 / 4!, which a method of fourth order meets in any number of steps.
    np.testing.assert_allclose(ODE.f(x, 3), np.prod(x) * 16 / 24, rtol=1e-14)


def test_lse_does_not_overflow() -> None:
    np.testing.assert_allclose(LSE.f(np.array([1e3, 1e3])), 1e3 + np.log(2.0), rtol=1e-15)


def test_kmeans_is_the_sum_of_nearest_distances() -> None:
    centroids, points = plain(KMEANS.make_args((30, 3, 4), 5))
    distances = ((points[:, None] - centroids) ** 2).sum(axis=2)
    np.testing.assert_allclose(KMEANS.f(centroids, points), distances.min(axis=1).sum(), rtol=1e-12)


def slow_lstm(main: Any, extra: Any, state: Any, sequence: Any) -> float:
    """The loss, layer by layer and character by character."""
    layers, bits = main.shape[0] // 2, sequence.shape[1]
    hidden, cell = state[0::2].copy(), state[1::2].copy()
    total = 0.0
    for now, following in pairwise(sequence):
        x = now * extra[0]
        for i in range(layers):
            w, b = main[2 * i].reshape(4, -1), main[2 * i + 1].reshape(4, -1)
            z = w * np.stack([x, hidden[i], x, hidden[i]]) + b
            forget, enter, leave = 1.0 / (1.0 + np.exp(-z[:3]))
            cell[i] = cell[i] * forget + enter * np.tanh(z[3])
            x = hidden[i] = leave * np.tanh(cell[i])
        y = x * extra[1] + extra[2]
        total += following @ (y - np.log(2.0 + np.exp(y).sum()))
    return float(-total / ((len(sequence) - 1) * bits))


@pytest.mark.parametrize("size", [(1, 4, 3), (2, 6, 5), (3, 2, 4), (3, 7, 2)])
def test_lstm_is_the_sequential_network(size: tuple[int, int, int]) -> None:
    args = plain(LSTM.make_args(size, 0))
    np.testing.assert_allclose(LSTM.f(*args), slow_lstm(*args), rtol=1e-13)


def test_hand_at_rest_is_where_its_model_is() -> None:
    theta, model, points, vertices = plain(HAND_SIMPLE.make_args((3, 30, 7), 1))
    at_rest = points - HAND_SIMPLE.f(0.0 * theta, model, points, vertices).reshape(-1, 3)
    np.testing.assert_allclose(at_rest, model["base_positions"][vertices, :3], atol=1e-14)


@pytest.mark.parametrize("library", ["numpy", *LIBRARIES])
def test_rotation_is_exact_and_smooth_at_angle_zero(library: str) -> None:
    vector = np.array([0.3, -0.5, 0.8])
    zero = np.zeros(3)

    def f(r: Any) -> Any:
        xp = namespace(r)
        return rotate(xp, r, xp.asarray(vector))

    if library == "numpy":
        quarter = rotate(np, np.array([0.0, 0.0, np.pi / 2]), np.array([1.0, 0.0, 0.0]))
        np.testing.assert_allclose(quarter, [0.0, 1.0, 0.0], atol=1e-15)
        return
    x, y, z = vector
    # d(r x v)/dr at r = 0.
    np.testing.assert_allclose(jacobian(library, f, (zero,)), [[0, z, -y], [-z, 0, x], [y, -x, 0]])


# Readers of the other formats, on files written here


def test_lstm_reader_inverts_the_format(tmp_path: Path) -> None:
    args = plain(LSTM.make_args((2, 3, 2), 0))
    blocks = ("\n".join(" ".join(map(repr, row)) for row in a.tolist()) for a in args)
    path = tmp_path / "lstm.txt"
    path.write_text("2 3 2\n" + "\n\n".join(blocks))
    np.testing.assert_equal(plain(read_lstm(path)), args)


def test_hand_readers_invert_the_format(tmp_path: Path) -> None:
    us, theta, model, points, found = plain(HAND_COMPLICATED.make_args((2, 4, 3), 0))
    bones = []
    for i, parent in enumerate(model["parents"]):
        frames = np.stack([model["base_relatives"][i], model["inverse_base_absolutes"][i]])
        bones.append(":".join([f"bone{i}", str(parent), *map(repr, frames.ravel().tolist())]))
    (tmp_path / "bones.txt").write_text("\n".join(bones))
    skin = []
    for position, weights in zip(model["base_positions"], model["weights"], strict=True):
        used = np.flatnonzero(weights)
        pairs = [f"{bone}:{float(weights[bone])!r}" for bone in used]
        numbers = [repr(float(number)) for number in (*position[:3], 0, 0, 0, 0, 0)]
        skin.append(":".join([*numbers, str(len(used)), *pairs]))
    (tmp_path / "vertices.txt").write_text("\n".join(skin))
    triangles = "\n".join(":".join(map(str, row)) for row in model["triangles"].tolist())
    (tmp_path / "triangles.txt").write_text(triangles)

    measured = [
        " ".join([str(i), *map(repr, point)])
        for i, point in zip(found.tolist(), points.tolist(), strict=True)
    ]
    barycentric = [" ".join(map(repr, u)) for u in us.tolist()]
    angles = [repr(angle) for angle in theta.tolist()]
    head = [f"{len(points)} {len(theta)}", *measured]
    (tmp_path / "simple.txt").write_text("\n".join([*head, *angles]))
    (tmp_path / "complicated.txt").write_text("\n".join([*head, *barycentric, *angles]))

    simple = read_hand_simple(tmp_path, tmp_path / "simple.txt")
    np.testing.assert_equal(plain(simple), (theta, model, points, found))
    complicated = read_hand_complicated(tmp_path, tmp_path / "complicated.txt")
    np.testing.assert_equal(plain(complicated), (us, theta, model, points, found))
