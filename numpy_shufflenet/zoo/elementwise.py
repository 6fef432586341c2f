"""Wrong backwards of activations, dense layers, dropout and the loss."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo._bug import wrong_backward

MATRICES = "the two products of a dense layer's backward, exchanged where shapes allow it"


@wrong_backward("relu", cause="mask", found_in="published activations with the derivative 1")
def slope_one(dy: Array, cache: Any) -> Array:
    """Let every gradient through."""
    return dy.copy()


@wrong_backward(
    "relu",
    cause="mask",
    found_in="oreilly-japan/deep-learning-from-scratch, pull request 43: the derivative of ReLU",
)
def mask_inverted(dy: Array, cache: Any) -> Array:
    """Let through what was cut off, and cut off what was let through."""
    return dy * (cache.y <= 0)


@wrong_backward(
    "relu",
    cause="not linear",
    found_in="haifengl/smile, issue 528: the gradient from above is overwritten with 0 or 1",
)
def dy_forgotten(dy: Array, cache: Any) -> Array:
    """Return the slope itself, not the slope times dy."""
    return (cache.y > 0).astype(dy.dtype)


@wrong_backward(
    "sigmoid",
    cause="slope",
    found_in="Bot-Academy/NeuralNetworkFromScratch, pull request 3: the sigmoid's derivative",
)
def factor_forgotten(dy: Array, cache: Any) -> Array:
    """Take y for y (1 - y)."""
    return dy * cache.y


@wrong_backward(
    "sigmoid",
    cause="slope",
    found_in="kyle8998/Sudo-Productivity, issue 3; deeplearning4j, pull request 377: the "
    "derivative of the value at the value",
)
def sigmoid_applied_twice(dy: Array, cache: Any) -> Array:
    """Evaluate the derivative at y in place of x."""
    again = 1 / (1 + np.exp(-cache.y))
    return dy * again * (1 - again)


@wrong_backward(
    "sigmoid",
    cause="slope",
    found_in="PaddlePaddle, pull request 18678: a slope written for the input, given the output",
)
def output_for_input(dy: Array, cache: Any) -> Array:
    """Take y (1 + y): a sign in the formula."""
    return dy * cache.y * (1 + cache.y)


def _dense(n: int, i: int, o: int) -> Any:
    return lambda draw: ((draw(n, i), draw(o, i), draw(o)), {})


@wrong_backward("linear", cause="sign", found_in="gradients of a loss written as target - output")
def sign_of_the_bias(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Return minus the gradient of the bias."""
    dx, dw, db = ops.linear_backward(dy, cache)
    assert db is not None
    return dx, dw, -db


@wrong_backward("linear", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def weights_transposed(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Compute x^T dy, which is the transpose of dw."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw.T.copy(), db


@wrong_backward("linear", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def product_with_the_transpose(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Compute dy w^T in place of dy w."""
    _, dw, db = ops.linear_backward(dy, cache)
    return dy @ cache.w.T, dw, db


@wrong_backward(
    "linear",
    cause="sum",
    found_in="rasbt/stat453-deep-learning-ss21, issue 5: torch.sum without a dimension",
)
def one_sum_for_all(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Add up dy over the outputs too, so that every bias gets the same."""
    dx, dw, db = ops.linear_backward(dy, cache)
    assert db is not None
    return dx, dw, np.full_like(db, dy.sum())


@wrong_backward(
    "linear",
    cause="factor",
    found_in="deeplearning4j, pull request 366: biases divided by the batch size twice",
)
def averaged_over_the_batch(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Divide dw by the batch size."""
    dx, dw, db = ops.linear_backward(dy, cache)
    return dx, dw / dw.dtype.type(len(dy)), db


@wrong_backward(
    "squeeze_excitation",
    cause="term",
    found_in="karpathy/micrograd, issue 2: what reaches the output in two ways",
)
def straight_way_only(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Leave out the way through the means: dx is dy times the gate, and no more."""
    _, *others = ops.squeeze_excitation_backward(dy, cache)
    return dy * cache.excitation[:, :, None, None], *others


@wrong_backward(
    "squeeze_excitation",
    cause="term",
    found_in="pools that copy dy to every pixel",
)
def squeeze_not_divided(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Forget the 1 / (h w) of the mean in the way through the squeeze."""
    dx, *others = ops.squeeze_excitation_backward(dy, cache)
    straight = dy * cache.excitation[:, :, None, None]
    h, w = dy.shape[2:]
    return straight + (dx - straight) * dy.dtype.type(h * w), *others


@wrong_backward(
    "dropout",
    cause="mask",
    found_in="ddbourgin/numpy-ml, issue 94: the backward does not apply the mask",
)
def mask_forgotten(dy: Array, cache: Any) -> Array:
    """Scale every gradient, dropped or not."""
    return dy * cache.factor.max()


@wrong_backward(
    "dropout",
    cause="factor",
    found_in="ayrna/dlordinal, pull request 138: a wrong scale of the values that are kept",
)
def scale_forgotten(dy: Array, cache: Any) -> Array:
    """Apply the mask, and forget that what was kept had grown."""
    return dy * (cache.factor > 0)


@wrong_backward(
    "softmax_cross_entropy",
    cause="factor",
    found_in="victorlempitsky/Mate, issue 2: not normalised to the batch size",
)
def not_averaged(dy: Any, cache: Any) -> Array:
    """Forget that the loss is a mean over the batch."""
    return dy * (cache.probabilities - cache.targets)


@wrong_backward(
    "softmax_cross_entropy",
    cause="sign",
    found_in="fetchai/ledger, pull request 1580: an average and signs that were mended",
)
def target_minus_output(dy: Any, cache: Any) -> Array:
    """Return q - p, target minus output, which is minus the gradient."""
    return -ops.softmax_cross_entropy_backward(dy, cache)


@wrong_backward(
    "softmax_cross_entropy",
    cause="term",
    found_in="losses to which label smoothing was added in the forward only",
)
def smoothing_forgotten(dy: Any, cache: Any) -> Array:
    """Compare with the labels themselves, though the loss had smoothed them."""
    hard = (cache.targets == cache.targets.max(axis=1, keepdims=True)).astype(cache.targets.dtype)
    return ops.softmax_cross_entropy_backward(dy, cache._replace(targets=hard))


@wrong_backward(
    "softmax_cross_entropy",
    cause="not linear",
    found_in="losses that are taken for the end of the chain: backward() without an argument",
)
def end_of_the_chain(dy: Any, cache: Any) -> Array:
    """Ignore dy, as if it were always 1."""
    return ops.softmax_cross_entropy_backward(cache.targets.dtype.type(1), cache)
