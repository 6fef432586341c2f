"""The same network in PyTorch: one module for each of our layers, with copied weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet._optional import need

try:
    import torch
    from torch import nn as tnn
except ImportError:
    need("torch", "a comparison with PyTorch")
    raise

from numpy_shufflenet.models import ImageClassifier
from numpy_shufflenet.ops.checks import as_padding


def to_torch(layer: nn.Layer, *, inplace: bool = True) -> tnn.Module:
    """Return a PyTorch module that computes the same as the layer, with copied parameters.

    Parameters
    ----------
    layer : Layer
    inplace : bool
        Whether ReLU overwrites its input. Set it to False if another layer reads that input too.

    Raises
    ------
    ValueError
        If the layer, or a layer inside it, has no peer in PyTorch.
    """
    convert_all = partial(to_torch, inplace=inplace)
    if isinstance(layer, ImageClassifier | nn.Sequential):
        return tnn.Sequential(*map(convert_all, layer.children().values()))
    if isinstance(layer, nn.Parallel):
        branches = map(convert_all, layer.children().values())
        return _Lambda(lambda x, *branches: tuple(branch(x) for branch in branches), *branches)
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
    before, padding = _padding(layer, 0.0)
    conv = tnn.Conv2d(
        c_share * groups,
        o,
        (kh, kw),
        stride=layer.hyperparameters.get("stride", 1),
        padding=padding,
        dilation=layer.hyperparameters.get("dilation", 1),
        groups=groups,
        bias=layer.bias is not None,
    )
    conv.weight = _tensor(layer.weight)
    if layer.bias is not None:
        conv.bias = _tensor(layer.bias)
    return tnn.Sequential(before, conv) if before else conv


def _padding(layer: nn.OperationLayer, value: float) -> tuple[tnn.Module | None, tuple[int, int]]:
    """Return a module that pads one side more than the other, if needed, and further padding."""
    (top, bottom), (left, right) = as_padding(layer.hyperparameters.get("padding", 0))
    if top == bottom and left == right:
        return None, (top, left)
    return tnn.ConstantPad2d((left, right, top, bottom), value), (0, 0)


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


def _max_pool(layer: nn.MaxPool2d) -> tnn.Module:
    before, padding = _padding(layer, -float("inf"))
    settings = layer.hyperparameters
    pool = tnn.MaxPool2d(settings["kernel_size"], settings["stride"], padding)
    return tnn.Sequential(before, pool) if before else pool


def _avg_pool(layer: nn.AvgPool2d) -> tnn.Module:
    before, padding = _padding(layer, 0.0)
    settings = layer.hyperparameters
    counts = settings["count_include_pad"]
    if before and not counts:
        raise ValueError("an average pool that counts only pixels has no peer if sides differ")
    pool = tnn.AvgPool2d(
        settings["kernel_size"], settings["stride"], padding, count_include_pad=counts
    )
    return tnn.Sequential(before, pool) if before else pool


class _Lambda(tnn.Module):
    """A module that calls a function on its input and on the outputs of its submodules."""

    def __init__(self, function: Callable[..., Any], *modules: tnn.Module):
        super().__init__()
        self.function = function
        self.submodules = tnn.ModuleList(modules)

    def forward(self, x: Any) -> Any:
        return self.function(x, *self.submodules)


def _shuffled(x: Any, groups: int) -> Any:
    """Shuffle channels as torchvision does, which keeps the memory format of the tensor."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def _shuffle(layer: nn.ChannelShuffle) -> tnn.Module:
    groups = layer.hyperparameters["groups"]
    return tnn.Identity() if groups == 1 else _Lambda(partial(_shuffled, groups=groups))


def _v1_unit(unit: nn.ShuffleNetV1Unit) -> tnn.Module:
    if unit.se:
        raise ValueError("SqueezeExcitation has no peer in PyTorch")
    branch = to_torch(unit.branch)
    if unit.stride == 1:
        return _Lambda(lambda x, branch: torch.relu_(x + branch(x)), branch)

    def strided(x: Any, pool: Any, branch: Any) -> Any:
        return torch.relu_(torch.cat([pool(x), branch(x)], 1))

    return _Lambda(strided, to_torch(unit.pool), branch)


def _v2_unit(unit: nn.ShuffleNetV2Unit) -> tnn.Module:
    if unit.se or unit.residual:
        raise ValueError("a V2 unit with excitation or residual has no peer in PyTorch")

    groups = unit.shuffle.hyperparameters["groups"]

    def split(x: Any, branch2: Any) -> Any:
        left, right = x.chunk(2, dim=1)
        return _shuffled(torch.cat([left, branch2(right)], 1), groups)

    def strided(x: Any, branch1: Any, branch2: Any) -> Any:
        return _shuffled(torch.cat([branch1(x), branch2(x)], 1), groups)

    if unit.splits:
        return _Lambda(split, to_torch(unit.branch2))
    return _Lambda(strided, to_torch(unit.branch1), to_torch(unit.branch2))


CONVERTERS: dict[type[nn.Layer], Any] = {
    nn.ShuffleNetV1Unit: _v1_unit,
    nn.ShuffleNetV2Unit: _v2_unit,
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.LeakyReLU: lambda layer: tnn.LeakyReLU(layer.hyperparameters["slope"]),
    nn.Swish: lambda layer: tnn.SiLU(),
    nn.Linear: _linear,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.GlobalAvgPool: lambda layer: _Lambda(lambda x: x.mean([2, 3])),
    nn.ChannelShuffle: _shuffle,
    nn.Dropout: lambda layer: tnn.Dropout(layer.hyperparameters["rate"]),
    nn.Add: lambda layer: _Lambda(lambda x: sum(x[1:], x[0])),
}
