"""The results of a bench run as Markdown, JSON and pictures."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet import __version__, backend, plots
from numpy_shufflenet.bench.operations import CASES
from numpy_shufflenet.bench.resources import Growth, Machine, Memory, Start
from numpy_shufflenet.bench.timing import TimedRow
from numpy_shufflenet.plots.figures import BLUE, GREEN, GREY, ORANGE, Figure, hide_frame, new_figure


@dataclass
class BenchReport:
    """The results of one run; parts that were not measured are empty."""

    rows: list[TimedRow] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    machine: Machine | None = None
    missing: list[str] = field(default_factory=list)  #: other packages that are not installed

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages, the processor, and the number of threads."""
        found = {
            "numpy_shufflenet": __version__,
            "Python": platform.python_version(),
            "processor": processor(),
            "threads": str(backend.num_threads()),
        }
        for module in ("numpy", "numba", "torch", "onnxruntime"):
            if module not in self.missing:
                found[module] = __import__(module).__version__
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, for JSON."""
        return {
            "versions": self.versions(),
            "machine": self.machine and self.machine._asdict(),
            "rows": [asdict(row) for row in self.rows],
            "memory": [{**m._asdict(), "ratio": m.ratio} for m in self.memory],
            "starts": [s._asdict() for s in self.starts],
            "growth": [{**g._asdict(), "worst": g.worst} for g in self.growth],
            "missing": self.missing,
        }

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return title, header and rows of each table that has rows."""
        times = ("ours, ms", "theirs, ms", "ratio", "quartiles")
        header = ["work", "batch", "against", *times, "goal"]
        titles = {"operation": "Operations (above 1: we are faster)"}
        titles |= {"inference": "Inference", "training": "Training steps"}
        tables = [
            (title, header, [_cells(row) for row in self.rows if row.group == group])
            for group, title in titles.items()
        ]
        memory = [
            [m.work, f"{m.ours / 1e6:,.0f}", f"{m.theirs / 1e6:,.0f}", f"{m.ratio:.2f}", "1.0"]
            for m in self.memory
        ]
        starts = [[s.what, f"{s.seconds:.2f}", f"{s.goal:g}"] for s in self.starts]
        growth = [
            [g.what, g.axis, f"{g.sizes[0]} to {g.sizes[-1]}", f"{g.worst:.2f}", "2.3"]
            for g in self.growth
        ]
        header = ["work", "ours, MB", "PyTorch, MB", "ratio", "goal"]
        tables.append(("Peak memory, without the imports", header, memory))
        tables.append(("Time to the first result", ["what", "seconds", "at most"], starts))
        header = ["what", "with", "sizes", "largest factor for twice the work", "at most"]
        tables.append(("Growth", header, growth))
        return [table for table in tables if table[2]]

    def markdown(self) -> str:
        """Return all tables, with the versions and the machine."""
        lines = [", ".join(f"{key} {value}" for key, value in self.versions().items()) + "."]
        if self.machine:
            lines.append(
                f"This machine multiplies matrices at {self.machine.gflops:.0f} GFLOP/s and copies "
                f"at {self.machine.gbytes:.0f} GB/s, with all threads together."
            )
        if self.missing:
            lines.append(f"Not compared, because not installed: {', '.join(self.missing)}.")
        for title, header, rows in self.tables():
            lines += ["", f"**{title}**", "", "| " + " | ".join(header) + " |"]
            lines.append("|" + "---|" * len(header))
            lines += ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join(lines) + "\n"

    def figures(self) -> dict[str, Figure]:
        """Return the pictures of the measured parts, by name."""
        figures = {}
        if any(row.group == "operation" for row in self.rows):
            figures["operations"] = bars(self.rows)
            if self.machine:
                figures["roofline"] = roofline_chart(self.rows, self.machine)
        if self.growth:
            figures["growth"] = growth_curves(self.growth)
        return figures


def _cells(row: TimedRow) -> list[str]:
    return [
        row.work,
        str(row.batch),
        row.peer,
        f"{row.ours * 1e3:.3g}",
        f"{row.theirs * 1e3:.3g}",
        f"{row.ratio:.2f}",
        f"{row.low:.2f} to {row.high:.2f}",
        "" if row.goal is None else f"{row.goal:.1f}",
    ]


def bars(rows: Sequence[TimedRow]) -> Figure:
    """Draw the ratio of each operation, with one bar for each batch."""
    rows = [row for row in rows if row.group == "operation"]
    works = list(dict.fromkeys(row.work for row in rows))
    batches = sorted({row.batch for row in rows})
    figure = new_figure(8, 0.34 * len(works) + 1.4)
    axes = figure.subplots()
    height = 0.8 / len(batches)
    for number, batch in enumerate(batches):
        mine = {row.work: row for row in rows if row.batch == batch}
        places = [i + number * height for i, work in enumerate(works) if work in mine]
        found = [mine[work] for work in works if work in mine]
        spread = np.array([[row.ratio - row.low, row.high - row.ratio] for row in found]).T
        axes.barh(
            places,
            [row.ratio - 1 for row in found],
            height,
            left=1,
            xerr=np.maximum(spread, 0),
            color=(BLUE, ORANGE, GREEN)[number % 3],
            error_kw={"ecolor": GREY, "elinewidth": 0.8},
            label=f"batch {batch}",
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(works))], works, fontsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4, 8])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("times as fast as PyTorch (log scale): median and quartiles")
    axes.legend(frameon=False)
    hide_frame(axes)
    return figure


def roofline_chart(rows: Sequence[TimedRow], machine: Machine) -> Figure:
    """Draw the speed of each convolution below the limits of memory and arithmetic."""
    cases = {f"{case.work}: forward": case for case in CASES}
    batch = max(row.batch for row in rows if row.group == "operation")
    series: dict[str, list[plots.Work]] = {"ours": [], "PyTorch": []}
    for row in rows:
        numbers = cases[row.work].work_in_numbers(row.batch) if row.work in cases else None
        if numbers is not None and row.batch == batch:
            label = row.work.removesuffix(": forward")
            series["ours"].append(plots.Work(label, *numbers, row.ours))
            series["PyTorch"].append(plots.Work("", *numbers, row.theirs))
    return plots.roofline(
        series,
        gflops=machine.gflops,
        gbytes=machine.gbytes,
        title=f"Convolutions, forward, batch {batch}",
    )


def growth_curves(growth: Sequence[Growth]) -> Figure:
    """Draw time against batch and image size, with dotted lines for proportional growth."""
    figure = new_figure(9, 3.8)
    for axes, axis in zip(figure.subplots(1, 2), ("batch", "pixels a side"), strict=True):
        for one, color in zip(
            [g for g in growth if g.axis == axis], (BLUE, ORANGE, GREEN), strict=False
        ):
            work = np.array(one.sizes, float) ** (1 if axis == "batch" else 2)
            axes.loglog(work, one.seconds, "o-", color=color, label=one.what)
            line = one.seconds[-1] * work / work[-1]
            axes.loglog(work, line, ":", color=color, linewidth=1, label="in proportion")
            names = [f"{n}" if axis == "batch" else f"{n}²" for n in one.sizes]
            axes.set_xticks(work, names)
        axes.minorticks_off()
        axes.set(
            xlabel="images" if axis == "batch" else "pixels of an image",
            ylabel="seconds",
            title=f"Growth with {axis}",
        )
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False, fontsize=8)
    return figure


def processor() -> str:
    """Return the name of the processor."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            name = next(line for line in file if line.startswith("model name")).split(": ")[1]
    except (OSError, StopIteration, IndexError):
        pass
    return name.strip()
