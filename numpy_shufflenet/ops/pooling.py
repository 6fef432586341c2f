"""Pooling: each output is the maximum or mean of one window of one channel.

    max      y = max of the window              dx: each dy goes to the largest pixel
    average  y = sum of the window / k          dx: each dy / k goes to every pixel of the window
    global   y = mean of the channel            dx: dy / (h w) goes to every pixel

Windows overlap if the stride is smaller than the kernel; a pixel's gradients then add up.

The winner is the largest pixel of a window. The border of a max pool is filled with -inf, which
never wins (zeros would win over negative values). Among equal values the first in row-major order
wins; the maximum has a kink there. The border of an average pool is filled with zeros. Either the
zeros count as pixels (k = kh kw, as in the authors' V1 code), or they don't (k is the number of
pixels of the window inside the image).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops._sums import mean_over
from numpy_shufflenet.ops.checks import as_pair, check_gradient, check_image
from numpy_shufflenet.ops.windows import Windows, of_windows, smallest_image, windows_over
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import IMAGE, of_image

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs."""

    x: Array  # n c h w: its shape, dtype and layout
    winner: Array  # n c oh ow: number of the tap that won, i kw + j
    windows: Windows


def max_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> tuple[Array, MaxPool2dCache]:
    """Keep the largest value of each window; the first in row-major order, if there are several.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    kernel_size : int or (height, width)
    stride : int or (height, width), optional
        kernel_size if not given, so that windows tile the image.
    padding : int, (height, width) or ((top, bottom), (left, right))
        Rows and columns of -inf around x, fewer than the kernel's.

    Returns
    -------
    y : array, shape (n, c, oh, ow)
        oh = (h + top + bottom - kh) // stride + 1, and similarly ow. y is NaN if the window has
        NaN.

    Raises
    ------
    ValueError
        If x is not 4-dimensional, the kernel is larger than the padded input, or a window could
        lie wholly in the padding.

    Source: ShuffleNet V1, table 1; V2, table 5 (3x3, stride 2).
    """
    windows = pool_windows(x, kernel_size, stride, padding)
    padded = windows.pad(x, value=-np.inf)
    y = np.full_like(x, -np.inf, shape=(*x.shape[:2], *windows.output))
    winner = np.empty_like(y, dtype=np.int32)
    winner[...] = first_tap_inside(windows)  # this tap wins if all values are -inf
    for number, (i, j) in enumerate(windows.taps()):
        candidate = windows.tap(padded, i, j)
        wins = (candidate > y) | np.isnan(candidate)
        np.copyto(y, candidate, where=wins)
        np.copyto(winner, np.int32(number), where=wins)
    return y, MaxPool2dCache(x, winner, windows)


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """Gradient of `max_pool2d_forward`: dx (n, c, h, w)."""
    x, winner, windows = cache
    check_gradient(dy, winner.shape, x.dtype)
    dpadded = windows.accumulator(x, x.shape[1], windows.padded_size)
    for number, (i, j) in enumerate(windows.taps()):
        windows.tap(dpadded, i, j)[...] += np.where(winner == number, dy, 0)
    return windows.crop(dpadded).astype(x.dtype, copy=False)


class AvgPool2dCache(NamedTuple):
    """What `avg_pool2d_backward` needs."""

    x: Array  # n c h w: its shape, dtype and layout
    share: Array  # oh ow: 1 / k, the weight of each pixel of the window
    windows: Windows


def avg_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> tuple[Array, AvgPool2dCache]:
    """Average each window.

    Parameters
    ----------
    x, kernel_size, stride, padding
        As in `max_pool2d_forward`, with zeros around x. Returns and errors are the same, too.
    count_include_pad : bool
        Whether the zeros count as pixels.

    Source: the shortcut of the stride-2 unit: ShuffleNet V1, section 3.2 and figure 2c.
    """
    windows = pool_windows(x, kernel_size, stride, padding)
    padded = windows.pad(x)
    y = windows.accumulator(x, x.shape[1], windows.output)
    for i, j in windows.taps():
        y += windows.tap(padded, i, j)
    share = average_share(windows, count_include_pad, x.dtype)  # oh ow
    y *= share
    return y.astype(x.dtype, copy=False), AvgPool2dCache(x, share, windows)


def avg_pool2d_backward(dy: Array, cache: AvgPool2dCache) -> Array:
    """Gradient of `avg_pool2d_forward`: dx (n, c, h, w)."""
    x, share, windows = cache
    check_gradient(dy, (*x.shape[:2], *windows.output), x.dtype)
    dpadded = windows.accumulator(x, x.shape[1], windows.padded_size)
    for i, j in windows.taps():
        windows.tap(dpadded, i, j)[...] += dy * share
    return windows.crop(dpadded).astype(x.dtype, copy=False)


class GlobalAvgPoolCache(NamedTuple):
    """What `global_avg_pool_backward` needs."""

    x: Array  # n c h w: its shape, dtype and layout


