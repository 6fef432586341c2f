"""Names and shapes by which we recognise networks that aren't ShuffleNets, for messages."""

import itertools
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array

MOST = 5000  # at most so many names are searched


class _Sign(NamedTuple):
    """The end of a name, as a regular expression, and the shape of that array if it matters."""

    network: str
    name: str
    shape: tuple[int | None, ...] = ()


SIGNS = (
    _Sign("MobileNetV1", r"conv_dw_1\.weight"),
    _Sign("MobileNetV1", r"(model|base_net)\.1\.0\.weight", (None, 1, 3, 3)),
    _Sign("MobileNetV1", r"features\.0\.0\.weight", (None, 1, 3, 3)),
    _Sign("MobileNetV1", r"features\.stage1\.unit1\.dw_conv\.conv\.weight"),
    _Sign("MobileNetV1", r"mobilenet_v1\.layer\.0\.convolution\.weight"),
    _Sign("MobileNetV2", r"features\.1\.conv\.0(\.0)?\.weight"),
    _Sign("MobileNetV2", r"mobilenet_v2\.layer\.0\.expand_1x1\.convolution\.weight"),
    _Sign("EfficientNet", r"features\.\d+\.\d+\.block\.0\.0\.weight"),
    _Sign("EfficientNet", r"_blocks\.0\._depthwise_conv\.weight"),
    _Sign("MobileNetV3", r"features\.\d+\.block\.\d\.fc1\.weight"),
    _Sign("GhostNet", r"ghost1?\.primary_conv\.0\.weight"),
    _Sign("EfficientNet or MobileNet, by timm", r"blocks\.0\.0\.conv_dw\.weight"),
    _Sign("MNASNet", r"layers\.8\.0\.layers\.0\.weight"),
    _Sign("DenseNet", r"features\.denseblock1\.denselayer1\.norm\.?1\.weight"),
    _Sign("SqueezeNet", r"features\.\d+\.squeeze\.weight"),
    _Sign("Swin Transformer", r"features\.1\.0\.norm1\.weight"),
    _Sign("Swin Transformer", r"layers\.0\.blocks\.0\.attn\.qkv\.weight"),
    _Sign("ConvNeXt", r"features\.1\.0\.layer_scale"),
    _Sign("ConvNeXt", r"stages\.0\.blocks\.0\.gamma"),
    _Sign("RegNet", r"trunk_output\.block1\.block1-0\.f\.a\.0\.weight"),
    _Sign("GoogLeNet", r"inception3a\.branch1\.conv\.weight"),
    _Sign("Inception V3", r"Mixed_5b\.branch1x1\.conv\.weight"),
    _Sign("Vision Transformer", r"encoder\.layers\.encoder_layer_0\.ln_1\.weight"),
    _Sign("Vision Transformer", r"blocks\.0\.attn\.qkv\.weight"),
    _Sign("Vision Transformer", r"encoder\.layer\.0\.attention\.attention\.query\.weight"),
    _Sign("MaxViT", r"blocks\.0\.layers\.0\.layers\.MBconv\.layers\.conv_a\.0\.weight"),
    _Sign("ResNet", r"layer1\.0\.conv1\.weight"),
    _Sign("ResNet", r"stage2\.0\.0\.0\.0\.weight"),  # of this library
    _Sign("AlexNet", r"features\.0\.weight", (None, 3, 11, 11)),
    _Sign("VGG", r"features\.0\.weight", (None, 3, 3, 3)),
)


def looks_like(arrays: Mapping[str, Array]) -> str:
    """Return "MobileNetV2: it has features.1.conv.0.0.weight", or "" if nothing is recognised."""
    names = list(itertools.islice(arrays, MOST))
    for network, pattern, needed in SIGNS:
        sign = re.compile(rf"(?:.*\.)?{pattern}")
        for name in filter(sign.fullmatch, names):
            shape = np.shape(arrays[name])
            if not needed:
                return f"{network}: it has {name}"
            if len(shape) == len(needed) and all(
                b in (None, a) for a, b in zip(shape, needed, strict=True)
            ):
                return f"{network}: it has {name} of shape {shape}"
    return ""
