"""Every layer and unit alone: gradients against central differences, and what layers promise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from networks import randomised

from numpy_shufflenet import nn, ops
from numpy_shufflenet.nn import Layer, Sequential

SHAPE = (3, 6, 5, 4)
STEP = 1e-6

V1_OPTIONS: dict[str, dict[str, Any]] = {
    "stride 1": {"stride": 1},
    "stride 2": {"stride": 2},
    "ungrouped first": {"stride": 2, "first_groups": 1},
    "no shuffle": {"stride": 1, "shuffle": False},
    "se 1": {"stride": 1, "se": True},
    "se 2": {"stride": 2, "se": True},
}
V2_OPTIONS: dict[str, tuple[int, dict[str, Any]]] = {  # output channels for 6, options
    "splits": (6, {"stride": 1}),
    "splits, residual": (6, {"stride": 1, "residual": True}),
    "splits, all": (6, {"stride": 1, "residual": True, "se": True, "extra_depthwise": True}),
    "two branches": (16, {"stride": 2}),
    "two branches, authors'": (16, {"stride": 2, "branch1_channels": 6}),
    "two branches, all": (16, {"stride": 2, "residual": True, "se": True, "extra_depthwise": True}),
    "two branches, stride 1": (10, {"stride": 1}),
    "splits, leaky ReLU": (6, {"stride": 1, "residual": True, "activation": "leaky_relu"}),
    "two branches, swish": (16, {"stride": 2, "activation": "swish"}),
}
LAYERS: dict[str, Callable[[], Layer]] = {
    "conv": lambda: nn.Conv2d(6, 4, (3, 2), stride=2, padding=((1, 0), (2, 1)), bias=True),
    "dilated conv": lambda: nn.Conv2d(6, 4, 2, dilation=2),
    "group conv": lambda: nn.Conv2d(6, 9, 3, padding=1, groups=3, bias=True),
    "depthwise conv": lambda: nn.Conv2d(6, 12, 3, padding=1, groups=6),
    "pointwise conv": lambda: nn.Conv2d(6, 4, 1, groups=2, bias=True),
    "pointwise conv, stride 2": lambda: nn.Conv2d(6, 4, 1, stride=2),
    "batch norm": lambda: nn.BatchNorm2d(6),
    "relu": lambda: nn.ReLU(),
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "swish": lambda: nn.Swish(),
    "max pool": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "avg pool": lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "shuffle": lambda: nn.ChannelShuffle(3),
    "split": lambda: Sequential(nn.ChannelSplit((1, 5)), nn.ChannelConcat()),
    "squeeze excitation": lambda: nn.SqueezeExcitation(6, reduction=2),
    "classifier": lambda: Sequential(nn.GlobalAvgPool(), nn.Linear(6, 4)),
    "classifier, no bias": lambda: Sequential(nn.GlobalAvgPool(), nn.Linear(6, 4, bias=False)),
    **{
        f"v1 unit, {name}": lambda options=options: nn.ShuffleNetV1Unit(
            6, 6 if options["stride"] == 1 else 18, groups=3, **options
        )
        for name, options in V1_OPTIONS.items()
    },
    **{
        f"v2 unit, {name}": lambda outputs=outputs, options=options: nn.ShuffleNetV2Unit(
            6, outputs, **options
        )
        for name, (outputs, options) in V2_OPTIONS.items()
    },
}


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_gradients_are_those_of_central_differences(
    make: Callable[[], Layer], training: bool
) -> None:
    """Of x and of every parameter alone, in random directions; no difference crosses a kink."""
    layer = randomised(make(), seed=4)
    x, rng = images(), np.random.default_rng(5)
    y = layer.forward(x, training=training)
    pattern = layer.activation_pattern()
    dy = rng.normal(size=y.shape)
    dx = layer.backward(dy)
    arrays = {"x": x, **layer.parameters()}  # live: to step, write into them
    gradients = {"x": dx, **layer.gradients()}
    # A shift that the next batch normalisation takes away again has a gradient of exactly zero,
    # so errors are measured against all gradients of the layer.
    scale = max(float(np.linalg.norm(gradient)) for gradient in gradients.values())

    def value(array: np.ndarray, step: np.ndarray) -> float:
        array += step
        stepped = layer.forward(x, training=training)
        for before, now in zip(pattern, layer.activation_pattern(), strict=True):
            np.testing.assert_array_equal(before, now)
        array -= step
        return float((stepped * dy).sum())

    for name, array in arrays.items():
        v = rng.normal(size=array.shape)
        v /= np.linalg.norm(v)
        numeric = (value(array, STEP * v) - value(array, -STEP * v)) / (2 * STEP)
        assert abs(numeric - (gradients[name] * v).sum()) < 1e-7 * scale, name


@pytest.mark.parametrize(
    ("arguments", "hyperparameters", "operation"),
    [
        ((6, 4, 3), {"padding": 1}, "conv2d"),
        ((6, 4, 3), {"padding": 1, "groups": 2}, "group_conv2d"),
        ((6, 6, 3), {"stride": 2, "padding": 1, "groups": 6}, "depthwise_conv2d"),
        ((6, 12, 3), {"groups": 6}, "depthwise_conv2d"),
        ((6, 4, 1), {}, "pointwise_conv2d"),
        ((6, 4, 1), {"groups": 2}, "pointwise_conv2d"),
        ((6, 4, 1), {"stride": 2}, "conv2d"),
        ((6, 4, 1), {"padding": 1}, "conv2d"),
        ((1, 4, 3), {"groups": 1}, "conv2d"),
    ],
)
def test_a_convolution_is_the_operation_of_its_shape(
    arguments: tuple[int, int, int], hyperparameters: dict[str, Any], operation: str
) -> None:
    layer = randomised(nn.Conv2d(*arguments, **hyperparameters, bias=True))
    assert layer.operation == operation
    x = images()[:, : arguments[0]]
    p = layer.parameters()
    expected, _ = ops.conv2d_forward(x, p["weight"], p["bias"], **hyperparameters)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-12, atol=1e-12)


def test_convolutions_say_what_they_are() -> None:
    assert repr(nn.Conv2d(3, 24, 3, stride=2, padding=1)) == "Conv2d(3x3, 24, stride=2)"
    assert repr(nn.Conv2d(6, 4, 1, groups=2)) == "Conv2d(pointwise 1x1, 4, groups=2)"
    assert repr(nn.Conv2d(6, 6, 3, padding=1, groups=6)) == "Conv2d(depthwise 3x3, 6)"
    assert repr(nn.Conv2d(6, 6, 3, groups=3)) == "Conv2d(group 3x3, 6, groups=3, padding=0)"


def test_batch_norm_has_two_modes() -> None:
    layer = randomised(nn.BatchNorm2d(6))
    x, before = images(), layer.state_dict()
    gamma, beta = (before[name][:, None, None] for name in ("weight", "bias"))
    mean, var = (before[f"running_{name}"][:, None, None] for name in ("mean", "var"))
    expected = gamma * (x - mean) / np.sqrt(var + 1e-5) + beta
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-12, atol=1e-12)
    assert layer.state_dict()["num_batches_tracked"] == before["num_batches_tracked"]

    y = layer.forward(x, training=True)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), before["bias"], rtol=1e-9, atol=1e-9)
    after = layer.state_dict()
    for name, batch in (("mean", x.mean((0, 2, 3))), ("var", x.var((0, 2, 3), ddof=1))):
        expected = 0.9 * before[f"running_{name}"] + 0.1 * batch
        np.testing.assert_allclose(after[f"running_{name}"], expected, rtol=1e-12)
    assert after["num_batches_tracked"] == before["num_batches_tracked"] + 1


def test_batch_norm_momentum_is_the_weight_of_the_new() -> None:
    layer = nn.BatchNorm2d(6, momentum=1.0).astype(np.float64)
    x = images()
    layer.forward(x, training=True)
    np.testing.assert_allclose(layer.running_mean.value, x.mean((0, 2, 3)), rtol=1e-12)


def test_dropout_keeps_the_mean_and_sends_gradients_where_values_went() -> None:
    layer = nn.Dropout(0.25, seed=0)
    x = np.ones((1000, 20))
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert y.mean() == pytest.approx(1, abs=0.02)  # 5 standard errors
    dy = np.random.default_rng(0).normal(size=x.shape)
    np.testing.assert_array_equal(layer.backward(dy), dy * y)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(dy), dy)
    np.testing.assert_array_equal(nn.Dropout(0.25, seed=0).forward(x, training=True), y)


def test_split_and_concat_pass_tuples() -> None:
    split, concat = nn.ChannelSplit((2, 3, 1)), nn.ChannelConcat()
    x = images()
    parts = split.forward(x)
    assert [part.shape[1] for part in parts] == [2, 3, 1]
    np.testing.assert_array_equal(concat.forward(parts), x)
    dparts = concat.backward(2 * x)
    assert isinstance(dparts, tuple)
    np.testing.assert_array_equal(dparts[1], 2 * x[:, 2:5])
    np.testing.assert_array_equal(split.backward(dparts), 2 * x)


def test_excitation_has_a_small_network_of_at_least_one_unit() -> None:
    assert nn.SqueezeExcitation(34, reduction=16).parameters()["reduce_weight"].shape == (2, 34)
    assert nn.SqueezeExcitation(6, reduction=16).parameters()["expand_weight"].shape == (6, 1)


def test_sequential_is_a_row_of_layers() -> None:
    layers = [nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.ReLU()]
    row = Sequential(*layers)
    assert len(row) == 3
    assert list(row) == layers
    assert row[1] is layers[1]
    assert list(row.parameters()) == ["0.weight", "1.weight", "1.bias"]
    assert [name for name, _ in Sequential(row, nn.ReLU()).named_layers()] == [
        *("", "0", "0.0", "0.1", "0.2", "1")
    ]


def test_the_pattern_tells_which_way_relu_and_max_pool_went() -> None:
    x = np.array([[[[1.0, -2.0], [3.0, -4.0]]]])
    relu = nn.ReLU()
    relu.forward(x)
    np.testing.assert_array_equal(relu.activation_pattern(), [[[[[True, False], [True, False]]]]])
    pool = nn.MaxPool2d(2, stride=2)
    pool.forward(x)
    (winner,) = pool.activation_pattern()
    pool.forward(x[..., ::-1].copy())
    (other,) = pool.activation_pattern()
    assert not np.array_equal(winner, other)
    assert len(randomised(nn.SqueezeExcitation(6, reduction=2)).activation_pattern()) == 0
    excitation = randomised(nn.SqueezeExcitation(6, reduction=2))
    excitation.forward(images())
    assert [pattern.shape for pattern in excitation.activation_pattern()] == [(3, 3)]


def test_gradients_handed_out_stay_as_they_are() -> None:
    layer = randomised(nn.Conv2d(6, 4, 1, bias=True))
    handed_out = []
    for seed in range(3):
        y = layer.forward(images(seed))
        layer.backward(y)
        gradient = layer.gradients()["weight"]
        handed_out.append((gradient, gradient.copy()))
    for gradient, copy in handed_out:
        np.testing.assert_array_equal(gradient, copy)
    assert not np.array_equal(handed_out[0][0], handed_out[1][0])


def test_each_layer_counts_its_own_forwards() -> None:
    layer = nn.ReLU()
    x = images()
    with pytest.raises(ValueError, match=r"ReLU.backward without a forward before it"):
        layer.backward(x)
    layer.forward(x)
    layer.forward(x)
    with pytest.raises(ValueError, match=r"ReLU.backward after 2 forwards"):
        layer.backward(x)
    layer.forward(x, training=True)
    layer.backward(x)
    layer.forward(x)
    layer.backward(x)


def test_a_failed_forward_forgets_those_before_it() -> None:
    row = Sequential(nn.ReLU(), nn.ChannelShuffle(3), nn.Conv2d(6, 4, 1).astype(np.float64))
    row.forward(images())
    with pytest.raises(ValueError, match="groups=3 does not divide"):
        row.forward(images()[:, :4])
    for layer in (row, *row):
        assert layer.activation_pattern() == []
        with pytest.raises(ValueError, match="backward without a forward"):
            layer.backward(images())
    row.forward(images())
    assert row.backward(images()[:, :4]).shape == SHAPE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(6, 4, 3, groups=4), r"groups=4 does not divide in_channels=6"),
        (lambda: nn.Conv2d(6, 4, 3, groups=3), r"groups=3 does not divide out_channels=4"),
        (lambda: nn.Conv2d(0, 4, 3), r"in_channels=0 is not a whole number of at least 1"),
        (lambda: nn.Conv2d(6, 4, (3, 0)), r"kernel_size=\(3, 0\) is neither"),
        (lambda: nn.Linear(6, 0), r"out_features=0 is not a whole number"),
        (lambda: nn.BatchNorm2d(2.0), r"channels=2\.0 is not a whole number"),
        (lambda: nn.Dropout(1), r"rate=1 is not a number from 0 to below 1"),
        (lambda: nn.Dropout(-0.1), r"rate=-0\.1 is not"),
        (lambda: nn.ShuffleNetV1Unit(6, 6, groups=3, stride=3), r"stride=3 is not 1 or 2"),
        (
            lambda: nn.ShuffleNetV1Unit(6, 9, groups=3, stride=1),
            r"out_channels=9 is not in_channels=6, as the addition",
        ),
        (
            lambda: nn.ShuffleNetV1Unit(6, 6, groups=3, stride=2),
            r"out_channels=6 is not larger than in_channels=6",
        ),
        (lambda: nn.ShuffleNetV1Unit(7, 7, groups=3, stride=1), r"groups=3 does not divide"),
        (lambda: nn.ShuffleNetV2Unit(6, 8, stride=0), r"stride=0 is not 1 or 2"),
        (lambda: nn.ShuffleNetV2Unit(6, 7, stride=2), r"out_channels=7 is odd"),
        (
            lambda: nn.ShuffleNetV2Unit(8, 8, stride=2, branch1_channels=8),
            r"branch1_channels=8 is not from 1 to below out_channels=8",
        ),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_initialise_knows_the_stem_by_name() -> None:
    class Two(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = Sequential(nn.Conv2d(50, 50, 1))
            self.first_aid = nn.Conv2d(50, 50, 1)
            self.se = nn.SqueezeExcitation(60, reduction=1)

    model = Two()
    nn.initialise(model, np.random.default_rng(0), stem="first")
    stds = {name: value.std() for name, value in model.parameters().items() if value.ndim > 1}
    expected = {"first.0.weight": 0.01, "first_aid.weight": 0.02}
    expected |= {"se.reduce_weight": 0.01, "se.expand_weight": 0.01}
    assert stds == pytest.approx(expected, rel=0.08)  # 5 standard errors
    assert not model.parameters()["se.reduce_bias"].any()
