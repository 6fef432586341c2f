"""Instructions with a 3x3 window over each row: depthwise convolution and pooling.

The view of a row is first written to scratch, with a border of one pixel, as a *plane*. With stride
1, the rows of a plane are those of the image. With stride 2, each row of a plane has the odd
columns first, then the even ones,

    0  1  3  5 ...  |  0  2  4 ...        (the first 0 is the border)

so that each of the 9 taps reads neighbouring numbers for neighbouring outputs, for any stride.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays, instruction
from numpy_shufflenet.engine.rows import (
    LONG,
    add_moments,
    copy_gradient,
    copy_view,
    note_sums,
)
from numpy_shufflenet.engine.taps import dot_9, weigh_1, weigh_2, weigh_4, weigh_9
from numpy_shufflenet.engine.tiles import LANES
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    choose_equal,
    fill,
    fma,
    keep_first,
    load,
    maximum,
    scale,
    store,
)

SLACK = 64  # numbers after a plane that vectors may read or write
AVERAGE, MAXIMUM = 0, 1

WINDOW = np.dtype(
    [
        ("turns", np.int64),  # channels
        ("kind", np.int64),  # of a pool
        ("n", np.int64),
        ("h", np.int64),
        ("w", np.int64),
        ("stride", np.int64),
        ("inputs", np.int64),  # table: positions
        ("input_slots", np.int64),  # table
        ("outputs", np.int64),  # table: positions
        ("weights", np.int64),  # position of the weights, 9 for each channel
        ("slot", np.int64),  # slot of the first output; -1 if no moments are computed
    ]
)

WINDOW_BACKWARD = np.dtype(
    [
        *WINDOW.descr[:-1],
        ("gradients", np.int64),  # table: positions of the gradients of views of the outputs
        ("output_slots", np.int64),  # table
        ("results", np.int64),  # table: where dx goes
        ("more", np.int64),  # whether dx is added to what is there: 0 or 1
        ("last", np.int64),  # whether dx is complete, so that its sums are computed: 0 or 1
        ("dw", np.int64),  # position of the weight gradients, 9 for each channel
    ]
)


class Plane(NamedTuple):
    """The layout in scratch of an image (h, w, n) with its border."""

    n: int
    h: int
    w: int
    stride: int
    half: int  # pixels of a row that have an even column, if stride is 2
    pitch: int  # numbers from one row to the next
    size: int


@register_jitable
def plane_of(n: int, h: int, w: int, stride: int) -> Plane:
    """Return the layout for windows of this stride."""
    half = (w + 1) // 2
    pitch = (w + 2) * n if stride == 1 else (2 * half + 1) * n
    return Plane(n, h, w, stride, half, pitch, (h + 3) * pitch)


@compiled
def clear(scratch: Array, start: int, plane: Plane, value: float) -> None:
    """Set all numbers of a plane and its border to value."""
    for i in range(start, start + plane.size + SLACK):
        scratch[i] = value


@compiled
def clear_border(scratch: Array, start: int, plane: Plane, value: float) -> None:
    """Set the border of a plane to value: all numbers that the image's rows don't cover."""
    n, pitch = plane.n, plane.pitch
    right = (plane.w + 1 if plane.stride == 1 else plane.half) * n
    for i in range(start, start + pitch):
        scratch[i] = value
    for i in range(start + (plane.h + 1) * pitch, start + plane.size + SLACK):
        scratch[i] = value
    for row in range(start + pitch, start + (plane.h + 1) * pitch, pitch):
        for i in range(n):
            scratch[row + i] = value
            scratch[row + right + i] = value


@register_jitable
def spread_row(row: Array, at: int, plane: Plane, y: int, out: Array, start: int) -> None:
    """Write row y of an image to a plane of stride 2."""
    n, base = plane.n, start + (y + 1) * plane.pitch
    even = base + (plane.half + 1) * n
    for x in range(plane.w):
        to = even + x // 2 * n if x % 2 == 0 else base + (x // 2 + 1) * n
        for i in range(n):
            out[to + i] = row[at + x * n + i]


@compiled
def gather_row(planes: Array, start: int, plane: Plane, y: int, out: Array, to: int) -> None:
    """Read row y of an image from a plane of stride 2: the counterpart of `spread_row`."""
    n, base = plane.n, start + (y + 1) * plane.pitch
    even = base + (plane.half + 1) * n
    for x in range(plane.w):
        at = even + x // 2 * n if x % 2 == 0 else base + (x // 2 + 1) * n
        for i in range(n):
            out[to + x * n + i] = planes[at + i]


@compiled
def fill_plane(arrays: Arrays, z: int, slot: int, plane: Plane, start: int, row: int) -> None:
    """Write the view of a row of memory to a plane whose border is set; `row` is for scratch."""
    length, scratch = plane.w * plane.n, arrays.scratch
    for y in range(plane.h):
        at = z + y * length
        if plane.stride == 1:
            to = start + (y + 1) * plane.pitch + plane.n
            copy_exactly(arrays.memory, at, arrays.slots, slot, length, scratch, to, row)
        else:
            copy_view(arrays.memory, at, arrays.slots, slot, length, scratch, row)
            spread_row(scratch, row, plane, y, scratch, start)


@register_jitable
def copy_exactly(
    memory: Array, z: int, slots: Array, slot: int, length: int, out: Array, to: int, row: int
) -> None:
    """As `copy_view`, but write nothing beyond the end."""
    whole = length // WIDTH * WIDTH
    copy_view(memory, z, slots, slot, whole, out, to)
    if whole < length:
        copy_view(memory, z + whole, slots, slot, length - whole, out, row)
        for i in range(length - whole):
            out[to + whole + i] = out[row + i]


@register_jitable
def set_taps(plane: Plane, p: int, start: int, starts: Array) -> None:
    """Set where the 9 taps begin to read for row p of the outputs."""
    n = plane.n
    for i in range(3):
        base = start + (plane.stride * p + i) * plane.pitch
        starts[3 * i] = base
        starts[3 * i + 1] = base + (n if plane.stride == 1 else (plane.half + 1) * n)
        starts[3 * i + 2] = base + (2 * n if plane.stride == 1 else n)


@register_jitable
def output_size(it: Any) -> tuple[int, int]:
    """Return the height and the width of the output."""
    return (it.h - 1) // it.stride + 1, (it.w - 1) // it.stride + 1


@compiled
def note_moments(arrays: Arrays, y: int, columns: int, slot: int) -> None:
    """Compute the moments of a whole row, and store them as the moments of its first part."""
    wide = arrays.wide
    wide[:2] = 0
    for first in range(0, columns, LONG):
        add_moments(arrays.memory, y + first, min(LONG, columns - first), first, wide, 0)
    moments = arrays.moments[slot]
    moments[:] = 0
    moments[0, 0], moments[0, 1], moments[0, 2] = columns, wide[0], wide[1]


@instruction(WINDOW)
def run_depthwise(it: Any, arrays: Arrays, c: int) -> None:
    """Convolve one channel with its filter."""
    tables, scratch = arrays.tables, arrays.scratch
    plane = plane_of(it.n, it.h, it.w, it.stride)
    row = plane.size + SLACK
    oh, ow = output_size(it)
    y, starts = tables[it.outputs + c], np.empty(9, np.int64)
    w = arrays.memory[it.weights + 9 * c : it.weights + 9 * c + 9]
    clear_border(scratch, 0, plane, np.float32(0))
    fill_plane(arrays, tables[it.inputs + c], tables[it.input_slots + c], plane, 0, row)
    for p in range(oh):
        set_taps(plane, p, 0, starts)
        weigh_9(scratch, starts, w, ow * it.n, arrays.memory, y + p * ow * it.n)
    if it.slot >= 0:
        note_moments(arrays, y, oh * ow * it.n, it.slot + c)


@instruction(WINDOW_BACKWARD)
def run_depthwise_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Compute dx and dw of one channel."""
    tables, scratch, memory = arrays.tables, arrays.scratch, arrays.memory
    plane = plane_of(it.n, it.h, it.w, it.stride)
    oh, ow = output_size(it)
    n, length = it.n, ow * it.n
    outer = plane_of(n, oh, ow, 1)  # the plane of the gradient
    g = plane.size + SLACK
    result = g + outer.size + SLACK
    row = result + plane.size + SLACK
    starts, w = np.empty(9, np.int64), memory[it.weights + 9 * c : it.weights + 9 * c + 9]

    clear_border(scratch, 0, plane, np.float32(0))
    fill_plane(arrays, tables[it.inputs + c], tables[it.input_slots + c], plane, 0, row)
    clear_border(scratch, g, outer, np.float32(0))
    slot = tables[it.output_slots + c]
    whole = length // WIDTH * WIDTH
    for p in range(oh):
        at = p * length
        dy, z = tables[it.gradients + c] + at, tables[it.outputs + c] + at
        to = g + (p + 1) * outer.pitch + n
        copy_gradient(memory, dy, z, arrays.slots, slot, whole, scratch, to)
        if whole < length:
            copy_gradient(
                memory, dy + whole, z + whole, arrays.slots, slot, length - whole, scratch, row
            )
            for i in range(length - whole):
                scratch[to + whole + i] = scratch[row + i]

    sums = np.zeros(9 * LANES, np.float32)
    totals = np.zeros(9, np.float64)
    for p in range(oh):
        set_taps(plane, p, 0, starts)
        dot_9(scratch, g + (p + 1) * outer.pitch + n, scratch, starts, length, sums)
    for t in range(9):
        for lane in range(LANES):
            totals[t] += sums[t * LANES + lane]
        arrays.parameter_gradients[it.dw + 9 * c + t] = totals[t]

    if it.stride == 1:
        flipped, to = w[::-1].copy(), tables[it.results + c]
        for y in range(it.h):
            set_taps(outer, y, g, starts)
            if it.more:
                weigh_9(scratch, starts, flipped, length, scratch, result + y * length)
            else:
                weigh_9(scratch, starts, flipped, length, memory, to + y * length)
        if not it.more:
            sum_input(it, arrays, c, it.h * length)
            return
    else:
        convolve_back(scratch, g, outer, plane, w, starts, result)
    hand_back(it, arrays, c, plane, result, row)


