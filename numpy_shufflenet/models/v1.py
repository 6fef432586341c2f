"""ShuffleNet V1: group convolutions, and a shuffle that mixes the channels of the groups."""

from collections.abc import Sequence

from numpy_shufflenet._typing import Padding
from numpy_shufflenet.models.classifier import (
    ImageClassifier,
    add_classifier,
    add_stem,
    check_widths,
)
from numpy_shufflenet.models.variants import as_config_says, check_padding
from numpy_shufflenet.nn import Sequential, ShuffleNetV1Unit

# The channels of stage 2, by groups. Each later stage has twice as many as the stage before.
STAGE2_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
REPEATS = (4, 8, 4)
# The channels of the stem, by scale; `v1_widths` may add some.
STEM_CHANNELS = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}


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
    pool_padding: Padding = 1,
    shuffle: bool = True,
    shuffle_order: str = "paper",
    se: bool = False,
    classifier_bias: bool = True,
    stride2_padding: Sequence[Padding] | None = None,
    count_include_pad: bool = True,
    batch_norm: bool = True,
    dropout: float = 0.0,
    seed: int | None = None,
) -> ShuffleNetV1:
    """Build ShuffleNet V1, in float32.

    The paper scales the widths of the stages, and has no rule for the stem. Here the stem has as
    many channels as in the authors' code: 12, 24, 24, 48 at scale 0.5, 1, 1.5, 2; and 12 at 0.25.
    If the groups don't divide the channels that the first unit adds, the stem has more channels:
    16 for 8 groups at 0.25 and 0.5. Bottlenecks are rounded up to a multiple of groups.

    Parameters
    ----------
    groups : int
        1, 2, 3, 4 or 8.
    scale : float
        Factor of the channels in all stages, 0.25, 0.5, 1, 1.5 or 2.
    widths : sequence of int, optional
        Channels of the stem and of the three stages; scale then has no effect.
    shuffle : bool
        False for the network without shuffle in table 3 of the paper.
    shuffle_order : str
        "paper", or "authors": the inverse order, as in the authors' code.
    se : bool
        Squeeze-and-excitation in every unit (table 5).
    count_include_pad : bool
        Whether the average pooling counts the padding; False in TensorFlow.
    num_classes, in_channels, stem, pool_padding, classifier_bias, stride2_padding, batch_norm
    dropout, seed
        As in `shufflenet_v2`.

    Raises
    ------
    ValueError
        If an argument has another value than those above.

    Source: ShuffleNet V1, section 3.3 and table 1.
    """
    if groups not in STAGE2_CHANNELS:
        raise ValueError(f"groups={groups!r} is not one of 1, 2, 3, 4, 8")
    if scale not in STEM_CHANNELS:
        raise ValueError(f"scale={scale!r} is not one of 0.25, 0.5, 1, 1.5, 2")
    check_padding("pool_padding", pool_padding)
    widths = None if widths is None else check_widths(widths, 4)
    config = {"name": "shufflenet_v1", **locals()}
    channels, *stages = widths or v1_widths(groups, scale)

    model = ShuffleNetV1(config)
    add_stem(model, channels, pool_padding=pool_padding)
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
    add_classifier(model, channels)
    return as_config_says(model, config)


def v1_widths(groups: int, scale: float) -> list[int]:
    """Return the channels of the stem and of the three stages.

    The groups must divide the channels that the first unit adds, so the stem may have more channels
    than STEM_CHANNELS says.
    """
    stages = [int(STAGE2_CHANNELS[groups] * scale) * 2**stage for stage in range(3)]
    stem = STEM_CHANNELS[scale]
    return [stem + (stages[0] - stem) % groups, *stages]
