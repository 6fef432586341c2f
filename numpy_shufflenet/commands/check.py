"""Check gradients: of an operation, a unit, a whole network, or of everything.

examples:
  numpy-shufflenet check conv2d
  numpy-shufflenet check channel_shuffle --seed 3
  numpy-shufflenet check unit-v2
  numpy-shufflenet check shufflenet_v1 --groups 3 --scale 0.25 --stem small --size 28
  numpy-shufflenet check --all

exit status: 0 if all gradients are right, 1 if one is wrong
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck, models, nn
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    positive_int,
    show_table,
)
from numpy_shufflenet.operations import OPERATIONS

# Channels of x, and the unit; widths where no shuffle is its own inverse: 1 < g < c, c / g != g.
UNITS: dict[str, tuple[int, Callable[[], nn.Layer]]] = {
    "unit-v1": (24, lambda: nn.ShuffleNetV1Unit(24, 24, groups=3, stride=1)),
    "unit-v1-stride2": (12, lambda: nn.ShuffleNetV1Unit(12, 24, groups=3, stride=2)),
    "unit-v2": (12, lambda: nn.ShuffleNetV2Unit(12, 12, stride=1)),
    "unit-v2-stride2": (
        12,
        lambda: nn.ShuffleNetV2Unit(12, 24, stride=2, branch1_channels=12),
    ),
}
CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    names = [*OPERATIONS, *UNITS, *models.MODELS]
    parser.add_argument(
        "name", nargs="?", metavar="NAME", choices=[*names, None], help=f"one of {', '.join(names)}"
    )
    parser.add_argument(
        "--all", action="store_true", help="every operation, unit and small network"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the numbers drawn")
    parser.add_argument("--entries", type=positive_int, default=3, help="compared in each tensor")
    parser.add_argument("--size", type=positive_int, default=32, help="of a network's images")
    parser.add_argument("--batch", type=positive_int, default=4, help="of a network's images")
    add_model_arguments(parser, classes=None)


def run(arguments: argparse.Namespace) -> int:
    """Check, print what was found, and return 0 or 1."""
    if arguments.all == (arguments.name is not None):
        raise ValueError("give either a NAME to check, or --all")
    if arguments.all:
        return _check_all(arguments)
    verdict = _check_one(arguments.name, arguments)
    print(verdict)
    return 0 if verdict.status == "pass" else 1


def _check_one(name: str, arguments: argparse.Namespace, **settings: Any) -> Any:
    """Return the verdict on one operation, unit or network."""
    if name in OPERATIONS:
        operation = OPERATIONS[name]
        example = operation.example(arguments.seed)
        return gradcheck.check_pair(
            operation.forward(), operation.backward(), *example.arrays, **example.hyperparameters
        )
    rng = np.random.default_rng(arguments.seed)
    if name in UNITS:
        channels, make = UNITS[name]
        unit = make()
        nn.initialise(unit, rng)
        x = rng.normal(size=(arguments.batch, channels, 6, 5))
        return gradcheck.check_layer(unit, x, training=True, seed=arguments.seed)
    model = build_model(name, arguments, num_classes=CLASSES, **settings)
    x = rng.normal(size=(arguments.batch, model.in_channels, arguments.size, arguments.size))
    labels = rng.integers(0, CLASSES, arguments.batch)
    return gradcheck.check_model(model, x, labels, entries=arguments.entries, seed=arguments.seed)


def _check_all(arguments: argparse.Namespace) -> int:
    rows, failed = [], False
    for name, verdict in _verdicts(arguments):
        failed |= verdict.status != "pass"
        rows.append([name, str(verdict.evaluations), f"{verdict.seconds:.2f}", verdict.status])
    show_table("Gradient checks", ["what", "evaluations", "seconds", "verdict"], rows)
    return int(failed)


def _verdicts(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    for name in [*OPERATIONS, *UNITS]:
        yield name, _check_one(name, arguments)
    for name, scale in (("shufflenet_v1", 0.25), ("shufflenet_v2", 0.5)):
        yield f"{name} {scale}x", _check_one(name, arguments, scale=scale, stem="small")
