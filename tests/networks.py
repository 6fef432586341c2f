"""Helpers for tests of layers and networks: random states, and their gradients."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from numpy_shufflenet.nn import Layer
from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward


def randomised(layer: Layer, seed: int = 0) -> Layer:
    """A copy in float64 in which no number is special: random parameters and running statistics.

    As built, every gamma is 1 and every beta the same, which would hide many mistakes.
    Convolutions are drawn so that activations neither vanish nor grow.
    """
    rng = np.random.default_rng(seed)
    layer = layer.astype(np.float64)
    state = layer.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            state[name] = rng.uniform(0.5, 2, value.shape)
        elif name.endswith("num_batches_tracked"):
            state[name] = np.array(rng.integers(1, 1000))
        elif value.ndim > 1:
            state[name] = rng.normal(0, np.sqrt(2 / np.prod(value.shape[1:])), value.shape)
        elif name.endswith("weight"):  # gamma, negative here and there
            state[name] = rng.uniform(0.5, 1.5, value.shape) * rng.choice((-1, 1, 1), value.shape)
        else:
            state[name] = rng.normal(0, 0.3, value.shape)
    layer.load_state_dict(state)
    return layer


def loss_and_gradients(
    model: Layer, x: np.ndarray, labels: np.ndarray, *, training: bool
) -> tuple[np.ndarray, float, np.ndarray, dict[str, np.ndarray]]:
    """Logits, cross-entropy with label smoothing 0.1, dx and the gradient of every parameter."""
    model.zero_gradients()
    logits = model.forward(x, training=training)
    loss, cache = softmax_cross_entropy_forward(logits, labels, label_smoothing=0.1)
    dx = model.backward(softmax_cross_entropy_backward(np.float64(1), cache))
    return logits, float(loss), dx, model.gradients()


def largest(arrays: Iterable[Any]) -> float:
    """The largest absolute value in some arrays."""
    return max(float(np.abs(array).max()) for array in arrays)
