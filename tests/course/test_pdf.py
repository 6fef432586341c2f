"""Lessons on paper: what stands where, and what Chromium makes of it."""

import io
import re
import unicodedata

import nbformat
import pytest
from browser import find_chromium
from peers import need

from numpy_shufflenet import cli
from numpy_shufflenet.course import editions, lessons, tasks
from numpy_shufflenet.course.export import deck, pdf

need("nbconvert")
(LESSON,) = lessons.find([8])


@pytest.fixture(scope="module")
def page():
    notebook = editions.solution(LESSON)
    picture = next(cell for cell in notebook.cells if "step_through" in cell.source)
    html = "<p>a still picture</p><script>moves()</script>"
    picture.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    return pdf.page_of(LESSON, notebook)


def test_hints_and_answers_stand_at_the_end(page):
    folded = sum(len(deck.DETAILS.findall(cell.source)) for cell in LESSON.read().cells)
    expected = folded + len(tasks.tasks(LESSON))
    text, _, end = page.partition("Hints and answers")
    assert re.findall(r'href="#answer-(\d+)"', text) == [str(i + 1) for i in range(expected)]
    assert re.findall(r'id="answer-(\d+)"', end) == [str(i + 1) for i in range(expected)]
    assert "<details" not in page
    assert "solved_" not in text
    assert "solved_" in end


def test_paper_has_no_scripts_and_loads_nothing(page):
    assert "a still picture" in page
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page.partition("<body")[0])


def test_solutions_can_be_left_out():
    page = pdf.page_of(LESSON, editions.solution(LESSON), solutions=False)
    assert "Hint 1" in page
    assert "solved_" not in page


def test_chromium_numbers_the_pages(page):
    find_chromium()
    reader = need("pypdf").PdfReader(io.BytesIO(pdf.printed(pdf.find_browser(), page)))
    pages = [unicodedata.normalize("NFKC", sheet.extract_text()) for sheet in reader.pages]
    assert len(pages) > 3
    for number, text in enumerate(pages, start=1):
        assert f"{number} / {len(pages)}" in text
        assert LESSON.title in text


def test_a_missing_or_failing_browser_is_named(monkeypatch, tmp_path, capsys):
    with pytest.raises(RuntimeError, match="false made no PDF"):
        pdf.printed("false", "<p>a page</p>")
    monkeypatch.setenv("PATH", "")
    command = ["course", "build", "--edition", "pdf", "--lessons", "8", "--out", str(tmp_path)]
    assert cli.main(command) == 2
    assert "needs Chromium or Chrome, but PATH has none of" in capsys.readouterr().err
    assert not list((tmp_path / "pdf").iterdir())
