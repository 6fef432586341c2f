"""Measures the four guidelines of ShuffleNet V2: times the networks of `experiments` here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.cost.closed_forms import lower_bound
from numpy_shufflenet.cost.experiments import Experiment, TableRow, paper_relative
from numpy_shufflenet.cost.network import NetworkCost, count
from numpy_shufflenet.cost.stacks import PIXELS
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.timing import Interval, interleave, median_interval

NO_DIFFERENCE = 0.02
"""A median ratio closer to 1 than this counts as no difference, even with a narrow interval."""


@dataclass(frozen=True)
class RowComparison:
    """The time per multiply-add of a row, divided by the time per multiply-add of another row."""

    label: str
    before: str  #: label of the other row
    ratio: Interval  #: above 1, this row is slower
    as_claimed: bool | None  #: None if the difference is too small to be sure


@dataclass(frozen=True)
class GuidelineResult:
    """What `measure` found for one guideline and one implementation.

    The keys of each dict are the labels of the experiment's rows. Numbers are for one image.
    """

    experiment: Experiment
    implementation: str  #: "ours" or "PyTorch"
    seconds: dict[str, list[float]]  #: one number for each round
    multiply_adds: dict[str, int]
    memory_access: dict[str, int]
    bound: dict[str, float]  #: smallest MAC of 1x1 convolutions with the same multiply-adds
    steps: tuple[RowComparison, ...]  #: each row compared with the row one step before it
    whole: tuple[RowComparison, ...]  #: each row compared with the first row

    @property
    def verdict(self) -> str:
        """Whether the guideline holds on this machine; see `judge_guideline`."""
        return judge_guideline(self.whole)

    def relative(self) -> dict[str, float]:
        """Return speed per multiply-add, relative to the first row: below 1 is slower."""
        speeds = {
            label: self.multiply_adds[label] / float(np.median(values))
            for label, values in self.seconds.items()
        }
        first = speeds[self.experiment.variants[0].label]
        return {label: speed / first for label, speed in speeds.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, for JSON."""
        experiment = self.experiment
        relative = self.relative()
        gpu, arm = paper_relative(experiment)
        rows = [
            {
                "label": row.label,
                "multiply_adds": self.multiply_adds[row.label],
                "memory_access": self.memory_access[row.label],
                "memory_access_bound": self.bound[row.label],
                "seconds": self.seconds[row.label],
                "relative_speed": relative[row.label],
                "paper_gpu": gpu[number],
                "paper_arm": arm[number],
            }
            for number, row in enumerate(experiment.variants)
        ]
        return {
            "guideline": experiment.key,
            "title": experiment.title,
            "claim": experiment.claim,
            "size": experiment.size,
            "note": experiment.note,
            "implementation": self.implementation,
            "verdict": self.verdict,
            "rows": rows,
            "steps": _plain_types(self.steps),
            "against_the_first": _plain_types(self.whole),
        }


def _plain_types(comparisons: Iterable[RowComparison]) -> list[dict[str, Any]]:
    return [
        {"row": c.label, "before": c.before, **c.ratio._asdict(), "as_claimed": c.as_claimed}
        for c in comparisons
    ]


def judge_guideline(whole: Sequence[RowComparison]) -> str:
    """Say whether a guideline holds, from the comparisons of each row with the first."""
    opposite = [row.label for row in whole if row.as_claimed is False]
    unclear = [row.label for row in whole if row.as_claimed is None]
    if not opposite and not unclear:
        return "holds: every row differs from the first as the guideline says"
    reasons = [f"opposite direction in {', '.join(opposite)}"] if opposite else []
    reasons += [f"no clear difference in {', '.join(unclear)}"] if unclear else []
    none_holds = len(opposite) + len(unclear) == len(whole)
    return f"{'does not hold here' if none_holds else 'holds in part'}: {'; '.join(reasons)}"


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
        One of `experiments.EXPERIMENTS`.
    rounds : int
        Number of rounds, at least 6 for an interval. In each round every network runs once.
    implementation : str
        "ours" runs the layers of `nn` on the implementation that `backend` chooses. "PyTorch" runs
        the same network in PyTorch.
    batch : int
        Number of images; the paper's ARM column has 1.
    min_seconds : float
        In each measurement, a network repeats its forward until this time has passed.
    on_run : callable, optional
        Called with a row's label after each of its runs.

    Raises
    ------
    ValueError
        If there are too few rounds, or the implementation is unknown.
    ImportError
        If `implementation` is "PyTorch" and PyTorch is not installed.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation={implementation!r} is not one of {', '.join(IMPLEMENTATIONS)}"
        )
    rng = np.random.default_rng(0)
    costs, runs = {}, {}
    for row in experiment.variants:
        model = row.build()
        costs[row.label] = count(model, (row.channels, PIXELS, PIXELS))
        x = rng.normal(size=(batch, row.channels, PIXELS, PIXELS)).astype(np.float32)
        runs[row.label] = IMPLEMENTATIONS[implementation](model, x)
    seconds = interleave(runs, rounds=rounds, min_seconds=min_seconds, on_run=on_run)
    multiply_adds = {label: cost.forward.multiply_adds for label, cost in costs.items()}
    per_flop = {label: seconds[label] / (batch * multiply_adds[label]) for label in seconds}

    def compare(row: TableRow, before: TableRow) -> RowComparison:
        ratio = median_interval(per_flop[row.label] / per_flop[before.label])
        unclear = ratio.low <= 1 <= ratio.high or abs(ratio.median - 1) < NO_DIFFERENCE
        as_claimed = None if unclear else (ratio.median > 1) == experiment.slower
        return RowComparison(row.label, before.label, ratio, as_claimed)

    rows = experiment.variants
    return GuidelineResult(
        experiment,
        implementation,
        {label: (values / batch).tolist() for label, values in seconds.items()},
        multiply_adds,
        {label: cost.forward.memory_access for label, cost in costs.items()},
        {label: _bound(cost) for label, cost in costs.items()},
        tuple(compare(row, rows[row.before]) for row in rows if row.before is not None),
        tuple(compare(row, rows[0]) for row in rows[1:]),
    )


def _bound(cost: NetworkCost) -> float:
    """Return the smallest MAC that ungrouped 1x1 convolutions of the same cost could have."""
    return sum(
        lower_bound(PIXELS, PIXELS, layer.cost.forward.multiply_adds)
        for layer in cost.layers
        if layer.kind == "1x1 convolution"
    )


def _ours(model: Layer, x: Array) -> Callable[[], object]:
    x = backend.channel_major(x)

    def forward() -> None:
        model.forward(x)
        model.release()

    return forward


def _torch(model: Layer, x: Array) -> Callable[[], object]:
    torch = need("torch", "this measurement")
    from numpy_shufflenet.torch_peer import to_torch

    network, images = to_torch(model, inplace=False).eval(), torch.from_numpy(x)

    def forward() -> Any:
        with torch.inference_mode():
            return network(images)

    return forward


IMPLEMENTATIONS: Mapping[str, Callable[[Layer, Array], Callable[[], object]]] = {
    "ours": _ours,
    "PyTorch": _torch,
}
"""Each entry takes a network and images, and returns a function that runs one forward."""
