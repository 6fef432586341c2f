"""Slides: each executed lesson as HTML for reveal.js, in a folder that needs no network."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import Done
from numpy_shufflenet.course.export import deck
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.course.site.lesson_page import SOLUTION, executed, with_outputs
from numpy_shufflenet.locale import translate

TEMPLATES = Path(__file__).with_name("templates")
REVEAL = "reveal.js"
PARTS = (
    "LICENSE",
    "dist/reveal.css",
    "dist/reveal.js",
    "dist/theme/white.css",
    "dist/theme/fonts/source-sans-pro",
    "plugin/notes/notes.js",
)
SIZE = (1280, 720)  # of a slide, in pixels; the browser scales it to the screen


def build_slides(
    out: Path, lessons: Sequence[Lesson], done: Done, *, executed: Path | None = None
) -> None:
    """Write the slides of some lessons, and reveal.js beside them.

    Parameters
    ----------
    out : Path
        A folder that exists.
    lessons : sequence of Lesson
    done : callable
        Receives the name of each lesson after its slides have been written.
    executed : Path
        A folder with the solution edition, whose notebooks don't run again.

    Raises
    ------
    ImportError
        If nbconvert or sphinx-revealjs, whose copy of reveal.js is used, is not installed.
    ValueError
        If a notebook in `executed` doesn't fit the source of its lesson.
    """
    need("nbconvert", "making slides", extra="slides")  # before notebooks run for minutes
    _copy_reveal(out / REVEAL)
    for lesson in lessons:
        write_bytes(out / f"{lesson.name}.html", slides_of(lesson, executed).encode())
        done(lesson.name)


def slides_of(lesson: Lesson, folder: Path | None = None) -> str:
    """Return the page with the slides of a lesson; it loads reveal.js from `REVEAL` beside it."""
    cells = with_outputs(lesson, executed(lesson, folder)).cells
    made = deck.slides(cells, translate(SOLUTION, lesson.language))
    settings = {
        "reveal_url_prefix": REVEAL,
        "reveal_theme": "white",
        "reveal_width": str(SIZE[0]),
        "reveal_height": str(SIZE[1]),
        "log": logging.getLogger("nbconvert.quiet"),
    }
    return export("SlidesExporter", "slides", deck.notebook(made), lesson, **settings)


def export(kind: str, template: str, notebook: Any, lesson: Lesson, **settings: Any) -> str:
    """Return a notebook of a lesson as HTML, by an exporter of nbconvert and a template of ours."""
    exporter = getattr(need("nbconvert", "making slides and PDF", extra="slides"), kind)(
        template_name=template,
        extra_template_basedirs=[str(TEMPLATES)],
        language_code=lesson.language.replace("_", "-"),
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        **settings,
    )
    notebook.metadata.title = lesson.title
    text: str
    text, _ = exporter.from_notebook_node(notebook)
    return text


def _copy_reveal(folder: Path) -> None:
    """Copy what slides need of reveal.js; complete parts that exist stay."""
    package = need("sphinx_revealjs", "making slides", extra="slides")
    source = Path(package.__file__).parent / "_static" / "revealjs"
    for part in PARTS:
        if not (source / part).exists():
            raise ImportError(
                f"sphinx_revealjs has no {part}: install sphinx-revealjs 3, which has reveal.js 5"
            )
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target, dirs_exist_ok=True)
        else:
            write_bytes(target, (source / part).read_bytes())
