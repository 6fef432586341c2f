"""Instructions on whole rows and on features: input, addition, means, scaling, batch statistics.

A feature row has one number for each image, such as the mean of a channel over the pixels.
"""

import math
from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays, instruction
from numpy_shufflenet.engine.products import filled_up
from numpy_shufflenet.engine.rows import (
    FACTOR,
    LONG,
    MEAN,
    PARTS,
    SHIFT,
    P,
    Q,
    copy_gradient,
    copy_view,
    note_sums,
)
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    larger,
    load,
    store,
)

CHANNELS = 32  # one turn of a batch normalisation handles so many channels

WHOLE = np.dtype(
    [
        ("turns", np.int64),  # channels
        ("columns", np.int64),  # of a row
        ("images", np.int64),
        ("inputs", np.int64),  # table: positions
        ("input_slots", np.int64),  # table
        ("others", np.int64),  # table: positions of the second operands
        ("other_slots", np.int64),  # table
        ("outputs", np.int64),  # table: positions
        ("output_slots", np.int64),  # table; only in backward
        ("gradients", np.int64),  # table: positions; only in backward
        ("results", np.int64),  # table: where the gradient of the input goes
        ("other_results", np.int64),  # table: where the gradient of the second operand goes
        ("more", np.int64),  # whether the gradient of the input is added to what is there: 0 or 1
        ("other_more", np.int64),
        ("last", np.int64),  # whether the gradient of the input is complete
        ("other_last", np.int64),
        ("low", np.float32),  # lower bound of the outputs; -inf for none
    ]
)

NORM = np.dtype(
    [
        ("turns", np.int64),  # blocks of CHANNELS channels
        ("channels", np.int64),
        ("columns", np.int64),  # of a row
        ("slot", np.int64),  # of the first channel
        # positions of parameters, statistics and gradients of the first channel
        ("gamma", np.int64),
        ("beta", np.int64),
        ("running_mean", np.int64),
        ("running_var", np.int64),
        ("dgamma", np.int64),
        ("dbeta", np.int64),
        ("eps", np.float64),
        ("momentum", np.float64),
    ]
)


@instruction(WHOLE)
def run_input(it: Any, arrays: Arrays, c: int) -> None:
    """Copy a channel of all images (n, channels, pixels) to a row."""
    n, pixels = it.images, it.columns // it.images
    to, memory = arrays.tables[it.outputs + c], arrays.memory
    for start in range(0, pixels, WIDTH):
        for i in range(n):
            for j in range(start, min(start + WIDTH, pixels)):
                memory[to + j * n + i] = arrays.images[i, c, j]


@instruction(WHOLE)
def run_add(it: Any, arrays: Arrays, c: int) -> None:
    """Add the views of two rows."""
    tables, memory, scratch = arrays.tables, arrays.memory, arrays.scratch
    x, other, to = tables[it.inputs + c], tables[it.others + c], tables[it.outputs + c]
    a, b, low = tables[it.input_slots + c], tables[it.other_slots + c], fill(it.low)
    for first in range(0, it.columns, LONG):
        columns = min(LONG, it.columns - first)
        copy_view(memory, x + first, arrays.slots, a, columns, scratch, 0)
        copy_view(memory, other + first, arrays.slots, b, columns, scratch, LONG)
        for j in range(0, columns, WIDTH):
            y = add(load(scratch, j), load(scratch, LONG + j))
            store(memory, to + first + j, larger(low, y))


