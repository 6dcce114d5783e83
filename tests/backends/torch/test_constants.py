"""Constants that a namespace makes have the precision of the tensors that it was asked for."""

import pickle
import threading

import array_api_compat
import array_api_compat.torch
import numpy as np
import pytest
import torch

import diffface as dif

POINT = [0.3, -1.25, 2.0]
NUMBERS = [0.1, 0.7, 1 / 3]

# Each of three numbers that float32 does not hold, or of kinds that are no fractions
CREATED = {
    "asarray": lambda xp: xp.asarray(NUMBERS),
    "asarray nested": lambda xp: xp.asarray([[0.1, 1], [0.7, 2]])[:, 0],
    "asarray of a number": lambda xp: xp.asarray(0.1),
    "asarray of a tuple": lambda xp: xp.asarray((0.1, 2)),
    "zeros": lambda xp: xp.zeros(3) + 0.1,
    "ones": lambda xp: xp.ones((3,)) * 0.1,
    "empty": lambda xp: xp.empty(3) * 0 + 0.1,
    "full": lambda xp: xp.full((3,), 0.1),
    "full by a number": lambda xp: xp.full(3, 0.1),
    "eye": lambda xp: xp.eye(3)[0] * 0.1,
    "eye k": lambda xp: xp.eye(3, 3, k=1)[0] * 0.1,
    "arange": lambda xp: xp.arange(0.1, 0.35, 0.1),
    "arange step": lambda xp: xp.arange(0, 1, 0.4),
    "linspace": lambda xp: xp.linspace(0.1, 0.7, 3),
    "linspace of ints": lambda xp: xp.linspace(0, 1, 4)[1:],
    "linspace open": lambda xp: xp.linspace(0, 1, 3, endpoint=False),
    "zeros_like": lambda xp: xp.zeros_like(xp.asarray(NUMBERS)) + 0.1,
    "ones_like": lambda xp: xp.ones_like(xp.zeros(3)) * 0.1,
    "full_like": lambda xp: xp.full_like(xp.zeros(3), 0.1),
    "empty_like": lambda xp: xp.empty_like(xp.zeros(3)) * 0 + 0.1,
    "tril": lambda xp: xp.tril(xp.full((3, 3), 0.1))[2],
    "triu": lambda xp: xp.triu(xp.full((3, 3), 0.1))[0],
    "meshgrid": lambda xp: xp.meshgrid(xp.linspace(0, 1, 3), xp.linspace(0, 1, 4))[1][:3, 1],
    "fftfreq": lambda xp: xp.fft.fftfreq(3),
    "rfftfreq": lambda xp: xp.fft.rfftfreq(5),
    "where": lambda xp: xp.where(xp.asarray([True, False, True]), 0.1, 0.7),
}
INTEGERS = {
    "asarray": lambda xp: xp.asarray([1, 2, 3]),
    "arange": lambda xp: xp.arange(3),
    "full": lambda xp: xp.full((3,), 2),
    "asarray of booleans": lambda xp: xp.asarray([True, False]),
    "where": lambda xp: xp.where(xp.asarray([True, False]), 1, 2),
}


def tensor(dtype=torch.float64):
    return torch.tensor(POINT, dtype=dtype)


@pytest.mark.parametrize("name", CREATED)
def test_precision_is_that_of_the_tensors(name):
    create, expected = CREATED[name], CREATED[name](np)
    found = create(dif.namespace(tensor()))
    assert found.dtype is torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-15, atol=1e-16)
    single = create(dif.namespace(tensor(torch.float32)))
    assert single.dtype is torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert create(dif.namespace(tensor(torch.float32), tensor())).dtype is torch.float64


@pytest.mark.parametrize("name", CREATED)
def test_derivatives_have_it_everywhere(name):
    """One-shot, in a prepared call, and nested, against NumPy's own numbers."""
    weights = np.resize(CREATED[name](np), 3)

    def f(x, scale):
        xp = dif.namespace(x)
        c = CREATED[name](xp)
        assert c.dtype is x.dtype
        return scale * xp.sum(xp.sin(c * x[: c.shape[0]] if c.ndim else c * x))

    x = np.array(POINT)
    size = 3 if name == "asarray of a number" else len(CREATED[name](np))
    weights[size:] = 0.0
    expected = 2 * weights * np.cos(weights * x)
    scale = dif.Const(2.0)
    one_shot = dif.gradient(f, x, scale, backend="torch")
    np.testing.assert_allclose(one_shot, expected, rtol=1e-14)
    g = dif.prepare_gradient(f, x + 1, scale, backend="torch", fallback="error")
    np.testing.assert_allclose(g(x, 2.0), expected, rtol=1e-14)
    outer = lambda x: 0.5 * dif.namespace(x).sum(dif.gradient(f, x, scale, backend="torch"))
    second = -(weights**2) * np.sin(weights * x)
    np.testing.assert_allclose(
        dif.gradient(outer, x, backend="torch"), second, rtol=1e-13, atol=1e-16
    )


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_stay_integers(name):
    found = INTEGERS[name](dif.namespace(tensor()))
    expected = INTEGERS[name](np)
    assert str(found.dtype) == f"torch.{expected.dtype.name}"
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("numbers", [1 + 0.1j, [1 + 0.1j, 0.7], [0.1, np.complex64(1)]])
def test_complex_constants(numbers):
    assert dif.namespace(tensor()).asarray(numbers).dtype is torch.complex128
    z = tensor().to(torch.complex64)
    assert dif.namespace(z).asarray(0.1j).dtype is torch.complex64
    assert dif.namespace(z).asarray(0.1).dtype is torch.float32
    found = dif.namespace(tensor()).full((2,), 0.1j)
    np.testing.assert_array_equal(found.numpy(), np.full((2,), 0.1j))


