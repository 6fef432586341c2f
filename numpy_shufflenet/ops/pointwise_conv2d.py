"""Pointwise convolution: a 1x1 kernel multiplies the channels of every pixel by one matrix.

    y[n, :, p, q] = w @ x[n, :, p, q] + b

With all pixels as columns, it is one matrix product,

    y = w @ x        (o, c) @ (c, h w n)

This is a convolution without windows, so nothing is copied and nothing overlaps. It mixes channels,
but not pixels; depthwise convolution mixes pixels, but not channels. With g groups there are g such
products, each on c/g channels, and 1/g of the weights. Nearly all arithmetic of these networks is
in 1x1 convolutions.

Backward. For a matrix product, dw = dy @ x^T and dx = w^T @ dy.
"""

from typing import Any, NamedTuple

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import product, sum_over
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.conv2d import CONVOLUTION, channel_rows, check_weight, pointwise
from numpy_shufflenet.registry import Case, Draw, register

__all__ = ["pointwise_conv2d_backward", "pointwise_conv2d_forward"]


class PointwiseConv2dCache(NamedTuple):
    """What `pointwise_conv2d_backward` needs."""

    x: Array  # n c h w
    w: Array  # o c/g 1 1
    has_bias: bool
    groups: int


def pointwise_conv2d_forward(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> tuple[Array, PointwiseConv2dCache]:
    """Mix the channels of every pixel by a matrix.

    Parameters
    ----------
    x, b, groups
        As in `conv2d_forward`.
    w : array, shape (o, c / groups, 1, 1)

    Returns
    -------
    y : array, shape (n, o, h, w)

    Raises
    ------
    ValueError
        As `conv2d_forward`, or if the kernel is not 1x1.

    Source: Lin, Chen, Yan, Network in network, 2013, section 3.2; with groups: ShuffleNet V1,
    section 3.1.
    """
    check_pointwise(x, w, b, groups)
    y = pointwise(x, w[:, :, 0, 0], groups)  # n o h w
    if b is not None:
        y += b[:, None, None]
    return y, PointwiseConv2dCache(x, w, b is not None, groups)


def pointwise_conv2d_backward(
    dy: Array, cache: PointwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """Gradients of `pointwise_conv2d_forward`: dx (n, c, h, w), dw (o, c/groups, 1, 1), db."""
    x, w, has_bias, groups = cache
    n, c, h, width = x.shape
    check_gradient(dy, (n, len(w), h, width), x.dtype)
    dy_columns = channel_rows(dy, groups)  # g o/g h*w*n
    dw = product(dy_columns, channel_rows(x, groups).transpose(0, 2, 1))  # g o/g c/g
    matrices = w.reshape(groups, len(w) // groups, w.shape[1])  # g o/g c/g
    dx = product(matrices.transpose(0, 2, 1), dy_columns)  # g c/g h*w*n
    db = sum_over(dy, (0, 2, 3)) if has_bias else None
    return dx.reshape(c, h, width, n).transpose(3, 0, 1, 2), dw.reshape(w.shape), db


def check_pointwise(x: Array, w: Array, b: Array | None, groups: int) -> None:
    """Raise ValueError unless x, w, b and groups fit together, and w is 1x1."""
    check_weight(x, w, b, groups)
    if w.shape[2:] != (1, 1):
        raise ValueError(f"w has shape {w.shape}; a pointwise kernel is (o, c/groups, 1, 1)")


def pointwise_conv2d_arrays(draw: Draw) -> tuple[Array, Array, dict[str, Any]]:
    """Draw x, w and the hyperparameters of a 1x1 convolution."""
    groups, c, o = draw.groups(3, 2)
    x, w = draw(*draw.image(c, example=(3, 4))), draw(o, c // groups, 1, 1)
    return x, w, {"groups": groups}


def _cases(draw: Draw) -> Case:
    x, w, settings = pointwise_conv2d_arrays(draw)
    return (x, w, draw.bias(len(w))), settings


register(
    pointwise_conv2d_forward,
    kind="1x1 convolution",
    linear_in=("x", "w"),
    kernel=True,
    cases=_cases,
    formula=CONVOLUTION,
)
