"""The site: a small one is built, and read as its readers do, in a real browser."""

import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from browser import browser, served
from peers import need

from numpy_shufflenet import ops
from numpy_shufflenet.course.lessons import find

need("sphinx")
need("myst_nb")
need("sphinx_copybutton")

from numpy_shufflenet.course.site import checks  # noqa: E402
from numpy_shufflenet.course.site.build import build_site  # noqa: E402

BEGIN, SHUFFLE = find([0, 8])
PAGES = (
    "index.html",
    f"lessons/{BEGIN.name}.html",
    f"lessons/{SHUFFLE.name}.html",
    "glossary.html",
    "numbers.html",
    "teachers_guide.html",
    "api/index.html",
    "api/ops.html",
    "api/ops.channel_shuffle.html",
    "api/commands.html",
    "_modules/numpy_shufflenet/ops/channel_shuffle.html",
    "genindex.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Made from the solution edition, which another process builds."""
    room = tmp_path_factory.mktemp("course")
    command = [sys.executable, "-m", "numpy_shufflenet", "course", "build", "--edition", "solution"]
    options = ["--lessons", f"{BEGIN.number},{SHUFFLE.number}", "--out", str(room)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    out = room / "site"
    build_site(out, [BEGIN, SHUFFLE], executed=room / "solution", packages=("ops", "steps"))
    return out


@pytest.fixture(scope="module")
def tab():
    with browser() as page:
        yield page


@pytest.fixture
def visit(site, tab):
    """Open pages; whatever is loaded must come from the site, and nothing may be logged."""
    with served(site) as root:

        def open_page(name, **look):
            tab.look_like(**look)
            tab.open(root + name)
            assert tab.errors == []
            return tab

        yield open_page
        assert tab.errors == []
        assert [url for url in tab.requests if not url.startswith((root, "data:"))] == []


def text_of(path):
    return re.sub(r"<[^>]*>", "", path.read_text("utf-8"))


@pytest.mark.parametrize("name", PAGES)
def test_pages_load_without_a_word_from_outside(visit, name):
    page = visit(name, width=1280, dark=False)
    for width, dark in ((1280, False), (390, True)):
        page.look_like(width=width, dark=dark)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert page.evaluate("document.querySelectorAll('h1').length") == 1


def test_buttons_of_a_phone_are_apart_and_large(visit):
    page = visit(f"lessons/{SHUFFLE.name}.html", width=390)

    def place(selector):
        return page.evaluate(
            f"document.querySelector('{selector}').getBoundingClientRect().toJSON()"
        )

    theme, contents = (
        place(".mobile-header .theme-toggle"),
        place(".mobile-header .toc-header-icon"),
    )
    assert contents["left"] - theme["right"] >= 8
    for button in (theme, contents, place(".lesson-bar a.download")):
        assert min(button["width"], button["height"]) >= 38
    assert (
        page.evaluate(
            "getComputedStyle(document.querySelector('.lesson-bar a.download')).borderTopWidth"
        )
        == "1px"
    )


def test_code_can_be_copied_but_not_what_it_prints(visit):
    page = visit(f"lessons/{SHUFFLE.name}.html", width=1280)
    page.wait_for("document.querySelectorAll('.copybtn').length > 0")
    without = "[...document.querySelectorAll('div.cell_input div.highlight')].filter((code) =>"
    assert page.evaluate(f"{without} !code.querySelector('.copybtn')).length") == 0
    assert page.evaluate("document.querySelectorAll('.cell_output .copybtn').length") == 0


def test_pages_open_without_a_server_too(site, tab):
    for name in (f"lessons/{SHUFFLE.name}.html", "glossary.html", "api/ops.html"):
        tab.open(site / name)
        assert tab.errors == []
        assert all(url.startswith(("file:", "data:")) for url in tab.requests)


@pytest.mark.parametrize("words", ["channel shuffle", "通道混洗"])
def test_search_finds_the_shuffle(visit, words):
    page = visit("index.html", width=1280)
    page.evaluate(
        f"(() => {{ const box = document.querySelector('input[name=q]'); box.value = '{words}';"
        "box.form.submit(); })()"
    )
    page.wait_for("document.querySelectorAll('#search-results li a').length > 0")
    links = "[...document.querySelectorAll('#search-results li a')].map((a) => a.href)"
    page.wait_for(f"{links}.some((href) => href.includes('/glossary.html'))")
    if words.isascii():
        page.wait_for(f"{links}.some((href) => href.includes('/lessons/{SHUFFLE.name}.html'))")
        page.wait_for(f"{links}.some((href) => href.includes('/api/ops.channel_shuffle.html'))")
    # Leave only when the excerpts are there: whoever leaves before breaks off their requests.
    page.wait_for("document.querySelector('.search-summary').innerText.includes('finished')")
    items = "[...document.querySelectorAll('#search-results ul.search > li')]"
    page.wait_for(f"{items}.every((item) => item.querySelector('p.context, span'))")


def test_one_gets_from_the_map_to_a_lesson_and_on(visit):
    page = visit("index.html", width=1280)
    page.click(f".sd-card:has(a[href='lessons/{BEGIN.name}.html'])")
    page.wait_for(f"location.pathname.endsWith('/lessons/{BEGIN.name}.html')")
    page.wait_for("document.querySelector('a.next-page') !== null")
    page.click("a.next-page")
    page.wait_for(f"location.pathname.endsWith('/lessons/{SHUFFLE.name}.html')")


@pytest.mark.parametrize("dark", [False, True])
def test_a_moving_picture_steps_and_hovers_with_the_right_numbers(visit, dark):
    page = visit(f"lessons/{SHUFFLE.name}.html", width=1280, dark=dark)
    page.wait_for("document.querySelectorAll('.nsn-moving[data-key]:not(.live)').length === 0")
    page.evaluate(
        "document.querySelector('svg[aria-label^=\"y, channel 5\"]').closest('.nsn-moving').id"
        " = 'shown'"
    )
    x = np.arange(24.0).reshape(1, 6, 2, 2)  # as in the lesson
    y, _ = ops.channel_shuffle_forward(x, 3)
    said = "document.querySelector('#shown .scene:not([hidden]) .sum').textContent"
    for channel, row, column in ((0, 0, 0), (1, 1, 0), (4, 0, 1)):
        svg = f"#shown svg[aria-label^='y, channel {channel}']"
        first = page.evaluate(f'+document.querySelector("{svg}").dataset.first')
        page.hover(f"#shown [data-e='{first + 2 * row + column}']")
        sentence = page.evaluate(said)
        assert sentence.startswith(f"y[0,{channel},{row},{column}]")
        assert float(sentence.split("=")[-1]) == y[0, channel, row, column]
    page.click("#shown .bar > button:nth-of-type(3)")
    place = page.evaluate("document.querySelector('#shown .bar output').textContent")
    step = int(re.search(r"step (\d+) of 24", place)[1])  # the last one hovered over, and one more
    index = np.unravel_index(step - 1, y.shape)
    assert page.evaluate(said).startswith(f"y[{','.join(map(str, index))}]")
    assert float(page.evaluate(said).split("=")[-1]) == y[index]


def test_text_can_be_read_in_both_themes(visit):
    """Contrast of text with what lies behind it, by the formula of WCAG 2: at least 4.5."""
    for dark in (False, True):
        page = visit(f"lessons/{BEGIN.name}.html", width=1280, dark=dark)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert [pair for pair in found if pair[1] < 4.5] == []


CONTRASTS = """(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = rgb(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(
    'article p, article li, article summary, article pre span, article a, article td, article h2'
  )].filter((node) => node.offsetParent && node.textContent.trim() && !node.closest('.nsn-moving'))
    .map((node) => {
      const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
      return [node.textContent.slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
})()"""


def test_a_solution_is_folded_with_what_the_check_says_and_an_exercise_is_blank(site):
    page = (site / f"lessons/{SHUFFLE.name}.html").read_text("utf-8")
    parts = re.split(r'(?=<div class="cell )', page)
    exercises = [part for part in parts if part.startswith('<div class="cell tag_exercise')]
    solutions = [part for part in parts if part.startswith('<div class="cell tag_solution')]
    assert len(exercises) == len(solutions) == 3
    for part in exercises:
        assert "my_" in part
        assert "cell_output" not in part
    for part in solutions:
        assert part.index("<details") < part.index("solved_") < part.index("cell_output")
        assert part.index("cell_output") < part.index("</details>")
    assert "open the next cell" not in page


def test_each_lesson_offers_the_students_notebook(site):
    for lesson in (BEGIN, SHUFFLE):
        path = site / f"lessons/{lesson.name}.html"
        link = re.search(r'href="([^"]*\.ipynb)"', path.read_text("utf-8"))[1]
        notebook = nbformat.read((path.parent / link).resolve(), as_version=4)
        expected = {"lesson": lesson.name, "edition": "student", "minutes": lesson.minutes}
        assert notebook.metadata.numpy_shufflenet == expected


def test_the_reference_says_what_docstrings_say(site):
    page = text_of(site / "api/ops.channel_shuffle.html")
    assert "y[:, j g + i] = x[:, i n + j]" in page
    assert "x : array, shape (n, c, h, w), float32 or float64" in page
    assert "ShuffleNet V1, section 3.1 and figure 1." in page
    source = "../_modules/numpy_shufflenet/ops/channel_shuffle.html"
    html = (site / "api/ops.channel_shuffle.html").read_text("utf-8")
    for name in ("channel_shuffle_forward", "channel_unshuffle_backward", "ChannelShuffleCache"):
        assert f'id="numpy_shufflenet.ops.channel_shuffle.{name}"' in html
        assert f'href="{source}#{name}"' in html


def test_a_site_is_replaced_and_nothing_else_is(site, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="holds other files than a site"):
        build_site(tmp_path, [BEGIN], packages=["ops"])
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_a_notebook_of_another_source_is_refused(tmp_path):
    notebook = BEGIN.read()
    nbformat.write(notebook, tmp_path / f"{BEGIN.name}.ipynb")
    with pytest.raises(ValueError, match="doesn't fit"):
        build_site(tmp_path / "site", [BEGIN], executed=tmp_path, packages=["ops"])
    assert not (tmp_path / "site").exists()
    assert [path.name for path in tmp_path.iterdir()] == [f"{BEGIN.name}.ipynb"]


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<a href='b.html'>b</a>", "links to b.html: there is no such file"),
        ("<a href='#x'>x</a>", "links to #x: the page has no id 'x'"),
        ("<a href='../a.html'>a</a>", "there is no such file"),
        ("<script src='https://example.org/a.js'></script>", "from outside"),
        ("<link rel='stylesheet' href='//example.org/a.css'>", "from outside"),
        ("<img src='a.png'>", "which isn't there"),
        ("<p style='background: url(https://example.org/a.png)'>", "from outside"),
    ],
)
def test_the_checker_sees(tmp_path, html, problem):
    (tmp_path / "index.html").write_text(f"<h1 id='top'>A</h1><a href='#top'>up</a>{html}")
    (found,) = checks.problems_of(tmp_path)
    assert problem in found


def test_the_checker_lets_pass_what_is_right(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text(
        "<h1 id='top'>A</h1><a href='#top'>up</a><a href='index.html#top'>up</a>"
        "<a href='https://example.org/'>out</a><img src='data:image/png;base64,'>"
        "<svg style='fill: url(#g)'></svg>"
    )
    assert checks.problems_of(tmp_path) == []
    monkeypatch.chdir(tmp_path.parent)
    assert checks.problems_of(tmp_path.relative_to(tmp_path.parent)) == []
    (tmp_path / "a.css").write_text("@import 'https://example.org/font.css';")
    assert len(checks.problems_of(tmp_path)) == 1
