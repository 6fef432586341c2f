"""Slides: which parts of a lesson they show, and that nothing is cut off in a real browser."""

import functools
import re

import nbformat
import numpy as np
import pytest
from browser import browser
from peers import need

from numpy_shufflenet import plots
from numpy_shufflenet.course import editions, lessons, tasks
from numpy_shufflenet.course.export import deck
from numpy_shufflenet.course.site.lesson_page import with_outputs

every = pytest.mark.parametrize("lesson", lessons.lessons(), ids=lambda lesson: lesson.name)


@functools.cache
def deck_of(lesson):
    return deck.slides(with_outputs(lesson, editions.solution(lesson)).cells)


def plain(text):
    return " ".join(text.split())


@every
def test_the_audience_or_the_speaker_sees_each_paragraph(lesson):
    made = deck_of(lesson)
    seen = plain(" ".join(p for s in made for p in (s.heading, *s.text, s.answer, *s.notes)))
    for cell in lesson.read().cells:
        if cell.cell_type == "markdown":
            source = cell.source.replace("**Solution:** open the next cell.", "")
            for _, block in deck.markdown_blocks(deck.DETAILS.sub("", source)):
                assert plain(block).strip("# ") in seen
            for title, answer in deck.DETAILS.findall(source):
                assert (plain(answer) in seen) == ("Hint" not in title)


@every
def test_each_exercise_is_a_slide_with_its_solution_below(lesson):
    made = deck_of(lesson)
    asked = [i for i, s in enumerate(made) if s.cell and "exercise" in editions.tags(s.cell)]
    for place, task in zip(asked, tasks.tasks(lesson), strict=True):
        assert made[place].cell.source == task.blank
        title = next(s.heading for s in made[place::-1] if "&#9679;" in s.heading)
        assert task.title in title
        below = made[place + 1]
        assert (below.kind, below.heading) == ("subslide", "### Solution")
        assert "def solved_" in below.cell.source


def test_a_long_paragraph_becomes_its_key_sentences():
    filler = "This sentence is here to fill the paragraph until it has many characters, as most do."
    text = f"First. {filler} {filler}\n**Remember. This**, too. Then `a. B` is\nleft out. Namely:"
    assert deck.key_sentences(text) == "First. **Remember. This**, too. Namely:"
    assert deck.key_sentences("Short.\nAnd whole.") == "Short. And whole."


def test_long_output_goes_on_on_the_next_slide():
    lines = [f"line {i}" if i != 15 else "" for i in range(50)]
    parts = list(deck.portions(lines))
    assert [len(part) for part in parts] == [16, 22, 12]
    assert [line for part in parts for line in part] == lines


def test_no_slide_is_cut_off_and_nothing_comes_from_another_host(tmp_path):
    need("nbconvert")
    need("sphinx_revealjs")
    from numpy_shufflenet.course.export.slides import build_slides

    (lesson,) = lessons.find([3])
    executed = editions.solution(lesson)
    outputs = nbformat.v4
    picture = plots.step_through("conv2d", np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)))
    pages = {"text/html": picture._repr_html_()}
    printed = "\n".join("a line of what the library's source looks like" for _ in range(60))
    for cell in executed.cells:
        if "step_through" in cell.source:
            cell.outputs = [outputs.new_output("display_data", pages)]
        elif cell.source.startswith("print(inspect"):
            cell.outputs = [outputs.new_output("stream", text=printed)]
    editions.write_notebook(executed, tmp_path / f"{lesson.name}.ipynb")
    build_slides(tmp_path, [lesson], lambda name: None, executed=tmp_path)
    with browser() as page:
        page.look_like(width=1280, height=720)
        page.open(tmp_path / f"{lesson.name}.html")
        page.wait_for("window.Reveal && Reveal.isReady()")
        live = printed_on = 0
        for number in range(page.evaluate("Reveal.getTotalSlides()")):
            slide = f"Reveal.getIndices(Reveal.getSlides()[{number}])"
            page.evaluate(f"Reveal.slide(...Object.values({slide}))")
            shown = page.evaluate(
                "(() => { const slide = Reveal.getCurrentSlide();"
                "const bottoms = [...slide.children].map((c) => c.getBoundingClientRect().bottom);"
                "return { bottom: Math.max(...bottoms),"
                "wide: slide.scrollWidth - slide.offsetWidth, text: slide.innerText,"
                "live: slide.querySelectorAll('.nsn-moving.live').length}; })()"
            )
            assert 0 < shown["bottom"] <= 720
            assert shown["wide"] <= 0
            live += shown["live"]
            printed_on += "a line of what" in shown["text"]
        assert (live, printed_on) == (2, 3)
        assert page.errors == []
        assert all(url.startswith((tmp_path.as_uri(), "data:")) for url in page.requests)
    html = (tmp_path / f"{lesson.name}.html").read_text("utf-8")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", html)
