"""The audit names the guideline that is broken, and no other."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet import cost, models, nn
from numpy_shufflenet.cost.stacks import one_fault_each

PIXELS = 56


@pytest.fixture(scope="module")
def constructed():
    return {
        line: cost.audit(model, (channels, PIXELS, PIXELS))
        for line, (model, channels) in one_fault_each().items()
    }


@pytest.mark.parametrize("line", ["G1", "G2", "G3", "G4"])
def test_each_constructed_network_loses_on_its_line_and_on_no_other(constructed, line):
    assert constructed[line].departures() == (line,)
    assert list(constructed[line].suggestions()) == [line]


def test_the_one_without_a_fault_loses_nowhere(constructed):
    assert constructed["none"].departures() == ()
    assert constructed["none"].suggestions() == {}
    assert constructed["none"].means() == {"G1": 1, "G2": 1, "G3": 1, "G4": 0}


def test_all_of_them_cost_about_the_same():
    costs = [
        cost.count(model, (channels, PIXELS, PIXELS)).forward.multiply_adds
        for model, channels in one_fault_each().values()
    ]
    assert max(costs) / min(costs) < 1.07


sizes = st.integers(1, 40)


@given(sizes, sizes, st.sampled_from([1, 2, 3]), sizes, sizes)
def test_both_excesses_multiply_to_all_that_is_above_the_bound(c1, c2, groups, h, w):
    """MAC / least(1) = G1 G2, with the closed forms of the paper."""
    c1, c2 = groups * c1, groups * c2
    layer = nn.Conv2d(c1, c2, 1, groups=groups)
    (row,) = cost.audit(nn.Sequential(layer), (c1, h, w)).rows
    forms = cost.closed_forms
    b = forms.pointwise_multiply_adds(h, w, c1, c2, groups)
    access = forms.pointwise_memory_access(h, w, c1, c2, groups)
    assert row.memory_access == access
    assert math.isclose(row.channels * row.groups, access / forms.lower_bound(h, w, b))
    assert math.isclose(row.channels, access / forms.lower_bound(h, w, b, groups))
    assert row.channels >= 1 - 1e-12
    assert row.groups >= 1
    assert math.isclose(row.channels, 1) == (c1 == c2)
    assert (row.groups == 1) == (groups == 1)


def test_a_3x3_convolution_of_equal_channels_is_balanced():
    (row,) = cost.audit(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)), (16, 9, 7)).rows
    assert math.isclose(row.channels, 1)
    assert row.groups == 1
    assert row.memory_access == 2 * 16 * 63 + 9 * 256


def test_depthwise_and_strided_convolutions_are_left_out_of_g1_and_g2():
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 64, 3, padding=1, stride=2)
    )
    for row in cost.audit(model, (8, 12, 12)).rows:
        assert row.channels is None
        assert row.groups is None
    assert cost.audit(model, (8, 12, 12)).means()["G1"] == 0


def test_shares_of_g4_by_hand():
    """A convolution of 3 to 5 channels reads 3 p + 15 and writes 5 p, its ReLU 5 p and 5 p."""
    p = 6 * 7
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.ReLU())
    found = cost.audit(model, (3, 6, 7))
    assert [row.memory_access for row in found.rows] == [8 * p + 15, 10 * p]  # BN is folded
    assert math.isclose(found.means()["G4"], 10 * p / (18 * p + 15))


def test_fragments_of_units():
    model = models.shufflenet_v2()
    found = {row.block: row.fragments for row in cost.audit(model).rows}
    assert found["stage2.0"] == 5  # two branches
    assert found["stage2.1"] == 3
    assert found["conv1"] == 1
    found = {row.block: row.fragments for row in cost.audit(models.shufflenet_v1()).rows}
    assert found["stage2.0"] == 4  # with the pool
    assert found["stage2.1"] == 3
    found = {row.block: row.fragments for row in cost.audit(models.resnet_50()).rows}
    assert found["stage2.0"] == 4  # with the projection
    assert found["stage2.1"] == 3
    found = {row.block: row.fragments for row in cost.audit(models.mobilenet_v1()).rows}
    assert found["features.3"] == 2


def test_v2_keeps_what_it_argues_for():
    """It is the only one of the four networks with no departure."""
    networks = {
        "v1": models.shufflenet_v1(),
        "v2": models.shufflenet_v2(),
        "mobilenet": models.mobilenet_v1(),
        "resnet": models.resnet_50(),
    }
    audits = {name: cost.audit(model) for name, model in networks.items()}
    assert audits["v2"].departures() == ()
    assert audits["v1"].departures() == ("G1", "G2", "G4")
    assert audits["mobilenet"].departures() == ("G4",)
    assert audits["resnet"].departures() == ("G1", "G4")


def test_the_worst_layer_costs_most():
    found = cost.audit(models.shufflenet_v1(groups=8))
    worst = found.worst("G2")
    excess = [row.memory_access * (1 - 1 / row.groups) for row in found.rows if row.groups]
    assert worst.memory_access * (1 - 1 / worst.groups) == max(excess)
    assert worst.name in found.suggestions()["G2"]


def test_it_is_json(constructed):
    found = json.loads(json.dumps(constructed["G2"].to_dict()))
    assert found["departures"] == ["G2"]
    assert len(found["layers"]) == 10


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="Sequential has no convolution; there is nothing to au"):
        cost.audit(nn.Sequential(nn.ReLU()), (3, 8, 8))
    with pytest.raises(ValueError, match="image_shape is missing, and a Sequential has no default"):
        cost.audit(nn.Sequential(nn.Conv2d(3, 4, 1)))

    class Doubled(nn.Layer):
        def _forward(self, x, training):
            return x + x

    with pytest.raises(ValueError, match="layer '1' is a Doubled"):
        cost.audit(nn.Sequential(nn.Conv2d(3, 4, 1), Doubled()), (3, 8, 8))
    with pytest.raises(ValueError, match="x has shape"):
        cost.audit(models.shufflenet_v2(), (1, 8, 8))
    assert np.isfinite(cost.audit(models.shufflenet_v2(), (3, 64, 64)).means()["G1"])
