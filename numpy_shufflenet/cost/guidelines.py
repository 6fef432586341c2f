"""The four guidelines of ShuffleNet V2 as experiments: the paper's networks on this machine.

FLOPs are held about constant in each table, and one thing varies; as they are never quite equal,
what is compared is time per multiply-add.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._optional import need
from numpy_shufflenet.cost import stacks
from numpy_shufflenet.cost.closed_forms import lower_bound
from numpy_shufflenet.cost.network import count
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.timing import Interval, interleave, median_interval

PIXELS = 56
SIZES = ("x1", "x2", "x4")
NO_DIFFERENCE = 0.02  # a median this close to 1 is none, however sure


@dataclass(frozen=True)
class TableRow:
    """One row of a table: a network, and what the paper measured.

    Attributes
    ----------
    label : str
    before : int or None
        The row that this one is a step away from.
    channels : int
        Of the input.
    build : callable
        Returns the network.
    gpu, arm : float or None
        The paper's speed, batches/s and images/s.
    gpu_multiply_adds, arm_multiply_adds : int
        Of the network that they were measured with, which has other widths on the GPU.
    """

    label: str
    before: int | None
    channels: int
    build: Callable[[], Layer]
    gpu: float
    gpu_multiply_adds: int
    arm: float
    arm_multiply_adds: int


@dataclass(frozen=True)
class Experiment:
    """One guideline at one size.

    Attributes
    ----------
    key, title : str
    claim : str
        What the guideline says about the steps.
    slower : bool
        Whether it says that each step is slower per multiply-add; else faster.
    size : str
        "x1", "x2" or "x4": factor of the paper's ARM widths.
    note : str
        An erratum, or how the table was read.
    """

    key: str
    title: str
    claim: str
    slower: bool
    size: str
    variants: tuple[TableRow, ...]
    note: str = ""


@dataclass(frozen=True)
class RowComparison:
    """How a row compares with the row before it, per multiply-add; above 1 is slower."""

    label: str
    before: str
    ratio: Interval
    as_claimed: bool | None  # None: no difference that could be told from chance


@dataclass(frozen=True)
class GuidelineResult:
    """What was measured for one guideline, by one implementation.

    Attributes
    ----------
    implementation : str
        "ours" or "PyTorch".
    seconds : dict of str to list of float
        Of one image, for each variant, round by round.
    multiply_adds, memory_access, bound : dict of str to number
        Of one image; bound is the least MAC that its 1x1 convolutions could have, at their cost.
    steps : tuple of Step
        Each row against the row before.
    whole : tuple of Step
        Each row that starts nothing against the first.
    """

    experiment: Experiment
    implementation: str
    seconds: dict[str, list[float]]
    multiply_adds: dict[str, int]
    memory_access: dict[str, int]
    bound: dict[str, float]
    steps: tuple[RowComparison, ...]
    whole: tuple[RowComparison, ...]
    verdict: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", judge_guideline(self.experiment, self.whole))

    def relative(self) -> dict[str, float]:
        """Return speed per multiply-add, relative to the first row: below 1 is slower."""
        times = {label: float(np.median(values)) for label, values in self.seconds.items()}
        speeds = {label: self.multiply_adds[label] / times[label] for label in times}
        first = speeds[self.experiment.variants[0].label]
        return {label: speed / first for label, speed in speeds.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types, for JSON."""
        experiment = self.experiment
        return {
            "guideline": experiment.key,
            "title": experiment.title,
            "claim": experiment.claim,
            "size": experiment.size,
            "note": experiment.note,
            "implementation": self.implementation,
            "verdict": self.verdict,
            "rows": [
                {
                    "label": variant.label,
                    "multiply_adds": self.multiply_adds[variant.label],
                    "memory_access": self.memory_access[variant.label],
                    "memory_access_bound": self.bound[variant.label],
                    "seconds": self.seconds[variant.label],
                    "relative_speed": self.relative()[variant.label],
                    "paper_gpu": gpu,
                    "paper_arm": arm,
                }
                for variant, gpu, arm in zip(
                    experiment.variants, *paper_relative(experiment), strict=True
                )
            ],
            **{
                name: [
                    {
                        "row": step.label,
                        "before": step.before,
                        **step.ratio._asdict(),
                        "as_claimed": step.as_claimed,
                    }
                    for step in steps
                ]
                for name, steps in (("steps", self.steps), ("against_the_first", self.whole))
            },
        }


def paper_relative(experiment: Experiment) -> tuple[list[float], list[float]]:
    """Return the paper's GPU and ARM speed of each row, per multiply-add, relative to the first."""
    columns = []
    for platform in ("gpu", "arm"):
        speeds = [
            getattr(row, platform) * getattr(row, f"{platform}_multiply_adds")
            for row in experiment.variants
        ]
        columns.append([speed / speeds[0] for speed in speeds])
    return columns[0], columns[1]


