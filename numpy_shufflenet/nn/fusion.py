"""Chains of layers, some of which run together as one fused operation.

The layers keep their names and parameters; only the arrays between them are not computed. A trace
needs those arrays, so in a trace the layers run one by one.

Pairs of layers run as one operation of `ops.fused`. In frozen layers, batch normalisation is folded
into the convolution before it (see `fold`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import backend, operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.freezing import input_gradient
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import BatchNorm2d, Conv2d, OperationLayer, ReLU
from numpy_shufflenet.ops.relu import ReluCache

FUSED = {
    ("batch_norm", "relu"): "batch_norm_relu",
    ("add", "relu"): "add_relu",
    ("conv2d", "relu"): "conv2d_relu",
    ("pointwise_conv2d", "relu"): "pointwise_conv2d_relu",
    ("channel_concat", "channel_shuffle"): "channel_concat_shuffle",
}


class FusedPair:
    """Two layers that run as one operation. The second one keeps its call."""

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
        gradients = backend.backward(dy, self.second.kept_call())
        self.second.forget()
        return self.first.accumulate(gradients)


class Folded:
    """A frozen convolution, batch normalisation and perhaps ReLU, run as one convolution.

    The convolution keeps the call, and the ReLU its output.
    """

    def __init__(self, convolution: Conv2d, norm: BatchNorm2d, relu: ReLU | None):
        self.convolution = convolution
        self.norm = norm
        self.relu = relu

    def forward(self, x: Any, *, training: bool) -> Any:
        """Run all forwards."""
        name = self.convolution.operation
        fused = FUSED.get((name, "relu")) if self.relu else None
        arrays = x, *folded_convolution(self.convolution, self.norm)
        y, call = backend.forward(fused or name, *arrays, **self.convolution.hyperparameters)
        self.convolution.keep(call)
        if self.relu:
            if not fused:
                y, _ = backend.forward("relu", y)
            relu = operations.find("relu")
            self.relu.keep(backend.Call(relu, call.implementation, ReluCache(y)))
        return y

    def backward(self, dy: Any) -> Any:
        """Return dx; there are no other gradients."""
        convolution = self.convolution
        call = convolution.kept_call()
        convolution.forget()
        if self.relu:
            dy = backend.backward(dy, self.relu.kept_call())
            self.relu.forget()
        if convolution.skips_input:
            return None
        w, _ = folded_convolution(convolution, self.norm)
        dx = input_gradient(convolution.operation, w, convolution.hyperparameters, dy)
        return backend.backward(dy, call)[0] if dx is None else dx


def folded_convolution(convolution: Conv2d, norm: BatchNorm2d) -> tuple[Array, Array]:
    """Return w and b of a convolution that does what these two layers do in evaluation."""
    scale = norm.weight.value / np.sqrt(norm.running_var.value + float(norm.hyperparameters["eps"]))
    b = 0 if convolution.bias is None else convolution.bias.value
    w = scale[:, None, None, None] * convolution.weight.value
    return w, scale * (b - norm.running_mean.value) + norm.bias.value


ChainStep = Layer | FusedPair | Folded


class Chain:
    """Runs layers one after the other, and fuses layers where a fused operation exists.

    Parameters
    ----------
    *layers : Layer or None
        None is skipped.
    """

    def __init__(self, *layers: Layer | None):
        self.layers = tuple(layer for layer in layers if layer is not None)
        self._steps = {mode: tuple(_fused(self.layers, mode)) for mode in (True, False)}
        self._frozen_steps = tuple(_folded(self.layers))
        self._ran: tuple[ChainStep, ...] = self.layers

    def forward(self, x: Any, *, training: bool) -> Any:
        """Run all forwards."""
        frozen = [layer.frozen for layer in self.layers]
        steps: tuple[ChainStep, ...]
        if any(layer.is_traced() for layer in self.layers):
            steps = self.layers
        elif all(frozen) and not backend.is_recording():
            steps = self._frozen_steps
        elif training and any(frozen):  # each layer has its own mode
            steps = self.layers
        else:
            steps = self._steps[training]
        if not backend.inferring():
            self._ran = steps
        for step in steps:
            x = step.forward(x, training=training)
        return x

    def backward(self, dy: Any) -> Any:
        """Run all backwards, in reverse order."""
        for step in reversed(self._ran):
            dy = step.backward(dy)
        return dy


def _fused(layers: tuple[Layer, ...], training: bool) -> Iterator[ChainStep]:
    """Yield the steps of a chain: single layers, and pairs of layers that run as one operation."""
    while layers:
        run, length = _pair(layers, training)
        yield run or layers[0]
        layers = layers[length or 1 :]


def _folded(layers: tuple[Layer, ...]) -> Iterator[ChainStep]:
    """Yield the steps of a chain of frozen layers."""
    while layers:
        run: ChainStep | None
        match layers:
            case (Conv2d() as convolution, BatchNorm2d() as norm, ReLU() as relu, *_):
                run, length = Folded(convolution, norm, relu), 3
            case (Conv2d() as convolution, BatchNorm2d() as norm, *_):
                run, length = Folded(convolution, norm, None), 2
            case _:
                run, length = _pair(layers, training=False)
        yield run or layers[0]
        layers = layers[length or 1 :]


def _pair(layers: tuple[Layer, ...], training: bool) -> tuple[ChainStep | None, int]:
    """Return the first two layers as a `FusedPair` and 2, or None and 0 if they don't fuse."""
    match layers:
        case (OperationLayer() as first, OperationLayer() as second, *_):
            names = first.operation_in(training), second.operation_in(training)
            if names in FUSED:
                return FusedPair(first, second, FUSED[names]), 2
    return None, 0
