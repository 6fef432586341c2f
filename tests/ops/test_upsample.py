"""Up-sampling: what it must undo, keep and reproduce."""

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import as_pair, cases, cotangent_like, images, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
equal = np.testing.assert_array_equal
rngs = seeds().map(np.random.default_rng)
scales = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(cases("upsample_nearest", np.float64))
def test_average_pooling_undoes_nearest(case):
    (x,), scale = case.arrays, case.hyperparameters["scale"]
    y, _ = ops.upsample_nearest_forward(x, scale)
    close(ops.avg_pool2d_forward(y, scale)[0], x)
    equal(ops.max_pool2d_forward(y, scale)[0], x)


@given(cases("upsample_nearest", np.float64), rngs)
def test_nearest_makes_blocks_and_backward_sums_them(case, rng):
    (x,), (sh, sw) = case.arrays, as_pair(case.hyperparameters["scale"])
    y, cache = ops.upsample_nearest_forward(x, (sh, sw))
    equal(y, np.kron(x, np.ones((sh, sw))))

    dy = cotangent_like(y, rng)
    dx = ops.upsample_nearest_backward(dy, cache)
    close(dx, sh * sw * ops.avg_pool2d_forward(dy, (sh, sw))[0])


def interpolate(x, scale, align_corners):
    """The definition, pixel by pixel: a weighted mean of the four neighbours."""
    h, w = x.shape[2:]
    y = np.empty((*x.shape[:2], h * scale[0], w * scale[1]))
    for p, q in np.ndindex(y.shape[2:]):
        corners = []
        for o, size, s in ((p, h, scale[0]), (q, w, scale[1])):
            if align_corners:
                place = o * (size - 1) / (size * s - 1) if size * s > 1 else 0.0
            else:
                place = min(max((o + 0.5) / s - 0.5, 0), size - 1)
            low = min(int(place), size - 1)
            corners.append(((low, 1 - (place - low)), (min(low + 1, size - 1), place - low)))
        y[:, :, p, q] = sum(a * b * x[:, :, r, s] for r, a in corners[0] for s, b in corners[1])
    return y


@given(cases("upsample_bilinear", np.float64), rngs)
def test_bilinear_is_a_weighted_mean_of_four_neighbours(case, rng):
    (x,), scale = case.arrays, as_pair(case.hyperparameters["scale"])
    align_corners = case.hyperparameters["align_corners"]
    y, cache = ops.upsample_bilinear_forward(x, scale, align_corners=align_corners)
    close(y, interpolate(x, scale, align_corners))

    # The map is linear, so its columns are what it makes of single pixels.
    h, w = x.shape[2:]
    pixels = np.eye(h * w).reshape(h * w, 1, h, w)
    columns = interpolate(pixels, scale, align_corners).reshape(h, w, *y.shape[2:])
    dy = cotangent_like(y, rng)
    dx = ops.upsample_bilinear_backward(dy, cache)
    close(dx, np.einsum("ncpq,hwpq->nchw", dy, columns))


def test_the_two_conventions_on_two_pixels():
    """0 and 1, three times as wide: squares keep their borders, points their corners."""
    x = np.array([0.0, 1]).reshape(1, 1, 1, 2)
    squares, _ = ops.upsample_bilinear_forward(x, (1, 3))
    close(squares[0, 0, 0], [0, 0, 1 / 3, 2 / 3, 1, 1])
    points, _ = ops.upsample_bilinear_forward(x, (1, 3), align_corners=True)
    close(points[0, 0, 0], [0, 0.2, 0.4, 0.6, 0.8, 1])


@given(st.integers(1, 5), st.integers(1, 5), scales, st.booleans())
def test_bilinear_keeps_a_constant(h, w, scale, align_corners):
    y, _ = ops.upsample_bilinear_forward(
        np.full((1, 2, h, w), 5.0), scale, align_corners=align_corners
    )
    close(y, np.full(y.shape, 5.0))


@given(images(np.float64), st.booleans())
def test_scale_1_changes_nothing(x, align_corners):
    close(ops.upsample_bilinear_forward(x, 1, align_corners=align_corners)[0], x)
    equal(ops.upsample_nearest_forward(x, 1)[0], x)


@given(images(np.float64), scales, st.booleans())
def test_bilinear_has_no_preferred_side(x, scale, align_corners):
    """Flipping before is flipping after."""
    up = partial(ops.upsample_bilinear_forward, scale=scale, align_corners=align_corners)
    close(up(x[:, :, ::-1, ::-1])[0], up(x)[0][:, :, ::-1, ::-1])


@given(st.integers(2, 5), scales)
def test_bilinear_with_aligned_corners_keeps_a_ramp(size, scale):
    ramp = np.linspace(0, 1, size) + np.linspace(0, 3, size)[:, None]
    y, _ = ops.upsample_bilinear_forward(ramp[None, None], scale, align_corners=True)
    wide, high = np.linspace(0, 1, size * scale[1]), np.linspace(0, 3, size * scale[0])
    close(y[0, 0], wide + high[:, None])
