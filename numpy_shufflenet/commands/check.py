"""Check gradients: of an operation, a unit, a whole network, or of everything.

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
from numpy_shufflenet._typing import Array
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    positive_int,
    show_table,
)
from numpy_shufflenet.operations import IMPLEMENTATIONS, OPERATIONS

# Channels of x, and the unit; widths where no shuffle is its own inverse: 1 < g < c, c / g != g.
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
SETTLED = 30  # training forwards that running statistics need to fit the images
# Small networks, whole, for --all.
NETWORKS = {"shufflenet_v1": {"scale": 0.25, "groups": 3}, "shufflenet_v2": {"scale": 0.5}}
SMALL = {"stem": "small"}
SMALL_SIZE, SMALL_BATCH = 16, 2


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
    parser.add_argument(
        "--implementation",
        choices=IMPLEMENTATIONS,
        default=IMPLEMENTATIONS[0],
        help="of an operation",
    )
    parser.add_argument(
        "--mode", choices=MODES, default=MODES[0], help="in which a unit or network is checked"
    )
    parser.add_argument(
        "--per-entry", action="store_true", help="compare every entry of an operation's arrays"
    )
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
    model = build_model(name, arguments, num_classes=CLASSES)
    x, labels = _images(model, seed, arguments.batch, arguments.size)
    if not training:
        _settle(model, x)
    return gradcheck.check_model(
        model, x, labels, training=training, entries=arguments.entries, seed=seed
    )


def _unit(name: str, seed: int, batch: int) -> tuple[nn.Layer, Array]:
    channels, make = UNITS[name]
    unit, rng = make(), np.random.default_rng(seed)
    nn.initialise(unit, rng)
    x = rng.normal(size=(batch, channels, 6, 5))
    _settle(unit, x)
    return unit, x


def _images(model: models.ImageClassifier, seed: int, batch: int, size: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, model.in_channels, size, size))
    return x, rng.integers(0, CLASSES, batch)


def _settle(layer: nn.Layer, x: Array) -> None:
    """Let running statistics fit the images, as after a training: else little is left to see."""
    x = x.astype(np.float32)
    for _ in range(SETTLED):
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
        f"{len(rows)} checks, {failed or 'none'} not passed, {time.perf_counter() - start:.0f} s; "
        "units and networks run on the implementations that backend picks"
    )
    return int(failed > 0)


def _verdicts(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, Any]]:
    for name, operation in OPERATIONS.items():
        for implementation in operation.implementations:
            yield name, implementation, "", _check_one(name, arguments, implementation, "")
    for name in UNITS:
        for mode in MODES:
            yield name, "backend", mode, _check_one(name, arguments, "", mode)
    small = argparse.Namespace(
        **{**vars(arguments), **SMALL, "size": SMALL_SIZE, "batch": SMALL_BATCH}
    )
    for name, settings in NETWORKS.items():
        named = argparse.Namespace(**{**vars(small), **settings})
        title = f"{name} {settings['scale']}x"
        for mode in MODES:
            yield title, "backend", mode, _check_one(name, named, "", mode)
        model = build_model(name, named, num_classes=CLASSES)
        x, labels = _images(model, named.seed, named.batch, named.size)
        found = gradcheck.check_model_hessian(model, x, labels, seed=named.seed)
        yield title, "backend", "second order", found