@compiled
def convolve_back(
    scratch: Array, g: int, outer: Plane, plane: Plane, w: Array, starts: Array, result: int
) -> None:
    """Compute dx for stride 2 in a plane: tap 1 reads even rows and columns, taps 0 and 2 odd ones.

    Vectors may write beyond the odd columns, to the even ones, which are written after them.
    """
    n, pitch, length, taps = plane.n, outer.pitch, outer.w * plane.n, np.empty(4, np.float32)
    for y in range(plane.h):
        p, odd = y // 2, result + (y + 1) * plane.pitch + n
        even, at = odd + plane.half * n, g + (p + 1) * pitch + n  # at: output (p, 0)
        if y % 2 == 0:
            starts[0], starts[1], taps[0], taps[1] = at + n, at, w[3], w[5]
            weigh_2(scratch, starts, taps, length, scratch, odd)
            starts[0], taps[0] = at, w[4]
            weigh_1(scratch, starts, taps, length, scratch, even)
        else:
            starts[0], starts[1], taps[0], taps[1] = at + pitch + n, at + pitch, w[0], w[2]
            starts[2], starts[3], taps[2], taps[3] = at + n, at, w[6], w[8]
            weigh_4(scratch, starts, taps, length, scratch, odd)
            starts[0], starts[1], taps[0], taps[1] = at + pitch, at, w[1], w[7]
            weigh_2(scratch, starts, taps, length, scratch, even)


