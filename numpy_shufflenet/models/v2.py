"""ShuffleNet V2: balanced widths, no groups, no addition; half of the channels skip the branch."""

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
from numpy_shufflenet.models.variants import as_config_says, check_padding
from numpy_shufflenet.nn import Sequential, ShuffleNetV2Unit, initialise
from numpy_shufflenet.nn.units import check_shuffle_order


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
    activation: str = "relu",
    classifier: bool = True,
    classifier_bias: bool = True,
    stride2_padding: Sequence[Padding] | None = None,
    batch_norm: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV2:
    """Build ShuffleNet V2, in float32.

    Parameters
    ----------
    scale : float
        0.5, 1, 1.5 or 2.
    widths : sequence of int, optional
        Channels of the stem, of the three stages and of conv5; scale then has no effect.
    stem : str
        "imagenet", for images of 224 pixels: 3x3 convolution of stride 2, and a max pool. "small",
        for 28 to 64 pixels: stride 1, without a max pool.
    pool_padding : int, or [[top, bottom], [left, right]]
        Padding of the max pool, 0 or 1 on each side. [[0, 1], [0, 1]] equals a pool without padding
        in the ceil mode of other libraries.
    layout : str
        Channels in units with two branches. "paper": branch 1 keeps the channels of the input, as
        in the authors' code; the multiply-adds are those of the paper. "torchvision": each branch
        has half of the output channels; the parameters have the shapes of torchvision. The layouts
        differ only in the first unit of stage 2, and are equal at scale 0.5.
    shuffle_order : str
        "paper": each unit ends with the shuffle of the paper, with two groups. "authors": each unit
        ends with the inverse of that shuffle, and the last unit of a stage has no shuffle. The
        authors' code does the same at the start of the next unit.
    se : bool
        Squeeze-and-excitation in every unit.
    residual : bool
        Residual connection around the branch in every unit that splits.
    extra_depthwise : bool
        One more depthwise convolution in every unit: V2* of the paper, for detection.
    activation : str
        "relu", as in the paper; "leaky_relu", of slope 0.1, as in NanoDet; or "swish", as in one of
        PaddlePaddle's networks.
    classifier : bool
        False for a network that ends after stage 4, without conv5 and fc, as a detector needs it.
    classifier_bias : bool
        False in the authors' code.
    stride2_padding : sequence of four paddings, optional
        Padding of the windows of stride 2, each as pool_padding: in the stem, and in the first unit
        of each stage. 1 where it isn't given; [[0, 1], [0, 1]] in TensorFlow, for even sizes.
    batch_norm : bool
        False for a network whose batch norms are folded into convolutions, as `fold` makes it.
    dropout : float
        Share of the inputs of the classifier that training drops; the authors use 0.2 at scale 2.
    seed : int, optional
        Seed for the initial weights and for dropout.

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
    check_shuffle_order(shuffle_order)
    check_padding("pool_padding", pool_padding)
    widths = None if widths is None else check_widths(widths, 5)
    config = {"name": "shufflenet_v2", **locals()}

    stem_width, *middle, head = widths or (24, *WIDTHS[scale])
    stages = [Stage(width, repeats, 2) for width, repeats in zip(middle, REPEATS, strict=True)]
    model = _build(
        config,
        (stem_width,),
        stages,
        ("conv5", head),
        keeps_input=layout == "paper",
        se=se,
        residual=residual,
        extra_depthwise=extra_depthwise,
        activation=activation,
    )
    return as_config_says(model, config)


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
    has half of the output channels, which gives the multiply-adds of the paper.

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
    activation: str = "relu",
    **units: bool,
) -> ShuffleNetV2:
    inverse = config.get("shuffle_order") == "authors"

    model = ShuffleNetV2(config)
    add_stem(model, *stem, pool_padding=config.get("pool_padding", 1))
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
                    activation=activation,
                    **units,
                )
            )
        channels = stage.channels
        setattr(model, f"stage{number}", Sequential(*row))
    if not model.num_classes:
        initialise(model, np.random.default_rng(config["seed"]))
        return model
    name, head_channels = head
    setattr(
        model, name, Sequential(*conv_bn_relu(channels, head_channels, 1, activation=activation))
    )
    add_classifier(model, head_channels)
    return model
