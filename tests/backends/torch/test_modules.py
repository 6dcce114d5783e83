"""``torch.nn.Module`` as an argument: the derivatives are those of `backward()`."""

import copy
import gc
import pickle
import threading
import types
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import diffface as dif


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(3, 4, 2, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Attention(nn.Module):
    """It builds its mask when it is called first."""

    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(6, 2, batch_first=True)
        self.mask = None

    def forward(self, x):
        if self.mask is None:
            self.mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
        return self.heads(x, x, x, attn_mask=self.mask, need_weights=False)[0]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        return self.out(self.embedding(x).sin())


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.second(checkpoint(lambda y: self.first(y).tanh(), x, use_reentrant=False))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, dtype=torch.complex64))

    def forward(self, x):
        return (self.weight @ x.to(torch.complex64)).abs()


def mlp(**options):
    return nn.Sequential(nn.Linear(3, 4, **options), nn.Tanh(), nn.Linear(4, 2, **options))


def partly_frozen():
    net = mlp()
    net[0].weight.requires_grad_(False)
    return net


def with_a_lock():
    net = mlp()
    net.lock = threading.Lock()
    return net


class Autocast(nn.Linear):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


MODELS = {
    "attention": (Attention, (2, 5, 6)),
    "autocast": (lambda: Autocast(3, 4), (5, 3)),
    "batch norm": (lambda: nn.Sequential(mlp(), nn.BatchNorm1d(2), nn.Linear(2, 2)), (5, 3)),
    "checkpoint": (Checkpointed, (5, 3)),
    "complex": (Complex, (3,)),
    "dropout": (lambda: nn.Sequential(mlp(), nn.Dropout(0.3), nn.Linear(2, 2)), (5, 3)),
    "frozen": (partly_frozen, (5, 3)),
    "bfloat16": (lambda: mlp(dtype=torch.bfloat16), (5, 3)),
    "half": (lambda: mlp(dtype=torch.float16), (5, 3)),
    "lock": (with_a_lock, (5, 3)),
    "recurrent": (Recurrent, (2, 5, 3)),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), (5, 3)),
    "tied": (Tied, None),
}


def loss(model, x):
    return model(x).square().sum()


def by_backward(f, model, *args):
    """What a training step computes; the model stays as it is."""
    held = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    value = f(model, *args)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(value, list(wanted.values()))
    model.load_state_dict(held)
    return value.detach(), dict(zip(wanted, found, strict=True))


def check(found, expected):
    value, gradient = found
    torch.testing.assert_close(value, expected[0])
    assert list(gradient) == list(expected[1])
    for name, part in gradient.items():
        torch.testing.assert_close(part, expected[1][name])
        assert type(part) is torch.Tensor
        assert part.requires_grad
        assert part.grad_fn is not None


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_a_training_step(name):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = make()
    x = torch.tensor([1, 2, 1]) if shape is None else torch.randn(shape)
    x = x.to({"half": torch.float16, "bfloat16": torch.bfloat16}.get(name, x.dtype))
    before = copy.deepcopy(model.state_dict())
    expected = by_backward(loss, model, x)
    torch.manual_seed(3)
    check(dif.value_and_gradient(loss, model, dif.Const(x)), expected)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x), fallback="error")
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.1)
            before |= {n: p.clone() for n, p in model.named_parameters(remove_duplicate=False)}
    expected = by_backward(loss, model, x)
    torch.manual_seed(3)
    check(prepared(model, x), expected)
    assert prepared.strategy == "replay"
    # Nothing in it has changed, such as a running average.
    for key, held in model.state_dict().items():
        assert torch.equal(held, before[key])


def penalty(value, gradient):
    return value + 0.1 * sum(part.abs().square().sum() for part in gradient.values())


def by_create_graph(f, model, *args):
    """Derivatives of a loss with a gradient penalty; the model stays as it is."""
    held = copy.deepcopy(model.state_dict())
    wanted = [p for p in model.parameters() if p.requires_grad]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value = f(model, *args)
        gradient = torch.autograd.grad(value, wanted, create_graph=True)
        found = torch.autograd.grad(penalty(value, dict(enumerate(gradient))), wanted)
    model.load_state_dict(held)
    return found


