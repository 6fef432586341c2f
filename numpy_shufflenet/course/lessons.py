"""The lessons: their source files, titles and goals.

A source is a jupytext script, from which every edition is made. In a checkout the sources are in
`notebooks/`; in a wheel they are beside this module.
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
    """A lesson."""

    number: int
    #: Name of the file: "03_convolution_backwards".
    name: str
    #: "Lesson 3: convolution, backwards"
    title: str
    #: The jupytext script.
    source: Path
    #: What a reader learns, in sentences of Markdown.
    goal: tuple[str, ...]

    def read(self) -> Any:
        """Return the source as a notebook of nbformat; its cell ids are the same every time.

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
    """Return the folder of the sources."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def lessons() -> list[Lesson]:
    """Return all lessons in order, or raise FileNotFoundError if none is installed."""
    sources = sorted(source_folder().glob("[0-9][0-9]_*.py"))
    if not sources:
        raise FileNotFoundError(f"{source_folder()} has no lessons: install the package again")
    return [_lesson(source) for source in sources]


def find(numbers: Sequence[int]) -> list[Lesson]:
    """Return the lessons with these numbers in order, or raise ValueError if one doesn't exist."""
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
