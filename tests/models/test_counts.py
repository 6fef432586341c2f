"""Multiply-adds and parameters against the papers' tables and torchvision."""

import itertools
from typing import Any

import numpy as np
import pytest

from numpy_shufflenet.models import (
    Summary,
    build,
    se_shufflenet_v2_164,
    shufflenet_v1,
    shufflenet_v2,
    shufflenet_v2_50,
    summary,
)
from numpy_shufflenet.nn import Conv2d, Layer, Linear, OperationLayer, SqueezeExcitation

M = 1e6


def of_224_pixels(model: Layer) -> Summary:
    return summary(model, (3, 224, 224))


def without_classifier(table: Summary) -> int:
    return table.multiply_adds - sum(row.multiply_adds for row in table.rows if row.name == "fc")


def same_rounded(value: float, printed: str) -> bool:
    """Whether a number rounds to what is printed, with as many digits."""
    digits = len(printed.partition(".")[2])
    return abs(value - float(printed)) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize(
    ("groups", "printed"), [(1, "143"), (2, "140"), (3, "137"), (4, "133"), (8, "137")]
)
def test_v1_table_1(groups: int, printed: str) -> None:
    """Which leaves the classifier out."""
    table = of_224_pixels(shufflenet_v1(groups=groups))
    assert same_rounded(without_classifier(table) / M, printed)


@pytest.mark.parametrize(
    ("groups", "scale", "printed"),
    [
        (3, 0.25, "13"),
        (3, 0.5, "38"),
        (3, 1.5, "292"),
        (3, 2.0, "524"),
        (8, 0.5, "40"),
        (8, 1.0, "138"),
        (8, 1.5, "290"),
        (8, 2.0, "522"),
    ],
)
def test_v1_scaled(groups: int, scale: float, printed: str) -> None:
    """V1's tables 2 and 5 and the authors' code, all with the classifier."""
    table = of_224_pixels(shufflenet_v1(groups=groups, scale=scale, classifier_bias=False))
    assert same_rounded(table.multiply_adds / M, printed)


@pytest.mark.parametrize(
    ("groups", "scale", "parameters"),
    [
        (3, 0.5, "0.7"),
        (3, 1.0, "1.9"),
        (3, 1.5, "3.4"),
        (3, 2.0, "5.4"),
        (8, 0.5, "1.0"),
        (8, 1.0, "2.4"),
        (8, 1.5, "4.3"),
        (8, 2.0, "6.5"),
    ],
)
def test_v1_parameters_of_the_authors_code(groups: int, scale: float, parameters: str) -> None:
    table = of_224_pixels(shufflenet_v1(groups=groups, scale=scale, classifier_bias=False))
    assert same_rounded(table.parameters / M, parameters)


@pytest.mark.parametrize(
    ("groups", "scale", "widths"),
    [
        (1, 1.0, (24, 144, 288, 576)),
        (2, 1.0, (24, 200, 400, 800)),
        (3, 1.0, (24, 240, 480, 960)),
        (4, 1.0, (24, 272, 544, 1088)),
        (8, 1.0, (24, 384, 768, 1536)),
        (3, 0.25, (12, 60, 120, 240)),
        (3, 0.5, (12, 120, 240, 480)),
        (3, 1.5, (24, 360, 720, 1440)),
        (3, 2.0, (48, 480, 960, 1920)),
        (8, 0.25, (16, 96, 192, 384)),
        (8, 0.5, (16, 192, 384, 768)),
    ],
)
def test_v1_widths(groups: int, scale: float, widths: tuple[int, ...]) -> None:
    """V1's table 1; the stems of scaled networks as in the authors' code."""
    model = shufflenet_v1(groups=groups, scale=scale)
    trace = model.trace(np.zeros((0, 3, 64, 64), np.float32))
    found = [trace.activations[name].shape[1] for name in ("conv1", "stage2", "stage3", "stage4")]
    assert tuple(found) == widths
    assert [len(getattr(model, f"stage{stage}")) for stage in (2, 3, 4)] == [4, 8, 4]


def test_every_v1_can_be_built_and_run() -> None:
    for groups, scale in itertools.product((1, 2, 3, 4, 8), (0.25, 0.5, 1.0, 1.5, 2.0)):
        model = shufflenet_v1(groups=groups, scale=scale, num_classes=2)
        assert model.forward(np.zeros((0, 3, 32, 32), np.float32)).shape == (0, 2)


@pytest.mark.parametrize(
    ("scale", "multiply_adds", "weights"),
    [(0.5, 41, "1.4"), (1.0, 146, "2.3"), (1.5, 299, "3.5"), (2.0, 591, "7.4")],
)
def test_v2_table_5(scale: float, multiply_adds: int, weights: str) -> None:
    table = of_224_pixels(shufflenet_v2(scale=scale))
    assert abs(table.multiply_adds / M - multiply_adds) < 1.0
    assert same_rounded(table.parameters / M, weights)


@pytest.mark.parametrize(
    ("scale", "multiply_adds"), [(0.5, "40.48"), (1.0, "145.8"), (1.5, "299.0"), (2.0, "590.8")]
)
def test_v2_in_the_papers_layout_counts_exactly(scale: float, multiply_adds: str) -> None:
    table = of_224_pixels(shufflenet_v2(scale=scale, layout="paper"))
    assert same_rounded(table.multiply_adds / M, multiply_adds)


