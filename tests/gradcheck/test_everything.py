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
@pytest.mark.parametrize("make", [shufflenet_v1, shufflenet_v2])
def test_whole_networks_pass_and_are_not_touched(make, training):
    """With the usual loss in training mode, and with one's own in evaluation mode."""
    rng = np.random.default_rng(0)
    if make is shufflenet_v1:
        variant = {"scale": 0.25, "groups": 3 if training else 2}
    else:
        variant = {"scale": 0.5, "in_channels": 3 if training else 1}
    model = make(num_classes=4, stem="small", seed=0, **variant)
    x = rng.normal(size=(2, model.in_channels, 8, 9))
    labels, weights = rng.integers(0, 4, 2), rng.normal(size=(2, 4))

    def loss(logits):
        return float((weights * logits**2).sum()), 2 * weights * logits

    target = {"labels": labels} if training else {"loss": loss}
    if not training:
        settled(model, x)
    before, x_before, seen = model.state_dict(), x.copy(), []
    verdict = check_model(
        model, x, **target, training=training, entries=1, include_input=True, on_tensor=seen.append
    )
    verdict.raise_if_failed()
    assert [row.name for row in verdict.rows] == [*model.parameters(), "x"]
    assert seen == verdict.rows
    assert all(row.status == "pass" and row.difference <= row.allowed for row in verdict.rows)
    assert all(row.entries - row.kinks >= 1 for row in verdict.rows)
    assert "conv1.0.weight" in str(verdict)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    np.testing.assert_array_equal(x, x_before)
