"""Figures of the cost of networks, from plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, Figure, hide_frame, new_figure

# One colour for each kind of operation; the colours of Okabe and Ito come first.
KIND_COLOURS = (
    *("#0072B2", "#56B4E9", "#009E73", "#8A6FDF", "#D55E00", "#E69F00"),
    *("#CC79A7", "#F0E442", "#767676", "#A05195", "#444444", "#999933", "#C0C0C0"),
)


def cost_by_layer(
    layers: Sequence[Any], title: str, seconds: Sequence[float] | None = None
) -> Figure:
    """Draw multiply-adds and memory access of each layer, in the colour of the layer's kind.

    Parameters
    ----------
    layers : sequence of cost.LayerCost
    seconds : sequence of float, optional
        The time of each layer, for a third panel.
    """
    rows = 2 if seconds is None else 3
    figure = new_figure(11, 2.6 * rows)
    above, below, *times = figure.subplots(rows, 1, sharex=True)
    colours = colours_of_kinds([layer.kind for layer in layers])
    present = {layer.kind for layer in layers if layer.cost.forward.memory_access}
    kinds = [kind for kind in colours if kind in present]
    for axes, count, label in (
        (above, "multiply_adds", "multiply-adds, M"),
        (below, "memory_access", "elements read and written, M"),
    ):
        for kind in kinds:
            chosen = [(i, layer) for i, layer in enumerate(layers) if layer.kind == kind]
            heights = [getattr(layer.cost.forward, count) / 1e6 for _, layer in chosen]
            axes.bar([i for i, _ in chosen], heights, 1.0, color=colours[kind], label=kind)
        axes.set_ylabel(label)
    for axes in times:
        shades = [colours[layer.kind] for layer in layers]
        axes.bar(range(len(layers)), 1e3 * np.asarray(seconds), 1.0, color=shades)
        axes.set_ylabel("time, ms")
    for axes in (above, below, *times):
        axes.grid(axis="y", alpha=0.3)
        hide_frame(axes)
    (times or [below])[-1].set_xlabel("layer, in the order of forward")
    above.set_title(title)
    above.legend(frameon=False, ncols=4, fontsize=8, loc="upper center")
    return figure


def cost_by_kind(rows: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Draw one bar for each row, split into the shares of the kinds of operation.

    Parameters
    ----------
    rows : mapping of str to (mapping of str to float)
        For each row, such as "multiply-adds" or "run time", the number of each kind. A number is
        drawn as a share of the sum of the row.
    """
    figure = new_figure(9.5, 1.6 + 0.55 * len(rows))
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    colours = colours_of_kinds(kinds)
    names = list(rows)
    left = np.zeros(len(rows))
    for kind in kinds:
        widths = np.array(
            [100 * row.get(kind, 0) / (sum(row.values()) or 1) for row in rows.values()]
        )
        if not widths.any():
            continue
        axes.barh(names, widths, left=left, color=colours[kind], label=kind, height=0.7)
        for y, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 4:
                axes.text(
                    start + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=8
                )
        left += widths
    axes.set(xlabel="% of the row", xlim=(0, 100), title=title)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, ncols=1, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def channels_at_budget(
    budgets: Sequence[float], widths: Mapping[str, Sequence[tuple[int, int]]]
) -> Figure:
    """Draw how wide a unit can be for a budget of multiply-adds, with one line for each network.

    Parameters
    ----------
    budgets : sequence of float
        Multiply-adds of one unit.
    widths : mapping of str to sequence of (channels, inner channels)
        For each budget, the channels of the unit's output and of its 3x3 convolution.
    """
    figure = new_figure(10.5, 4.4)
    row = figure.subplots(1, 2, sharey=True)
    titles = ("output channels of a unit", "channels of its 3x3 convolution")
    for part, (axes, title) in enumerate(zip(row, titles, strict=True)):
        for (name, values), colour, marker in zip(
            widths.items(), KIND_COLOURS, "osv^D*<>", strict=False
        ):
            heights = [value[part] for value in values]
            axes.plot(
                np.array(budgets) / 1e6, heights, f"{marker}-", color=colour, label=name, ms=4
            )
        axes.set(xscale="log", yscale="log", title=title)
        axes.set_xlabel("multiply-adds of one unit on 28 x 28 pixels, M")
        axes.grid(alpha=0.3, which="both")
        hide_frame(axes)
    row[0].set_ylabel("channels")
    row[0].legend(frameon=False, fontsize=9)
    return figure


def guideline(
    labels: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    title: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Figure:
    """Draw the table of a guideline: speed per multiply-add, relative to the first row.

    Parameters
    ----------
    labels : sequence of str
        The names of the table's rows.
    columns : mapping of str to sequence of float
        One number for each row; the columns have names such as "ours" or "paper, GPU".
    intervals : mapping of str to sequence of (low, high), optional
        Confidence intervals of the measured columns.
    """
    figure = new_figure(1.6 + 1.35 * len(labels), 3.9)
    axes = figure.subplots()
    width = 0.8 / len(columns)
    places = np.arange(len(labels))
    for number, ((name, values), colour) in enumerate(
        zip(columns.items(), (BLUE, GREEN, ORANGE, GREY), strict=False)
    ):
        where = places + (number - (len(columns) - 1) / 2) * width
        bounds = (intervals or {}).get(name)
        error = np.abs(np.transpose(bounds) - np.asarray(values)) if bounds else None
        axes.bar(where, values, width, color=colour, label=name, yerr=error, capsize=2)
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_xticks(places, labels)
    axes.set(ylabel="speed per multiply-add,\nfirst row = 1", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=2)
    axes.margins(y=0.22)
    hide_frame(axes)
    return figure


def reachability(
    matrices: Mapping[str, Array], *, unchanged: Mapping[str, Array] | None = None
) -> Figure:
    """Draw which input channels (columns) reach which output channels (rows).

    Connected pairs are blue, and channels that pass unchanged are orange.

    Parameters
    ----------
    matrices : mapping of str to bool array, shape (outputs, inputs)
    unchanged : mapping of str to bool array, optional
        Matrices with the same names and shapes.
    """
    figure = new_figure(0.6 + 3.4 * len(matrices), 3.9)
    from matplotlib.colors import to_rgb

    row = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (name, matrix) in zip(row, matrices.items(), strict=True):
        picture = np.ones((*matrix.shape, 3))
        picture[matrix] = to_rgb(BLUE)
        if unchanged is not None:
            picture[unchanged[name]] = to_rgb(ORANGE)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set(xlabel="input channel", ylabel="output channel")
        axes.set_title(f"{name}\n{matrix.mean():.0%} of pairs connected", fontsize=10)
    return figure


def colours_of_kinds(kinds: Sequence[str] = ()) -> dict[str, str]:
    """Return the colour of every kind of operation, and of further names in `kinds`."""
    from numpy_shufflenet.cost.kinds import ORDER

    every = [*ORDER, *(kind for kind in kinds if kind not in ORDER)]
    return {kind: KIND_COLOURS[i % len(KIND_COLOURS)] for i, kind in enumerate(every)}
