"""Layers side by side, and the sum of what they return."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import randomised
from strategies import images, seeds

from numpy_shufflenet import cost, gradcheck
from numpy_shufflenet.cost.kinds import ADDITION
from numpy_shufflenet.nn import Add, Conv2d, Layer, Parallel, ReLU, Sequential


def branches(channels: int, convolutions: int, shortcut: bool) -> list[Layer]:
    own = [Sequential(Conv2d(channels, channels, 1), ReLU()) for _ in range(convolutions)]
    return [*own, *([Sequential()] if shortcut else [])]


@given(images(np.float64), st.integers(1, 3), st.booleans(), seeds())
def test_branches_see_the_same_and_their_outputs_are_added(x, convolutions, shortcut, seed):
    layer = randomised(Parallel(*branches(x.shape[1], convolutions, shortcut)), seed)
    parts = [branch.forward(x) for branch in layer.children().values()]
    layer.release()
    found = layer.forward(x)
    assert len(found) == len(parts)
    for part, expected in zip(found, parts, strict=True):
        np.testing.assert_array_equal(part, expected)
    if len(parts) > 1:
        total = Add().forward(found)
        np.testing.assert_allclose(total, sum(parts[1:], parts[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("convolutions", "shortcut"), [(1, True), (3, False), (2, True)])
def test_the_gradient_of_a_sum(convolutions, shortcut, relu):
    """The ReLU after it runs as one operation with the last addition."""
    parallel = Parallel(*branches(3, convolutions, shortcut))
    layer = randomised(Sequential(parallel, Add(), *([ReLU()] if relu else [])))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    verdict = gradcheck.check_layer(layer, x)
    assert verdict.status == "pass", str(verdict)


def test_additions_are_those_of_the_forward_and_the_backward():
    parallel = Parallel(Conv2d(3, 5, 1), Conv2d(3, 5, 1), Conv2d(3, 5, 1))
    x, parts, y = (2, 3, 4, 5), (2, 15, 4, 5), (2, 5, 4, 5)
    assert parallel.own_additions(x, parts) == (0, 2 * 120)
    assert Add().own_additions(parts, y) == (200, 0)  # besides the operation itself
    network = cost.count(Sequential(parallel, Add()), x[1:], batch=2)
    forward, backward = (
        sum(
            getattr(layer.cost, way).additions for layer in network.layers if layer.kind == ADDITION
        )
        for way in ("forward", "backward")
    )
    assert (forward, backward) == (2 * 200, 2 * 120)


def test_bad_branches_are_refused():
    with pytest.raises(ValueError, match="there are no branches; at least one is needed"):
        Parallel()
    layer = Sequential(Parallel(Conv2d(3, 4, 1), Sequential()), Add())
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 5\), but x1 has \(2, 4, 4, 5\)"):
        layer.forward(np.zeros((2, 3, 4, 5), np.float32))
    with pytest.raises(ValueError, match="x holds 1 arrays; at least two are needed"):
        Add().forward((np.zeros((2, 3, 4, 5), np.float32),))
