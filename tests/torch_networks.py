"""ShuffleNet V1 and V2 in PyTorch, written from the papers and not from our code.

Every entry of a state_dict has the name that ours has (torchvision's, in V2), so weights go both
ways:

    network = torch_networks.build(model.config)
    torch_networks.load(network, model.state_dict())
    model.load_state_dict(torch_networks.arrays(network))
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from peers import need

torch = need("torch")
nn = torch.nn
torch.set_num_threads(1)


ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.1), "swish": nn.SiLU}


def conv_bn(
    inputs: int,
    outputs: int,
    size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
    activation: str = "relu",
) -> list[Any]:
    """Convolution without bias, batch normalisation and, if asked for, ReLU or another one."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), *([ACTIVATIONS[activation]()] if relu else [])]


def shuffled(x: Any, groups: int) -> Any:
    """The channel shuffle of V1's figure 1: reshape to (groups, n), transpose, flatten."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Shuffle(nn.Module):
    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Any) -> Any:
        return shuffled(x, self.groups)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, reduction: int):
        super().__init__()
        reduced = max(1, channels // reduction)
        self.reduce_weight = nn.Parameter(torch.empty(reduced, channels).normal_(0, 0.1))
        self.reduce_bias = nn.Parameter(torch.zeros(reduced))
        self.expand_weight = nn.Parameter(torch.empty(channels, reduced).normal_(0, 0.1))
        self.expand_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Any) -> Any:
        squeezed = x.mean((2, 3))
        reduced = torch.relu(nn.functional.linear(squeezed, self.reduce_weight, self.reduce_bias))
        expanded = nn.functional.linear(reduced, self.expand_weight, self.expand_bias)
        return x * torch.sigmoid(expanded)[:, :, None, None]


class V1Unit(nn.Module):
    """V1, figure 2 (b) and (c)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        groups: int,
        stride: int,
        first_groups: int | None = None,
        shuffle: bool = True,
        se: bool = False,
    ):
        super().__init__()
        self.stride = stride
        added = outputs if stride == 1 else outputs - inputs
        bottleneck = outputs // 4
        while bottleneck * 4 < outputs or bottleneck % groups:
            bottleneck += 1
        self.branch = nn.Sequential(
            *conv_bn(inputs, bottleneck, 1, groups=first_groups or groups),
            Shuffle(groups) if shuffle else nn.Identity(),
            *conv_bn(bottleneck, bottleneck, 3, stride=stride, groups=bottleneck, relu=False),
            *conv_bn(bottleneck, added, 1, groups=groups, relu=False),
        )
        self.se = SqueezeExcitation(outputs, 16) if se else nn.Identity()

    def forward(self, x: Any) -> Any:
        if self.stride == 1:
            return torch.relu(x + self.se(self.branch(x)))
        pooled = nn.functional.avg_pool2d(x, 3, 2, 1)
        return torch.relu(self.se(torch.cat([pooled, self.branch(x)], 1)))


