"""Mistakes in activations, dense layers, dropout and the loss."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import wrong_gradient

SLOPE_ALONE = "this is the slope alone: multiply it by dy"


@wrong_gradient("relu", "x", cause="mask")
def slope_one(dx: Array, dy: Array, cache: Any) -> Array:
    """Return dy unchanged, as if the slope were 1 everywhere.

    Found in: published activations with the derivative 1.
    Hint: you return dy unchanged; where x is negative, y is constant, so dx is 0 there.
    """
    return dy


@wrong_gradient("relu", "x", cause="mask")
def relu_of_dy(dx: Array, dy: Array, cache: Any) -> Array:
    """Set the gradient to 0 where dy is negative, not where x is.

    Found in: guided backpropagation without the mask of x.
    Hint: this is the ReLU of dy; set dx to 0 where x is negative, not where dy is.
    """
    return np.maximum(dy, 0)


@wrong_gradient("relu", "x", cause="mask")
def mask_inverted(dx: Array, dy: Array, cache: Any) -> Array:
    """Use the inverted mask: set dx to 0 where x is positive.

    Found in: oreilly-japan/deep-learning-from-scratch, pull request 43: the derivative of ReLU.
    """
    return dy * (cache.y <= 0)


@wrong_gradient("relu", "x", cause="not linear", hint=SLOPE_ALONE)
def dy_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the slope itself, not the slope times dy.

    Found in: haifengl/smile, issue 528: 0 or 1 overwrites the upstream gradient.
    """
    return cache.y > 0


@wrong_gradient("sigmoid", "x", cause="slope")
def factor_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Use y instead of y (1 - y).

    Found in: Bot-Academy/NeuralNetworkFromScratch, pull request 3: the sigmoid's derivative.
    """
    return dy * cache.y


@wrong_gradient("sigmoid", "x", cause="slope")
def sigmoid_applied_twice(dx: Array, dy: Array, cache: Any) -> Array:
    """Evaluate the derivative at y instead of x.

    Found in: kyle8998/Sudo-Productivity, issue 3; deeplearning4j, pull request 377: the derivative
    at the output.
    """
    again = 1 / (1 + np.exp(-cache.y))
    return dy * again * (1 - again)


@wrong_gradient("sigmoid", "x", cause="slope")
def output_for_input(dx: Array, dy: Array, cache: Any) -> Array:
    """Use y (1 + y) instead of y (1 - y).

    Found in: PaddlePaddle, pull request 18678: a formula for the input, applied to the output.
    """
    return dy * cache.y * (1 + cache.y)


@wrong_gradient("sigmoid", "x", cause="not linear", hint=SLOPE_ALONE)
def slope_alone(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the slope itself, not the slope times dy."""
    return cache.y * (1 - cache.y)


@wrong_gradient("leaky_relu", "x", cause="mask")
def slope_dropped(dx: Array, dy: Array, cache: Any) -> Array:
    """Return 0 where x is negative, as for ReLU.

    Hint: this is the gradient of ReLU; where x is negative, dx is slope times dy.
    """
    return dy * (cache.y > 0)


@wrong_gradient("leaky_relu", "x", cause="mask")
def slope_on_the_wrong_side(dx: Array, dy: Array, cache: Any) -> Array:
    """Multiply dy by the slope where x is positive.

    Hint: you multiply by slope where x is positive; do it where x is negative.
    """
    return np.where(cache.y > 0, cache.slope * dy, dy)


@wrong_gradient("swish", "x", cause="slope")
def x_held_fixed(dx: Array, dy: Array, cache: Any) -> Array:
    """Differentiate the factor x only, not the sigmoid.

    Hint: this is dy sigmoid(x): the sigmoid depends on x, too, so the product rule has two terms.
    """
    return dy * cache.s


@wrong_gradient("swish", "x", cause="slope")
def sigmoid_held_fixed(dx: Array, dy: Array, cache: Any) -> Array:
    """Differentiate the sigmoid only, not the factor x.

    Hint: the term sigmoid(x) is missing: x is a factor of y, so the product rule has two terms.
    """
    return dy * cache.y * (1 - cache.s)


MATRICES = "dense layers with a wrong product in the backward, which equal sizes hide"


def _dense(n: int, i: int, o: int) -> Any:
    return lambda draw: ((draw(n, i), draw(o, i), draw(o)), {})


@wrong_gradient("linear", "b", cause="sign")
def sign_of_the_bias(db: Array, dy: Array, cache: Any) -> Array:
    """Return db with the wrong sign.

    Found in: gradients of a loss written as target - output.
    """
    return -db


@wrong_gradient("linear", "w", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def weights_transposed(dw: Array, dy: Array, cache: Any) -> Array:
    """Compute x^T dy instead of dy^T x."""
    return dw.T


@wrong_gradient("linear", "x", cause="transpose", found_in=MATRICES, example=_dense(3, 4, 4))
def product_with_the_transpose(dx: Array, dy: Array, cache: Any) -> Array:
    """Compute dy w^T instead of dy w."""
    return dy @ cache.w.T


@wrong_gradient("squeeze_excitation", "x", cause="term")
def straight_way_only(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the gradient through the means, so that dx is dy times the gate.

    Found in: karpathy/micrograd, issue 2: an array that reaches the output in two ways.
    """
    return dy * cache.excitation[:, :, None, None]


@wrong_gradient("squeeze_excitation", "x", cause="term")
def squeeze_not_divided(dx: Array, dy: Array, cache: Any) -> Array:
    """Forget the factor 1 / (h w) of the mean in the gradient through the squeeze.

    Found in: pools that copy dy to every pixel.
    """
    straight = dy * cache.excitation[:, :, None, None]
    return straight + (dx - straight) * dy[0, 0].size


@wrong_gradient("dropout", "x", cause="mask")
def mask_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Scale every gradient, those of dropped values included.

    Found in: ddbourgin/numpy-ml, issue 94: the backward does not apply the mask.
    """
    return dy * cache.factor.max()


@wrong_gradient("dropout", "x", cause="factor")
def scale_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Apply the mask, but not the factor of the kept values.

    Found in: ayrna/dlordinal, pull request 138: a wrong factor of the kept values.
    """
    return dy * (cache.factor > 0)


@wrong_gradient("softmax_cross_entropy", "logits", cause="factor")
def not_averaged(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Forget that the loss is a mean over the batch.

    Found in: victorlempitsky/Mate, issue 2: not normalised to the batch size.
    Hint: the loss is a mean over the batch, so divide its gradient by the batch size.
    """
    return dlogits * len(dlogits)


@wrong_gradient("softmax_cross_entropy", "logits", cause="sign")
def target_minus_output(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Return target minus output, which has the wrong sign.

    Found in: fetchai/ledger, pull request 1580, which corrects signs and a mean value.
    """
    return -dlogits


@wrong_gradient("softmax_cross_entropy", "logits", cause="term")
def smoothing_forgotten(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Use the labels without smoothing, though the loss smooths them.

    Found in: losses with label smoothing in the forward only.
    """
    hard = (cache.targets == cache.targets.max(axis=1, keepdims=True)).astype(dlogits.dtype)
    return ops.softmax_cross_entropy_backward(dy, cache._replace(targets=hard))


@wrong_gradient("softmax_cross_entropy", "logits", cause="not linear")
def end_of_the_chain(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Ignore dy, as if it were always 1.

    Found in: losses with a backward() that takes no upstream gradient.
    Hint: dy is missing: multiply by it, because it need not be 1.
    """
    return ops.softmax_cross_entropy_backward(cache.targets.dtype.type(1), cache)