# Those without another derivative to compare, or with too little precision.
INEXACT = {"autocast", "bfloat16", "dropout", "half"}


@pytest.mark.parametrize("name", sorted({*MODELS} - INEXACT))
def test_a_penalty_on_gradients_reaches_the_parameters(name):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = make()
    x = torch.tensor([1, 2, 1]) if shape is None else torch.randn(shape)
    expected = by_create_graph(loss, model, x)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x), fallback="error")
    for step in (prepared, partial(dif.value_and_gradient, loss)):
        found = step(model, dif.Const(x))
        penalty(*found).backward()
        for p, part in zip(
            [p for p in model.parameters() if p.requires_grad], expected, strict=True
        ):
            torch.testing.assert_close(p.grad, part, rtol=1e-4, atol=1e-4)
        model.zero_grad()
    with torch.no_grad():
        assert not prepared(model, x)[0].requires_grad


def test_a_penalty_on_slopes_reaches_the_parameters_in_const():
    torch.manual_seed(0)
    model, x = mlp(dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    parameters, critic = list(model.parameters()), lambda x, model: loss(model, x)

    def derivatives(slope):
        found = torch.autograd.grad(slope.square().sum(), parameters, allow_unused=True)
        return [torch.zeros(()) if part is None else part for part in found]

    at = x.clone().requires_grad_()
    expected = derivatives(torch.autograd.grad(critic(at, model), at, create_graph=True)[0])
    prepared = dif.prepare_gradient(critic, x, dif.Const(model), fallback="error")
    _, pull = dif.vjp(critic, x, dif.Const(model))
    for slope in (
        prepared(x, model),
        prepared(x, model),
        prepared(at, model),
        dif.gradient(critic, x, dif.Const(model)),
        dif.gradient(critic, x, dif.Const(model), in_axes=(0, None)),
        pull(torch.ones((), dtype=x.dtype)),
    ):
        torch.testing.assert_close(derivatives(slope), expected, check_dtype=False)
    # NumPy arrays in give NumPy arrays.
    numbers = dif.gradient(critic, x.numpy(), dif.Const(model), backend="torch")
    assert type(numbers) is np.ndarray


def test_a_third_derivative_by_backward():
    torch.manual_seed(0)
    model, x = mlp(dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    parameters = list(model.parameters())

    def third(gradient):
        twice = torch.autograd.grad(penalty(0, gradient), parameters, create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in twice), parameters)

    prepared = dif.prepare_gradient(loss, model, dif.Const(x))
    by_torch = torch.autograd.grad(loss(model, x), parameters, create_graph=True)
    expected = third(dict(enumerate(by_torch)))
    torch.testing.assert_close(third(prepared(model, x)), expected)


def test_auxiliary_results_carry_derivatives_where_they_depend_on_parameters():
    def with_output(model, x):
        y = model(x)
        return y.square().sum(), (y, dict(model.named_buffers()))

    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(5, 3)
    prepared = dif.prepare_gradient(with_output, model, dif.Const(x), has_aux=True)
    for _, (y, buffers) in (
        prepared(model, x),
        dif.gradient(with_output, model, dif.Const(x), has_aux=True),
    ):
        found = torch.autograd.grad(y.sum(0)[0].square(), model[1].bias)
        torch.testing.assert_close(
            found, torch.autograd.grad(model(x).sum(0)[0].square(), model[1].bias)
        )
        assert not any(buffer.requires_grad for buffer in buffers.values())


def test_derivatives_that_cannot_be_had_again():
    model, x = nn.Sequential(nn.Linear(3, 30), nn.Dropout(0.5)), torch.randn(5, 3)
    scale = torch.tensor(2.0, requires_grad=True)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x))
    with pytest.raises(dif.NotDifferentiableError, match="It draws random numbers"):
        penalty(*prepared(model, x)).backward()
    with pytest.warns(dif.PreparationWarning, match="captures a tensor that requires grad"):
        captured = dif.prepare_value_and_gradient(
            lambda model, x: scale * loss(model, x), model.eval(), dif.Const(x)
        )
    with pytest.raises(dif.NotDifferentiableError, match="captures, or makes, tensors"):
        penalty(*captured(model, x)).backward()
    unprepared = dif.gradient(lambda model, x: scale * loss(model, x), model, dif.Const(x))
    assert torch.autograd.grad(unprepared["0.bias"].sum(), scale)[0] != 0
    found = dif.value_and_gradient(loss, model, dif.Const(x))
    with torch.no_grad():
        model[0].bias.add_(1.0)
    with pytest.raises(dif.NotDifferentiableError, match="were written to after"):
        penalty(*found).backward()


