"""Where things are: what columns of a program and its tables mean, and how planes lie in memory.

    a plane     one channel: its pixels row by row, without a gap. Small planes hold several images,
                one after the other, so that what multiplies them reads weights once for all.
    features    one number a channel; image after image, each in whole vectors
    scratch     what a thread alone works on, small enough for its first-level cache

Vectors may write beyond the last pixel of an image or a row: what comes there is written later.
"""

from typing import NamedTuple

from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH

# What an instruction does
INPUT, CONVOLUTION, PRODUCT, PRODUCT_DEPTHWISE, DEPTHWISE, POOL = range(6)
ADD, RELU, MEAN, LINEAR, SCALE = range(6, 11)

# Where it says what: columns of the program. CUT is 1 if it ends in a ReLU, STEP is how far the
# output of the next image is, if planes that it writes hold several.
OPERATION, COUNT, TABLE, IN_H, IN_W, OUT_H, OUT_W, STEP, CUT, OPTION = range(10)
SOURCES, CHANNELS, KH, KW, STRIDE_H, STRIDE_W, DILATION_H, TOP = range(10, 18)
READS, MAKES = 18, 19  # places of features
BORDERS, SPANS = 20, 21  # tables of which neighbours pixels have, and of what taps meet in a row
COLUMNS = 22

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

IMAGES = 8  # that small planes hold, at the most
SMALL = 64  # pixels of such a plane, at the most


class Arrays(NamedTuple):
    """What instructions read and write."""

    tables: Array
    parameters: Array
    memory: Array
    scratch: Array


class Share(NamedTuple):
    """What one thread does of an instruction, and of which images."""

    first: int  # of the pieces that are its own: planes, blocks of planes, rows or numbers
    last: int
    images: int  # in each plane that it reads
    image: int  # where it writes the first of them, in planes that hold several


@register_jitable
def round_up(count: int) -> int:
    """Return the next multiple of 16."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@register_jitable
def reach(w: int) -> int:
    """Return how far from its centre a window of 3x3 sees, in rows of w numbers."""
    return round_up(w + 1)
