"""Layers that each run one operation: a layer stores the parameters and the last call."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import backend, operations
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.nn.freezing import input_gradient
from numpy_shufflenet.nn.layer import Buffer, Layer, Parameter
from numpy_shufflenet.ops import update_running_statistics
from numpy_shufflenet.ops.checks import (
    as_padding,
    as_pair,
    check_divides,
    check_floating,
    check_positive,
    check_share,
    check_size,
    is_integer,
    is_sequence,
)

CHECKS: dict[str, Callable[[str, Any], object]] = {  # of hyperparameters, before the first forward
    "kernel_size": as_pair,
    "stride": as_pair,
    "padding": lambda _, value: as_padding(value),
    "dilation": as_pair,
    "groups": check_positive,
    "eps": check_size,
    "slope": check_size,
    "rate": partial(check_share, below=True),
}


class OperationLayer(Layer):
    """A layer that runs one operation: on x, then its parameters, with its hyperparameters.

    `parameter_names` are attributes, in the order of the operation's arrays after x; one that is
    None is left out.
    """

    operation: str
    parameter_names: tuple[str, ...] = ()

    def __init__(self, **hyperparameters: Any):
        super().__init__()
        for name, value in hyperparameters.items():
            if name in CHECKS:
                CHECKS[name](name, value)
        self.hyperparameters = hyperparameters
        self._call: backend.Call | None = None

    def _forward(self, x: Any, training: bool) -> Any:
        operation = self.operation_in(training)
        y, call = backend.forward(operation, *self.arrays(x), **self.hyperparameters)
        self.keep(call)
        return y

    def _backward(self, dy: Any) -> Any:
        return self.accumulate(backend.backward(dy, self.kept_call()))

    # The parts of both, of which a fused operation takes some from one layer, some from the next.

    def operation_in(self, training: bool) -> str:
        """Return the name of the operation that runs in this mode."""
        return self.operation

    def arrays(self, x: Any) -> tuple[Any, ...]:
        """Return the arrays that the operation takes: x, and the parameters."""
        return x, *(parameter and parameter.value for parameter in self._learned())

    def note(self, cache: Any, training: bool) -> None:
        """Use what forward computed: batch normalisation updates its running statistics."""

    def keep(self, call: backend.Call) -> None:
        """Remember the call for backward, if there can be one."""
        if not backend.inferring():
            self._call = call

    def kept_call(self) -> backend.Call:
        """Return the call of the last forward."""
        assert self._call is not None
        return self._call

    def forget(self) -> None:
        """Drop the call, after its backward."""
        self._call = None

    def accumulate(self, gradients: Any) -> Any:
        """Add to the gradients of the parameters, and return dx."""
        if not self.parameter_names:
            return gradients
        dx, *own = gradients
        for parameter, gradient in zip(self._learned(), own, strict=True):
            if parameter is not None:
                parameter.accumulate(gradient)
        return dx

    def _release(self) -> None:
        self.forget()

    def children(self) -> dict[str, Layer]:
        """Return no layers: an operation has no child layers."""
        return {}

    def _learned(self) -> list[Parameter | None]:
        return [getattr(self, name) for name in self.parameter_names]

    def operands(self) -> dict[str, Array]:
        """Return the parameters under the names that the operation has for them (w, gamma, ...)."""
        names = operations.find(self.operation).arrays[1:]
        learned = zip(names, self._learned(), strict=False)
        return {name: parameter.value for name, parameter in learned if parameter is not None}

    def shapes(self, x: Any, batch: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the operation's arrays for a batch of inputs such as x.

        Parameters
        ----------
        x : array, or a tuple of arrays
            What the layer was given; the size of its first axis plays no role.
        batch : int
            Takes its place.
        """
        parts = x if isinstance(x, tuple) else (x,)
        names = operations.find(self.operation).arrays[: len(parts)]
        if names[0].startswith("*"):
            names = tuple(f"{names[0][1:]}[{i}]" for i in range(len(parts)))
        given = {key: (batch, *part.shape[1:]) for key, part in zip(names, parts, strict=True)}
        return given | {key: value.shape for key, value in self.operands().items()}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        return f"{type(self).__name__}({settings})"


