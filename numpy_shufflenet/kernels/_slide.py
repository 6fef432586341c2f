"""Windows of 3x3 that slide along rows, 16 outputs at a time, straight from the image.

A channel is rows of w n numbers, image next to image. From one tap of a window to the next it is n
numbers, so 16 neighbouring outputs look through a tap at 16 neighbouring numbers: with stride 1
wherever they lie, with other strides among the images of one pixel. Of a single image, with stride
2, they look at every second number. What lies in the border is never read: `load_inside` knows
where a row begins and ends.

All this is worked out once for a shape (`slide_of`), as a table of blocks and one of rows; a kernel
goes through both, and gets three vectors from `three` for each of the three rows.
"""

import functools
from typing import NamedTuple

import llvmlite.binding
import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH, evens, later, load, load_inside, odds
from numpy_shufflenet.ops.windows import Windows

Three = tuple[Array, Array, Array]
FEW = 8  # images of one pixel that are worth a vector of their own
PAIRS = WIDTH - 1  # outputs that look at every second number: two vectors hold 31 of what they see
_HAS_MASKS = llvmlite.binding.get_host_cpu_features().get("avx512f", False)


class Slide(NamedTuple):
    """Where windows lie in the memory of a channel, for a batch of n images."""

    blocks: Array  # m 3: the first output in its row, the place of its first tap, how many outputs
    n: int  # numbers from one tap to the next
    even: bool  # outputs look at every second number
    height: int  # rows of x
    length: int  # numbers in each
    stride: int  # rows from one output to the next
    top: int  # rows of border
    out_height: int
    out_length: int


@functools.lru_cache(maxsize=256)
def slide_of(windows: Windows, n: int, dtype: np.dtype[np.floating]) -> Slide | None:
    """Work out where windows lie; None if other kernels do it as well or better."""
    (h, w), (oh, ow), (stride, step) = windows.size, windows.output, windows.stride
    (top, _), (left, _) = windows.padding
    if not (_HAS_MASKS and dtype == np.float32 and 0 < n * (w + 2 * WIDTH) < 1 << 31):
        return None
    if windows.kernel != (3, 3) or windows.dilation != (1, 1):
        return None
    even = n == 1 and step == 2
    if step > 1 and not even and n < FEW:
        return None
    if even:
        starts = [(q, 2 * q - left, min(ow - q, PAIRS)) for q in range(0, ow, PAIRS)]
    elif step == 1:
        starts = [(k, k - left * n, min(ow * n - k, WIDTH)) for k in range(0, ow * n, WIDTH)]
    else:
        starts = [
            (q * n + k, (step * q - left) * n + k, min(n - k, WIDTH))
            for q in range(ow)
            for k in range(0, n, WIDTH)
        ]
    return Slide(np.array(starts), n, even, h, w * n, stride, top, oh, ow * n)


@register_jitable
def rows_of(slide: Slide, c: int, p: int) -> tuple[int, tuple[int, int, int]]:
    """Return where the rows of x lie that output row p of channel c sees.

    That is where the first one starts, and the length of all three: 0 in the border.
    """
    r, h, length = slide.stride * p - slide.top, slide.height, slide.length
    lengths = (
        length if 0 <= r < h else 0,
        length if 0 <= r + 1 < h else 0,
        length if 0 <= r + 2 < h else 0,
    )
    return (c * h + r) * length, lengths


@register_jitable
def apart(a: Array, b: Array) -> Three:
    """Return what outputs see through three taps that look at every second number of a and b."""
    left = evens(a, b)
    return left, odds(a, b), later(left)


@register_jitable
def three(x: Array, i: int, place: int, length: int, slide: Slide, outside: float) -> Three:
    """Return what a block, whose first tap is x[i], sees of a row through its three taps."""
    n = slide.n
    if slide.even:
        a = load_inside(x, i, place, length, outside)
        return apart(a, load_inside(x, i + 16, place + 16, length, outside))
    return (
        load_inside(x, i, place, length, outside),
        load_inside(x, i + n, place + n, length, outside),
        load_inside(x, i + 2 * n, place + 2 * n, length, outside),
    )


@register_jitable
def three_whole(x: Array, i: int, place: int, length: int, slide: Slide, outside: float) -> Three:
    """Return the same where everything is inside, and lies side by side."""
    return load(x, i), load(x, i + slide.n), load(x, i + 2 * slide.n)
