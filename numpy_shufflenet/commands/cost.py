"""Count what networks and operations cost, beside the figures that the papers print.

examples:
  numpy-shufflenet cost
  numpy-shufflenet cost shufflenet_v2 --scale 0.5
  numpy-shufflenet cost shufflenet_v1 --groups 8 --training --batch 8 --time --out runs/cost
  numpy-shufflenet cost depthwise_conv2d

without a NAME: all figures of the papers beside ours. With a network: what "FLOPs" means under each
convention, and costs by kind of operation; --time measures the share of run time beside them. With
an operation: its formulas, computed and counted on a small example
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import cost, models
from numpy_shufflenet._files import expanded
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    make_folder,
    positive_int,
    show_table,
)
from numpy_shufflenet.operations import OPERATIONS

UNIT = (28, 28, 240, 60)  # h, w, c, m of the units that are compared
UNIT_GROUPS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    names = [*models.MODELS, *OPERATIONS]
    parser.add_argument(
        "name", nargs="?", metavar="NAME", choices=[*names, None], help=f"one of {', '.join(names)}"
    )
    parser.add_argument("--out", type=expanded, help="folder for pictures")
    parser.add_argument("--layers", action="store_true", help="show each layer of a network")
    parser.add_argument("--size", type=positive_int, help="height and width of images in pixels")
    parser.add_argument("--batch", type=positive_int, default=1, help="images")
    parser.add_argument("--training", action="store_true", help="BN with statistics of the batch")
    parser.add_argument("--time", action="store_true", help="measure shares of run time")
    parser.add_argument("--rounds", type=positive_int, default=10, help="of measuring")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print tables, and draw pictures if asked to."""
    if arguments.out:
        need("matplotlib", "drawing")
        make_folder(arguments.out)
    if arguments.name is None:
        _papers(arguments)
    elif arguments.name in OPERATIONS:
        _operation(arguments.name)
    else:
        _network(arguments)
    return 0


def _papers(arguments: argparse.Namespace) -> None:
    figures = list(cost.compare_figures())
    rows = [
        [
            figure.source,
            figure.network,
            figure.quantity,
            figure.note or ("fits" if figure.fits else "does not fit"),
            figure.printed if figure.printed[-1] in "MG" else f"{int(figure.printed):,}",
            figure.ours,
            f"{figure.difference:+.3f}"
            if figure.printed[-1] in "MG"
            else f"{figure.difference:+g}",
        ]
        for figure in figures
    ]
    show_table(
        "Printed and counted; a multiply-add is one FLOP",
        ["source", "network", "what", "verdict", "printed", "ours", "difference"],
        rows,
        left=4,
    )
    fitting = sum(figure.fits for figure in figures)
    print(f"{fitting} of {len(figures)} fit; all others are known misfits\n")

    h, w, c, m = UNIT
    closed = cost.closed_forms
    show_table(
        f"Multiply-adds of a unit with {c} channels, bottleneck {m}, g={UNIT_GROUPS}, {h} x {w}",
        ["unit", "formula", "multiply-adds"],
        [
            ["ResNet", "h w (2 c m + 9 m^2)", f"{closed.resnet_unit(h, w, c, m):,}"],
            [
                "ResNeXt",
                "h w (2 c m + 9 m^2 / g)",
                f"{closed.resnext_unit(h, w, c, m, UNIT_GROUPS):,}",
            ],
            [
                "ShuffleNet",
                "h w (2 c m / g + 9 m)",
                f"{closed.shufflenet_unit(h, w, c, m, UNIT_GROUPS):,}",
            ],
        ],
        left=2,
    )
    ratio = closed.separable_ratio(c, 3)
    print(
        f"a depthwise separable 3x3 to {c} channels costs 1/N + 1/D_K^2 = {ratio:.4f} of a full\n"
    )
    rows = [
        [str(network), *(f"{value / 1e6:,.2f} M" for value in counted.conventions().values())]
        for network, counted in _networks_by_name().items()
    ]
    show_table(
        "FLOPs of one 224 x 224 image under four conventions", ["network", *CONVENTIONS], rows
    )
    for name, meaning in cost.CONVENTIONS.items():
        print(f"  {name}: {meaning}")
    if arguments.out:
        from numpy_shufflenet import plots

        budgets = np.geomspace(2e6, 1e8, 12)
        found = [closed.channels_at_budget(budget) for budget in budgets]
        widths = {name: [row[name] for row in found] for name in found[0]}
        picture = plots.channels_at_budget(list(budgets), widths)
        plots.save(picture, arguments.out / "channels_at_budget.png")
        kinds = {
            name: {kind: counts.multiply_adds for kind, counts in counted.by_kind().items()}
            for name, counted in _networks_by_name().items()
        }
        plots.save(
            plots.cost_by_kind(kinds, "Multiply-adds by kind of operation"),
            arguments.out / "multiply_adds_by_kind.png",
        )
        print(f"\npictures in {arguments.out}")


CONVENTIONS = list(cost.CONVENTIONS)


