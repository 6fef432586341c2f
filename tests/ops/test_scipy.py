"""Convolutions, pools and interpolation against SciPy, one channel at a time."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal
from strategies import cases, images

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
@given(cases("conv2d", np.float64))
def test_a_convolution_is_a_sum_of_correlations(mode, case):
    """SciPy's modes are three ways to pad."""
    x, w, _ = case.arrays
    w = np.repeat(w, x.shape[1] // w.shape[1], axis=1)  # as without groups
    x = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))  # no smaller than any kernel
    kh, kw = w.shape[2:]
    padding = {
        "valid": 0,
        "same": (((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2)),
        "full": (kh - 1, kw - 1),
    }[mode]
    y, cache = ops.conv2d_forward(x, w, padding=padding)
    for n, o in np.ndindex(y.shape[:2]):
        expected = sum(
            signal.correlate2d(image, kernel, mode)
            for image, kernel in zip(x[n], w[o], strict=True)
        )
        close(y[n, o], expected)

    # Backward: the gradient of the image is the transposed map, a true (flipped) convolution.
    if mode == "valid":
        dx, _, _ = ops.conv2d_backward(y, cache)
        for n, c in np.ndindex(x.shape[:2]):
            expected = sum(signal.convolve2d(y[n, o], w[o, c], "full") for o in range(len(w)))
            close(dx[n, c], expected)


@given(images(np.float64), st.sampled_from((1, 3, 5)), st.integers(1, 3))
def test_pools_are_filters_at_every_stride_th_pixel(x, size, stride):
    kept = (..., slice(None, None, stride), slice(None, None, stride))
    window, padding = (1, 1, size, size), size // 2
    largest = ndimage.maximum_filter(x, window, mode="constant", cval=-np.inf)
    mean = ndimage.uniform_filter(x, window, mode="constant", cval=0.0)
    close(ops.max_pool2d_forward(x, size, stride=stride, padding=padding)[0], largest[kept])
    close(ops.avg_pool2d_forward(x, size, stride=stride, padding=padding)[0], mean[kept])


@given(cases("upsample_bilinear", np.float64))
def test_bilinear_is_interpolation_at_the_places_of_the_convention(case):
    (x,) = case.arrays
    y, _ = ops.upsample_bilinear_forward(x, **case.hyperparameters)
    places = []
    for size, new in zip(x.shape[2:], y.shape[2:], strict=True):
        if case.hyperparameters["align_corners"]:
            places.append(np.linspace(0, size - 1, new))
        else:
            places.append((np.arange(new) + 0.5) * size / new - 0.5)
    grid = np.meshgrid(*places, indexing="ij")
    for n, c in np.ndindex(x.shape[:2]):
        close(y[n, c], ndimage.map_coordinates(x[n, c], grid, order=1, mode="nearest"))
