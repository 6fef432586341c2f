"""All implementations compute the same, entry by entry, forward and backward.

Adding up m numbers in two orders gives results that differ by at most about m eps sum |terms|, in
either dtype. Each array's bound is this of its largest entry, times a small number.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import as_tuple, cases, cotangent_like, hyperparameters, images, run, seeds

from numpy_shufflenet import kernels, ops, steps
from numpy_shufflenet.operations import OPERATIONS, Example
from numpy_shufflenet.steps import Output

# Measured over 1000 cases each, the largest ratio to m eps sum |terms| is 1.3, but for sigmoids:
# `ops` computes it by tanh, whose error is relative to 1 and not to a small y.
FACTOR = {"sigmoid": 20.0, "swish": 20.0, "squeeze_excitation": 200.0}
names = pytest.mark.parametrize("name", OPERATIONS)


@names
@given(st.data(), seeds())
def test_forward_and_backward_agree(name, data, seed):
    operation = OPERATIONS[name]
    case = data.draw(cases(name))
    y, cache = run(operation, case)
    slow_y, slow_cache = run(operation, case, "steps")
    assert_agree(name, y, slow_y, forward_steps(name, case))

    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = operation.backward()(dy, cache)
    slow_gradients = operation.backward("steps")(dy, slow_cache)
    # p - 1 is as wrong as p, however small it is: an error of eps, times what the row weighs.
    least = abs(dy) / len(case.arrays[0]) if name == "softmax_cross_entropy" else 0.0
    assert_agree(name, gradients, slow_gradients, backward_steps(name, dy, case), least)

    if operation.kernel:
        compiled_y, cache = run(operation, case, "kernels")
        assert_agree(name, compiled_y, slow_y, forward_steps(name, case))
        gradients = operation.backward("kernels")(dy, cache)
        assert_agree(name, gradients, slow_gradients, backward_steps(name, dy, case))


@given(images(max_channels=2), st.integers(1, 3), st.integers(1, 2), seeds())
def test_ties_go_to_the_same_pixel(x, kernel_size, stride, seed):
    tied = np.round(x).astype(x.dtype)
    case = Example(
        (tied[:, :, :4, :4].repeat(2, axis=2).repeat(2, axis=3),),
        {"kernel_size": kernel_size, "stride": stride, "padding": kernel_size // 2},
    )
    y, cache = run(OPERATIONS["max_pool2d"], case)
    slow_y, slow_cache = run(OPERATIONS["max_pool2d"], case, "steps")
    np.testing.assert_array_equal(slow_y, y)
    dy = np.random.default_rng(seed).integers(-8, 8, y.shape).astype(y.dtype)  # sums are exact
    dx = steps.max_pool2d_backward(dy, slow_cache)
    np.testing.assert_array_equal(dx, ops.max_pool2d_backward(dy, cache))
    compiled_y, cache = run(OPERATIONS["max_pool2d"], case, "kernels")
    np.testing.assert_array_equal(compiled_y, y)
    np.testing.assert_array_equal(dx, kernels.max_pool2d_backward(dy, cache))


@pytest.mark.parametrize("name", ["relu", "max_pool2d"])
def test_nan_spreads_to_the_same_places(name):
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 4))
    x[0, 0, 1, 1] = x[0, 0, 1, 2] = x[0, 1, 4, 3] = np.nan
    hyper = {"kernel_size": 2, "stride": 1, "padding": 1} if name == "max_pool2d" else {}
    case = Example((x,), hyper)
    y, cache = run(OPERATIONS[name], case)
    slow_y, slow_cache = run(OPERATIONS[name], case, "steps")
    assert np.isnan(y).any()
    np.testing.assert_array_equal(slow_y, y)
    dy = np.arange(y.size, dtype=float).reshape(y.shape)
    dx = OPERATIONS[name].backward("steps")(dy, slow_cache)
    np.testing.assert_array_equal(dx, OPERATIONS[name].backward()(dy, cache))
    compiled_y, cache = run(OPERATIONS[name], case, "kernels")
    np.testing.assert_array_equal(compiled_y, y)
    np.testing.assert_array_equal(dx, OPERATIONS[name].backward("kernels")(dy, cache))


def test_a_batch_of_one_value_is_normalised_to_beta_in_all_implementations():
    x, gamma, beta = np.full((1, 2, 1, 1), 7.0), np.ones(2), np.array([1.0, -2.0])
    for implementation in (ops, steps, kernels):
        y, cache = implementation.batch_norm_forward(x, gamma, beta)
        np.testing.assert_array_equal(y.ravel(), beta)
        dx, dgamma, dbeta = implementation.batch_norm_backward(np.ones_like(x), cache)
        np.testing.assert_array_equal(dx, 0)
        np.testing.assert_array_equal(dgamma, 0)
        np.testing.assert_array_equal(dbeta, 1)


def forward_steps(name, case):
    return getattr(steps, f"{name}_forward_steps")(*case.arrays, **hyperparameters(case))


def backward_steps(name, dy, case):
    return getattr(steps, f"{name}_backward_steps")(dy, *case.arrays, **hyperparameters(case))


def assert_agree(name, fast, slow, generator, least=0.0):
    """Both results alike in structure, shape and dtype, and equal to rounding.

    An error of eps in a term of size `least` counts as rounding in any case.
    """
    assert isinstance(fast, tuple) == isinstance(slow, tuple)
    for a, b, (output, terms) in zip(
        as_tuple(fast), as_tuple(slow), terms_of_outputs(generator).items(), strict=True
    ):
        if a is None or b is None:
            assert a is None, output
            assert b is None, output
            continue
        assert a.shape == b.shape, output
        assert a.dtype == b.dtype, output
        longest = max((len(entry) for entry in terms), default=0)
        largest = max((np.abs(entry).sum() for entry in terms), default=0)
        largest = max(largest, least)
        bound = FACTOR.get(name, 2.0) * longest * np.finfo(a.dtype).eps * largest
        np.testing.assert_allclose(a, b, rtol=0, atol=bound, err_msg=f"{name}: {output}")


def terms_of_outputs(generator):
    """The terms of every entry, by output."""
    terms = {}
    for item in generator:
        if isinstance(item, Output):
            terms[item.name] = []
        else:
            terms[item.output].append(np.array(item.terms, dtype=float))
    return terms
