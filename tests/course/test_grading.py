"""Grading: right answers count, and nothing that a notebook says of itself does."""

import csv
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from course import hostile

from numpy_shufflenet import cli
from numpy_shufflenet.commands import _grades
from numpy_shufflenet.course import editions, grading, lessons, tasks
from numpy_shufflenet.course._student import Student


def answered(path, number, answers, *, before="", whole=False):
    """Write a student's notebook: for each exercise code in place of the blank one, or None.

    If it isn't whole, it starts sooner: the student has deleted all code but the first cell (the
    imports) and the exercises.
    """
    (lesson,) = lessons.find([number])
    notebook = editions.student(lesson)
    if not whole:
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        notebook.cells = [
            cell
            for cell in notebook.cells
            if cell is first or cell.cell_type != "code" or "exercise" in editions.tags(cell)
        ]
    cells = [cell for cell in notebook.cells if "exercise" in editions.tags(cell)]
    for task, cell, answer in zip(tasks.tasks(lesson), cells, answers, strict=True):
        if answer is not None:
            cell.source = task.solution if answer == "right" else answer
    if before:
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source += f"\n{before}"
    editions.write_notebook(notebook, path)
    return path


def points(found):
    return [result["points"] for result in found["exercises"]]


def test_each_answer_is_graded_alone(tmp_path):
    wrong = "def my_dw(dy, x, w):\n    return 2 * np.ones_like(w)"
    path = answered(
        tmp_path / "ada_03_convolution_backwards.ipynb", 3, ["right", wrong, None], whole=True
    )
    found = grading.grade(path)
    assert found["student"] == "ada"
    assert points(found) == [1, 0, 0]
    assert (found["points"], found["of"]) == (1, 6)
    assert [result["passed"] for result in found["exercises"]] == [True, False, False]
    assert "dw[0, 0, 0, 0] is 2, not" in found["exercises"][1]["message"]
    assert found["exercises"][2]["message"] == "nothing is written yet"


FORGED = """
exercises.check = lambda *arguments, **options: None
exercises.NotYet.__init__ = None
import numpy_shufflenet.exercises.check as real
real.check = real._check = exercises.check
ops.conv2d_backward = lambda dy, cache: (0 * cache.x, 0 * cache.w, 0 * dy.sum(axis=(0, 2, 3)))
np.abs = np.zeros_like
"""


def test_what_a_notebook_changes_in_the_library_does_not_help(tmp_path):
    zeros = [
        "def my_db(dy):\n    return 0 * dy.sum(axis=(0, 2, 3))",
        "def my_dw(dy, x, w):\n    return 0 * w",
        "def my_dx(dy, x, w):\n    return 0 * x",
    ]
    found = grading.grade(answered(tmp_path / "eve.ipynb", 3, zeros, before=FORGED))
    assert points(found) == [0, 0, 0]


def test_an_endless_loop_or_a_crash_costs_its_own_points_only(tmp_path):
    endless = "def my_global_avg_pool(x):\n    while True:\n        pass"
    crash = "def my_global_avg_pool_backward(dy, x):\n    import os\n    os._exit(0)"
    path = answered(tmp_path / "max.ipynb", 0, [endless, crash, "right"])
    found = grading.grade(path, seconds=3)
    assert points(found) == [0, 0, 3]
    assert "not done after 3 s" in found["exercises"][0]["message"]


def test_an_answer_that_waits_ends_and_one_that_was_stopped_is_not_blamed(tmp_path):
    """Stopped for longer than it may compute: as on a machine that is busy with something else."""
    waits = "def my_global_avg_pool(x):\n    import time\n    time.sleep(600)"
    path = answered(tmp_path / "ann.ipynb", 0, [waits, None, None])
    with Student(path, seconds=0.1) as student, pytest.raises(TimeoutError, match="not done"):
        student.function("my_global_avg_pool")(np.ones((1, 2, 3, 3)))
    path = answered(tmp_path / "pat.ipynb", 0, ["right", None, None])
    with Student(path, seconds=2) as student:
        function = student.function("my_global_avg_pool")
        os.kill(student.process.pid, signal.SIGSTOP)
        threading.Timer(3, os.kill, [student.process.pid, signal.SIGCONT]).start()
        np.testing.assert_allclose(function(np.ones((1, 2, 3, 3))), np.ones((1, 2)))