@instruction(WHOLE)
def run_add_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Pass the gradient of a sum to both of its operands."""
    tables, memory, scratch = arrays.tables, arrays.memory, arrays.scratch
    g, y, slot = tables[it.gradients + c], tables[it.outputs + c], tables[it.output_slots + c]
    to, other = tables[it.results + c], tables[it.other_results + c]
    for first in range(0, it.columns, LONG):
        columns = min(LONG, it.columns - first)
        copy_gradient(memory, g + first, y + first, arrays.slots, slot, columns, scratch, 0)
        hand_on(memory, to + first, scratch, columns, it.more > 0)
        hand_on(memory, other + first, scratch, columns, it.other_more > 0)
    if it.last:
        note_sums(arrays, to, tables[it.inputs + c], tables[it.input_slots + c], it.columns)
    if it.other_last:
        note_sums(arrays, other, tables[it.others + c], tables[it.other_slots + c], it.columns)


@register_jitable
def hand_on(memory: Array, to: int, scratch: Array, columns: int, more: bool) -> None:
    """Write numbers from the start of scratch to memory, or add them to what is there."""
    for j in range(0, columns, WIDTH):
        v = load(scratch, j)
        store(memory, to + j, add(v, load(memory, to + j)) if more else v)


@instruction(WHOLE)
def run_mean(it: Any, arrays: Arrays, c: int) -> None:
    """Compute the mean of a channel of each image: one feature row."""
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.images
    x, slot, to = tables[it.inputs + c], tables[it.input_slots + c], tables[it.outputs + c]
    pixels = it.columns // n
    wide = arrays.wide
    wide[:n] = 0
    for pixel in range(pixels):
        copy_view(memory, x + pixel * n, arrays.slots, slot, n, scratch, 0)
        for i in range(n):
            wide[i] += scratch[i]
    for i in range(n):
        memory[to + i] = wide[i] / pixels


@instruction(WHOLE)
def run_mean_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Give each pixel its share of the gradient of the mean."""
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.images
    g, y, slot = tables[it.gradients + c], tables[it.outputs + c], tables[it.output_slots + c]
    to, pixels = tables[it.results + c], it.columns // n
    copy_gradient(memory, g, y, arrays.slots, slot, n, scratch, 0)
    for i in range(n):
        scratch[i] /= np.float32(pixels)
    for at in range(to, to + it.columns, n):
        if it.more:
            for i in range(n):
                memory[at + i] += scratch[i]
        else:
            for i in range(n):
                memory[at + i] = scratch[i]
    if it.last:
        note_sums(arrays, to, tables[it.inputs + c], tables[it.input_slots + c], it.columns)