class V2Unit(nn.Module):
    """V2, figure 3 (c) and (d), with torchvision's names; `kept` is the width of branch 1."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        kept: int | None = None,
        se: bool = False,
        residual: bool = False,
        extra_depthwise: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        middle = outputs // 2
        self.basic = stride == 1 and inputs == outputs
        self.residual = residual and self.basic
        self.activation = ACTIVATIONS[activation]()
        if self.basic:
            inputs = kept = middle
        else:
            kept = kept or middle
            self.branch1 = nn.Sequential(
                *conv_bn(inputs, inputs, 3, stride=stride, groups=inputs, relu=False),
                *conv_bn(inputs, kept, 1, activation=activation),
            )
        extra = conv_bn(inputs, inputs, 3, groups=inputs, relu=False) if extra_depthwise else []
        self.branch2 = nn.Sequential(
            *extra,
            *conv_bn(inputs, middle, 1, activation=activation),
            *conv_bn(middle, middle, 3, stride=stride, groups=middle, relu=False),
            *conv_bn(middle, outputs - kept, 1, relu=not self.residual, activation=activation),
        )
        self.se = SqueezeExcitation(outputs, 2) if se else nn.Identity()

    def forward(self, x: Any) -> Any:
        if self.basic:
            a, b = x.chunk(2, 1)
            y = self.branch2(b)
            if self.residual:
                y = self.activation(b + y)
        else:
            a, y = self.branch1(x), self.branch2(x)
        return shuffled(self.se(torch.cat([a, y], 1)), 2)


class Network(nn.Module):
    """Runs its children in a row, with the mean over the pixels before the classifier."""

    def add_stem(self, stem: str, inputs: int, *widths: int, activation: str = "relu") -> int:
        layers = []
        for number, width in enumerate(widths):
            stride = 2 if stem == "imagenet" and number == 0 else 1
            layers += conv_bn(inputs, width, 3, stride=stride, activation=activation)
            inputs = width
        self.conv1 = nn.Sequential(*layers)
        if stem == "imagenet":
            self.maxpool = nn.MaxPool2d(3, 2, 1)
        return inputs

    def add_classifier(self, inputs: int, classes: int, bias: bool, dropout: float) -> None:
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes, bias=bias)

    def forward(self, x: Any) -> Any:
        for name, layer in self.named_children():
            if name == "dropout":
                x = x.mean((2, 3))
            x = layer(x)
        return x


class V1(Network):
    """V1, table 1; the stem of scaled networks as in the authors' code, or what groups need."""

    def __init__(
        self,
        *,
        groups: int = 3,
        scale: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        shuffle: bool = True,
        se: bool = False,
        classifier_bias: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        width = int({1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups] * scale)
        first = {0.25: 12, 0.5: 12, 1: 24, 1.5: 24, 2: 48}[scale]
        while (width - first) % groups:
            first += 1
        inputs = self.add_stem(stem, in_channels, first)
        options = {"groups": groups, "shuffle": shuffle, "se": se}
        for stage, repeats in ((2, 4), (3, 8), (4, 4)):
            ungrouped = {"first_groups": 1} if stage == 2 else {}
            units = [V1Unit(inputs, width, stride=2, **ungrouped, **options)]
            units += [V1Unit(width, width, stride=1, **options) for _ in range(repeats - 1)]
            self.add_module(f"stage{stage}", nn.Sequential(*units))
            inputs, width = width, 2 * width
        self.add_classifier(inputs, num_classes, classifier_bias, dropout)


class V2(Network):
    """V2, table 5, in the layout of the authors ("paper") or of torchvision."""

    stem_widths: tuple[int, ...] = (24,)
    repeats: tuple[int, ...] = (4, 8, 4)
    first_stride = 2
    head = "conv5"

    def __init__(
        self,
        *,
        scale: float | None = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        layout: str = "paper",
        se: bool = False,
        residual: bool = False,
        extra_depthwise: bool = False,
        activation: str = "relu",
        classifier_bias: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        *widths, last = self.widths(scale)
        options = {
            "se": se,
            "residual": residual,
            "extra_depthwise": extra_depthwise,
            "activation": activation,
        }
        inputs = self.add_stem(stem, in_channels, *self.stem_widths, activation=activation)
        for number, (width, repeats) in enumerate(zip(widths, self.repeats, strict=True)):
            stride = self.first_stride if number == 0 else 2
            kept = inputs if layout == "paper" else None
            units = [V2Unit(inputs, width, stride=stride, kept=kept, **options)]
            units += [V2Unit(width, width, stride=1, **options) for _ in range(repeats - 1)]
            self.add_module(f"stage{number + 2}", nn.Sequential(*units))
            inputs = width
        self.add_module(self.head, nn.Sequential(*conv_bn(inputs, last, 1, activation=activation)))
        self.add_classifier(last, num_classes, classifier_bias, dropout)

    def widths(self, scale: float | None) -> tuple[int, ...]:
        return {
            0.5: (48, 96, 192, 1024),
            1.0: (116, 232, 464, 1024),
            1.5: (176, 352, 704, 1024),
            2.0: (244, 488, 976, 2048),
        }[scale]


class Large(V2):
    """V2-50: V2, appendix, table 2. The first stage keeps the size."""

    stem_widths = (64,)
    repeats = (3, 4, 6, 3)
    first_stride = 1
    head = "conv6"

    def __init__(self, **arguments: Any):
        super().__init__(scale=None, layout="torchvision", **arguments)

    def widths(self, scale: float | None) -> tuple[int, ...]:
        return 244, 488, 976, 1952, 2048


USUAL = {
    **{"widths": None, "shuffle_order": "paper", "pool_padding": 1, "classifier": True},
    **{"stride2_padding": None, "count_include_pad": True, "batch_norm": True},
}


def build(config: Mapping[str, Any]) -> Any:
    """Build, in float64, what `numpy_shufflenet.models.build` builds from this config."""
    arguments = dict(config)
    kind = {"shufflenet_v1": V1, "shufflenet_v2": V2, "shufflenet_v2_50": Large}[
        arguments.pop("name")
    ]
    arguments.pop("seed", None)
    for name, usual in USUAL.items():
        assert arguments.pop(name, usual) == usual, f"these networks have no other {name}"
    return kind(**arguments).double()


def load(network: Any, state: Mapping[str, np.ndarray]) -> None:
    """Copy our state_dict into a PyTorch network; every name must fit."""
    network.load_state_dict({name: torch.tensor(value) for name, value in state.items()})


def arrays(network: Any) -> dict[str, np.ndarray]:
    """The state_dict of a PyTorch network as NumPy arrays."""
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def gradients(network: Any) -> dict[str, np.ndarray]:
    """The gradient of every parameter of a PyTorch network, by name."""
    return {name: p.grad.numpy().copy() for name, p in network.named_parameters()}
