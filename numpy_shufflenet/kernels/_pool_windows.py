"""3x3 pooling that reads the image without copying it (see `_slide`, `_gather`).

Max pooling first computes the maximum of 16 windows, and then the first tap that is equal to it.
All arrays are flat, except the tables.
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._gather import Gather, gather_windows
from numpy_shufflenet.kernels._slide import Slide, apart, input_rows, three
from numpy_shufflenet.kernels._vectors import (
    add,
    choose_equal,
    fill,
    in_order,
    larger,
    load_inside,
    scale,
    store_first,
    store_inside,
    zip_first,
    zip_last,
)


@register_jitable
def average_plane(x: Array, weight: Array, slide: Slide, c: int, y: Array) -> None:
    """Compute a channel of a single image with stride 2, block by block, each from top to bottom.

    Rows are added before even and odd columns are separated. The last row of a window is also the
    first row of the next one.
    """
    length, out_length = slide.length, slide.out_length
    for m in range(slide.blocks.shape[0]):
        k, place, count = slide.blocks[m, 0], slide.blocks[m, 1], slide.blocks[m, 2]
        start, (l0, _, _) = input_rows(slide, c, 0)
        i, o = start + place, c * slide.out_height * out_length + k
        a = load_inside(x, i, place, l0, 0.0)
        b = load_inside(x, i + 16, place + 16, l0, 0.0)
        for p in range(slide.out_height):
            _, (_, l1, l2) = input_rows(slide, c, p)
            if l1 == length and l2 == length:
                s0, s1, a, b = two_rows(x, i + length, place, length, length, length, a, b)
            else:
                s0, s1, a, b = two_rows(x, i + length, place, length, l1, l2, a, b)
            i += 2 * length
            left, middle, right = apart(s0, s1)
            weights = load_inside(weight, p * out_length + k, 0, count, 0.0)
            store_first(y, o, scale(weights, add(add(left, middle), right)), count)
            o += out_length


@register_jitable
def two_rows(
    x: Array, i: int, place: int, length: int, l1: int, l2: int, a: Array, b: Array
) -> tuple[Array, Array, Array, Array]:
    """Add two rows to the row above, which is (a, b); return the sums, and the last row."""
    s0 = add(a, load_inside(x, i, place, l1, 0.0))
    s1 = add(b, load_inside(x, i + 16, place + 16, l1, 0.0))
    i += length
    a = load_inside(x, i, place, l2, 0.0)
    b = load_inside(x, i + 16, place + 16, l2, 0.0)
    return add(s0, a), add(s1, b), a, b


@compiled
def average_windows(x: Array, weight: Array, slide: Slide, first: int, last: int, y: Array) -> None:
    """Compute y of channels first to last, like `avg_pool_channels`; all arrays are flat."""
    blocks, length, out_length = slide.blocks, slide.length, slide.out_length
    for c in range(first, last):
        if slide.even and slide.stride == 2:
            average_plane(x, weight, slide, c, y)
            continue
        for p in range(slide.out_height):
            start, lengths = input_rows(slide, c, p)
            for m in range(blocks.shape[0]):
                k, place, count = blocks[m, 0], blocks[m, 1], blocks[m, 2]
                i = start + place
                s0 = s1 = s2 = fill(0.0)  # the three columns
                for inside in lengths:
                    x0, x1, x2 = three(x, i, place, inside, slide, 0.0)
                    s0, s1, s2 = add(s0, x0), add(s1, x1), add(s2, x2)
                    i += length
                weights = load_inside(weight, p * out_length + k, 0, count, 0.0)
                o = (c * slide.out_height + p) * out_length + k
                store_first(y, o, scale(weights, add(add(s0, s1), s2)), count)


@compiled
def largest_windows(x: Array, slide: Slide, first: int, last: int, y: Array, winner: Array) -> None:
    """Compute y and winner of channels first to last, like `max_pool_channels`.

    If a window of a block holds NaN, or only -inf, its outputs are computed one by one.
    """
    blocks, length = slide.blocks, slide.length
    for c in range(first, last):
        for p in range(slide.out_height):
            start, (l0, l1, l2) = input_rows(slide, c, p)
            out = (c * slide.out_height + p) * slide.out_length
            for m in range(blocks.shape[0]):
                k, place, count = out + blocks[m, 0], blocks[m, 1], blocks[m, 2]
                i = start + place
                x0, x1, x2 = three(x, i, place, l0, slide, -np.inf)
                x3, x4, x5 = three(x, i + length, place, l1, slide, -np.inf)
                x6, x7, x8 = three(x, i + 2 * length, place, l2, slide, -np.inf)
                top, any_top = larger(x2, larger(x1, x0)), add(add(x0, x1), x2)
                middle, any_middle = larger(x5, larger(x4, x3)), add(add(x3, x4), x5)
                bottom, any_bottom = larger(x8, larger(x7, x6)), add(add(x6, x7), x8)
                best = larger(
                    bottom, larger(middle, top)
                )  # the first of equal numbers, such as -0.0 and 0.0
                if in_order(best, add(add(any_top, any_middle), any_bottom), count):
                    win = choose_equal(x7, best, fill(7.0), fill(8.0))
                    win = choose_equal(x6, best, fill(6.0), win)
                    win = choose_equal(x5, best, fill(5.0), win)
                    win = choose_equal(x4, best, fill(4.0), win)
                    win = choose_equal(x3, best, fill(3.0), win)
                    win = choose_equal(x2, best, fill(2.0), win)
                    win = choose_equal(x1, best, fill(1.0), win)
                    win = choose_equal(x0, best, fill(0.0), win)
                    store_first(y, k, best, count)
                    store_first(winner, k, win, count)
                else:
                    for lane in range(count):
                        largest_in_window(x, slide, c, p, m, lane, y, winner)


@compiled
def largest_in_window(
    x: Array, slide: Slide, c: int, p: int, m: int, lane: int, y: Array, winner: Array
) -> None:
    """Compute one output of block m in row p: the largest tap inside, or the last NaN."""
    start, lengths = input_rows(slide, c, p)
    k = (c * slide.out_height + p) * slide.out_length + slide.blocks[m, 0] + lane
    left = slide.blocks[m, 1] + (2 * lane if slide.even else lane)
    tap, best, win = 0, x.dtype.type(-np.inf), -1
    for length in lengths:
        for j in range(3):
            place = left + j * slide.n
            if 0 <= place < length:
                value = x[start + place]
                if win < 0 or value > best or value != value:
                    best, win = value, tap
            tap += 1
        start += slide.length
    y[k], winner[k] = best, win


@register_jitable
def _if_it_won(
    tap: int, dy: Array, winner: Array, c: int, i: int, place: int, gather: Gather
) -> Array:
    won = load_inside(winner, i, place, gather.out_length, 0.0)
    return choose_equal(fill(np.float32(tap)), won, dy, fill(0.0))


@register_jitable
def _weighed(
    tap: int, dy: Array, weight: Array, c: int, i: int, place: int, gather: Gather
) -> Array:
    i -= c * gather.out_height * gather.out_length  # `weight` has one channel only
    return scale(load_inside(weight, i, place, gather.out_length, 0.0), dy)


@compiled
def gather_from_winners(
    dy: Array, winner: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx of channels first to last, like `max_pool_backward_channels`."""
    gather_windows(_if_it_won, dy, winner, gather, first, last, dx)


