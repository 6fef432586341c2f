"""Measure the four guidelines of ShuffleNet V2 on this machine, beside the paper's tables.

examples:
  numpy-shufflenet guidelines
  numpy-shufflenet guidelines --quick
  numpy-shufflenet guidelines G1 G2 --sizes x1 x2 x4 --rounds 60
  numpy-shufflenet guidelines ablation --seeds 5 --groups 8

G1 channel ratio; G2 groups; G3 fragments; G4 ReLU and shortcut; shares: what element-wise
operations take of the run time; ablation: shuffle against no shuffle, trained (some minutes).
All networks of a table run in turn; each ratio has a 95 % interval over the rounds
"""

import argparse
import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import cost, models
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import make_folder, positive_int, show_table
from numpy_shufflenet.cost import ablation as ablations
from numpy_shufflenet.cost import experiments, guidelines
from numpy_shufflenet.cost.kinds import ELEMENT_WISE

PARTS = (*cost.EXPERIMENTS, "shares", "ablation")
QUICK_ROUNDS, ROUNDS = 24, 60
QUICK_ABLATION = {"seeds": 2, "images": 500, "epochs": 1, "test_images": 500}
PICTURE_SIZE = 224


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)}; all but the ablation if not given",
    )
    parser.add_argument("--quick", action="store_true", help="all four in less than 90 seconds")
    parser.add_argument(
        "--sizes",
        nargs="+",
        choices=experiments.SIZES,
        default=None,
        help="factors of the paper's ARM widths (default: x1 x2; x1 if quick)",
    )
    parser.add_argument("--rounds", type=positive_int, help="at least 6 (default: 60; 24 if quick)")
    parser.add_argument(
        "--only",
        choices=guidelines.IMPLEMENTATIONS,
        help="one implementation; both if PyTorch is installed",
    )
    parser.add_argument("--out", type=expanded, default=Path("runs/guidelines"), help="for results")
    group = parser.add_argument_group("ablation")
    group.add_argument("--seeds", type=positive_int, default=3)
    group.add_argument("--groups", type=int, default=8)
    group.add_argument("--images", type=positive_int, default=4000)
    group.add_argument("--epochs", type=positive_int, default=4)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, draw, and write JSON."""
    for module in ("rich", "matplotlib"):
        need(module, "the guidelines")
    parts = arguments.parts or [part for part in PARTS if part != "ablation"]
    for part in parts:
        if part not in PARTS:
            raise ValueError(f"part {part!r} is not one of {', '.join(PARTS)}")
    out = make_folder(arguments.out)
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    sizes = arguments.sizes or (["x1"] if arguments.quick else ["x1", "x2"])
    implementations = [arguments.only] if arguments.only else _implementations()
    found: dict[str, Any] = {"machine": _machine(), "guidelines": []}
    verdicts: list[list[str]] = []
    for key in cost.EXPERIMENTS:
        if key in parts:
            for size in sizes:
                results = _measure(key, size, implementations, rounds)
                _show(results)
                _draw(results, out)
                found["guidelines"] += [result.to_dict() for result in results]
                verdicts += [
                    [key, size, result.implementation, result.verdict] for result in results
                ]
    if "shares" in parts:
        found["shares"] = _shares(out, rounds=6 if arguments.quick else 20)
    if "ablation" in parts:
        settings = QUICK_ABLATION if arguments.quick else _ablation_settings(arguments)
        found["ablation"] = _ablation(settings, arguments.groups)
    if verdicts:
        show_table(
            "Verdicts, on this machine only",
            ["guideline", "size", "implementation", "verdict"],
            verdicts,
            left=4,
        )
    write_bytes(out / "guidelines.json", json.dumps(found, indent=1).encode())
    print(f"all numbers in {out / 'guidelines.json'}; pictures beside it")
    return 0


def _measure(
    key: str, size: str, implementations: list[str], rounds: int
) -> list[cost.GuidelineResult]:
    experiment = cost.EXPERIMENTS[key](size)
    turns = (rounds + 1) * len(experiment.variants) * len(implementations)
    with _progress(f"{key} {size}", turns) as advance:
        return [
            cost.measure(
                experiment,
                rounds=rounds,
                implementation=implementation,
                on_run=lambda label: advance(),
            )
            for implementation in implementations
        ]


def _show(results: list[cost.GuidelineResult]) -> None:
    experiment = results[0].experiment
    gpu, arm = experiments.paper_relative(experiment)
    first = results[0]
    relative = [result.relative() for result in results]
    names = [result.implementation for result in results]
    with_bound = experiment.key in ("G1", "G2")
    rows = []
    for number, variant in enumerate(experiment.variants):
        label = variant.label
        cells = [label, f"{first.multiply_adds[label] / 1e6:.1f} M"]
        cells += [f"{first.memory_access[label] / 1e6:.2f} M"]
        cells += [f"{first.bound[label] / 1e6:.2f} M"] if with_bound else []
        cells += [f"{1e3 * np.median(result.seconds[label]):.2f}" for result in results]
        cells += [f"{column[label]:.2f}" for column in relative]
        rows.append([*cells, f"{gpu[number]:.2f}", f"{arm[number]:.2f}"])
    header = ["", "multiply-adds", "MAC", *(["its bound"] if with_bound else [])]
    header += [f"{name}, ms" for name in names]
    show_table(
        f"{experiment.key} ({experiment.size}), {experiment.title}: speed per multiply-add",
        [*header, *names, "paper, GPU", "paper, ARM"],
        rows,
    )
    if experiment.note:
        print(f"  {experiment.note}")
    for result in results:
        print(f"  {result.implementation}: time per multiply-add, each row over the one before")
        for step in result.steps:
            told = {True: "as claimed", False: "the other way", None: "no difference to tell"}
            print(f"    {step.label} / {step.before}: {step.ratio}  {told[step.as_claimed]}")
        print(f"    {experiment.claim}: {result.verdict}")
    print()


def _draw(results: list[cost.GuidelineResult], out: Path) -> None:
    from numpy_shufflenet import plots

    experiment = results[0].experiment
    labels = [variant.label for variant in experiment.variants]
    gpu, arm = experiments.paper_relative(experiment)
    columns: dict[str, list[float]] = {}
    intervals = {}
    for result in results:
        found = {step.label: step.ratio for step in result.whole}
        columns[result.implementation] = [
            1 / found[label].median if label in found else 1.0 for label in labels
        ]
        intervals[result.implementation] = [
            (1 / found[label].high, 1 / found[label].low) if label in found else (1.0, 1.0)
            for label in labels
        ]
    columns |= {"paper, GPU": gpu, "paper, ARM": arm}
    figure = plots.guideline(
        labels, columns, f"{experiment.key} ({experiment.size}): {experiment.title}", intervals
    )
    plots.save(figure, out / f"{experiment.key}_{experiment.size}.png")


def _shares(out: Path, *, rounds: int) -> dict[str, Any]:
    from numpy_shufflenet import plots

    networks = (models.shufflenet_v1(), models.shufflenet_v2(), models.mobilenet_v1())
    x = np.random.default_rng(0).normal(size=(1, 3, PICTURE_SIZE, PICTURE_SIZE))
    x = x.astype(np.float32)
    with _progress("shares of run time", rounds * len(networks)) as advance:
        shares = {
            model.config["name"]: cost.shares_by_kind(model, x, rounds=rounds, on_run=advance)
            for model in networks
        }
    kinds = list(dict.fromkeys(kind for row in shares.values() for kind in row))
    show_table(
        "G4: share of run time of a forward, one 224 x 224 image",
        ["", *shares],
        [
            *([kind, *(f"{row.get(kind, 0):.1%}" for row in shares.values())] for kind in kinds),
            [
                f"element-wise ({', '.join(ELEMENT_WISE)})",
                *(f"{sum(row.get(k, 0) for k in ELEMENT_WISE):.1%}" for row in shares.values()),
            ],
        ],
    )
    figure = plots.cost_by_kind(shares, "Share of run time, measured on this machine")
    plots.save(figure, out / "shares.png")
    return shares


def _ablation_settings(arguments: argparse.Namespace) -> dict[str, int]:
    return {"seeds": arguments.seeds, "images": arguments.images, "epochs": arguments.epochs}


def _ablation(settings: dict[str, int], groups: int) -> dict[str, Any]:
    with _progress("ablation", ablations.total_steps(**_training(settings))) as advance:
        found = cost.shuffle_ablation(groups=groups, **settings, on_step=advance)
    paper = ablations.PAPER.get(groups)
    rows = []
    for name, errors, printed in (
        ("no shuffle", found.without_shuffle, paper and paper[0]),
        ("shuffle", found.with_shuffle, paper and paper[1]),
    ):
        rows.append(
            [
                name,
                "  ".join(f"{error:.1%}" for error in errors),
                f"{np.mean(errors):.1%} +- {np.std(errors, ddof=1):.1%}",
                f"{printed} %" if printed else "",
            ]
        )
    show_table(
        f"V1 0.25x, g={groups}: test error after {found.epochs} epochs of {found.images:,} images",
        ["", "each seed", "mean +- standard deviation", "paper, ImageNet"],
        rows,
    )
    mean, low, high = found.gain
    print(f"  the shuffle takes away {mean:.1%} [{low:.1%}, {high:.1%}]: {found.verdict}\n")
    return found.to_dict()


def _training(settings: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in settings.items() if key != "test_images"}


def _implementations() -> list[str]:
    from importlib.util import find_spec

    return ["ours", *(["PyTorch"] if find_spec("torch") else [])]


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while something is measured, in a terminal."""
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)