def test_new_values_of_buffers_are_auxiliary_results():
    def with_buffers(model, x):
        return loss(model, x), dict(model.named_buffers())

    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(5, 3)
    prepared = dif.prepare_gradient(with_buffers, model, dif.Const(x), has_aux=True)
    _, buffers = prepared(model, x)
    loss(model, x)
    for name, expected in model.named_buffers():
        torch.testing.assert_close(buffers[name], expected)


def test_what_is_built_at_the_first_call_is_built_in_a_copy():
    model, x = Attention(), torch.randn(2, 5, 6)
    dif.prepare_gradient(loss, model, dif.Const(x))(model, x)
    dif.gradient(loss, model, dif.Const(x))
    assert model.mask is None


def test_dropout_draws_anew_at_every_call():
    model, x = nn.Sequential(nn.Linear(3, 30), nn.Dropout(0.5)), torch.randn(5, 3)
    prepared = dif.prepare_gradient(loss, model, dif.Const(x))
    first, second = prepared(model, x), prepared(model, x)
    assert not torch.equal(first["0.weight"], second["0.weight"])


def test_each_point_draws_its_own():
    model, x = nn.Sequential(nn.Linear(3, 30), nn.Dropout(0.5)), torch.ones(4, 3)

    def with_output(model, x):
        y = model(x)
        return y.square().sum(), y

    for backend, shared in ((None, False), (dif.Torch(randomness="same"), True)):
        options = {"in_axes": (None, 0), "has_aux": True, "backend": backend}
        for chunks in ({}, {"chunk_size": 4}):
            prepared = dif.prepare_gradient(
                with_output, model, dif.Const(x), fallback="error", **options, **chunks
            )
            for gradient, y in (
                prepared(model, x),
                dif.gradient(with_output, model, dif.Const(x), **options, **chunks),
            ):
                dropped = y == 0
                assert torch.equal(dropped[0], dropped[1]) is shared
                # The backward pass has the draw of the forward pass.
                torch.testing.assert_close(gradient["0.bias"], 4 * y)
    with pytest.raises(dif.InvalidArgumentError, match="`randomness` must be"):
        dif.Torch(randomness="error")


def test_products_hessians_and_other_arguments():
    torch.manual_seed(0)
    model, x = mlp(dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    values = {name: p.detach() for name, p in model.named_parameters()}

    def functional(values, x):
        return torch.func.functional_call(model, values, (x,)).square().sum()

    v = {name: torch.randn_like(p) for name, p in values.items()}
    dx = torch.randn_like(x)
    found = dif.hvp(loss, model, x, tangents=(v, dx))
    prepared = dif.prepare_hvp(loss, model, x)(model, x, tangents=(v, dx))
    expected = dif.hvp(functional, values, x, tangents=(v, dx))
    for each in (found, prepared):
        torch.testing.assert_close(each, expected)
    hessian = dif.hessian(loss, model, dif.Const(x))
    torch.testing.assert_close(hessian, dif.hessian(functional, values, dif.Const(x)))
    jacobian = dif.jacobian(lambda m, x: m(x), model, dif.Const(x))
    assert jacobian["0.weight"].shape == (5, 2, 4, 3)
    out = {name: torch.empty_like(p) for name, p in values.items()}
    assert dif.prepare_gradient(loss, model, dif.Const(x))(model, x, out=out) is out
    torch.testing.assert_close(out, by_backward(loss, model, x)[1])


def test_a_module_in_a_tree_and_in_const():
    torch.manual_seed(0)
    model, other, x = mlp(), mlp(), torch.randn(5, 3)

    def distance(p, teacher, x):
        return (p["scale"] * p["model"](x) - teacher(x)).square().sum()

    tree = {"model": model, "scale": torch.tensor(2.0)}
    prepared = dif.prepare_gradient(distance, tree, dif.Const(other), dif.Const(x))
    found = prepared(tree, other, x)
    _, expected = by_backward(lambda m, x: (2.0 * m(x) - other(x)).square().sum(), model, x)
    torch.testing.assert_close(found["model"], expected)
    with torch.no_grad():
        other[0].weight.zero_()
    _, expected = by_backward(lambda m, x: (2.0 * m(x) - other(x)).square().sum(), model, x)
    torch.testing.assert_close(prepared(tree, other, x)["model"], expected)


def test_what_is_no_tensor_is_part_of_the_signature():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)), torch.randn(5, 3)
    prepared = dif.prepare_gradient(loss, model, dif.Const(x))
    model.eval()
    with pytest.raises(dif.PreparationMismatchError, match=r"training mode, .* evaluation"):
        prepared(model, x)
    lazy = dif.prepare_gradient(loss, argnums=0, backend="torch")
    for change in (model.train, model.eval):
        change()
        torch.manual_seed(3)
        torch.testing.assert_close(lazy(model, x), by_backward(loss, model, x)[1])
    model[0].weight.requires_grad_(False)
    assert list(lazy(model, x)) == ["0.bias"]
    model[0].register_forward_hook(lambda module, args, y: 2 * y)
    torch.testing.assert_close(lazy(model, x), by_backward(loss, model, x)[1])
    model[0] = nn.Linear(3, 4)
    torch.testing.assert_close(lazy(model, x), by_backward(loss, model, x)[1])


