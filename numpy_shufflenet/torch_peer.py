"""The same network in PyTorch: a module for each of our layers, with the same weights."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn as tnn

from numpy_shufflenet import nn
from numpy_shufflenet.models import ImageClassifier


def to_torch(layer: nn.Layer, *, inplace: bool = True) -> tnn.Module:
    """Return a PyTorch module that computes what the layer computes; parameters are copied.

    Parameters
    ----------
    layer : Layer
    inplace : bool
        Whether ReLU writes to its input, as usual in networks; not possible where another layer
        reads that as well.

    Raises
    ------
    ValueError
        If there is a layer that PyTorch's peer isn't written for.
    """
    convert_all = partial(to_torch, inplace=inplace)
    if isinstance(layer, ImageClassifier | nn.Sequential):
        return tnn.Sequential(*map(convert_all, layer.children().values()))
    if isinstance(layer, nn.Parallel):
        return _Parallel(map(convert_all, layer.children().values()))
    if isinstance(layer, nn.Add):
        return _Add()
    if isinstance(layer, nn.ReLU):
        return tnn.ReLU(inplace)
    for kind, convert in CONVERTERS.items():
        if isinstance(layer, kind):
            return convert(layer)
    raise ValueError(f"{type(layer).__name__} has no peer in PyTorch")


def _tensor(parameter: Any) -> tnn.Parameter:
    return tnn.Parameter(torch.from_numpy(np.array(parameter.value)))


def _conv(layer: nn.Conv2d) -> tnn.Module:
    o, c_share, kh, kw = map(int, layer.weight.value.shape)
    groups = o if layer.operation == "depthwise_conv2d" else layer.hyperparameters.get("groups", 1)
    conv = tnn.Conv2d(
        c_share * groups,
        o,
        (kh, kw),
        stride=layer.hyperparameters.get("stride", 1),
        padding=layer.hyperparameters.get("padding", 0),
        groups=groups,
        bias=layer.bias is not None,
    )
    conv.weight = _tensor(layer.weight)
    if layer.bias is not None:
        conv.bias = _tensor(layer.bias)
    return conv


def _batch_norm(layer: nn.BatchNorm2d) -> tnn.Module:
    norm = tnn.BatchNorm2d(len(layer.weight.value), eps=layer.hyperparameters["eps"])
    norm.weight, norm.bias = _tensor(layer.weight), _tensor(layer.bias)
    norm.running_mean = torch.from_numpy(np.array(layer.running_mean.value))
    norm.running_var = torch.from_numpy(np.array(layer.running_var.value))
    return norm


def _linear(layer: nn.Linear) -> tnn.Module:
    outputs, inputs = layer.weight.value.shape
    linear = tnn.Linear(inputs, outputs, bias=layer.bias is not None)
    linear.weight = _tensor(layer.weight)
    if layer.bias is not None:
        linear.bias = _tensor(layer.bias)
    return linear


def _pool(kind: Any) -> Any:
    def convert(layer: nn.OperationLayer) -> tnn.Module:
        settings = layer.hyperparameters
        return kind(settings["kernel_size"], settings["stride"], settings["padding"])

    return convert


def _shuffled(x: Any, groups: int) -> Any:
    """As torchvision writes it; the layout of the tensor is kept."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class _Shuffle(tnn.Module):
    def __init__(self, layer: nn.ChannelShuffle):
        super().__init__()
        self.groups = layer.hyperparameters["groups"]

    def forward(self, x: Any) -> Any:
        return x if self.groups == 1 else _shuffled(x, self.groups)


class _V1Unit(tnn.Module):
    def __init__(self, unit: nn.ShuffleNetV1Unit):
        super().__init__()
        if unit.se:
            raise ValueError("SqueezeExcitation has no peer in PyTorch")
        self.branch = to_torch(unit.branch)
        self.pool = tnn.AvgPool2d(3, 2, 1) if unit.stride == 2 else None

    def forward(self, x: Any) -> Any:
        y = self.branch(x)
        if self.pool is None:
            return torch.relu_(x + y)
        return torch.relu_(torch.cat([self.pool(x), y], 1))


class _V2Unit(tnn.Module):
    def __init__(self, unit: nn.ShuffleNetV2Unit):
        super().__init__()
        if unit.se or unit.residual:
            raise ValueError("a V2 unit with excitation or residual has no peer in PyTorch")
        self.branch1 = None if unit.splits else to_torch(unit.branch1)
        self.branch2 = to_torch(unit.branch2)

    def forward(self, x: Any) -> Any:
        if self.branch1 is None:
            left, right = x.chunk(2, dim=1)
        else:
            left, right = self.branch1(x), x
        return _shuffled(torch.cat([left, self.branch2(right)], 1), 2)


class _Parallel(tnn.Module):
    def __init__(self, branches: Iterable[tnn.Module]):
        super().__init__()
        self.branches = tnn.ModuleList(branches)

    def forward(self, x: Any) -> Any:
        return tuple(branch(x) for branch in self.branches)


class _Add(tnn.Module):
    def forward(self, x: Any) -> Any:
        first, *rest = x
        return sum(rest, first)


class _GlobalPool(tnn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean([2, 3])


CONVERTERS: dict[type[nn.Layer], Any] = {
    nn.ShuffleNetV1Unit: _V1Unit,
    nn.ShuffleNetV2Unit: _V2Unit,
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.MaxPool2d: _pool(tnn.MaxPool2d),
    nn.AvgPool2d: _pool(tnn.AvgPool2d),
    nn.GlobalAvgPool: lambda layer: _GlobalPool(),
    nn.ChannelShuffle: _Shuffle,
    nn.Dropout: lambda layer: tnn.Dropout(layer.hyperparameters["rate"]),
}
