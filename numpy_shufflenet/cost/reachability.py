"""Which input channels reach which output channels: a test of V1's claim about the shuffle.

We set every weight to a positive number and every bias to 0, so that no two terms cancel and ReLU
passes everything. Then we set one input channel to 1 and all others to 0, for each channel in turn.
An output above 0 depends on that channel. If we set all convolutions to 0 instead, only channels
that the network passes on unchanged reach the output.
"""

import math
from dataclasses import dataclass

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import (
    BatchNorm2d,
    Conv2d,
    Layer,
    Linear,
    Sequential,
    ShuffleNetV2Unit,
    SqueezeExcitation,
)
from numpy_shufflenet.ops.checks import check_positive


@dataclass(frozen=True)
class Reach:
    """Connections between channels, as bool arrays of shape (output channels, input channels)."""

    connected: Array  #: entry (k, l): whether output k depends on input l
    unchanged: Array  #: entry (k, l): whether output k is a copy of input l

    @property
    def share(self) -> float:
        """The share of connected pairs: 1 if every output depends on every input."""
        return float(self.connected.mean())

    @property
    def reused(self) -> float:
        """The share of input channels that the network passes on unchanged."""
        return float(self.unchanged.any(axis=0).mean())

    @property
    def cut_off(self) -> int:
        """The largest number of inputs that an output does not depend on."""
        return int((~self.connected).sum(axis=1).max())


def channel_reach(layers: Layer, channels: int, *, size: int = 8) -> Reach:
    """Find which output channels of a network depend on which input channels.

    The scale of squeeze-and-excitation depends on all channels. We hold this scale constant, so
    that the result shows only the paths of the features themselves.

    Parameters
    ----------
    layers : Layer
        A network from images (n, channels, size, size) to images or logits. It is not changed.
    size : int
        Height and width of the images, large enough for all strides.

    Raises
    ------
    ValueError
        If the images do not fit the network.
    """
    check_positive("channels", channels)
    check_positive("size", size)
    x = np.zeros((channels, channels, size, size))
    x[np.arange(channels), np.arange(channels)] = 1  # image l: channel l is 1
    reached = _run(layers, x, convolve=True)
    copied = _run(layers, x, convolve=False)
    axes = tuple(range(2, reached.ndim))
    connected = np.asarray((reached > 0).any(axis=axes)).T
    alone = connected.sum(axis=1, keepdims=True) == 1  # the output depends on one input
    unchanged = np.asarray((copied == 1).all(axis=axes)).T & alone
    return Reach(connected, unchanged)


def feature_reuse(channels: int, units: int) -> list[float]:
    """Return the share of channels that stay unchanged after 1, 2, ... units of V2.

    The shares are 1/2, 1/4, 1/8, ...: the reuse of features falls exponentially with the distance
    between two units, as in DenseNet.

    Parameters
    ----------
    channels : int
        Channels of every unit; an even number.
    units : int
        The largest number of units in sequence.

    Source: ShuffleNet V2, section 3.2, "Discussion of network accuracy".
    """
    check_positive("units", units)
    rows = [ShuffleNetV2Unit(channels, channels, stride=1) for _ in range(units)]
    return [
        channel_reach(Sequential(*rows[:j]), channels, size=1).reused for j in range(1, units + 1)
    ]


def _run(layers: Layer, x: Array, *, convolve: bool) -> Array:
    """Run a copy of the network with positive weights, or with all convolutions set to 0."""
    model = layers.astype(np.float64)
    for _, layer in model.named_layers():
        if isinstance(layer, Conv2d | Linear):
            weight = layer.weight.value
            weight[...] = 1 / math.prod(weight.shape[1:]) if convolve else 0
            if layer.bias is not None:
                layer.bias.value[...] = 0
        elif isinstance(layer, BatchNorm2d):
            layer.weight.value[...], layer.bias.value[...] = 1, 0
            layer.running_mean.value[...] = 0
            layer.running_var.value[...] = 1 - layer.hyperparameters["eps"]
        elif isinstance(layer, SqueezeExcitation):
            for name in layer.parameter_names:
                getattr(layer, name).value[...] = 0
    y = model.forward(x)
    model.release()
    return y