class Scaled(nn.Linear):
    """It reads all that its attributes are."""

    def __init__(self):
        super().__init__(3, 3)
        self.scale, self.steps, self.shift = 2.0, [1.0], torch.ones(3)
        self.register_buffer("mean", torch.ones(3))

    def forward(self, x):
        y = super().forward(x) * self.scale + self.shift - self.mean
        return y * sum(self.steps) if self.training else y


class Squared(Scaled):
    def forward(self, x):
        return super().forward(x).square()


def other_tensor(p):
    return nn.Parameter(torch.randn_like(p))


CHANGES = {
    "values": lambda m: m.weight.data.mul_(2.0),
    "data": lambda m: setattr(m.weight, "data", torch.randn(3, 3)),
    "strides": lambda m: setattr(m.weight, "data", torch.randn(3, 3).T),
    "dtype": lambda m: m.double(),
    "state dict": lambda m: m.load_state_dict(Scaled().state_dict(), strict=False),
    "assigned state dict": lambda m: m.load_state_dict(Scaled().state_dict(), False, assign=True),
    "parameter": lambda m: setattr(m, "weight", other_tensor(m.weight)),
    "swapped parameter": lambda m: torch.utils.swap_tensors(m.weight, other_tensor(m.weight)),
    "parameter in a dict": lambda m: m._parameters.update(bias=other_tensor(m.bias)),
    "no bias": lambda m: setattr(m, "bias", None),
    "frozen": lambda m: m.bias.requires_grad_(False),
    "thawed": lambda m: m.frozen.requires_grad_(),
    "another frozen": lambda m: [m.frozen.requires_grad_(True), m.bias.requires_grad_(False)],
    "hook": lambda m: m.register_forward_hook(lambda module, args, y: 3 * y),
    "submodule": lambda m: m.add_module("inner", nn.Linear(3, 3)),
    "evaluation": lambda m: m.eval(),
    "number": lambda m: setattr(m, "scale", 3.0),
    "list": lambda m: m.steps.append(2.0),
    "tensor": lambda m: setattr(m, "shift", torch.zeros(3)),
    "elements of a tensor": lambda m: m.shift.zero_(),
    "buffer": lambda m: setattr(m, "mean", torch.zeros(3)),
    "elements of a buffer": lambda m: m.mean.zero_(),
    "class": lambda m: setattr(m, "__class__", Squared),
    "attributes": lambda m: setattr(m, "__dict__", {**vars(m), "scale": 3.0}),
    "tied": lambda m: setattr(m, "bias", m.extra),
    "untied": lambda m: setattr(m, "twice", other_tensor(m.weight)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_module_that_has_changed(change):
    torch.manual_seed(0)
    model = Scaled()
    model.extra, model.twice = nn.Parameter(torch.randn(3)), model.weight
    model.frozen = nn.Parameter(torch.randn(3), requires_grad=False)

    def both(model, x):
        y = loss(model, x) + loss(lambda x: x @ model.twice + model.extra * model.frozen, x)
        return y if getattr(model, "inner", None) is None else y + loss(model.inner, x)

    step = dif.prepare_value_and_gradient(both, argnums=0, backend="torch", fallback="error")
    x = torch.randn(5, 3)
    write = dif.closure(both, model, x, fallback="error")
    for _ in range(2):
        check(step(model, x), by_backward(both, model, x))
        write()
    CHANGES[change](model)
    x = x.to(model.weight.dtype)
    for _ in range(2):  # the first as any call, the second by the straight line
        value, found = by_backward(both, model, x)
        with torch.no_grad():
            torch.testing.assert_close(step(model, x), (value, found))
        check(step(model, x), (value, found))
        torch.testing.assert_close(write(x), value)
        written = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.testing.assert_close(written, found)


def test_another_module_of_the_same_kind_may_come():
    model, x = Recurrent(), torch.randn(2, 5, 3)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x))
    other = Recurrent()
    check(prepared(other, x), by_backward(loss, other, x))


