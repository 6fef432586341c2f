"""Writes the sources of all pages into one folder, for Sphinx."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from numpy_shufflenet.course.editions import student, write_notebook
from numpy_shufflenet.course.languages import edition, pieces
from numpy_shufflenet.course.lessons import Lesson, hours, source_folder
from numpy_shufflenet.course.site import glossary, lesson_page
from numpy_shufflenet.course.site.api import Reference
from numpy_shufflenet.locale import ENGLISH, FOLDER, catalogue, marked, translate

LESSONS, REFERENCE, API = marked("Lessons"), marked("Reference"), marked("API reference")
UNTRANSLATED = marked("**This page is not translated yet.** Here is the English text.")

PARTS = (
    (
        marked("Begin"),
        range(2),
        marked("How the course works, and the chain rule: every gradient follows from it."),
    ),
    (
        marked("The operations"),
        range(2, 9),
        marked("Each operation forward and backward, as loops and in NumPy."),
    ),
    (
        marked("Verification"),
        range(9, 10),
        marked("How to tell a right gradient from a wrong one."),
    ),
    (
        marked("The networks"),
        range(10, 14),
        marked("Units, costs and guidelines: from V1 to V2."),
    ),
    (
        marked("Practice"),
        range(14, 18),
        marked("Real images, speed, and other people's weights."),
    ),
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
    """Write the sources, with the teacher's guide if it exists, in the language of the lessons."""
    language = lessons[0].language if lessons else ENGLISH
    reference.write(folder / "api")
    for name in ("lessons", "notebooks"):
        (folder / name).mkdir()
    for lesson in lessons:
        notebook = lesson_page.executed(lesson, executed)
        page = lesson_page.lesson_page(lesson, notebook)
        write_notebook(page, folder / "lessons" / f"{lesson.name}.ipynb")
        write_notebook(student(lesson), folder / "notebooks" / f"{lesson.name}.ipynb")
        done(lesson.name)
    terms = glossary.glossary_page(lessons, reference.link, language)
    (folder / "glossary.rst").write_text(terms, "utf-8")
    own = Path(__file__).with_name("numbers.md")
    pages = [own, guide] if guide.exists() else [own]
    for page in pages:
        text = markdown_page(page, language)
        (folder / page.name).write_text(text, "utf-8")
    reference_title = translate(API, language)
    others = ["glossary", *(page.stem for page in pages), f"{reference_title} <api/index>"]
    (folder / "index.md").write_text(landing(lessons, others, language), "utf-8")
    theme = Path("locale", language, "LC_MESSAGES", "sphinx.po")
    if (FOLDER.parent / theme).exists():  # Sphinx compiles it, and the package may be read-only
        (folder / theme).parent.mkdir(parents=True)
        shutil.copy(FOLDER.parent / theme, folder / theme)


def markdown_page(path: Path, language: str) -> str:
    """Return a page in a language; in English if it isn't translated, and a line that says so."""
    text = path.read_text("utf-8")
    if language == ENGLISH:
        return text
    texts = edition.texts_of(source_folder() / path.name, language)
    if texts is None:
        title, _, rest = text.partition("\n")
        return f"{title}\n\n{translate(UNTRANSLATED, language)}\n{rest}"
    return pieces.replaced("markdown", text, texts)


def landing(lessons: Sequence[Lesson], others: Sequence[str], language: str = ENGLISH) -> str:
    """Return the landing page in Markdown, with a map of the course and a list of all pages."""
    template = Path(__file__).with_name("landing.md").read_text("utf-8")
    if language != ENGLISH:
        template = pieces.replaced("markdown", template, catalogue(language))
        template = template.replace("course start", f"course start --language {language}")
    names = [f"lessons/{lesson.name}" for lesson in lessons]
    tables = _toctree(translate(LESSONS, language), names)
    tables += _toctree(translate(REFERENCE, language), others)
    for mark, text in {
        "map": _map(lessons, language),
        "first": names[0],
        "count": str(len(lessons)),
        "hours": str(hours(lessons)),
        "pages": tables,
    }.items():
        template = template.replace(f"<<{mark}>>", text)
    return template


def _map(lessons: Sequence[Lesson], language: str) -> str:
    """Return a card for each lesson, grouped by part."""
    lines = []
    for title, numbers, about in PARTS:
        part = [lesson for lesson in lessons if lesson.number in numbers]
        if not part:
            continue
        lines += [f"### {translate(title, language)}", "", translate(about, language), ""]
        lines += ["::::{grid} 1 2 2 2", ":gutter: 2", ""]
        for lesson in part:
            lines += [
                f":::{{grid-item-card}} {lesson.number}. {lesson.topic}",
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
