"""Depthwise convolution: each channel is convolved with separate kernels; channels don't mix.

    y[n, c m + k, p, q] = b[c m + k] + sum_{i, j} w[c m + k, i, j] x[n, c, r(p, i), s(q, j)]

for k = 0 .. m-1, with the channel multiplier m (1 in MobileNet and ShuffleNet), and r, s
as in `conv2d`. It is group convolution taken to its end, g = c. No sum over channels is left, so a
matrix product has nothing to do. Instead we walk over the few taps (i, j); each adds one shifted,
scaled copy of the image: nine multiply-adds of whole images for a 3x3 kernel.

Backward. Tap (i, j) computed y += w[i, j] * shifted x. By the product rule, tap by tap,

    dw[i, j] = sum over the images of dy * shifted x        shifted dx += w[i, j] * dy

and the gradients from the m output channels of one input channel add up.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops._sums import sum_over
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_image
from numpy_shufflenet.ops.conv2d import CONVOLUTION, check_weight
from numpy_shufflenet.ops.windows import Windows, draw_convolution, windows_over
from numpy_shufflenet.registry import Case, Draw, register

__all__ = ["depthwise_conv2d_backward", "depthwise_conv2d_forward"]


class DepthwiseConv2dCache(NamedTuple):
    """What `depthwise_conv2d_backward` needs."""

    x: Array  # n c h w
    w: Array  # c*m 1 kh kw
    has_bias: bool
    windows: Windows


def depthwise_conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, DepthwiseConv2dCache]:
    """Convolve each channel with m kernels that only this channel uses.

    Parameters
    ----------
    x, b, stride, padding, dilation
        As in `conv2d_forward`, with o = c * m.
    w : array, shape (c * m, 1, kh, kw)
        The first m kernels belong to the first channel, and so on.

    Returns
    -------
    y : array, shape (n, c * m, oh, ow)

    Raises
    ------
    ValueError
        As `conv2d_forward`; w must have a whole number of kernels for each channel.

    Source: Howard et al., MobileNets, 2017, section 3.1; ShuffleNet V1, section 3.2.
    """
    windows = check_depthwise(x, w, b, stride=stride, padding=padding, dilation=dilation)
    repeated = _repeat_channels(x, len(w) // x.shape[1])  # n c*m h w
    y = windows.accumulator(x, len(w), windows.output)
    for i, j in windows.taps():
        outputs, pixels = windows.inside(i, j)
        y[outputs] += w[:, :, i, j, None] * repeated[pixels]
    if b is not None:
        y += b[:, None, None]
    return y.astype(x.dtype, copy=False), DepthwiseConv2dCache(x, w, b is not None, windows)


def depthwise_conv2d_backward(
    dy: Array, cache: DepthwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """Gradients of `depthwise_conv2d_forward`: dx (n, c, h, w), dw (c*m, 1, kh, kw), db or None."""
    x, w, has_bias, windows = cache
    n, c, h, width = x.shape
    m = len(w) // c
    check_gradient(dy, (n, len(w), *windows.output), x.dtype)
    repeated = _repeat_channels(x, m)  # n c*m h w
    total = windows.accumulator(x, len(w), windows.size)
    dw = np.empty_like(w)
    for i, j in windows.taps():
        outputs, pixels = windows.inside(i, j)
        dw[:, 0, i, j] = sum_over(dy[outputs] * repeated[pixels], (0, 2, 3))
        total[pixels] += w[:, :, i, j, None] * dy[outputs]

    dx = total.astype(x.dtype, copy=False)  # n c*m h w
    if m > 1:
        dx = sum_over(dx.reshape(n, c, m, h, width), (2,))
    db = sum_over(dy, (0, 2, 3)) if has_bias else None
    return dx, dw, db


def _repeat_channels(x: Array, m: int) -> Array:
    """Return x with each channel m times in a row: one copy for each of its kernels."""
    return x if m == 1 else np.repeat(x, m, axis=1)


def check_depthwise(x: Array, w: Array, b: Array | None, **geometry: Any) -> Windows:
    """Return the windows over x, or raise ValueError unless x, w and b fit together."""
    check_image("x", x)
    check_floating("w", w, like=x)
    c = x.shape[1]
    if w.ndim != 4 or w.shape[1] != 1 or len(w) % c:
        raise ValueError(
            f"w has shape {w.shape}, but x has {c} channels; ({c} m, 1, kh, kw) is needed"
        )
    check_weight(x, w, b, groups=c)
    return windows_over(x, w.shape[2:], **geometry)


def _cases(draw: Draw) -> Case:
    c, multiplier = draw.integer(1, 5, example=3), draw.integer(1, 3, example=2)
    x, w, settings = draw_convolution(draw, c, c * multiplier, c)
    return (x, w, draw.bias(len(w))), settings


register(
    depthwise_conv2d_forward,
    kind="depthwise",
    linear_in=("x", "w"),
    kernel=True,
    cases=_cases,
    formula=CONVOLUTION,
)
