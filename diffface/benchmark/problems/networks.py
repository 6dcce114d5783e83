"""Neural networks: a multilayer perceptron and an LSTM."""

from itertools import pairwise
from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


def mlp_loss(params: dict[str, list[Array]], inputs: Array, targets: Array) -> Array:
    """Mean squared error of a perceptron with tanh layers and a linear last one.

    Parameters
    ----------
    params : dict of list of array
        ``"weights"``, of shapes (n[i], n[i+1]), and ``"biases"``, of shapes (n[i+1],).
    inputs : array, shape (batch, n[0])
    targets : array, shape (batch, n[-1])

    Returns
    -------
    array, shape ()
    """
    *hidden, last = zip(params["weights"], params["biases"], strict=True)
    xp = namespace(*params["weights"], *params["biases"], inputs)
    for weight, bias in hidden:
        inputs = xp.tanh(inputs @ weight + bias)
    weight, bias = last
    return xp.mean((inputs @ weight + bias - targets) ** 2)


def _make_mlp(size: Size, seed: int) -> tuple[Any, ...]:
    batch, *widths = size
    rng = np.random.default_rng(seed)
    # Scaled so that the activations have unit variance (LeCun et al., "Efficient BackProp", 1998).
    pairs = list(pairwise(widths))
    params = {
        "weights": [rng.standard_normal((n, m)) / np.sqrt(n) for n, m in pairs],
        "biases": [0.1 * rng.standard_normal(m) for _, m in pairs],
    }
    inputs = rng.standard_normal((batch, widths[0]))
    return params, Const(inputs), Const(rng.standard_normal((batch, widths[-1])))


MLP = Problem(
    name="mlp",
    f=mlp_loss,
    make_args=_make_mlp,
    sizes=((16, 4, 8, 1), (64, 16, 32, 32, 4), (256, 64, 256, 256, 10)),
    dimensions="batch, widths of the layers",
    operator="gradient",
    source="Rumelhart, Hinton and Williams, Nature 323 (1986), 533-536.",
)


def lstm_loss(main: Array, extra: Array, state: Array, sequence: Array) -> Array:
    """Mean cross entropy of the prediction of each character from those before it.

    Weights act elementwise. Per layer, with input x, hidden h and cell c: gates
    ``s(w x + b)`` for forget and output and ``s(w h + b)`` for input, change ``tanh(w h + b)``;
    ``c <- c forget + input change``, ``h <- output tanh(c)``, the next layer's x. The loss is
    ``-sum_t seq[t+1] . (y_t - log(2 + sum(exp y_t))) / ((n - 1) b)``.

    All layers advance in one step, each one character behind the layer below it, and gates are
    tanhs, by ``s(z) = (1 + tanh(z/2)) / 2``: the loop has few, larger operations. It is a Python
    loop nonetheless: XLA compiles every step, some tenths of a second each.

    Parameters
    ----------
    main : array, shape (2 l, 4 b)
        Per layer a row of weights and a row of biases, of the gates forget, input, output and of
        the change.
    extra : array, shape (3, b)
        Weights of the first input, weights and biases of the prediction.
    state : array, shape (2 l, b)
        Per layer the hidden state and the cell at the start.
    sequence : array, shape (n, b)
        Characters as bits.

    Returns
    -------
    array, shape ()
    """
    xp = namespace(main, extra, state)
    layers, bits = main.shape[0] // 2, main.shape[1] // 4
    times = sequence.shape[0] - 1

    # Half the argument makes a sigmoid of the tanh; the change, the last of the four, is a tanh.
    half = xp.asarray(np.array([[0.5], [0.5], [0.5], [1.0]]), dtype=main.dtype)
    weights = xp.reshape(main[0::2], (layers, 4, bits)) * half
    biases = xp.reshape(main[1::2], (layers, 4, bits)) * half
    # Forget and output see the input, the other two the hidden state.
    input_weights, input_biases = weights[:, 0::2], biases[:, 0::2]
    hidden_weights, hidden_biases = weights[:, 1::2], biases[:, 1::2]
    hidden, cell = state[0::2], state[1::2]
    # Products with these pass the first input to layer 0, and each layer's output to the next.
    first = xp.asarray(np.eye(layers, 1), dtype=main.dtype)
    upward = xp.asarray(np.eye(layers, k=-1), dtype=main.dtype)
    # A product is a fence to XLA, which would else fuse the cell's whole history into each of its
    # kernels, and compile for minutes.
    fence = xp.asarray(np.eye(layers), dtype=main.dtype)

    tops = []
    for step in range(times + layers - 1):
        # Past the end, lower layers go on with an input that nothing will see.
        t = min(step, times - 1)
        below = first @ (sequence[t : t + 1] * extra[:1]) + upward @ hidden
        from_input = xp.tanh(input_weights * below[:, None, :] + input_biases)
        from_hidden = xp.tanh(hidden_weights * hidden[:, None, :] + hidden_biases)
        forget, leave = 0.5 + 0.5 * from_input[:, 0], 0.5 + 0.5 * from_input[:, 1]
        enter, change = 0.5 + 0.5 * from_hidden[:, 0], from_hidden[:, 1]
        new_cell = (fence @ cell) * forget + enter * change
        new_hidden = leave * xp.tanh(new_cell)
        if step < layers - 1:
            # Upper layers have not started: their first input is still on its way up.
            new_cell = xp.concat([new_cell[: step + 1], cell[step + 1 :]])
            new_hidden = xp.concat([new_hidden[: step + 1], hidden[step + 1 :]])
        else:
            tops.append(new_hidden[-1])
        cell, hidden = new_cell, new_hidden

    predicted = xp.stack(tops) * extra[1] + extra[2]
    normaliser = xp.log(2.0 + xp.sum(xp.exp(predicted), axis=1, keepdims=True))
    return -xp.sum(sequence[1:] * (predicted - normaliser)) / (times * bits)


def _make_lstm(size: Size, seed: int) -> tuple[Any, ...]:
    layers, n, bits = size
    rng = np.random.default_rng(seed)
    return (
        rng.random((2 * layers, 4 * bits)),
        rng.random((3, bits)),
        Const(rng.random((2 * layers, bits))),
        Const(rng.integers(0, 2, (n, bits)).astype(np.float64)),
    )


LSTM = Problem(
    name="lstm",
    f=lstm_loss,
    make_args=_make_lstm,
    sizes=((2, 8, 5), (2, 64, 14), (2, 1_024, 14)),
    dimensions="l layers, n characters, b bits",
    operator="gradient",
    source=(
        "ADBench `LSTM` (github.com/microsoft/ADBench 38cb7931, MIT), arXiv:1807.10129; own code."
    ),
)
