"""Measure our speed beside PyTorch, ONNX Runtime and plain NumPy on this machine.

examples:
  numpy-shufflenet bench
  numpy-shufflenet bench --full --out runs/bench
  numpy-shufflenet bench --only operation

both contenders take turns, and what counts is the ratio, pair by pair: above 1, we are faster;
each must compute the same result before it is timed; --full takes about 5 minutes
"""

import argparse
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import make_folder, positive_int, show_table

PARTS = ("operation", "inference", "training", "memory", "start", "growth")
SHORT_PARTS = ("operation", "inference", "training", "start")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "--out", type=expanded, default=Path("runs/bench"), help="folder for results"
    )
    parser.add_argument("--full", action="store_true", help="all parts, batch 32, more pairs")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument("--pairs", type=positive_int, help="how often both take turns")
    parser.add_argument(
        "--threads", type=positive_int, help="of each; one for each core if not given"
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile too, which needs a C++ compiler"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, show the tables, and write Markdown, JSON and pictures."""
    need("torch", "the comparison")
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from numpy_shufflenet.bench.report import BenchReport
    from numpy_shufflenet.bench.resources import machine

    _set_threads(arguments.threads)
    out = make_folder(arguments.out)
    missing = [m for m in ("onnx", "onnxruntime") if not importlib.util.find_spec(m)]
    report = BenchReport(missing=missing)
    jobs = list(_jobs(arguments))
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=True
    ) as progress:
        task = progress.add_task("", total=len(jobs) + 1)
        progress.update(task, description="machine")
        report.machine = machine()
        progress.advance(task)
        for name, job in jobs:
            progress.update(task, description=name)
            job(report)
            progress.advance(task)
    for title, header, rows in report.tables():
        show_table(title, header, rows)
    write_bytes(out / "bench.json", json.dumps(report.to_dict(), indent=1).encode())
    write_bytes(out / "bench.md", report.markdown().encode())
    if importlib.util.find_spec("matplotlib"):
        from numpy_shufflenet import plots

        for name, figure in report.figures().items():
            plots.save(figure, out / f"{name}.png")
    if missing:
        print(f"not installed, so not compared: {', '.join(missing)}")
    print(f"written to {out}")
    return 0


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        backend.set_num_threads(threads)
    torch.set_num_threads(backend.num_threads())


def _jobs(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Yield name and function of each measurement; a function adds what it finds to the report."""
    from numpy_shufflenet.bench import networks, operations, resources, time_against

    parts = arguments.only or (PARTS if arguments.full else SHORT_PARTS)
    pairs = arguments.pairs or (11 if arguments.full else 5)
    batches = (1, 32) if arguments.full else (1,)

    def timed(prepare: Any) -> Any:
        def job(report: Any) -> None:
            for comparison in prepare():
                report.rows.append(time_against(comparison, pairs))

        return job

    if "operation" in parts:
        for prepare in operations.comparisons(batches):
            yield "operations", timed(prepare)
    if "inference" in parts:
        for name, prepare in networks.inference(batches, with_compile=arguments.compile):
            yield name, timed(prepare)
    if "training" in parts:
        every = list(networks.training())
        for name, prepare in every if arguments.full else every[-1:]:
            yield name, timed(prepare)
    for part, measurements in (
        ("memory", resources.memory),
        ("start", resources.starts),
        ("growth", lambda: resources.growth(short=not arguments.full)),
    ):
        if part in parts:
            for name, measure in measurements():
                yield name, lambda report, part=part, measure=measure: _add(report, part, measure())


def _add(report: Any, part: str, found: Any) -> None:
    if part == "start":
        report.starts += found
    else:
        getattr(report, part).append(found)