def judge_guideline(experiment: Experiment, whole: Sequence[RowComparison]) -> str:
    """Say whether the guideline holds on this machine, from each row against the first."""
    against = [step.label for step in whole if step.as_claimed is False]
    untold = [step.label for step in whole if step.as_claimed is None]
    if not against and not untold:
        return "holds: every row differs from the first as the guideline says"
    reasons = [f"{', '.join(against)} the other way"] if against else []
    reasons += [f"{', '.join(untold)} not to be told from the first"] if untold else []
    only = len(against) + len(untold) == len(whole)
    return f"{'does not hold here' if only else 'holds in part'}: {'; '.join(reasons)}"


# The experiments


def g1(size: str = "x1") -> Experiment:
    """Return table 1: equal channel width minimises memory access cost."""
    index, factor = _size(size)
    rows = (
        (1, (1480, 723, 232), (76.2, 21.7, 5.3)),
        (2, (1296, 586, 206), (72.9, 20.5, 5.1)),
        (6, (876, 489, 189), (69.1, 17.9, 4.6)),
        (12, (748, 392, 163), (57.6, 15.1, 4.4)),
    )
    variants = []
    for number, (ratio, gpu, arm) in enumerate(rows):
        arm_c = stacks.at_ratio(32, ratio)
        c1, c2 = (factor * c for c in arm_c)
        variants.append(
            TableRow(
                f"1:{ratio}",
                number - 1 if number else None,
                c1,
                partial(stacks.channel_ratio, c1, c2),
                gpu[index],
                math.prod(stacks.at_ratio(128, ratio)),
                arm[index],
                math.prod(arm_c),
            )
        )
    return Experiment(
        "G1",
        "channel ratio of 1x1 convolutions",
        "equal channel width is fastest; the further from 1:1, the slower",
        True,
        size,
        tuple(variants),
    )


def g2(size: str = "x1") -> Experiment:
    """Return table 2: excessive group convolution increases memory access cost."""
    index, factor = _size(size)
    rows = (
        (1, 128, (2451, 1289, 437), 64, (40.0, 10.2, 2.3)),
        (2, 180, (1725, 873, 341), 90, (35.0, 9.5, 2.2)),
        (4, 256, (1026, 644, 338), 128, (32.9, 8.7, 2.1)),
        (8, 360, (634, 445, 230), 184, (27.8, 7.5, 1.8)),
    )
    variants = [
        TableRow(
            f"g={groups}",
            number - 1 if number else None,
            factor * arm_c,
            partial(stacks.grouped, factor * arm_c, groups),
            gpu[index],
            gpu_c**2 // groups,
            arm[index],
            arm_c**2 // groups,
        )
        for number, (groups, gpu_c, gpu, arm_c, arm) in enumerate(rows)
    ]
    return Experiment(
        "G2",
        "groups at constant FLOPs",
        "the more groups, the slower",
        True,
        size,
        tuple(variants),
        "erratum: table 2 prints 180 channels at g=8 for ARM, which 8 does not divide; 184 is meant"
        " (the authors, in their code's issue tracker)",
    )


def g3(size: str = "x1") -> Experiment:
    """Return table 3: fragmentation reduces the degree of parallelism."""
    index, factor = _size(size)
    rows = (
        ("1 fragment", None, 1, stacks.in_series, (2446, 1274, 434), (40.2, 10.1, 2.3)),
        ("2 in series", 0, 2, stacks.in_series, (1790, 909, 336), (38.6, 10.1, 2.2)),
        ("4 in series", 1, 4, stacks.in_series, (752, 745, 349), (38.4, 10.1, 2.3)),
        ("2 in parallel", 0, 2, stacks.in_parallel, (1537, 803, 320), (33.4, 9.1, 2.2)),
        ("4 in parallel", 3, 4, stacks.in_parallel, (691, 572, 292), (35.0, 8.4, 2.1)),
    )
    variants = []
    for label, before, fragments, build, gpu, arm in rows:
        c = stacks.narrowed(64 * factor, fragments)
        gpu_c, arm_c = (stacks.narrowed(width * factor, fragments) for width in (128, 64))
        variants.append(
            TableRow(
                label,
                before,
                c,
                partial(build, c, fragments),
                gpu[index],
                fragments * gpu_c**2,
                arm[index],
                fragments * arm_c**2,
            )
        )
    return Experiment(
        "G3",
        "fragments in a block",
        "the more fragments, the slower",
        True,
        size,
        tuple(variants),
    )


