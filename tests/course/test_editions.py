"""Editions: what a student gets, what a teacher gets, and what nbgrader wants."""

import ast
import json
import re
import signal
import subprocess
import sys

import nbformat
import pytest

from numpy_shufflenet import cli
from numpy_shufflenet.course import editions, execute, lessons, nbgrader, start, tasks, times

LESSONS = lessons.lessons()
every = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def run(*arguments):
    return cli.main(["course", *map(str, arguments)])


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def names(source, kind):
    tree = ast.walk(ast.parse(source))
    return {node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def test_lessons_come_in_order_and_have_goals():
    assert [lesson.number for lesson in LESSONS] == list(range(len(LESSONS)))
    assert len(LESSONS) >= 14
    for lesson in LESSONS:
        assert lesson.title.startswith(f"Lesson {lesson.number}: ")
        assert len(lesson.goal) == 3
        assert all(point.endswith(".") and "#" not in point for point in lesson.goal)


def test_an_unknown_lesson_is_refused():
    with pytest.raises(ValueError, match="there is no lesson 99; there are 0, 1, 2"):
        lessons.find([3, 99])


@every
def test_a_student_finds_blanks_and_folded_solutions(lesson):
    notebook, source = editions.student(lesson), lesson.read()
    nbformat.validate(notebook)
    blank = [cell.source for cell in source.cells if "exercise" in editions.tags(cell)]
    assert [c.source for c in code(notebook) if "exercise" in editions.tags(c)] == blank
    assert not any("solution" in editions.tags(cell) for cell in notebook.cells)
    solutions = [cell.source for cell in source.cells if "solution" in editions.tags(cell)]
    folded = [
        c.source for c in notebook.cells if c.cell_type == "markdown" and "solved_" in c.source
    ]
    assert len(folded) == len(solutions) > 0
    for page, solution in zip(folded, solutions, strict=True):
        assert page.startswith("<details>")
        assert page.endswith("</details>")
        assert f"```python\n{solution}\n```" in page
    assert "open the next cell" not in nbformat.writes(notebook)


@every
def test_solutions_can_be_left_out(lesson):
    assert "def solved_" not in nbformat.writes(editions.student(lesson, solutions=False))


@every
def test_no_cell_needs_what_only_a_solution_defines(lesson):
    """Else it would fail for all students. Solutions are text, so their names don't exist."""
    notebook = editions.student(lesson)
    solved = {n for task in tasks.tasks(lesson) for n in names(task.solution, ast.Load)}
    solved = {name for name in solved if name.startswith("solved_")}
    assert solved
    for cell in code(notebook):
        assert not solved & names(cell.source, ast.Load), cell.id


@every
def test_the_solution_edition_has_answers_in_place_of_blanks(lesson):
    notebook = editions.solution(lesson)
    nbformat.validate(notebook)
    assert not any("exercise" in editions.tags(cell) for cell in notebook.cells)
    shown = [cell for cell in code(notebook) if "solution" in editions.tags(cell)]
    assert len(shown) == len(tasks.tasks(lesson))
    assert not any("jupyter" in cell.metadata for cell in shown)


@every
def test_tasks_have_points_hints_and_answers(lesson):
    for task in tasks.tasks(lesson):
        assert 1 <= task.points <= 3
        assert task.hints
        assert task.checks
        defined = names(task.solution, ast.Store)
        assert set(task.functions) <= defined
        earned = [float(c.partition("points=")[2].rstrip(")") or 1) for c in task.checks]
        if all(check.startswith("exercises.check(") for check in task.checks):
            assert sum(earned) == task.points  # a session counts as the grade book does


def test_two_builds_are_the_same_and_leave_nothing_else(tmp_path):
    for folder in ("a", "b"):
        assert run("build", "--lessons", "3,4", "--out", tmp_path / folder) == 0
    a, b = ([*sorted((tmp_path / f / "student").iterdir())] for f in ("a", "b"))
    assert [p.name for p in a] == ["03_convolution_backwards.ipynb", "04_group_convolution.ipynb"]
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]