@compiled
def hand_back(it: Any, arrays: Arrays, c: int, plane: Plane, result: int, row: int) -> None:
    """Write dx from scratch to memory, or add it to what is there; then compute its sums."""
    tables, scratch, memory = arrays.tables, arrays.scratch, arrays.memory
    length, to = plane.w * plane.n, tables[it.results + c]
    for y in range(plane.h):
        at = result + y * length
        if plane.stride == 2:
            gather_row(scratch, result, plane, y, scratch, row)
            at = row
        out = to + y * length
        if it.more:
            for i in range(length):
                memory[out + i] += scratch[at + i]
        else:
            for i in range(length):
                memory[out + i] = scratch[at + i]
    sum_input(it, arrays, c, plane.h * length)


@compiled
def sum_input(it: Any, arrays: Arrays, c: int, columns: int) -> None:
    """Compute the sums of the gradient of an input row if it is complete."""
    if not it.last:
        return
    tables = arrays.tables
    to, z, slot = tables[it.results + c], tables[it.inputs + c], tables[it.input_slots + c]
    note_sums(arrays, to, z, slot, columns)


@instruction(WINDOW)
def run_pool(it: Any, arrays: Arrays, c: int) -> None:
    """Compute the mean or the largest number of each window of one channel."""
    tables, scratch, memory = arrays.tables, arrays.scratch, arrays.memory
    plane = plane_of(it.n, it.h, it.w, it.stride)
    row = plane.size + SLACK
    oh, ow = output_size(it)
    largest = it.kind == MAXIMUM
    starts, to = np.empty(9, np.int64), tables[it.outputs + c]
    clear_border(scratch, 0, plane, np.float32(-np.inf if largest else 0))
    fill_plane(arrays, tables[it.inputs + c], tables[it.input_slots + c], plane, 0, row)
    for p in range(oh):
        set_taps(plane, p, 0, starts)
        for k in range(0, ow * it.n, WIDTH):
            a = load(scratch, starts[0] + k)
            for t in range(1, 9):
                b = load(scratch, starts[t] + k)
                a = maximum(a, b) if largest else add(a, b)
            store(memory, to + k, a if largest else scale(np.float32(1 / 9), a))
        to += ow * it.n
    if it.slot >= 0:
        note_moments(arrays, tables[it.outputs + c], oh * ow * it.n, it.slot + c)