def test_two_functions_share_the_points(tmp_path):
    (lesson,) = lessons.find([5])
    solution = tasks.tasks(lesson)[2].solution
    half = solution.replace("my_depthwise_backward =", "another_name =")
    found = grading.grade(answered(tmp_path / "ida.ipynb", 5, [None, None, half]))
    assert points(found) == [0, 0, 1.5]
    assert "my_depthwise_backward is not defined" in found["exercises"][2]["message"]


def test_writing_into_an_argument_is_seen_across_the_pipe(tmp_path):
    writes = "def my_relu_backward(dy, x):\n    dy[x <= 0] = 0\n    return dy"
    found = grading.grade(answered(tmp_path / "leo.ipynb", 1, [writes, None, None]))
    assert points(found)[0] == 0
    assert "writes into dy" in found["exercises"][0]["message"]


@pytest.mark.parametrize(("number", "of"), [(9, 2), (13, 6)])
def test_checks_that_a_lesson_writes_itself_are_run_from_its_source(number, of, tmp_path):
    (lesson,) = lessons.find([number])
    count = len(tasks.tasks(lesson))
    right = grading.grade(answered(tmp_path / "amy.ipynb", number, ["right"] * count, whole=True))
    assert (right["points"], right["of"]) == (of, of)
    blank = grading.grade(answered(tmp_path / "ben.ipynb", number, [None] * count))
    assert blank["points"] == 0


def hostile_notebook(path, name):
    """Write a notebook with a hostile answer to the first exercise of lesson 3."""
    body = hostile.ANSWERS.get(name, hostile.WRONG)
    answer = f"def my_db(dy):\n    {body}"
    return answered(path, 3, [answer, None, None], before=hostile.BEFORE.get(name, ""))


def grade_hostile(folder, name):
    """Grade a hostile notebook, and then a right one, by the command; return the points of both."""
    eve = hostile_notebook(folder / "eve_03_convolution_backwards.ipynb", name)
    ada = answered(folder / "ada_03_convolution_backwards.ipynb", 3, ["right", None, None])
    book = folder / "points.json"
    cli.main(["course", "grade", str(eve), str(ada), "--json", str(book), "--seconds", "3"])
    students = json.loads(book.read_text())["students"]
    return students.get("eve", {"points": 0})["points"], students["ada"]["points"]


def test_a_notebook_that_ends_its_judge_and_one_that_reads_solutions(tmp_path, capsys):
    kills = "def my_db(dy):\n    import os\n    os.kill(os.getppid(), 9)"
    reads = """def my_db(**given):
    from numpy_shufflenet.course import lessons, tasks
    task = tasks.tasks(lessons.find([3])[0])[0]
    exec(task.solution, globals(), found := {})
    return found["solved_db"](given["dy"])"""
    eve = answered(tmp_path / "eve.ipynb", 3, [kills, None, None])
    max_ = answered(tmp_path / "max.ipynb", 3, [reads, "right", None])
    book = tmp_path / "points.json"
    assert cli.main(["course", "grade", str(eve), str(max_), "--json", str(book)]) == 2
    assert {n: e["points"] for n, e in json.loads(book.read_text())["students"].items()} == {
        "max": 2
    }
    assert "eve.ipynb ended the process that judges it" in capsys.readouterr().err


CALLS = {
    "def my_dx(dy, x, w):\n    return ops.conv2d_backward(dy, x)[0]": True,
    "b = ops.conv2d_backward\ndef my_dx(dy, x, w):\n    return b(dy, x)[0]": True,
    "from numpy_shufflenet.ops import conv2d_backward as b\nmy_dx = lambda dy: b(dy)": True,
    "def my_dx(d):\n    return f(d)\ndef f(d):\n    getattr(ops, 'conv2d_backward')": True,
    "def my_dx(d):\n    return ops.conv2d_backward(d)\ndef my_dx(d):\n    return 0 * d": False,
    "dx = ops.conv2d_backward(dy, c)\ndef my_dx(dy):\n    dx = 0 * dy\n    return dx": False,
}


@pytest.mark.parametrize("code", CALLS)
def test_a_call_of_the_librarys_own_answer_is_seen(code, tmp_path):
    path = answered(tmp_path / "eve.ipynb", 3, [None, None, code])
    (lesson,) = lessons.find([3])
    found = grading.borrowed(tasks.tasks(lesson)[2], grading.code_of(path))
    assert found == ("conv2d_backward" if CALLS[code] else "")