@pytest.mark.parametrize(
    "numbers", [np.float64(0.1), [np.float64(0.1)], np.array(NUMBERS), [np.float32(0.5), 0.1]]
)
def test_numbers_of_numpy_keep_theirs(numbers):
    xp = dif.namespace(tensor(torch.float32))
    assert xp.asarray(np.float64(0.1)).dtype is torch.float64
    assert xp.full((2,), np.float64(0.1)).dtype is torch.float64
    found = dif.namespace(tensor()).asarray(numbers)
    np.testing.assert_array_equal(found.numpy(), np.asarray(numbers))


def test_dtype_and_device_that_are_given():
    xp, cpu = dif.namespace(tensor()), torch.device("cpu")
    options = {"dtype": xp.float32, "device": cpu}
    for found in (
        xp.asarray(0.1, **options), xp.asarray(NUMBERS, **options), xp.zeros(2, **options),
        xp.ones(2, **options), xp.empty(2, **options), xp.full((2,), 0.1, **options),
        xp.eye(2, **options), xp.arange(0.0, 1.0, 0.4, **options),
        xp.linspace(0.0, 1.0, 3, **options), xp.full_like(tensor(), 0.1, **options),
    ):  # fmt: skip
        assert found.dtype is torch.float32
        assert found.device == cpu
    for found in (xp.zeros(2, device="meta"), xp.linspace(0.0, 1.0, 3, device="meta")):
        assert found.device.type == "meta"
        assert found.dtype is torch.float64
    copied = xp.asarray(x := tensor(), copy=True)
    assert copied is not x
    assert xp.asarray(x) is x


SHAPED = {
    "asarray": lambda xp, x: xp.asarray([x[0], 0.5, x[1] * x[2]]),
    "asarray nested": lambda xp, x: xp.asarray([[x[0], 1], [2.0, x[1] * x[2]]]),
    "linspace": lambda xp, x: xp.linspace(x[0], x[1] * x[2], 4) ** 2,
    "linspace from a number": lambda xp, x: xp.linspace(0.0, x[1], 3) ** 2,
    "full": lambda xp, x: xp.full((2, 2), x[1] ** 2),
    "full_like": lambda xp, x: xp.full_like(x, x[1] ** 2),
}


@pytest.mark.parametrize("name", SHAPED)
def test_constants_of_tensors_keep_derivatives(name):
    """By themselves torch's functions take the numbers out, and go on without."""
    f = lambda x: dif.namespace(x).sum(SHAPED[name](dif.namespace(x), x) ** 2)
    x = np.array(POINT)
    h = 1e-6
    expected = [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)]
    for mode in ("forward", "reverse"):
        found = dif.jacobian(f, x, backend="torch", mode=mode)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    g = dif.prepare_gradient(f, x + 1, backend="torch", fallback="error")
    np.testing.assert_allclose(g(x), expected, rtol=1e-7, atol=1e-7)


def test_nothing_of_torchs_own_changes():
    seen = []

    def elsewhere():
        seen.append((torch.get_default_dtype(), torch.zeros(1).dtype))

    def f(x):
        found = dif.namespace(x).asarray([0.1, 0.7, 0.2])
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        seen.append((torch.get_default_dtype(), torch.zeros(1).dtype))
        return (found * x).sum()

    dif.gradient(f, np.array(POINT), backend="torch")
    assert set(seen) == {(torch.float32, torch.float32)}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert dif.namespace(tensor(torch.float32)).zeros(1).dtype is torch.float32
        assert dif.namespace(torch.arange(3)).zeros(1).dtype is torch.float64
    finally:
        torch.set_default_dtype(before)
    assert dif.namespace(torch.arange(3)).zeros(1).dtype is torch.float32
    assert array_api_compat.torch.zeros(1).dtype is torch.float32


def test_it_is_a_namespace_of_torch_to_others():
    xp = dif.namespace(tensor())
    assert xp is dif.namespace(tensor().numpy(), tensor(torch.float32), tensor())
    assert array_api_compat.is_torch_namespace(xp)
    assert xp.sum is array_api_compat.torch.sum
    assert pickle.loads(pickle.dumps(xp)) is xp
    assert "linalg" in dir(xp)
    assert "float64" in repr(xp)
    kinds = xp.__array_namespace_info__().default_dtypes()
    assert kinds["real floating"] is torch.float64
    assert kinds["complex floating"] is torch.complex128
    with pytest.raises(AttributeError):
        xp.no_such_function  # noqa: B018 - the look-up is what is tested
