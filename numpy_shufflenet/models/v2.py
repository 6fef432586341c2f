"""ShuffleNet V2: balanced widths, no groups, no addition; half of the channels just pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    conv_bn_relu,
)
from numpy_shufflenet.nn import Sequential, ShuffleNetV2Unit, initialise
from numpy_shufflenet.ops.checks import check_positive


class Stage(NamedTuple):
    """A row of units; the first one changes the channels, and with stride 2 halves the size."""

    channels: int
    repeats: int
    stride: int


WIDTHS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),  # 244, not the widely copied typo 224
}
REPEATS = (4, 8, 4)
LAYOUTS = ("paper", "torchvision")


class ShuffleNetV2(ImageClassifier):
    """The network that `shufflenet_v2` and its relatives build."""


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
        "imagenet": 3x3 convolution of stride 2 and max pool, for 224 pixels; "small": stride 1 and
        no max pool, for 28 to 64 pixels.
    layout : str
        Of units with two branches. "paper": branch 1 keeps the input's channels, as in the
        authors' code, and the multiply-adds are the paper's. "torchvision": each branch gives half
        of the output; parameters have torchvision's shapes. They differ in the first unit of stage
        2 only, and not at all at 0.5.
    se : bool
        Squeeze-and-excitation in every unit.
    residual : bool
        A residual connection around the branch of every unit that splits.
    extra_depthwise : bool
        V2*: one more depthwise convolution in every unit, for detection.
    classifier_bias : bool
        The authors' code has none.
    dropout : float
        Rate before the classifier, in training; the authors use 0.2 at scale 2.
    seed : int, optional
        Of the initial weights.

    Returns
    -------
    ShuffleNetV2, in float32

    Raises
    ------
    ValueError
        If an argument is not one of those named.

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
    """Build ShuffleNet V2-50, of 2.3 G multiply-adds; arguments as in `shufflenet_v2`.

    Its first stage keeps the size of the image; the first unit there has two branches all the same.
    The two branches of a unit give half of the output each, which is what the paper's count fits.

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
    """Build SE-ShuffleNet V2-164, of 12.7 G multiply-adds; arguments as in `shufflenet_v2`.

    Three convolutions in the stem, squeeze-and-excitation and residual connections in all units;
    otherwise as V2-50.

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
    in_channels = check_positive("in_channels", config["in_channels"])
    num_classes = check_positive("num_classes", config["num_classes"])

    model = ShuffleNetV2(config, in_channels=in_channels, num_classes=num_classes)
    add_stem(model, config["stem"], in_channels, *stem)
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
    add_classifier(
        model,
        head_channels,
        bias=config["classifier_bias"],
        dropout=config["dropout"],
        seed=config["seed"],
    )
    initialise(model, np.random.default_rng(config["seed"]))
    return model
