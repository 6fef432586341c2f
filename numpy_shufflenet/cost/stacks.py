"""The networks of the guideline experiments: ten blocks on 56x56 pixels, as in V2's tables 1 to 4.

The paper gives the widths and the convolutions of a block. It does not say which other layers a
block has, so we add only the layers that a table is about, such as ReLU and shortcut in table 4.
"""

import math
from collections.abc import Callable

import numpy as np

from numpy_shufflenet.nn import Add, Conv2d, Layer, Parallel, ReLU, Sequential
from numpy_shufflenet.ops.checks import check_divides, check_positive

BLOCKS = 10
PIXELS = 56  # height and width of the images


def channel_ratio(c1: int, c2: int, *, blocks: int = BLOCKS) -> Sequential:
    """Return blocks of two 1x1 convolutions, from c1 to c2 channels and back (table 1)."""
    return _stack(blocks, lambda: Sequential(Conv2d(c1, c2, 1), Conv2d(c2, c1, 1)))


def grouped(c: int, groups: int, *, blocks: int = BLOCKS) -> Sequential:
    """Return a sequence of 1x1 group convolutions (table 2)."""
    check_divides(groups, c, of="c")
    return _stack(blocks, lambda: Sequential(Conv2d(c, c, 1, groups=groups)))


def in_series(c: int, fragments: int, *, blocks: int = BLOCKS) -> Sequential:
    """Return blocks whose 1x1 convolutions run one after the other (table 3)."""
    check_positive("fragments", fragments)
    return _stack(blocks, lambda: Sequential(*(Conv2d(c, c, 1) for _ in range(fragments))))


def in_parallel(c: int, fragments: int, *, blocks: int = BLOCKS) -> Sequential:
    """Return blocks whose 1x1 convolutions read the same input and add their outputs (table 3)."""
    if check_positive("fragments", fragments) == 1:
        return in_series(c, 1, blocks=blocks)
    return _stack(blocks, lambda: _sum(*(Conv2d(c, c, 1) for _ in range(fragments))))


def bottlenecks(c: int, *, relu: bool, shortcut: bool, blocks: int = BLOCKS) -> Sequential:
    """Return bottlenecks: 1x1, 3x3 and 1x1 convolutions, with c/4 channels in the middle (table 4).

    The paper gives one width. It must be the outer width c: if it were the inner width, no phone
    could reach the printed speeds.
    """
    check_divides(4, c, of="c")
    m = c // 4

    def activation() -> tuple[Layer, ...]:
        return (ReLU(),) if relu else ()

    def block() -> Layer:
        branch = Sequential(
            Conv2d(c, m, 1),
            *activation(),
            Conv2d(m, m, 3, padding=1),
            *activation(),
            Conv2d(m, c, 1),
        )
        inner = _sum(Sequential(), branch) if shortcut else branch
        return Sequential(inner, *activation())

    return _stack(blocks, block)


def one_fault_each() -> dict[str, tuple[Sequential, int]]:
    """Return networks that break one guideline each, and one that breaks none.

    All have about the same number of multiply-adds. The result maps the broken guideline, or
    "none", to the network and its number of input channels.
    """
    c = 64
    c1, c2 = at_ratio(c, 6)

    def with_shortcut() -> Layer:
        return Sequential(Parallel(Sequential(), Conv2d(c, c, 1)), Add(), ReLU())

    return {
        "none": (in_series(c, 1), c),
        "G1": (channel_ratio(c1, c2, blocks=BLOCKS // 2), c1),
        "G2": (grouped(184, 8), 184),
        "G3": (in_series(narrowed(c, 4), 4), narrowed(c, 4)),
        "G4": (_stack(BLOCKS, with_shortcut), c),
    }


def at_ratio(c: int, ratio: int) -> tuple[int, int]:
    """Return the widths of table 1: c1 and c2 = ratio * c1, whose product is about c^2."""
    check_positive("ratio", ratio)
    c1 = int(c / math.sqrt(ratio))
    if c1 < 1:
        raise ValueError(f"ratio={ratio} leaves no channel of c={c}; use at most {c * c}")
    return c1, ratio * c1


def narrowed(c: int, fragments: int) -> int:
    """Return the width at which `fragments` 1x1 convolutions cost as much as one of width c."""
    width = round(c / math.sqrt(check_positive("fragments", fragments)))
    if width < 1:
        raise ValueError(f"fragments={fragments} leaves 0 channels of c={c}; use fewer")
    return width


def _sum(*branches: Layer) -> Sequential:
    return Sequential(Parallel(*branches), Add())


def _stack(blocks: int, block: Callable[[], Layer]) -> Sequential:
    """Return a sequence of blocks with random weights that keep the scale of the activations."""
    check_positive("blocks", blocks)
    model = Sequential(*(block() for _ in range(blocks)))
    rng = np.random.default_rng(0)
    for _, layer in model.named_layers():
        if isinstance(layer, Conv2d):
            shape = layer.weight.value.shape
            std = 1 / math.sqrt(math.prod(shape[1:]))
            layer.weight.value[...] = rng.normal(0, std, shape)
    return model