@pytest.mark.parametrize(
    ("scale", "parameters", "multiply_adds"),
    [
        (0.5, 1_366_792, "40"),
        (1.0, 2_278_604, "145"),
        (1.5, 3_503_624, "296"),
        (2.0, 7_393_996, "583"),
    ],
)
def test_v2_in_torchvisions_layout(scale: float, parameters: int, multiply_adds: str) -> None:
    table = of_224_pixels(shufflenet_v2(scale=scale, layout="torchvision"))
    assert table.parameters == parameters
    assert same_rounded(table.multiply_adds / M, multiply_adds)


def test_v2_layouts_differ_in_one_unit() -> None:
    paper = shufflenet_v2(layout="paper").parameters()
    torchvision = shufflenet_v2(layout="torchvision").parameters()
    assert list(paper) == list(torchvision)
    differ = {name for name in paper if paper[name].shape != torchvision[name].shape}
    assert {name.rsplit(".", 3)[0] for name in differ} == {"stage2.0"}


def test_v2_50() -> None:
    table = of_224_pixels(shufflenet_v2_50())
    assert same_rounded(table.multiply_adds / 1e9, "2.3")


def test_se_v2_164() -> None:
    table = of_224_pixels(se_shufflenet_v2_164())
    assert same_rounded(table.multiply_adds / 1e9, "12.7")


def test_squeeze_and_excitation() -> None:
    """V1's table 5 and V2's table 8."""
    assert same_rounded(of_224_pixels(shufflenet_v1(scale=2.0, se=True)).multiply_adds / M, "527")
    assert same_rounded(of_224_pixels(shufflenet_v2(scale=2.0, se=True)).multiply_adds / M, "597")


EVERYTHING = {"se": True, "residual": True, "extra_depthwise": True, "dropout": 0.2}
CONFIGS: list[dict[str, Any]] = [
    {"name": "shufflenet_v1", "scale": 0.5, "groups": 3, "se": True, "dropout": 0.1},
    {"name": "shufflenet_v1", "scale": 0.25, "groups": 8, "stem": "small", "in_channels": 2},
    {"name": "shufflenet_v2", "scale": 0.5, "num_classes": 4, **EVERYTHING},
    {"name": "shufflenet_v2", "scale": 0.5, "stem": "small", "in_channels": 1},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_shapes_are_those_of_a_real_forward(config: dict[str, Any]) -> None:
    model = build(config)
    image = (model.in_channels, 37, 45)
    table = summary(model, image)
    trace = model.trace(np.zeros((1, *image), np.float32))
    layers = dict(model.named_layers())
    assert [row.name for row in table.rows] == [
        name for name in layers if isinstance(layers[name], OperationLayer)
    ]
    for row in table.rows:
        y = trace.activations[row.name]
        if isinstance(y, tuple):  # a split: the pieces together
            y = np.concatenate(y, axis=1)
        assert (1, *row.output_shape) == y.shape, row.name
    assert table.parameters == sum(value.size for value in model.parameters().values())


def counted(layer: Layer, x: np.ndarray, y: np.ndarray) -> int:
    """Multiply-adds of one layer, one by one over the outputs and their taps."""
    count = 0
    if isinstance(layer, Conv2d):
        _, channels, kh, kw = layer.weight.value.shape
        for _ in np.ndindex(y.shape):
            for _ in np.ndindex(channels, kh, kw):
                count += 1
    elif isinstance(layer, Linear):
        for _ in np.ndindex(*y.shape, x.shape[1]):
            count += 1
    elif isinstance(layer, SqueezeExcitation):
        reduced, channels = layer.reduce_weight.value.shape
        for _ in range(reduced):  # each reads all channels
            count += channels
        for _ in range(channels):  # each reads all reduced ones
            count += reduced
    return count


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_multiply_adds_are_those_of_a_loop(config: dict[str, Any]) -> None:
    model = build({**config, "num_classes": 3})
    image = (model.in_channels, 5, 6)
    trace = model.trace(np.zeros((1, *image), np.float32))
    layers = dict(model.named_layers())
    for row in summary(model, image).rows:
        x, y = trace.inputs[row.name], trace.activations[row.name]
        assert row.multiply_adds == counted(layers[row.name], x, y), row.name


def test_a_network_prints_its_table() -> None:
    text = str(shufflenet_v2(scale=0.5, layout="torchvision"))
    assert text.startswith("shufflenet_v2(scale=0.5, ")
    assert "input 3 x 224 x 224" in text
    assert text.splitlines()[-1].split() == ["total", "1,366,792", "40,476,448"]
    row = next(line for line in text.splitlines() if line.startswith("stage2.0.branch1.0 "))
    assert "Conv2d(depthwise 3x3, 24, stride=2)" in row
    assert row.endswith("24 x 28 x 28           216        169,344")


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(0, 4, 32, 32\); \(n, 3, h, w\) is needed"):
        summary(shufflenet_v2(scale=0.5), (4, 32, 32))
