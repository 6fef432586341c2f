"""Run the lessons as students and as teachers will, and check what comes of it.

usage: check_notebooks.py [--lessons 3,4] [--without MODULE] [--solution-only] [--out DIR]
                          [--language zh_CN]

- The solution edition runs without any error. Exercises that use names from cells above run once
  more at the end, as they do for a student who comes back to them.
- In the student edition the cells that fail are exactly those that wait for an answer, tagged
  `exercise`; whatever comes below them runs.
- A cell should take less than 10 s, one tagged `long` less than 60 s, all lessons less than 10
  minutes. What takes longer is listed, and is no error: it depends on the machine.
- Every picture has an alternative text.

--out keeps the executed solution edition, from which the site is made.
--without numba runs the solution edition as where that module is not installed, and only the
lessons that promise to need NumPy alone.
--language zh_CN runs the lessons that are translated, in Chinese.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from numpy_shufflenet.commands.course import numbers
from numpy_shufflenet.course import editions, lessons
from numpy_shufflenet.course.execute import execute, seconds_of
from numpy_shufflenet.course.grading import needed
from numpy_shufflenet.course.tasks import tasks
from numpy_shufflenet.locale import ENGLISH

LIMIT, LONG_LIMIT, TOTAL_LIMIT = 10, 60, 600  # seconds
AGAIN = "again"  # the tag of exercises that run once more
NUMPY_ALONE = {*range(1, 12), 13}  # lessons


def problems_of(notebook: Any, *, blank: bool) -> Iterator[str]:
    """Yield what is wrong with an executed notebook, whose exercises are blank or solved."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        waits = blank and "exercise" in editions.tags(cell)
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed != waits:
            yield f"{cell.id}: {'fails' if failed else 'waits for an answer, but does not fail'}"
        for output in cell.outputs:
            data = output.get("data", {})
            for kind in data:
                if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt"):
                    yield f"{cell.id}: a picture has no alternative text; begin with # Picture: ..."
            yield from (f"{cell.id}: {p}" for p in unnamed(str(data.get("text/html", ""))))


def unnamed(html: str) -> Iterator[str]:
    """Yield the images and drawings of HTML that have no name for those who can't see them."""
    for tag in re.findall(r"<(?:img|svg)\b[^>]*>", html):
        if not re.search(r"\b(?:alt|aria-label|aria-labelledby|aria-hidden)=", tag):
            yield f"{tag[:60]} has no alternative text"


def slow_cells(notebook: Any) -> Iterator[str]:
    """Yield the cells that took longer than they may."""
    for cell in notebook.cells:
        limit = LONG_LIMIT if "long" in editions.tags(cell) else LIMIT
        if seconds_of(cell) > limit:
            yield f"{cell.id}: {seconds_of(cell):.0f} s; a cell of its kind has {limit} s"


def run(lesson: Any, *, blank: bool, without: str | None = None) -> Any:
    """Return an executed edition of a lesson."""
    notebook = (editions.student if blank else editions.solution)(lesson)
    if not blank:
        for task in tasks(lesson):
            if needed(task) - {"exercises"}:
                code = "\n\n".join((task.solution, *task.checks))
                again = nbformat.v4.new_code_cell(code, metadata={"tags": [AGAIN]})
                notebook.cells.append(again)
    if without:
        code = f"import sys\nsys.modules[{without!r}] = None"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(code))
    execute(notebook, lesson.name, errors=True)
    return notebook


def main() -> int:
    """Check all lessons; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", type=numbers)
    parser.add_argument("--without")
    parser.add_argument("--solution-only", action="store_true")
    parser.add_argument("--language", default=ENGLISH)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    language = arguments.language
    chosen = lessons.lessons(language)
    if arguments.lessons is not None:
        chosen = lessons.find(arguments.lessons, language)
    if language != ENGLISH:
        chosen = [lesson for lesson in chosen if lesson.texts is not None]
    if arguments.without:
        chosen = [lesson for lesson in chosen if lesson.number in NUMPY_ALONE]
    blanks = (False,) if arguments.without or arguments.solution_only else (False, True)
    found, slow, total = [], [], 0.0
    for lesson in chosen:
        for blank in blanks:
            edition = "student" if blank else "solution"
            notebook = run(lesson, blank=blank, without=arguments.without)
            slow += [f"{lesson.name}, {edition}, {p}" for p in slow_cells(notebook)]
            found += [f"{lesson.name}, {edition}, {p}" for p in problems_of(notebook, blank=blank)]
            notebook.cells = [c for c in notebook.cells if AGAIN not in editions.tags(c)]
            if arguments.out and not blank:
                folder = editions.folder_of(arguments.out, language)
                folder.mkdir(parents=True, exist_ok=True)
                editions.write_notebook(notebook, folder / f"{lesson.name}.ipynb")
            seconds = [seconds_of(cell) for cell in notebook.cells]
            total += 0 if blank else sum(seconds)
            print(
                f"{lesson.name:30} {edition:8} {sum(seconds):5.0f} s, "
                f"the slowest cell {max(seconds):4.1f} s",
                flush=True,
            )
    print(f"{len(chosen)} lessons: {total:.0f} s")
    if total > TOTAL_LIMIT:
        slow.append(f"all lessons take {total:.0f} s; {TOTAL_LIMIT} s is the limit")
    print("\n".join(["slow:", *slow]) if slow else "nothing is slow")
    print("\n".join(found) or "only exercises wait for an answer")
    return 1 if found or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
