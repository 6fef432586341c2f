"""Right gradients pass: of every operation, any shape, any scale, and with kinks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases, hyperparameters, images, seeds

from numpy_shufflenet import ops
from numpy_shufflenet.gradcheck import (
    Settings,
    assert_gradients,
    check,
    check_operation,
    check_pair,
)
from numpy_shufflenet.operations import OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_passes(name):
    for seed in range(10):
        check_operation(name, example=seed, seed=seed, per_entry=seed == 0).raise_if_failed()


@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data())
def test_every_operation_passes_on_any_shape(name, data):
    case = data.draw(cases(name))
    operation = OPERATIONS[name]
    arrays, keywords = case.arrays, hyperparameters(case)
    if name == "batch_norm_inference":
        arrays, (mean, var) = arrays[:3], arrays[3:]
        keywords |= {"mean": mean, "var": var}
    verdict = check_pair(
        operation.forward(), operation.backward(), *arrays, **keywords, seed=data.draw(seeds())
    )
    verdict.raise_if_failed()


@given(images(), seeds())
def test_assert_gradients_takes_a_generator(x, seed):
    rng = np.random.default_rng(seed)
    assert_gradients(
        ops.channel_shuffle_forward, ops.channel_shuffle_backward, x, groups=1, seed=rng
    )


def test_assert_gradients_raises_with_the_whole_verdict():
    def backward(dy, cache):
        return 2 * ops.sigmoid_backward(dy, cache)

    with pytest.raises(AssertionError, match=r"(?s)fail: the gradient of x disagrees.*worst  x\["):
        assert_gradients(ops.sigmoid_forward, backward, np.array([1.0, 2.0]))


def test_a_missing_bias_has_no_gradient():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4, 3)), rng.normal(size=(5, 3, 1, 1))
    verdict = check_pair(ops.pointwise_conv2d_forward, ops.pointwise_conv2d_backward, x, w, None)
    assert verdict.status == "pass"
    assert [report.name for report in verdict.arrays] == ["x", "w"]


def test_dropout_keeps_its_own_generator():
    """`rng` is the operation's here, and its state is left alone."""
    rng = np.random.default_rng(5)
    state = rng.bit_generator.state
    x = np.ones((4, 5))
    verdict = check_pair(ops.dropout_forward, ops.dropout_backward, x, rate=0.5, rng=rng)
    assert verdict.status == "pass"
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("power", [2, 3, -1])
def test_any_scale_is_judged_fairly(scale, power):
    x = scale * np.random.default_rng(0).uniform(0.5, 2, size=(3, 4))

    def vjp(factor):
        return lambda dy, x: factor * dy * power * x ** (power - 1)

    assert check(lambda x: x**power, vjp(1), x).status == "pass"
    assert check(lambda x: x**power, vjp(1.0002), x).status == "fail"


def test_entries_of_very_different_size():
    x = np.array([1e-6, 2e-3, 1.0, 3e3, 1e6])
    assert check(np.log, lambda dy, x: dy / x, x, per_entry=True).status == "pass"
    assert check(np.log, lambda dy, x: 1.001 * dy / x, x).status == "fail"


def test_a_gradient_that_is_exactly_zero_passes():
    """A shift before a batch normalisation changes nothing."""
    rng = np.random.default_rng(0)
    gamma, beta = rng.normal(size=(2, 4))

    def forward(shift, x):
        return ops.batch_norm_forward(x + shift[:, None, None], gamma, beta)

    def backward(dy, cache):
        dx, _, _ = ops.batch_norm_backward(dy, cache)
        return dx.sum(axis=(0, 2, 3)), dx

    x = rng.normal(size=(3, 4, 3, 2))
    assert check_pair(forward, backward, rng.normal(size=4), x, per_entry=True).status == "pass"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [1e3, 1e5, 1e6, -1e6])
def test_a_large_offset_is_judged_by_what_can_be_seen(offset, seed):
    rng = np.random.default_rng(seed)
    x = offset + rng.normal(size=(3, 4, 3, 2))
    gamma, beta = rng.normal(size=(2, 4))
    assert_gradients(ops.batch_norm_forward, ops.batch_norm_backward, x, gamma, beta)


@pytest.mark.parametrize("seed", range(20))
def test_float32_inside_of_float64_is_no_failure(seed):
    x = np.random.default_rng(seed).normal(size=6)

    def f(x):
        return np.sin(x.astype(np.float32)).astype(np.float64)

    assert check(f, lambda dy, x: dy * np.cos(x), x, seed=seed).status in ("pass", "imprecise")
    assert check(f, lambda dy, x: dy * np.cos(x) * 1.5, x, seed=seed).status == "fail"


def test_float32_is_judged_by_float32():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    verdict = check(np.sin, lambda dy, x: dy * np.cos(x), x, settings=Settings(dtype=None))
    assert verdict.status == "pass"
    assert 1e-6 < verdict.precision < 1e-2
    wrong = check(
        np.sin, lambda dy, x: dy * np.cos(x) * np.float32(1.1), x, settings=Settings(dtype=None)
    )
    assert wrong.status == "fail"


