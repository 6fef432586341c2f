"""The layout of programs: the columns of instructions and tables, and of planes in memory.

    a plane     one channel: its pixels row by row, contiguous. Small planes hold several images,
                one after the other, so that a product reads its weights once for all of them.
    features    one number for each channel; each image starts at a multiple of 16 numbers
    scratch     memory of one thread, small enough for the L1 cache

Vector stores may write beyond the last pixel of an image or a row; the numbers there are
overwritten later.
"""

from typing import NamedTuple

from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH

# Operations of instructions
INPUT, CONVOLUTION, PRODUCT, PRODUCT_DEPTHWISE, DEPTHWISE, POOL = range(6)
ADD, RELU, MEAN, LINEAR, SCALE = range(6, 11)

# Columns of an instruction. CUT is 1 if it ends in a ReLU. STEP is the distance to the output of
# the next image, if the planes that it writes hold several images.
OPERATION, COUNT, TABLE, IN_H, IN_W, OUT_H, OUT_W, STEP, CUT, OPTION = range(10)
SOURCES, CHANNELS, KH, KW, STRIDE_H, STRIDE_W, DILATION_H, TOP = range(10, 18)
READS, MAKES = 18, 19  # positions of the features that are read, and of those that are written
BORDERS, SPANS = 20, 21  # tables: which neighbours pixels have; which columns a tap reads
LEFT = 22  # padding, as TOP
COLUMNS = 23

BLOCK = 6  # planes of a product that are computed at once: their sums stay in registers
# Columns of a product's block: weights, bias, the list of planes that it reads (taps) and its
# length, the number of planes that it writes, 6 positions to write to; then 6 shortcuts to start
# from, or 6 positions of the weights of a fused depthwise convolution, and 6 of its outputs. Unused
# lanes of the last block write to the block's first plane, which is overwritten afterwards.
WEIGHTS, BIAS, TAPS, DEPTH, ROWS, OUTPUTS, SHORTCUTS = 0, 1, 2, 3, 4, 5, 11
FILTERS, FILTERED = 11, 17
BLOCK_COLUMNS = 23

AVERAGE, MAXIMUM, AVERAGE_INSIDE = 0, 1, 2  # OPTION of a pool; the last one counts no padding
POOLS = {"average": AVERAGE, "max": MAXIMUM, "average inside": AVERAGE_INSIDE}
SIGMOID = 1  # OPTION of a linear layer

IMAGES = 8  # a small plane holds at most so many images
SMALL = 64  # an image in a small plane has at most so many pixels


class Arrays(NamedTuple):
    """The arrays that instructions read and write."""

    tables: Array
    parameters: Array
    memory: Array
    scratch: Array


class Portion(NamedTuple):
    """The part of an instruction that one thread runs, and for which images."""

    first: int  # of its pieces: planes, blocks of planes, rows or numbers
    last: int
    images: int  # in each plane that it reads
    image: int  # the index, in planes that hold several images, at which it writes the first one


@register_jitable
def round_up(count: int) -> int:
    """Return count, rounded up to a multiple of 16."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@register_jitable
def window_reach(w: int) -> int:
    """Return how far from its centre a 3x3 window reads, for rows of w numbers."""
    return round_up(w + 1)
