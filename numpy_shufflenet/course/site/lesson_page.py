"""Lessons as pages: the cells of the source, with the outputs of the solution edition.

The exercises are blank. The folded solution below each exercise shows the output of its check.
"""

import copy
from pathlib import Path
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import solution, tags
from numpy_shufflenet.course.execute import execute
from numpy_shufflenet.course.lessons import Lesson

FOLDED = {"code_prompt_show": "Solution", "code_prompt_hide": "Solution"}


def executed(lesson: Lesson, folder: Path | None) -> Any:
    """Return the executed solution edition of a lesson; read it if `folder` has it, else run it.

    Raises
    ------
    ValueError
        If the notebook in the folder is not the solution edition of this source.
    """
    fresh = solution(lesson)
    path = folder / f"{lesson.name}.ipynb" if folder else None
    if path is None or not path.exists():
        execute(fresh, lesson.name)
        return fresh
    notebook = need("nbformat", "a notebook").read(path, as_version=4)
    if [cell.source for cell in notebook.cells] != [cell.source for cell in fresh.cells]:
        raise ValueError(f"{path} doesn't fit {lesson.source}: build the solution edition again")
    return notebook


def lesson_page(lesson: Lesson, notebook: Any) -> Any:
    """Return the notebook of the page: all cells of the source, with outputs of `notebook`."""
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    shown = lesson.read()
    for cell in shown.cells:
        if cell.cell_type != "code":
            cell.source = cell.source.replace("**Solution:** open the next cell.", "")
            continue
        cell.outputs = copy.deepcopy(outputs.get(cell.id, []))
        cell.metadata.pop("jupyter", None)
        if "solution" in tags(cell):
            cell.metadata.tags = ["solution", "hide-cell"]
            cell.metadata.mystnb = FOLDED
    title, _, rest = shown.cells[0].source.partition("\n")
    shown.cells[0].source = f"{title}\n\n{_bar(lesson)}\n{rest}"
    return shown


def _bar(lesson: Lesson) -> str:
    """Return the line below the title, with a link to the student edition."""
    link = f"{{download}}`Notebook to work in <../notebooks/{lesson.name}.ipynb>`"
    return "\n".join(["::::{container} lesson-bar", link, "::::", ""])
