"""ShuffleNet V2: balanced widths, no groups, no addition; half of the channels skip the branch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    conv_bn_relu,
)
from numpy_shufflenet.nn import Sequential, ShuffleNetV2Unit


class Stage(NamedTuple):
    """A sequence of units. The first one changes the channels, and halves the size at stride 2."""

    channels: int
    repeats: int
    stride: int


WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),  # 244; other implementations copy the typo 224
}
REPEATS = (4, 8, 4)
LAYOUTS = ("paper", "torchvision")


class ShuffleNetV2(ImageClassifier):
    """The network that the functions of this module build."""


def shufflenet_v2(
    *,
    scale: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    layout: str = "paper",
    se: bool = False,
    residual: bool = False,
    extra_depthwise: bool = False,
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV2:
    """Build ShuffleNet V2.

    Parameters
    ----------
    scale : float
        0.5, 1, 1.5 or 2.
    num_classes, in_channels : int
    stem : str
        "imagenet", for images of 224 pixels: 3x3 convolution of stride 2, and a max pool. "small",
        for 28 to 64 pixels: stride 1, without a max pool.
    layout : str
        Channels in units with two branches. "paper": branch 1 keeps the channels of the input, as
        in the authors' code; the multiply-adds are those of the paper. "torchvision": each branch
        has half of the output channels; the parameters have the shapes of torchvision. The layouts
        differ only in the first unit of stage 2, and are equal at scale 0.5.
    se : bool
        Squeeze-and-excitation in every unit.
    residual : bool
        Residual connection around the branch in every unit that splits.
    extra_depthwise : bool
        One more depthwise convolution in every unit: V2* of the paper, for detection.
    classifier_bias : bool
        False in the authors' code.
    dropout : float
        Share of the inputs of the classifier that training drops; the authors use 0.2 at scale 2.
    seed : int, optional
        Seed for the initial weights and for dropout.

    Returns
    -------
    ShuffleNetV2, in float32

    Raises
    ------
    ValueError
        If an argument has another value than those above.

    Source: ShuffleNet V2, section 3.2 and table 5.
    """
    if scale not in WIDTHS:
        raise ValueError(f"scale={scale!r} is not one of 0.5, 1, 1.5, 2")
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is not one of 'paper', 'torchvision'")
    config = {"name": "shufflenet_v2", **locals()}

    *widths, head = WIDTHS[scale]
    stages = [Stage(width, repeats, 2) for width, repeats in zip(widths, REPEATS, strict=True)]
    return _build(
        config,
        (24,),
        stages,
        ("conv5", head),
        keeps_input=layout == "paper",
        se=se,
        residual=residual,
        extra_depthwise=extra_depthwise,
    )


def shufflenet_v2_50(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV2:
    """Build ShuffleNet V2-50, of 2.3 G multiply-adds. For the arguments see `shufflenet_v2`.

    The first stage keeps the size of the image, but its first unit has two branches. Each branch
    has half of the output channels; only then the multiply-adds are those of the paper.

    Source: ShuffleNet V2, appendix, table 2.
    """
    config = {"name": "shufflenet_v2_50", **locals()}
    stages = [Stage(244, 3, 1), Stage(488, 4, 2), Stage(976, 6, 2), Stage(1952, 3, 2)]
    return _build(config, (64,), stages, ("conv6", 2048), keeps_input=False)


def se_shufflenet_v2_164(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV2:
    """Build SE-ShuffleNet V2-164, of 12.7 G multiply-adds. For the arguments see `shufflenet_v2`.

    It is like V2-50, with three convolutions in the stem, and squeeze-and-excitation and residual
    connections in all units.

    Source: ShuffleNet V2, appendix, table 2.
    """
    config = {"name": "se_shufflenet_v2_164", **locals()}
    stages = [Stage(340, 10, 1), Stage(680, 10, 2), Stage(1360, 23, 2), Stage(2720, 10, 2)]
    return _build(
        config, (64, 64, 128), stages, ("conv6", 2048), keeps_input=False, se=True, residual=True
    )


def _build(
    config: dict[str, Any],
    stem: Sequence[int],
    stages: Sequence[Stage],
    head: tuple[str, int],
    *,
    keeps_input: bool,
    **units: bool,
) -> ShuffleNetV2:
    model = ShuffleNetV2(config)
    add_stem(model, *stem)
    channels = stem[-1]
    for number, stage in enumerate(stages, start=2):
        first = ShuffleNetV2Unit(
            channels,
            stage.channels,
            stride=stage.stride,
            branch1_channels=channels if keeps_input else None,
            **units,
        )
        channels = stage.channels
        rest = [
            ShuffleNetV2Unit(channels, channels, stride=1, **units)
            for _ in range(stage.repeats - 1)
        ]
        setattr(model, f"stage{number}", Sequential(first, *rest))
    name, head_channels = head
    setattr(model, name, Sequential(*conv_bn_relu(channels, head_channels, 1)))
    add_classifier(model, head_channels)
    return model
