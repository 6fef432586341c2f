"""PDF: each executed lesson on paper, printed by Chromium.

Hints and answers stand at the end of the lesson, so that a reader thinks first.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import Done, tags
from numpy_shufflenet.course.export.deck import DETAILS
from numpy_shufflenet.course.export.slides import export
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.course.site import lesson_page
from numpy_shufflenet.course.tasks import split_cell
from numpy_shufflenet.locale import marked, translate

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 300
SEE = marked("see {number} at the end")
END = marked("Hints and answers")
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)


def build_pdf(
    out: Path,
    lessons: Sequence[Lesson],
    done: Done,
    *,
    executed: Path | None = None,
    solutions: bool = True,
) -> None:
    """Write a PDF of each lesson.

    Parameters
    ----------
    out : Path
        A folder that exists.
    lessons : sequence of Lesson
    done : callable
        Receives the name of each lesson after its PDF has been written.
    executed : Path
        A folder with the solution edition, whose notebooks don't run again.
    solutions : bool
        Whether the solutions of exercises stand at the end.

    Raises
    ------
    FileNotFoundError
        If Chromium is not installed.
    ImportError
        If nbconvert is not installed.
    RuntimeError
        If Chromium fails.
    ValueError
        If a notebook in `executed` doesn't fit the source of its lesson.
    """
    browser = find_browser()
    need("nbconvert", "making a PDF", extra="slides")  # before notebooks run for minutes
    for lesson in lessons:
        notebook = lesson_page.executed(lesson, executed)
        page = page_of(lesson, notebook, solutions=solutions)
        write_bytes(out / f"{lesson.name}.pdf", printed(browser, page))
        done(lesson.name)


def find_browser() -> str:
    """Return the path of Chromium or Chrome; FileNotFoundError if there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise FileNotFoundError(
            "making a PDF needs Chromium or Chrome, but PATH has none of " + ", ".join(BROWSERS)
        )
    return found


def page_of(lesson: Lesson, notebook: Any, *, solutions: bool = True) -> str:
    """Return a lesson as HTML for paper, from its executed solution edition."""
    page = lesson_page.with_outputs(lesson, notebook)
    page.cells = paper(page.cells, lesson.language, solutions=solutions)
    return export("HTMLExporter", "paper", page, lesson)


def paper(cells: Sequence[Any], language: str, *, solutions: bool = True) -> list[Any]:
    """Return the cells of a lesson's page, with hints and answers moved to the end."""
    new = need("nbformat", "a notebook").v4.new_markdown_cell
    see = translate(SEE, language)
    last: list[str] = []
    made = []

    def moved(title: str, text: str) -> str:
        number = len(last) + 1
        last.append(f'<a id="answer-{number}"></a>**{number}. {title}**\n\n{text}')
        return f"**{title}** ([{see.format(number=number)}](#answer-{number}))"

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = DETAILS.sub(lambda match: moved(*match.groups()), cell.source)
        elif "remove-cell" in tags(cell):
            continue
        elif "solution" in tags(cell):
            if not solutions:
                continue
            code = f"```python\n{split_cell(cell.source)[0]}\n```"
            cell = new(moved(translate(lesson_page.SOLUTION, language), code), id=cell.id)
        else:
            cell.outputs = [
                still(output) for output in cell.outputs if output.get("name") != "stderr"
            ]
            if "hide-input" in tags(cell):
                cell.metadata.tags = ["no-code"]
        made.append(cell)
    made += [new("\n\n".join([f"## {translate(END, language)}", *last]), id="answers")]
    return made


def still(output: Any) -> Any:
    """Return the output of a cell without scripts: a moving picture is two still ones."""
    if "text/html" in output.get("data", {}):
        output.data["text/html"] = SCRIPT.sub("", output.data["text/html"])
    return output


def printed(browser: str, page: str) -> bytes:
    """Return a page of HTML as PDF.

    Raises
    ------
    RuntimeError
        If the browser makes no PDF within `SECONDS`.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        html, pdf = Path(folder, "page.html"), Path(folder, "page.pdf")
        html.write_text(page, "utf-8")
        options = ["--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]
        # Within containers Chromium's sandbox doesn't start; the page is ours and has no script.
        options += ["--no-sandbox", f"--user-data-dir={folder}/profile"]
        command = [browser, *options, f"--print-to-pdf={pdf}", html.as_uri()]
        try:
            run = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{browser} made no PDF within {SECONDS} s") from None
        if not pdf.exists():
            said = run.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"{browser} made no PDF: {said}")
        return pdf.read_bytes()
