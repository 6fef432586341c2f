"""Writes the sources of all pages into one folder, for Sphinx."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from numpy_shufflenet.course.editions import student, write_notebook
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.course.site import glossary, lesson_page
from numpy_shufflenet.course.site.api import Reference

PARTS = (
    (
        "Begin",
        range(2),
        "How the course works, and the chain rule: every gradient follows from it.",
    ),
    ("The operations", range(2, 9), "Each operation forward and backward, as loops and in NumPy."),
    ("Verification", range(9, 10), "How to tell a right gradient from a wrong one."),
    ("The networks", range(10, 14), "Units, costs and guidelines: from V1 to V2."),
    ("Practice", range(14, 18), "Real images, speed, and other people's weights."),
)
"""The parts of the course: title, numbers of the lessons, topic."""


def write_sources(
    folder: Path,
    lessons: Sequence[Lesson],
    done: Callable[[str], None],
    *,
    reference: Reference,
    executed: Path | None,
    guide: Path,
) -> None:
    """Write the sources, with the teacher's guide if it exists."""
    reference.write(folder / "api")
    for name in ("lessons", "notebooks"):
        (folder / name).mkdir()
    for lesson in lessons:
        notebook = lesson_page.executed(lesson, executed)
        page = lesson_page.lesson_page(lesson, notebook)
        write_notebook(page, folder / "lessons" / f"{lesson.name}.ipynb")
        write_notebook(student(lesson), folder / "notebooks" / f"{lesson.name}.ipynb")
        done(lesson.name)
    (folder / "glossary.rst").write_text(glossary.glossary_page(lessons, reference.link), "utf-8")
    shutil.copy(Path(__file__).with_name("numbers.md"), folder / "numbers.md")
    if guide.exists():
        shutil.copy(guide, folder / guide.name)
    guides = [guide.stem] if guide.exists() else []
    others = ["glossary", "numbers", *guides, "API reference <api/index>"]
    (folder / "index.md").write_text(landing(lessons, others), "utf-8")


def landing(lessons: Sequence[Lesson], others: Sequence[str]) -> str:
    """Return the landing page in Markdown, with a map of the course and a list of all pages."""
    template = Path(__file__).with_name("landing.md").read_text("utf-8")
    names = [f"lessons/{lesson.name}" for lesson in lessons]
    tables = _toctree("Lessons", names) + _toctree("Reference", others)
    for mark, text in {"map": _map(lessons), "first": names[0], "pages": tables}.items():
        template = template.replace(f"<<{mark}>>", text)
    return template


def _map(lessons: Sequence[Lesson]) -> str:
    """Return a card for each lesson, grouped by part."""
    lines = []
    for title, numbers, about in PARTS:
        part = [lesson for lesson in lessons if lesson.number in numbers]
        if not part:
            continue
        lines += [f"### {title}", "", about, "", "::::{grid} 1 2 2 2", ":gutter: 2", ""]
        for lesson in part:
            name = lesson.title.partition(": ")[2]
            lines += [
                f":::{{grid-item-card}} {lesson.number}. {name[0].upper()}{name[1:]}",
                f":link: lessons/{lesson.name}",
                ":link-type: doc",
                "",
                *(f"- {point}" for point in lesson.goal),
                ":::",
                "",
            ]
        lines += ["::::", ""]
    return "\n".join(lines)


def _toctree(caption: str, pages: Sequence[str]) -> str:
    options = ["```{toctree}", ":hidden:", ":titlesonly:", f":caption: {caption}", ""]
    return "\n".join([*options, *pages, "```", "", ""])
