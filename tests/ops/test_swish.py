"""Swish and leaky ReLU, where PyTorch isn't needed to know the answer."""

import numpy as np
import pytest
from hypothesis import given
from strategies import cases

from numpy_shufflenet import kernels, ops
from numpy_shufflenet.nn import LeakyReLU


@given(cases("swish", np.float64))
def test_swish_of_x_and_of_minus_x_differ_by_x(case):
    (x,) = case.arrays
    np.testing.assert_allclose(ops.swish_forward(x)[0] - ops.swish_forward(-x)[0], x, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_swish_of_huge_numbers_does_not_overflow(dtype):
    y, cache = ops.swish_forward(np.array([-1e4, -1e3, 0, 1e3, 1e4], dtype))
    np.testing.assert_array_equal(y, [0, 0, 0, 1e3, 1e4])
    np.testing.assert_array_equal(ops.swish_backward(np.ones(5, dtype), cache), [0, 0, 0.5, 1, 1])


def test_the_minimum_of_swish():
    y, cache = ops.swish_forward(np.array([-1.2784645427610738]))
    assert y == pytest.approx(-0.2784645427610738, abs=1e-15)
    assert ops.swish_backward(np.ones(1), cache) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("module", [ops, kernels])
@pytest.mark.parametrize("slope", [-0.1, np.nan, np.inf, "0.1", True, None])
def test_leaky_relu_needs_a_slope_of_at_least_0(module, slope):
    """With a negative one, y would not tell the sign of x."""
    if module is kernels:
        pytest.importorskip("numba")
    with pytest.raises(ValueError, match=r"slope=.* is not a number of at least 0"):
        module.leaky_relu_forward(np.ones(3), slope=slope)
    with pytest.raises(ValueError, match=r"slope=.* is not a number of at least 0"):
        LeakyReLU(slope)


@given(cases("leaky_relu"))
def test_leaky_relu_of_slope_1_changes_nothing_and_of_slope_0_is_relu(case):
    (x,) = case.arrays
    np.testing.assert_array_equal(ops.leaky_relu_forward(x, slope=1)[0], x)
    np.testing.assert_array_equal(ops.leaky_relu_forward(x, slope=0)[0], ops.relu_forward(x)[0])
