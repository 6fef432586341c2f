"""Networks as others publish them, as PyTorch modules: the authors', FastestDet's, mmpretrain's.

Written after their published descriptions: names of weights, order of channels, shuffles.
"""

import sys
from types import ModuleType
from typing import Any

from peers import need

torch = need("torch")
nn = torch.nn


def torchvision() -> Any:
    """The package, of which the models alone are needed.

    Its compiled operations don't load beside a PyTorch that was built in another way, such as for
    the CPU only. Then two of its modules, which declare gradients and shapes of these operations,
    can't be imported; no network here needs them.
    """
    try:
        return need("torchvision")
    except RuntimeError:
        for name in ("_meta_registrations", "_autograd_registrations"):
            sys.modules[f"torchvision.{name}"] = ModuleType(name)
        return need("torchvision")


def conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> list[Any]:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class AuthorsV1Unit(nn.Module):
    """Shuffles after the depthwise convolution; in mmpretrain, in the paper's order."""

    def __init__(self, inputs, outputs, groups, *, first, stride, paper_order=False):
        super().__init__()
        middle = outputs // 4
        self.stride, self.groups, self.paper_order = stride, groups, paper_order
        self.branch_main_1 = nn.Sequential(
            *conv(inputs, middle, groups=1 if first else groups),
            nn.ReLU(),
            *conv(middle, middle, 3, stride, middle),
        )
        added = outputs - inputs if stride == 2 else outputs
        self.branch_main_2 = nn.Sequential(*conv(middle, added, groups=groups))

    def forward(self, x):
        y = self.branch_main_1(x)
        n, c, h, w = y.shape
        if self.groups > 1:
            rows = self.groups if self.paper_order else c // self.groups
            y = y.reshape(n, rows, c // rows, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = self.branch_main_2(y)
        if self.stride == 1:
            return torch.relu(x + y)
        return torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), torch.relu(y)], 1)


class AuthorsV2Unit(nn.Module):
    """Parts even and odd channels at its start, and shuffles nothing at its end."""

    def __init__(self, inputs, outputs, *, stride):
        super().__init__()
        self.stride, middle = stride, outputs // 2
        own = inputs if stride == 2 else inputs // 2
        self.branch_main = nn.Sequential(
            *conv(own, middle),
            nn.ReLU(),
            *conv(middle, middle, 3, stride, middle),
            *conv(middle, outputs - own),
            nn.ReLU(),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                *conv(inputs, inputs, 3, 2, inputs), *conv(inputs, inputs), nn.ReLU()
            )

    def forward(self, x):
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        return torch.cat([x[:, ::2], self.branch_main(x[:, 1::2])], 1)


class Authors(nn.Module):
    """Either network; the pool is global, so that images may be small."""

    def __init__(self, unit, widths, head=0, classes=7, **first_only):
        super().__init__()
        inputs = widths[0]
        self.first_conv = nn.Sequential(*conv(3, inputs, 3, 2), nn.ReLU())
        units = []
        for stage, (width, repeats) in enumerate(zip(widths[1:], (4, 8, 4), strict=True)):
            for number in range(repeats):
                extra = {"first": stage == number == 0} if first_only else {}
                stride = 1 if number else 2
                units.append(unit(inputs, width, stride=stride, **extra))
                inputs = width
        self.features = nn.Sequential(*units)
        if head:
            self.conv_last = nn.Sequential(*conv(inputs, head), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(head or inputs, classes, bias=False))

    def forward(self, x):
        x = nn.functional.max_pool2d(self.first_conv(x), 3, 2, 1)
        x = self.features(x)
        if hasattr(self, "conv_last"):
            x = self.conv_last(x)
        return self.classifier(x.mean((2, 3)))


def authors_v1(scale: float, groups: int, *, paper_order: bool = False) -> Any:
    """Published for 3 and 8 groups; others have the paper's widths."""
    stage2 = {1: 144, 2: 200, 3: 240, 8: 384}[groups]
    stem = 16 if (groups, scale) == (8, 0.5) else {0.5: 12, 1: 24, 1.5: 24, 2: 48}[scale]
    widths = [stem, *(int(stage2 * scale) * 2**k for k in range(3))]

    def unit(inputs, outputs, **options):
        return AuthorsV1Unit(inputs, outputs, groups, paper_order=paper_order, **options)

    return Authors(unit, widths, first_only=True)


