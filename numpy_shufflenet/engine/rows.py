"""Rows: what every instruction of the engine reads and writes.

A row is one channel of the whole batch: h w n contiguous numbers, pixel by pixel, and for each
pixel all images. A *view* of a row is what its readers see of it,

    y = max(low, a (z - mean) + shift)

so batch normalisation and ReLU need no arrays of their own: z is stored, and y is computed again
wherever it is read. The six numbers of a view (mean, a, shift, low, p, q) are a *slot*.

The gradient g of y is stored, too. The gradient of z is computed from it wherever it is read:

    dz = a (g [y > low] - p - q (z - mean))

where p and q are 0 without batch normalisation (see `wholes.note_gradients`).
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    keep_first,
    keep_positive,
    larger,
    load,
    scale,
    store,
    sum_lanes,
)

MEAN, FACTOR, SHIFT, LOW, P, Q = range(6)  # columns of a slot
LONG = 2048  # columns that are handled at once
# The columns of a batch are divided into at most so many parts. Different threads sum up the parts,
# but these sums are added in a fixed order. So no result depends on the number of threads.
PARTS = 16


@register_jitable
def part_of(columns: int, part: int, parts: int, step: int) -> tuple[int, int]:
    """Return the first and the last column of a part of a row; the first is a multiple of step."""
    first = columns * part // parts // step * step
    last = columns * (part + 1) // parts // step * step
    return first, columns if part + 1 == parts else last


@compiled
def copy_view(
    memory: Array, z: int, slots: Array, slot: int, columns: int, out: Array, to: int
) -> None:
    """Write the view of the row at z, and zeros up to a multiple of 16."""
    s = slots[slot]
    mean, a, shift, low = fill(-s[MEAN]), s[FACTOR], fill(s[SHIFT]), fill(s[LOW])
    for j in range(0, columns, WIDTH):
        y = larger(low, fma(a, add(load(memory, z + j), mean), shift))
        store(out, to + j, y if j + WIDTH <= columns else keep_first(y, columns - j))


@compiled
def copy_gradient(
    memory: Array, g: int, z: int, slots: Array, slot: int, columns: int, out: Array, to: int
) -> None:
    """Write the gradient of the row at z, and zeros up to a multiple of 16."""
    s = slots[slot]
    mean, a, shift, low = fill(-s[MEAN]), s[FACTOR], fill(s[SHIFT]), fill(-s[LOW])
    p, q = fill(-s[P]), -s[Q]
    for j in range(0, columns, WIDTH):
        t = add(load(memory, z + j), mean)
        kept = keep_positive(load(memory, g + j), add(fma(a, t, shift), low))
        dz = scale(a, fma(q, t, add(kept, p)))
        store(out, to + j, dz if j + WIDTH <= columns else keep_first(dz, columns - j))


@compiled
def add_moments(row: Array, at: int, columns: int, count: int, wide: Array, place: int) -> None:
    """Update the mean and the sum of squared deviations of `count` numbers by more of the row.

    They are wide[place] and wide[place + 1]. The deviations of the new numbers are taken from their
    own mean, which avoids cancellation (Chan et al., 1983).
    """
    a = fill(np.float32(0))
    for j in range(0, columns, WIDTH):
        a = add(a, keep_first(load(row, at + j), columns - j))
    mean = sum_lanes(a) / np.float64(columns)
    middle, a = fill(np.float32(-mean)), fill(np.float32(0))
    for j in range(0, columns, WIDTH):
        d = keep_first(add(load(row, at + j), middle), columns - j)
        a = fma(d, d, a)
    rounding = mean - np.float64(np.float32(mean))
    squares = sum_lanes(a) - columns * rounding * rounding
    total = count + columns
    delta = mean - wide[place]
    wide[place] += delta * columns / total
    wide[place + 1] += squares + delta * delta * count * columns / total


@compiled
def add_sums(
    memory: Array, g: int, z: int, slots: Array, slot: int, columns: int, wide: Array, place: int
) -> None:
    """Add the sums of g [y > low] and g [y > low] (z - mean) to wide[place] and wide[place + 1]."""
    s = slots[slot]
    mean, a, shift, low = fill(-s[MEAN]), s[FACTOR], fill(s[SHIFT]), fill(-s[LOW])
    total, weighted = fill(np.float32(0)), fill(np.float32(0))
    for j in range(0, columns, WIDTH):
        t = keep_first(add(load(memory, z + j), mean), columns - j)
        kept = keep_positive(load(memory, g + j), add(fma(a, t, shift), low))
        kept = keep_first(kept, columns - j)
        total, weighted = add(total, kept), fma(kept, t, weighted)
    wide[place] += sum_lanes(total)
    wide[place + 1] += sum_lanes(weighted)


@compiled
def note_sums(arrays: Arrays, g: int, z: int, slot: int, columns: int) -> None:
    """Compute the sums of a whole gradient, and store them as the sums of its first part."""
    wide = arrays.wide
    wide[:2] = 0
    for first in range(0, columns, LONG):
        some = min(LONG, columns - first)
        add_sums(arrays.memory, g + first, z + first, arrays.slots, slot, some, wide, 0)
    sums = arrays.sums[slot]
    sums[:] = 0
    sums[0, 0], sums[0, 1] = wide[0], wide[1]
