"""What `numpy-shufflenet cost` prints beside the papers' figures is right, misfits included."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet import cost, models, nn
from numpy_shufflenet.cost import closed_forms
from numpy_shufflenet.models.resnet import bottleneck


@pytest.fixture(scope="module")
def figures():
    return list(cost.compare_figures())


def of(figures, source, network):
    return [f for f in figures if f.source == source and f.network.startswith(network)]


def test_v1_table_1_is_reproduced_without_the_classifier(figures):
    rows = of(figures, "V1, table 1", "")
    assert [row.printed for row in rows] == ["143 M", "140 M", "137 M", "133 M", "137 M"]
    assert all(row.fits and row.quantity == "multiply-adds, no classifier" for row in rows)
    assert all(abs(row.difference) <= 0.5 for row in rows)


def test_scaled_v1_is_reproduced_with_the_classifier(figures):
    printed = {}
    for row in figures:
        if row.network.startswith("ShuffleNet V1") and row.quantity == "multiply-adds" and row.fits:
            printed.setdefault(row.network, []).append(row.printed)
    assert printed == {
        "ShuffleNet V1 0.25x, g=3": ["13 M"],
        "ShuffleNet V1 0.5x, g=3": ["38 M"],
        "ShuffleNet V1 1.5x, g=3": ["292 M"],
        "ShuffleNet V1 2x, g=3": ["524 M"],
        "ShuffleNet V1 0.5x, g=8": ["40 M"],
        "ShuffleNet V1 1x, g=8": ["138 M"],
        "ShuffleNet V1 1.5x, g=8": ["290 M"],
        "ShuffleNet V1 2x, g=8": ["522 M"],
        "ShuffleNet V1 2x, g=3, SE": ["527 M"],
    }


def test_v2_is_reproduced(figures):
    rows = of(figures, "V2, table 5", "ShuffleNet V2")
    multiply_adds = [row for row in rows if row.quantity == "multiply-adds"]
    assert [row.printed for row in multiply_adds] == ["41 M", "146 M", "299 M", "591 M"]
    assert all(abs(row.difference) < 1 for row in multiply_adds)
    parameters = [row for row in rows if row.quantity == "parameters"]
    assert [row.printed for row in parameters] == ["1.4 M", "2.3 M", "3.5 M", "7.4 M"]
    assert all(abs(row.difference) <= 0.05 for row in parameters)
    assert all(row.fits for row in rows)


def test_torchvisions_parameters_are_exact(figures):
    rows = of(figures, "torchvision", "")
    assert [row.counted for row in rows] == [1_366_792, 2_278_604, 3_503_624, 7_393_996]
    assert all(row.fits and row.difference == 0 for row in rows)


def test_only_known_misfits_misfit_and_say_so(figures):
    misfits = [(row.network, row.printed) for row in figures if not row.fits]
    assert misfits == [
        ("ShuffleNet V1 1x, g=8", "140 M"),
        ("ShuffleNet V1 0.5x, g=4", "38 M"),
        ("ResNet-50", "3.8 G"),
    ]
    assert all(row.note.startswith("known: ") == (not row.fits) for row in figures)


def test_large_and_compared_networks(figures):
    fits = {(row.network, row.printed): row.fits for row in figures}
    for key in (
        ("ShuffleNet V2 2x, SE", "597 M"),
        ("ShuffleNet V2-50", "2.3 G"),
        ("SE-ShuffleNet V2-164", "12.7 G"),
        ("MobileNet V1 1x", "569 M"),
        ("MobileNet V1 0.75x", "325 M"),
        ("MobileNet V1 0.5x", "149 M"),
        ("MobileNet V1 0.25x", "41 M"),
    ):
        assert fits[key]


def test_a_figure_that_is_off_does_not_fit():
    figure = cost.Figure("here", "a network", "multiply-adds", "143 M", 143_510_000)
    assert not figure.fits
    assert math.isclose(figure.difference, 0.51)
    assert figure.ours == "143.51 M"
    assert cost.Figure("here", "a network", "parameters", "7", 8).fits is False


def unit_cost(unit: nn.Layer, c: int, h: int, w: int) -> int:
    return cost.count(nn.Sequential(unit), (c, h, w)).forward.multiply_adds


def test_the_closed_forms_of_units_are_what_units_count():
    """V1, section 3.2; our V1 unit has a quarter of its channels in the bottleneck."""
    c, h, w = 48, 5, 7
    m = c // 4
    assert unit_cost(bottleneck(c, m), c, h, w) == closed_forms.resnet_unit(h, w, c, m)
    grouped = nn.Sequential(
        nn.Conv2d(c, m, 1), nn.Conv2d(m, m, 3, padding=1, groups=3), nn.Conv2d(m, c, 1)
    )
    assert unit_cost(grouped, c, h, w) == closed_forms.resnext_unit(h, w, c, m, 3)
    unit = nn.ShuffleNetV1Unit(c, c, groups=3, stride=1)
    assert unit_cost(unit, c, h, w) == closed_forms.shufflenet_unit(h, w, c, m, 3)


def test_a_separable_convolution_saves_what_mobilenets_says():
    c, o, k, h, w = 6, 10, 3, 8, 9
    full = unit_cost(nn.Conv2d(c, o, k, padding=1), c, h, w)
    separable = unit_cost(models.mobilenet.separable(c, o, stride=1), c, h, w)
    assert math.isclose(separable / full, closed_forms.separable_ratio(o, k))


sizes = st.integers(1, 60)


@given(sizes, sizes, sizes, sizes)
def test_the_bound_is_below_and_reached_by_equal_channels_only(h, w, c1, c2):
    b = closed_forms.pointwise_multiply_adds(h, w, c1, c2)
    access = closed_forms.pointwise_memory_access(h, w, c1, c2)
    bound = closed_forms.lower_bound(h, w, b)
    assert access >= bound * (1 - 1e-12)
    assert math.isclose(access, bound, rel_tol=1e-12) == (c1 == c2)


@given(sizes, sizes, sizes, sizes, st.integers(1, 8))
def test_groups_only_raise_it_at_constant_cost(h, w, c1, c2, groups):
    """V2, equation 2: MAC = h w c1 + B g / c1 + B / (h w), which grows with g."""
    b = closed_forms.pointwise_multiply_adds(h, w, groups * c1, groups * c2, groups)
    access = closed_forms.pointwise_memory_access(h, w, groups * c1, groups * c2, groups)
    assert math.isclose(access, h * w * groups * c1 + b / c1 + b / (h * w), rel_tol=1e-12)
    assert access >= closed_forms.lower_bound(h, w, b, groups) * (1 - 1e-12)
    assert access >= closed_forms.lower_bound(h, w, b) * (1 - 1e-12)


@given(st.floats(1e6, 1e9))
def test_the_widest_unit_fits_and_the_next_does_not(budget):
    def cost_of(c):
        return closed_forms.resnet_unit(28, 28, c, c // 4)

    channels = closed_forms.widest(budget, cost_of, step=4)
    assert cost_of(channels) <= budget < cost_of(channels + 4)


def test_v2_affords_wider_layers_than_resnet_and_mobilenet():
    found = closed_forms.channels_at_budget(10e6)
    v2 = found["ShuffleNet V2"]
    assert v2.channels > found["MobileNet V1"].channels
    assert v2.channels > found["ResNet"].channels
    assert v2.inner > found["ShuffleNet V1, g=3"].inner > found["ResNet"].inner


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="c1=0 is not a whole number of at least 1"):
        closed_forms.pointwise_memory_access(8, 8, 0, 4)
    with pytest.raises(ValueError, match="groups=3 does not divide c2=4"):
        closed_forms.pointwise_multiply_adds(8, 8, 6, 4, 3)
    with pytest.raises(ValueError, match=r"budget=10 is below \d+, the cost of 1 channels"):
        closed_forms.channels_at_budget(10)
