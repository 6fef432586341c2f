"""ResNet-50, to compare with: bottlenecks around a full 3x3 convolution, and a shortcut."""

import numpy as np

from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    conv_bn_relu,
)
from numpy_shufflenet.nn import (
    Add,
    BatchNorm2d,
    Conv2d,
    Layer,
    Parallel,
    ReLU,
    Sequential,
    initialise,
)
from numpy_shufflenet.ops.checks import check_positive

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # bottleneck, repeats, stride
EXPANSION = 4


class ResNet(ImageClassifier):
    """The network that `resnet_50` builds."""


def resnet_50(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ResNet:
    """Build ResNet-50, of 3.8 G multiply-adds: bottlenecks of 1x1, 3x3 and 1x1 convolutions.

    Strides are in the first 1x1 convolution, as published.

    Parameters
    ----------
    num_classes, in_channels : int
    stem : str
        "imagenet": 7x7 convolution of stride 2 and max pool, for 224 pixels; "small": 3x3, stride 1
        and no max pool.
    classifier_bias : bool
    dropout : float
        Rate before the classifier, in training.
    seed : int, optional
        Of the initial weights.

    Returns
    -------
    ResNet, in float32

    Raises
    ------
    ValueError
        If an argument is not one of those named.

    Source: He et al., Deep residual learning for image recognition, 2016, table 1 and figure 5.
    """
    check_positive("num_classes", num_classes)
    check_positive("in_channels", in_channels)
    config = {"name": "resnet_50", **locals()}
    model = ResNet(config, in_channels=in_channels, num_classes=num_classes)
    add_stem(model, stem, in_channels, 64, kernel_size=7 if stem == "imagenet" else 3)
    channels = 64
    for number, (width, repeats, stride) in enumerate(STAGES, start=2):
        units = []
        for unit in range(repeats):
            units.append(bottleneck(channels, width, stride=stride if unit == 0 else 1))
            channels = EXPANSION * width
        setattr(model, f"stage{number}", Sequential(*units))
    add_classifier(model, channels, bias=classifier_bias, dropout=dropout, seed=seed)
    initialise(model, np.random.default_rng(seed))
    return model


def bottleneck(in_channels: int, width: int, *, stride: int = 1) -> Sequential:
    """Return a residual unit: width channels in the middle, four times as many at its ends."""
    out = EXPANSION * width
    shortcut: tuple[Layer, ...] = ()
    if stride > 1 or in_channels != out:
        shortcut = (Conv2d(in_channels, out, 1, stride=stride), BatchNorm2d(out))
    branch = Sequential(
        *conv_bn_relu(in_channels, width, 1, stride=stride),
        *conv_bn_relu(width, width, 3),
        Conv2d(width, out, 1),
        BatchNorm2d(out),
    )
    return Sequential(Parallel(Sequential(*shortcut), branch), Add(), ReLU())
