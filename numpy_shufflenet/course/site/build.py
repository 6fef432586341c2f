"""Builds the site: writes its sources from lessons, modules and glossary, and runs Sphinx."""

import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.lessons import Lesson, source_folder
from numpy_shufflenet.course.lessons import lessons as all_lessons

HERE = Path(__file__).parent
GUIDE = "teachers_guide.md"


def build_site(
    out: str | os.PathLike[str],
    lessons: Sequence[Lesson] | None = None,
    done: Callable[[str], None] = lambda name: None,
    *,
    executed: str | os.PathLike[str] | None = None,
    lite: bool = False,
    packages: Sequence[str] = (),
    translations: Sequence[Sequence[Lesson]] = (),
) -> None:
    """Build the site into a folder. If anything fails, the old site stays.

    Parameters
    ----------
    out : path
        A folder; it is created if it doesn't exist.
    lessons : sequence of Lesson
        The lessons of the site; None for all.
    done : callable
        Receives the name of each lesson after its page has been written.
    executed : path
        A folder with the solution edition, whose notebooks don't run again.
    lite : bool
        Whether to add JupyterLite, so that lessons run in the reader's browser. JupyterLite works
        only if the site is served by HTTP, and loads Python from a CDN when a reader opens it.
    packages : sequence of str
        Packages in the API reference; empty for all.
    translations : sequence of sequences of Lesson
        The same lessons in further languages. Each language becomes a site in a folder of `out`,
        and every page links to the same page in the other languages.

    Raises
    ------
    ImportError
        If a package is missing; the message names the extra to install.
    ValueError
        If `out` has files that don't belong to a site, or a notebook in `executed` doesn't fit the
        source of its lesson.
    RuntimeError
        If Sphinx warns, or a page has a broken link or loads a file from another host.
    """
    need("sphinx", "building the site", extra="site")
    from numpy_shufflenet.course.site import api, checks, pages
    from numpy_shufflenet.course.site import lite as in_browser

    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "objects.inv").exists():
        raise ValueError(f"out={str(out)!r} holds other files than a site; they would be lost")
    lessons = all_lessons() if lessons is None else list(lessons)
    executed = None if executed is None else Path(executed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".site-") as folder:
        site = Path(folder, "site")
        reference = api.Reference(packages or api.PACKAGES)
        editions = {some[0].language: some for some in (lessons, *translations)}
        for language, some in editions.items():
            source = Path(folder, f"source-{language}")
            target = site if language == lessons[0].language else site / language
            pages.write_sources(
                source,
                some,
                done,
                reference=reference,
                executed=executed,
                guide=source_folder() / GUIDE,
                lite=lite,
            )
            _run_sphinx(
                source,
                target,
                Path(folder, f"doctrees-{language}"),
                language=language,
                reference=reference,
                languages=tuple(editions),
            )
            if lite:
                names = [lesson.name for lesson in some if in_browser.runs(lesson)]
                in_browser.build_lite(
                    [source / "notebooks" / f"{name}.ipynb" for name in names], target / "lite"
                )
        problems = checks.problems_of(site)
        if problems:
            raise RuntimeError("\n".join(["the site has problems:", *problems]))
        if out.exists():
            shutil.rmtree(out)
        site.rename(out)


def _run_sphinx(source: Path, site: Path, doctrees: Path, **settings: Any) -> None:
    """Run Sphinx on the sources; a warning is an error."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    said = io.StringIO()
    with patch_docutils(), docutils_namespace(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the libraries of Sphinx
        sphinx = Sphinx(source, HERE, site, doctrees, "html", settings, status=None, warning=said)
        sphinx.build()
    if said.getvalue():
        raise RuntimeError(f"Sphinx warns:\n{said.getvalue()}")
