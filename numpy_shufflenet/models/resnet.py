"""ResNet-50, for comparison: bottlenecks around a full 3x3 convolution, with a shortcut."""

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
)

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

    The first 1x1 convolution of a unit has the stride, as in the paper.

    Parameters
    ----------
    stem : str
        "imagenet", for images of 224 pixels: 7x7 convolution of stride 2, and a max pool. "small":
        3x3 convolution of stride 1, without a max pool.
    num_classes, in_channels, classifier_bias, dropout, seed
        As in `shufflenet_v2`, which also raises the same errors.

    Source: He et al., Deep residual learning for image recognition, 2016, table 1 and figure 5.
    """
    config = {"name": "resnet_50", **locals()}
    model = ResNet(config)
    add_stem(model, 64, kernel_size=7 if stem == "imagenet" else 3)
    channels = 64
    for number, (width, repeats, stride) in enumerate(STAGES, start=2):
        units = []
        for unit in range(repeats):
            units.append(bottleneck(channels, width, stride=stride if unit == 0 else 1))
            channels = EXPANSION * width
        setattr(model, f"stage{number}", Sequential(*units))
    add_classifier(model, channels)
    return model


def bottleneck(in_channels: int, width: int, *, stride: int = 1) -> Sequential:
    """Return a residual unit with `width` channels inside, and 4 width channels at the output."""
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
