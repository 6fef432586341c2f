"""The roofline: how fast an operation can be, by the bytes that it must move."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numpy_shufflenet.plots.costs import _colours
from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, _figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = tuple(
    zip((BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", GREY, "#56B4E9"), "oxs^Dv*", strict=True)
)


class Work(NamedTuple):
    """Something that was timed: a point below the roof.

    Attributes
    ----------
    label : str
        Written beside the point; "" for none.
    flops, moved : float
        Arithmetic of one run, and the bytes that it must read and write at least.
    seconds : float
        That it took.
    """

    label: str
    flops: float
    moved: float
    seconds: float

    @property
    def intensity(self) -> float:
        """FLOP for each byte."""
        return self.flops / self.moved

    @property
    def gflops(self) -> float:
        """Billion FLOP a second."""
        return self.flops / self.seconds / 1e9


def roofline(
    series: Mapping[str, Sequence[Work]], *, gflops: float, gbytes: float, title: str = ""
) -> "Figure":
    """Draw the speed of operations below what memory and arithmetic of a machine allow.

    Parameters
    ----------
    series : mapping of str to sequence of Work
        Points by the name that the legend gives them; they must do some arithmetic. A kind of
        operation has the same colour as in other pictures.
    gflops : float
        Billion FLOP a second that the machine does at the best: the flat part.
    gbytes : float
        Billion bytes a second that it moves: the slope on the left.
    title : str

    Source: Williams, Waterman, Patterson, Roofline, 2009.
    """
    figure = _figure(8.4, 4.8)
    axes = figure.subplots()
    points = [work for works in series.values() for work in works]
    ends = [work.intensity for work in points] or [1.0]
    intensity = np.geomspace(min(0.1, min(ends) / 2), max(256.0, 4 * max(ends)), 200)
    roof = np.minimum(gflops, gbytes * intensity)
    axes.loglog(intensity, roof, color="black", label="what this machine allows")
    axes.axvline(gflops / gbytes, color=GREY, linewidth=0.8, linestyle=":")
    of_kinds = _colours([])
    for number, (name, works) in enumerate(series.items()):
        colour, marker = STYLES[number % len(STYLES)]
        colour = of_kinds.get(name, colour)
        x, y = [work.intensity for work in works], [work.gflops for work in works]
        axes.plot(x, y, marker, color=colour, label=name, markersize=6, alpha=0.8)
    axes.set(xlabel="FLOP for each byte that must be moved", ylabel="GFLOP/s", title=title)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3, which="both")
    _write_labels(axes, [work for work in points if work.label])
    return figure


def _write_labels(axes: "Axes", works: Sequence[Work]) -> None:
    """Write each label beside its point, or so far below that it covers no other."""
    from matplotlib.text import Text

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # now places are known
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
            text.get_window_extent()  # finds its place
            place = Text.get_window_extent(text)  # without the line to its point
            if lines == len(works) - 1 or not any(place.overlaps(other) for other in taken):
                break
            text.remove()
        taken.append(place)
