"""The cost of networks: sums of formulas over the shapes that really flow."""

import math
from typing import Any

import numpy as np
import pytest

from numpy_shufflenet import backend, cost, models, nn
from numpy_shufflenet.cost import counting
from numpy_shufflenet.models import build

CONFIGS: list[dict[str, Any]] = [
    {"name": "shufflenet_v1", "scale": 0.25, "groups": 3},
    {"name": "shufflenet_v1", "scale": 0.25, "groups": 8, "se": True, "stem": "small"},
    {"name": "shufflenet_v2", "scale": 0.5, "se": True, "residual": True, "dropout": 0.1},
    {"name": "shufflenet_v2", "scale": 0.5, "activation": "leaky_relu"},
    {"name": "shufflenet_v2", "scale": 0.5, "activation": "swish", "stem": "small"},
    {"name": "mobilenet_v1", "scale": 0.25},
    {"name": "resnet_50", "stem": "small"},
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=str)


def tiny_network() -> nn.Sequential:
    """Every kind of layer, small enough to be run number by number."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=True),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.ShuffleNetV2Unit(4, 4, stride=1, residual=True),
        nn.ShuffleNetV2Unit(4, 4, stride=1, activation="leaky_relu"),
        nn.ShuffleNetV2Unit(4, 4, stride=1, activation="swish"),
        nn.ShuffleNetV1Unit(4, 8, groups=2, stride=2, se=True),
        nn.Parallel(nn.Conv2d(8, 8, 1, groups=2), nn.Sequential()),
        nn.Add(),
        nn.GlobalAvgPool(),
        nn.Linear(8, 3),
    )


@pytest.mark.parametrize("training", [False, True])
def test_every_layer_costs_what_a_counting_run_of_it_counts(training):
    model = tiny_network()
    image, batch = (2, 9, 11), 2
    x = np.random.default_rng(0).normal(size=(batch, *image)).astype(np.float32)
    trace = model.trace(x)
    layers = dict(model.named_layers())
    found = cost.count(model, image, batch=batch, training=training)
    compared = 0
    for row in found.layers:
        layer = layers[row.name]
        if not isinstance(layer, nn.OperationLayer):
            continue  # what a unit adds itself
        arrays = trace.inputs[row.name]
        arrays = list(arrays) if isinstance(arrays, tuple) else [arrays]
        operation = layer.operation
        if isinstance(layer, nn.BatchNorm2d):
            arrays += [layer.weight.value, layer.bias.value]
            if training:
                operation = "batch_norm"
            else:
                arrays += [layer.running_mean.value, layer.running_var.value]
        else:
            arrays += list(layer.operands().values())
        forward, backward = counting.count_operation(operation, *arrays, **layer.hyperparameters)
        assert row.cost.forward == forward, row.name
        assert row.cost.backward == backward, row.name
        compared += 1
    assert compared == sum(isinstance(layer, nn.OperationLayer) for layer in layers.values())


def test_additions_of_units_are_counted():
    found = cost.count(tiny_network(), (2, 9, 11), batch=2)
    additions = {row.name: row.cost for row in found.layers if row.kind == "addition"}
    half = 2 * 2 * 3 * 3  # n, c/2, h, w
    assert additions["4.add"].forward.additions == half
    assert additions["4.add"].forward.read == 2 * half
    assert additions["4"].forward.additions == 0
    assert additions["4"].backward.additions == half
    assert additions["7"].forward.additions == 0  # concatenation instead
    assert additions["7"].backward.additions == 2 * half
    assert additions["9"].forward.additions == 2 * 8 * 2 * 2
    assert additions["8"].forward.additions == 0


@configs
@pytest.mark.parametrize("training", [False, True])
def test_bytes_are_those_that_a_real_run_keeps(config, training):
    model = build({**config, "num_classes": 3})
    image = (model.in_channels, 33, 41)
    x = np.random.default_rng(0).normal(size=(2, *image)).astype(np.float32)
    with backend.use("numpy"):
        model.trace(x, training=training)  # layer by layer
    own = [*model.parameters().values()]
    own += [stored.value for _, stored in model._named(nn.Buffer)]
    kept = {}
    for _, layer in model.named_layers():
        if isinstance(layer, nn.OperationLayer) and layer._call is not None:
            for array in arrays_within(layer._call.cache):
                base = array
                while isinstance(base.base, np.ndarray):
                    base = base.base
                if not any(np.shares_memory(base, other) for other in own):
                    kept[id(base)] = base
    expected = sum(base.nbytes for base in kept.values())
    assert cost.count(model, image, batch=2, training=training).kept_bytes == expected


def arrays_within(cache: Any) -> Any:
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, tuple):
        for part in cache:
            yield from arrays_within(part)


@configs
def test_parameters_and_multiply_adds_are_those_of_the_summary(config):
    model = build({**config, "num_classes": 3})
    image = (model.in_channels, 37, 45)
    found, table = cost.count(model, image), models.summary(model, image)
    assert found.parameters == table.parameters
    assert found.forward.multiply_adds == table.multiply_adds


@configs
def test_three_images_cost_three_times_as_much_but_weights_are_read_once(config):
    model = build({**config, "num_classes": 3})
    image = (model.in_channels, 32, 32)
    one, three = (cost.count(model, image, batch=batch) for batch in (1, 3))
    assert three.forward.multiply_adds == 3 * one.forward.multiply_adds
    assert three.forward.written == 3 * one.forward.written
    buffers = sum(stored.value.size for _, stored in model._named(nn.Buffer)) - sum(
        isinstance(layer, nn.BatchNorm2d) for _, layer in model.named_layers()
    )
    weights = one.parameters + buffers
    assert three.forward.read - weights == 3 * (one.forward.read - weights)


def test_conventions():
    found = cost.count(models.shufflenet_v2(scale=0.5), (3, 224, 224))
    flops = found.conventions()
    assert list(flops) == list(cost.CONVENTIONS)
    assert flops["papers"] == 40_476_448
    assert flops["papers, no classifier"] == 40_476_448 - 1_024_000
    assert flops["two a multiply-add"] == 2 * 40_476_448
    assert flops["all arithmetic"] > flops["two a multiply-add"]
    assert found.backward.multiply_adds == 2 * found.forward.multiply_adds


def test_kinds_add_up():
    found = cost.count(models.shufflenet_v1(), (3, 224, 224), training=True)
    kinds = found.by_kind()
    assert sum(counts.arithmetic for counts in kinds.values()) == found.forward.arithmetic
    assert kinds["shuffle"].arithmetic == 0
    assert kinds["shuffle"].read == kinds["shuffle"].written > 0
    assert set(kinds) <= set(cost.ORDER)


def test_a_layer_of_an_unknown_kind_is_named():
    class Doubled(nn.Layer):
        def _forward(self, x, training):
            return 2 * x

    with pytest.raises(ValueError, match="layer '1' is a Doubled, which is neither an operation"):
        cost.count(nn.Sequential(nn.Conv2d(3, 4, 1), Doubled()), (3, 8, 8))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="batch=0 is not a whole number of at least 1"):
        cost.count(models.shufflenet_v2(), (3, 224, 224), batch=0)
    with pytest.raises(ValueError, match=r"x has shape \(0, 4, 9, 9\); \(n, 3, h, w\) is needed"):
        cost.count(models.shufflenet_v2(), (4, 9, 9))
    with pytest.raises(ValueError, match="Sequential has no layer that computes anything"):
        cost.count(nn.Sequential(), (3, 9, 9))


def test_a_float64_network_keeps_twice_the_bytes():
    single = models.mobilenet_v1(scale=0.25)
    double = single.astype(np.float64)
    found = [cost.count(model, (3, 32, 32)).kept_bytes for model in (single, double)]
    assert math.isclose(found[1], 2 * found[0])
