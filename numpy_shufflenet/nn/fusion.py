"""Chains of layers, some of which run together as one fused operation.

The layers keep their names and parameters; only the arrays between them are not computed. A trace
needs those arrays, so in a trace the layers run one by one.

Pairs of layers run as one operation of `ops.fused`. In training, BN, ReLU, shuffle, 3x3 depthwise
convolution and BN run in one pass over each channel, if the backend has kernels for it. In frozen
layers, batch normalisation is folded into the convolution before it (see `fold`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import backend, operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.freezing import input_gradient
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import BatchNorm2d, ChannelShuffle, Conv2d, OperationLayer, ReLU
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


class Channelwise:
    """Layers that don't combine channels, and run in one pass over each channel; training only.

    The convolution keeps the call. The ReLU keeps numbers that show which inputs were positive.
    """

    def __init__(
        self,
        before: BatchNorm2d | None,
        relu: ReLU | None,
        shuffle: ChannelShuffle | None,
        convolution: Conv2d,
        after: BatchNorm2d,
    ):
        self.before = before
        self.relu = relu
        self.shuffle = shuffle
        self.convolution = convolution
        self.after = after

    def forward(self, x: Any, *, training: bool) -> Any:
        """Run all forwards."""
        before, after = self.before, self.after
        y, call = backend.channelwise_forward(
            x,
            before and before.arrays(x)[1:],
            self.convolution.weight.value,
            after.arrays(x)[1:],
            eps=(before.hyperparameters["eps"] if before else 1.0, after.hyperparameters["eps"]),
            groups=self.shuffle.hyperparameters["groups"] if self.shuffle else 1,
            **self.convolution.hyperparameters,
        )
        if before and self.relu:
            before.note(call.cache.before, training)
            self.relu.keep(call._replace(cache=call.cache.before))
        after.note(call.cache.after, training)
        self.convolution.keep(call)
        return y

    def backward(self, dy: Any) -> Any:
        """Run all backwards."""
        dx, before, dw, after = backend.channelwise_backward(dy, self.convolution.kept_call())
        self.convolution.forget()
        if self.relu:
            self.relu.forget()
        self.after.accumulate((dx, *after))
        self.convolution.accumulate((dx, dw, None))
        if self.before:
            self.before.accumulate((dx, *before))
        return dx


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


ChainStep = Layer | FusedPair | Channelwise | Folded


class Chain:
    """Runs layers one after the other, and fuses layers where a fused operation exists.

    Parameters
    ----------
    *layers : Layer or None
        None is skipped.

    Attributes
    ----------
    output_place, gradient_place : backend.Place or None
        The places reserved for the output of the last layer, and the gradient of x: see `_places`.
    """

    def __init__(self, *layers: Layer | None):
        self.layers = tuple(layer for layer in layers if layer is not None)
        self._steps = {
            (training, channelwise): tuple(_fused(self.layers, training, channelwise))
            for training in (True, False)
            for channelwise in (True, False)
        }
        self._frozen_steps = tuple(_folded(self.layers))
        self._ran: tuple[ChainStep, ...] = self.layers
        self.output_place: backend.Place | None = None
        self.gradient_place: backend.Place | None = None

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
            steps = self._steps[training, backend.has_channelwise(x)]
        if not backend.inferring():
            self._ran = steps
        for step in steps:
            with backend.placed(self.output_place if step is steps[-1] else None):
                x = step.forward(x, training=training)
        return x

    def backward(self, dy: Any) -> Any:
        """Run all backwards, in reverse order."""
        for step in reversed(self._ran):
            with backend.placed(self.gradient_place if step is self._ran[0] else None):
                dy = step.backward(dy)
        return dy


def _fused(layers: tuple[Layer, ...], training: bool, channelwise: bool) -> Iterator[ChainStep]:
    """Yield the steps of a chain: single layers, and groups of layers that run as one operation."""
    while layers:
        run, length = _channelwise(layers) if training and channelwise else (None, 0)
        if run is None:
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


def _channelwise(layers: tuple[Layer, ...]) -> tuple[ChainStep | None, int]:
    """Return the first layers as a `Channelwise` and their number, or None and 0."""
    before: BatchNorm2d | None = None
    relu: ReLU | None = None
    shuffle: ChannelShuffle | None = None
    rest = layers
    match layers:
        case (BatchNorm2d() as before, ReLU() as relu, ChannelShuffle() as shuffle, *_):
            rest = layers[3:]
        case (BatchNorm2d() as before, ReLU() as relu, *_):
            rest = layers[2:]
    match rest:
        case (Conv2d(operation="depthwise_conv2d", bias=None) as conv, BatchNorm2d() as after, *_):
            if after.synchronised or (before and before.synchronised):
                return None, 0  # the kernel doesn't exchange statistics with other processes
            if conv.multiplier == 1 and conv.has_geometry((3, 3), strides=(1, 2)):
                run = Channelwise(before, relu, shuffle, conv, after)
                return run, len(layers) - len(rest) + 2
    return None, 0