V2_WIDTHS = {
    0.5: (24, 48, 96, 192, 1024),
    1: (24, 116, 232, 464, 1024),
    1.5: (24, 176, 352, 704, 1024),
    2: (24, 244, 488, 976, 2048),
}


def authors_v2(scale: float) -> Any:
    *widths, head = V2_WIDTHS[scale]
    return Authors(AuthorsV2Unit, widths, head)


class FastestDetBackbone(nn.Module):
    """The authors' units in three stages by name; returns what each of them gives."""

    def __init__(self):
        super().__init__()
        whole = authors_v2(0.5)
        self.first_conv = whole.first_conv
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(*whole.features[a:b]) for a, b in ((0, 4), (4, 12), (12, 16))
        )

    def forward(self, x):
        x = nn.functional.max_pool2d(self.first_conv(x), 3, 2, 1)
        found = {}
        for name in ("stage2", "stage3", "stage4"):
            x = found[name] = getattr(self, name)(x)
        return found


MMPRETRAIN_V1 = {
    **{"branch_main_1.0": "g_conv_1x1_compress.conv", "branch_main_1.1": "g_conv_1x1_compress.bn"},
    **{
        "branch_main_1.3": "depthwise_conv3x3_bn.conv",
        "branch_main_1.4": "depthwise_conv3x3_bn.bn",
    },
    **{"branch_main_2.0": "g_conv_1x1_expand.conv", "branch_main_2.1": "g_conv_1x1_expand.bn"},
}


def mmpretrain_v1_name(name: str) -> str:
    """The name there of a weight of `authors_v1`."""
    if name.startswith("classifier"):
        return "head.fc.weight"
    if name.startswith("first_conv"):
        return name.replace("first_conv.0", "backbone.conv1.conv").replace(
            "first_conv.1", "backbone.conv1.bn"
        )
    _, k, *part, leaf = name.split(".")
    stage, unit = next(
        (s, int(k) - start) for s, start in ((2, 12), (1, 4), (0, 0)) if int(k) >= start
    )
    return f"backbone.layers.{stage}.{unit}.{MMPRETRAIN_V1['.'.join(part)]}.{leaf}"


def renamed_v2(name: str, kind: str) -> str:
    """The name in mmpretrain or PaddlePaddle of a weight of torchvision's V2."""
    module, _, leaf = name.rpartition(".")
    paddle = kind == "paddle"
    conv_bn = ("0", "1") if paddle else ("conv", "bn")
    if paddle:
        leaf = {"running_mean": "_mean", "running_var": "_variance"}.get(leaf, leaf)
    if module == "fc":
        return f"_fc.{leaf}" if paddle else f"head.fc.{leaf}"
    start, *inner = module.split(".")
    if start in ("conv1", "conv5"):
        there = {"conv1": "_conv1", "conv5": "_last_conv"} if paddle else {
            "conv1": "backbone.conv1", "conv5": "backbone.layers.3"
        }  # fmt: skip
        return f"{there[start]}.{conv_bn[int(inner[0])]}.{leaf}"
    unit, branch, number = inner
    order = (0, 1, 2, 3) if branch == "branch1" else (0, 1, 3, 4, 5, 6)
    block, half = divmod(order.index(int(number)), 2)
    if not paddle:
        stage = int(start[-1]) - 2
        return f"backbone.layers.{stage}.{unit}.{branch}.{block}.{conv_bn[half]}.{leaf}"
    names = ("_conv_dw_1", "_conv_linear_1") if branch == "branch1" else (
        ("_conv_pw_2", "_conv_dw_2", "_conv_linear_2") if unit == "0"
        else ("_conv_pw", "_conv_dw", "_conv_linear")
    )  # fmt: skip
    return f"{start[-1]}_{int(unit) + 1}.{names[block]}.{half}.{leaf}"