def test_inside_what_is_differentiated():
    torch.manual_seed(0)
    model, x = partly_frozen().double(), torch.randn(5, 3, dtype=torch.float64)

    def norm(model, x):
        inner = dif.gradient(loss, model, dif.Const(x))
        assert "0.weight" not in inner
        return sum(part.square().sum() for part in inner.values())

    found = dif.gradient(norm, model, dif.Const(x))
    g = dif.gradient(loss, model, dif.Const(x))
    expected = dif.hvp(loss, model, dif.Const(x), tangents=g)
    torch.testing.assert_close(found, {name: 2 * part for name, part in expected.items()})
    tangents = {name: torch.ones_like(part) for name, part in g.items()}
    slope = dif.pushforward(norm, model, dif.Const(x), tangents=tangents)
    torch.testing.assert_close(slope, sum(part.sum() for part in found.values()))


def test_it_pickles():
    model, x = mlp(), torch.randn(5, 3)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x))
    arrived = pickle.loads(pickle.dumps(prepared))
    check(arrived(model, x), by_backward(loss, model, x))
    with pytest.raises(dif.PreparationMismatchError):
        arrived(mlp(dtype=torch.float64), x.double())


def shifted(out, model, x):
    out[:] = model(x) + x


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: dif.odeint(lambda y, t, m: m(y).tanh(), x, torch.linspace(0, 1, 3), model),
        dif.custom_rule(lambda model, x: model(x).sin()),
        dif.in_place(shifted, like=1),
        dif.bridge(lambda model, x: model(x).cos(), backend="torch"),
    ],
    ids=["odeint", "custom_rule", "in_place", "bridge"],
)
def test_backward_through_a_function_of_ours(call):
    torch.manual_seed(0)
    model, x = nn.Linear(2, 2), torch.ones(2)
    call(model, x).square().sum().backward()
    found = dif.gradient(lambda model, x: call(model, x).square().sum(), model, dif.Const(x))
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, found[name])
        assert p.grad.any()


def test_modules_that_are_refused():
    x = torch.ones(5, 3)
    with pytest.raises(dif.NotDifferentiableError, match="call it once on an example input"):
        dif.gradient(loss, nn.LazyLinear(4), dif.Const(x))
    compiled, inside = mlp(), nn.Sequential(torch.compile(nn.Linear(3, 3), backend="eager"))
    compiled.compile(backend="eager")
    for model in (torch.compile(mlp(), backend="eager"), compiled, inside):
        with pytest.raises(dif.NotDifferentiableError, match=r"went through torch\.compile"):
            dif.gradient(loss, model, dif.Const(x))
    dif.gradient(loss, torch.compile(mlp(), backend="eager")._orig_mod, dif.Const(x))
    with pytest.raises(dif.NotDifferentiableError, match="use backend='torch'"):
        dif.gradient(loss, mlp(), dif.Const(x), backend="numpy")
    with pytest.raises(dif.InvalidArgumentError, match="nothing to differentiate"):
        dif.gradient(loss, nn.ReLU(), dif.Const(x))


