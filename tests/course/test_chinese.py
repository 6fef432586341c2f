"""The Chinese edition: lessons, verdicts and figures."""

import ast
import os
import re
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from numpy_shufflenet import cli, exercises, locale, zoo
from numpy_shufflenet.course import editions, nbgrader, tasks
from numpy_shufflenet.course.lessons import lessons
from numpy_shufflenet.plots import fonts
from numpy_shufflenet.zoo import sizes

CHINESE = re.compile("[\u4e00-\u9fff]")
ENGLISH = lessons()
TRANSLATED = [lesson for lesson in lessons("zh_CN") if lesson.texts is not None]
each = pytest.mark.parametrize("lesson", TRANSLATED, ids=lambda lesson: lesson.name)


@pytest.fixture
def chinese(monkeypatch):
    """Let messages be Chinese, as the first cell of a notebook does."""
    monkeypatch.setattr(locale, "_chosen", ["zh_CN"])


# Lessons


def blanked(source):
    """The program without its strings; an f-string is the set of its fields."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            fields = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            node.values = sorted(fields, key=ast.dump)
    return ast.dump(tree)


@each
def test_a_translated_lesson_has_the_same_code(lesson):
    english = ENGLISH[lesson.number]
    notebook = lesson.read()
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if "-cell-" in cell.id]
    assert [cell.id for cell in cells] == [cell.id for cell in english.read().cells]
    changed = 0
    for cell, original in zip(cells, english.read().cells, strict=True):
        assert cell.metadata == original.metadata
        if cell.cell_type == "code":
            assert blanked(cell.source) == blanked(original.source)
            changed += cell.source != original.source
        elif re.search(r"\w{3} \w{3}", original.source):
            assert CHINESE.search(cell.source), original.source
    assert changed >= 5


@each
def test_editions_of_a_translated_lesson_are_chinese(lesson):
    assert CHINESE.search(lesson.title)
    assert all(CHINESE.search(point) for point in lesson.goal)
    english, chinese = tasks.tasks(ENGLISH[lesson.number]), tasks.tasks(lesson)
    assert [(t.functions, t.points, len(t.hints)) for t in chinese] == [
        (t.functions, t.points, len(t.hints)) for t in english
    ]
    notebook = editions.student(lesson)
    assert notebook.cells[1].source.endswith('exercises.language("zh_CN")')
    text = nbformat.writes(notebook)
    assert "打开下一个单元格" not in text
    assert text.count("<summary>答案（先自己试") == len(chinese)
    assert "打开下一个单元格" not in nbformat.writes(editions.solution(lesson))
    locked = [c for c in nbgrader.assignment(lesson).cells if "nbgrader" in c.metadata]
    assert len(locked) == 2 * len(chinese)


def test_a_lesson_without_a_translation_says_so(tmp_path):
    source = tmp_path / ENGLISH[3].source.name
    source.write_bytes(ENGLISH[3].source.read_bytes())
    lesson = replace(ENGLISH[3], source=source, language="zh_CN")
    cells = editions.student(lesson).cells
    assert cells[0].source == editions.student(ENGLISH[3]).cells[0].source
    assert cells[1].source.startswith("**这一课还没有中文译文**")
    assert "exercises.language" in cells[2].source


def test_start_writes_the_chinese_edition(tmp_path, capsys):
    assert cli.main(["course", "list", "--language", "zh_CN"]) == 0
    first = TRANSLATED[0]
    title = f"{first.title} ({first.minutes} min)"
    assert f"{title}\n    {first.goal[0]}" in capsys.readouterr().out
    assert cli.main(["course", "start", str(tmp_path), "--no-lab", "--language", "zh_CN"]) == 0
    notebook = nbformat.read(tmp_path / f"{TRANSLATED[0].name}.ipynb", 4)
    assert notebook.metadata.numpy_shufflenet.language == "zh_CN"
    assert TRANSLATED[0].title in notebook.cells[0].source


# Messages


def wrong_shuffle_backward(dy, groups):
    n, c, h, w = dy.shape
    return dy.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(n, c, h, w)


def test_a_chinese_verdict(chinese):
    with pytest.raises(exercises.NotYet) as caught:
        exercises.check("channel_shuffle_backward", wrong_shuffle_backward, examples=10)
    said = str(caught.value)
    assert re.search(r"dx\[.*\] 是 \S+，应为 \S+；\d+ 个元素中有 \d+ 个是错的", said)
    assert "可能的原因：你像移动通道那样移动了梯度；应该用逆置换把它们移回去" in said
    assert "不通过的最小用例：" in said
    page = caught.value.result._repr_html_()
    assert "✗ 还不对：channel_shuffle_backward。" in page
    assert not re.search("cause|target|yours", re.sub("<style>.*</style>", "", page, flags=re.S))


def test_the_language_comes_from_the_environment_or_the_notebook(monkeypatch, capsys):
    monkeypatch.setattr(locale, "_chosen", [])
    assert locale._("no message") == "no message"
    monkeypatch.setenv(locale.VARIABLE, "zh_CN")
    assert locale._("no message") == "没有信息"
    with plt.rc_context():
        exercises.language("en")
    assert locale._("no message") == "no message"
    with pytest.raises(ValueError, match="there is no language 'fr'; there are en, zh_CN"):
        exercises.language("fr")
    assert capsys.readouterr().out == ""


def test_sizes_keep_apart_in_chinese(chinese):
    case = (
        {"dy": np.ones((2, 4, 3, 5)), "x": np.ones((3, 2, 6, 7)), "w": np.ones((4, 2, 3, 3))},
        {},
    )
    known = sizes.sizes_of(case)
    locale.set_language("en")
    assert len(known) == len(sizes.sizes_of(case)) == 15
    assert all(map(CHINESE.search, known))


def test_hints_have_one_translation_each(chinese):
    """Else two mistakes that differ would sound alike."""
    hints = {bug.hint for bug in zoo.MISTAKES.values() if bug.part in ("a", "b", "answer")}
    translated = {locale._(hint) for hint in hints}
    assert len(translated) == len(hints)
    assert all(map(CHINESE.search, translated))


# Figures


def draw_chinese():
    figure = plt.figure()
    figure.suptitle("通道混洗：前向和反向，“负数” -1")
    figure.add_subplot().plot([-1, 1])
    figure.canvas.draw()
    plt.close(figure)


def test_figures_show_chinese():
    with plt.rc_context():
        said = fonts.use_font_for("zh_CN")
        if said and not os.environ.get("CI"):
            pytest.skip(said)
        assert said == ""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_chinese()


def test_boxes_in_place_of_characters_are_noticed():
    with plt.rc_context({"font.family": fonts.LATIN}), pytest.warns(match="Glyph .* missing"):
        draw_chinese()


def test_what_to_install_is_said_where_there_is_no_font(monkeypatch, capsys):
    monkeypatch.setattr(fonts, "FONTS", {"zh_CN": ("No Such Font",)})
    monkeypatch.setattr(locale, "_chosen", [])
    exercises.language("zh_CN")
    assert "fonts-noto-cjk" in capsys.readouterr().out
