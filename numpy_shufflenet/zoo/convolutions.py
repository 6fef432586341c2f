"""Wrong backwards of convolutions."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw
from numpy_shufflenet.ops.conv2d import Conv2dCache
from numpy_shufflenet.zoo._bug import wrong_backward

Gradients = tuple[Array, Array, Array | None]


def square(draw: Draw) -> Any:
    """As many outputs as inputs, stride 1: everything that could be exchanged fits."""
    return (draw(2, 3, 5, 4), draw(3, 3, 3, 3), draw(3)), {"padding": 1}


def strided(draw: Draw) -> Any:
    """A stride that leaves a remainder, and a border."""
    return (draw(2, 3, 6, 8), draw(4, 3, 3, 3), draw(4)), {"stride": 2, "padding": 1}


def dilated(draw: Draw) -> Any:
    """Taps two apart."""
    return (draw(2, 3, 6, 5), draw(2, 3, 3, 2), draw(2)), {"dilation": 2, "padding": 2}


def lopsided(draw: Draw) -> Any:
    """A border on two sides only."""
    return (draw(2, 3, 5, 4), draw(2, 3, 3, 3), draw(2)), {"padding": ((2, 0), (2, 0))}


@wrong_backward(
    "conv2d",
    cause="transpose",
    found_in="wuziheng/CNN-Numpy, issue 2: whether, and along which axes, to turn the kernel",
    example=square,
)
def kernel_not_flipped(dy: Array, cache: Conv2dCache) -> Gradients:
    """Compute dx as a convolution of dy with the kernel as it is, not turned by 180 degrees."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    transposed = np.ascontiguousarray(cache.w.swapaxes(0, 1))
    dx, _ = ops.conv2d_forward(dy, transposed, padding=1)
    return dx, dw, db


@wrong_backward(
    "conv2d",
    cause="transpose",
    found_in="wuziheng/CNN-Numpy, issue 2: the swap of input and output channels is missing",
    example=square,
)
def channels_not_swapped(dy: Array, cache: Conv2dCache) -> Gradients:
    """Turn the kernel for dx, but leave input and output channels where they are."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    dx, _ = ops.conv2d_forward(dy, np.ascontiguousarray(cache.w[:, :, ::-1, ::-1]), padding=1)
    return dx, dw, db


@wrong_backward(
    "conv2d",
    cause="transpose",
    found_in="FluxML/NNlib.jl, issue 518: the filter's gradient with a flipped kernel",
    example=square,
)
def weights_flipped(dy: Array, cache: Conv2dCache) -> Gradients:
    """Turn dw by 180 degrees."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    return dx, dw[:, :, ::-1, ::-1].copy(), db


@wrong_backward(
    "conv2d",
    cause="sum",
    found_in="NumPy networks that were only ever tried with a batch of one image",
    example=square,
)
def weights_of_the_first_image(dy: Array, cache: Conv2dCache) -> Gradients:
    """Compute dw from the first image alone."""
    dx, _, db = ops.conv2d_backward(dy, cache)
    _, first = ops.conv2d_forward(cache.x[:1], cache.w, padding=1)
    return dx, ops.conv2d_backward(dy[:1], first)[1], db


@wrong_backward(
    "conv2d",
    cause="sum",
    found_in="rasbt/stat453-deep-learning-ss21, issue 5: one sum over everything for all biases",
    example=square,
)
def one_sum_for_all_biases(dy: Array, cache: Conv2dCache) -> Gradients:
    """Add up dy over channels too, so that every bias gets the same."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    assert db is not None
    return dx, dw, np.full_like(db, dy.sum())


@wrong_backward(
    "conv2d",
    cause="factor",
    found_in="kvfrans/notes, issue 5: a mean over the batch where the sum is the gradient",
)
def bias_averaged(dy: Array, cache: Conv2dCache) -> Gradients:
    """Average db over the batch."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    assert db is not None
    return dx, dw, db / dy.dtype.type(len(dy))


@wrong_backward(
    "conv2d",
    cause="factor",
    found_in="deeplearning4j, pull request 366: divided by the batch size once too often",
)
def weights_divided_by_the_batch(dy: Array, cache: Conv2dCache) -> Gradients:
    """Divide dw by the batch size, which the loss had done already."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    return dx, dw / dy.dtype.type(len(dy)), db


@wrong_backward(
    "conv2d",
    cause="factor",
    found_in="tests with a tolerance of 1e-2 or 10 %, such as HomericIntelligence/Odyssey's, which "
    "would let it pass",
    example=square,
)
def slightly_too_large(dy: Array, cache: Conv2dCache) -> Gradients:
    """Make dx 0.5 % too large."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    return dx * dx.dtype.type(1.005), dw, db