ENDED = """
import sys
import nbformat
from numpy_shufflenet import cli
from numpy_shufflenet.commands import summary
from numpy_shufflenet.course.execute import execute

def run(arguments):
    code = "import os, time; os.kill(os.getppid(), NUMBER); time.sleep(600)"
    execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), "lesson")

summary.run = run
sys.exit(cli.main(["summary", "shufflenet_v2"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_run_of_a_notebook_and_its_kernel(name):
    """By default, nbclient takes both signals and ends in an AssertionError."""
    number = getattr(signal, name)
    done = subprocess.run(
        [sys.executable, "-c", ENDED.replace("NUMBER", str(int(number)))],
        capture_output=True,  # until the kernel has ended, too
        text=True,
        timeout=300,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # not ignored, as by nohup
    )
    said = "interrupted" if name == "SIGINT" else "ended by SIGTERM"
    assert done.stderr.endswith(f"\nnumpy-shufflenet: {said}\n")  # the kernel may speak before
    assert "AssertionError" not in done.stderr
    assert done.returncode == 128 + number


def test_a_solution_edition_is_executed(tmp_path):
    assert run("build", "--edition", "solution", "--lessons", "3", "--out", tmp_path) == 0
    notebook = nbformat.read(tmp_path / "solution" / "03_convolution_backwards.ipynb", 4)
    assert all(cell.execution_count for cell in code(notebook))
    pictures = [o for c in code(notebook) for o in c.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert all(len(picture.metadata["image/png"]["alt"]) > 20 for picture in pictures)
    assert sum(map(execute.seconds_of, notebook.cells)) > 0.1


def test_a_cell_that_fails_is_named():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("one = 1\nthis_is_missing")]
    with pytest.raises(ValueError, match=r"(?s)a lesson failed: .*this_is_missing.*NameError"):
        execute.execute(notebook, "a lesson")


def test_bad_input_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="edition='x' is not one of student, solution"):
        editions.build_edition("x", tmp_path, LESSONS[:1])
    assert run("build", "--lessons", "77", "--out", tmp_path) == 2
    assert "there is no lesson 77" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("build", "--lessons", "3;4")
    assert "'3;4' is not a list of numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arguments"), [("jupytext", ["build"]), ("jupyterlab", ["start"])]
)
def test_a_missing_extra_is_named(module, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert f'needs {module}: pip install "numpy_shufflenet[notebooks]"' in said


def test_list_needs_no_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    assert run("list") == 0
    said = capsys.readouterr().out
    minutes = LESSONS[3].minutes
    assert f"Lesson 3: convolution, backwards ({minutes} min)\n    See which output" in said
    assert f"{len(LESSONS)} lessons, about {lessons.hours(LESSONS)} hours (an estimate" in said


def test_minutes_count_words_cells_and_points():
    text = "\n# ".join(["# one two three four five"] * 26)  # a minute's words, and some markup
    source = f"# %% [markdown]\n# {text}\n# <br> &#9675;\n"
    assert times.minutes(source * 5) == 5
    assert times.minutes(source * 5 + "\n# %%\nx = 1\n" * 5) == 10
    exercise = '# %% [markdown]\n# &#9679;&#9679;&#9679;\n# %% tags=["exercise"]\nx = 1\n'
    assert times.minutes(exercise * 5) == 120
    assert times.minutes(exercise.replace("exercise", "solution") * 5) == 120


def test_the_guide_tells_the_time_that_the_lessons_take():
    guide = (lessons.source_folder() / "teachers_guide.md").read_text("utf-8")
    hours = lessons.hours(LESSONS)
    assert f"take a student about {hours} hours" in guide
    assert f"{times.WORDS_A_MINUTE} words a minute" in guide
    number = {"one": 1, "two": 2, "three": 3}
    plans = re.findall(r"(One|Two) meetings? of 90 minutes a week, and about (\w+) hours?", guide)
    for (meetings, homework), weeks in zip(plans, (4, 8), strict=True):
        assert weeks * (1.5 * number[meetings.lower()] + number[homework]) == pytest.approx(
            hours, abs=1
        )


def test_start_never_overwrites_what_a_student_did(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "course"
    assert run("start", folder, "--no-lab") == 0
    assert f"{len(LESSONS)} lessons written" in capsys.readouterr().out
    mine = folder / f"{LESSONS[3].name}.ipynb"
    mine.write_text("my work")
    (folder / f"{LESSONS[4].name}.ipynb").unlink()
    assert run("start", folder, "--no-lab") == 0
    said = capsys.readouterr().out
    assert "1 lessons written" in said
    assert f"{len(LESSONS) - 1} existing lessons kept" in said
    assert mine.read_text() == "my work"

    monkeypatch.setattr("builtins.input", lambda question: "")
    assert run("start", folder, "--no-lab", "--overwrite") == 1
    assert mine.read_text() == "my work"
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert run("start", folder, "--no-lab", "--overwrite") == 0
    assert nbformat.read(mine, 4).metadata.numpy_shufflenet.edition == "student"
    assert not [path for path in folder.iterdir() if path.suffix != ".ipynb"]


def test_start_opens_the_first_lesson(tmp_path, monkeypatch):
    commands = []

    class Done:
        returncode = 0

    monkeypatch.setattr(
        start.subprocess, "run", lambda command, **options: commands.append(command) or Done
    )
    monkeypatch.setitem(sys.modules, "jupyterlab", start)  # whatever is installed
    assert run("start", tmp_path / "course", "--no-browser") == 0
    (command,) = commands
    assert command[1:3] == ["-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in command
    assert "--no-browser" in command


@every
def test_nbgrader_finds_an_answer_and_a_locked_check_for_each_exercise(lesson):
    notebook = nbgrader.assignment(lesson)
    nbformat.validate(notebook)
    found = [(c, c.metadata.nbgrader) for c in notebook.cells if "nbgrader" in c.metadata]
    asked = tasks.tasks(lesson)
    assert len(found) == 2 * len(asked)
    assert len({data.grade_id for _, data in found}) == len(found)
    for task, (answer, a), (check, c) in zip(asked, found[::2], found[1::2], strict=True):
        assert (a.solution, a.grade, a.locked) == (True, False, False)
        assert (c.solution, c.grade, c.locked) == (False, True, True)
        assert a.schema_version == c.schema_version == 3
        assert c.points == task.points
        assert "points" not in a
        released = answer.source.partition("### BEGIN SOLUTION")[0].strip()
        assert released == task.blank
        assert "### END SOLUTION" in answer.source
        assert all(part in check.source for part in task.checks)


def test_the_course_folder_of_nbgrader(tmp_path):
    assert run("build", "--nbgrader", "--lessons", "3", "--out", tmp_path) == 0
    name = "03_convolution_backwards"
    written = json.loads((tmp_path / "source" / name / f"{name}.ipynb").read_text("utf-8"))
    assert written["metadata"]["numpy_shufflenet"]["lesson"] == name
    config = tmp_path / "nbgrader_config.py"
    compile(config.read_text("utf-8"), config, "exec")
    config.write_text("mine")
    assert run("build", "--nbgrader", "--lessons", "3", "--out", tmp_path) == 0
    assert config.read_text() == "mine"
