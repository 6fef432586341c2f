"""Take or teach the course: list or start its lessons, build its editions, or grade notebooks.

examples:
  numpy-shufflenet course list
  numpy-shufflenet course start
  numpy-shufflenet course start my_course --no-browser
  numpy-shufflenet course build --edition solution --lessons 3,4 --out runs/course
  numpy-shufflenet course build --edition site --executed runs/course/solution
  numpy-shufflenet course build --edition slides --lessons 3
  numpy-shufflenet course build --edition pdf --no-solutions
  numpy-shufflenet course build --nbgrader --out my_nbgrader_course
  numpy-shufflenet course translate --language zh_CN --check
  numpy-shufflenet course grade handed_in/*.ipynb --csv points.csv --page class.html

numpy-shufflenet course ACTION --help explains an action; teachers read notebooks/teachers_guide.md
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from numpy_shufflenet import locale
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._text import shown
from numpy_shufflenet.commands._common import positive_int, progress, show_table
from numpy_shufflenet.course import editions, lessons, times

FOLDER = Path("numpy_shufflenet_course")
OPTIONS = {
    "student": ("solutions",),
    "pdf": ("executed", "solutions"),
    "slides": ("executed",),
    "site": ("executed", "offline_runtime"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listed = actions.add_parser("list", help="list the lessons, their goals and minutes")
    _add_language(listed)
    listed.set_defaults(action=_list)

    start = actions.add_parser(
        "start", help="write the notebooks into a folder, and open them in JupyterLab"
    )
    add = start.add_argument
    add("folder", nargs="?", type=expanded, default=FOLDER, help=f"(default: ./{FOLDER})")
    add("--no-browser", action="store_true", help="print the address instead of opening it")
    add("--no-lab", action="store_true", help="write the notebooks without starting JupyterLab")
    add("--overwrite", action="store_true", help="replace existing notebooks, if you confirm it")
    _add_language(start)
    start.set_defaults(action=_start)

    build = actions.add_parser("build", help="write editions of the notebooks")
    add = build.add_argument
    kinds = [*editions.EDITIONS, "all"]
    add("--edition", choices=kinds, default="student", help="edition (default: student)")
    out_help = "folder with one subfolder for each edition (default: runs/course)"
    add("--out", type=expanded, default=Path("runs/course"), help=out_help)
    add("--lessons", type=numbers, metavar="3,4", help="numbers of the lessons (default: all)")
    add("--no-solutions", action="store_true", help="omit solutions (student, pdf)")
    add("--nbgrader", action="store_true", help="write a course folder for nbgrader instead")
    executed_help = "folder of an executed solution edition, for PDF, slides and the site"
    add("--executed", type=expanded, metavar="DIR", help=executed_help)
    runtime_help = (
        "folder with the files of a Pyodide release, which become part of the site: live exercises "
        "need no network then (default: a reader's browser loads Pyodide from its CDN)"
    )
    add("--offline-runtime", type=expanded, metavar="DIR", help=runtime_help)
    _add_language(build, "all")
    build.set_defaults(action=_build)

    translate = actions.add_parser(
        "translate",
        help="update the files of translators from the English sources",
        description="Updates the PO files of a language: a new message is empty, a changed one is "
        "marked fuzzy, a vanished one is removed. The file of a lesson is made if you name it.",
    )
    add = translate.add_argument
    name_help = "make the file of this lesson (such as 8) or page (such as teachers_guide)"
    add("names", nargs="*", metavar="NAME", help=name_help)
    add("--language", choices=locale.LANGUAGES, required=True)
    check_help = "change nothing; fail if a file isn't complete, or doesn't fit its source"
    add("--check", action="store_true", help=check_help)
    translate.set_defaults(action=_translate)

    grade = actions.add_parser(
        "grade",
        help="check students' functions again, and give points",
        description="Runs each notebook and checks its functions again; saved outputs don't count. "
        "The student's name is the first part of the file name, or the folder's name: both "
        "ada_03_convolution_backwards.ipynb and ada/03_convolution_backwards.ipynb are Ada's.",
    )
    add = grade.add_argument
    add("notebooks", nargs="*", type=expanded, metavar="NOTEBOOK")
    add("--json", type=expanded, help="write the points of every exercise to this file")
    add("--csv", type=expanded, help="write them as a table for a spreadsheet")
    add("--page", type=expanded, help="write a page: hard exercises, and frequent mistakes")
    nbgrader_help = (
        "course folder of nbgrader: grade what is in submitted/, and write the points into its "
        "gradebook; instead of nbgrader autograde"
    )
    add("--nbgrader", type=expanded, metavar="DIR", help=nbgrader_help)
    add("--seconds", type=positive_int, default=60, help="time limit of one function (default: 60)")
    grade.set_defaults(action=_grade)


def _add_language(parser: argparse.ArgumentParser, *more: str) -> None:
    choices = [locale.ENGLISH, *locale.LANGUAGES, *more]
    text = "language of the edition: zh_CN for Chinese (default: en)"
    if more:
        text += "; all: every language, and the pages of the sites link to one another"
    parser.add_argument("--language", choices=choices, default=locale.ENGLISH, help=text)


def numbers(text: str) -> list[int]:
    """Parse "3,4" or "1-5"."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if not match:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a list of numbers, such as 3,4 or 1-5"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise argparse.ArgumentTypeError(
                f"{text!r} goes from {first} down to {last}; {last}-{first} is needed"
            )
        found += range(first, last + 1)
    return found


def run(arguments: argparse.Namespace) -> int:
    """Run the action."""
    return int(arguments.action(arguments))