@wrong_backward(
    "conv2d",
    cause="single entry",
    found_in="pytorch, issue 50042: one row of a kernel's gradient, for one shape only",
    example=square,
)
def one_weight_too_large(dy: Array, cache: Conv2dCache) -> Gradients:
    """Make one single entry of dw too large, by 0.02 %."""
    dx, dw, db = ops.conv2d_backward(dy, cache)
    dw[1, 2, 0, 1] *= dw.dtype.type(1.0002)
    return dx, dw, db


@wrong_backward(
    "conv2d",
    cause="padding",
    found_in="published NumPy convolutions that crop the wrong axis or side at padding 1",
    example=lopsided,
)
def border_cropped_on_the_other_side(dy: Array, cache: Conv2dCache) -> Gradients:
    """Cut the border off at the bottom right, though it had been added at the top left."""
    (top, bottom), (left, right) = cache.windows.padding
    other = cache.windows._replace(padding=((bottom, top), (right, left)))
    _, dw, db = ops.conv2d_backward(dy, cache)
    wide = cache.windows._replace(size=cache.windows.padded_size, padding=((0, 0), (0, 0)))
    x = np.zeros((*cache.x.shape[:2], *wide.size), dy.dtype)
    padded, _, _ = ops.conv2d_backward(dy, cache._replace(x=x, windows=wide))
    return other.crop(padded).copy(), dw, db


@wrong_backward(
    "conv2d",
    cause="padding",
    found_in="HomericIntelligence/Odyssey, issue 2949; PKUFlyingPig/CMU10-714, issue 6: sizes that "
    "leave a remainder",
    example=square,
)
def last_column_forgotten(dy: Array, cache: Conv2dCache) -> Gradients:
    """Stop one output short, so that the last columns of dx miss what it sends back."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    cut = dy.copy()
    cut[..., -1] = 0
    return ops.conv2d_backward(cut, cache)[0], dw, db


@wrong_backward(
    "conv2d",
    cause="stride",
    found_in="Kulbear/deep-learning-coursera, pull request 34: the stride is missing in "
    "conv_backward",
    example=strided,
)
def stride_forgotten(dy: Array, cache: Conv2dCache) -> Gradients:
    """Send each output's gradient to the window that it would have with stride 1."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    dense = cache._replace(windows=cache.windows._replace(stride=(1, 1)))
    return ops.conv2d_backward(dy, dense)[0], dw, db


@wrong_backward(
    "conv2d",
    cause="stride",
    found_in="PaddlePaddle/Anakin, pull request 269: a dilation that was not carried through",
    example=dilated,
)
def dilation_forgotten(dy: Array, cache: Conv2dCache) -> Gradients:
    """Put the taps side by side in dx, though they are two apart."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    dense = cache._replace(windows=cache.windows._replace(dilation=(1, 1)))
    return ops.conv2d_backward(dy, dense)[0], dw, db


@wrong_backward(
    "conv2d",
    cause="sum",
    found_in="jmschrei/tangermeme, pull request 95: assigning where windows overlap",
    example=square,
)
def columns_assigned(dy: Array, cache: Conv2dCache) -> Gradients:
    """Write each column back with `=` in place of `+=`: where windows overlap, the last counts."""
    x, w, _, windows, groups = cache
    _, dw, db = ops.conv2d_backward(dy, cache)
    rows = dy.transpose(1, 2, 3, 0).reshape(groups, len(w) // groups, -1)
    kernels = w.reshape(groups, len(w) // groups, -1)
    columns = (kernels.transpose(0, 2, 1) @ rows).reshape(
        x.shape[1], *windows.kernel, *windows.output, len(x)
    )
    padded = np.zeros((*x.shape[:2], *windows.padded_size), dy.dtype)
    for i, j in windows.taps():
        windows.tap(padded, i, j)[...] = columns[:, i, j].transpose(3, 0, 1, 2)
    return windows.crop(padded).copy(), dw, db


@wrong_backward(
    "group_conv2d",
    cause="permutation",
    found_in="pytorch, issue 51430: the weights' gradient with more than one group",
)
def groups_in_reverse(dy: Array, cache: Any) -> Gradients:
    """Concatenate the groups' dw from the last to the first."""
    dx, dw, db = ops.group_conv2d_backward(dy, cache)
    return dx, np.concatenate(np.split(dw, len(cache.convolutions))[::-1]), db


