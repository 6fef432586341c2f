"""The check of executed notebooks, and of the guide's own tables, sees planted faults."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

from numpy_shufflenet.course import guide

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("checker", ROOT / ".ci" / "check_notebooks.py")
checker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checker)

GUIDE = (ROOT / "notebooks" / "teachers_guide.md").read_text("utf-8")
ERROR = nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])
EXERCISE = {"tags": ["exercise", "raises-exception"]}


def executed(metadata=None, *outputs):
    notebook = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell("1", metadata=metadata or {}, outputs=list(outputs))
    notebook.cells = [cell]
    return notebook


def shown(kind, data, **metadata):
    return nbformat.v4.new_output("display_data", {kind: data}, metadata=metadata)


def test_only_a_blank_exercise_may_fail_and_it_must():
    assert not [*checker.problems_of(executed(), blank=True)]
    assert not [*checker.problems_of(executed(EXERCISE, ERROR), blank=True)]
    for notebook, blank, said in (
        (executed({}, ERROR), True, "fails"),
        (executed(EXERCISE), True, "waits for an answer, but does not fail"),
        (executed({"tags": ["solution"]}, ERROR), False, "fails"),
    ):
        (found,) = checker.problems_of(notebook, blank=blank)
        assert found.endswith(said)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (shown("image/png", "", **{"image/png": {"alt": "A boot."}}), shown("image/png", "")),
        (shown("text/html", '<svg role="img" aria-label="a">'), shown("text/html", "<svg>")),
        (shown("text/html", '<img alt="a boot" src="">'), shown("text/html", '<img src="">')),
    ],
)
def test_a_picture_needs_an_alternative_text(good, bad):
    assert not [*checker.problems_of(executed({}, good), blank=False)]
    (found,) = checker.problems_of(executed({}, bad), blank=False)
    assert "alternative text" in found


@pytest.mark.parametrize(("tags", "seconds", "slow"), [([], 11, 1), (["long"], 11, 0), ([], 9, 0)])
def test_a_slow_cell_is_seen(tags, seconds, slow):
    times = {
        "iopub.execute_input": "2026-01-01T00:00:00.000000Z",
        "shell.execute_reply": f"2026-01-01T00:00:{seconds:02}.000000Z",
    }
    assert len([*checker.slow_cells(executed({"tags": tags, "execution": times}))]) == slow


def test_the_goals_in_the_guide_are_those_of_the_lessons():
    assert f"<!-- goals -->\n{guide.goals()}\n<!-- end goals -->" in GUIDE


def test_the_hints_in_the_guide_are_those_of_the_catalogue():
    assert f"<!-- mistakes -->\n{guide.mistakes()}\n<!-- end mistakes -->" in GUIDE
    assert guide.mistakes().count("\n") > 80


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ValueError, match="lacks the marks <!-- goals -->"):
        guide.renewed("# A page\n")
