"""Which input channels reach which output channels: the claim of V1, made checkable.

Every weight becomes a positive number and every bias 0, so that nothing cancels and ReLU lets all
pass; then each input channel in turn is 1 and all others are 0. Where anything arrives, there is a
way. With all convolutions 0 instead, what arrives has been passed on unchanged.
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
    """Who reaches whom.

    Attributes
    ----------
    connected : bool array, shape (output channels, input channels)
        Entry (k, l): does output k depend on input l?
    unchanged : bool array, shape (output channels, input channels)
        Entry (k, l): is output k input l itself, untouched?
    """

    connected: Array
    unchanged: Array

    @property
    def share(self) -> float:
        """The share of all pairs that are connected: 1 if every output sees every input."""
        return float(self.connected.mean())

    @property
    def reused(self) -> float:
        """The share of input channels that come out unchanged."""
        return float(self.unchanged.any(axis=0).mean())

    @property
    def cut_off(self) -> int:
        """The largest number of inputs that an output does not see."""
        return int((~self.connected).sum(axis=1).max())


def channel_reach(layers: Layer, channels: int, *, size: int = 8) -> Reach:
    """Find the ways through a stack of units, or any other network.

    The scale of squeeze-and-excitation looks at all channels at once; it is held constant here,
    so that what is found are the ways of the features themselves.

    Parameters
    ----------
    layers : Layer
        From images (n, c, h, w) to images, or to logits. It is not changed.
    channels : int
        c
    size : int
        Height and width of the images: large enough for all strides.

    Returns
    -------
    Reach

    Raises
    ------
    ValueError
        If the layers don't fit such images.
    """
    check_positive("channels", channels)
    check_positive("size", size)
    x = np.zeros((channels, channels, size, size))
    x[np.arange(channels), np.arange(channels)] = 1  # image l: channel l is 1
    all_ways = _run(layers, x, open_convolutions=True)
    untouched = _run(layers, x, open_convolutions=False)
    axes = tuple(range(2, all_ways.ndim))
    connected = np.asarray((all_ways > 0).any(axis=axes)).T
    alone = connected.sum(axis=1, keepdims=True) == 1  # nothing else was added
    unchanged = np.asarray((untouched == 1).all(axis=axes)).T & alone
    return Reach(connected, unchanged)


def feature_reuse(channels: int, units: int) -> list[float]:
    """Return the share of channels that come out unchanged after 1, 2, ... units of V2.

    It is 1/2, 1/4, 1/8, ...: the reuse of features falls exponentially with the distance between
    two units, as in DenseNets.

    Parameters
    ----------
    channels : int
        Of every unit; even.
    units : int
        In a row, at the most.

    Source: ShuffleNet V2, section 3.2, "Discussion of network accuracy".
    """
    check_positive("units", units)
    rows = [ShuffleNetV2Unit(channels, channels, stride=1) for _ in range(units)]
    return [
        channel_reach(Sequential(*rows[:j]), channels, size=1).reused for j in range(1, units + 1)
    ]


def _run(layers: Layer, x: Array, *, open_convolutions: bool) -> Array:
    """Run a copy with telling weights."""
    model = layers.astype(np.float64)
    for _, layer in model.named_layers():
        if isinstance(layer, Conv2d | Linear):
            weight = layer.weight.value
            weight[...] = 1 / math.prod(weight.shape[1:]) if open_convolutions else 0
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