@wrong_backward(
    "group_conv2d",
    cause="dropped",
    found_in="tracel-ai/burn, pull request 1891: slices of the weights' gradient with groups",
)
def last_group_forgotten(dy: Array, cache: Any) -> Gradients:
    """Run the loop over the groups one time too few: the last one's dx stays 0."""
    dx, dw, db = ops.group_conv2d_backward(dy, cache)
    dx = dx.copy()
    dx[:, -cache.split.shapes[-1][1] :] = 0
    return dx, dw, db


@wrong_backward(
    "depthwise_conv2d",
    cause="transpose",
    found_in="Maratyszcza/NNPACK, issue 15: rows and columns mixed up, unseen with square images",
)
def taps_transposed(dy: Array, cache: Any) -> Gradients:
    """Exchange rows and columns of each kernel's gradient."""
    dx, dw, db = ops.depthwise_conv2d_backward(dy, cache)
    return dx, dw.swapaxes(2, 3).copy(), db


@wrong_backward(
    "depthwise_conv2d",
    cause="sum",
    found_in="ml-explore/mlx, pull request 3800: dx of grouped and strided convolutions",
)
def one_kernel_per_channel(dy: Array, cache: Any) -> Gradients:
    """Let the kernels of one input channel overwrite each other's dx: the last one counts."""
    _, dw, db = ops.depthwise_conv2d_backward(dy, cache)
    multiplier = len(cache.w) // cache.x.shape[1]
    last = dy.copy()
    last[:, [k for k in range(len(cache.w)) if k % multiplier != multiplier - 1]] = 0
    return ops.depthwise_conv2d_backward(last, cache)[0], dw, db


@wrong_backward(
    "depthwise_conv2d",
    cause="permutation",
    found_in="the two orders of a channel multiplier, (c, m) and (m, c), which frameworks mix",
)
def kernels_in_the_other_order(dy: Array, cache: Any) -> Gradients:
    """Number the kernels multiplier first in dw, channel second."""
    dx, dw, db = ops.depthwise_conv2d_backward(dy, cache)
    c = cache.x.shape[1]
    table = dw.reshape(c, len(dw) // c, *dw.shape[1:])
    return dx, table.swapaxes(0, 1).reshape(dw.shape), db


@wrong_backward(
    "pointwise_conv2d",
    cause="transpose",
    found_in="wuziheng/CNN-Numpy, issue 2: a 1x1 convolution is a matrix product, whose backward "
    "transposes",
    example=lambda draw: ((draw(2, 4, 3, 2), draw(4, 4, 1, 1), draw(4)), {}),
)
def matrix_not_transposed(dy: Array, cache: Any) -> Gradients:
    """Multiply dy by w in place of w^T."""
    _, dw, db = ops.pointwise_conv2d_backward(dy, cache)
    return ops.pointwise_conv2d_forward(dy, cache.w)[0], dw, db


@wrong_backward(
    "pointwise_conv2d",
    cause="sum",
    found_in="rust0258/Deeplearning.ai-Natural-Language-Processing-Specialization, issue 62: a "
    "bias that is summed over the wrong thing",
)
def bias_of_one_pixel(dy: Array, cache: Any) -> Gradients:
    """Add up db over the batch, and forget that a bias reaches every pixel."""
    dx, dw, _ = ops.pointwise_conv2d_backward(dy, cache)
    return dx, dw, dy[:, :, 0, 0].sum(axis=0)


@wrong_backward(
    "pointwise_conv2d",
    cause="sum",
    found_in="published NumPy convolutions whose dW is right for batch 1 and wrong above",
)
def weights_of_the_last_image(dy: Array, cache: Any) -> Gradients:
    """Assign dw inside of the loop over the batch in place of adding: the last image counts."""
    dx, _, db = ops.pointwise_conv2d_backward(dy, cache)
    last = cache._replace(x=cache.x[-1:])
    return dx, ops.pointwise_conv2d_backward(dy[-1:], last)[1], db
