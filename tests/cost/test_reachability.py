"""Who reaches whom, against a walk over the wires that is written for this test."""

import numpy as np
import pytest

from numpy_shufflenet import cost, models, nn


def walked(channels, groups, layers, *, shuffle):
    """Follow sets of inputs through group convolutions, with a shuffle between two of them."""
    sees = [{k} for k in range(channels)]
    size = channels // groups
    for number in range(layers):
        if number and shuffle:
            sees = [sees[(k % groups) * size + k // groups] for k in range(channels)]
        sees = [
            set.union(*sees[k // size * size : k // size * size + size]) for k in range(channels)
        ]
    return np.array([[col in row for col in range(channels)] for row in sees])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (16, 8), (20, 2), (24, 6)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_group_convolutions(channels, groups, layers, shuffle):
    stack = []
    for number in range(layers):
        if number and shuffle:
            stack.append(nn.ChannelShuffle(groups))
        stack += [nn.Conv2d(channels, channels, 1, groups=groups), nn.BatchNorm2d(channels)]
    found = cost.channel_reach(nn.Sequential(*stack), channels, size=1)
    np.testing.assert_array_equal(
        found.connected, walked(channels, groups, layers, shuffle=shuffle)
    )
    assert not found.unchanged.any()


@pytest.mark.parametrize("groups", [2, 3, 4, 8])
def test_v1_reaches_all_with_the_shuffle_and_its_own_group_without(groups):
    """The claim of V1's figure 1, for one unit and for a stack."""
    channels = 4 * groups * groups  # groups of the bottleneck hold a channel of each group
    for units in (1, 3):
        with_shuffle, without = (
            cost.channel_reach(
                nn.Sequential(
                    *(
                        nn.ShuffleNetV1Unit(
                            channels, channels, groups=groups, stride=1, shuffle=shuffle
                        )
                        for _ in range(units)
                    )
                ),
                channels,
                size=2,
            )
            for shuffle in (True, False)
        )
        assert with_shuffle.share == 1
        assert with_shuffle.cut_off == 0
        assert without.share == pytest.approx(1 / groups)
        assert without.cut_off == channels - channels // groups
        blocks = np.kron(np.eye(groups), np.ones((channels // groups,) * 2)) > 0
        np.testing.assert_array_equal(without.connected, blocks)


def test_a_whole_network_lets_every_input_reach_every_class():
    for model in (
        models.shufflenet_v1(groups=8, scale=0.25, num_classes=7, stem="small"),
        models.shufflenet_v2(scale=0.5, num_classes=7, stem="small", se=True),
        models.mobilenet_v1(scale=0.25, num_classes=7, stem="small"),
    ):
        assert cost.channel_reach(model, 3, size=8).connected.shape == (7, 3)
        assert cost.channel_reach(model, 3, size=8).share == 1


def test_v2_hands_half_to_the_neighbour_a_quarter_to_the_next():
    """V2, section 3.2: 0.5^j of the channels are passed on unchanged over j units."""
    assert cost.feature_reuse(64, 6) == [0.5**j for j in range(1, 7)]
    found = cost.feature_reuse(116, 4)  # of V2 1x, stage 2: 58, 29, 15 or 14, ...
    np.testing.assert_allclose(found, [0.5**j for j in range(1, 5)], atol=1 / 116)


def test_what_passes_unchanged_is_known_by_its_place():
    """Half of a split, shuffled with the other: channels 0 1 2 3 of 8 come out at 0 2 4 6."""
    found = cost.channel_reach(nn.ShuffleNetV2Unit(8, 8, stride=1), 8, size=3)
    assert np.argwhere(found.unchanged).tolist() == [[0, 0], [2, 1], [4, 2], [6, 3]]
    assert found.connected[1::2, 4:].all()
    assert not found.connected[1::2, :4].any()


def test_a_shortcut_that_is_added_to_is_not_unchanged():
    unit = nn.ShuffleNetV1Unit(12, 12, groups=3, stride=1)
    assert not cost.channel_reach(unit, 12, size=2).unchanged.any()


def test_the_network_stays_as_it_is():
    unit = nn.ShuffleNetV2Unit(8, 8, stride=1, se=True)
    before = unit.state_dict()
    cost.channel_reach(unit, 8)
    for name, value in unit.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="channels=0 is not a whole number"):
        cost.channel_reach(nn.Conv2d(3, 4, 1), 0)
    with pytest.raises(ValueError, match="but x has 5 channels"):
        cost.channel_reach(nn.Conv2d(3, 4, 1), 5)
    with pytest.raises(ValueError, match="units=0 is not a whole number"):
        cost.feature_reuse(8, 0)