def _networks_by_name() -> dict[str, cost.NetworkCost]:
    networks = (
        models.shufflenet_v1(),
        models.shufflenet_v2(),
        models.mobilenet_v1(),
        models.resnet_50(),
    )
    return {model.config["name"]: cost.count(model, (3, 224, 224)) for model in networks}


def _operation(name: str) -> None:
    operation = OPERATIONS[name]
    example = operation.example()
    print(f"{name}; letters as in numpy_shufflenet.registry.formula\n")
    print(operation.formula, "\n")
    arrays = operation.named(example.arrays)
    shapes = {key: array.shape for key, array in arrays.items() if array is not None}
    computed = operation.cost(shapes, example.hyperparameters)
    counted = cost.counting.count_operation(name, *example.arrays, **example.hyperparameters)
    rows = [
        [field.replace("_", "-"), *(f"{getattr(counts, field):,}" for counts in columns)]
        for field in vars(computed.forward)
        for columns in [(computed.forward, counted[0], computed.backward, counted[1])]
    ]
    settings = ", ".join(f"{k}={v}" for k, v in example.hyperparameters.items() if k != "rng")
    show_table(
        f"Computed by formula and counted step by step: {shapes} {settings}",
        ["", "forward", "counted", "backward", "counted"],
        rows,
    )


def _network(arguments: argparse.Namespace) -> None:
    model = build_model(arguments.name, arguments, seed=0)
    size = arguments.size or model.default_size
    image = (model.in_channels, size, size)
    counted = cost.count(model, image, batch=arguments.batch, training=arguments.training)
    mode = "training" if arguments.training else "inference"
    print(f"{counted.title}\n{arguments.batch} x {' x '.join(map(str, image))}, {mode}\n")
    flops = counted.conventions()
    show_table(
        "FLOPs of a forward",
        ["convention", "meaning", "FLOPs"],
        [[name, cost.CONVENTIONS[name], f"{value:,}"] for name, value in flops.items()],
        left=2,
    )
    shares = None
    if arguments.time:
        shares = _shares(model, image, arguments)
    by_kind = counted.by_kind()
    header = ["kind", "multiply-adds", "arithmetic", "read", "written"]
    rows = [
        [
            kind,
            f"{counts.multiply_adds:,}",
            f"{counts.arithmetic:,}",
            f"{counts.read:,}",
            f"{counts.written:,}",
            *([f"{shares.get(kind, 0):.1%}"] if shares else []),
        ]
        for kind, counts in by_kind.items()
        if counts.memory_access
    ]
    total = counted.forward
    rows.append(
        [
            "total",
            f"{total.multiply_adds:,}",
            f"{total.arithmetic:,}",
            f"{total.read:,}",
            f"{total.written:,}",
            *([f"{sum(shares.get(kind, 0) for kind in by_kind):.1%}"] if shares else []),
        ]
    )
    show_table(
        "Forward by kind of operation; read and written are distinct elements",
        [*header, *(["run time"] if shares else [])],
        rows,
    )
    back = counted.backward
    print(
        f"backward: {back.multiply_adds:,} multiply-adds, {back.arithmetic:,} in all, "
        f"{back.memory_access:,} elements read and written\n"
        f"kept between forward and backward: {counted.kept_bytes / 1e6:,.1f} MB; "
        f"parameters: {counted.parameters:,}"
    )
    if arguments.layers:
        show_table(
            "Layers",
            ["layer", "what", "multiply-adds", "arithmetic", "memory access", "kept bytes"],
            [
                [
                    layer.name,
                    layer.text,
                    f"{layer.cost.forward.multiply_adds:,}",
                    f"{layer.cost.forward.arithmetic:,}",
                    f"{layer.cost.forward.memory_access:,}",
                    f"{layer.cost.kept_bytes:,}",
                ]
                for layer in counted.layers
                if layer.cost.forward.memory_access
            ],
            left=2,
        )
    if arguments.out:
        _draw(counted, shares, arguments.out)


def _shares(model: Any, image: tuple[int, int, int], arguments: argparse.Namespace) -> Any:
    x = np.random.default_rng(0).normal(size=(arguments.batch, *image)).astype(np.float32)
    return cost.shares_by_kind(model, x, training=arguments.training, rounds=arguments.rounds)


def _draw(counted: cost.NetworkCost, shares: Any, out: Path) -> None:
    from numpy_shufflenet import plots

    name = counted.title.partition("(")[0]
    plots.save(plots.cost_by_layer(counted.layers, name), out / "cost_by_layer.png")
    by_kind = counted.by_kind()
    rows: dict[str, dict[str, float]] = {
        "multiply-adds": {kind: counts.multiply_adds for kind, counts in by_kind.items()},
        "all arithmetic": {kind: counts.arithmetic for kind, counts in by_kind.items()},
        "memory access": {kind: counts.memory_access for kind, counts in by_kind.items()},
    }
    if shares:
        rows["run time, measured"] = shares
    plots.save(plots.cost_by_kind(rows, f"{name} by kind of operation"), out / "cost_by_kind.png")
    print(f"pictures in {out}")
