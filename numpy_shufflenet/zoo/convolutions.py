"""Mistakes in convolutions. Two of these mistakes also occur in a dense layer."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw, find
from numpy_shufflenet.zoo.catalogue import Drawing, wrong_answer, wrong_backward, wrong_gradient


def square(draw: Draw) -> Any:
    """Draw as many input as output channels, so that a wrong order of axes keeps the shape."""
    return (draw(2, 3, 5, 4), draw(3, 3, 3, 3), draw(3)), {"padding": 1}


def strided(draw: Draw) -> Any:
    """Draw a convolution with padding, and with a stride that doesn't divide the size."""
    return (draw(2, 3, 6, 8), draw(4, 3, 3, 3), draw(4)), {"stride": 2, "padding": 1}


def dilated(draw: Draw) -> Any:
    """Draw a convolution with dilation 2."""
    return (draw(2, 3, 6, 5), draw(2, 3, 3, 2), draw(2)), {"dilation": 2, "padding": 2}


def lopsided(draw: Draw) -> Any:
    """Draw a convolution with padding at the top and at the left only."""
    return (draw(2, 3, 5, 4), draw(2, 3, 3, 3), draw(2)), {"padding": ((2, 0), (2, 0))}


# Weights that are turned by 180 degrees, or should be


def _turned(w: Array) -> Array:
    return w[:, :, ::-1, ::-1].copy()


def _with_turned_weights(cache: Any) -> Any:
    if hasattr(cache, "convolutions"):  # one for each group
        return cache._replace(convolutions=tuple(map(_with_turned_weights, cache.convolutions)))
    return cache._replace(w=_turned(cache.w))


def _add_turned(operation: str, example: Drawing | None) -> None:
    forward, backward = find(operation).forward(), find(operation).backward()

    @wrong_answer(f"{operation}_forward", cause="transpose")
    def kernel_flipped(x: Array, w: Array, b: Array | None, **settings: Any) -> Any:
        """Turn the weights by 180 degrees, as a true convolution does.

        Hint: your weights are flipped, as in a true convolution; networks compute a correlation.
        """
        return forward(x, _turned(w), b, **settings)[0]

    @wrong_gradient(operation, "x", cause="transpose", example=example)
    def kernel_not_flipped(dx: Array, dy: Array, cache: Any) -> Any:
        """Compute dx with the weights as they are, not turned by 180 degrees.

        Found in: wuziheng/CNN-Numpy, issue 2, which asks along which axes to turn the weights.
        Hint: your dx uses the weights in the wrong order: tap (i, j) of output p reads the pixel at
        p * stride + i - padding, so the backward needs flipped weights.
        """
        return backward(dy, _with_turned_weights(cache))[0]


_add_turned("conv2d", square)
_add_turned("group_conv2d", None)
_add_turned("depthwise_conv2d", None)


@wrong_gradient("conv2d", "w", cause="transpose", example=square)
def weights_flipped(dw: Array, dy: Array, cache: Any) -> Array:
    """Turn dw by 180 degrees.

    Found in: FluxML/NNlib.jl, issue 518: the weight gradient is flipped.
    """
    return _turned(dw)


# The gradient of x


@wrong_gradient("conv2d", "x", cause="transpose", example=square)
def channels_not_swapped(dx: Array, dy: Array, cache: Any) -> Array:
    """Turn the weights for dx, but don't swap input and output channels.

    Found in: wuziheng/CNN-Numpy, issue 2: the swap of input and output channels is missing.
    """
    return ops.conv2d_backward(dy, cache._replace(w=cache.w.swapaxes(0, 1)))[0]


@wrong_gradient("conv2d", "x", cause="factor", example=square)
def slightly_too_large(dx: Array, dy: Array, cache: Any) -> Array:
    """Make dx 0.5 % too large.

    Found in: projects such as HomericIntelligence/Odyssey, whose tests have a tolerance of 1e-2 or
    10 % and miss this mistake.
    """
    return dx * 1.005


@wrong_gradient("conv2d", "x", cause="padding", example=lopsided)
def border_cropped_on_the_other_side(dx: Array, dy: Array, cache: Any) -> Array:
    """Crop dx at the bottom and right, though the padding is at the top and left.

    Found in: published NumPy convolutions that crop the wrong axis or side at padding 1.
    """
    (top, bottom), (left, right) = cache.windows.padding
    other = cache.windows._replace(padding=((bottom, top), (right, left)))
    wide = cache.windows._replace(size=cache.windows.padded_size, padding=((0, 0), (0, 0)))
    x = np.zeros((*cache.x.shape[:2], *wide.size), dy.dtype)
    padded, _, _ = ops.conv2d_backward(dy, cache._replace(x=x, windows=wide))
    return other.crop(padded)