def g4(size: str = "x1") -> Experiment:
    """Return table 4: element-wise operations are not negligible."""
    index, factor = _size(size)
    rows = (
        ("ReLU, shortcut", None, True, True, (2427, 2066, 1436), (56.7, 16.9, 5.0)),
        ("ReLU", 0, True, False, (2647, 2256, 1735), (61.9, 18.8, 5.2)),
        ("shortcut", 0, False, True, (2672, 2121, 1458), (57.3, 18.2, 5.1)),
        ("neither", 1, False, False, (2842, 2376, 1782), (66.3, 20.2, 5.4)),
    )
    c = 32 * factor
    variants = [
        TableRow(
            label,
            before,
            c,
            partial(stacks.bottlenecks, c, relu=relu, shortcut=shortcut),
            gpu[index],
            1,
            arm[index],
            1,
        )
        for label, before, relu, shortcut, gpu, arm in rows
    ]
    return Experiment(
        "G4",
        "ReLU and shortcut in bottlenecks",
        "without ReLU or shortcut it is faster, at the same FLOPs",
        False,
        size,
        tuple(variants),
    )


EXPERIMENTS: Mapping[str, Callable[[str], Experiment]] = {"G1": g1, "G2": g2, "G3": g3, "G4": g4}
"""The four tables, by guideline."""


# Measuring


def measure(
    experiment: Experiment,
    *,
    rounds: int = 20,
    implementation: str = "ours",
    batch: int = 1,
    min_seconds: float = 0.01,
    on_run: Callable[[str], object] = lambda label: None,
) -> GuidelineResult:
    """Measure one table on this machine.

    Parameters
    ----------
    experiment : Experiment
        From `g1`, `g2`, `g3` or `g4`.
    rounds : int
        At least 6, for an interval; in each, every network runs once.
    implementation : str
        "ours": layers of `nn`, on the implementation that `backend` chooses; "PyTorch".
    batch : int
        Images; 1 as in the paper's ARM column.
    min_seconds : float
        Of one network's turn.
    on_run : callable, optional
        Called after each turn.

    Raises
    ------
    ValueError
        If there are too few rounds, or the implementation is unknown.
    ImportError
        If PyTorch isn't installed.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation={implementation!r} is not one of {', '.join(IMPLEMENTATIONS)}"
        )
    models = {variant.label: variant.build() for variant in experiment.variants}
    costs = {
        variant.label: count(models[variant.label], (variant.channels, PIXELS, PIXELS))
        for variant in experiment.variants
    }
    rng = np.random.default_rng(0)
    runs = {}
    for variant in experiment.variants:
        x = rng.normal(size=(batch, variant.channels, PIXELS, PIXELS)).astype(np.float32)
        runs[variant.label] = IMPLEMENTATIONS[implementation](models[variant.label], x)
    seconds = interleave(runs, rounds=rounds, min_seconds=min_seconds, on_run=on_run)
    multiply_adds = {label: cost.forward.multiply_adds for label, cost in costs.items()}
    per_flop = {label: seconds[label] / (batch * multiply_adds[label]) for label in seconds}
    steps = [
        _step(experiment, per_flop, variant, experiment.variants[variant.before])
        for variant in experiment.variants
        if variant.before is not None
    ]
    first, *others = experiment.variants
    return GuidelineResult(
        experiment,
        implementation,
        {label: (values / batch).tolist() for label, values in seconds.items()},
        multiply_adds,
        {label: cost.forward.memory_access for label, cost in costs.items()},
        {label: _bound(cost) for label, cost in costs.items()},
        tuple(steps),
        tuple(_step(experiment, per_flop, variant, first) for variant in others),
    )


def _step(
    experiment: Experiment, per_flop: Mapping[str, Any], row: TableRow, before: TableRow
) -> RowComparison:
    ratio = median_interval(per_flop[row.label] / per_flop[before.label])
    if ratio.low <= 1 <= ratio.high or abs(ratio.median - 1) < NO_DIFFERENCE:
        as_claimed = None
    else:
        as_claimed = (ratio.median > 1) == experiment.slower
    return RowComparison(row.label, before.label, ratio, as_claimed)


def _bound(cost: Any) -> float:
    """The least MAC that ungrouped convolutions of these costs could have, of all 1x1 layers."""
    return sum(
        lower_bound(PIXELS, PIXELS, layer.cost.forward.multiply_adds)
        for layer in cost.layers
        if layer.kind == "1x1 convolution"
    )


def _ours(model: Layer, x: Any) -> Callable[[], object]:
    x = backend.channel_major(x)

    def forward() -> None:
        model.forward(x)
        model.release()

    return forward


def _torch(model: Layer, x: Any) -> Callable[[], object]:
    torch = need("torch", "this measurement")
    from numpy_shufflenet.torch_peer import to_torch

    network, images = to_torch(model, inplace=False).eval(), torch.from_numpy(x)

    def forward() -> Any:
        with torch.inference_mode():
            return network(images)

    return forward


IMPLEMENTATIONS: Mapping[str, Callable[[Layer, Any], Callable[[], object]]] = {
    "ours": _ours,
    "PyTorch": _torch,
}


def _size(size: str) -> tuple[int, int]:
    if size not in SIZES:
        raise ValueError(f"size={size!r} is not one of {', '.join(SIZES)}")
    index = SIZES.index(size)
    return index, 2**index
