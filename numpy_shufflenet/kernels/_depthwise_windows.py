"""3x3 depthwise convolution that reads the image without copying it (see `_slide`, `_gather`).

Forward, nine multiply-adds of vectors compute 16 outputs. Backward, dw[i, j] is the inner product
of dy and the pixels that tap (i, j) reads, and each pixel of dx is the sum of its gradients.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._gather import Gather, gather_windows
from numpy_shufflenet.kernels._slide import Slide, Three, input_rows, three, three_whole
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    keep_first,
    load_inside,
    scale,
    store,
    store_first,
    sum_lanes,
)


@register_jitable
def weighted_block(
    see: Any, rows: Three, place: int, slide: Slide, weights: tuple[float, ...]
) -> Array:
    """Return the weighted sums of a block; `weights` has nine weights and the bias."""
    r0, r1, r2 = rows
    w0, w1, w2, w3, w4, w5, w6, w7, w8, b = weights
    x0, x1, x2 = see(r0, place, place, slide.length, slide, 0.0)
    top = fma(w2, x2, fma(w1, x1, fma(w0, x0, fill(b))))
    x0, x1, x2 = see(r1, place, place, slide.length, slide, 0.0)
    middle = fma(w5, x2, fma(w4, x1, scale(w3, x0)))
    x0, x1, x2 = see(r2, place, place, slide.length, slide, 0.0)
    bottom = fma(w8, x2, fma(w7, x1, scale(w6, x0)))
    return add(add(top, middle), bottom)


@compiled
def convolve_windows(
    x: Array, w: Array, b: Array, slide: Slide, first: int, last: int, y: Array
) -> None:
    """Compute the outputs y of channels first to last: 3x3 filters w (c m, 9); x and y are flat."""
    blocks, h, length, n = slide.blocks, slide.height, slide.length, slide.n
    m = w.shape[0] * h * length // x.size
    border = np.zeros(length, x.dtype)  # a row of the border
    within = -1 if slide.even else length - 2 * n - WIDTH
    for o in range(first * m, last * m):
        w_o = w[o]
        weights = (
            w_o[0], w_o[1], w_o[2], w_o[3], w_o[4], w_o[5], w_o[6], w_o[7], w_o[8], b[o],
        )  # fmt: skip
        for p in range(slide.out_height):
            r, out = slide.stride * p - slide.top, (o * slide.out_height + p) * slide.out_length
            start = (o // m * h + r) * length
            rows = (
                x[start:] if 0 <= r < h else border,
                x[start + length :] if 0 <= r + 1 < h else border,
                x[start + 2 * length :] if 0 <= r + 2 < h else border,
            )
            for block in range(blocks.shape[0]):
                k, place, count = blocks[block, 0], blocks[block, 1], blocks[block, 2]
                if 0 <= place <= within and count == WIDTH:
                    store(y, out + k, weighted_block(three_whole, rows, place, slide, weights))
                else:
                    store_first(
                        y, out + k, weighted_block(three, rows, place, slide, weights), count
                    )


@compiled
def correlate_windows(dy: Array, x: Array, slide: Slide, first: int, last: int, dw: Array) -> None:
    """Compute dw (c, 9) of channels first to last: inner products of dy and the taps' pixels.

    About 64 blocks are added in float32, and their sums in float64. dy and x are flat.
    """
    blocks, length, zero = slide.blocks, slide.length, fill(0.0)
    often = 1 + 64 // blocks.shape[0]  # rows that are summed in float32
    total = np.zeros(9)
    for c in range(first, last):
        total[:] = 0
        for begin in range(0, slide.out_height, often):
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = zero
            for p in range(begin, min(begin + often, slide.out_height)):
                start, (l0, l1, l2) = input_rows(slide, c, p)
                out = (c * slide.out_height + p) * slide.out_length
                for m in range(blocks.shape[0]):
                    k, place, count = blocks[m, 0], blocks[m, 1], blocks[m, 2]
                    g, i = load_inside(dy, out + k, 0, count, 0.0), start + place
                    x0, x1, x2 = three_first(x, i, place, l0, slide, count)
                    s0, s1, s2 = fma(g, x0, s0), fma(g, x1, s1), fma(g, x2, s2)
                    x0, x1, x2 = three_first(x, i + length, place, l1, slide, count)
                    s3, s4, s5 = fma(g, x0, s3), fma(g, x1, s4), fma(g, x2, s5)
                    x0, x1, x2 = three_first(x, i + 2 * length, place, l2, slide, count)
                    s6, s7, s8 = fma(g, x0, s6), fma(g, x1, s7), fma(g, x2, s8)
            total[0] += sum_lanes(s0)
            total[1] += sum_lanes(s1)
            total[2] += sum_lanes(s2)
            total[3] += sum_lanes(s3)
            total[4] += sum_lanes(s4)
            total[5] += sum_lanes(s5)
            total[6] += sum_lanes(s6)
            total[7] += sum_lanes(s7)
            total[8] += sum_lanes(s8)
        dw[c] = total


@register_jitable
def three_first(x: Array, i: int, place: int, length: int, slide: Slide, count: int) -> Three:
    """Return `three` with 0 after the first `count`: a NaN there, times 0, would be NaN."""
    a, b, c = three(x, i, place, length, slide, 0.0)
    return keep_first(a, count), keep_first(b, count), keep_first(c, count)


@register_jitable
def _through_tap(
    tap: int, dy: Array, w: Array, c: int, i: int, place: int, gather: Gather
) -> Array:
    return scale(w[c, tap], dy)


@compiled
def gather_through_taps(
    dy: Array, w: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx of channels first to last for filters w (c, 9); dy and dx are flat."""
    gather_windows(_through_tap, dy, w, gather, first, last, dx)
