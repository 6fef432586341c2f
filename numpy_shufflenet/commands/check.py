"""Check gradients of an operation, a unit, a whole network, or everything.

examples:
  numpy-shufflenet check conv2d
  numpy-shufflenet check channel_shuffle --seed 3
  numpy-shufflenet check unit-v2
  numpy-shufflenet check shufflenet_v1 --groups 3 --scale 0.25 --stem small --size 28
  numpy-shufflenet check shufflenet_v2 --mode evaluation
  numpy-shufflenet check --all

exit status: 0 if all gradients are right, 1 if one is wrong
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck, models, nn
from numpy_shufflenet._room import check_room
from numpy_shufflenet._typing import Array
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    add_name,
    build_model,
    check_memory,
    positive_int,
    show_table,
)
from numpy_shufflenet.operations import IMPLEMENTATIONS, OPERATIONS

# Each unit with its input channels. If g groups divide c channels with 1 < g < c and c / g != g,
# the shuffle is not its own inverse, so the check notices a backward that shuffles the wrong way.
UNITS: dict[str, tuple[int, Callable[[], nn.Layer]]] = {
    "unit-v1": (24, lambda: nn.ShuffleNetV1Unit(24, 24, groups=3, stride=1)),
    "unit-v1-stride2": (12, lambda: nn.ShuffleNetV1Unit(12, 24, groups=3, stride=2)),
    "unit-v2": (12, lambda: nn.ShuffleNetV2Unit(12, 12, stride=1)),
    "unit-v2-stride2": (
        12,
        lambda: nn.ShuffleNetV2Unit(12, 24, stride=2, branch1_channels=12),
    ),
    "unit-v2-residual": (
        12,
        lambda: nn.ShuffleNetV2Unit(12, 12, stride=1, se=True, residual=True),
    ),
}
CLASSES = 10
MODES = ("training", "evaluation")
WARM_UP = 30  # training forwards after which the running statistics fit the images
# The networks that --all checks; they are small enough for a check of every tensor.
NETWORKS = {"shufflenet_v1": {"scale": 0.25, "groups": 3}, "shufflenet_v2": {"scale": 0.5}}
SMALL = {"stem": "small", "size": 16, "batch": 2}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_name(parser, "NAME", [*OPERATIONS, *UNITS, *models.MODELS])
    first = IMPLEMENTATIONS[0]
    add = parser.add_argument
    add("--all", action="store_true", help="check every operation, unit and small network")
    add("--seed", type=int, default=0, help="seed of all random numbers")
    implementation = "which implementation of an operation to check"
    add("--implementation", choices=IMPLEMENTATIONS, default=first, help=implementation)
    add("--mode", choices=MODES, default=MODES[0], help="mode of a unit or network")
    add("--per-entry", action="store_true", help="compare every entry of an operation's arrays")
    add("--entries", type=positive_int, default=3, help="entries to compare in each tensor")
    add("--size", type=positive_int, default=32, help="height and width of a network's images")
    add("--batch", type=positive_int, default=4, help="number of images for a network")
    add_model_arguments(parser, classes=None)


def run(arguments: argparse.Namespace) -> int:
    """Check, print the verdict, and return 0 or 1."""
    if arguments.all == (arguments.name is not None):
        raise ValueError("give either a NAME to check, or --all")
    if arguments.all:
        return _check_all(arguments)
    verdict = _check_one(arguments.name, arguments, arguments.implementation, arguments.mode)
    print(verdict)
    if verdict.status == "fail" and isinstance(verdict, gradcheck.Verdict):
        print(f"likely cause: {verdict.explain()}")
    return 0 if verdict.status == "pass" else 1


def _check_one(name: str, arguments: argparse.Namespace, implementation: str, mode: str) -> Any:
    """Return the verdict on one operation, unit or network."""
    training = mode == "training"
    seed = arguments.seed
    if name in OPERATIONS:
        return gradcheck.check_operation(
            name,
            implementation=implementation,
            example=seed,
            seed=seed,
            per_entry=arguments.per_entry,
        )
    if name in UNITS:
        unit, x = _unit(name, seed, arguments.batch)
        return gradcheck.check_layer(unit, x, training=training, seed=seed)
    model, x, labels = _network(name, arguments)
    if not training:
        _warm_up(model, x)
    return gradcheck.check_model(
        model, x, labels, training=training, entries=arguments.entries, seed=seed
    )


def _unit(name: str, seed: int, batch: int) -> tuple[nn.Layer, Array]:
    channels, make = UNITS[name]
    unit, rng = make(), np.random.default_rng(seed)
    nn.initialise(unit, rng)
    check_room(8 * batch * channels * 6 * 5, f"a batch of {batch:,} images")
    x = rng.normal(size=(batch, channels, 6, 5))
    _warm_up(unit, x)
    return unit, x


def _network(
    name: str, arguments: argparse.Namespace
) -> tuple[models.ImageClassifier, Array, Array]:
    """Return a network with random images and labels."""
    model = build_model(name, arguments, num_classes=CLASSES)
    rng, batch, size = np.random.default_rng(arguments.seed), arguments.batch, arguments.size
    check_memory(model, size, batch, training=True)
    x = rng.normal(size=(batch, model.in_channels, size, size))
    return model, x, rng.integers(0, CLASSES, batch)


def _warm_up(layer: nn.Layer, x: Array) -> None:
    """Run training forwards until the running statistics fit the images.

    With a new layer's running statistics, activations become too small to show an error.
    """
    x = x.astype(np.float32)
    for _ in range(WARM_UP):
        layer.forward(x, training=True)
        layer.release()


def _check_all(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    rows, failed = [], 0
    for name, implementation, mode, verdict in _verdicts(arguments):
        failed += verdict.status != "pass"
        rows.append([name, implementation, mode, f"{verdict.difference:.1e}", verdict.status])
    header = ["operation", "implementation", "mode", "worst relative error", "verdict"]
    show_table("Gradient checks", header, rows, left=3)
    print(
        f"{len(rows) - failed} of {len(rows)} checks passed, {time.perf_counter() - start:.0f} s; "
        "units and networks run on the implementations that `backend` chooses"
    )
    return int(failed > 0)


def _verdicts(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, Any]]:
    """Yield name, implementation, mode and verdict of every check of --all."""
    for name, operation in OPERATIONS.items():
        for implementation in operation.implementations:
            yield name, implementation, "", _check_one(name, arguments, implementation, "")
    for name in UNITS:
        for mode in MODES:
            yield name, "backend", mode, _check_one(name, arguments, "", mode)
    for name, settings in NETWORKS.items():
        small = argparse.Namespace(**{**vars(arguments), **SMALL, **settings})
        title = f"{name} {settings['scale']}x"
        for mode in MODES:
            yield title, "backend", mode, _check_one(name, small, "", mode)
        found = gradcheck.check_model_hessian(*_network(name, small), seed=small.seed)
        yield title, "backend", "second order", found
