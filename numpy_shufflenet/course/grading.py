"""Grades students' notebooks: runs the checks of a lesson on the functions of the student.

Three processes take part. This one writes the points. For each notebook it forks a judge, which
runs the checks from the source of the lesson. The judge starts a process that runs the notebook
(see `_student`). So the checks and the outputs in the notebook don't count, and a notebook that
ends its judge costs nobody else points.

A function that calls the library's own function of the operation that it should compute gets no
points, even if it calls it through another function or name of the notebook. This is read from the
code, so whoever hides such a call gets them.
"""

import ast
import builtins
import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy_shufflenet import exercises
from numpy_shufflenet._optional import need
from numpy_shufflenet.course._student import Student
from numpy_shufflenet.course.editions import tags
from numpy_shufflenet.course.lessons import Lesson, lessons
from numpy_shufflenet.course.tasks import Task, tasks
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.locale import _

LEFT_OUT = {"exercise", "solution", "timing", "long"}
MOST = 50 * 2**20  # bytes of a notebook
JUDGING = 900  # seconds of a judge, besides the patience that it has with a function
JUDGE_MEGABYTES = 8192
Code = dict[str, ast.AST]


def grade(path: Path, *, seconds: float = 60.0) -> dict[str, Any]:
    """Return the points of a notebook, as plain data.

    Parameters
    ----------
    path : Path
        A notebook of the student edition with a student's answers. Its code runs on this machine,
        so use a machine that you would let the student use.
    seconds : float
        Limit on the computing time of all calls of one function.

    Returns
    -------
    dict
        "student", "notebook", "lesson", "points", "of" (the largest possible points), and
        "exercises", a list of dicts with "exercise", "title", "points", "of", "passed", "message".

    Raises
    ------
    ValueError
        If the file is no notebook, is larger than 50 MB, or belongs to no lesson; or if it ended
        its judge, or took too long.
    """
    need("IPython", "grading")
    lesson = lesson_of(path)

    def judge() -> str:
        with Student(path, seconds) as student:
            return json.dumps(_results(lesson, student, code_of(path)))

    limit = JUDGING + sandbox.PATIENCE * seconds
    with sandbox.open_sandbox(judge, seconds=limit, megabytes=JUDGE_MEGABYTES) as run:
        try:
            results = json.loads(run())
        except sandbox.EndedError:
            raise ValueError(f"{path} ended the process that judges it, or took too long") from None
    return {
        "student": student_of(path, lesson),
        "notebook": str(path),
        "lesson": lesson.name,
        "points": sum(result["points"] for result in results),
        "of": sum(result["of"] for result in results),
        "exercises": results,
    }


def lesson_of(path: Path) -> Lesson:
    """Find the lesson of a notebook by the notebook's metadata, or otherwise by its title."""
    if path.stat().st_size > MOST:
        raise ValueError(f"{path} is larger than {MOST >> 20} MB; clear its outputs")
    try:
        notebook = json.loads(path.read_text("utf-8"))
        name = notebook.get("metadata", {}).get("numpy_shufflenet", {}).get("lesson")
        sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not a notebook") from None
    titles = [re.match(r"# Lesson (\d+):", source) for source in sources]
    number = next((int(title[1]) for title in titles if title), None)
    for lesson in lessons():
        if lesson.name == name or (name is None and lesson.number == number):
            return lesson
    raise ValueError(f"{path} belongs to no lesson: its metadata and title don't name one")


def student_of(path: Path, lesson: Lesson) -> str:
    """Return the name of the student, which is in the name of the file or of the folder.

    ada_03_convolution_backwards.ipynb is Ada's. 03_convolution_backwards.ipynb is Ada's if it is
    in ada/, or in ada/03_convolution_backwards/, where nbgrader stores it.
    """
    rest = path.stem.replace(lesson.name, "").strip("_- .")
    if rest:
        return rest
    folder = path.resolve().parent
    return folder.parent.name if folder.name == lesson.name else folder.name