@instruction(WINDOW_BACKWARD)
def run_pool_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Add each gradient to the first maximum of its window, or a ninth of it to all 9 pixels."""
    tables, scratch, memory = arrays.tables, arrays.scratch, arrays.memory
    plane = plane_of(it.n, it.h, it.w, it.stride)
    oh, ow = output_size(it)
    length = ow * it.n
    result = plane.size + SLACK
    row = result + plane.size + SLACK
    largest, zero = it.kind == MAXIMUM, fill(np.float32(0))
    starts, distance, y = np.empty(9, np.int64), result, tables[it.outputs + c]
    clear(scratch, result, plane, np.float32(0))
    if largest:
        clear_border(scratch, 0, plane, np.float32(-np.inf))
        fill_plane(arrays, tables[it.inputs + c], tables[it.input_slots + c], plane, 0, row)
    slot = tables[it.output_slots + c]
    for p in range(oh):
        set_taps(plane, p, 0, starts)
        dy = tables[it.gradients + c] + p * length
        copy_gradient(memory, dy, y + p * length, arrays.slots, slot, length, scratch, row)
        for k in range(0, length, WIDTH):
            g = keep_first(load(scratch, row + k), length - k)
            if largest:
                top = load(memory, y + p * length + k)
                for t in range(9):
                    at = starts[t] + k
                    won = choose_equal(load(scratch, at), top, g, zero)
                    g = choose_equal(load(scratch, at), top, zero, g)
                    store(scratch, distance + at, add(load(scratch, distance + at), won))
            else:
                for t in range(9):
                    at = distance + starts[t] + k
                    ninth = fma(np.float32(1 / 9), g, load(scratch, at))
                    store(scratch, at, ninth)
    if plane.stride == 1:  # cut the border off
        for r in range(plane.h):
            at, size = result + (r + 1) * plane.pitch + plane.n, plane.w * plane.n
            for i in range(size):
                scratch[result + r * size + i] = scratch[at + i]
    hand_back(it, arrays, c, plane, result, row)
