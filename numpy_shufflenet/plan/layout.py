"""Where things are: what columns of a program and its tables mean, and how planes lie in memory.

a plane     one channel: rows of w pixels and a gap of one. A 3x3 window slides over it as over
            one long row, after a copy with zeros in the gaps; otherwise nothing depends on
            what stands there.
scratch     what a thread alone works on, small enough for its first-level cache
"""

from numba.extending import register_jitable

from numpy_shufflenet.kernels._vectors import WIDTH

# What an instruction does
INPUT, CONVOLUTION, PRODUCT, PRODUCT_DEPTHWISE, DEPTHWISE, POOL = range(6)
ADD, RELU, MEAN, LINEAR, SCALE = range(6, 11)

# Where it says what: columns of the program. CUT is 1 if it ends in a ReLU.
OPERATION, COUNT, TABLE, IN_H, IN_W, OUT_H, OUT_W, CUT, OPTION = range(9)
SOURCES, CHANNELS, KH, KW, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, TOP, LEFT = range(9, 19)
READS, MAKES = 19, 20  # places of features: one number a channel
COLUMNS = 21

BLOCK = 6  # planes of a product that are computed at once: their sums stay in registers
# Where a block of a product says what: weights, bias, a list of the planes that it reads (taps) and
# how long it is, how many planes it makes, 6 places to write to, then 6 shortcuts to start from, or
# 6 places for weights of the depthwise convolution that follows and 6 for its outputs. What fills
# up a block goes where its first plane goes, before that one is written.
WEIGHTS, BIAS, TAPS, DEPTH, ROWS, OUTPUTS, SHORTCUTS = 0, 1, 2, 3, 4, 5, 11
FILTERS, FILTERED = 11, 17
BLOCK_COLUMNS = 23

AVERAGE, MAXIMUM = 0, 1  # OPTION of a pool
SIGMOID = 1  # OPTION of a linear layer


@register_jitable
def round_up(count: int) -> int:
    """Return the next multiple of 16."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@register_jitable
def pixels_of(h: int, w: int) -> int:
    """Return how many numbers of a plane there are from its first pixel to its last."""
    return h * (w + 1) - 1


@register_jitable
def columns_of(h: int, w: int) -> int:
    """Return how many that is in whole vectors."""
    return round_up(pixels_of(h, w))


@register_jitable
def lead_of(w: int) -> int:
    """Return how many numbers before a plane in scratch a 3x3 window may look at."""
    return round_up(w + 2)


@register_jitable
def scratch_plane(h: int, w: int) -> int:
    """Return how many numbers a plane with all its gaps takes in scratch."""
    return lead_of(w) + round_up((h + 1) * (w + 1)) + 2 * WIDTH
