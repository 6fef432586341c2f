"""Take the course: list its lessons, start it in JupyterLab, build its editions.

examples:
  numpy-shufflenet course list
  numpy-shufflenet course start
  numpy-shufflenet course start my_course --no-browser
  numpy-shufflenet course build --edition solution --lessons 3,4 --out runs/course
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from numpy_shufflenet.course import editions, lessons


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listed = actions.add_parser("list", help="the lessons and what each is for")
    listed.set_defaults(action=_list)

    build = actions.add_parser("build", help="write editions of the notebooks")
    build.add_argument(
        "--edition",
        choices=[*editions.EDITIONS, "all"],
        default="student",
        help="which one (default: student)",
    )
    build.add_argument(
        "--out",
        type=Path,
        default=Path("runs/course"),
        help="folder; each edition gets one in it, by its name (default: runs/course)",
    )
    build.add_argument(
        "--lessons", type=numbers, metavar="3,4", help="numbers of lessons (default: all)"
    )
    build.set_defaults(action=_build)


def numbers(text: str) -> list[int]:
    """Parse "3,4" or "1-5"."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a list of numbers, such as 3,4 or 1-5"
            )
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    return int(arguments.action(arguments))


def _list(arguments: argparse.Namespace) -> int:
    for lesson in lessons.lessons():
        print(lesson.title, *(f"    {point}" for point in lesson.goal), sep="\n")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    chosen = lessons.lessons() if arguments.lessons is None else lessons.find(arguments.lessons)
    names = editions.EDITIONS if arguments.edition == "all" else [arguments.edition]
    with progress(len(names) * len(chosen)) as done:
        for name in names:
            out = arguments.out / name
            editions.build(name, out, chosen, done)
    for name in names:
        print(f"{name}: {len(chosen)} lessons in {arguments.out / name}")
    return 0


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar in a terminal, else a line for each thing that is done."""
    if not sys.stdout.isatty():
        yield lambda name: print(name, flush=True)
        return
    bars = lessons.need("rich.progress", "the progress bar")
    with bars.Progress() as bar:
        task = bar.add_task("building", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)