def code_of(path: Path) -> Code:
    """Return the functions of a notebook, and other names of functions, as they stand last."""
    found: Code = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        try:
            tree = ast.parse("".join(cell["source"]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # text, %magic, nonsense
            continue
        for node in ast.walk(tree):
            for name in _defined_by(node):
                found[name] = node
    return found


def _defined_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node gives to functions."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.Assign) and isinstance(
        node.value, ast.Name | ast.Attribute | ast.Lambda
    ):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _names_in(definition: ast.AST) -> Iterator[str]:
    for node in ast.walk(definition):
        if isinstance(node, ast.Name | ast.Attribute | ast.alias):
            yield getattr(node, "id", "") or getattr(node, "attr", "") or getattr(node, "name", "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value  # getattr(ops, "relu_backward")


def _results(lesson: Lesson, student: Student, code: Code) -> list[dict[str, Any]]:
    cells, done, known = lesson.read().cells, 0, {"exercises": exercises}
    results = []
    for task in tasks(lesson):
        if not needed(task) <= set(known):
            for cell in cells[done : task.cell]:
                if cell.cell_type == "code" and not LEFT_OUT & tags(cell):
                    _run(cell.source, known)
            done = task.cell
        results.append(_result(task, student, code, known))
    return results


def needed(task: Task) -> set[str]:
    """Return the names that the checks of a task use from the cells above."""
    nodes = [node for check in task.checks for node in ast.walk(ast.parse(check))]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return used - set(task.functions) - set(vars(builtins))


def borrowed(task: Task, code: Code) -> str:
    """Return the library's function of the checked operation that an answer calls, or ""."""
    checked = set(re.findall(r'"(\w+_(?:forward|backward))"', "".join(task.checks)))
    operations = {name.rpartition("_")[0] for name in checked}
    seen: set[str] = set()
    left = list(task.functions)
    while left:
        function = left.pop()
        if function in seen or function not in code:
            continue
        seen.add(function)
        for name in _names_in(code[function]):
            if re.sub("_steps$", "", name).rpartition("_")[0] in operations:
                return name
            left.append(name)
    return ""


def _result(task: Task, student: Student, code: Code, known: dict[str, Any]) -> dict[str, Any]:
    said, causes, passed = [], set(), 0
    copied = borrowed(task, code)
    for check in task.checks:
        names = [name for name in task.functions if re.search(rf"\b{name}\b", check)]
        functions = {name: student.function(name) for name in names}
        missing = [name for name, function in functions.items() if function is None]
        cause = ""
        if missing:
            message = _("{name} is not defined").format(name=missing[0])
        elif copied:
            message = _("it calls {name} of the library; write what that does").format(name=copied)
        else:
            message, cause = _check(check, {**known, **functions})
        passed += not message
        said.append(message or _("right"))
        causes.add(cause)
    return {
        "exercise": task.name,
        "title": task.title,
        "points": round(task.points * passed / len(task.checks), 2),
        "of": task.points,
        "passed": passed == len(task.checks),
        "message": _("; ").join(dict.fromkeys(said)),
        "causes": sorted(causes - {""}),
    }


def _check(code: str, known: dict[str, Any]) -> tuple[str, str]:
    """Run a check, and return what is wrong, or "", and its likely cause, or ""."""
    try:
        printed = _run(code, known)
    except exercises.NotYet as error:
        result = error.result
        said = _("{message} (likely cause: {cause})") if result.cause else "{message}"
        return said.format(message=result.message, cause=result.cause), result.cause or ""
    except NotImplementedError:
        return _("nothing is written yet"), ""
    except Exception as error:
        printed = getattr(error, "printed", "")
        return printed.strip() or str(error).partition("\n")[0] or _("it is not right"), ""
    return "", ""


def _run(code: str, known: dict[str, Any]) -> str:
    """Run code of the course, and return its output."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, "lesson", "exec"), known)
        except Exception as error:
            error.printed = printed.getvalue()  # type: ignore[attr-defined]
            raise
    return printed.getvalue()
