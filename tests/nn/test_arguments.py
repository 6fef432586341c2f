"""Wrong arguments are refused when a layer is made, and weights are taken whole or not at all."""

import numpy as np
import pytest

from numpy_shufflenet import models, nn
from numpy_shufflenet.nn.layer import NonFiniteWeightsWarning
from numpy_shufflenet.training import SGD

NO_WHOLE_NUMBER = [0, -1, True, 1.5, float("nan"), "2", None, np.float64(2)]


@pytest.mark.parametrize("value", NO_WHOLE_NUMBER)
@pytest.mark.parametrize(
    "make",
    {
        "in_channels": lambda v: nn.Conv2d(v, 4, 3),
        "out_channels": lambda v: nn.Conv2d(4, v, 3),
        "kernel_size": lambda v: nn.Conv2d(4, 4, v),
        "kernel_size, pool": lambda v: nn.MaxPool2d(v, stride=1),
        "stride": lambda v: nn.Conv2d(4, 4, 3, stride=v),
        "stride, pool": lambda v: nn.AvgPool2d(3, stride=(2, v)),
        "dilation": lambda v: nn.Conv2d(4, 4, 3, dilation=v),
        "groups": lambda v: nn.Conv2d(4, 4, 3, groups=v),
        "groups, shuffle": lambda v: nn.ChannelShuffle(v),
        "sizes": lambda v: nn.ChannelSplit((2, v)),
        "in_features": lambda v: nn.Linear(v, 2),
        "channels": lambda v: nn.BatchNorm2d(v),
        "channels, squeeze": lambda v: nn.SqueezeExcitation(v, reduction=2),
        "reduction": lambda v: nn.SqueezeExcitation(4, reduction=v),
        "in_channels, V1": lambda v: nn.ShuffleNetV1Unit(v, 24, groups=3, stride=2),
        "groups, V1": lambda v: nn.ShuffleNetV1Unit(24, 24, groups=v, stride=1),
        "stride, V1": lambda v: nn.ShuffleNetV1Unit(24, 24, groups=3, stride=v),
        "out_channels, V2": lambda v: nn.ShuffleNetV2Unit(24, v, stride=2),
        "stride, V2": lambda v: nn.ShuffleNetV2Unit(24, 24, stride=v),
        "num_classes": lambda v: models.shufflenet_v2(scale=0.5, num_classes=v),
        "in_channels, network": lambda v: models.shufflenet_v1(scale=0.25, in_channels=v),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_whole_number_is_refused(make, value):
    name, make = make
    with pytest.raises(ValueError, match=name.partition(",")[0]):
        make(value)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "0.1", None, 1 + 1j])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("eps", lambda v: nn.BatchNorm2d(4, eps=v)),
        ("momentum", lambda v: nn.BatchNorm2d(4, momentum=v)),
        ("rate", lambda v: nn.Dropout(v)),
        ("learning_rate", lambda v: SGD(nn.Linear(2, 2), learning_rate=v)),
        ("momentum", lambda v: SGD(nn.Linear(2, 2), learning_rate=0.1, momentum=v)),
        ("weight_decay", lambda v: SGD(nn.Linear(2, 2), learning_rate=0.1, weight_decay=v)),
    ],
)
def test_what_is_no_number_in_its_range_is_refused(name, make, value):
    with pytest.raises(ValueError, match=name):
        make(value)


def test_numbers_of_numpy_are_numbers():
    nn.Conv2d(np.int64(4), np.int32(4), np.int8(3), stride=np.int64(2), groups=np.uint8(2))
    nn.BatchNorm2d(np.int64(4), eps=np.float32(1e-5), momentum=np.float64(0.1))
    assert nn.BatchNorm2d(4, momentum=1).momentum == 1
    with pytest.raises(ValueError, match=r"momentum=1.5 is not a number from 0 to 1"):
        nn.BatchNorm2d(4, momentum=1.5)
    with pytest.raises(ValueError, match=r"padding=-1 is not a whole number"):
        nn.MaxPool2d(3, stride=2, padding=-1)


def small():
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full(3, "a"), "1.weight has dtype <U1; numbers like float32"),
        (np.full(3, None), "1.weight has dtype object"),
        (np.full(3, 1j), "1.weight has dtype complex128"),
        (np.full(3, 1e300), "1.weight holds 1e.300, which is too large for float32"),
        ([[1, 2, 3]], r"1.weight has shape \(1, 3\), but \(3,\)"),
    ],
)
def test_weights_are_loaded_whole_or_not_at_all(wrong, message):
    model = small()
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    with pytest.raises(ValueError, match=message):
        model.load_state_dict({**state, "1.weight": wrong})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_older_files_have_counted_no_batches():
    model = small()
    model.forward(np.ones((2, 2, 3, 3), np.float32), training=True)
    state = model.state_dict()
    assert state.pop("1.num_batches_tracked") == 1
    model.load_state_dict(state)
    assert model.state_dict()["1.num_batches_tracked"] == 0
    del state["1.running_var"]
    with pytest.raises(ValueError, match=r"1\.running_var is missing"):
        model.load_state_dict(state)


def test_weights_that_are_not_finite_are_named_once():
    model = small()
    state = model.state_dict()
    state["0.weight"][0], state["1.running_var"][1] = np.nan, np.inf
    with pytest.warns(NonFiniteWeightsWarning, match="infinity: 0.weight, 1.running_var$") as found:
        model.load_state_dict(state)
    assert len(found) == 1
    assert np.isnan(model.parameters()["0.weight"][0]).all()