def global_avg_pool_forward(x: Array) -> tuple[Array, GlobalAvgPoolCache]:
    """Average each channel over the whole image.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64

    Returns
    -------
    y : array, shape (n, c)

    Raises
    ------
    ValueError
        If x is not 4-dimensional, or has no pixel.

    Source: Lin, Chen, Yan, Network in network, 2013, section 3.2.
    """
    check_pixels(x)
    return mean_over(x, (2, 3)), GlobalAvgPoolCache(x)


def global_avg_pool_backward(dy: Array, cache: GlobalAvgPoolCache) -> Array:
    """Gradient of `global_avg_pool_forward`: dx (n, c, h, w)."""
    (x,) = cache
    n, c, h, w = x.shape
    check_gradient(dy, (n, c), x.dtype)
    dx = np.empty_like(x)
    dx[...] = (dy / (h * w))[:, :, None, None]
    return dx


def average_share(windows: Windows, count_include_pad: bool, dtype: np.dtype[np.floating]) -> Array:
    """Return 1 / k for each window, k being the number of pixels that count: (oh, ow)."""
    if count_include_pad:
        return np.full(windows.output, 1 / np.prod(windows.kernel), dtype)
    inside = windows.pad(np.ones((1, 1, *windows.size), dtype))
    return 1 / sum(windows.tap(inside, i, j)[0, 0] for i, j in windows.taps())


def first_tap_inside(windows: Windows) -> Array:
    """Return the number of the first tap of each window that is not in the border: (oh, ow)."""
    (oh, ow), (sh, sw) = windows.output, windows.stride
    (top, _), (left, _) = windows.padding
    i = np.maximum(top - sh * np.arange(oh), 0)
    j = np.maximum(left - sw * np.arange(ow), 0)
    return i[:, None] * windows.kernel[1] + j


def pool_windows(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair | None, padding: Padding
) -> Windows:
    """Work out the windows over x, or raise ValueError if they don't fit."""
    check_image("x", x)
    kernel = as_pair("kernel_size", kernel_size)
    windows = windows_over(x, kernel, stride=kernel if stride is None else stride, padding=padding)
    for sides, size in zip(windows.padding, kernel, strict=True):
        if max(sides) >= size:
            raise ValueError(
                f"padding={padding!r} is not smaller than kernel_size={kernel_size!r}; "
                "a window could lie wholly in the padding"
            )
    return windows


def check_pixels(x: Array) -> None:
    """Raise ValueError unless x is an image of at least one pixel."""
    check_image("x", x)
    if 0 in x.shape[2:]:
        raise ValueError(f"x has shape {x.shape}; an image without a pixel has no mean")


def _pool(draw: Draw, make: Callable[..., Array]) -> Case:
    """Draw a pool in which every window reads at least one pixel."""
    kernel_size = draw.pair(1, 3, example=3)
    kernel = as_pair("kernel_size", kernel_size)
    stride = draw.option("stride", None, lambda: draw.choose(2, None, 1, 3, (1, 2)))
    padding = draw.option(
        "padding", 0, lambda: draw.padding((kernel[0] - 1, kernel[1] - 1), example=1)
    )
    low = smallest_image(kernel, padding)
    size = draw.side(low[0], example=6), draw.side(low[1], example=5)
    x = make(draw.batch(), draw.integer(1, 4, example=3), *size)
    return (x,), {"kernel_size": kernel_size, "stride": stride, "padding": padding}


def _avg_pool_cases(draw: Draw) -> Case:
    arrays, settings = _pool(draw, draw)
    counted = draw.option("count_include_pad", True, lambda: draw.choose(False, True))
    return arrays, {**settings, "count_include_pad": counted}


register(
    max_pool2d_forward,
    kind="pooling",
    kernel=True,
    cases=lambda draw: _pool(draw, draw.tied),
    formula=Formula(
        of_windows,
        Terms(
            comparisons="n*c*oh*ow * (kh*kw - 1)",
            read="n*c*uh*uw",
            written="n*c*oh*ow",
        ),
        Terms(additions="n*c*oh*ow", read="2 * n*c*oh*ow", written=IMAGE),
        kept=f"s * {IMAGE} + 4 * n*c*oh*ow",
    ),
)
register(
    avg_pool2d_forward,
    kind="pooling",
    linear_in=("x",),
    kernel=True,
    cases=_avg_pool_cases,
    formula=Formula(
        of_windows,
        Terms(
            multiplications="n*c*oh*ow * kh*kw",
            additions="n*c*oh*ow * (kh*kw - 1)",
            read="n*c*uh*uw",
            written="n*c*oh*ow",
        ),
        Terms(
            multiplications="n*c*oh*ow * kh*kw",
            additions="n*c * (oh*ow*kh*kw - rh*rw)",
            read="n*c*oh*ow",
            written=IMAGE,
        ),
        kept=f"s * ({IMAGE} + oh*ow)",
    ),
)
register(
    global_avg_pool_forward,
    kind="pooling",
    linear_in=("x",),
    kernel=True,
    cases=lambda draw: ((draw(*draw.image(example=(3, 4, 5))),), {}),
    formula=Formula(
        of_image,
        Terms(multiplications=IMAGE, additions="n*c * (h*w - 1)", read=IMAGE, written="n*c"),
        Terms(multiplications=IMAGE, read="n*c", written=IMAGE),
        kept=f"s * {IMAGE}",
    ),
)
