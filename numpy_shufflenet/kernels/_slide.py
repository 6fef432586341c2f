"""3x3 windows that read the image without copying it, 16 outputs at a time.

A channel consists of rows of w n numbers: pixel by pixel, and for each pixel all n images. The next
tap of a window is n numbers further. So 16 neighbouring outputs read 16 neighbouring numbers
through a tap. With stride 1, these may belong to several pixels; with other strides, they are the
images of one pixel. If there is one image and the stride is 2, the outputs read every second
number. The border is not in memory, and `load_inside` doesn't read beyond either end of a row.

`slide_of` computes the positions once for a shape, as a table of blocks. A kernel goes through the
blocks, and calls `three` for each of three rows, which returns three vectors.
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
FEW = 8  # with fewer images, most lanes of a vector that reads one pixel would be unused
PAIRS = WIDTH - 1  # outputs that read every second number: two vectors hold the 31 they need
_HAS_MASKS = llvmlite.binding.get_host_cpu_features().get("avx512f", False)


class Slide(NamedTuple):
    """The positions of windows in the memory of a channel, for a batch of n images."""

    blocks: Array  # m 3: first output in its row, position of its first tap, number of outputs
    n: int  # numbers from one tap to the next
    even: bool  # whether outputs read every second number
    height: int  # rows of x
    length: int  # numbers in a row
    stride: int  # rows from one output to the next
    top: int  # rows of border above x
    out_height: int
    out_length: int


@functools.lru_cache(maxsize=256)
def slide_of(windows: Windows, n: int, dtype: np.dtype[np.floating]) -> Slide | None:
    """Return the positions of windows, or None if other kernels are as fast or faster."""
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
def input_rows(slide: Slide, c: int, p: int) -> tuple[int, tuple[int, int, int]]:
    """Return the rows of x that output row p of channel c reads.

    They are the start of the first row, and the lengths of all three: 0 for a row of the border.
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
    """Return the three vectors of a row for outputs that read every second number of a and b."""
    left = evens(a, b)
    return left, odds(a, b), later(left)


@register_jitable
def three(x: Array, i: int, place: int, length: int, slide: Slide, outside: float) -> Three:
    """Return what a block of outputs reads of a row through three taps, the first at x[i]."""
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
    """Return the same as `three` if the outputs read neighbouring numbers, all of them inside."""
    return load(x, i), load(x, i + slide.n), load(x, i + 2 * slide.n)
