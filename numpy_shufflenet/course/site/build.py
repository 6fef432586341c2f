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
    offline_runtime: str | os.PathLike[str] | None = None,
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
    offline_runtime : path
        A folder with the files of a Pyodide release, which become part of the site. By default,
        live exercises load Python from Pyodide's CDN.
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
        If `out` has files that don't belong to a site, a notebook in `executed` doesn't fit the
        source of its lesson, or `offline_runtime` lacks a file.
    RuntimeError
        If Sphinx warns, or a page has a broken link or loads a file from another host.
    """
    need("sphinx", "building the site", extra="site")
    need("sphinx_copybutton", "building the site", extra="site")
    from numpy_shufflenet.course.site import api, checks, pages, runtime

    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "objects.inv").exists():
        raise ValueError(f"out={str(out)!r} holds other files than a site; they would be lost")
    lessons = all_lessons() if lessons is None else list(lessons)
    executed = None if executed is None else Path(executed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".site-") as folder:
        site, live = Path(folder, "site"), Path(folder, "live")
        runtime.write_runtime(live, None if offline_runtime is None else Path(offline_runtime))
        reference = api.Reference(packages or api.PACKAGES)
        editions = {some[0].language: some for some in (lessons, *translations)}
        for language, some in editions.items():
            source = Path(folder, f"source-{language}")
            pages.write_sources(
                source,
                some,
                done,
                reference=reference,
                executed=executed,
                guide=source_folder() / GUIDE,
            )
            _run_sphinx(
                source,
                site if language == lessons[0].language else site / language,
                Path(folder, f"doctrees-{language}"),
                language=language,
                reference=reference,
                languages=tuple(editions),
            )
        live.rename(site / "_static/live")
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
