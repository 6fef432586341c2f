"""What the lessons, the teacher's guide and the README say is linted; each linter sees a fault."""

import subprocess
from pathlib import Path

import prose
import pytest

from numpy_shufflenet.course.lessons import lessons

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
PAGES = {lesson.name: prose.of_lesson(lesson.source.read_text("utf-8")) for lesson in lessons()}
PAGES |= {path.name: path.read_text("utf-8") for path in sorted(NOTEBOOKS.glob("*.md"))}
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed(name):
    page = PAGES[name]
    assert not [*prose.wrong_headings(page)]
    assert not [*prose.tex(page)]
    assert not [*prose.wrong_links(page, NOTEBOOKS)]
    assert not [*prose.unnamed_pictures(page)]
    assert not [*prose.wrong_names(page)]


def test_so_is_the_readme():
    assert not [*prose.wrong_headings(README)]
    assert not [*prose.wrong_links(README, ROOT)]
    assert not [*prose.unnamed_pictures(README)]
    assert not [*prose.wrong_names(README)]


def test_words_are_spelt_as_a_dictionary_has_them():
    assert not prose.wrong_spelling(NOTEBOOKS, ROOT / "README.md", ROOT / "numpy_shufflenet")


def test_sources_have_no_outputs():
    run = ["git", "-C", str(ROOT), "ls-files", "notebooks"]
    tracked = subprocess.run(run, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    assert {Path(name).suffix for name in tracked.stdout.split()} <= {".py", ".md", ".png", ".po"}


GOOD = (
    "# A\n\n## B c\n\n[b](#b-c) [web](https://example.org/x) ![a boot](boot.png) "
    "`ops.relu_forward`\n"
)


@pytest.mark.parametrize(
    ("linter", "fault", "said"),
    [
        (prose.wrong_headings, "## B c\n# A\n", "one heading of level 1"),
        (prose.wrong_headings, "# A\n# B\n", "one heading of level 1"),
        (prose.wrong_headings, "# A\n### B\n", "'B' is of level 3, below one of level 1"),
        (prose.tex, "then $$a \\leftarrow b$$", "$$a \\leftarrow b$$ is TeX"),
        (prose.tex, "then \\(a\\)", "\\(a\\) is TeX"),
        (prose.wrong_links, "[x](missing.py)", "missing.py: there is no such file"),
        (prose.wrong_links, "# A\n[x](#b)", "#b: there is no such heading"),
        (prose.wrong_links, "[x](page.md#d)", "page.md#d: there is no such heading"),
        (prose.wrong_links, "[x](https:/example.org)", "https:/example.org is no address"),
        (prose.unnamed_pictures, "![](boot.png)", "boot.png has no alternative text"),
        (prose.unnamed_pictures, '<img src="boot.png">', "has no alternative text"),
        (prose.wrong_names, "`ops.relu_forwards(x)`", "`ops.relu_forwards`"),
        (prose.wrong_names, "`numpy_shufflenet.gradcheck.chekc`", "`gradcheck.chekc`"),
    ],
)
def test_a_linter_sees_a_planted_fault(linter, fault, said, tmp_path):
    (tmp_path / "page.md").write_text("# C\n")
    (tmp_path / "boot.png").touch()
    more = [tmp_path] if linter is prose.wrong_links else []
    assert not [*linter(GOOD, *more)]
    (found,) = linter(fault, *more)
    assert said in found


def test_a_spelling_mistake_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("A convolution and its gradient, with padding.\n")
    assert not prose.wrong_spelling(page)
    page.write_text("A convolution and teh gradient.\n")
    (found,) = prose.wrong_spelling(page)
    assert "teh ==> the" in found
