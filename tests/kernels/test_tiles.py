"""Products in tiles of registers are those of NumPy, whatever the sizes; so are plain functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet import backend, ops
from numpy_shufflenet.kernels import _tiles, _vectors, pointwise_conv2d_backward
from numpy_shufflenet.kernels import pointwise_conv2d_forward as forward
from numpy_shufflenet.kernels._tiles import (
    aligned,
    multiply_tiles,
    multiply_transposed,
    packed,
    suits,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SIZES = st.tuples(st.integers(6, 40), st.integers(6, 40), st.integers(32, 1200))


@given(SIZES, st.integers(0, 20))
def test_a_product_in_tiles(sizes, place):
    o, c, columns = sizes
    a, x = normal(o, c), normal(c, columns + place)
    starts = np.arange(c) * (columns + place)
    y = np.full((o, columns + 2 * place), np.nan, np.float32)
    multiply_tiles(packed(a[None])[0], x.ravel(), starts, place, columns, y, 2 * place)
    expected = a.astype(np.float64) @ x[:, place:]
    np.testing.assert_allclose(y[:, 2 * place :], expected, rtol=0, atol=1e-4)
    assert np.isnan(y[:, : 2 * place]).all()


@given(SIZES, st.integers(0, 20))
def test_a_product_with_rows_transposed(sizes, place):
    o, c, columns = sizes
    g, x = normal(o, columns + 2 * place), normal(c, columns + place, seed=1)
    starts = np.arange(c) * (columns + place)
    product = np.empty((o, c), np.float32)
    multiply_transposed(g, 2 * place, x.ravel(), starts, place, columns, product)
    expected = g[:, 2 * place :].astype(np.float64) @ x[:, place:].T
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-3)


def test_infinity_and_nan_stay_in_their_columns_and_sums():
    a, x = normal(7, 6), normal(6, 45)
    x[2, 5], x[3, 44] = np.nan, np.inf
    y = np.empty((7, 45), np.float32)
    multiply_tiles(packed(a[None])[0], x.ravel(), np.arange(6) * 45, 0, 45, y, 0)
    with np.errstate(invalid="ignore"):  # some processors' BLAS says so, others' doesn't
        expected = a @ x
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    product = np.empty((7, 6), np.float32)
    multiply_transposed(normal(7, 45), 0, x.ravel(), np.arange(6) * 45, 0, 45, product)
    assert np.isnan(product[:, 2]).all()
    assert np.isinf(product[:, 3]).all()
    assert np.isfinite(product[:, [0, 1, 4, 5]]).all()


def test_plain_functions_do_the_same():
    a, x, g = normal(8, 6), normal(6, 70), normal(8, 70)
    tiles, starts = packed(a[None])[0], np.arange(6) * 70
    y, product = np.empty((8, 70), np.float32), np.empty((8, 6), np.float32)
    multiply_tiles.py_func(tiles, x.ravel(), starts, 0, 70, y, 0)
    multiply_transposed.py_func(g, 0, x.ravel(), starts, 0, 70, product)
    np.testing.assert_allclose(y, a @ x, rtol=0, atol=1e-5)
    np.testing.assert_allclose(product, g @ x.T, rtol=0, atol=1e-4)
    v = np.arange(16, dtype=np.float32)
    assert _vectors.sum_lanes(v) == 120
    np.testing.assert_array_equal(_vectors.keep_last(v, 2), [0] * 14 + [14, 15])


@given(st.integers(256, 100_000))
def test_blocks_start_where_vectors_do_and_cover_all_columns(columns):
    ends = aligned(columns)
    assert ends[0] == 0
    assert ends[-1] == columns
    assert (ends[:-1] % 16 == 0).all()
    assert (np.diff(ends) >= 256).all()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("registers", [True, False])
def test_without_registers_blas_gives_the_same(monkeypatch, groups, registers):
    monkeypatch.setattr(_tiles, "_HAS_REGISTERS", registers)
    assert suits(np.dtype(np.float32), 20, 12, 900) == registers
    x, w = backend.channel_major(normal(3, 24, 17, 19)), normal(40, 24 // groups, 1, 1)
    y, cache = forward(x, w, groups=groups)
    expected, ops_cache = ops.pointwise_conv2d_forward(x, w, groups=groups)
    dy = normal(*y.shape)
    found = (y, *pointwise_conv2d_backward(dy, cache)[:2])
    all_expected = (expected, *ops.pointwise_conv2d_backward(dy, ops_cache)[:2])
    for got, want in zip(found, all_expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    ("dtype", "a", "b", "columns"),
    [(np.float64, 20, 20, 900), (np.float32, 5, 20, 900), (np.float32, 300, 300, 900)],
)
def test_blas_does_what_does_not_suit(dtype, a, b, columns):
    assert not suits(np.dtype(dtype), a, b, columns)
