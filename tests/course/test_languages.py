"""Editions in other languages: one source of code, and translated text beside it."""

import pytest

from numpy_shufflenet import cli, locale
from numpy_shufflenet.course.languages import catalogues, checks, code, pieces, report, terms
from numpy_shufflenet.course.lessons import lessons

ENGLISH = lessons()

# Files of translators


def test_every_file_is_complete_and_has_the_markup_of_its_source():
    states = report.update_files("zh_CN", check=True)
    assert {s.source.name for s in states if s.exists} >= {"messages", "site", "00_start_here"}
    assert [p for s in states for p in (*s.problems, *s.missing_messages)] == []
    assert all(state.translated == len(state.source.messages) for state in states if state.exists)


def test_what_was_changed_in_english_only_is_reported(tmp_path, monkeypatch, capsys):
    old = "The first and the last channel never move."
    source = catalogues.Source("a_lesson", {old: "", "Recap": "heading"}, tmp_path / "a.po", True)
    monkeypatch.setattr(catalogues, "sources", lambda language: [source])
    run = ["course", "translate", "--language", "zh_CN"]
    assert cli.main(run) == 0
    catalogue = catalogues.read(source.path)
    catalogue.get(old).string = "第一个和最后一个通道始终不动。"
    catalogue.get("Recap").string = "回顾"
    catalogues.write(catalogue, source, "zh_CN")
    assert cli.main([*run, "--check"]) == 0
    assert "a_lesson" in capsys.readouterr().out

    new = old.replace("channel never", "channel of x never")
    source.messages.clear()
    source.messages.update({"A new sentence.": "", new: ""})
    before = source.path.read_bytes()
    assert cli.main([*run, "--check"]) == 1
    said = capsys.readouterr().out
    assert f"a_lesson: changed in English: {new!r}" in said
    assert "a_lesson: not translated: 'A new sentence.'" in said
    assert "a_lesson: no longer in the source: 'Recap'" in said
    assert source.path.read_bytes() == before

    for _ in range(2):  # a second update keeps what the first has marked
        assert cli.main(run) == 0
        written = source.path.read_text("utf-8")
        assert f'#, fuzzy\n#| msgid "{old}"\nmsgid "{new}"\nmsgstr "第一个' in written
        assert "Recap" not in written
        assert locale.read_po(source.path) == {}


def test_a_message_that_another_file_has_is_entered():
    new = catalogues.updated(
        catalogues.read(ENGLISH[0].source.parent / "none.po"), {"a": ""}, {"a": "甲"}
    )
    assert new.get("a").string == "甲"


def test_names_that_mean_no_file_are_refused(capsys):
    assert cli.main(["course", "translate", "99", "--language", "zh_CN"]) == 2
    assert "there is no '99'; there are messages, site, 00_start_here" in capsys.readouterr().err


def test_what_reads_the_files_at_run_time_agrees_with_babel():
    paths = [*locale.FOLDER.rglob("*.po"), *ENGLISH[0].source.parent.glob("*/*.po")]
    assert len(paths) >= 4
    for path in paths:
        assert locale.read_po(path) == catalogues.translations([catalogues.read(path)])


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", 'msgid "a" "b"', 'msgtxt "a"'])
def test_a_line_that_is_none_of_a_po_file_is_named(tmp_path, line):
    path = tmp_path / "lesson.po"
    path.write_text(f'msgid "a"\n{line}\nmsgstr "b"\n')
    with pytest.raises(ValueError, match=f"lesson.po: this is no line of a PO file: {line}"):
        locale.read_po(path)


@pytest.mark.parametrize(
    ("message", "text", "kind", "said"),
    [
        ("Use `dy`.", "使用 `dx`。", "", "code spans"),
        ("The [map](a.html).", "[地图](b.html)。", "", "code spans, links"),
        ("**Yes.** No", "**是。**不", "", "emphasis"),
        ("It is $a b$.", "它是 $a c$。", "", "formulas"),
        ("{name} is 0", "{nam} 是 0", "", "placeholders"),
        ("| a | b |", "| 甲 |", "", "cells"),
        ("{n} images", "{m} 幅图像", "f-string", "fields"),
        ("{n} images", "{n 幅图像", "f-string", "isn't Python"),
        ("\nnone", "没有", "string", "line breaks"),
        ("Picture: a boot", "一只靴子", "comment", "图"),
        ("No, never", "不,决不", "", "half-width"),
    ],
)
def test_a_translation_that_breaks_its_source_is_named(message, text, kind, said):
    assert any(said in problem for problem in checks.faults_of(message, text, kind))


def test_a_right_translation_has_no_problem():
    right = (
        ("**Use** `dy`, see [map](a) and $x$", "见[地图](a)，$x$：**用** `dy`", ""),
        ("{'right' if ok else 'wrong'}: {n:>20}", "{n:>18}：{'对' if ok else '错'}", "f-string"),
    )
    for case in right:
        assert list(checks.faults_of(*case)) == []


def test_terms_are_those_of_the_glossary():
    assert list(terms.warnings_of("two group convolutions", "两个组卷积")) == []
    assert list(terms.warnings_of("two group convolutions", "两个群卷积")) == [
        "'group convolution' is 分组卷积"
    ]
    assert list(terms.warnings_of("use the stride", "使用 stride")) == []


# Pieces


def test_pieces_of_markdown():
    source = (
        "### Exercise: it &#9679;&#9675;&#9675;\n\nA line\nand more.\n- one\n  goes on\n- `x`\n\n"
        "<details>\n<summary>1. Why?</summary>\n\n| an ox | c |\n|---|---|\n\n```sh\nls here\n```\n"
        ":::{card} Goal\nend\n:::"
    )
    found = [piece.message for piece in pieces.pieces("markdown", source)]
    assert found == [
        *("Exercise: it", "A line and more.", "one goes on", "Why?", "| an ox | c |", "Goal", "end")
    ]
    new = pieces.replaced("markdown", source, {"A line and more.": "一行。", "Why?": "为什么？"})
    assert "&#9675;\n\n一行。\n- one\n  goes on\n- `x`\n" in new
    assert "<summary>1. 为什么？</summary>" in new


def test_pieces_of_code():
    source = (
        "# Two\n# lines\ncolour = 'white'  # noqa\nd = {'no shuffle': 1, 'shuffle': 2}\n"
        "def f(x):\n    '''Say it.\n\n    Well.\n    '''\n"
        "    print('yes', f'{x:3} of {d[\"k\"]}')\n"
        "plt.plot(x, label='loss', color='dark red')\nf('one_name')\n"
    )
    found = [(piece.message, piece.kind) for piece in pieces.pieces("code", source)]
    assert found == [
        ("Two lines", "comment"),
        ("no shuffle", "string"),
        ("shuffle", "string"),
        ("Say it.\n\nWell.", "docstring"),
        ("yes", "string"),
        ("loss", "string"),
    ]
    new = pieces.replaced("code", source, {"Two lines": "两行", "shuffle": '"混"', "loss": "损失"})
    assert new.startswith("# 两行\ncolour")
    assert r"'no shuffle': 1, " + r'"\"混\"": 2' in new
    with pytest.raises(ValueError, match="the translated cell is another program"):
        code.require_same_program("f'{a} b'", "f'{b} b'")
