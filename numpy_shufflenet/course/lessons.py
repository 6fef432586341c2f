"""The lessons: their source files, titles and goals.

A source is a jupytext script, from which every edition is made. In a checkout the sources are in
`notebooks/`; in a wheel they are beside this module.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy_shufflenet import locale
from numpy_shufflenet._optional import need
from numpy_shufflenet.course import times
from numpy_shufflenet.course.languages import edition

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
    #: The language of the edition: "en", or a key of `locale.LANGUAGES`.
    language: str = locale.ENGLISH

    @property
    def topic(self) -> str:
        """The title without the number: "Convolution, backwards"."""
        topic = re.split(r": |：", self.title, maxsplit=1)[-1]
        return topic[0].upper() + topic[1:]

    @cached_property
    def minutes(self) -> int:
        """How long the lesson takes, estimated by `times`."""
        return times.minutes(self.source.read_text("utf-8"))

    @cached_property
    def texts(self) -> dict[str, str] | None:
        """The translated messages, by the English ones; None if the text is English."""
        if self.language == locale.ENGLISH:
            return None
        return edition.texts_of(self.source, self.language)

    def say(self, phrase: str) -> str:
        """Return a phrase of the package in the language of the text."""
        return phrase if self.texts is None else locale.translate(phrase, self.language)

    def read(self) -> Any:
        """Return the lesson as a notebook of nbformat; its cell ids are the same every time.

        Raises
        ------
        ImportError
            If jupytext is not installed.
        ValueError
            If a translation changes more of the code than its strings and comments.
        """
        notebook = need("jupytext", "reading a lesson").read(self.source)
        for number, cell in enumerate(notebook.cells):
            cell.id = f"lesson-{self.number:02}-cell-{number:03}"
        notebook.metadata = type(notebook.metadata)(
            kernelspec=KERNEL, numpy_shufflenet={"lesson": self.name, "minutes": self.minutes}
        )
        if self.language != locale.ENGLISH:
            edition.localise(notebook, self.texts, self.language)
        return notebook


def hours(some: Sequence[Lesson]) -> int:
    """Return how long lessons take together, in whole hours."""
    return round(sum(lesson.minutes for lesson in some) / 60)


def source_folder() -> Path:
    """Return the folder of the sources."""
    return INSTALLED if INSTALLED.is_dir() else CHECKOUT


def lessons(language: str = locale.ENGLISH) -> list[Lesson]:
    """Return all lessons in order.

    Raises
    ------
    FileNotFoundError
        If none is installed.
    ValueError
        If there is no such language.
    """
    locale.known(language)
    sources = sorted(source_folder().glob("[0-9][0-9]_*.py"))
    if not sources:
        raise FileNotFoundError(f"{source_folder()} has no lessons: install the package again")
    return [in_language(_lesson(source), language) for source in sources]


def in_language(lesson: Lesson, language: str) -> Lesson:
    """Return an English lesson in another language, with its title and goals translated."""
    changed = replace(lesson, language=language)
    texts = changed.texts or {}
    goal = tuple(texts.get(point, point) for point in lesson.goal)
    return replace(changed, title=texts.get(lesson.title, lesson.title), goal=goal)


def find(numbers: Sequence[int], language: str = locale.ENGLISH) -> list[Lesson]:
    """Return the lessons with these numbers in order, or raise ValueError if one doesn't exist."""
    known = {lesson.number: lesson for lesson in lessons(language)}
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