def _list(arguments: argparse.Namespace) -> int:
    listed = lessons.lessons(arguments.language)
    for lesson in listed:
        title = f"{lesson.title} ({lesson.minutes} min)"
        print(title, *(f"    {point}" for point in lesson.goal), sep="\n")
    print(f"{len(listed)} lessons, about {lessons.hours(listed)} hours ({times.HOW})")
    return 0


def _start(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.course import start

    if not arguments.no_lab:
        need("jupyterlab", "opening the course")
    folder, overwrite = arguments.folder, arguments.overwrite
    if overwrite and folder.is_dir() and list(folder.glob("*.ipynb")):
        answer = input(f"Replace the notebooks in {folder}? Your changes to them are lost. [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was changed")
            return 1
    written, kept = start.write_student_edition(
        folder, overwrite=overwrite, language=arguments.language
    )
    print(f"{len(written)} lessons written to {shown(folder)}")
    if kept:
        print(f"{len(kept)} existing lessons kept; --overwrite replaces them")
    if arguments.no_lab:
        return 0
    return start.open_lab(folder, browser=not arguments.no_browser)


def _build(arguments: argparse.Namespace) -> int:
    every = arguments.language == "all"
    languages = [locale.ENGLISH, *locale.LANGUAGES] if every else [arguments.language]
    if arguments.lessons is None:
        chosen = {name: lessons.lessons(name) for name in languages}
    else:
        chosen = {name: lessons.find(arguments.lessons, name) for name in languages}
    count = len(chosen[languages[0]])
    names = [*editions.EDITIONS] if arguments.edition == "all" else [arguments.edition]
    if arguments.nbgrader:
        names = ["nbgrader"]
    with progress(len(names) * len(languages) * count, lines=True) as done:
        for name in names:
            _build_one(arguments, name, chosen, done)
    for name in names:
        where = arguments.out if arguments.nbgrader else arguments.out / name
        print(f"{name}: {count} lessons in {shown(where)}")
    return 0


def _build_one(
    arguments: argparse.Namespace, name: str, chosen: dict[str, list[lessons.Lesson]], done: Any
) -> None:
    """Build one edition in all languages."""
    options = _options(arguments, name)
    out = arguments.out / name
    if name == "site":  # one site, because its languages link to one another
        first, *others = chosen.values()
        editions.build_edition(name, out, first, done, translations=others, **options)
        return
    for language, some in chosen.items():
        if name == "nbgrader":
            from numpy_shufflenet.course import nbgrader

            folder = editions.folder_of(arguments.out, language)
            folder.mkdir(parents=True, exist_ok=True)
            nbgrader.build_nbgrader(folder, some, done)
        else:
            editions.build_edition(name, editions.folder_of(out, language), some, done, **options)


def _options(arguments: argparse.Namespace, edition: str) -> dict[str, Any]:
    """Return the options of one edition."""
    # --edition all builds the solution edition before those that show it.
    made = arguments.out / "solution" if arguments.edition == "all" else None
    options = {
        "solutions": not arguments.no_solutions,
        "executed": arguments.executed or made,
        "offline_runtime": arguments.offline_runtime,
    }
    return {name: options[name] for name in OPTIONS.get(edition, ())}


def _translate(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.course.languages import report

    states = report.update_files(arguments.language, arguments.names, check=arguments.check)
    rows = [
        [
            s.source.name,
            *map(str, (s.translated, s.fuzzy, s.missing)),
            "" if s.exists else "no file",
        ]
        for s in states
    ]
    header = ["file", "translated", "fuzzy", "missing", ""]
    show_table(f"Messages in {arguments.language}", header, rows)
    for state in states:
        missing = state.missing_messages if arguments.check else []
        for said in (*state.problems, *missing, *(f"perhaps: {text}" for text in state.warnings)):
            print(f"{state.source.name}: {said}")
    return int(arguments.check and any(s.problems or s.missing_messages for s in states))


def _grade(arguments: argparse.Namespace) -> int:
    from numpy_shufflenet.commands import _grades
    from numpy_shufflenet.course import grading

    os.environ["MPLBACKEND"] = "Agg"
    grades: list[dict[str, Any]] = []
    failed: dict[str, str] = {}

    def write() -> None:
        if arguments.json:
            book = {**_grades.grade_book(grades), "not graded": failed}
            write_bytes(arguments.json, json.dumps(book, indent=1).encode())
        if arguments.csv:
            write_bytes(arguments.csv, _grades.as_csv(grades).encode("utf-8-sig"))
        if arguments.page:
            write_bytes(arguments.page, _grades.class_page(grades, failed).encode())

    notebooks = list(arguments.notebooks)
    if arguments.nbgrader:
        notebooks += sorted((arguments.nbgrader / "submitted").glob("*/*/*.ipynb"))
    if not notebooks:
        raise ValueError("there is no NOTEBOOK to grade")
    with progress(len(notebooks), lines=True) as done:
        for path in notebooks:
            try:
                grades.append(grading.grade(path, seconds=arguments.seconds))
            except Exception as error:  # whatever it is, the others are graded
                failed[str(path)] = str(error) or type(error).__name__
            write()  # an interrupt loses no points
            done(str(path))
    if arguments.nbgrader:
        _grades.record_in_nbgrader(arguments.nbgrader, grades)
    rows = [
        [found["student"], result["exercise"], f"{result['points']:g}", f"{result['of']:g}"]
        for found in grades
        for result in found["exercises"]
    ]
    show_table("Points", ["student", "exercise", "points", "of"], rows, left=2)
    for name, entry in _grades.grade_book(grades)["students"].items():
        print(f"{shown(name)}: {entry['points']:g} of {entry['of']:g} points")
    for path, reason in failed.items():
        print(f"not graded: {shown(path)}: {shown(reason)}", file=sys.stderr)
    return 2 if failed else 0
