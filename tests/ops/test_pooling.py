"""Pools against loops over their windows, and against convolutions that do the same."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import as_pair, as_sides, cases, cotangent_like, images, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
equal = np.testing.assert_array_equal
rngs = seeds().map(np.random.default_rng)


def windows(x, kernel_size, stride=None, padding=0):
    """Yield each output's place, and the places of its window that lie inside of the image."""
    kernel = as_pair(kernel_size)
    steps = kernel if stride is None else as_pair(stride)
    axes = []
    for size, k, s, (before, after) in zip(
        x.shape[2:], kernel, steps, as_sides(padding), strict=True
    ):
        starts = range(-before, size + after - k + 1, s)
        axes.append([[r for r in range(start, start + k) if 0 <= r < size] for start in starts])
    for (p, rows), (q, columns) in product(enumerate(axes[0]), enumerate(axes[1])):
        yield (p, q), list(product(rows, columns))


@given(cases("max_pool2d", np.float64), rngs)
def test_max_pool_is_the_maximum_of_each_window(case, rng):
    """No padding is ever seen, whatever the sign of the values: half of these are negative."""
    (x,) = case.arrays
    y, cache = ops.max_pool2d_forward(x, **case.hyperparameters)
    dy = cotangent_like(y, rng)
    expected, dx = np.full_like(y, np.nan), np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        for (p, q), places in windows(x, **case.hyperparameters):
            winner = max(places, key=lambda place, image=x[n, c]: image[place])
            expected[n, c, p, q] = x[n, c][winner]
            dx[n, c][winner] += dy[n, c, p, q]
    equal(y, expected)
    close(ops.max_pool2d_backward(dy, cache), dx)


@given(cases("max_pool2d"))
def test_max_pool_of_negative_values_is_negative(case):
    """Zeros in the border would win."""
    (x,) = case.arrays
    y, _ = ops.max_pool2d_forward(-np.exp(x), **case.hyperparameters)
    assert (y < 0).all()
    assert np.isfinite(y).all()


@given(cases("max_pool2d", np.float64), rngs)
def test_max_pool_ties_go_to_the_first_in_row_major_order(case, rng):
    """Values 0 and 1 only: nearly every window has ties."""
    x = (case.arrays[0] > 0).astype(float)
    y, cache = ops.max_pool2d_forward(x, **case.hyperparameters)
    dy = cotangent_like(y, rng)
    dx = np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        for (p, q), places in windows(x, **case.hyperparameters):
            largest = max(x[n, c][place] for place in places)
            first = next(place for place in sorted(places) if x[n, c][place] == largest)
            dx[n, c][first] += dy[n, c, p, q]
    close(ops.max_pool2d_backward(dy, cache), dx)


def test_max_pool_of_equal_values_sends_the_gradient_to_the_first():
    y, cache = ops.max_pool2d_forward(np.full((1, 1, 4, 4), 7.0), 2)
    dx = ops.max_pool2d_backward(np.array([[[[1.0, 2], [3, 4]]]]), cache)
    equal(y, np.full((1, 1, 2, 2), 7.0))
    equal(dx[0, 0], [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]])


@given(cases("max_pool2d", np.float64), rngs)
def test_max_pool_loses_no_gradient(case, rng):
    """Even where -inf is all that a window holds: its border must not win."""
    x = np.where(case.arrays[0] > 0, -np.inf, case.arrays[0])
    y, cache = ops.max_pool2d_forward(x, **case.hyperparameters)
    dy = cotangent_like(y, rng)
    dx = ops.max_pool2d_backward(dy, cache)
    close(dx.sum(axis=(2, 3)), dy.sum(axis=(2, 3)))


