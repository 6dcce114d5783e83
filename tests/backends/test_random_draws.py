"""Functions that draw random numbers are not frozen, even where two draws agree by chance."""

import random
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest

import diffface as dif
from diffface.backends.recording.reachable import Generators

X = np.linspace(0.5, 1.5, 4)
RNG = np.random.default_rng(0)
HOLDER = SimpleNamespace(inner={"rng": [np.random.default_rng(1)]})


def mask(draw: Any) -> Any:
    """All ones, with a chance of one in a billion that they are not."""
    return draw < 1 - 1e-9


class Model:
    shared = np.random.default_rng(2)

    def __init__(self) -> None:
        self.rng = np.random.RandomState(3)

    def loss(self, x: Any) -> Any:
        return anp.sum(x * mask(self.rng.rand(4)))

    def shared_loss(self, x: Any) -> Any:
        return anp.sum(x * mask(self.shared.random(4)))


class Slotted:
    __slots__ = ("rng",)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def __call__(self, x: Any) -> Any:
        return anp.sum(x * mask(self.rng.random(4)))


def by_global(x: Any) -> Any:
    return anp.sum(x * mask(RNG.random(4)))


def by_attribute(x: Any) -> Any:
    return anp.sum(x * mask(HOLDER.inner["rng"][0].random(4)))


def by_default(x: Any, rng: Any = np.random.default_rng(5)) -> Any:  # noqa: B008 - the case tested
    return anp.sum(x * mask(rng.random(4)))


def by_keyword(x: Any, *, rng: Any) -> Any:
    return anp.sum(x * mask(rng.random(4)))


def by_global_state(x: Any) -> Any:
    return anp.sum(x * mask(np.random.rand(4)))  # noqa: NPY002 - users do


def by_python(x: Any) -> Any:
    return anp.sum(x) * mask(random.random())  # noqa: S311 - the case tested


def by_closure() -> Callable[[Any], Any]:
    generator = random.Random(6)  # noqa: S311 - the case tested

    def helper() -> float:
        return generator.random()

    return lambda x: anp.sum(x) * mask(helper())


def nested(x: Any) -> Any:
    def inner() -> Any:
        return RNG.random(4)

    return anp.sum(x * mask(inner()))


DRAWS: dict[str, Callable[[Any], Any]] = {
    "global": by_global,
    "attribute of a global": by_attribute,
    "default": by_default,
    "partial": partial(by_keyword, rng=np.random.default_rng(7)),
    "method": Model().loss,
    "class attribute": Model().shared_loss,
    "slots": Slotted(),
    "NumPy's own state": by_global_state,
    "Python's own state": by_python,
    "closure of a helper": by_closure(),
    "named in an inner function": nested,
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_not_frozen(name: str) -> None:
    with pytest.warns(dif.PreparationWarning, match="random numbers were drawn"):
        g = dif.prepare_gradient(DRAWS[name], X, backend="autograd")
    assert g.strategy == "eager"
    generators = Generators(DRAWS[name])
    g(X)
    assert generators.have_drawn()


def test_a_generator_that_is_an_argument() -> None:
    def f(x: Any, rng: Any) -> Any:
        return anp.sum(x * mask(rng.random(4)))

    rng = dif.Const(np.random.default_rng(8))
    with pytest.warns(dif.PreparationWarning, match="random numbers were drawn"):
        g = dif.prepare_gradient(f, X, rng, backend="autograd")
    assert g.strategy == "eager"


@pytest.mark.parametrize("name", DRAWS)
def test_states_that_stay(name: str) -> None:
    assert not Generators(DRAWS[name]).have_drawn()


def test_a_generator_that_is_not_drawn_from() -> None:
    def f(x: Any) -> Any:
        return anp.sum(x * 2.0) if RNG is not None else x

    assert dif.prepare_gradient(f, X, backend="autograd").strategy == "program"


def test_the_state_of_a_torch_generator() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)

    def f(x: Any) -> Any:
        return x * torch.rand(4, generator=generator)

    generators, others = Generators(f), Generators(f, followed=(torch.Generator,))
    assert not generators.have_drawn()
    torch.rand(1, generator=generator)
    assert generators.have_drawn()
    assert not others.have_drawn()


@pytest.mark.parametrize("backend", ["autograd", "jax", "torch"])
@pytest.mark.parametrize("seed", [(), (None,), (3,)])
def test_a_generator_that_is_made_at_every_call(backend: str, seed: tuple[Any, ...]) -> None:
    def unseeded(x: Any) -> Any:
        return dif.namespace(x).sum(x * float(mask(np.random.default_rng().random())))

    def by_none(x: Any) -> Any:
        return dif.namespace(x).sum(x * float(mask(np.random.default_rng(None).random())))

    def seeded(x: Any) -> Any:
        return dif.namespace(x).sum(x * float(mask(np.random.default_rng(3).random())))

    f = {(): unseeded, (None,): by_none, (3,): seeded}[seed]
    if seed == (3,):
        assert dif.prepare_gradient(f, X, backend=backend).strategy != "eager"
        return
    with pytest.warns(dif.PreparationWarning, match="random numbers"):
        g = dif.prepare_gradient(f, X, backend=backend)
    assert g.strategy == "eager"
    np.testing.assert_array_equal(g(X), np.ones(4))