def test_samples_with_shared_parameters():
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(5, 3)
    found = dif.prepare_gradient(loss, model, dif.Const(x), in_axes=(None, 0))(model, x)
    for i, row in enumerate(x):
        _, expected = by_backward(loss, model, row)
        torch.testing.assert_close({k: part[i] for k, part in found.items()}, expected)


def test_backend_of_one_argument_among_numpy_arrays():
    model, x = mlp(), np.ones((5, 3), np.float32)
    found = dif.gradient(lambda m, x: nn.functional.softplus(m(x)).sum(), model, dif.Const(x))
    assert all(isinstance(part, torch.Tensor) for part in found.values())


def test_closures_write_to_parameters():
    torch.manual_seed(0)
    model, x = partly_frozen(), torch.randn(5, 3)
    params = {"model": model, "scale": torch.tensor(2.0, requires_grad=True), "n": dif.Const(3)}
    step = dif.closure(lambda p, x: p["scale"] * loss(p["model"], x), params, x)
    for batch in (x, x[:2]):
        value, expected = by_backward(loss, model, batch)
        torch.testing.assert_close(step(batch), 2 * value)
        torch.testing.assert_close(params["scale"].grad, value)
        for name, p in model.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(p.grad, 2 * expected[name])
            else:
                assert p.grad is None


def test_closures_write_sums_where_a_parameter_is_in_several_places():
    torch.manual_seed(0)
    w, first, second, x = (
        nn.Parameter(torch.randn(3)),
        nn.Linear(3, 3),
        nn.Linear(3, 3),
        torch.ones(3),
    )
    second.weight = first.weight
    params = {"models": [first, second, first], "w": w, "matrix": first.weight, "same": w}

    def f(p, x):
        for model in p["models"]:
            x = model(x).tanh() * p["w"]
        return (p["matrix"] @ (x + p["same"])).sum()

    leaves = [w, *first.parameters(), second.bias]
    expected = torch.autograd.grad(f(params, x), leaves)
    step = dif.closure(f, params, x)
    for _ in range(2):
        step()
        torch.testing.assert_close(tuple(leaf.grad for leaf in leaves), expected)


@pytest.mark.slow
def test_no_module_is_kept_alive():
    x = torch.ones(2, 3)
    for parent in (False, True):
        model = mlp()
        model.parts = [model] if parent else []
        dif.gradient(loss, model, dif.Const(x))
        alive = weakref.ref(model)
        del model
        gc.collect()
        assert alive() is None


def test_a_value_does_not_keep_the_gradient():
    model, x = nn.Linear(50, 50), torch.ones(2, 50)
    prepared = dif.prepare_value_and_gradient(loss, model, dif.Const(x))
    value, _ = prepared(model, x)
    sizes = [a.numel() for a in value.grad_fn.evaluation._samples]
    assert max(sizes) <= 1024 < model.weight.numel()
    value.backward()
    torch.testing.assert_close(model.weight.grad, by_backward(loss, model, x)[1]["weight"])


def test_functions_that_capture_a_part_of_the_module():
    x = torch.ones(2, 3)
    model = mlp()
    model.forward = lambda x: 2.0 * model[0](x)
    with pytest.raises(dif.NotDifferentiableError, match="captures a part of the module"):
        dif.gradient(loss, model, dif.Const(x))
    model.forward = types.MethodType(lambda self, x: 2.0 * self[0](x), model)
    found = dif.gradient(loss, model, dif.Const(x))
    weight = model[0].weight
    expected = torch.autograd.grad(loss(model, x), weight)[0]
    torch.testing.assert_close(found["0.weight"], expected)


def test_sparse_gradients():
    model, rows = nn.Embedding(10, 3, sparse=True), torch.tensor([1, 2, 2])
    found = dif.gradient(loss, model, dif.Const(rows))["weight"]
    assert found.is_sparse
    expected = torch.autograd.grad(loss(model, rows), model.weight)[0]
    torch.testing.assert_close(found.to_dense(), expected.to_dense())
