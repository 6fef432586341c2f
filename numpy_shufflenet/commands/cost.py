"""Count the costs of networks and operations, and compare the costs with the papers.

examples:
  numpy-shufflenet cost
  numpy-shufflenet cost shufflenet_v2 --scale 0.5
  numpy-shufflenet cost shufflenet_v1 --groups 8 --training --batch 8 --time --out runs/cost
  numpy-shufflenet cost depthwise_conv2d

Without a NAME, the command prints every cost that the papers print, and our count. For a network,
it prints the FLOPs under each convention and the cost of each kind of operation; --time also
measures the share of each kind in the run time. For an operation, it prints the formulas, and
evaluates them for a small example next to a step-by-step count.
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
    add_name,
    build_model,
    check_memory,
    make_folder,
    networks_of_the_papers,
    positive_int,
    show_table,
    with_commas,
)
from numpy_shufflenet.operations import OPERATIONS

H, W, C, M, GROUPS = 28, 28, 240, 60, 3  # sizes of the units in the table of closed forms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_name(parser, "NAME", [*models.MODELS, *OPERATIONS])
    add = parser.add_argument
    add("--out", type=expanded, help="folder for pictures")
    add("--layers", action="store_true", help="show each layer of a network")
    add("--size", type=positive_int, help="height and width of the images in pixels")
    add("--batch", type=positive_int, default=1, help="number of images")
    add("--training", action="store_true", help="use batch statistics in batch normalisation")
    add("--time", action="store_true", help="measure each kind's share of the run time")
    add("--rounds", type=positive_int, default=10, help="number of measured forwards")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print tables, and draw pictures if --out is given."""
    if arguments.out:
        need("matplotlib", "drawing")
        make_folder(arguments.out)
    if arguments.name is None:
        _papers(arguments.out)
    elif arguments.name in OPERATIONS:
        _operation(arguments.name)
    else:
        _network(arguments)
    return 0


def _papers(out: Path | None) -> None:
    """Compare our counts with all numbers in the papers, and show closed forms and conventions."""
    figures = list(cost.compare_figures())
    show_table(
        "Printed in the papers and counted by us; a multiply-add is one FLOP",
        ["source", "network", "what", "verdict", "printed", "ours", "difference"],
        [_figure_row(figure) for figure in figures],
        left=4,
    )
    fitting = sum(figure.fits for figure in figures)
    print(f"{fitting} of {len(figures)} agree; the reasons for all others are known\n")

    closed = cost.closed_forms
    units = (
        ("ResNet", "h w (2 c m + 9 m^2)", closed.resnet_unit(H, W, C, M)),
        ("ResNeXt", "h w (2 c m + 9 m^2 / g)", closed.resnext_unit(H, W, C, M, GROUPS)),
        ("ShuffleNet", "h w (2 c m / g + 9 m)", closed.shufflenet_unit(H, W, C, M, GROUPS)),
    )
    show_table(
        f"Multiply-adds of a unit with {C} channels, bottleneck {M}, g={GROUPS}, {H} x {W} pixels",
        ["unit", "formula", "multiply-adds"],
        [[name, formula, f"{value:,}"] for name, formula, value in units],
        left=2,
    )
    print(
        f"a depthwise separable 3x3 convolution to {C} channels costs "
        f"1/N + 1/D_K^2 = {closed.separable_ratio(C, 3):.4f} of a full one\n"
    )
    counted = {
        name: cost.count(model, (3, 224, 224)) for name, model in networks_of_the_papers().items()
    }
    rows = [
        [name, *(f"{value / 1e6:,.2f} M" for value in network.conventions().values())]
        for name, network in counted.items()
    ]
    title = "FLOPs of one 224 x 224 image under four conventions"
    show_table(title, ["network", *cost.CONVENTIONS], rows)
    for name, meaning in cost.CONVENTIONS.items():
        print(f"  {name}: {meaning}")
    if out:
        _draw_papers(counted, out)


def _figure_row(figure: cost.Figure) -> list[str]:
    exact = figure.printed.isdecimal()
    return [
        *(figure.source, figure.network, figure.quantity),
        figure.note or ("agrees" if figure.fits else "differs"),
        f"{int(figure.printed):,}" if exact else figure.printed,
        figure.ours,
        f"{figure.difference:+g}" if exact else f"{figure.difference:+.3f}",
    ]


def _draw_papers(counted: dict[str, cost.NetworkCost], out: Path) -> None:
    from numpy_shufflenet import plots

    budgets = np.geomspace(2e6, 1e8, 12)
    found = [cost.closed_forms.channels_at_budget(budget) for budget in budgets]
    widths = {name: [row[name] for row in found] for name in found[0]}
    kinds = {name: _by_kind(network, "multiply_adds") for name, network in counted.items()}
    for name, picture in {
        "channels_at_budget": plots.channels_at_budget(list(budgets), widths),
        "multiply_adds_by_kind": plots.cost_by_kind(kinds, "Multiply-adds by kind of operation"),
    }.items():
        plots.save(picture, out / f"{name}.png")
    print(f"\npictures are in {out}")


