"""Vectors: what each function becomes in compiled code does what its Python says."""

import numba
import numpy as np
import pytest

from numpy_shufflenet.kernels import _vectors as v

W = v.WIDTH
rng = np.random.default_rng(0)


def with_specials(*shape):
    x = rng.normal(size=shape).astype(np.float32)
    flat = x.reshape(-1)
    flat[:: flat.size // 5] = (
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        *[1.0] * (len(flat[:: flat.size // 5]) - 5),
    )
    return x


def load(x, y, i):
    v.store(y, 3, v.load(x, i))


def load_even(x, y, i):
    v.store(y, 3, v.load_even(x, i))


def at(x, y, i):
    y[i] = v.at(x, i) + v.at(x, i + 1)


def fill(x, y, i):
    v.store(y, i, v.fill(x[i]))


def fma(x, y, i):
    v.store(y, 0, v.fma(v.load(x, i), v.load(x, i + 1), v.load(x, 0)))
    v.store(y, W, v.fma(x[i], v.load(x, i + 1), v.load(x, 0)))


def add(x, y, i):
    v.store(y, 0, v.add(v.load(x, i), v.load(x, 0)))


def scale(x, y, i):
    v.store(y, 0, v.scale(x[i], v.load(x, 0)))


def maximum(x, y, i):
    v.store(y, 0, v.maximum(v.load(x, i), v.load(x, 0)))
    v.store(y, W, v.maximum(v.load(x, 0), v.load(x, i)))


def halves(x, y, i):
    a, b = v.load_half(x, i), v.fill_half(x[i])
    v.store(y, 1, v.relu(v.fma(x[0], v.add(a, b), v.maximum(a, b))))


def load_inside(x, y, i):
    v.store(y, 0, v.load_inside(x, i, i - 7, 9, -1.5))
    v.store(y, W, v.load_inside(x, i - 3, -3, 40, 0.0))


def every_second(x, y, i):
    a, b = v.load(x, i), v.load(x, i + W)
    v.store(y, 0, v.evens(a, b))
    v.store(y, W, v.later(v.odds(a, b)))
    v.store(y, 2 * W, v.add(v.zip_first(a, b), v.zip_last(b, a)))


def load_kept(x, y, i):
    v.store(y, 0, v.load_kept(x, i, 0b1100101 << i % 7, -np.inf))
    v.store(y, W, v.load_kept(x, i, 0xFF0A, 1.5))


def store_first(x, y, i):
    v.store_first(y, 2, v.load(x, i), min(i, W))
    v.store_inside(y, W, v.load(x, i), i - 9, 6)
    v.store(y, 2 * W, v.keep_first(v.load(x, i), i))


def choices(x, y, i):
    a, b = v.load(x, i), v.load(x, 0)
    v.store(y, 0, v.larger(a, b))
    v.store(y, W, v.larger(b, a))
    v.store(y, 2 * W, v.choose_equal(a, v.load(x, W), b, v.scale(a, b)))


def keep_positive(x, y, i):
    v.store(y, i, v.keep_positive(v.load(x, 2 * W), v.load(x, i)))


def in_order(x, y, i):
    for count in range(W + 1):
        y[count] = 1.0 if v.in_order(v.load(x, i), v.load(x, 0), count) else 0.0


def relu(x, y, i):
    v.store(y, 0, v.relu(v.load(x, i)))


@pytest.mark.parametrize(
    "function",
    [
        *(load, load_even, load_inside, load_kept, every_second, store_first, at, fill, fma),
        *(add, scale, maximum, choices, keep_positive, in_order, halves, relu),
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("x", [rng.normal(size=5 * W).astype(np.float32), with_specials(5 * W)])
@pytest.mark.parametrize("i", [0, 5, W])
def test_compiled_functions_do_what_they_say(function, x, i):
    expected, found = (np.full(3 * W, 7, np.float32) for _ in range(2))
    with np.errstate(invalid="ignore"):
        function(x, expected, i)
    numba.njit(function)(x, found, i)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 7, W])
def test_a_total_reads_no_more_than_its_count(count):
    x = rng.normal(size=W).astype(np.float32)
    x[count:] = np.nan

    def total(x, count):
        return v.sum_first(v.load(x, 0), count)

    assert numba.njit(total)(x, count) == pytest.approx(total(x, count), rel=1e-6, abs=1e-6)


def test_numbers_outside_are_not_read_and_bytes_are_written():
    x, y = np.arange(20, dtype=np.float32), np.full(20, 9, np.uint8)

    def copy(x, y):
        v.store_first(y, 1, v.load_inside(x, 3, 0, 4, 5.0), 6)

    numba.njit(copy)(x, y)
    assert y.tolist() == [9, 3, 4, 5, 6, 5, 5, *[9] * 13]
    numba.njit(copy)(y, x)
    assert x[:8].tolist() == [0, 5, 6, 5, 5, 5, 5, 7]
