"""Every sum is as exact as pairwise summation, in every implementation and layout."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAYOUTS, arrange, seeds

from numpy_shufflenet import kernels, ops
from numpy_shufflenet.bench.rounding import BOUND, error, reductions
from numpy_shufflenet.course.site import build
from numpy_shufflenet.ops._sums import mean_over, product, sum_over

CASES = [(r, which) for r in reductions() for which in r.implementations]
IDS = [f"{r.name} in {which}" for r, which in CASES]
PAGE = Path(build.__file__).with_name("numbers.md").read_text("utf-8")


@pytest.mark.parametrize(("reduction", "implementation"), CASES, ids=IDS)
def test_a_sum_is_as_exact_as_pairwise_summation(reduction, implementation):
    for m in (300, 3000):
        assert error(reduction, implementation, m) < BOUND


def test_the_page_has_a_row_for_each():
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in PAGE.partition("## Sums")[2].splitlines()
        if "`ops`" in line or "`kernels`" in line or "`plan`" in line
    ]
    rows = [row for row in rows if len(row) > 2]
    assert [row[:2] for row in rows] == [[r.name, which] for r, which in CASES]
    for row, (reduction, _) in zip(rows, CASES, strict=True):
        found = [float(cell) for cell in row[2:] if cell]
        assert len(found) == len(str(reduction.most)) - 2
        assert max(found) * 1e-7 < BOUND


@given(st.sampled_from(LAYOUTS), st.sampled_from([np.float32, np.float64]), seeds())
def test_sums_and_means_are_those_of_numpy(layout, dtype, seed):
    rng = np.random.default_rng(seed)
    x = arrange(rng.normal(size=rng.integers(0, 5, size=4)).astype(dtype), layout)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    for axes in ((0,), (1, 3), (0, 2, 3), (0, 1, 2, 3)):
        found = sum_over(x, axes)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, x.sum(axis=axes), rtol=0, atol=20 * tolerance)
        if all(x.shape[axis] for axis in axes):
            np.testing.assert_allclose(
                mean_over(x, axes), x.mean(axis=axes), rtol=0, atol=tolerance
            )


@given(st.integers(0, 3000), seeds())
def test_a_product_is_that_of_numpy(terms, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 3, terms)), rng.normal(size=(2, terms, 4))
    np.testing.assert_allclose(product(a, b), a @ b, rtol=0, atol=1e-11)
    complex_a = a + 1j * a
    np.testing.assert_allclose(product(complex_a, b + 0j), complex_a @ b, rtol=0, atol=1e-11)
    small = product(a.astype(np.float32), b.astype(np.float32))
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, a @ b, rtol=0, atol=1e-3)


@pytest.mark.parametrize("implementation", [ops, kernels], ids=["ops", "kernels"])
@pytest.mark.parametrize("layout", ["row-major", "channels last", "channel-major"])
def test_batch_norm_of_a_large_mean_is_as_exact_in_every_layout(implementation, layout):
    """Mean 1000, standard deviation 0.3: what is left is the rounding of the mean, 3e-5 / 0.3."""
    rng = np.random.default_rng(0)
    x = rng.normal(1000, 0.3, size=(8, 2, 112, 112)).astype(np.float32)
    dy = rng.normal(size=x.shape).astype(np.float32)
    one, wide = np.ones(2, np.float32), x.astype(np.float64)
    exact_y, cache = ops.batch_norm_forward(wide, one.astype(float), 0.0 * one.astype(float))
    exact_dx, _, _ = ops.batch_norm_backward(dy.astype(np.float64), cache)
    order = {"channels last": (0, 2, 3, 1), "channel-major": (1, 2, 3, 0)}.get(layout, (0, 1, 2, 3))
    back = np.argsort(order)
    x, dy = (np.ascontiguousarray(a.transpose(order)).transpose(back) for a in (x, dy))
    y, cache = implementation.batch_norm_forward(x, one, 0 * one)
    dx, _, _ = implementation.batch_norm_backward(dy, cache)
    np.testing.assert_allclose(y, exact_y, rtol=0, atol=2e-4)
    np.testing.assert_allclose(dx, exact_dx, rtol=0, atol=2e-4)


def test_products_of_very_many_channels_have_blocks_too():
    x, w = np.ones((1, 300_000, 2, 2), np.float32), np.ones((1, 300_000, 1, 1), np.float32)
    for implementation in (ops, kernels):
        y, cache = implementation.pointwise_conv2d_forward(x, w)
        np.testing.assert_array_equal(y, 300_000)
        dx, dw, _ = implementation.pointwise_conv2d_backward(y, cache)
        np.testing.assert_array_equal(dx, 300_000)
        np.testing.assert_array_equal(dw, 4 * 300_000)
