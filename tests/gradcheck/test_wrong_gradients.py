"""Wrong backwards of right forwards, of the kinds found in published code: each must be caught.

Every one is a small change of the right backward. All are tried on 50 seeds at default settings.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from numpy_shufflenet import ops
from numpy_shufflenet.gradcheck import Verdict, check, check_pair

SEEDS = 50
CHANNEL_SUM = (0, 2, 3)


class Bug(NamedTuple):
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    hyperparameters: dict[str, Any]


def per_channel(v: np.ndarray) -> np.ndarray:
    return v[:, None, None]


def bn_parts(dy, cache):
    inv_std = 1 / np.sqrt(cache.var + cache.eps)
    x_hat = (cache.x - per_channel(cache.mean)) * per_channel(inv_std)
    dgamma, dbeta = (dy * x_hat).sum(axis=CHANNEL_SUM), dy.sum(axis=CHANNEL_SUM)
    return inv_std, x_hat, dgamma, dbeta, dy.size // dy.shape[1]


def bn_gamma_dropped(dy, cache):
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    return dx / per_channel(cache.gamma), dgamma, dbeta


def bn_unbiased_variance(dy, cache):
    inv_std, x_hat, dgamma, dbeta, m = bn_parts(dy, cache)
    centred = dy - per_channel(dbeta / m) - x_hat * per_channel(dgamma / (m - 1))
    return centred * per_channel(cache.gamma * inv_std), dgamma, dbeta


def bn_mean_term_dropped(dy, cache):
    inv_std, x_hat, dgamma, dbeta, m = bn_parts(dy, cache)
    dx = (dy - x_hat * per_channel(dgamma / m)) * per_channel(cache.gamma * inv_std)
    return dx, dgamma, dbeta


def bn_x_hat_term_dropped(dy, cache):
    inv_std, _, dgamma, dbeta, m = bn_parts(dy, cache)
    return (dy - per_channel(dbeta / m)) * per_channel(cache.gamma * inv_std), dgamma, dbeta


def bn_inference_formula(dy, cache):
    inv_std, _, dgamma, dbeta, _ = bn_parts(dy, cache)
    return dy * per_channel(cache.gamma * inv_std), dgamma, dbeta


def bn_shift_not_summed_over_the_batch(dy, cache):
    dx, dgamma, _ = ops.batch_norm_backward(dy, cache)
    return dx, dgamma, dy[0].sum(axis=(1, 2))


def shuffle_forwards_again(dy, cache):
    return ops.channel_shuffle_forward(dy, groups=2)[0]


def shuffle_identity(dy, cache):
    return dy.copy()


def max_pool_assigned(dy, cache):
    """`=` for `+=`: of overlapping windows that share their winner, the last one counts alone."""
    x, winner, windows = cache
    dpadded = np.zeros((*x.shape[:2], *windows.padded_size))
    for number, (i, j) in enumerate(windows.taps()):
        tap = windows.tap(dpadded, i, j)
        tap[...] = np.where(winner == number, dy, tap)
    return windows.crop(dpadded)


def conv_kernel_not_flipped(dy, cache):
    """dx by a convolution of dy with the kernel as it is, instead of turned by 180 degrees."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    transposed = cache.w.swapaxes(0, 1)
    dx, _ = ops.conv2d_forward(dy, np.ascontiguousarray(transposed), padding=1)
    return dx, dw, db


def conv_too_large(dy, cache):
    dx, dw, db = ops.conv2d_backward(dy, cache)
    return 1.005 * dx, dw, db


