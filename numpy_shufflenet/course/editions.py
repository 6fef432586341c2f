"""The editions of the course: notebooks with blank exercises, and notebooks with solutions.

    build_edition("student", out, lessons())

In the **student edition** the exercises are blank, with folded hints and solutions below them. A
solution is text there, so it doesn't run. In the **solution edition** the solutions replace the
blank exercises, and all cells have been executed. `EDITIONS` lists the editions. To add one, write
a function `build(out, lessons, done)`, and add a line to `EDITIONS`.
"""

import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.execute import execute
from numpy_shufflenet.course.languages.edition import FOLDED, OPEN_NEXT, SOLUTION
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.locale import ENGLISH

Done = Callable[[str], None]
EDITIONS = {
    "student": "numpy_shufflenet.course.editions:build_student",
    "solution": "numpy_shufflenet.course.editions:build_solution",
    "pdf": "numpy_shufflenet.course.export.pdf:build_pdf",
    "slides": "numpy_shufflenet.course.export.slides:build_slides",
    "site": "numpy_shufflenet.course.site.build:build_site",
}
"""The function that builds each edition: `module:function`, imported when it is needed."""


def build_edition(
    edition: str, out: Path, lessons: Sequence[Lesson], done: Done = print, **options: Any
) -> None:
    """Write one edition of some lessons into a folder.

    Parameters
    ----------
    edition : str
        A key of `EDITIONS`.
    out : Path
        A folder; it is created if it doesn't exist.
    lessons : sequence of Lesson
    done : callable
        Receives the name of each lesson after it has been written.
    **options
        Options of the edition.

    Raises
    ------
    ValueError
        If there is no such edition.
    ImportError
        If a package that the edition needs is missing; the message names the extra to install.
    """
    if edition not in EDITIONS:
        raise ValueError(f"edition={edition!r} is not one of {', '.join(EDITIONS)}")
    module, _, function = EDITIONS[edition].partition(":")
    out.mkdir(parents=True, exist_ok=True)
    getattr(importlib.import_module(module), function)(out, lessons, done, **options)


def folder_of(out: Path, language: str) -> Path:
    """Return where an edition in a language lies: in `out`, or in a folder of the language."""
    return out if language == ENGLISH else out / language


def build_student(
    out: Path, lessons: Sequence[Lesson], done: Done, *, solutions: bool = True
) -> None:
    """Write the student edition."""
    for lesson in lessons:
        write_notebook(student(lesson, solutions=solutions), out / f"{lesson.name}.ipynb")
        done(lesson.name)


def build_solution(out: Path, lessons: Sequence[Lesson], done: Done) -> None:
    """Execute the solution edition, and write it."""
    for lesson in lessons:
        notebook = solution(lesson)
        execute(notebook, lesson.name)
        write_notebook(notebook, out / f"{lesson.name}.ipynb")
        done(lesson.name)


def student(lesson: Lesson, *, solutions: bool = True) -> Any:
    """Return a lesson with blank exercises; solutions are folded, or omitted if not `solutions`."""
    notebook = lesson.read()
    opening = re.compile(rf"\n*{re.escape(lesson.say(OPEN_NEXT))}\n*$")
    summary = lesson.say(FOLDED)
    cells = []
    for cell in notebook.cells:
        if "solution" in tags(cell):
            if not solutions:
                continue
            new = need("nbformat", "a notebook").v4.new_markdown_cell
            cell = new(folded(cell, summary), id=cell.id)
        elif cell.cell_type == "markdown":
            cell.source = opening.sub("", cell.source)
        if cell.source:
            cells.append(cell)
    notebook.cells = cells
    notebook.metadata.numpy_shufflenet["edition"] = "student"
    return notebook


def folded(cell: Any, summary: str) -> str:
    """Return a code cell as Markdown that is folded until a reader opens it."""
    return (
        f"<details>\n<summary>{summary}</summary>\n\n"
        f"```python\n{cell.source.strip()}\n```\n\n</details>"
    )


def solution(lesson: Lesson) -> Any:
    """Return a lesson with solutions in place of blank exercises, and without outputs."""
    notebook = lesson.read()
    opening, heading = lesson.say(OPEN_NEXT), lesson.say(SOLUTION)
    cells = []
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            continue
        if "solution" in tags(cell):
            cell.metadata.pop("jupyter", None)
            cell.metadata.tags = ["solution"]
        elif cell.cell_type == "markdown":
            cell.source = cell.source.replace(opening, heading)
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata.numpy_shufflenet["edition"] = "solution"
    return notebook


def tags(cell: Any) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def write_notebook(notebook: Any, path: str | os.PathLike[str]) -> None:
    """Write a notebook to a file. If writing fails, the old file stays."""
    text = need("nbformat", "a notebook").writes(notebook)
    write_bytes(path, (text + "\n").encode())
