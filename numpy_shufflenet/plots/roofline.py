"""The roofline model: how the bytes that an operation reads and writes limit its speed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numpy_shufflenet.plots.costs import colours_of_kinds
from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, Figure, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
STYLES = tuple(
    zip((BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", GREY, "#56B4E9"), "oxs^Dv*", strict=True)
)


class Work(NamedTuple):
    """A timed operation: one point in the picture."""

    label: str  #: text beside the point; may be ""
    flops: float
    moved: float  #: bytes that the operation must at least read and write
    seconds: float

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.moved

    @property
    def gflops(self) -> float:
        """Speed in GFLOP/s."""
        return self.flops / self.seconds / 1e9


def roofline(
    series: Mapping[str, Sequence[Work]], *, gflops: float, gbytes: float, title: str = ""
) -> Figure:
    """Draw the speed of operations below the limits set by a machine's memory and arithmetic.

    Parameters
    ----------
    series : mapping of str to sequence of Work
        The points of each entry in the legend, with flops above 0. If an entry is a kind of
        operation, it has the same colour as in other pictures.
    gflops : float
        Highest speed of the machine in GFLOP/s: the horizontal part of the roof.
    gbytes : float
        Memory bandwidth of the machine in GB/s: the sloped part of the roof.

    Source: Williams, Waterman, Patterson, Roofline, 2009.
    """
    figure = new_figure(8.4, 4.8)
    axes = figure.subplots()
    points = [work for works in series.values() for work in works]
    ends = [work.intensity for work in points] or [1.0]
    intensity = np.geomspace(min(0.1, min(ends) / 2), max(256.0, 4 * max(ends)), 200)
    roof = np.minimum(gflops, gbytes * intensity)
    axes.loglog(intensity, roof, color="black", label="limit of this machine")
    axes.axvline(gflops / gbytes, color=GREY, linewidth=0.8, linestyle=":")
    of_kinds = colours_of_kinds()
    for number, (name, works) in enumerate(series.items()):
        colour, marker = STYLES[number % len(STYLES)]
        colour = of_kinds.get(name, colour)
        x, y = [work.intensity for work in works], [work.gflops for work in works]
        axes.plot(x, y, marker, color=colour, label=name, markersize=6, alpha=0.8)
    axes.set(xlabel="FLOP per byte moved", ylabel="GFLOP/s", title=title)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3, which="both")
    _write_labels(axes, [work for work in points if work.label])
    return figure


def _write_labels(axes: "Axes", works: Sequence[Work]) -> None:
    """Write each label beside its point, or lower if the label would overlap another label."""
    from matplotlib.text import Text

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # sets the scales
    taken: list[Any] = []
    for work in sorted(works, key=lambda work: -work.gflops):
        for lines in range(len(works)):
            text = axes.annotate(
                work.label,
                (work.intensity, work.gflops),
                xytext=(5 + 3 * lines, -2 - 8 * lines),
                textcoords="offset points",
                fontsize=7,
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkB": 3},
            )
            text.get_window_extent()  # updates the text's position
            place = Text.get_window_extent(text)  # the text alone, without the line to its point
            if lines == len(works) - 1 or not any(place.overlaps(other) for other in taken):
                break
            text.remove()
        taken.append(place)
