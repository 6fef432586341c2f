"""The transpose of the windows of `_slide`: each pixel of dx adds up its gradients from dy.

Output row p read row r of the image through tap row i = r + top - stride p, so up to three output
rows read it; the same holds for columns. For a block of 16 pixels, a kernel adds up the gradients
of all outputs that read them, so it writes dx once. If there is one image and the stride is 2,
pixels in even and in odd columns belong to different taps, so they are computed separately.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._slide import slide_of
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    load_inside,
    store_first,
    store_inside,
    zip_first,
    zip_last,
)
from numpy_shufflenet.ops.windows import Windows


class Gather(NamedTuple):
    """For each pixel of a channel, the positions of its gradients, for a batch of n images."""

    blocks: Array  # m 5: first pixel, position in dy, its tap column, number of taps, of pixels
    n: int  # numbers from one output to the next
    even: bool  # whether a block has 32 pixels, and its even and odd columns have different taps
    height: int  # rows of dx
    length: int  # numbers in a row
    stride: int  # rows from one output to the next
    step: int  # columns from one output to the next
    top: int  # rows of border above
    out_height: int
    out_length: int


@functools.lru_cache(maxsize=256)
def gather_of(windows: Windows, n: int, dtype: np.dtype[np.floating]) -> Gather | None:
    """Return the positions of gradients, or None where `slide_of` returns None."""
    slide = slide_of(windows, n, dtype)
    if slide is None:
        return None
    w, ow, step, left = windows.size[1], windows.output[1], windows.stride[1], windows.padding[1][0]
    if slide.even:  # pixel 2 q - left is the first of window q, and the last of the one before
        blocks = [(2 * q - left, q, 0, 0, 0) for q in range(left // 2, (w + left + 1) // 2, WIDTH)]
    elif step == 1:
        starts = range(0, w * n, WIDTH)
        blocks = [(k, k + (left - 2) * n, 2, 3, min(w * n - k, WIDTH)) for k in starts]
    else:
        blocks = []
        for v in range(left, left + w):
            first, last = max(0, -((2 - v) // step)), min(ow - 1, v // step)
            for k in range(0, n, WIDTH):
                start, place = (v - left) * n + k, first * n + k
                found = max(0, last - first + 1)
                blocks.append((start, place, v - step * first, found, min(n - k, WIDTH)))
    return Gather(
        np.array(blocks), n, slide.even, slide.height, slide.length, slide.stride, step,
        slide.top, slide.out_height, slide.out_length,
    )  # fmt: skip


@register_jitable
def gather_windows(
    term: Any, dy: Array, other: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx of channels first to last; all arrays are flat.

    Each pixel is the sum of term(tap, g, other, c, i, place, gather) over its taps. g is the block
    of dy that starts at dy[i], in channel c; `place` is its position in the row.
    """
    blocks, length, out_length, n = gather.blocks, gather.length, gather.out_length, gather.n
    for c in range(first, last):
        for r in range(gather.height):
            v, stride = r + gather.top, gather.stride
            begin = max(0, (v - 2 + stride - 1) // stride)
            end = min(gather.out_height, v // stride + 1)
            out = (c * gather.height + r) * length
            for m in range(blocks.shape[0]):
                k, place, j, taps, count = (
                    blocks[m, 0],
                    blocks[m, 1],
                    blocks[m, 2],
                    blocks[m, 3],
                    blocks[m, 4],
                )
                a = b = fill(0.0)
                for p in range(begin, end):
                    number = 3 * (v - stride * p)
                    i = (c * gather.out_height + p) * out_length + place
                    if gather.even:
                        g = load_inside(dy, i, place, out_length, 0.0)
                        a = add(a, term(number, g, other, c, i, place, gather))
                        b = add(b, term(number + 1, g, other, c, i, place, gather))
                        g = load_inside(dy, i - 1, place - 1, out_length, 0.0)
                        a = add(a, term(number + 2, g, other, c, i - 1, place - 1, gather))
                    else:
                        for t in range(taps):
                            at, tap = t * n, number + j - gather.step * t
                            g = load_inside(dy, i + at, place + at, out_length, 0.0)
                            a = add(a, term(tap, g, other, c, i + at, place + at, gather))
                if gather.even:
                    store_inside(dx, out + k, zip_first(a, b), k, length)
                    store_inside(dx, out + k + 16, zip_last(a, b), k + 16, length)
                else:
                    store_first(dx, out + k, a, count)