class Conv2d(OperationLayer):
    """A convolution; its shape decides which of the four convolution operations runs.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (height, width)
    stride, padding, dilation, groups
        As in `ops.conv2d_forward`.
    bias : bool
        Off, as everywhere before a batch normalisation, which would remove it again.

    Attributes
    ----------
    input_gradient : bool
        Whether backward of a standard convolution computes dx; in the first layer of a network
        that is trained, nobody asks for it. Without it dx is None.
    """

    parameter_names = ("weight", "bias")
    input_gradient = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = False,
    ):
        check_divides(groups, check_positive("in_channels", in_channels))
        check_divides(groups, check_positive("out_channels", out_channels), of="out_channels")
        kernel = as_pair("kernel_size", kernel_size)
        geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        if kernel == (1, 1) and as_pair("stride", stride) == (1, 1) and padding == 0:
            self.operation = "pointwise_conv2d"
            super().__init__(groups=groups)
        elif groups == in_channels and groups > 1:
            self.operation = "depthwise_conv2d"
            super().__init__(**geometry)
        elif groups > 1:
            self.operation = "group_conv2d"
            super().__init__(groups=groups, **geometry)
        else:
            self.operation = "conv2d"
            super().__init__(**geometry)
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = Parameter(np.zeros(shape, np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None
        self.multiplier = out_channels // in_channels  # of a depthwise convolution
        self._geometry = geometry

    def has_geometry(self, kernel: tuple[int, int], strides: tuple[int, ...]) -> bool:
        """Whether the kernel is this large, both strides equal one of `strides`, dilation is 1."""
        stride, dilation = (as_pair(name, self._geometry[name]) for name in ("stride", "dilation"))
        same = self.weight.value.shape[2:] == kernel and stride[0] == stride[1]
        return same and stride[0] in strides and dilation == (1, 1)

    def pad(self, padding: Padding) -> None:
        """Change the padding."""
        self.hyperparameters["padding"] = self._geometry["padding"] = padding

    @property
    def skips_input(self) -> bool:
        """Whether backward leaves dx out."""
        return self.operation == "conv2d" and not self.input_gradient

    def _backward(self, dy: Any) -> Any:
        if self.skips_input:
            gradients = backend.backward(dy, self.kept_call(), input_gradient=False)
            return self.accumulate(gradients)
        if self.frozen:
            dx = input_gradient(self.operation, self.weight.value, self.hyperparameters, dy)
            if dx is not None:
                return dx
        return super()._backward(dy)

    def __repr__(self) -> str:
        o, _, kh, kw = self.weight.value.shape
        name = self.operation.removesuffix("_conv2d")
        kind = "" if name == self.operation else f"{name} "
        groups = self.hyperparameters.get("groups", 1)
        shown = [f"{kind}{kh}x{kw}", str(o)]
        shown += [f"groups={groups}"] if groups > 1 else []
        unusual = {"stride": 1, "padding": kh // 2, "dilation": 1}
        shown += [f"{k}={v}" for k, v in self._geometry.items() if v != unusual[k]]
        return f"Conv2d({', '.join(shown)})"


class Linear(OperationLayer):
    """A matrix product with every row: (n, in_features) -> (n, out_features)."""

    operation = "linear"
    parameter_names = ("weight", "bias")

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True):
        super().__init__()
        check_positive("in_features", in_features)
        check_positive("out_features", out_features)
        self.weight = Parameter(np.zeros((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None


class BatchNorm2d(OperationLayer):
    """Batch normalisation: statistics of the batch in training, running ones in evaluation.

    Parameters
    ----------
    channels : int
    eps : float
        Added to the variance.
    momentum : float
        Weight of a new batch in the running statistics.
    """

    operation = "batch_norm_inference"
    parameter_names = ("weight", "bias")
    synchronised = False  # whether several processes share the batch; see `SyncBatchNorm2d`

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__(eps=eps)
        check_positive("channels", channels)
        self.momentum = check_share("momentum", momentum)
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))
        self.num_batches_tracked = Buffer(np.array(0, np.int64))

    def operation_in(self, training: bool) -> str:
        """Return the operation with batch statistics in training, else with running statistics."""
        return "batch_norm" if training else "batch_norm_inference"

    def _forward(self, x: Array, training: bool) -> Array:
        given = () if training else (self.running_mean.value, self.running_var.value)
        operation = self.operation_in(training)
        y, call = backend.forward(operation, *self.arrays(x), *given, **self.hyperparameters)
        self.note(call.cache, training)
        self.keep(call)
        return y

    def note(self, cache: Any, training: bool) -> None:
        """Move the running statistics towards those of a batch."""
        if training and not backend.is_recording():
            mean, var = self.running_mean, self.running_var
            mean.value, var.value = update_running_statistics(
                mean.value, var.value, cache, momentum=self.momentum
            )
            self.num_batches_tracked.value += 1  # in place: NumPy would give a scalar, not an array


class ReLU(OperationLayer):
    """Negative values become 0."""

    operation = "relu"

    def _pattern(self) -> Iterator[Array]:
        if self._call is not None:
            yield self._call.cache.y > 0


class LeakyReLU(OperationLayer):
    """Negative values are multiplied by slope, a number of at least 0."""

    operation = "leaky_relu"

    def __init__(self, slope: float = 0.1):
        super().__init__(slope=slope)

    def _pattern(self) -> Iterator[Array]:
        if self._call is not None:
            yield self._call.cache.y > 0


class Swish(OperationLayer):
    """x sigmoid(x), also called SiLU."""

    operation = "swish"


ACTIVATIONS: dict[str, Callable[[], OperationLayer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "swish": Swish,
}
"""Layers that the argument `activation` of units and networks names."""


def activation_layer(activation: str) -> OperationLayer:
    """Return a new layer for the name of an activation.

    Raises
    ------
    ValueError
        If it isn't in ACTIVATIONS.
    """
    if activation not in tuple(ACTIVATIONS):
        known = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"activation={activation!r} is not one of {known}")
    return ACTIVATIONS[activation]()


class MaxPool2d(OperationLayer):
    """The largest value of each window; arguments as in `ops.max_pool2d_forward`."""

    operation = "max_pool2d"

    def __init__(self, kernel_size: IntOrPair, *, stride: IntOrPair, padding: Padding = 0):
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)

    def _pattern(self) -> Iterator[Array]:
        if self._call is not None:
            yield self._call.cache.winner


class AvgPool2d(OperationLayer):
    """The mean of each window; arguments as in `ops.avg_pool2d_forward`."""

    operation = "avg_pool2d"

    def __init__(
        self,
        kernel_size: IntOrPair,
        *,
        stride: IntOrPair,
        padding: Padding = 0,
        count_include_pad: bool = True,
    ):
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            count_include_pad=count_include_pad,
        )

    def pad(self, padding: Padding) -> None:
        """Change the padding."""
        self.hyperparameters["padding"] = padding


class GlobalAvgPool(OperationLayer):
    """The mean of each channel: (n, c, h, w) -> (n, c)."""

    operation = "global_avg_pool"


class ChannelShuffle(OperationLayer):
    """The channel shuffle in the paper's order; with one group it changes nothing."""

    operation = "channel_shuffle"

    def __init__(self, groups: int):
        super().__init__(groups=groups)


class ChannelSplit(OperationLayer):
    """x -> a tuple of arrays with these numbers of channels; backward takes such a tuple."""

    operation = "channel_split"

    def __init__(self, sizes: Sequence[int]):
        if not is_sequence(sizes) or not all(is_integer(size) and size >= 1 for size in sizes):
            raise ValueError(f"sizes={sizes!r} are not whole numbers of at least 1")
        super().__init__(sizes=tuple(sizes))


class ChannelConcat(OperationLayer):
    """A tuple of arrays -> one; backward returns such a tuple."""

    operation = "channel_concat"

    def arrays(self, x: Sequence[Array]) -> tuple[Array, ...]:
        """Return the arrays of the tuple."""
        return tuple(x)


class Add(OperationLayer):
    """A tuple of two or more arrays of one shape -> their sum; backward returns a tuple."""

    operation = "add"
    count = 2  # arrays in the last forward

    def arrays(self, x: Sequence[Array]) -> tuple[Array, ...]:
        """Return two arrays: the sum of all but the last one, and the last one."""
        if len(x) < 2:
            raise ValueError(f"x holds {len(x)} arrays; at least two are needed")
        if not backend.inferring():
            self.count = len(x)
        first, *middle, last = x
        for array in middle:
            first, _ = backend.forward(self.operation, first, array)
        return first, last

    def accumulate(self, gradients: Any) -> Any:
        """Return the gradient of each array that was added."""
        first, last = gradients
        return (first,) * (self.count - 1) + (last,)

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """Forward makes one more addition of arrays for each array after the second."""
        return (x[1] // y[1] - 2) * math.prod(y), 0

    def shapes(self, x: Any, batch: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the two arrays of the last addition."""
        return super().shapes(tuple(x[-2:]), batch)


class Dropout(OperationLayer):
    """Drops values in training; evaluation changes nothing.

    Parameters
    ----------
    rate : float
        From 0 to below 1.
    seed : int, optional
        Seed of the generator that draws the masks.

    Attributes
    ----------
    others : (int, int)
        If several processes share a batch: the number of images of the processes before this one,
        and of those after it. Each process draws the masks of all images, so the mask of an image
        doesn't depend on the number of processes.
    """

    operation = "dropout"

    others = (0, 0)

    def __init__(self, rate: float, *, seed: int | None = None):
        super().__init__(rate=rate)
        self.rng = np.random.default_rng(seed)

    def _forward(self, x: Array, training: bool) -> Array:
        if not training:
            if not backend.is_recording():
                check_floating("x", x)
            return x
        before, after = (0, 0) if backend.is_recording() else self.others
        if before:
            self.rng.random((before, *x.shape[1:]))
        y, call = backend.forward(self.operation, x, rng=self.rng, **self.hyperparameters)
        if after:
            self.rng.random((after, *x.shape[1:]))
        self.keep(call)
        return y

    def _backward(self, dy: Array) -> Array:
        return dy if self._call is None else super()._backward(dy)


class SqueezeExcitation(OperationLayer):
    """Scales each channel by a number that depends on all channels; see the operation.

    Parameters
    ----------
    channels : int
    reduction : int
        The small network in between has channels // reduction units, at least 1.
    """

    operation = "squeeze_excitation"
    parameter_names = ("reduce_weight", "reduce_bias", "expand_weight", "expand_bias")

    def __init__(self, channels: int, *, reduction: int):
        super().__init__()
        channels = check_positive("channels", channels)
        reduced = max(1, channels // check_positive("reduction", reduction))
        self.reduce_weight = Parameter(np.zeros((reduced, channels), np.float32))
        self.reduce_bias = Parameter(np.zeros(reduced, np.float32))
        self.expand_weight = Parameter(np.zeros((channels, reduced), np.float32))
        self.expand_bias = Parameter(np.zeros(channels, np.float32))

    def _pattern(self) -> Iterator[Array]:
        if self._call is not None:
            yield self._call.cache.relu.y > 0