def test_arguments_are_converted_to_float64_and_not_touched():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    seen = set()

    def f(x):
        seen.add(x.dtype)
        return np.sin(x)

    before = x.copy()
    assert (
        check(f, lambda dy, x: dy * np.cos(x), x, settings=Settings(skip=["float32"])).status
        == "pass"
    )
    assert seen == {np.dtype(np.float64)}
    np.testing.assert_array_equal(x, before)


def test_any_form_of_output():
    x, w = np.random.default_rng(0).normal(size=(2, 3, 4))

    def parts_vjp(dy, x, w):
        (dsum, dproduct) = dy
        return dsum + dproduct * w, dproduct * x

    assert check(lambda x, w: (x.sum(axis=0), x * w), parts_vjp, x, w).status == "pass"
    assert check(lambda x: float((x * x).sum()), lambda dy, x: 2 * x * dy, x).status == "pass"


def test_memory_does_not_grow_with_the_entries_compared():
    """Values along the lines of all entries would be 40 MB."""
    x = np.random.default_rng(0).normal(size=600)
    settings = Settings(method="five-point")
    tracemalloc.start()
    try:
        verdict = check(np.sin, lambda dy, x: dy * np.cos(x), x, per_entry=True, settings=settings)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert verdict.entries == 600
    assert peak < 5e6


# Kinks


def abs_vjp(dy, x):
    return dy * np.sign(x)


def test_a_kink_is_left_out_and_counted():
    x = np.random.default_rng(0).normal(size=40)
    x[7] = 0
    verdict = check(np.abs, abs_vjp, x)
    assert verdict.status == "pass"
    assert [kink.index for kink in verdict.kinks] == [(7,)]
    assert "1 on kinks" in str(verdict)


def test_more_than_five_percent_of_kinks_is_a_kink():
    x = np.random.default_rng(0).normal(size=40)
    x[[1, 2, 3]] = 0
    verdict = check(np.abs, abs_vjp, x)
    assert verdict.status == "kink"
    assert verdict.reason == "3 of 40 entries lie on kinks; at most 5 % may"


def test_a_kink_hides_no_wrong_entry():
    x = np.random.default_rng(0).normal(size=40)
    x[7] = 0

    def vjp(dy, x):
        dx = abs_vjp(dy, x)
        dx[9] *= 1.01
        return dx

    verdict = check(np.abs, vjp, x)
    assert verdict.status == "fail"
    assert verdict.worst.index == (9,)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6])
def test_a_kink_nearby_is_stepped_around(distance):
    x = np.random.default_rng(0).uniform(1, 2, size=40)
    x[7] = distance
    verdict = check(np.abs, abs_vjp, x)
    assert (verdict.status, verdict.kinks) == ("pass", [])


def test_ties_of_a_max_pool_are_kinks():
    x = np.random.default_rng(0).permutation(100).reshape(1, 1, 10, 10).astype(float)
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = 200
    verdict = check_pair(ops.max_pool2d_forward, ops.max_pool2d_backward, x, kernel_size=2)
    assert verdict.status == "pass"
    assert [kink.index for kink in verdict.kinks] == [(0, 0, 0, 0), (0, 0, 1, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_many_ties_are_never_called_wrong(seed):
    """Overlapping windows of equal values: the jumps of several kinks meet in one entry."""
    verdict = check_pair(
        ops.max_pool2d_forward,
        ops.max_pool2d_backward,
        np.zeros((2, 2, 6, 5)),
        kernel_size=3,
        stride=1,
        padding=1,
        seed=seed,
    )
    assert verdict.status == "kink"


# The verdict


def test_a_verdict_refuses_to_be_a_truth_value():
    verdict = check(np.sin, lambda dy, x: dy * np.cos(x), np.ones(3))
    with pytest.raises(TypeError, match=r"use verdict\.passed"):
        bool(verdict)
    assert verdict.passed


def test_the_same_seed_gives_the_same_verdict():
    x = np.random.default_rng(0).normal(size=6)

    def found(seed):
        verdict = check(np.sin, lambda dy, x: 1.01 * dy * np.cos(x), x, seed=seed)
        return verdict.worst

    assert found(3) == found(3)
    assert found(3) != found(4)


def test_bad_arguments_are_refused():
    def vjp(dy, x):
        return dy

    with pytest.raises(ValueError, match="no array is floating-point"):
        check(lambda x: x * 1.0, vjp, np.arange(3))
    with pytest.raises(ValueError, match="f gives dtype int64"):
        check(lambda x: np.arange(3), vjp, np.ones(3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        check(lambda x: x * np.nan, vjp, np.ones(3))
    with pytest.raises(ValueError, match=r"cotangent has shapes \[\(2,\)\], but y has \[\(3,\)\]"):
        check(np.sin, vjp, np.ones(3), settings=Settings(cotangent=np.array([1.0, 2.0])))
    with pytest.raises(ValueError, match="directions=0"):
        Settings(directions=0)
