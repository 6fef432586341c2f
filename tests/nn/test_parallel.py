"""Layers side by side, added up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import randomised
from strategies import images, seeds

from numpy_shufflenet import gradcheck
from numpy_shufflenet.nn import Conv2d, Layer, ReLU, Sequential, Sum


def branches(channels: int, convolutions: int, shortcut: bool) -> list[Layer]:
    own = [Sequential(Conv2d(channels, channels, 1), ReLU()) for _ in range(convolutions)]
    return [*own, *([Sequential()] if shortcut else [])]


@given(images(np.float64), st.integers(1, 3), st.booleans(), seeds())
def test_it_adds_what_its_branches_return(x, convolutions, shortcut, seed):
    layer = randomised(Sum(*branches(x.shape[1], convolutions, shortcut)), seed)
    parts = [branch.forward(x) for branch in layer.children().values()]
    layer.release()
    np.testing.assert_allclose(layer.forward(x), sum(parts[1:], parts[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("convolutions", "shortcut"), [(1, True), (3, False), (2, True)])
def test_its_gradient(convolutions, shortcut):
    layer = randomised(Sum(*branches(3, convolutions, shortcut)))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    verdict = gradcheck.check_layer(layer, x)
    assert verdict.status == "pass", str(verdict)


def test_additions_are_those_of_the_forward_and_the_backward():
    layer = Sum(Conv2d(3, 5, 1), Conv2d(3, 5, 1), Conv2d(3, 5, 1))
    assert layer.own_additions((2, 3, 4, 5), (2, 5, 4, 5)) == (2 * 200, 2 * 120)


def test_bad_branches_are_refused():
    with pytest.raises(ValueError, match="a Sum of no branches"):
        Sum()
    layer = Sum(Conv2d(3, 4, 1), Sequential())
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 5\), but the first \(2, 4, 4, 5\)"):
        layer.forward(np.zeros((2, 3, 4, 5), np.float32))