@wrong_gradient("conv2d", "x", cause="padding", example=square)
def last_column_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the last column of dy, so that the last columns of dx are too small.

    Found in: HomericIntelligence/Odyssey, issue 2949; PKUFlyingPig/CMU10-714, issue 6: sizes that
    the stride doesn't divide.
    """
    cut = dy.copy()
    cut[..., -1] = 0
    return ops.conv2d_backward(cut, cache)[0]


@wrong_gradient("conv2d", "x", cause="stride", example=strided)
def stride_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Add the gradient of each output to the window that the output would have at stride 1.

    Found in: Kulbear/deep-learning-coursera, pull request 34: the stride is missing in
    conv_backward.
    """
    dense = cache.windows._replace(stride=(1, 1))
    return ops.conv2d_backward(dy, cache._replace(windows=dense))[0]


@wrong_gradient("conv2d", "x", cause="stride", example=dilated)
def dilation_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Compute dx with dilation 1, though the forward had dilation 2.

    Found in: PaddlePaddle/Anakin, pull request 269: the dilation is missing.
    """
    dense = cache.windows._replace(dilation=(1, 1))
    return ops.conv2d_backward(dy, cache._replace(windows=dense))[0]


@wrong_gradient("conv2d", "x", cause="sum", example=square)
def columns_assigned(dx: Array, dy: Array, cache: Any) -> Array:
    """Write each column back with `=` instead of `+=`, so that overlapping windows don't add up.

    Found in: jmschrei/tangermeme, pull request 95: assigning where windows overlap.
    """
    x, w, _, windows, groups = cache
    rows = dy.transpose(1, 2, 3, 0).reshape(groups, len(w) // groups, -1)
    kernels = w.reshape(groups, len(w) // groups, -1)
    columns = (kernels.transpose(0, 2, 1) @ rows).reshape(
        x.shape[1], *windows.kernel, *windows.output, len(x)
    )
    padded = np.zeros((*x.shape[:2], *windows.padded_size), dy.dtype)
    for i, j in windows.taps():
        windows.tap(padded, i, j)[...] = columns[:, i, j].transpose(3, 0, 1, 2)
    return windows.crop(padded)


@wrong_gradient("group_conv2d", "x", cause="dropped")
def last_group_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave the last group out of the loop, so that its dx stays 0.

    Found in: tracel-ai/burn, pull request 1891: slices of the weight gradient with groups.
    """
    wrong = dx.copy()
    wrong[:, -cache.split.shapes[-1][1] :] = 0
    return wrong


@wrong_gradient("depthwise_conv2d", "x", cause="sum")
def one_kernel_per_channel(dx: Array, dy: Array, cache: Any) -> Array:
    """Overwrite dx for each filter of an input channel, so that only the last filter counts.

    Found in: ml-explore/mlx, pull request 3800: dx of grouped and strided convolutions.
    """
    multiplier = len(cache.w) // cache.x.shape[1]
    last = np.zeros_like(dy)
    last[:, multiplier - 1 :: multiplier] = dy[:, multiplier - 1 :: multiplier]
    return ops.depthwise_conv2d_backward(last, cache)[0]


@wrong_gradient(
    "pointwise_conv2d",
    "x",
    cause="transpose",
    example=lambda draw: ((draw(2, 4, 3, 2), draw(4, 4, 1, 1), draw(4)), {}),
)
def matrix_not_transposed(dx: Array, dy: Array, cache: Any) -> Array:
    """Multiply dy by w instead of w^T.

    Found in: wuziheng/CNN-Numpy, issue 2: a 1x1 convolution is a matrix product; its backward
    multiplies by the transpose.
    """
    return ops.pointwise_conv2d_forward(dy, cache.w, groups=cache.groups)[0]


# The gradients of w and b


def _of_one_image(dy: Array, cache: Any, image: int) -> tuple[Array, Array, Array | None]:
    """Return the right dx, with dw and db of one image only."""
    one = np.zeros_like(dy)
    one[image] = dy[image]
    dx, _, _ = ops.conv2d_backward(dy, cache)
    return dx, *ops.conv2d_backward(one, cache)[1:]


