"""Measure the four guidelines of ShuffleNet V2 on this machine, and compare with the paper.

examples:
  numpy-shufflenet guidelines
  numpy-shufflenet guidelines --quick
  numpy-shufflenet guidelines G1 G2 --sizes x1 x2 x4 --rounds 60
  numpy-shufflenet guidelines ablation --seeds 5 --groups 8
  mpiexec -n 5 numpy-shufflenet guidelines ablation --distributed --seeds 12

G1: channel ratio. G2: groups. G3: fragments. G4: ReLU and shortcut. shares: share of element-wise
operations in the run time. ablation: training with and without the shuffle (some minutes).
In each round, every network of a table runs once. Each ratio has a 95 % interval over the rounds.
"""

import argparse
import importlib.util
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import cost
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands import _distributed
from numpy_shufflenet.commands._common import (
    make_folder,
    networks_of_the_papers,
    positive_int,
    progress,
    show_table,
)
from numpy_shufflenet.cost import ablation as ablations
from numpy_shufflenet.cost import experiments, guidelines
from numpy_shufflenet.cost.kinds import ELEMENT_WISE

PARTS = (*cost.EXPERIMENTS, "shares", "ablation")
QUICK_ROUNDS, ROUNDS = 24, 60
QUICK_ABLATION = {"seeds": 2, "images": 500, "epochs": 1}
IMAGE = (1, 3, 224, 224)
MEANING = {True: "as claimed", False: "opposite to the claim", None: "no clear difference"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    parts_help = f"any of {', '.join(PARTS)} (default: all except ablation)"
    add("parts", nargs="*", metavar="PART", help=parts_help)
    add("--quick", action="store_true", help="measure all four in less than 90 seconds")
    sizes = "factors on the paper's ARM widths (default: x1 x2; with --quick: x1)"
    add("--sizes", nargs="+", choices=experiments.SIZES, default=None, help=sizes)
    rounds = "number of rounds, at least 6 (default: 60; with --quick: 24)"
    add("--rounds", type=positive_int, help=rounds)
    only = "measure one implementation (default: both, if PyTorch is installed)"
    add("--only", choices=guidelines.IMPLEMENTATIONS, help=only)
    add("--out", type=expanded, default=Path("runs/guidelines"), help="folder for the results")
    add = parser.add_argument_group("ablation").add_argument
    add("--seeds", type=positive_int, default=3, help="pairs of trainings")
    add("--groups", type=int, default=8, help="groups of the network")
    add("--images", type=positive_int, default=4000, help="training images")
    add("--epochs", type=positive_int, default=4)
    shared = "share the trainings among the processes of mpiexec; the first one hands them out"
    add("--distributed", action="store_true", help=shared)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, draw, and write JSON."""
    if not arguments.distributed:
        _distributed.check_alone()
        return _run(arguments, map)
    if arguments.parts != ["ablation"]:
        raise ValueError("--distributed is for the part ablation alone: the others measure time")
    with _distributed.pool() as share:
        return 0 if share is None else _run(arguments, share)


def _run(arguments: argparse.Namespace, share: Callable[..., Any]) -> int:
    for module in ("rich", "matplotlib"):
        need(module, "the guidelines")
    quick = arguments.quick
    parts = arguments.parts or [part for part in PARTS if part != "ablation"]
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"part {part!r} is not one of {', '.join(PARTS)}")
    out = make_folder(arguments.out)
    rounds = arguments.rounds or (QUICK_ROUNDS if quick else ROUNDS)
    sizes = arguments.sizes or (["x1"] if quick else ["x1", "x2"])
    has_torch = importlib.util.find_spec("torch")
    both = ["ours", "PyTorch"] if has_torch else ["ours"]
    implementations = [arguments.only] if arguments.only else both
    found: dict[str, Any] = {"machine": _machine(), "guidelines": []}
    verdicts: list[list[str]] = []
    for key in [key for key in cost.EXPERIMENTS if key in parts]:
        for size in sizes:
            results = _measure(key, size, implementations, rounds)
            _show(results)
            _draw(results, out)
            found["guidelines"] += [result.to_dict() for result in results]
            verdicts += [[key, size, r.implementation, r.verdict] for r in results]
    if "shares" in parts:
        found["shares"] = _shares(out, rounds=6 if quick else 20)
    if "ablation" in parts:
        given = {"seeds": arguments.seeds, "images": arguments.images, "epochs": arguments.epochs}
        test_images = {"test_images": 500} if quick else {}
        found["ablation"] = _ablation(
            arguments.groups, QUICK_ABLATION if quick else given, test_images, share
        )
    if verdicts:
        header = ["guideline", "size", "implementation", "verdict"]
        show_table("Verdicts, only for this machine", header, verdicts, left=4)
    write_bytes(out / "guidelines.json", json.dumps(found, indent=1).encode())
    print(f"all numbers are in {out / 'guidelines.json'}, and pictures in the same folder")
    return 0


def _measure(
    key: str, size: str, implementations: list[str], rounds: int
) -> list[cost.GuidelineResult]:
    experiment = cost.EXPERIMENTS[key](size)
    turns = (rounds + 1) * len(experiment.variants) * len(implementations)
    with progress(turns, f"{key} {size}") as update:
        return [
            cost.measure(
                experiment,
                rounds=rounds,
                implementation=implementation,
                on_run=lambda label: update(),
            )
            for implementation in implementations
        ]


def _show(results: list[cost.GuidelineResult]) -> None:
    """Print the table of one experiment, with a column for each implementation."""
    first = results[0]
    experiment = first.experiment
    gpu, arm = experiments.paper_relative(experiment)
    relative = [result.relative() for result in results]
    names = [result.implementation for result in results]
    with_bound = experiment.key in ("G1", "G2")
    rows = []
    for number, variant in enumerate(experiment.variants):
        label = variant.label
        rows.append(
            [
                label,
                f"{first.multiply_adds[label] / 1e6:.1f} M",
                f"{first.memory_access[label] / 1e6:.2f} M",
                *([f"{first.bound[label] / 1e6:.2f} M"] if with_bound else []),
                *(f"{1e3 * np.median(result.seconds[label]):.2f}" for result in results),
                *(f"{column[label]:.2f}" for column in relative),
                *(f"{gpu[number]:.2f}", f"{arm[number]:.2f}"),
            ]
        )
    header = ["", "multiply-adds", "MAC", *(["minimum MAC"] if with_bound else [])]
    header += [*(f"{name}, ms" for name in names), *names, "paper, GPU", "paper, ARM"]
    title = f"{experiment.key} ({experiment.size}), {experiment.title}: speed per multiply-add"
    show_table(title, header, rows)
    if experiment.note:
        print(f"  {experiment.note}")
    for result in results:
        print(f"  {result.implementation}: ratios of two rows' times per multiply-add")
        for step in result.steps:
            print(f"    {step.label} / {step.before}: {step.ratio}  {MEANING[step.as_claimed]}")
        print(f"    {experiment.claim}: {result.verdict}")
    print()


def _draw(results: list[cost.GuidelineResult], out: Path) -> None:
    from numpy_shufflenet import plots

    experiment = results[0].experiment
    columns: dict[str, list[float]] = {}
    intervals = {}
    for result in results:  # the first row is 1 by definition; speed is 1 / time
        ratios = [step.ratio for step in result.whole]
        columns[result.implementation] = [1.0, *(1 / r.median for r in ratios)]
        intervals[result.implementation] = [(1.0, 1.0), *((1 / r.high, 1 / r.low) for r in ratios)]
    columns["paper, GPU"], columns["paper, ARM"] = experiments.paper_relative(experiment)
    figure = plots.guideline(
        [variant.label for variant in experiment.variants],
        columns,
        f"{experiment.key} ({experiment.size}): {experiment.title}",
        intervals,
    )
    plots.save(figure, out / f"{experiment.key}_{experiment.size}.png")


def _shares(out: Path, *, rounds: int) -> dict[str, Any]:
    """Measure the share of each kind of operation in the run time of three networks."""
    from numpy_shufflenet import plots

    networks = networks_of_the_papers()
    del networks["resnet_50"]
    x = np.random.default_rng(0).normal(size=IMAGE).astype(np.float32)
    with progress(rounds * len(networks), "shares of run time") as update:
        shares = {
            name: cost.shares_by_kind(model, x, rounds=rounds, on_run=update)
            for name, model in networks.items()
        }
    kinds = dict.fromkeys(kind for row in shares.values() for kind in row)
    groups: dict[str, tuple[str, ...]] = {kind: (kind,) for kind in kinds}
    groups[f"element-wise ({', '.join(ELEMENT_WISE)})"] = ELEMENT_WISE
    show_table(
        "G4: share of run time of a forward, one 224 x 224 image",
        ["", *shares],
        [
            [name, *(f"{sum(row.get(kind, 0) for kind in group):.1%}" for row in shares.values())]
            for name, group in groups.items()
        ],
    )
    figure = plots.cost_by_kind(shares, "Share of run time, measured on this machine")
    plots.save(figure, out / "shares.png")
    return shares


def _ablation(
    groups: int,
    settings: dict[str, Any],
    test_images: dict[str, Any],
    share: Callable[..., Any],
) -> dict[str, Any]:
    with progress(ablations.total_steps(**settings), "ablation") as update:
        # Other processes can't call `update`.
        how: dict[str, Any] = {"on_step": update} if share is map else {"share": share}
        found = cost.shuffle_ablation(groups=groups, **settings, **test_images, **how)
    paper = ablations.PAPER.get(groups, (None, None))
    rows = [
        [
            name,
            "  ".join(f"{error:.1%}" for error in errors),
            f"{np.mean(errors):.1%} +- {np.std(errors, ddof=1):.1%}",
            f"{printed} %" if printed else "",
        ]
        for name, errors, printed in zip(
            ("no shuffle", "shuffle"),
            (found.without_shuffle, found.with_shuffle),
            paper,
            strict=True,
        )
    ]
    show_table(
        f"V1 0.25x, g={groups}: test error after {found.epochs} epochs on {found.images:,} images",
        ["", "each seed", "mean +- standard deviation", "paper, ImageNet"],
        rows,
    )
    mean, low, high = found.gain
    print(
        f"  the shuffle lowers the error by {mean:.1%} [{low:.1%}, {high:.1%}]: {found.verdict}\n"
    )
    return found.to_dict()


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }
