"""ShuffleNet V2: balanced widths, no groups, no addition; half of the channels just pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Padding
from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    check_widths,
    conv_bn_relu,
)
from numpy_shufflenet.nn import Sequential, ShuffleNetV2Unit, initialise
from numpy_shufflenet.nn.units import check_shuffle_order
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
CEIL_MODE = [[0, 1], [0, 1]]  # what padding makes of a pool in ceil mode without any


class ShuffleNetV2(ImageClassifier):
    """The network that `shufflenet_v2` and its relatives build."""


def shufflenet_v2(
    *,
    scale: float = 1.0,
    widths: Sequence[int] | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    pool_padding: Padding = 1,
    layout: str = "paper",
    shuffle_order: str = "paper",
    se: bool = False,
    residual: bool = False,
    extra_depthwise: bool = False,
    classifier: bool = True,
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV2:
    """Build ShuffleNet V2.

    Parameters
    ----------
    scale : float
        0.5, 1, 1.5 or 2.
    widths : sequence of int, optional
        Channels of the stem, of the three stages and of conv5, in place of those that scale gives.
    num_classes, in_channels : int
    stem : str
        "imagenet": 3x3 convolution of stride 2 and max pool, for 224 pixels; "small": stride 1 and
        no max pool, for 28 to 64 pixels.
    pool_padding : int, or [[0, 1], [0, 1]]
        Of the max pool: 0, 1, or at the bottom and the right only, which is what others call no
        padding in ceil mode.
    layout : str
        Of units with two branches. "paper": branch 1 keeps the input's channels, as in the
        authors' code, and the multiply-adds are the paper's. "torchvision": each branch gives half
        of the output; parameters have torchvision's shapes. They differ in the first unit of stage
        2 only, and not at all at 0.5.
    shuffle_order : str
        "paper": each unit ends with the paper's shuffle of two groups. "authors": with its
        inverse, but for the last unit of a stage, which shuffles nothing. The authors' code
        does the same at the start of the next unit.
    se : bool
        Squeeze-and-excitation in every unit.
    residual : bool
        A residual connection around the branch of every unit that splits.
    extra_depthwise : bool
        V2*: one more depthwise convolution in every unit, for detection.
    classifier : bool
        False: the network ends after stage 4, without conv5 and fc, as a detector's backbone does.
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
    check_shuffle_order(shuffle_order)
    if pool_padding not in (0, 1, CEIL_MODE, tuple(map(tuple, CEIL_MODE))):
        raise ValueError(f"pool_padding={pool_padding!r} is not one of 0, 1, {CEIL_MODE}")
    widths = None if widths is None else check_widths(widths, 5)
    config = {"name": "shufflenet_v2", **locals()}

    stem_width, *middle, head = widths or (24, *WIDTHS[scale])
    stages = [Stage(width, repeats, 2) for width, repeats in zip(middle, REPEATS, strict=True)]
    return _build(
        config,
        (stem_width,),
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
    classifier = config.get("classifier", True)
    inverse = config.get("shuffle_order") == "authors"

    model = ShuffleNetV2(
        config, in_channels=in_channels, num_classes=num_classes if classifier else 0
    )
    add_stem(model, config["stem"], in_channels, *stem, pool_padding=config.get("pool_padding", 1))
    channels = stem[-1]
    for number, stage in enumerate(stages, start=2):
        row = []
        for unit in range(stage.repeats):
            last = unit == stage.repeats - 1
            row.append(
                ShuffleNetV2Unit(
                    stage.channels if unit else channels,
                    stage.channels,
                    stride=1 if unit else stage.stride,
                    branch1_channels=channels if keeps_input and not unit else None,
                    shuffle_groups=2 if not inverse else 1 if last else stage.channels // 2,
                    **units,
                )
            )
        channels = stage.channels
        setattr(model, f"stage{number}", Sequential(*row))
    if not classifier:
        initialise(model, np.random.default_rng(config["seed"]))
        return model
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
