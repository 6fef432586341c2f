"""The lessons: where their sources are, and what each is about.

A source is a jupytext script, from which every edition is made. In a checkout it lies in
`notebooks/`; a wheel carries the same files beside this module.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy_shufflenet._optional import need

INSTALLED = Path(__file__).with_name("lessons_source")
CHECKOUT = Path(__file__).parents[2] / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    Attributes
    ----------
    number : int
    name : str
        Of the file: "03_convolution_backwards".
    title : str
        "Lesson 3: convolution, backwards".
    source : Path
        The jupytext script.
    goal : tuple of str
        What a reader will have learned, a sentence each; Markdown.
    """

    number: int
    name: str
    title: str
    source: Path
    goal: tuple[str, ...]

    def read(self) -> Any:
        """Return the source as a notebook (of nbformat), with cell ids that never change.

        Raises
        ------
        ImportError
            If jupytext is not installed.
        """
        notebook = need("jupytext", "reading a lesson").read(self.source)
        for number, cell in enumerate(notebook.cells):
            cell.id = f"lesson-{self.number:02}-cell-{number:03}"
        notebook.metadata = type(notebook.metadata)(
            kernelspec=KERNEL, numpy_shufflenet={"lesson": self.name}
        )
        return notebook


def source_folder() -> Path:
    """Return the folder of the sources, whether this is a wheel or a checkout."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def lessons() -> list[Lesson]:
    """Return all lessons in their order.

    Raises
    ------
    FileNotFoundError
        If the installation has none.
    """
    sources = sorted(source_folder().glob("[0-9][0-9]_*.py"))
    if not sources:
        raise FileNotFoundError(f"there are no lessons in {source_folder()}: install anew")
    return [_lesson(source) for source in sources]


def find(numbers: Sequence[int]) -> list[Lesson]:
    """Return the lessons of these numbers, in their order; ValueError if one doesn't exist."""
    known = {lesson.number: lesson for lesson in lessons()}
    for number in numbers:
        if number not in known:
            there = ", ".join(map(str, known))
            raise ValueError(f"there is no lesson {number}; there are {there}")
    return [known[number] for number in sorted(set(numbers))]


def _lesson(source: Path) -> Lesson:
    text = source.read_text("utf-8")
    title = re.search(r"^# # (.+)$", text, re.MULTILINE)
    goal = re.search(r"^# \*\*Goal\*\*\n((?:# .*\n)+)", text, re.MULTILINE)
    if not title or not goal:
        raise ValueError(f"{source} has no title or no goal: is it a lesson?")
    points = re.split(r"^# - ", goal[1], flags=re.MULTILINE)[1:]
    return Lesson(
        int(source.name[:2]),
        source.stem,
        title[1],
        source,
        tuple(" ".join(re.sub(r"^# ", "", p, flags=re.MULTILINE).split()) for p in points),
    )
