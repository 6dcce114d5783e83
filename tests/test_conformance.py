"""Every backend through every scenario, operator and preparation, on its kinds of arrays."""

from diffface.testing import conformance

test_jax = conformance("jax")
test_torch = conformance("torch")
test_autograd = conformance("autograd")
test_numpy = conformance("numpy")
test_complex_step = conformance("complex-step")
