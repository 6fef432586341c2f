"""Writes a course folder for nbgrader, ready for `nbgrader generate_assignment`.

    nbgrader_config.py
    source/03_convolution_backwards/03_convolution_backwards.ipynb

Each exercise is two cells. Students fill in the first one, from which nbgrader removes the
solution. The second one has the checks and the points, and is locked. This module doesn't need
nbgrader itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import Done, student, write_notebook
from numpy_shufflenet.course.lessons import Lesson
from numpy_shufflenet.course.tasks import Task, tasks

SCHEMA = 3  # version of the cell metadata of nbgrader
CONFIG = '''\
"""Settings of nbgrader for this course: `nbgrader db`, `generate_assignment`, `autograde`, ..."""

c = get_config()
c.CourseDirectory.course_id = "numpy_shufflenet"
c.ClearSolutions.code_stub = {"python": ""}  # each exercise has its own stub
c.ExecutePreprocessor.timeout = 120
'''


def build_nbgrader(out: Path, lessons: Sequence[Lesson], done: Done) -> None:
    """Write the course folder of nbgrader, but keep an existing settings file."""
    config = out / "nbgrader_config.py"
    if not config.exists():
        write_bytes(config, CONFIG.encode())
    for lesson in lessons:
        folder = out / "source" / lesson.name
        folder.mkdir(parents=True, exist_ok=True)
        write_notebook(assignment(lesson), folder / f"{lesson.name}.ipynb")
        done(lesson.name)


def assignment(lesson: Lesson) -> Any:
    """Return a lesson with its solutions, in cells with the metadata of nbgrader."""
    notebook = student(lesson, solutions=False)
    by_cell = {task.blank: task for task in tasks(lesson)}
    cells = []
    for cell in notebook.cells:
        task = next((t for blank, t in by_cell.items() if cell.source.startswith(blank)), None)
        cells += [cell] if task is None or cell.cell_type != "code" else _pair(task, cell)
    notebook.cells = cells
    notebook.metadata.numpy_shufflenet["edition"] = "nbgrader"
    return notebook


def _pair(task: Task, cell: Any) -> list[Any]:
    """Return the cell that a student fills in, and the cell with the checks."""
    new = need("nbformat", "a notebook").v4.new_code_cell
    answer = f"{task.blank}\n### BEGIN SOLUTION\n{task.solution}\n### END SOLUTION"
    return [
        new(answer, id=cell.id, metadata=_metadata(task, "answer")),
        new("\n".join(task.checks), id=f"{cell.id}-check", metadata=_metadata(task, "check")),
    ]


def _metadata(task: Task, part: str) -> dict[str, Any]:
    graded = part == "check"
    settings = {
        "grade": graded,
        "grade_id": f"{task.name}-{part}",
        "locked": graded,
        "schema_version": SCHEMA,
        "solution": not graded,
        "task": False,
    }
    return {"nbgrader": {**settings, "points": task.points} if graded else settings}
