"""Mistakes in activations, dense layers, dropout and the loss."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import wrong_answer, wrong_gradient

SLOPE_ALONE = "this is the slope alone: multiply it by dy"


@wrong_gradient("relu", "x", cause="mask")
def slope_one(dx: Array, dy: Array, cache: Any) -> Array:
    """Let every gradient through.

    Found in: published activations with the derivative 1.
    Hint: you pass every gradient on; where x is negative nothing passed, so dx is 0 there.
    """
    return dy


@wrong_gradient("relu", "x", cause="mask")
def relu_of_dy(dx: Array, dy: Array, cache: Any) -> Array:
    """Cut off where dy is negative, and not where x is.

    Found in: guided backpropagation without the mask of x.
    Hint: this is the ReLU of dy; it is x that decides, not dy.
    """
    return np.maximum(dy, 0)


@wrong_gradient("relu", "x", cause="mask")
def mask_inverted(dx: Array, dy: Array, cache: Any) -> Array:
    """Let through what was cut off, and cut off what was let through.

    Found in: oreilly-japan/deep-learning-from-scratch, pull request 43: the derivative of ReLU.
    """
    return dy * (cache.y <= 0)


@wrong_gradient("relu", "x", cause="not linear", hint=SLOPE_ALONE)
def dy_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the slope itself, not the slope times dy.

    Found in: haifengl/smile, issue 528: the gradient from above is overwritten with 0 or 1.
    """
    return cache.y > 0


@wrong_gradient("sigmoid", "x", cause="slope")
def factor_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Take y for y (1 - y).

    Found in: Bot-Academy/NeuralNetworkFromScratch, pull request 3: the sigmoid's derivative.
    """
    return dy * cache.y


@wrong_gradient("sigmoid", "x", cause="slope")
def sigmoid_applied_twice(dx: Array, dy: Array, cache: Any) -> Array:
    """Evaluate the derivative at y in place of x.

    Found in: kyle8998/Sudo-Productivity, issue 3; deeplearning4j, pull request 377: the derivative
    of the value at the value.
    """
    again = 1 / (1 + np.exp(-cache.y))
    return dy * again * (1 - again)


@wrong_gradient("sigmoid", "x", cause="slope")
def output_for_input(dx: Array, dy: Array, cache: Any) -> Array:
    """Take y (1 + y): a sign in the formula.

    Found in: PaddlePaddle, pull request 18678: a slope written for the input, given the output.
    """
    return dy * cache.y * (1 + cache.y)


@wrong_gradient("sigmoid", "x", cause="not linear", hint=SLOPE_ALONE)
def slope_alone(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the slope itself, not the slope times dy."""
    return cache.y * (1 - cache.y)


MATRICES = "the two products of a dense layer's backward, exchanged where shapes allow it"


def _dense(n: int, i: int, o: int) -> Any:
    return lambda draw: ((draw(n, i), draw(o, i), draw(o)), {})


@wrong_gradient("linear", "b", cause="sign")
def sign_of_the_bias(db: Array, dy: Array, cache: Any) -> Array:
    """Return minus the gradient of the bias.

    Found in: gradients of a loss written as target - output.
    """
    return -db


@wrong_gradient("linear", "w", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def weights_transposed(dw: Array, dy: Array, cache: Any) -> Array:
    """Compute x^T dy, which is the transpose of dw."""
    return dw.T


@wrong_gradient("linear", "x", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def product_with_the_transpose(dx: Array, dy: Array, cache: Any) -> Array:
    """Compute dy w^T in place of dy w."""
    return dy @ cache.w.T


@wrong_gradient("squeeze_excitation", "x", cause="term")
def straight_way_only(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the way through the means: dx is dy times the gate, and no more.

    Found in: karpathy/micrograd, issue 2: what reaches the output in two ways.
    """
    return dy * cache.excitation[:, :, None, None]


@wrong_gradient("squeeze_excitation", "x", cause="term")
def squeeze_not_divided(dx: Array, dy: Array, cache: Any) -> Array:
    """Forget the 1 / (h w) of the mean in the way through the squeeze.

    Found in: pools that copy dy to every pixel.
    """
    straight = dy * cache.excitation[:, :, None, None]
    return straight + (dx - straight) * dy[0, 0].size


@wrong_gradient("dropout", "x", cause="mask")
def mask_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Scale every gradient, dropped or not.

    Found in: ddbourgin/numpy-ml, issue 94: the backward does not apply the mask.
    """
    return dy * cache.factor.max()


@wrong_gradient("dropout", "x", cause="factor")
def scale_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Apply the mask, and forget that what was kept had grown.

    Found in: ayrna/dlordinal, pull request 138: a wrong scale of the values that are kept.
    """
    return dy * (cache.factor > 0)


@wrong_answer("softmax_cross_entropy_forward", cause="factor")
def summed_over_the_batch(logits: Array, labels: Array, **smoothing: float) -> Any:
    """Add up the loss over the batch.

    Hint: this is the sum over the batch; the loss is the mean.
    """
    return len(logits) * ops.softmax_cross_entropy_forward(logits, labels, **smoothing)[0]


@wrong_gradient("softmax_cross_entropy", "logits", cause="factor")
def not_averaged(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Forget that the loss is a mean over the batch.

    Found in: victorlempitsky/Mate, issue 2: not normalised to the batch size.
    Hint: the loss is a mean over the batch, so its gradient is divided by the batch, too.
    """
    return dlogits * len(dlogits)


@wrong_gradient("softmax_cross_entropy", "logits", cause="sign")
def target_minus_output(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Return q - p, target minus output, which is minus the gradient.

    Found in: fetchai/ledger, pull request 1580: an average and signs that were mended.
    """
    return -dlogits


@wrong_gradient("softmax_cross_entropy", "logits", cause="term")
def smoothing_forgotten(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Compare with the labels themselves, though the loss had smoothed them.

    Found in: losses to which label smoothing was added in the forward only.
    """
    hard = (cache.targets == cache.targets.max(axis=1, keepdims=True)).astype(dlogits.dtype)
    return ops.softmax_cross_entropy_backward(dy, cache._replace(targets=hard))


@wrong_gradient("softmax_cross_entropy", "logits", cause="not linear")
def end_of_the_chain(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Ignore dy, as if it were always 1.

    Found in: losses that are taken for the end of the chain: backward() without an argument.
    Hint: dy is missing: it is the gradient of the loss, and need not be 1.
    """
    return ops.softmax_cross_entropy_backward(cache.targets.dtype.type(1), cache)
