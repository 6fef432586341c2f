"""MobileNet V1, for comparison: depthwise convolutions without groups, split or shuffle."""

from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    conv_bn_relu,
)
from numpy_shufflenet.nn import BatchNorm2d, Conv2d, ReLU, Sequential

BLOCKS = (  # output channels, stride
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
SCALES = (0.25, 0.5, 0.75, 1.0)


class MobileNetV1(ImageClassifier):
    """The network that `mobilenet_v1` builds."""

    features: Sequential


def mobilenet_v1(
    *,
    scale: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> MobileNetV1:
    """Build MobileNet V1, of 569 M multiply-adds.

    Parameters
    ----------
    scale : float
        Factor of all channels, 0.25, 0.5, 0.75 or 1; the width multiplier of the paper.
    stem : str
        "imagenet", for images of 224 pixels: the first convolution has stride 2. "small": stride 1.
    num_classes, in_channels, classifier_bias, dropout, seed
        As in `shufflenet_v2`, which also raises the same errors.

    Source: Howard et al., MobileNets, 2017, table 1.
    """
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r} is not one of 0.25, 0.5, 0.75, 1")
    config = {"name": "mobilenet_v1", **locals()}
    channels = int(32 * scale)
    model = MobileNetV1(config)
    add_stem(model, channels, pool=False)
    blocks = []
    for width, stride in BLOCKS:
        out = int(width * scale)
        blocks.append(separable(channels, out, stride=stride))
        channels = out
    model.features = Sequential(*blocks)
    add_classifier(model, channels)
    return model


def separable(in_channels: int, out_channels: int, *, stride: int) -> Sequential:
    """Return a depthwise separable convolution: 3x3 depthwise, BN, ReLU, 1x1, BN, ReLU."""
    return Sequential(
        Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels),
        BatchNorm2d(in_channels),
        ReLU(),
        *conv_bn_relu(in_channels, out_channels, 1),
    )
