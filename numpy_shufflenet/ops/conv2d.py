"""Convolution: every output is a weighted sum of one window of the input.

    y[n, o, p, q] = b[o] + sum_{c, i, j} w[o, c, i, j] x[n, c, r(p, i), s(q, j)]

    r(p, i) = p * stride + i * dilation - top        s(q, j) = q * stride + j * dilation - left

where x is 0 outside of its borders. Deep learning calls this sum a convolution, though the kernel
is not flipped (so it is a cross-correlation).

As one matrix product. Write each of the oh ow n windows as one column. Then

    y = w @ columns        (o, c kh kw) @ (c kh kw, oh ow n)

With g groups there are g such products, independent of each other: an output channel reads only
the c/g input channels of its group.

Backward. For a matrix product, dw = dy @ columns^T and dcolumns = w^T @ dy. A pixel is in
several columns because windows overlap, so its gradient is the sum over these columns. `im2col`
copies pixels to columns, and `col2im` adds columns to pixels. A bias is added to every pixel of its
output channel, so db[o] = sum_{n, p, q} dy[n, o, p, q].
"""

import math
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops._sums import product, sum_over
from numpy_shufflenet.ops.checks import (
    check_divides,
    check_floating,
    check_gradient,
    check_image,
    check_vector,
)
from numpy_shufflenet.ops.windows import Windows, draw_convolution, of_windows, windows_over
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import IMAGE

__all__ = ["conv2d_backward", "conv2d_forward"]


class Conv2dCache(NamedTuple):
    """What `conv2d_backward` needs."""

    x: Array  # n c h w
    w: Array  # o c/g kh kw
    has_bias: bool
    windows: Windows
    groups: int


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Convolve an image with a bank of kernels.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    w : array, shape (o, c / groups, kh, kw)
        One kernel for each output channel.
    b : array, shape (o,), optional
    stride, dilation : int or (height, width)
    padding : int, (height, width) or ((top, bottom), (left, right))
        Rows and columns of zeros around x.
    groups : int
        Must divide c and o. Output channels of a group read only the input channels of that group.

    Returns
    -------
    y : array, shape (n, o, oh, ow)
        oh = (h + top + bottom - dilation (kh - 1) - 1) // stride + 1, and similarly ow.
    cache : Conv2dCache
        Holds x instead of the columns, which are kh kw times larger and quick to make again.

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit, groups doesn't divide c and o, or the kernel is larger than
        the padded input.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, section
    II; as a matrix product: Chellapilla, Puri, Simard, 2006. Groups: Krizhevsky, Sutskever,
    Hinton, 2012, section 3.5.
    """
    check_weight(x, w, b, groups)
    n, o = len(x), len(w)
    windows = windows_over(x, w.shape[2:], stride=stride, padding=padding, dilation=dilation)
    cache = Conv2dCache(x, w, b is not None, windows, groups)
    if not finite_at_border(w, windows):
        return convolve_by_taps(x, w, b, windows, groups), cache
    columns = im2col(x, windows, groups)  # g, c/g kh kw, oh ow n
    filters = w.reshape(groups, o // groups, columns.shape[1])  # g, o/g, c/g kh kw
    y = product(filters, columns).reshape(o, *windows.output, n)
    if b is not None:
        y += b[:, None, None, None]
    return y.transpose(3, 0, 1, 2), cache  # n o oh ow


def conv2d_backward(
    dy: Array, cache: Conv2dCache, *, input_gradient: bool = True
) -> tuple[Any, Array, Array | None]:
    """Gradients of `conv2d_forward`: dx (n, c, h, w), dw (o, c/groups, kh, kw), db (o,) or None.

    Without `input_gradient`, dx is None: the first layer of a network need not compute it.
    """
    x, w, has_bias, windows, groups = cache
    n, o = len(x), len(w)
    check_gradient(dy, (n, o, *windows.output), x.dtype)
    columns = im2col(x, windows, groups)  # g, c/g kh kw, oh ow n
    filters = w.reshape(groups, o // groups, columns.shape[1])  # g, o/g, c/g kh kw
    dy_rows = dy.transpose(1, 2, 3, 0).reshape(groups, o // groups, columns.shape[2])

    if finite_at_border(dy, windows):
        dw = product(dy_rows, columns.transpose(0, 2, 1)).reshape(w.shape)
    else:
        dw = correlate_by_taps(dy, x, w, windows, groups)
    dx = None
    if input_gradient:
        dx = col2im(product(filters.transpose(0, 2, 1), dy_rows), x, windows)
    db = sum_over(dy, (0, 2, 3)) if has_bias else None
    return dx, dw, db


def im2col(x: Array, windows: Windows, groups: int = 1) -> Array:
    """Write each window as a column: (n, c, h, w) -> (groups, c/groups kh kw, oh ow n)."""
    n, c = x.shape[:2]
    kh, kw = windows.kernel
    padded = windows.pad(x)
    columns = np.empty((c, kh, kw, *windows.output, n), x.dtype)
    for i, j in windows.taps():
        columns[:, i, j] = windows.tap(padded, i, j).transpose(1, 2, 3, 0)
    return columns.reshape(groups, c // groups * kh * kw, math.prod(windows.output) * n)


def col2im(columns: Array, x: Array, windows: Windows) -> Array:
    """Add each column to the pixels that `im2col` read: the transpose of `im2col`."""
    n, c = x.shape[:2]
    columns = columns.reshape(c, *windows.kernel, *windows.output, n)
    padded = windows.accumulator(x, c, windows.padded_size)
    for i, j in windows.taps():
        windows.tap(padded, i, j)[...] += columns[:, i, j].transpose(3, 0, 1, 2)
    return windows.crop(padded).astype(x.dtype, copy=False)


def finite_at_border(factor: Array, windows: Windows) -> bool:
    """Whether a matrix product is exact: the border's 0 times infinity or NaN would give NaN."""
    return windows.padding == ((0, 0), (0, 0)) or bool(np.isfinite(factor).all())


