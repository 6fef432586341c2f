"""Rows of layers, in which two that have a fused operation run as one.

The layers stay what they are, with their names and parameters; only the array between the two is
never made. Where somebody wants to see it, in a trace, they run one by one.
"""

from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import OperationLayer

FUSED = {
    ("batch_norm", "relu"): "batch_norm_relu",
    ("add", "relu"): "add_relu",
    ("conv2d", "relu"): "conv2d_relu",
    ("pointwise_conv2d", "relu"): "pointwise_conv2d_relu",
    ("channel_concat", "channel_shuffle"): "channel_concat_shuffle",
}


class Pair:
    """Two layers that run as one operation; its call is kept by the second."""

    def __init__(self, first: OperationLayer, second: OperationLayer, operation: str):
        self.first = first
        self.second = second
        self.operation = operation

    def forward(self, x: Any, *, training: bool) -> Any:
        """Run both forwards."""
        hyperparameters = {**self.first.hyperparameters, **self.second.hyperparameters}
        y, call = backend.forward(self.operation, *self.first.arrays(x), **hyperparameters)
        self.first.note(call.cache, training)
        self.second.keep(call)
        return y

    def backward(self, dy: Any) -> Any:
        """Run both backwards."""
        return self.first.accumulate(backend.backward(dy, self.second.kept_call()))


class Chain:
    """Runs layers one after the other, in pairs where it can.

    Parameters
    ----------
    *layers : Layer or None
        None is left out.
    """

    def __init__(self, *layers: Layer | None):
        self.layers = tuple(layer for layer in layers if layer is not None)
        self._paired = {training: _paired(self.layers, training) for training in (True, False)}
        self._ran: tuple[Layer | Pair, ...] = self.layers

    def forward(self, x: Any, *, training: bool) -> Any:
        """Run all forwards."""
        traced = any(layer.is_traced() for layer in self.layers)
        steps = self.layers if traced else self._paired[training]
        if not backend.inferring():
            self._ran = steps
        for step in steps:
            x = step.forward(x, training=training)
        return x

    def backward(self, dy: Any) -> Any:
        """Run all backwards, in the other order."""
        for step in reversed(self._ran):
            dy = step.backward(dy)
        return dy


def _paired(layers: tuple[Layer, ...], training: bool) -> tuple[Layer | Pair, ...]:
    steps: list[Layer | Pair] = []
    for layer in layers:
        before = steps[-1] if steps else None
        if isinstance(layer, OperationLayer) and isinstance(before, OperationLayer):
            names = before.operation_in(training), layer.operation_in(training)
            if names in FUSED:
                steps[-1] = Pair(before, layer, FUSED[names])
                continue
        steps.append(layer)
    return tuple(steps)
