"""Lessons as pages: the cells of the source, with the outputs of the solution edition.

The exercises are blank. The folded solution below each exercise shows the output of its check.
"""

import copy
from pathlib import Path
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import folder_of, solution, tags
from numpy_shufflenet.course.execute import execute
from numpy_shufflenet.course.languages.edition import LANGUAGE, OPEN_NEXT
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.locale import marked, translate

SOLUTION = marked("Solution")
DOWNLOAD = marked("Notebook to work in")


def executed(lesson: Lesson, folder: Path | None) -> Any:
    """Return the executed solution edition of a lesson; read it if `folder` has it, else run it.

    Raises
    ------
    ValueError
        If the notebook in the folder is not the solution edition of this source.
    """
    fresh = solution(lesson)
    folders = [folder_of(folder, lesson.language)] if folder else []
    if folder and lesson.texts is None:
        folders.append(folder)  # an untranslated lesson, executed in the English edition
    paths = [place / f"{lesson.name}.ipynb" for place in folders]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        execute(fresh, lesson.name)
        return fresh
    notebook = need("nbformat", "a notebook").read(path, as_version=4)
    if _own(notebook) != _own(fresh):
        raise ValueError(f"{path} doesn't fit {lesson.source}: build the solution edition again")
    return notebook


def _own(notebook: Any) -> list[str]:
    """Return the source's cells: those that the edition of a language adds have other ids."""
    return [cell.source for cell in notebook.cells if "-cell-" in cell.id]


def lesson_page(lesson: Lesson, notebook: Any) -> Any:
    """Return the notebook of the page: the cells with outputs, and a link below the title."""
    shown = with_outputs(lesson, notebook)
    title, _, rest = shown.cells[0].source.partition("\n")
    shown.cells[0].source = f"{title}\n\n{_bar(lesson)}\n{rest}"
    return shown


def with_outputs(lesson: Lesson, notebook: Any) -> Any:
    """Return all cells of the source, with the outputs of `notebook`, the solution edition."""
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    shown = lesson.read()
    prompt, opening = translate(SOLUTION, lesson.language), lesson.say(OPEN_NEXT)
    for cell in shown.cells:
        if cell.cell_type != "code":
            cell.source = cell.source.replace(opening, "")
            continue
        cell.outputs = copy.deepcopy(outputs.get(cell.id, []))
        cell.metadata.pop("jupyter", None)
        if LANGUAGE in tags(cell):
            cell.metadata.tags = [LANGUAGE, "remove-cell"]
        if "solution" in tags(cell):
            cell.metadata.tags = ["solution", "hide-cell"]
            cell.metadata.mystnb = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
    return shown


def _bar(lesson: Lesson) -> str:
    """Return the line below the title, with a link to the student edition."""
    download = translate(DOWNLOAD, lesson.language)
    link = f"{{download}}`{download} <../notebooks/{lesson.name}.ipynb>`"
    return "\n".join(["::::{container} lesson-bar", link, "::::", ""])
