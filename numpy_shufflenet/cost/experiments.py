"""Tables 1 to 4 of ShuffleNet V2 as experiments: the networks, and the speeds that the paper
prints.

Each table varies one property of a network, and keeps the FLOPs nearly constant. The FLOPs of two
rows are never exactly equal, so we compare the speed per multiply-add.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from numpy_shufflenet.cost import stacks
from numpy_shufflenet.nn import Layer

SIZES = ("x1", "x2", "x4")
"""Factors on the widths that the paper used on ARM; the paper printed speeds for each factor."""


@dataclass(frozen=True)
class TableRow:
    """One row of a table: a network, and how fast it ran in the paper."""

    label: str
    before: int | None  #: index of the row that differs from this row by one step
    channels: int  #: input channels
    build: Callable[[], Layer]
    gpu: float  #: the paper's speed times multiply-adds; compare it within a table only
    arm: float


@dataclass(frozen=True)
class Experiment:
    """The table of one guideline at one size."""

    key: str
    title: str
    claim: str  #: what the guideline says
    slower: bool  #: True if each step should be slower per multiply-add, False if faster
    size: str
    variants: tuple[TableRow, ...]
    note: str = ""  #: an erratum of the paper


def paper_relative(experiment: Experiment) -> tuple[list[float], list[float]]:
    """Return the paper's GPU and ARM speeds per multiply-add, relative to the first row."""
    first = experiment.variants[0]
    return (
        [row.gpu / first.gpu for row in experiment.variants],
        [row.arm / first.arm for row in experiment.variants],
    )


def g1(size: str = "x1") -> Experiment:
    """Return table 1: equal channel width minimises memory access cost."""
    index, factor = _size(size)
    rows = []
    for number, (ratio, gpu, arm) in enumerate(
        (
            (1, (1480, 723, 232), (76.2, 21.7, 5.3)),
            (2, (1296, 586, 206), (72.9, 20.5, 5.1)),
            (6, (876, 489, 189), (69.1, 17.9, 4.6)),
            (12, (748, 392, 163), (57.6, 15.1, 4.4)),
        )
    ):
        gpu_widths, arm_widths = stacks.at_ratio(128, ratio), stacks.at_ratio(32, ratio)
        c1, c2 = (factor * width for width in arm_widths)
        rows.append(
            TableRow(
                f"1:{ratio}",
                number - 1 if number else None,
                c1,
                partial(stacks.channel_ratio, c1, c2),
                gpu[index] * math.prod(gpu_widths),
                arm[index] * math.prod(arm_widths),
            )
        )
    claim = "equal channel width is fastest; the further from 1:1, the slower"
    return Experiment("G1", "channel ratio of 1x1 convolutions", claim, True, size, tuple(rows))


def g2(size: str = "x1") -> Experiment:
    """Return table 2: excessive group convolution increases memory access cost."""
    index, factor = _size(size)
    rows = [
        TableRow(
            f"g={groups}",
            number - 1 if number else None,
            factor * arm_c,
            partial(stacks.grouped, factor * arm_c, groups),
            gpu[index] * (gpu_c**2 // groups),
            arm[index] * (arm_c**2 // groups),
        )
        for number, (groups, gpu_c, gpu, arm_c, arm) in enumerate(
            (
                (1, 128, (2451, 1289, 437), 64, (40.0, 10.2, 2.3)),
                (2, 180, (1725, 873, 341), 90, (35.0, 9.5, 2.2)),
                (4, 256, (1026, 644, 338), 128, (32.9, 8.7, 2.1)),
                (8, 360, (634, 445, 230), 184, (27.8, 7.5, 1.8)),
            )
        )
    ]
    note = (
        "erratum: table 2 prints 180 channels at g=8 for ARM, but 180 is not divisible by 8; the "
        "authors mean 184 (issue tracker of their code)"
    )
    claim = "the more groups, the slower"
    return Experiment("G2", "groups at constant FLOPs", claim, True, size, tuple(rows), note)


def g3(size: str = "x1") -> Experiment:
    """Return table 3: fragmentation reduces the degree of parallelism."""
    index, factor = _size(size)
    series, parallel = stacks.in_series, stacks.in_parallel
    rows = []
    for label, before, fragments, build, gpu, arm in (
        ("1 fragment", None, 1, series, (2446, 1274, 434), (40.2, 10.1, 2.3)),
        ("2 in series", 0, 2, series, (1790, 909, 336), (38.6, 10.1, 2.2)),
        ("4 in series", 1, 4, series, (752, 745, 349), (38.4, 10.1, 2.3)),
        ("2 in parallel", 0, 2, parallel, (1537, 803, 320), (33.4, 9.1, 2.2)),
        ("4 in parallel", 3, 4, parallel, (691, 572, 292), (35.0, 8.4, 2.1)),
    ):
        gpu_c, arm_c = (stacks.narrowed(width * factor, fragments) for width in (128, 64))
        rows.append(
            TableRow(
                label,
                before,
                arm_c,
                partial(build, arm_c, fragments),
                gpu[index] * fragments * gpu_c**2,
                arm[index] * fragments * arm_c**2,
            )
        )
    claim = "the more fragments, the slower"
    return Experiment("G3", "fragments in a block", claim, True, size, tuple(rows))


def g4(size: str = "x1") -> Experiment:
    """Return table 4: element-wise operations are not negligible."""
    index, factor = _size(size)
    c = 32 * factor
    rows = [
        TableRow(
            label,
            before,
            c,
            partial(stacks.bottlenecks, c, relu=relu, shortcut=shortcut),
            gpu[index],
            arm[index],
        )
        for label, before, relu, shortcut, gpu, arm in (
            ("ReLU, shortcut", None, True, True, (2427, 2066, 1436), (56.7, 16.9, 5.0)),
            ("ReLU", 0, True, False, (2647, 2256, 1735), (61.9, 18.8, 5.2)),
            ("shortcut", 0, False, True, (2672, 2121, 1458), (57.3, 18.2, 5.1)),
            ("neither", 1, False, False, (2842, 2376, 1782), (66.3, 20.2, 5.4)),
        )
    ]
    claim = "a block without ReLU or shortcut is faster, at the same FLOPs"
    return Experiment("G4", "ReLU and shortcut in bottlenecks", claim, False, size, tuple(rows))


EXPERIMENTS: Mapping[str, Callable[[str], Experiment]] = {"G1": g1, "G2": g2, "G3": g3, "G4": g4}
"""The four tables, by guideline."""


def _size(size: str) -> tuple[int, int]:
    """Return which column of the paper's tables has this size, and the factor on the widths."""
    if size not in SIZES:
        raise ValueError(f"size={size!r} is not one of {', '.join(SIZES)}")
    index = SIZES.index(size)
    return index, 2**index
