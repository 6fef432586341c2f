"""A lesson in another language: its cells, title and goals, from the English source and a PO file.

A lesson without a PO file stays in English, and says so. Each notebook begins with a cell that
lets exercises answer in the language, and figures show it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy_shufflenet import locale
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.languages import pieces
from numpy_shufflenet.locale import marked

OPEN_NEXT = marked("**Solution:** open the next cell.")
SOLUTION = marked("**Solution:**")
FOLDED = marked("Solution (try first; a wrong answer teaches more)")
UNTRANSLATED = marked("**This lesson is not translated yet.** Here is the English text.")
LANGUAGE = "language"  # the tag of the first code cell, which is no cell of the source


def texts_of(source: Path, language: str) -> dict[str, str] | None:
    """Return the translated messages of a lesson, or None if it isn't translated."""
    file = source.parent / language / f"{source.stem}.po"
    if not file.exists():
        return None
    own = {OPEN_NEXT: locale.translate(OPEN_NEXT, language)}
    return locale.read_po(file) | own


def localise(notebook: Any, texts: Mapping[str, str] | None, language: str) -> None:
    """Translate the cells of a lesson, and insert the cell that sets the language.

    Raises
    ------
    ValueError
        If a translation changes more of the code than its strings and comments.
    """
    new = need("nbformat", "a notebook").v4
    for cell in notebook.cells:
        cell.source = pieces.replaced(cell.cell_type, cell.source, texts or {})
    first = notebook.cells[0].id.rpartition("-cell-")[0]
    added = [
        new.new_code_cell(
            f'from numpy_shufflenet import exercises\n\nexercises.language("{language}")',
            id=f"{first}-language",
            metadata={"tags": [LANGUAGE]},
        )
    ]
    if texts is None:
        note = locale.translate(UNTRANSLATED, language)
        added.insert(0, new.new_markdown_cell(note, id=f"{first}-untranslated"))
    notebook.cells[1:1] = added
    notebook.metadata.numpy_shufflenet["language"] = language
