"""Products in place are those of NumPy, whatever the sizes, and write where they are told only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._direct import (
    multiply_pieces,
    multiply_rows,
    multiply_six,
    suits_directly,
)
from numpy_shufflenet.kernels.pointwise_conv2d import mix_six

multiply_rows_alone, multiply_pieces_alone = compiled(multiply_rows), compiled(multiply_pieces)
mix_six_alone = compiled(mix_six)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.integers(6, 20), st.integers(1, 30), st.integers(16, 120), st.integers(0, 9))
def test_rows_of_a_product(rows, depth, columns, place):
    a, x = normal(rows, depth), normal(depth, columns + place)
    y = np.full((rows + 1, columns + 2 * place), np.nan, np.float32)
    starts = np.arange(depth) * (columns + place)
    where = (x.ravel(), starts, place, columns, y, 2 * place)
    multiply_rows_alone(a.ravel(), 0, depth, 1, rows, *where)
    expected = a.astype(np.float64) @ x[:, place:]
    np.testing.assert_allclose(y[:rows, 2 * place :], expected, rtol=0, atol=1e-4)
    assert np.isnan(y[:, : 2 * place]).all()
    assert np.isnan(y[rows]).all()


@pytest.mark.parametrize("columns", [16, 20, 24, 49, 70])
def test_six_rows_as_plain_python(columns):
    a, x = normal(8, 5), normal(5, columns)
    results = []
    for multiply in (multiply_six.py_func, multiply_six):
        y = np.zeros((7, columns), np.float32)
        multiply(a.ravel(), 5, 5, 1, x.ravel(), np.arange(5) * columns, 0, columns, y, 1, 0)
        results.append(y)
    np.testing.assert_allclose(*results, rtol=0, atol=1e-5)
    np.testing.assert_allclose(results[1][1:], a[1:7] @ x, rtol=0, atol=1e-5)
    assert not results[1][0].any()


@given(
    st.integers(1, 4), st.integers(6, 20), st.integers(1, 20), st.integers(16, 60), st.booleans()
)
def test_products_of_groups(groups, rows, depth, columns, transposed):
    a, x = normal(groups, rows, depth), normal(groups, depth, columns)
    expected = (a.astype(np.float64) @ x).reshape(groups * rows, columns)
    given = a.transpose(0, 2, 1) if transposed else a
    y = np.full((groups * rows, columns), np.nan, np.float32)
    starts = np.arange(depth) * columns
    for tile in range(groups * -(-rows // 6)):
        where = (groups, tile, x.ravel(), starts, depth * columns)
        mix_six_alone(np.ravel(given), transposed, *where, y)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)


@given(st.integers(6, 14), st.integers(4, 14), st.integers(1, 40), st.integers(1, 4))
def test_a_sum_over_pieces(rows, depth, columns, pieces):
    g, x = normal(rows, 3 + pieces * columns), normal(depth, pieces, columns + 5, seed=1)
    starts = np.arange(depth) * pieces * (columns + 5)
    begins = np.arange(pieces) * (columns + 5) + 2
    product = np.empty((rows, depth), np.float32)
    multiply_pieces_alone(g, 3, x.ravel(), starts, begins, columns, product)
    seen = x[:, :, 2 : 2 + columns].reshape(depth, pieces * columns)
    np.testing.assert_allclose(product, g[:, 3:].astype(np.float64) @ seen.T, rtol=0, atol=1e-4)


def test_infinity_and_nan_stay_in_their_columns():
    a, x = normal(7, 6), normal(6, 75)
    x[2, 5], x[3, 74] = np.nan, np.inf
    y = np.empty((7, 75), np.float32)
    where = (x.ravel(), np.arange(6) * 75, 0, 75, y, 0)
    multiply_rows_alone(a.ravel(), 0, 6, 1, 7, *where)
    with np.errstate(invalid="ignore"):  # some processors' BLAS says so, others' doesn't
        expected = a @ x
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


def test_what_suits():
    assert not suits_directly(np.dtype(np.float64), 32, 32, 49)
    assert not suits_directly(np.dtype(np.float32), 32, 32, 15)
    assert not suits_directly(np.dtype(np.float32), 32, 32, 49, below=49)
