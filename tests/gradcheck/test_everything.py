"""Every operation on every implementation, every unit, both networks whole, in both modes."""

import numpy as np
import pytest

from numpy_shufflenet import nn
from numpy_shufflenet.commands.check import UNITS
from numpy_shufflenet.gradcheck import check_layer, check_model, check_operation
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2
from numpy_shufflenet.operations import OPERATIONS

MODES = pytest.mark.parametrize("training", [True, False])


@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        (name, implementation)
        for name, operation in OPERATIONS.items()
        for implementation in operation.implementations
    ],
)
def test_every_operation_on_every_implementation(name, implementation):
    for seed in range(3):
        verdict = check_operation(name, implementation=implementation, example=seed, seed=seed)
        verdict.raise_if_failed()
        names = [report.name.partition("[")[0] for report in verdict.arrays]
        expected = {n.lstrip("*") for n in OPERATIONS[name].differentiable}
        assert set(names) == expected


def settled(layer, x):
    """Running statistics that fit the images: else little gradient is left in evaluation."""
    for _ in range(30):
        layer.forward(x.astype(np.float32), training=True)
        layer.release()
    return layer


@MODES
@pytest.mark.parametrize("name", UNITS)
def test_every_unit(name, training):
    channels, make = UNITS[name]
    unit, rng = make(), np.random.default_rng(0)
    nn.initialise(unit, rng)
    x = rng.normal(size=(2, channels, 6, 5))
    verdict = check_layer(settled(unit, x), x, training=training)
    verdict.raise_if_failed()
    assert {report.name for report in verdict.arrays} == {"x", *unit.parameters()}


@MODES
@pytest.mark.parametrize(
    "make",
    [
        lambda: shufflenet_v1(groups=3, scale=0.25, num_classes=4, stem="small", seed=0),
        lambda: shufflenet_v2(scale=0.5, num_classes=4, stem="small", seed=0),
    ],
    ids=["V1", "V2"],
)
def test_both_networks_whole(make, training):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(2, 3, 8, 9)), rng.integers(0, 4, 2)
    model = settled(make(), x) if not training else make()
    verdict = check_model(model, x, labels, training=training, entries=1, include_input=True)
    verdict.raise_if_failed()
    assert len(verdict.rows) == len(model.parameters()) + 1
