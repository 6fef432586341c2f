"""The mean of rows by vectors, whatever their length, and whatever lies beside them."""

import numpy as np
import pytest

from numpy_shufflenet import kernels
from numpy_shufflenet.kernels.pooling import average_rows


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (1, 17), (7, 7), (9, 16)])
def test_the_mean_of_one_image_sees_its_channel_only(size):
    x = np.random.default_rng(0).normal(size=(1, 4, *size)).astype(np.float32)
    x[0, 1, -1, -1] = np.nan
    x[0, 3, 0, 0] = np.inf
    y, _ = kernels.global_avg_pool_forward(x)
    expected = x.astype(np.float64).mean(axis=(2, 3))
    assert y.shape == (1, 4)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
    plain = np.empty(4, np.float32)
    average_rows.py_func(x.ravel(), size[0] * size[1], plain)
    np.testing.assert_allclose(plain, expected[0], rtol=0, atol=1e-6)
