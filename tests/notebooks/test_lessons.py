"""Every lesson has the parts that a lesson has, in cells that are tagged for its editions.

A lesson is held to this if `exercises.check` checks its exercises. Lesson 11 isn't: it is about
measuring, and has one exercise.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = [
    path
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
    if "exercises.check(" in path.read_text("utf-8") and path.stem[:2] != "11"
]
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path):
    """The cells of a percent script: (header, body)."""
    parts = re.split(r"^# %%(.*)$", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return list(zip(parts[0::2], parts[1::2], strict=True))


def tags(header):
    return set(re.findall(r'"([\w-]+)"', header.partition("tags=")[2]))


def prose(path):
    return "".join(body for header, body in cells(path) if "[markdown]" in header)


@lessons
def test_the_title_has_the_number_of_the_file(path):
    number = int(path.stem[:2])
    titles = re.findall(r"^# # (.*)$", path.read_text("utf-8"), re.MULTILINE)
    assert len(titles) == 1
    assert titles[0].startswith(f"Lesson {number}: ")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.stem)
def test_a_lesson_imports_public_names_only(path):
    code = "\n".join(body for header, body in cells(path) if "[markdown]" not in header)
    assert not re.findall(
        r"^.*\bnumpy_shufflenet\S* import .*\b_\w+|^.*numpy_shufflenet\S*\._\w+.*$",
        code,
        re.MULTILINE,
    )


@lessons
def test_a_lesson_has_all_its_parts(path):
    text = prose(path)
    goal = re.search(r"^# \*\*Goal\*\*\n((?:# .*\n)+)", text, re.MULTILINE)[1]
    assert len(re.findall(r"^# - ", goal, re.MULTILINE)) == 3
    for part in ("Predict first", "The gradient check", "What it costs", "Recap"):
        assert re.search(rf"^# ## .*{part}", text, re.MULTILINE) or (
            path.stem.startswith("00") and "gradient check" in text
        ), part
    assert any("inspect.getsource(" in body for _, body in cells(path))  # the library's own text


@lessons
def test_answers_are_folded(path):
    text = prose(path)
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>")
    recap = text[text.index("## Recap") :]
    assert len(re.findall(r"<summary>\d\. ", recap)) >= 3


@lessons
def test_at_least_three_exercises_of_rising_difficulty(path):
    dots = re.findall(r"^# ### Exercise: .*?((?:&#96(?:79|75);){3})$", prose(path), re.MULTILINE)
    hard = [group.count("&#9679;") for group in dots]
    assert len(hard) >= 3
    assert hard == sorted(hard)
    assert hard[-1] == 3


@lessons
def test_every_exercise_has_a_check_hints_and_a_solution(path):
    kinds = []
    for header, body in cells(path):
        found = tags(header)
        if "exercise" in found:
            assert "raises-exception" in found  # so that a run goes on where nothing is written yet
            assert re.search(r"exercises\.check|assert |raise_if_failed", body)
            kinds.append("exercise")
        elif "solution" in found:
            kinds.append("solution")
        elif "[markdown]" in header and re.search(r"<summary>Hint", body):
            kinds.append("hint")
    assert kinds == ["exercise", "hint", "solution"] * (len(kinds) // 3)
    written = sum("### Exercise" in body for header, body in cells(path))
    assert kinds.count("exercise") == written


@lessons
def test_a_moving_picture_is_there(path):
    text = path.read_text("utf-8")
    assert re.search(r"plots\.(step_through|shuffle_wires|unit|unit_channels|network)\(", text)


@lessons
def test_what_depends_on_the_clock_is_tagged(path):
    for header, body in cells(path):
        if "perf_counter()" in body:
            assert "timing" in tags(header)


@lessons
def test_seeds_are_fixed(path):
    assert "default_rng()" not in path.read_text("utf-8")


@lessons
def test_other_lessons_are_named_by_numbers_that_exist(path):
    for number in re.findall(r"[Ll]esson (\d+)", prose(path)):
        assert 0 <= int(number) <= 18
