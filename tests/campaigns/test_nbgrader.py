"""A class graded through nbgrader's own gradebook, without nbgrader's autograde.

It needs nbgrader, which is no part of our extras.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from course.test_grading import answered, hostile_notebook

from numpy_shufflenet import cli

pytestmark = pytest.mark.campaign
LESSON = "03_convolution_backwards"


def nbgrader(course, *arguments):
    command = [sys.executable, "-m", "nbgrader", *arguments]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        command, cwd=course, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr


def test_points_reach_the_gradebook(tmp_path, capsys):
    pytest.importorskip("nbgrader")
    course = tmp_path / "course"
    cli.main(["course", "build", "--nbgrader", "--lessons", "3", "--out", str(course)])
    command = ["course", "grade", "--nbgrader", str(course), "--seconds", "5"]
    for student, write in (("ada", answered), ("eve", hostile_notebook)):
        folder = course / "submitted" / student / LESSON
        folder.mkdir(parents=True)
        details = (3, ["right", None, "right"]) if student == "ada" else ("the judge is replaced",)
        write(folder / f"{LESSON}.ipynb", *details)
    assert cli.main(command) == 2
    assert "run nbgrader generate_assignment" in capsys.readouterr().err
    nbgrader(course, "generate_assignment", LESSON)
    assert cli.main(command) == 0
    nbgrader(course, "export", "--to", "grades.csv")
    rows = list(csv.DictReader((course / "grades.csv").read_text().splitlines()))
    scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows}
    assert scores == {"ada": (4, 6), "eve": (0, 6)}
    shutil.rmtree(course / "submitted")
    assert cli.main(command) == 2
    assert "there is no NOTEBOOK" in capsys.readouterr().err
