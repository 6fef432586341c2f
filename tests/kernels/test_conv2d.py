"""Convolution strip by strip: every way to do it, and what a strip holds."""

import numpy as np
import pytest
from machine_code import COMPILED

from numpy_shufflenet import backend, kernels, ops
from numpy_shufflenet.kernels import _conv2d_columns, _conv2d_taps, _conv2d_tiles, _tiles, conv2d
from numpy_shufflenet.kernels._planes import Planes
from numpy_shufflenet.kernels._strips import strips_of, write_strip
from numpy_shufflenet.ops.windows import windows_over


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


HEIGHT = 41 if COMPILED else 9
WIDTHS = [(1, 97), (1, 128), (2, 71)] if COMPILED else [(1, 67), (2, 35)]  # n, width
GEOMETRIES = [
    {"stride": 2, "padding": 1},
    {"stride": 2, "padding": ((0, 2), (2, 1))},
    {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
    {"stride": 1, "padding": 1},
]


@pytest.mark.parametrize("registers", [True, False])
@pytest.mark.parametrize(("groups", "channels"), [(1, 3), (2, 10)])
def test_every_way_gives_what_ops_gives(groups, channels, registers, monkeypatch):
    monkeypatch.setattr(_tiles, "_HAS_REGISTERS", registers)
    monkeypatch.setattr(conv2d, "PARTS", 3)  # of several strips each
    forward = {_conv2d_tiles.convolve} if registers else set()
    if not registers:
        forward = {_conv2d_taps.convolve if groups == 1 else _conv2d_columns.convolve}
    seen = set()
    w, b = normal(24, channels // groups, 3, 3), normal(24)
    for n, width in WIDTHS:
        x = backend.channel_major(normal(n, channels, HEIGHT, width))
        for geometry in GEOMETRIES:
            y, cache = ops.conv2d_relu_forward(x, w, b, groups=groups, **geometry)
            fast_y, fast_cache = kernels.conv2d_relu_forward(x, w, b, groups=groups, **geometry)
            dy = normal(*y.shape, seed=1) * (np.abs(y) > 1e-4)  # no pixel at the kink
            expected, got = (
                (y, *ops.conv2d_relu_backward(dy, cache)),
                (fast_y, *kernels.conv2d_relu_backward(dy, fast_cache)),
            )
            for a, e in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, e, rtol=0, atol=1e-5 * np.abs(e).max())
            seen.add(conv2d._ways_forward(w, cache_windows(x, geometry), groups, n)[0])
    assert seen == forward


def cache_windows(x, geometry):
    return windows_over(x, (3, 3), **geometry)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(("n", "width"), [(1, 97), (1, 64), (1, 5), (3, 20)])
def test_runs_of_a_strip_are_what_its_outputs_see(n, width, geometry, dtype):
    x = normal(n, 2, 13, width, dtype=dtype)
    windows = windows_over(x, (3, 3), **geometry)
    strips = strips_of(windows, n, 2, 3)
    planes, rows = Planes(*strips.planes), np.ascontiguousarray(x.transpose(1, 2, 3, 0))
    (top, bottom), (left, right) = windows.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    strip = np.zeros((2, planes.size), dtype)
    oh, ow = windows.output
    seen = []
    for p in range(0, oh, strips.rows):
        count = min(strips.rows, oh - p)
        write_strip(rows.reshape(2, 13, width * n), strips, p, count, strip)
        for k in range(count):
            starts = strips.starts + k * planes.pitch
            runs = np.stack([strip.ravel()[s : s + planes.stream] for s in starts])
            seen.append(runs.reshape(2, 3, 3, ow, n))
    assert len(seen) == oh == strips.outputs
    for p, i, j in np.ndindex(oh, 3, 3):
        (sh, sw), (dh, dw) = windows.stride, windows.dilation
        row = padded[:, :, p * sh + i * dh, j * dw :: sw][:, :, :ow]  # n c ow
        np.testing.assert_array_equal(seen[p][:, i, j], row.transpose(1, 2, 0))


def test_gradients_do_not_keep_planes():
    """What is kept for backward is the image itself."""
    x = backend.channel_major(normal(2, 3, 40, 40))
    _, cache = kernels.conv2d_forward(x, normal(24, 3, 3, 3), stride=2, padding=1)
    assert np.shares_memory(cache.x, x)