def test_no_solution_calls_the_librarys_own_answer(tmp_path):
    for lesson in lessons.lessons():
        known = tasks.tasks(lesson)
        path = answered(tmp_path / "amy.ipynb", lesson.number, ["right"] * len(known), whole=True)
        for task in known:
            assert not grading.borrowed(task, grading.code_of(path)), task.name


@pytest.mark.parametrize("name", hostile.FEW)
def test_a_hostile_answer_gets_no_points_and_the_next_notebook_its_own(name, tmp_path):
    """All of them: tests/campaigns/test_hostile.py."""
    assert grade_hostile(tmp_path, name) == (0, 1)
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)
    ]
    assert not any(b"left behind" in command for command in commands)


def readable(path):
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_the_command_writes_a_grade_book(tmp_path, capsys):
    name = "03_convolution_backwards"
    (tmp_path / "ada" / name).mkdir(parents=True)
    ada = answered(tmp_path / "ada" / name / f"{name}.ipynb", 3, ["right", None, None])
    bob = answered(tmp_path / f"bob_{name}.ipynb", 3, [None, None, None])
    book = tmp_path / "points.json"
    sheet, page = tmp_path / "points.csv", tmp_path / "class.html"
    files = ["--json", str(book), "--csv", str(sheet), "--page", str(page)]
    assert cli.main(["course", "grade", str(ada), str(bob), *files]) == 0
    students = json.loads(book.read_text())["students"]
    assert {name: entry["points"] for name, entry in students.items()} == {"ada": 1, "bob": 0}
    assert all(entry["of"] == 6 for entry in students.values())
    assert students["ada"]["notebooks"][0]["exercises"][0]["title"] == "the bias"
    assert "ada: 1 of 6 points" in capsys.readouterr().out
    rows = list(csv.DictReader(sheet.read_text("utf-8-sig").splitlines()))
    assert [(row["student"], row["points"]) for row in rows[:3]] == [("ada", "1")] + [
        ("ada", "0")
    ] * 2
    assert rows[4]["message"] == "nothing is written yet"
    text = page.read_text()
    assert "2 notebooks of 2 students" in text
    assert "<td>03_convolution_backwards-1: the bias</td><td>1</td><td>2</td><td>0.5</td>" in text
    assert "<td>2</td><td>nothing is written yet</td>" in text


def test_names_are_no_formulas_and_no_html(tmp_path):
    grades = [
        {
            "student": "=1+1<b>",
            "lesson": "03",
            "exercises": [
                {
                    "exercise": "03-1",
                    "title": "the bias",
                    "points": 0,
                    "of": 1,
                    "passed": False,
                    "message": "@x <script>",
                    "causes": [],
                }
            ],
        }
    ]
    (row,) = csv.DictReader(_grades.as_csv(grades).splitlines())
    assert (row["student"], row["message"]) == ("'=1+1<b>", "'@x <script>")
    page = _grades.class_page(grades, {"<i>.ipynb": "<u>"})
    assert not any(f"<{tag}>" in page for tag in ("b", "script", "i", "u"))


def test_a_notebook_that_cannot_be_graded_costs_nobody_else_points(tmp_path, capsys):
    broken = tmp_path / "bob_03_convolution_backwards.ipynb"
    broken.write_text('{"cells": 3, "metadata": null}')
    ada = answered(tmp_path / "ada_03_convolution_backwards.ipynb", 3, ["right", None, None])
    book = tmp_path / "points.json"
    assert cli.main(["course", "grade", str(broken), str(ada), "--json", str(book)]) == 2
    found = json.loads(book.read_text())
    assert found["students"]["ada"]["points"] == 1
    assert found["not graded"] == {str(broken): f"{broken} is not a notebook"}
    assert f"not graded: {broken}" in capsys.readouterr().err


def test_what_is_no_lesson_is_refused(tmp_path, capsys):
    other = tmp_path / "other.ipynb"
    other.write_text("{}")
    assert cli.main(["course", "grade", str(other)]) == 2
    assert f"{other} is not a notebook" in capsys.readouterr().err
    other.write_text('{"cells": [], "metadata": {}}')
    assert cli.main(["course", "grade", str(other)]) == 2
    assert "belongs to no lesson" in capsys.readouterr().err