@instruction(NORM)
def run_norm(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute the statistics of the channels of one turn."""
    for c in range(turn * CHANNELS, min(it.channels, (turn + 1) * CHANNELS)):
        note_statistics(it, arrays, c)


@register_jitable
def note_statistics(it: Any, arrays: Arrays, c: int) -> None:
    """Compute mean and variance of a channel from those of its parts; set its view's slot.

        mean = sum of n_k mean_k / n          var = sum of (M_k + n_k (mean_k - mean)^2) / n

    where part k has n_k numbers with the mean mean_k and the sum of squared deviations M_k.
    """
    moments, memory, slot = arrays.moments[it.slot + c], arrays.memory, arrays.slots[it.slot + c]
    mean = var = 0.0
    for part in range(PARTS):
        mean += moments[part, 0] * moments[part, 1] / it.columns
    for part in range(PARTS):
        distance = moments[part, 1] - mean
        var += (moments[part, 2] + moments[part, 0] * distance * distance) / it.columns
    slot[MEAN], slot[SHIFT] = mean, memory[it.beta + c]
    slot[FACTOR] = memory[it.gamma + c] / math.sqrt(var + it.eps)
    moments[0, 1], moments[0, 2] = mean, var  # backward needs the exact variance
    running, unbiased = it.running_mean + c, var * it.columns / max(1, it.columns - 1)
    memory[running] += it.momentum * (mean - memory[running])
    running = it.running_var + c
    memory[running] += it.momentum * (unbiased - memory[running])


@instruction(NORM)
def run_norm_backward(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute gradients of the channels of one turn."""
    for c in range(turn * CHANNELS, min(it.channels, (turn + 1) * CHANNELS)):
        note_gradients(it, arrays, c)


@register_jitable
def note_gradients(it: Any, arrays: Arrays, c: int) -> None:
    """Compute the gradients of gamma and beta, and p and q of the slot, which dz needs.

        dbeta = sum of g      dgamma = sum of g x_hat      with x_hat = (z - mean) / std

        dz = gamma / std (g - dbeta / m - x_hat dgamma / m)

    where m is the count of numbers in a channel. So p = dbeta / m and q = dgamma / (m std) (see
    `rows`).
    """
    slot, total, weighted = arrays.slots[it.slot + c], 0.0, 0.0
    for part in range(PARTS):
        total += arrays.sums[it.slot + c, part, 0]
        weighted += arrays.sums[it.slot + c, part, 1]
    std = math.sqrt(arrays.moments[it.slot + c, 0, 2] + it.eps)
    arrays.parameter_gradients[it.dbeta + c] = total
    arrays.parameter_gradients[it.dgamma + c] = weighted / std
    slot[P], slot[Q] = total / it.columns, weighted / (it.columns * std * std)


@instruction(WHOLE)
def run_scale(it: Any, arrays: Arrays, c: int) -> None:
    """Multiply each pixel of a row by the feature of its image."""
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.images
    x, slot, to = tables[it.inputs + c], tables[it.input_slots + c], tables[it.outputs + c]
    copy_view(
        memory, tables[it.others + c], arrays.slots, tables[it.other_slots + c], n, scratch, 0
    )
    factor = filled_up(n, WIDTH)
    for first in range(0, it.columns, n):
        copy_view(memory, x + first, arrays.slots, slot, n, scratch, factor)
        for i in range(n):
            memory[to + first + i] = scratch[i] * scratch[factor + i]


@instruction(WHOLE)
def run_scale_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Compute the gradients of y = x e: dx = dy e, and de = the sum of dy x over the pixels."""
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.images
    g, y, slot = tables[it.gradients + c], tables[it.outputs + c], tables[it.output_slots + c]
    x, x_slot, to = tables[it.inputs + c], tables[it.input_slots + c], tables[it.results + c]
    e, e_slot = tables[it.others + c], tables[it.other_slots + c]
    size, wide = filled_up(n, WIDTH), arrays.wide
    wide[:n] = 0
    copy_view(memory, e, arrays.slots, e_slot, n, scratch, 0)
    for first in range(0, it.columns, n):
        copy_view(memory, x + first, arrays.slots, x_slot, n, scratch, size)
        copy_gradient(memory, g + first, y + first, arrays.slots, slot, n, scratch, 2 * size)
        for i in range(n):
            dy = scratch[2 * size + i]
            wide[i] += dy * scratch[size + i]
            at = to + first + i
            memory[at] = dy * scratch[i] + (memory[at] if it.more else np.float32(0))
    if it.other_results >= 0:
        of_e = tables[it.other_results + c]
        for i in range(n):
            memory[of_e + i] = wide[i] + (memory[of_e + i] if it.other_more else np.float32(0))
    if it.last:
        note_sums(arrays, to, x, x_slot, it.columns)  # overwrites `wide`, so it must come last


@instruction(WHOLE)
def run_sigmoid(it: Any, arrays: Arrays, c: int) -> None:
    """Compute 1 / (1 + exp(-x))."""
    tables, memory, scratch = arrays.tables, arrays.memory, arrays.scratch
    x, slot, to = tables[it.inputs + c], tables[it.input_slots + c], tables[it.outputs + c]
    copy_view(memory, x, arrays.slots, slot, it.columns, scratch, 0)
    for i in range(it.columns):
        memory[to + i] = np.float32(1) / (np.float32(1) + np.exp(-scratch[i]))


@instruction(WHOLE)
def run_sigmoid_backward(it: Any, arrays: Arrays, c: int) -> None:
    """Compute dx = dy y (1 - y)."""
    tables, memory, scratch = arrays.tables, arrays.memory, arrays.scratch
    g, y, slot = tables[it.gradients + c], tables[it.outputs + c], tables[it.output_slots + c]
    to = tables[it.results + c]
    copy_gradient(memory, g, y, arrays.slots, slot, it.columns, scratch, 0)
    for i in range(it.columns):
        dx = scratch[i] * memory[y + i] * (np.float32(1) - memory[y + i])
        memory[to + i] = dx + (memory[to + i] if it.more else np.float32(0))


@instruction(WHOLE)
def run_bias(it: Any, arrays: Arrays, c: int) -> None:
    """Add up the gradient of a row: the gradient of its bias."""
    tables, scratch = arrays.tables, arrays.scratch
    g, y, slot = tables[it.gradients + c], tables[it.outputs + c], tables[it.output_slots + c]
    total = 0.0
    for first in range(0, it.columns, LONG):
        columns = min(LONG, it.columns - first)
        copy_gradient(arrays.memory, g + first, y + first, arrays.slots, slot, columns, scratch, 0)
        for i in range(columns):
            total += scratch[i]
    arrays.parameter_gradients[it.results + c] = total


@instruction(WHOLE)
def run_clear(it: Any, arrays: Arrays, c: int) -> None:
    """Set a row to 0."""
    to = arrays.tables[it.outputs + c]
    arrays.memory[to : to + it.columns] = 0
