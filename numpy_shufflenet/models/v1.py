"""ShuffleNet V1: group convolutions, and a shuffle so that the groups talk to each other."""

from collections.abc import Sequence

import numpy as np

from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    check_widths,
)
from numpy_shufflenet.nn import Sequential, ShuffleNetV1Unit, initialise
from numpy_shufflenet.ops.checks import check_positive

STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # by groups; doubled in each next stage
REPEATS = (4, 8, 4)
STEM_CHANNELS = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}  # at the least


class ShuffleNetV1(ImageClassifier):
    """The network that `shufflenet_v1` builds."""


def shufflenet_v1(
    *,
    groups: int = 3,
    scale: float = 1.0,
    widths: Sequence[int] | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem: str = "imagenet",
    shuffle: bool = True,
    shuffle_order: str = "paper",
    se: bool = False,
    classifier_bias: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV1:
    """Build ShuffleNet V1.

    The paper scales the stages' widths and gives no rule for the stem. Here it has the channels
    of the authors' code (12, 24, 24, 48 at 0.5, 1, 1.5, 2; 12 at 0.25), and more where needed so
    that the groups divide what the first unit adds to it: 16 for 8 groups at 0.25 and 0.5.
    Bottlenecks are rounded up to a multiple of groups.

    Parameters
    ----------
    groups : int
        1, 2, 3, 4 or 8.
    scale : float
        0.25, 0.5, 1, 1.5 or 2: factor of the channels in all stages.
    widths : sequence of int, optional
        Channels of the stem and of the three stages, in place of those that scale gives.
    num_classes, in_channels : int
    stem : str
        "imagenet": 3x3 convolution of stride 2 and max pool, for 224 pixels; "small": stride 1 and
        no max pool, for 28 to 64 pixels.
    shuffle : bool
        False for the paper's ablation (table 3).
    shuffle_order : str
        "paper", or "authors": the inverse order, as in the authors' code.
    se : bool
        Squeeze-and-excitation in every unit (table 5).
    classifier_bias : bool
        The authors' code has none.
    dropout : float
        Rate before the classifier, in training.
    seed : int, optional
        Of the initial weights.

    Returns
    -------
    ShuffleNetV1, in float32

    Raises
    ------
    ValueError
        If an argument is not one of those named.

    Source: ShuffleNet V1, section 3.3 and table 1.
    """
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"groups={groups!r} is not one of 1, 2, 3, 4, 8")
    if scale not in STEM_CHANNELS:
        raise ValueError(f"scale={scale!r} is not one of 0.25, 0.5, 1, 1.5, 2")
    check_positive("num_classes", num_classes)
    check_positive("in_channels", in_channels)
    widths = None if widths is None else check_widths(widths, 4)
    config = {"name": "shufflenet_v1", **locals()}
    channels, *stages = widths or v1_widths(groups, scale)

    model = ShuffleNetV1(config, in_channels=in_channels, num_classes=num_classes)
    add_stem(model, stem, in_channels, channels)
    for stage, width, repeats in zip((2, 3, 4), stages, REPEATS, strict=True):
        units = []
        for number in range(repeats):
            unit = ShuffleNetV1Unit(
                channels,
                width,
                groups=groups,
                stride=2 if number == 0 else 1,
                first_groups=1 if stage == 2 and number == 0 else groups,
                shuffle=shuffle,
                shuffle_order=shuffle_order,
                se=se,
            )
            units.append(unit)
            channels = width
        setattr(model, f"stage{stage}", Sequential(*units))
    add_classifier(model, channels, bias=classifier_bias, dropout=dropout, seed=seed)
    initialise(model, np.random.default_rng(seed))
    return model


def v1_widths(groups: int, scale: float) -> list[int]:
    """Return the channels of the stem and of the three stages."""
    stages = [int(STAGE2_CHANNELS[groups] * scale) * 2**stage for stage in range(3)]
    return [stem_channels(groups, scale), *stages]


def stem_channels(groups: int, scale: float) -> int:
    """Return the channels of the stem: at least the authors', so that groups divide the rest."""
    width = int(STAGE2_CHANNELS[groups] * scale)
    channels = STEM_CHANNELS[scale]
    return channels + (width - channels) % groups
