"""A picture of two networks, layer by layer: where the port of a network departs from it."""

from typing import TYPE_CHECKING

import numpy as np

from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, Figure, hide_frame, new_figure

if TYPE_CHECKING:
    from numpy_shufflenet.compare import NetworkComparison

SMALLEST = 1e-10  # where differences of 0 are drawn
SPACE = 3  # layers that a label on the axis takes


def layer_differences(comparison: "NetworkComparison") -> Figure:
    """Draw the difference of each layer, beside rounding and the distance between images.

    All numbers are relative to the layer's largest output.
    """
    layers, first = comparison.layers, comparison.first
    figure = new_figure(10, 4.6)
    axes = figure.subplots()
    x = np.arange(len(layers))

    def relative(name: str) -> list[float]:
        values = (getattr(layer, name) / (layer.scale or 1.0) for layer in layers)
        return [min(max(value, SMALLEST), 10.0) for value in values]

    axes.plot(x, relative("apart"), "-", color=GREEN, label="images from each other")
    axes.plot(x, relative("limit"), "--", color=GREY, label="what rounding explains")
    differences = np.array(relative("difference"))
    beyond = np.array([layer.beyond for layer in layers])
    axes.plot(x[~beyond], differences[~beyond], ".", color=BLUE, label="theirs from ours")
    if first:
        axes.plot(x[beyond], differences[beyond], "x", color=ORANGE, label="... beyond rounding")
        axes.axvline(layers.index(first), color=ORANGE, linewidth=0.8)
        axes.annotate(
            first.layer, (layers.index(first), 1.02), xycoords=("data", "axes fraction"), size=8
        )
    starts = [0]
    for number, layer in enumerate(layers):
        new = _part(layer.layer) != _part(layers[number - 1].layer)
        if new and number - starts[-1] >= SPACE:
            starts.append(number)
    axes.set_xticks(starts, [_part(layers[number].layer) for number in starts])
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor", size=8)
    axes.set(yscale="log", ylabel="difference relative to the layer's largest output")
    axes.set_title(f"{comparison.verdict.capitalize()}: {len(layers)} layers", pad=18)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    hide_frame(axes)
    figure.alt = f"Differences of {len(layers)} layers of two networks: {comparison.verdict}" + (
        f"; the first layer that differs is {first.layer}" if first else ""
    )
    return figure


def _part(layer: str) -> str:
    """Return the unit of a layer: "stage3.0"."""
    parts = layer.split(".")
    return ".".join(parts[:2]) if parts[0].startswith("stage") else parts[0]