def _by_kind(counted: cost.NetworkCost, field: str) -> dict[str, float]:
    return {kind: getattr(counts, field) for kind, counts in counted.by_kind().items()}


def _operation(name: str) -> None:
    operation = OPERATIONS[name]
    example = operation.example()
    print(f"{name}; the letters are explained in numpy_shufflenet.registry.formula\n")
    print(operation.formula, "\n")
    arrays = operation.named(example.arrays)
    shapes = {key: array.shape for key, array in arrays.items() if array is not None}
    computed = operation.cost(shapes, example.hyperparameters)
    counted = cost.counting.count_operation(name, *example.arrays, **example.hyperparameters)
    columns = (computed.forward, counted[0], computed.backward, counted[1])
    rows = [
        [field.replace("_", "-"), *with_commas(*(getattr(counts, field) for counts in columns))]
        for field in vars(computed.forward)
    ]
    settings = ", ".join(f"{k}={v}" for k, v in example.hyperparameters.items() if k != "rng")
    show_table(
        f"By formula, and counted step by step: {shapes} {settings}",
        ["", "forward", "counted", "backward", "counted"],
        rows,
    )


def _network(arguments: argparse.Namespace) -> None:
    model = build_model(arguments.name, arguments, seed=0)
    size = arguments.size or model.default_size
    image = (model.in_channels, size, size)
    check_memory(model, size, arguments.batch, training=arguments.training)
    counted = cost.count(model, image, batch=arguments.batch, training=arguments.training)
    mode = "training" if arguments.training else "inference"
    print(f"{counted.title}\n{arguments.batch} x {' x '.join(map(str, image))}, {mode}\n")
    show_table(
        "FLOPs of a forward",
        ["convention", "meaning", "FLOPs"],
        [[name, cost.CONVENTIONS[name], f"{n:,}"] for name, n in counted.conventions().items()],
        left=2,
    )
    shares = None
    if arguments.time:
        x = np.random.default_rng(0).normal(size=(arguments.batch, *image)).astype(np.float32)
        shares = cost.shares_by_kind(model, x, training=arguments.training, rounds=arguments.rounds)
    _show_kinds(counted, shares)
    back = counted.backward
    print(
        f"backward: {back.multiply_adds:,} multiply-adds, {back.arithmetic:,} operations in all, "
        f"{back.memory_access:,} elements read and written\n"
        f"kept between forward and backward: {counted.kept_bytes / 1e6:,.1f} MB; "
        f"parameters: {counted.parameters:,}"
    )
    if arguments.layers:
        _show_layers(counted)
    if arguments.out:
        _draw_network(counted, shares, arguments.out)


def _show_kinds(counted: cost.NetworkCost, shares: dict[str, float] | None) -> None:
    def row(kind: str, counts: cost.Counts, share: float) -> list[str]:
        cells = with_commas(counts.multiply_adds, counts.arithmetic, counts.read, counts.written)
        return [kind, *cells, *([f"{share:.1%}"] if shares else [])]

    found = {kind: (shares or {}).get(kind, 0.0) for kind in counted.by_kind()}
    rows = [
        row(kind, counts, found[kind])
        for kind, counts in counted.by_kind().items()
        if counts.memory_access
    ]
    rows.append(row("total", counted.forward, sum(found.values())))
    header = ["kind", "multiply-adds", "arithmetic", "read", "written"]
    show_table(
        "Forward by kind of operation; each element counts once as read or written",
        [*header, *(["run time"] if shares else [])],
        rows,
    )


def _show_layers(counted: cost.NetworkCost) -> None:
    rows = []
    for layer in counted.layers:
        forward = layer.cost.forward
        numbers = (forward.multiply_adds, forward.arithmetic, forward.memory_access)
        if forward.memory_access:
            rows.append([layer.name, layer.text, *with_commas(*numbers, layer.cost.kept_bytes)])
    header = ["layer", "what", "multiply-adds", "arithmetic", "memory access", "kept bytes"]
    show_table("Layers", header, rows, left=2)


def _draw_network(counted: cost.NetworkCost, shares: Any, out: Path) -> None:
    from numpy_shufflenet import plots

    name = counted.title.partition("(")[0]
    plots.save(plots.cost_by_layer(counted.layers, name), out / "cost_by_layer.png")
    rows = {
        "multiply-adds": _by_kind(counted, "multiply_adds"),
        "all arithmetic": _by_kind(counted, "arithmetic"),
        "memory access": _by_kind(counted, "memory_access"),
    }
    if shares:
        rows["run time, measured"] = shares
    plots.save(plots.cost_by_kind(rows, f"{name} by kind of operation"), out / "cost_by_kind.png")
    print(f"pictures are in {out}")
