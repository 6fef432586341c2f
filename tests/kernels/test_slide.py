"""Windows of 3x3 that slide in vectors: results are those of ops, whatever lies in the border."""

import itertools

import numpy as np
import pytest
from strategies import as_tuple, cotangent_like

from numpy_shufflenet import backend
from numpy_shufflenet.kernels import pooling
from numpy_shufflenet.kernels._slide import slide_of
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.ops.pooling import average_share, pool_windows

SIZES = [(1, 1), (7, 7), (4, 37), (9, 16)]
STRIDES = [1, 2, (1, 2), (3, 1)]
PADDINGS = [1, 2, ((0, 1), (2, 1)), ((1, 0), (0, 2))]


def image(n, c, h, w, *, special):
    rng = np.random.default_rng(n + h + w)
    x = rng.normal(size=(n, c, h, w)).astype(np.float32)
    if special:  # many equal ones, infinities, NaN, and a channel of -inf
        x = np.round(x)
        chance = rng.random(x.shape)
        x[chance < 0.2], x[chance > 0.95], x[chance > 0.98] = -np.inf, np.inf, np.nan
        x[:, 0] = -np.inf
    return backend.channel_major(x)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("n", [1, 3, 8, 19, 32])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "depthwise_conv2d"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_results_are_those_of_ops(name, n, special):
    operation, rng = OPERATIONS[name], np.random.default_rng(0)
    for size, stride, padding in itertools.product(SIZES, STRIDES, PADDINGS):
        x = image(n, 3, *size, special=special)
        arrays, settings = (x,), {"stride": stride, "padding": padding, "kernel_size": 3}
        if name == "depthwise_conv2d":
            w, b = (rng.normal(size=s).astype(np.float32) for s in ((6, 1, 3, 3), 6))
            arrays, settings = (x, w, b), {"stride": stride, "padding": padding}
        elif name == "avg_pool2d":
            settings["count_include_pad"] = stride != 1
        try:
            y, cache = operation.forward("ops")(*arrays, **settings)
        except ValueError:
            continue  # an image of one pixel, with little padding
        found, fast_cache = operation.forward("kernels")(*arrays, **settings)
        message = f"{size} {settings}"
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5, err_msg=message)
        if name == "max_pool2d":
            np.testing.assert_array_equal(fast_cache.winner, cache.winner, err_msg=message)
        if special and name == "depthwise_conv2d":
            continue  # sums of gradients in any order
        dy = cotangent_like(y, rng)
        gradients = operation.backward("ops")(dy, cache)
        for a, b in zip(
            as_tuple(gradients),
            as_tuple(operation.backward("kernels")(dy, fast_cache)),
            strict=True,
        ):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-3, err_msg=message)


def test_a_plain_kernel_runs_as_python():
    x = image(1, 2, 5, 9, special=False)
    windows = pool_windows(x, 3, 2, 1)
    weight, y = average_share(windows, True, x.dtype).ravel(), np.empty((2, 3, 5), np.float32)
    slide = slide_of(windows, 1, x.dtype)
    if slide is None:
        pytest.skip("this processor has no masks")
    pooling.average_windows(x.ravel(), weight, slide, 0, 2, y.ravel())
    expected, _ = OPERATIONS["avg_pool2d"].forward("ops")(x, 3, stride=2, padding=1)
    np.testing.assert_allclose(y[None], expected, rtol=1e-5, atol=1e-6)