def conv_one_weight_too_large(dy, cache):
    """One single entry, by 0.02 %."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    dw[1, 2, 0, 1] *= 1.0002
    return dx, dw, db


def conv_weights_of_the_first_image(dy, cache):
    dx, _, db = ops.conv2d_backward(dy, cache)
    _, first = ops.conv2d_forward(cache.x[:1], cache.w, padding=1)
    return dx, ops.conv2d_backward(dy[:1], first)[1], db


def relu_slope_one(dy, cache):
    return dy.copy()


def sigmoid_square_forgotten(dy, cache):
    return dy * cache.y


def linear_sign(dy, cache):
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw, -db


def excitation_direct_way_only(dy, cache):
    _, *others = ops.squeeze_excitation_backward(dy, cache)
    return dy * cache.excitation[:, :, None, None], *others


def loss_not_averaged(dy, cache):
    return dy * (cache.probabilities - cache.targets)


def image(*shape):
    return lambda rng: (rng.normal(size=shape),)


def bn(rng):
    return 2 + 3 * rng.normal(size=(3, 4, 3, 2)), rng.normal(size=4), rng.normal(size=4)


def conv(rng):
    return rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(3, 3, 3, 3)), rng.normal(size=3)


def batch_norm_bug(backward):
    return Bug(ops.batch_norm_forward, backward, bn, {})


def conv_bug(backward):
    return Bug(ops.conv2d_forward, backward, conv, {"padding": 1})


def shuffle_bug(backward):
    return Bug(ops.channel_shuffle_forward, backward, image(2, 6, 3, 2), {"groups": 2})


BUGS = {
    "BN: gamma dropped": batch_norm_bug(bn_gamma_dropped),
    "BN: ddof=1": batch_norm_bug(bn_unbiased_variance),
    "BN: mean term dropped": batch_norm_bug(bn_mean_term_dropped),
    "BN: x-hat term dropped": batch_norm_bug(bn_x_hat_term_dropped),
    "BN: inference formula in training": batch_norm_bug(bn_inference_formula),
    "BN: dbeta of one image": batch_norm_bug(bn_shift_not_summed_over_the_batch),
    "shuffle: forward permutation": shuffle_bug(shuffle_forwards_again),
    "shuffle: identity": shuffle_bug(shuffle_identity),
    "max pool: = for +=": Bug(
        ops.max_pool2d_forward,
        max_pool_assigned,
        image(2, 2, 5, 4),
        {"kernel_size": 3, "stride": 1, "padding": 1},
    ),
    "conv: kernel not flipped": conv_bug(conv_kernel_not_flipped),
    "conv: dx 0.5 % too large": conv_bug(conv_too_large),
    "conv: one weight 0.02 % too large": conv_bug(conv_one_weight_too_large),
    "conv: dw of one image": conv_bug(conv_weights_of_the_first_image),
    "ReLU: slope 1": Bug(ops.relu_forward, relu_slope_one, image(3, 4), {}),
    "sigmoid: y for y (1 - y)": Bug(ops.sigmoid_forward, sigmoid_square_forgotten, image(3, 4), {}),
    "linear: sign of db": Bug(
        ops.linear_forward,
        linear_sign,
        lambda rng: (rng.normal(size=(4, 5)), rng.normal(size=(3, 5)), rng.normal(size=3)),
        {},
    ),
    "SE: one of two ways": Bug(
        ops.squeeze_excitation_forward,
        excitation_direct_way_only,
        lambda rng: tuple(rng.normal(size=s) for s in ((2, 4, 3, 2), (3, 4), (3,), (4, 3), (4,))),
        {},
    ),
    "loss: not averaged": Bug(
        ops.softmax_cross_entropy_forward,
        loss_not_averaged,
        lambda rng: (rng.normal(size=(4, 5)), rng.integers(0, 5, 4)),
        {},
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_wrong_backward_is_caught_on_every_seed(name):
    bug = BUGS[name]
    missed = []
    for seed in range(SEEDS):
        arrays = bug.draw(np.random.default_rng(seed))
        verdict = check_pair(bug.forward, bug.backward, *arrays, **bug.hyperparameters, seed=seed)
        if verdict.status != "fail":
            missed.append((seed, verdict.status))
    assert missed == []


def test_a_shuffle_that_is_its_own_inverse_hides_no_bug():
    """C = 4, g = 2: the forward permutation is the backward."""
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    verdict = check_pair(ops.channel_shuffle_forward, shuffle_forwards_again, x, groups=2)
    assert verdict.status == "pass"


def test_the_wrong_entry_is_named():
    arrays = conv(np.random.default_rng(3))
    bug = BUGS["conv: one weight 0.02 % too large"]
    verdict = check_pair(bug.forward, bug.backward, *arrays, padding=1)
    assert verdict.reason == "the gradient of w disagrees"
    worst = verdict.worst
    assert (worst.array, worst.index) == ("w", (1, 2, 0, 1))
    assert worst.analytic == pytest.approx(1.0002 * worst.numeric, rel=1e-8)
    assert worst.error < 1e-9 * abs(worst.numeric)
    assert "w[1, 2, 0, 1]" in str(verdict)


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
    ],
)
def test_what_is_no_gradient_fails_and_says_so(vjp, reason):
    verdict = verdict_of(vjp)
    assert verdict.status == "fail"
    with pytest.raises(AssertionError, match=reason):
        verdict.raise_if_failed()


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
        check(square, lambda dy, x: 2 * x * dy, np.ones(3), cotangent=np.ones(3))


def test_a_single_number_may_have_the_cotangent_one():
    verdict = check(
        lambda x: (x * x).sum(), lambda dy, x: 2 * x * dy, np.array([1.0, 2.0]), cotangent=1.0
    )
    assert verdict.status == "pass"
