"""Which inputs the outputs of a convolution or a pool read, along one axis.

Output p reads input r with tap i of the kernel if

    r = p * stride + i * dilation - before

and r lies in the image. Forward needs all (i, r) of an output, the input gradient needs all (p, i)
of an input, and the weight gradient needs all (p, r) of a tap i. `Axis` lists the triples
(p, i, r) in these three ways.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy_shufflenet.ops.checks import as_padding, as_pair

Pairs = dict[int, list[tuple[int, int]]]


class Axis(NamedTuple):
    """All triples (p, i, r) along one axis, listed by output, by input and by tap."""

    outputs: int  # how many windows fit
    of_output: Pairs  # p -> (i, r)
    of_input: Pairs  # r -> (p, i)
    of_tap: Pairs  # i -> (p, r)


def two_axes(
    size: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any = 1
) -> tuple[Axis, Axis]:
    """Return the rows and the columns of windows over an image of this (height, width)."""
    strides, dilations = as_pair("stride", stride), as_pair("dilation", dilation)
    rows, columns = map(one_axis, size, kernel, strides, as_padding(padding), dilations)
    return rows, columns


def one_axis(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> Axis:
    """List the triples (p, i, r) of one axis, each list in ascending order."""
    before, after = padding
    last_start = before + size + after - dilation * (kernel - 1) - 1
    starts = range(0, last_start + 1, stride)  # a remainder at the end is not used
    axis = Axis(len(starts), defaultdict(list), defaultdict(list), defaultdict(list))
    for p, start in enumerate(starts):
        for i in range(kernel):
            r = start + i * dilation - before
            if 0 <= r < size:
                axis.of_output[p].append((i, r))
                axis.of_input[r].append((p, i))
                axis.of_tap[i].append((p, r))
    return axis
