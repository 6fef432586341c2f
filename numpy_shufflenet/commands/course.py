"""Take or give the course: list its lessons, start it in JupyterLab, build its editions, grade.

examples:
  numpy-shufflenet course list
  numpy-shufflenet course start
  numpy-shufflenet course start my_course --no-browser
  numpy-shufflenet course build --edition solution --lessons 3,4 --out runs/course
  numpy-shufflenet course build --edition site --executed runs/course/solution
  numpy-shufflenet course build --nbgrader --out my_nbgrader_course
  numpy-shufflenet course grade handed_in/*.ipynb --json points.json

numpy-shufflenet course ACTION --help says more; notebooks/teachers_guide.md is for teachers
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._common import positive_int, show_table
from numpy_shufflenet.course import editions, lessons

DEFAULT = Path("numpy_shufflenet_course")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listed = actions.add_parser("list", help="the lessons and what each is for")
    listed.set_defaults(action=_list)

    start = actions.add_parser(
        "start", help="write the notebooks into a folder, and open them in JupyterLab"
    )
    start.add_argument(
        "folder", nargs="?", type=expanded, default=DEFAULT, help=f"(default: ./{DEFAULT})"
    )
    start.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    start.add_argument("--no-lab", action="store_true", help="write the notebooks, and that is all")
    start.add_argument(
        "--overwrite", action="store_true", help="write existing notebooks anew; asks before"
    )
    start.set_defaults(action=_start)

    build = actions.add_parser("build", help="write editions of the notebooks")
    build.add_argument(
        "--edition",
        choices=[*editions.EDITIONS, "all"],
        default="student",
        help="which one (default: student)",
    )
    build.add_argument(
        "--out",
        type=expanded,
        default=Path("runs/course"),
        help="folder; each edition gets one in it, by its name (default: runs/course)",
    )
    build.add_argument(
        "--lessons", type=numbers, metavar="3,4", help="numbers of lessons (default: all)"
    )
    build.add_argument(
        "--no-solutions", action="store_true", help="leave them out of the student edition"
    )
    build.add_argument(
        "--nbgrader", action="store_true", help="write a course folder of nbgrader instead"
    )
    build.add_argument(
        "--executed", type=expanded, metavar="DIR", help="solution edition, to make the site from"
    )
    build.add_argument(
        "--lite",
        action="store_true",
        help="let lessons run in the browser on the site, by JupyterLite; readers who ask for that "
        "load Python from a CDN",
    )
    build.set_defaults(action=_build)

    grade = actions.add_parser(
        "grade",
        help="check students' functions again, and give points",
        description="Runs each notebook, and checks its functions anew, whatever its outputs say. "
        "ada_03_convolution_backwards.ipynb is Ada's, as is ada/03_convolution_backwards.ipynb.",
    )
    grade.add_argument("notebooks", nargs="+", type=expanded, metavar="NOTEBOOK")
    grade.add_argument("--json", type=expanded, help="file for the points of every exercise")
    grade.add_argument(
        "--seconds", type=positive_int, default=60, help="for one function (default: 60)"
    )
    grade.set_defaults(action=_grade)


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


def _start(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.course import start

    if not arguments.no_lab:
        need("jupyterlab", "opening the course")
    folder, overwrite = arguments.folder, arguments.overwrite
    if overwrite and folder.is_dir() and list(folder.glob("*.ipynb")):
        answer = input(
            f"Write the notebooks in {folder} anew? What was done in them is lost. [y/N] "
        )
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was changed")
            return 1
    written, kept = start.write_student_edition(folder, overwrite=overwrite)
    print(f"{len(written)} lessons written to {folder}")
    if kept:
        print(f"{len(kept)} kept as they are; --overwrite writes them anew")
    if arguments.no_lab:
        return 0
    return start.open_lab(folder, browser=not arguments.no_browser)


def _build(arguments: argparse.Namespace) -> int:
    chosen = lessons.lessons() if arguments.lessons is None else lessons.find(arguments.lessons)
    if arguments.nbgrader:
        from numpy_shufflenet.course import nbgrader

        with progress(len(chosen)) as done:
            arguments.out.mkdir(parents=True, exist_ok=True)
            nbgrader.build_nbgrader(arguments.out, chosen, done)
        print(f"nbgrader: {len(chosen)} lessons in {arguments.out}")
        return 0
    names = editions.EDITIONS if arguments.edition == "all" else [arguments.edition]
    with progress(len(names) * len(chosen)) as done:
        for name in names:
            out = arguments.out / name
            editions.build_edition(name, out, chosen, done, **_options(arguments, name))
    for name in names:
        print(f"{name}: {len(chosen)} lessons in {arguments.out / name}")
    return 0


def _options(arguments: argparse.Namespace, edition: str) -> dict[str, Any]:
    """Return what was said of one edition; the site shows the solution edition built before it."""
    if edition == "student":
        return {"solutions": not arguments.no_solutions}
    if edition == "site":
        made = arguments.out / "solution" if arguments.edition == "all" else None
        return {"executed": arguments.executed or made, "lite": arguments.lite}
    return {}


def _grade(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.course import grading

    os.environ["MPLBACKEND"] = "Agg"
    grades = []
    with progress(len(arguments.notebooks)) as done:
        for path in arguments.notebooks:
            grades.append(grading.grade(path, seconds=arguments.seconds))
            done(str(path))
    book = grading.grade_book(grades)
    rows = [
        [found["student"], result["exercise"], f"{result['points']:g}", f"{result['of']:g}"]
        for found in grades
        for result in found["exercises"]
    ]
    show_table("Points", ["student", "exercise", "points", "of"], rows, left=2)
    for name, entry in book["students"].items():
        print(f"{name}: {entry['points']:g} of {entry['of']:g} points")
    if arguments.json:
        write_bytes(arguments.json, json.dumps(book, indent=1).encode())
    return 0


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar in a terminal, else a line for each thing that is done."""
    if not sys.stdout.isatty():
        yield lambda name: print(name, flush=True)
        return
    bars = need("rich.progress", "the progress bar")
    with bars.Progress() as bar:
        task = bar.add_task("building", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)
