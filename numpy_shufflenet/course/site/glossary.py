"""The glossary in English and Chinese, each term with the lesson that introduces it."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.course.site.docstrings import Link, inline
from numpy_shufflenet.locale import ENGLISH, marked, translate

LESSON = marked("Lesson {number}")
ABOUT = marked(
    "The terms of the course in English and Chinese, and the lesson that introduces each."
)


@dataclass(frozen=True)
class Term:
    """A term of the field, in English and Chinese."""

    english: str
    chinese: str
    #: The meaning of the term.
    text: str
    #: Number of the lesson that introduces it.
    lesson: int
    #: Synonyms.
    also: tuple[str, ...] = ()
    #: The name of the object in the API that implements the term, or "".
    see: str = ""
    #: Whether a translation must use `chinese` or one of `also`.
    strict: bool = False


def terms() -> list[Term]:
    """Return all terms in alphabetical order."""
    text = resources.files(__package__).joinpath("glossary.toml").read_text("utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["term"]
    return [Term(**entry | {"also": tuple(entry.get("also", ()))}) for entry in found]


def glossary_page(lessons: Sequence[Lesson], link: Link, language: str = ENGLISH) -> str:
    """Return the glossary as reStructuredText. Terms link to these lessons."""
    there = {lesson.number: lesson for lesson in lessons}
    lines = ["Glossary 术语表", "===============", ""]
    if language == ENGLISH:
        lines.append(ABOUT)
    lines += [translate(ABOUT, "zh_CN"), "", ".. glossary::", ""]
    for term in terms():
        names = dict.fromkeys([term.english, term.chinese, *term.also])
        lines += [f"   {name}" for name in names]
        lesson = translate(LESSON, language).format(number=term.lesson)
        if term.lesson in there:
            lesson = f":doc:`{lesson} </lessons/{there[term.lesson].name}>`"
        api = link(term.see) if term.see else None
        source = f"{lesson} · {api}" if api else lesson
        text = translate(term.text, language)
        lines += [f"      {inline(text, link)}", "", f"      {source}", ""]
    return "\n".join([*lines, ""])
