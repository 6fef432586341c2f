"""How training scales to many machines, by the model of `cost.communication`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, Figure, hide_frame, new_figure

if TYPE_CHECKING:
    from numpy_shufflenet.cost.communication import Link, TrainingStep

MACHINES = tuple(2**k for k in range(11))
DASHES = ("-", "--", ":", "-.")


def scaling_efficiency(
    steps: "Mapping[str, TrainingStep]",
    links: "Mapping[str, Link]",
    machines: Sequence[int] = MACHINES,
) -> Figure:
    """Draw the efficiency over the number of machines: a line for each network and link.

    Parameters
    ----------
    steps : mapping of str to cost.communication.TrainingStep
        At most four training steps, by name; each has its own dashes.
    links : mapping of str to cost.communication.Link
        At most four links, by name; each has its own colour.
    machines : sequence of int
        Numbers of machines, in increasing order; by default the powers of two up to 1,024.

    Raises
    ------
    ValueError
        If there are no steps or links, or more than four.
    """
    colours = (BLUE, ORANGE, GREEN, GREY)
    for name, given in (("steps", steps), ("links", links)):
        if not 1 <= len(given) <= 4:
            raise ValueError(f"{name} has {len(given)} entries; 1 to 4 are needed")
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for (link_name, link), colour in zip(links.items(), colours, strict=False):
        for (step_name, step), dashes in zip(steps.items(), DASHES, strict=False):
            values = [100 * step.efficiency(link, count) for count in machines]
            label = f"{step_name}, {link_name}"
            axes.plot(machines, values, dashes, color=colour, label=label, marker=".")
    axes.set_xscale("log", base=2)
    axes.set_xticks(machines, [f"{count:,}" for count in machines])
    axes.set_ylim(0, 105)
    axes.set_xlabel("machines, each with a batch of the same size")
    axes.set_ylabel("efficiency, %")
    axes.set_title("Images per second of each machine, relative to one machine alone")
    axes.legend(frameon=False, fontsize=8)
    hide_frame(axes)
    return figure
