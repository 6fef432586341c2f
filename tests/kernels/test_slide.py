"""Windows of 3x3 that slide in vectors: results are those of ops, whatever lies in the border."""

import itertools

import numpy as np
import pytest
from machine_code import COMPILED
from strategies import as_tuple, cotangent_like

from numpy_shufflenet import backend
from numpy_shufflenet.kernels import _pool_windows, _slide
from numpy_shufflenet.kernels._gather import gather_of
from numpy_shufflenet.kernels._layout import as_rows
from numpy_shufflenet.kernels._slide import slide_of
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.ops.pooling import pool_windows

BATCHES = [1, 3, 8, 19, 32] if COMPILED else [1, 3, 9, 17]
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


@pytest.fixture
def masks(monkeypatch):
    """Choose kernels as for a processor that has masked loads and stores."""
    monkeypatch.setattr(_slide, "_HAS_MASKS", True)
    for remembered in (slide_of, gather_of):
        remembered.cache_clear()
    yield
    for remembered in (slide_of, gather_of):
        remembered.cache_clear()


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "depthwise_conv2d"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_results_are_those_of_ops(name, n, special):
    operation, rng = OPERATIONS[name], np.random.default_rng(0)
    for size, stride, padding in itertools.product(SIZES, STRIDES, PADDINGS):
        x = image(n, 3, *size, special=special)
        arrays, settings = (x,), {"stride": stride, "padding": padding, "kernel_size": 3}
        if name == "depthwise_conv2d":
            outputs = 6 if stride == 1 and padding == 1 else 3
            w, b = (rng.normal(size=s).astype(np.float32) for s in ((outputs, 1, 3, 3), outputs))
            if special:
                w[0, 0, 2, 0], w[1, 0, 0, 1] = np.inf, np.nan
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
        dy = cotangent_like(y, rng)
        if special and name == "depthwise_conv2d":
            dy[rng.random(dy.shape) > 0.99] = np.inf
        gradients = operation.backward("ops")(dy, cache)
        for a, b in zip(
            as_tuple(gradients),
            as_tuple(operation.backward("kernels")(dy, fast_cache)),
            strict=True,
        ):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-3, err_msg=message)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinity_in_planes_meets_nothing_that_ops_has_not(n, stride, dilation):
    operation, rng = OPERATIONS["depthwise_conv2d"], np.random.default_rng(1)
    x = image(n, 4, 7, 9, special=True).astype(np.float64)
    x[:, 2:] = rng.normal(size=x[:, 2:].shape)
    w = rng.normal(size=(4, 1, 3, 5))
    w[2, 0, 2, 0] = np.inf
    settings = {"stride": stride, "dilation": dilation, "padding": 2}
    y, cache = operation.forward("ops")(x, w, **settings)
    found, fast_cache = operation.forward("kernels")(x, w, **settings)
    np.testing.assert_allclose(found, y)
    dy = cotangent_like(y, rng)
    dy[:, :3, 1:, 2] = np.inf
    expected = operation.backward("ops")(dy, cache)
    gradients = operation.backward("kernels")(dy, fast_cache)
    assert np.isfinite(expected[0][:, 3]).all()
    for a, b in zip(gradients[:2], expected[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.usefixtures("masks")
def test_plain_kernels_run_as_python(n):
    x = image(n, 2, 5, 9, special=False)
    windows = pool_windows(x, 3, 2, 1)
    slide, gather = slide_of(windows, n, x.dtype), gather_of(windows, n, x.dtype)
    assert slide is not None
    operation, kernel = OPERATIONS["max_pool2d"], 3
    expected, cache = operation.forward("ops")(x, kernel, stride=2, padding=1)
    y, winner = np.empty((2, 3, 5, n), np.float32), np.empty((2, 3, 5, n), np.uint8)
    _pool_windows.largest_windows.py_func(
        as_rows(x).ravel(), slide, 0, 2, y.ravel(), winner.ravel()
    )
    np.testing.assert_array_equal(y.transpose(3, 0, 1, 2), expected)
    np.testing.assert_array_equal(winner.transpose(3, 0, 1, 2), cache.winner)

    dy = cotangent_like(expected, np.random.default_rng(0))
    dx = np.empty((2, 5, 9, n), np.float32)
    gradients = as_rows(backend.channel_major(dy)).ravel()
    _pool_windows.gather_from_winners.py_func(gradients, winner.ravel(), gather, 0, 2, dx.ravel())
    found = dx.transpose(3, 0, 1, 2)
    np.testing.assert_allclose(found, operation.backward("ops")(dy, cache), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.usefixtures("masks")
def test_plain_averages_run_as_python(n):
    x = image(n, 2, 5, 9, special=False)
    settings = {"stride": 2, "padding": ((0, 1), (2, 1)), "count_include_pad": False}
    expected, cache = OPERATIONS["avg_pool2d"].forward("ops")(x, 3, **settings)
    slide = slide_of(cache.windows, n, x.dtype)
    gather = gather_of(cache.windows, n, x.dtype)
    assert slide is not None
    rows, (oh, ow) = as_rows(x).ravel(), cache.windows.output
    weight = np.repeat(cache.share, n, axis=1).ravel()
    y, dx = np.empty((2, oh, ow, n), np.float32), np.empty((2, 5, 9, n), np.float32)
    _pool_windows.average_windows.py_func(rows, weight, slide, 0, 2, y.ravel())
    np.testing.assert_allclose(y.transpose(3, 0, 1, 2), expected, rtol=1e-5, atol=1e-6)

    dy = cotangent_like(expected, np.random.default_rng(0))
    dy[0, 0, 0, 0], dy[0, 1, 1, 2] = np.inf, np.nan
    gradients = as_rows(backend.channel_major(dy)).ravel()
    _pool_windows.gather_averages.py_func(gradients, weight, gather, 0, 2, dx.ravel())
    backward = OPERATIONS["avg_pool2d"].backward
    found = dx.transpose(3, 0, 1, 2)
    np.testing.assert_allclose(found, backward("ops")(dy, cache), rtol=1e-5, atol=1e-6)
    _, fast = OPERATIONS["avg_pool2d"].forward("kernels")(x, 3, **settings)
    np.testing.assert_allclose(backward("kernels")(dy, fast), found, rtol=1e-5, atol=1e-6)