@wrong_backward("conv2d", cause="sum", example=square)
def weights_of_the_first_image(dy: Array, cache: Any) -> tuple[Array, Array, Array | None]:
    """Compute dw and db from the first image alone.

    Found in: NumPy networks that were tested with a batch of one image only.
    Hint: your dw and db come from the first image only: add them up over the whole batch.
    """
    return _of_one_image(dy, cache, 0)


@wrong_backward("conv2d", cause="sum", example=square)
def last_image_alone(dy: Array, cache: Any) -> tuple[Array, Array, Array | None]:
    """Assign dw and db in a loop over the batch instead of adding: only the last image counts.

    Found in: published NumPy convolutions whose dW is right only for a batch of one image.
    Hint: your dw and db come from the last image only: add them up over the whole batch.
    """
    return _of_one_image(dy, cache, -1)


@wrong_gradient("linear", "w", cause="factor")
@wrong_gradient("conv2d", "w", cause="factor")
def weights_divided_by_the_batch(dw: Array, dy: Array, cache: Any) -> Array:
    """Divide dw by the batch size, though the loss has divided by it already.

    Found in: deeplearning4j, pull request 366: divided by the batch size twice.
    """
    return dw / len(dy)


@wrong_gradient("conv2d", "w", cause="single entry", example=square)
def one_weight_too_large(dw: Array, dy: Array, cache: Any) -> Array:
    """Make one entry of dw 0.02 % too large.

    Found in: pytorch, issue 50042: one row of a weight gradient, for one shape only.
    """
    wrong = dw.copy()
    wrong[1, 2, 0, 1] *= 1.0002
    return wrong


@wrong_gradient("group_conv2d", "w", cause="permutation")
def groups_in_reverse(dw: Array, dy: Array, cache: Any) -> Array:
    """Concatenate dw of the groups from the last to the first.

    Found in: pytorch, issue 51430: the weight gradient with more than one group.
    """
    return np.concatenate(np.split(dw, len(cache.convolutions))[::-1])


@wrong_gradient("depthwise_conv2d", "w", cause="transpose")
def taps_transposed(dw: Array, dy: Array, cache: Any) -> Array:
    """Swap rows and columns of the gradient of each filter.

    Found in: Maratyszcza/NNPACK, issue 15: rows and columns swapped, which square images hide.
    """
    return dw.swapaxes(2, 3)


@wrong_gradient("depthwise_conv2d", "w", cause="permutation")
def kernels_in_the_other_order(dw: Array, dy: Array, cache: Any) -> Array:
    """Order the filters in dw by (multiplier, channel) instead of (channel, multiplier).

    Found in: frameworks that use the two orders of a channel multiplier, (c, m) and (m, c).
    """
    c = cache.x.shape[1]
    table = dw.reshape(c, len(dw) // c, *dw.shape[1:])
    return table.swapaxes(0, 1).reshape(dw.shape)


@wrong_gradient("pointwise_conv2d", "w", cause="sum")
def weights_of_the_last_image(dw: Array, dy: Array, cache: Any) -> Array:
    """Assign dw in the loop over the batch instead of adding, so that only the last image counts.

    Found in: published NumPy convolutions whose dW is right only for a batch of one image.
    """
    return ops.pointwise_conv2d_backward(dy[-1:], cache._replace(x=cache.x[-1:]))[1]


@wrong_gradient("linear", "b", cause="sum")
@wrong_gradient("conv2d", "b", cause="sum", example=square)
def one_sum_for_all_biases(db: Array, dy: Array, cache: Any) -> Array:
    """Add up dy over the channels, too, so that every bias gets the same gradient.

    Found in: rasbt/stat453-deep-learning-ss21, issue 5: one sum over everything for all biases.
    """
    return np.full_like(db, dy.sum())


@wrong_gradient("conv2d", "b", cause="factor")
def bias_averaged(db: Array, dy: Array, cache: Any) -> Array:
    """Average db over the batch.

    Found in: kvfrans/notes, issue 5: a mean over the batch where the sum is the gradient.
    """
    return db / len(dy)


@wrong_gradient("pointwise_conv2d", "b", cause="sum")
def bias_of_one_pixel(db: Array, dy: Array, cache: Any) -> Array:
    """Add up dy over the batch at one pixel only, though the bias is added to every pixel.

    Found in: rust0258/Deeplearning.ai-Natural-Language-Processing-Specialization, issue 62: a bias
    gradient that is summed over the wrong axis.
    """
    return dy[:, :, 0, 0].sum(axis=0)