@register_jitable
def spread_plane(dy: Array, weight: Array, gather: Gather, c: int, dx: Array) -> None:
    """Compute dx of a channel of a single image with stride 2: the transpose of `average_plane`.

    The gradient of output row p goes to rows 2 p, 2 p + 1 and 2 p + 2 of the bordered image; the
    last of them also belongs to output row p + 1.
    """
    length, out_length, top = gather.length, gather.out_length, gather.top
    for m in range(gather.blocks.shape[0]):
        k, place = gather.blocks[m, 0], gather.blocks[m, 1]
        i, j = c * gather.out_height * out_length + place, place
        out = (c * gather.height - top) * length + k
        last_a = last_b = fill(0.0)
        for p in range(gather.out_height + 1):
            a = b = fill(0.0)  # the gradients of pixels in even and odd columns
            if p < gather.out_height:
                b = _weighed_row(dy, i, weight, j, place, out_length)
                a = add(b, _weighed_row(dy, i - 1, weight, j - 1, place - 1, out_length))
            for row in range(2):
                if 0 <= 2 * p + row - top < gather.height:
                    g, h = (a, b) if row else (add(a, last_a), add(b, last_b))
                    store_inside(dx, out, zip_first(g, h), k, length)
                    store_inside(dx, out + 16, zip_last(g, h), k + 16, length)
                out += length
            last_a, last_b = a, b
            i, j = i + out_length, j + out_length


@register_jitable
def _weighed_row(dy: Array, i: int, weight: Array, j: int, place: int, length: int) -> Array:
    g = load_inside(dy, i, place, length, 0.0)
    return scale(load_inside(weight, j, place, length, 0.0), g)


@compiled
def gather_averages(
    dy: Array, weight: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx of channels first to last, like `avg_pool_backward_channels`."""
    if gather.even and gather.stride == 2:
        for c in range(first, last):
            spread_plane(dy, weight, gather, c, dx)
    else:
        gather_windows(_weighed, dy, weight, gather, first, last, dx)
