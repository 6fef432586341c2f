"""Side checks: what they catch, what they leave alone, and how to leave them out."""

import numpy as np
import pytest

from numpy_shufflenet import ops
from numpy_shufflenet.gradcheck import Settings, check, check_pair

X = np.random.default_rng(0).normal(size=(4, 3))


def square(x):
    return x * x


def square_vjp(dy, x):
    return 2 * x * dy


def pairs(forward):
    return lambda x: (forward(x), x)


def square_backward(dy, x):
    return 2 * x * dy


def test_right_ones_pass_all_of_them():
    assert check(square, square_vjp, X).notes == []
    check_pair(pairs(square), square_backward, X).raise_if_failed()


# dtype


def test_a_gradient_that_is_promoted_from_float32():
    verdict = check(square, lambda dy, x: 2 * x * dy * np.float64(1), X)
    assert verdict.status == "fail"
    assert verdict.reason == "the gradient of x has dtype float64 where x has float32"


def test_an_operation_keeps_the_dtype():
    verdict = check_pair(pairs(lambda x: x * x * np.float64(1)), square_backward, X)
    assert verdict.reason == "f gives float64 for float32 arrays"
    narrow = check_pair(pairs(lambda x: (x * x).astype(np.float32)), square_backward, X)
    assert narrow.status == "fail"


def test_any_function_may_bring_float64_constants():
    """A weight that f closes over is float64, and so is y: no mistake in f."""
    w = np.random.default_rng(1).normal(size=(3, 2))
    verdict = check(lambda x: x @ w, lambda dy, x: dy @ w.T, X)
    assert verdict.passed
    assert verdict.notes == ["f gives float64 for float32 arrays"]


# float32


def test_another_result_in_float32():
    def forward(x):
        return x * x + (1e-2 if x.dtype == np.float32 else 0)

    verdict = check_pair(pairs(forward), square_backward, X)
    assert verdict.reason == "float32 gives another y than float64"

    def backward(dy, x):
        return 2 * x * dy * (x.dtype.type(1.01) if x.dtype == np.float32 else 1)

    verdict = check_pair(pairs(square), backward, X)
    assert verdict.reason == "float32 gives another gradient of x than float64"
    assert check_pair(pairs(square), backward, X, settings=Settings(skip=["float32"])).passed


@pytest.mark.parametrize("seed", range(20))
def test_what_amplifies_the_last_digit_is_not_blamed(seed):
    """Near 1e6, float32 has steps of 1/16: the noise that is normalised is mostly rounding."""
    rng = np.random.default_rng(seed)
    x = 1e6 + rng.normal(size=(3, 4, 3, 2))
    gamma, beta = rng.normal(size=(2, 4))
    check_pair(ops.batch_norm_forward, ops.batch_norm_backward, x, gamma, beta).raise_if_failed()


@pytest.mark.parametrize("seed", range(20))
def test_near_ties_that_float32_cannot_tell_apart_are_not_blamed(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, 2, 6, 6))
    x[:, :, ::2] = x[:, :, 1::2] + 1e-8 * (1 + rng.random(size=(1, 2, 3, 6)))
    verdict = check_pair(ops.max_pool2d_forward, ops.max_pool2d_backward, x, kernel_size=2)
    assert verdict.status == "pass", verdict


def test_what_refuses_float32_is_noted():
    def f(x):
        if x.dtype != np.float64:
            raise TypeError("float64 only")
        return x * x

    verdict = check(f, square_vjp, X)
    assert verdict.passed
    assert verdict.notes == ["float32 is not compared: f or vjp raises TypeError: float64 only"]


# batch


def mixing_backward(dy, x):
    """Right for any dy that is the same in all rows, and linear."""
    return 2 * x * (dy + np.roll(dy, 1, axis=0)) / 2


