"""Figures of what networks cost, from plain data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, then greys, one for each kind; always in the same order.
KIND_COLOURS = (
    *("#0072B2", "#56B4E9", "#009E73", "#8A6FDF", "#D55E00", "#E69F00"),
    *("#CC79A7", "#F0E442", "#767676", "#A05195", "#444444", "#999933", "#C0C0C0"),
)


def cost_by_layer(
    layers: Sequence[Any], title: str, seconds: Sequence[float] | None = None
) -> "Figure":
    """Draw multiply-adds and memory access of a network, layer by layer, in colours of kinds.

    Parameters
    ----------
    layers : sequence of cost.LayerCost
    title : str
    seconds : sequence of float, optional
        The time of each layer, drawn below.
    """
    rows = 2 if seconds is None else 3
    figure = _figure(11, 2.6 * rows)
    above, below, *times = figure.subplots(rows, 1, sharex=True)
    colours = _colours([layer.kind for layer in layers])
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
        _plain(axes)
    for axes in times:
        shades = [colours[layer.kind] for layer in layers]
        axes.bar(range(len(layers)), 1e3 * np.asarray(seconds), 1.0, color=shades)
        axes.set_ylabel("time, ms")
        _plain(axes)
    (times or [below])[-1].set_xlabel("layer, in the order of forward")
    above.set_title(title)
    above.legend(frameon=False, ncols=4, fontsize=8, loc="upper center")
    return figure


def cost_by_kind(rows: Mapping[str, Mapping[str, float]], title: str) -> "Figure":
    """Draw bars of shares, a bar a row, split into kinds of operation.

    Parameters
    ----------
    rows : mapping of str to (mapping of str to float)
        Such as "multiply-adds", "memory access", "run time": each kind's number; it is shown as a
        share of their sum.
    title : str
    """
    figure = _figure(9.5, 1.6 + 0.55 * len(rows))
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    colours = _colours(kinds)
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
) -> "Figure":
    """Draw how wide a unit can be for a budget of multiply-adds, a line a network.

    Parameters
    ----------
    budgets : sequence of float
        Multiply-adds of one unit.
    widths : mapping of str to sequence of (channels, inner channels)
        For each budget: what the unit gives, and what its 3x3 convolution works on.
    """
    figure = _figure(10.5, 4.4)
    row = figure.subplots(1, 2, sharey=True)
    titles = ("channels that a unit gives", "channels that its 3x3 convolution works on")
    for part, (axes, title) in enumerate(zip(row, titles, strict=True)):
        for (name, values), colour, marker in zip(
            widths.items(), KIND_COLOURS, "osv^D*<>", strict=False
        ):
            heights = [value[part] for value in values]
            axes.plot(
                np.array(budgets) / 1e6, heights, f"{marker}-", color=colour, label=name, ms=4
            )
        axes.set(xscale="log", yscale="log", title=title)
        axes.set_xlabel("multiply-adds of one unit at 28 x 28, M")
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel("channels")
    row[0].legend(frameon=False, fontsize=9)
    return figure


def guideline(
    labels: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    title: str,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> "Figure":
    """Draw one table: speed per multiply-add relative to the first row, a bar a column.

    Parameters
    ----------
    labels : sequence of str
        The rows.
    columns : mapping of str to sequence of float
        Such as "ours", "paper, GPU"; one number a row.
    title : str
    intervals : mapping of str to sequence of (low, high), optional
        Of measured columns.
    """
    figure = _figure(1.6 + 1.35 * len(labels), 3.9)
    axes = figure.subplots()
    width = 0.8 / len(columns)
    places = np.arange(len(labels))
    for number, ((name, values), colour) in enumerate(
        zip(columns.items(), (BLUE, GREEN, ORANGE, GREY), strict=False)
    ):
        where = places + (number - (len(columns) - 1) / 2) * width
        bounds = (intervals or {}).get(name)
        error = None
        if bounds:
            error = np.abs(np.transpose(bounds) - np.asarray(values))
        axes.bar(where, values, width, color=colour, label=name, yerr=error, capsize=2)
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_xticks(places, labels)
    axes.set(ylabel="speed per multiply-add,\nfirst row = 1", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=2)
    axes.margins(y=0.22)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def reachability(
    matrices: Mapping[str, Array], *, unchanged: Mapping[str, Array] | None = None
) -> "Figure":
    """Draw which inputs (across) reach which outputs (down); what passes unchanged in orange.

    Parameters
    ----------
    matrices : mapping of str to bool array, shape (outputs, inputs)
    unchanged : mapping of str to bool array, optional
        By the same names.
    """
    figure = _figure(0.6 + 3.4 * len(matrices), 3.9)
    row = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (name, matrix) in zip(row, matrices.items(), strict=True):
        picture = np.ones((*matrix.shape, 3))
        picture[matrix] = _rgb(BLUE)
        if unchanged is not None:
            picture[unchanged[name]] = _rgb(ORANGE)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set(xlabel="input channel", ylabel="output channel")
        axes.set_title(f"{name}\n{matrix.mean():.0%} of pairs connected", fontsize=10)
    return figure


def _colours(kinds: Sequence[str]) -> dict[str, str]:
    from numpy_shufflenet.cost.kinds import ORDER

    every = [*ORDER, *(kind for kind in kinds if kind not in ORDER)]
    return {kind: KIND_COLOURS[i % len(KIND_COLOURS)] for i, kind in enumerate(every)}


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _plain(axes: Any) -> None:
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