def convolve_by_taps(x: Array, w: Array, b: Array | None, windows: Windows, groups: int) -> Array:
    """Return y, computed tap by tap without reading the border."""
    y = np.zeros((len(x), len(w), *windows.output), x.dtype)
    for i, j in windows.taps():
        outputs, pixels = windows.inside(i, j)
        y[outputs] += pointwise(x[pixels], w[:, :, i, j], groups)
    return y if b is None else y + b[:, None, None]


def correlate_by_taps(dy: Array, x: Array, w: Array, windows: Windows, groups: int) -> Array:
    """Return dw, computed tap by tap without reading the border."""
    dw = np.empty_like(w)
    for i, j in windows.taps():
        outputs, pixels = windows.inside(i, j)
        dy_rows, rows = channel_rows(dy[outputs], groups), channel_rows(x[pixels], groups)
        dw[:, :, i, j] = product(dy_rows, rows.transpose(0, 2, 1)).reshape(w.shape[:2])
    return dw


def pointwise(x: Array, w: Array, groups: int) -> Array:
    """Mix the channels of every pixel of x by matrices w (o, c/groups)."""
    n, _, h, width = x.shape
    matrices = w.reshape(groups, len(w) // groups, w.shape[1])
    y = product(matrices, channel_rows(x, groups)).reshape(len(w), h, width, n)
    return y.transpose(3, 0, 1, 2)


def channel_rows(x: Array, groups: int) -> Array:
    """Lay pixels out as columns: (n, c, h, w) -> (groups, c/groups, h w n)."""
    n, c, h, width = x.shape
    return x.transpose(1, 2, 3, 0).reshape(groups, c // groups, h * width * n)


def check_weight(x: Array, w: Array, b: Array | None, groups: int) -> None:
    """Raise ValueError unless x, w, b and groups fit together."""
    check_image("x", x)
    check_floating("w", w, like=x)
    if w.ndim != 4:
        raise ValueError(f"w has shape {w.shape}; (o, c/groups, kh, kw) is needed")
    if 0 in w.shape:
        raise ValueError(f"w has shape {w.shape}; every axis needs at least 1")
    c, o = x.shape[1], len(w)
    check_divides(groups, c)
    check_divides(groups, o, of="out_channels")
    if w.shape[1] != c // groups:
        raise ValueError(
            f"w has shape {w.shape}, but x has {c} channels in groups={groups}; "
            f"(o, {c // groups}, kh, kw) is needed"
        )
    if b is not None:
        check_vector("b", b, o, like=x, owner="w", of="output channels")


CONVOLUTION_PRODUCTS = "n*o*oh*ow * (c//g)*kh*kw"
CONVOLUTION_WEIGHTS = "o*(c//g)*kh*kw"
CONVOLUTION = Formula(  # each output sums c/g kh kw products
    of_windows,
    Terms(
        multiply_adds=CONVOLUTION_PRODUCTS,
        multiplications=CONVOLUTION_PRODUCTS,
        additions=f"{CONVOLUTION_PRODUCTS} - (1-b) * n*o*oh*ow",
        read=f"n*c*uh*uw + {CONVOLUTION_WEIGHTS} + b*o",
        written="n*o*oh*ow",
    ),
    Terms(
        multiply_adds=f"2 * {CONVOLUTION_PRODUCTS}",
        multiplications=f"2 * {CONVOLUTION_PRODUCTS}",
        additions=f"2 * {CONVOLUTION_PRODUCTS} - n*c*rh*rw - {CONVOLUTION_WEIGHTS} "
        "+ b*o * (n*oh*ow - 1)",
        read=f"n*o*oh*ow + n*c*uh*uw + {CONVOLUTION_WEIGHTS}",
        written=f"n*c*h*w + {CONVOLUTION_WEIGHTS} + b*o",
    ),
    kept=f"s * {IMAGE}",
)


def conv2d_arrays(draw: Draw) -> tuple[Array, Array, dict[str, Any]]:
    """Draw x, w and the hyperparameters of a convolution."""
    groups, c, o = draw.groups(3, 2)
    x, w, settings = draw_convolution(draw, c, o, groups, width=2, padding=((1, 0), (1, 2)))
    return x, w, {**settings, "groups": groups}


def _cases(draw: Draw) -> Case:
    x, w, settings = conv2d_arrays(draw)
    return (x, w, draw.bias(len(w))), settings


register(
    conv2d_forward,
    kind="convolution",
    linear_in=("x", "w"),
    kernel=True,
    cases=_cases,
    formula=CONVOLUTION,
)