def test_rows_that_mix_are_named_when_nothing_else_sees_it():
    cotangent = np.tile([1.0, -2.0, 0.5], (4, 1))
    settings = Settings(cotangent=cotangent)
    verdict = check_pair(pairs(square), mixing_backward, X, settings=settings)
    assert verdict.status == "fail"
    assert "mixes rows" in verdict.reason
    assert verdict.explain().family == "sum"
    settings = Settings(cotangent=cotangent, skip=["batch"])
    assert check_pair(pairs(square), mixing_backward, X, settings=settings).passed


@pytest.mark.parametrize("seed", range(30))
def test_rows_that_depend_on_each_other_are_left_alone(seed):
    """Running sums: the last row of x changes the last row of y only, but the last y needs all."""
    x = np.random.default_rng(seed).normal(size=(3, 2))

    def vjp(dy, x):
        return np.cumsum(dy[::-1], axis=0)[::-1].copy()

    assert check(lambda x: np.cumsum(x, axis=0), vjp, x, seed=seed).passed
    square_matrix = np.random.default_rng(seed).normal(size=(3, 3))
    assert check(lambda a, b: a @ b, lambda dy, a, b: (dy @ b.T, a.T @ dy), x.T @ x, x.T).passed
    assert check(
        lambda a, w: a @ w.T, lambda dy, a, w: (dy @ w, dy.T @ a), square_matrix, square_matrix + 1
    ).passed


def test_batch_normalisation_is_no_failure():
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(4, 4, 2, 2)), *rng.normal(size=(2, 4))
    assert check_pair(ops.batch_norm_forward, ops.batch_norm_backward, x, gamma, beta).passed


# layout


def test_memory_that_is_taken_for_contiguous():
    def forward(x):
        memory = x if x.base is None else x.base
        return np.sin(memory.ravel()[: x.size].reshape(x.shape))

    verdict = check_pair(pairs(forward), lambda dy, x: dy * np.cos(x), X)
    assert verdict.reason == "arrays that are not contiguous give another y"
    assert verdict.explain().family == "side effect"
    settings = Settings(skip=["layout"])
    assert check_pair(pairs(forward), lambda dy, x: dy * np.cos(x), X, settings=settings).passed


def test_an_exception_for_other_layouts_says_what_to_do():
    def forward(x):
        if not x.flags.c_contiguous:
            raise ValueError("contiguous only")
        return x * x

    verdict = check_pair(pairs(forward), square_backward, X)
    assert "not contiguous, f or vjp raises ValueError: contiguous only" in verdict.reason


# zero, linear, repeats, writes: see also test_wrong_gradients


def test_something_for_nothing():
    verdict = check(square, lambda dy, x: 2 * x * dy + 1e-12 * np.ones_like(x), X)
    assert verdict.status == "fail"
    assert "is not 0 for dy = 0" in verdict.reason


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_zero_gradients_of_any_scale_are_linear_enough(scale):
    """A shift before a normalisation of tiny numbers: terms of 1/scale cancel to rounding."""
    rng = np.random.default_rng(0)
    x = scale * rng.normal(size=(3, 4, 3, 2))
    gamma, beta = rng.normal(size=(2, 4))

    def forward(shift):
        y, cache = ops.batch_norm_forward(
            x.astype(shift.dtype) + shift[:, None, None],
            gamma.astype(shift.dtype),
            beta.astype(shift.dtype),
            eps=0.0,
        )
        return y, cache

    def backward(dy, cache):
        return ops.batch_norm_backward(dy, cache)[0].sum(axis=(0, 2, 3))

    check_pair(forward, backward, scale * rng.normal(size=4), per_entry=True).raise_if_failed()


def test_randomness_may_be_skipped():
    rng = np.random.default_rng(0)

    def vjp(dy, x):
        return 2 * x * dy * (1 + 1e-12 * rng.normal())

    assert check(square, vjp, X).status == "nondeterministic"
    settings = Settings(skip=["repeats", "linear", "layout", "float32"])
    assert check(square, vjp, X, settings=settings).passed
