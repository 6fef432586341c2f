"""Compare our speed with PyTorch, ONNX Runtime and plain NumPy on this machine.

examples:
  numpy-shufflenet bench
  numpy-shufflenet bench --full --out runs/bench
  numpy-shufflenet bench --only operation

Our code and the other package's code run in turn. Each pair of runs gives the ratio of their time
to ours; above 1, we are faster. Before the timing, the command checks that both packages compute
the same result. --full takes about 5 minutes.
"""

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy_shufflenet import backend
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import make_folder, positive_int, progress, show_table

if TYPE_CHECKING:
    from numpy_shufflenet.bench.report import BenchReport

PARTS = ("operation", "inference", "training", "memory", "start", "growth")
SHORT_PARTS = ("operation", "inference", "training", "start")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--out", type=expanded, default=Path("runs/bench"), help="folder for the results")
    add("--full", action="store_true", help="measure all parts, with more pairs and batch 32, too")
    parts = f"parts to measure: {', '.join(PARTS)}"
    add("--only", nargs="+", choices=PARTS, metavar="PART", help=parts)
    add("--pairs", type=positive_int, help="number of pairs of runs")
    add("--threads", type=positive_int, help="threads of each package (default: one per core)")
    compiler = "compare with torch.compile, too; it needs a C++ compiler"
    add("--compile", action="store_true", help=compiler)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the tables, and write Markdown, JSON and pictures."""
    torch = need("torch", "the comparison")
    need("rich", "the comparison")
    from numpy_shufflenet.bench.report import BenchReport
    from numpy_shufflenet.bench.resources import machine

    if arguments.threads is not None:
        backend.set_num_threads(arguments.threads)
    torch.set_num_threads(backend.num_threads())
    out = make_folder(arguments.out)
    missing = [m for m in ("onnx", "onnxruntime") if not importlib.util.find_spec(m)]
    report = BenchReport(missing=missing)
    jobs = list(_jobs(arguments, report))
    with progress(len(jobs) + 1, "machine") as update:
        report.machine = machine()
        update()
        for name, job in jobs:
            update(name, 0)
            job()
            update(name)
    for title, header, rows in report.tables():
        show_table(title, header, rows)
    write_bytes(out / "bench.json", json.dumps(report.to_dict(), indent=1).encode())
    write_bytes(out / "bench.md", report.markdown().encode())
    if importlib.util.find_spec("matplotlib"):
        from numpy_shufflenet import plots

        for name, figure in report.figures().items():
            plots.save(figure, out / f"{name}.png")
    if missing:
        print(f"not compared, because not installed: {', '.join(missing)}")
    print(f"results are in {out}")
    return 0


def _jobs(
    arguments: argparse.Namespace, report: "BenchReport"
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each measurement, and a function that measures and adds to the report."""
    from numpy_shufflenet.bench import networks, operations, resources, time_against

    full = arguments.full
    parts = arguments.only or (PARTS if full else SHORT_PARTS)
    pairs = arguments.pairs or (11 if full else 5)
    batches = (1, 32) if full else (1,)
    timed: dict[str, Callable[[], Iterable[tuple[str, Any]]]] = {
        "operation": lambda: operations.comparisons(batches),
        "inference": lambda: networks.inference(batches, with_compile=arguments.compile),
        "training": lambda: list(networks.training())[0 if full else -1 :],
    }
    others: dict[str, tuple[list[Any], Callable[[], Iterable[tuple[str, Any]]]]] = {
        "memory": (report.memory, resources.memory),
        "start": (report.starts, resources.starts),
        "growth": (report.growth, lambda: resources.growth(short=not full)),
    }

    def compare(prepare: Any) -> None:
        report.rows.extend(time_against(comparison, pairs) for comparison in prepare())

    def add(rows: list[Any], measure: Any) -> None:
        rows.extend(measure())

    for part, list_comparisons in timed.items():
        if part in parts:
            for name, prepare in list_comparisons():
                yield name, partial(compare, prepare)
    for part, (rows, list_measurements) in others.items():
        if part in parts:
            for name, measure in list_measurements():
                yield name, partial(add, rows, measure)
