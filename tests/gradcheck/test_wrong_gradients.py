"""What is no gradient, what has side effects and what isn't linear: the verdict says so."""

import numpy as np
import pytest

from numpy_shufflenet import ops, zoo
from numpy_shufflenet.gradcheck import Settings, Verdict, check, check_pair
from numpy_shufflenet.zoo import score

SEEDS = 50


def test_a_shuffle_that_is_its_own_inverse_hides_no_bug():
    """C = 4, g = 2: the forward permutation is the backward."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    bug = zoo.find("channel_shuffle/shuffled_onwards")
    assert check_pair(ops.channel_shuffle_forward, bug.backward, x, groups=2).status == "pass"


def test_the_wrong_entry_is_named():
    verdict = score.check(zoo.find("conv2d/one_weight_too_large"), 3)
    assert verdict.reason == "the gradient of w disagrees"
    worst = verdict.worst
    assert (worst.array, worst.index) == ("w", (1, 2, 0, 1))
    assert worst.analytic == pytest.approx(1.0002 * worst.numeric, rel=1e-8)
    assert worst.error < 1e-9 * abs(worst.numeric)
    assert "w[1, 2, 0, 1]" in str(verdict)


@pytest.mark.parametrize("largest", range(6))
def test_of_several_wrong_entries_the_worst_is_named(largest):
    factors = np.array([1.01, 1.02, 1.0, 0.99, 1.01, 1.0])
    factors[largest] = 1.5

    def vjp(dy, x):
        return factors * dy * np.cos(x)

    verdict = check(np.sin, vjp, np.full(6, 0.7))
    assert verdict.status == "fail"
    errors = {index: abs(factor - 1) for index, factor in enumerate(factors)}
    assert errors[verdict.worst.index[0]] == max(errors.values())


# Gradients that are none, and side effects


def square(x):
    return x * x


def verdict_of(vjp, x=None) -> Verdict:
    x = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]) if x is None else x
    return check(square, vjp, x)


@pytest.mark.parametrize(
    ("vjp", "reason"),
    [
        (lambda dy, x: (2 * x * dy).T, r"shape \(3, 2\), but x has \(2, 3\)"),
        (lambda dy, x: (2 * x * dy).sum(), r"shape \(\), but x has \(2, 3\)"),
        (lambda dy, x: (2 * x * dy).astype(np.float32), "dtype float32, but x has float64"),
        (lambda dy, x: np.where(x > 3, np.nan, 2 * x * dy), r"has nan at \(1, 1\); 1 of 6"),
        (lambda dy, x: (2 * x * dy, dy), "2 gradients, but there are 1 arrays"),
        (lambda dy, x: (), "0 gradients, but there are 1 arrays"),
        (lambda dy, x: None, "None for every array"),
        (lambda dy, x: "gradient", "shape"),
        (lambda dy, x: dy[5], "vjp raises IndexError"),
        (lambda dy, x: {"x": dy}, r"shape \(\), but x has \(2, 3\)"),
        (lambda dy, x: ([[1.0], [1.0, 2.0]],), "the gradient of x is no array"),
        (lambda dy, x: 2 * x * dy * 1j, "dtype complex128, but x has float64"),
        (lambda dy, x: (2 * x * dy).astype(object), "dtype object, but x has float64"),
    ],
)
def test_what_is_no_gradient_fails_and_says_so(vjp, reason):
    verdict = verdict_of(vjp)
    assert verdict.status == "fail"
    with pytest.raises(AssertionError, match=reason):
        verdict.raise_if_failed()


@pytest.mark.parametrize("what", ["dtype", "layout", "zero"])
def test_a_count_that_is_wrong_now_and_then_fails_and_says_so(what):
    def vjp(dy, x):
        strange = {
            "dtype": dy.dtype == np.float32,
            "layout": not dy.flags.contiguous,
            "zero": not dy.any(),
        }
        return (2 * x * dy, dy) if strange[what] else 2 * x * dy

    verdict = verdict_of(vjp)
    assert verdict.status == "fail"
    assert verdict.reason == "vjp gives 2 gradients, but there are 1 arrays"


def test_an_exception_in_the_backward_is_kept():
    verdict = verdict_of(lambda dy, x: dy[5])
    with pytest.raises(AssertionError) as caught:
        verdict.raise_if_failed()
    assert isinstance(caught.value.__cause__, IndexError)


def overwrites_x(dy, x):
    x *= 2
    x *= dy
    return x


def overwrites_dy(dy, x):
    dy *= 2 * x
    return dy


@pytest.mark.parametrize(("vjp", "name"), [(overwrites_x, "x"), (overwrites_dy, "dy")])
def test_writing_into_an_argument_fails(vjp, name):
    x = np.array([[1.0, -2.0], [0.5, 4.0]])
    verdict = check(square, vjp, x)
    assert verdict.status == "fail"
    assert verdict.reason == f"f or vjp writes into {name}"
    np.testing.assert_array_equal(x, [[1.0, -2.0], [0.5, 4.0]])


def test_a_forward_that_writes_into_its_input_fails():
    def relu(x):
        x[x < 0] = 0
        return x

    verdict = check(relu, lambda dy, x: dy * (x > 0), np.array([1.0, -2.0, 3.0]))
    assert verdict.status == "fail"
    assert verdict.reason == "f or vjp writes into x"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_randomness_in_either_is_nondeterministic(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=5)
    noisy_f = check(lambda x: x * x + 1e-9 * rng.normal(size=5), lambda dy, x: 2 * x * dy, x)
    assert noisy_f.status == "nondeterministic"
    noisy_vjp = check(square, lambda dy, x: 2 * x * dy * (1 + 1e-9 * rng.normal()), x)
    assert noisy_vjp.status == "nondeterministic"


def test_a_function_that_changes_after_some_calls_is_nondeterministic():
    calls = []

    def f(x):
        calls.append(1)
        return x * x if len(calls) < 8 else x * x + 1

    verdict = check(f, lambda dy, x: 2 * x * dy, np.array([1.0, 2.0]))
    assert verdict.status == "nondeterministic"


def test_a_backward_that_clips_its_cotangent_is_not_linear():
    """Right for every dy below 2 in size, which is what the differences see."""
    verdict = verdict_of(lambda dy, x: 2 * x * np.clip(dy, -2, 2))
    assert verdict.status == "fail"
    assert verdict.reason == "the gradient of x is not linear in dy"


def test_a_sum_as_the_loss_is_refused():
    with pytest.raises(ValueError, match="makes the loss a plain sum"):
        check(square, lambda dy, x: 2 * x * dy, np.ones(3), settings=Settings(cotangent=np.ones(3)))


def test_a_single_number_may_have_the_cotangent_one():
    verdict = check(
        lambda x: (x * x).sum(),
        lambda dy, x: 2 * x * dy,
        np.array([1.0, 2.0]),
        settings=Settings(cotangent=1.0),
    )
    assert verdict.status == "pass"