@given(cases("max_pool2d"))
def test_nan_spreads_through_every_window_that_holds_it(case):
    """A network that breaks should say so."""
    x = case.arrays[0].copy()
    x[0, 0, x.shape[2] // 2, x.shape[3] // 2] = np.nan
    y, _ = ops.max_pool2d_forward(x, **case.hyperparameters)
    for (p, q), places in windows(x, **case.hyperparameters):
        holds = any(np.isnan(x[0, 0][place]) for place in places)
        assert np.isnan(y[0, 0, p, q]) == holds
    assert not np.isnan(y[1:]).any()


@given(cases("max_pool2d", np.float64))
def test_max_pool_commutes_with_what_keeps_the_order(case):
    (x,) = case.arrays
    y, _ = ops.max_pool2d_forward(x, **case.hyperparameters)
    close(ops.max_pool2d_forward(np.exp(x), **case.hyperparameters)[0], np.exp(y))


@given(cases("avg_pool2d", np.float64), rngs)
def test_avg_pool_is_the_mean_of_each_window(case, rng):
    (x,), hyperparameters = case.arrays, dict(case.hyperparameters)
    y, cache = ops.avg_pool2d_forward(x, **hyperparameters)
    include_pad = hyperparameters.pop("count_include_pad")
    dy = cotangent_like(y, rng)
    expected, dx = np.full_like(y, np.nan), np.zeros_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        for (p, q), places in windows(x, **hyperparameters):
            kernel = as_pair(hyperparameters["kernel_size"])
            count = kernel[0] * kernel[1] if include_pad else len(places)
            expected[n, c, p, q] = sum(x[n, c][place] for place in places) / count
            for place in places:
                dx[n, c][place] += dy[n, c, p, q] / count
    close(y, expected)
    close(ops.avg_pool2d_backward(dy, cache), dx)


@given(cases("avg_pool2d", np.float64), rngs)
def test_avg_pool_is_a_convolution_with_a_constant_kernel(case, rng):
    """If padding counts: then all windows are alike."""
    (x,), (kh, kw) = case.arrays, as_pair(case.hyperparameters["kernel_size"])
    stride, padding = case.hyperparameters["stride"], case.hyperparameters["padding"]
    stride = (kh, kw) if stride is None else stride
    kernel = np.full((x.shape[1], 1, kh, kw), 1 / (kh * kw))

    y, cache = ops.avg_pool2d_forward(x, (kh, kw), stride=stride, padding=padding)
    y_conv, cache_conv = ops.depthwise_conv2d_forward(x, kernel, stride=stride, padding=padding)
    close(y, y_conv)
    dy = cotangent_like(y, rng)
    close(ops.avg_pool2d_backward(dy, cache), ops.depthwise_conv2d_backward(dy, cache_conv)[0])


@given(cases("avg_pool2d", np.float64))
def test_avg_pool_of_a_constant_is_the_constant_if_padding_does_not_count(case):
    hyperparameters = {**case.hyperparameters, "count_include_pad": False}
    y, _ = ops.avg_pool2d_forward(np.full(case.arrays[0].shape, 3.0), **hyperparameters)
    close(y, np.full(y.shape, 3.0))


@given(images(np.float64), rngs)
def test_global_average_is_the_mean_and_an_average_pool_as_large_as_the_image(x, rng):
    y, cache = ops.global_avg_pool_forward(x)
    n, c, h, w = x.shape
    assert y.shape == (n, c)
    close(y, np.einsum("nchw->nc", x) / (h * w))
    y_pool, cache_pool = ops.avg_pool2d_forward(x, (h, w))
    close(y, y_pool[:, :, 0, 0])

    dy = cotangent_like(y, rng)
    dx = ops.global_avg_pool_backward(dy, cache)
    close(dx, ops.avg_pool2d_backward(dy[:, :, None, None], cache_pool))
    close(dx, np.broadcast_to(dy[:, :, None, None] / (h * w), x.shape))


@pytest.mark.parametrize("pool", [ops.max_pool2d_forward, ops.avg_pool2d_forward])
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), rngs)
def test_windows_tile_the_image_if_no_stride_is_given(pool, oh, ow, kh, kw, rng):
    x = rng.normal(size=(2, 3, oh * kh, ow * kw))
    tiles = x.reshape(2, 3, oh, kh, ow, kw)
    expected = tiles.max(axis=(3, 5)) if "max" in pool.__name__ else tiles.mean(axis=(3, 5))
    close(pool(x, (kh, kw))[0], expected)
