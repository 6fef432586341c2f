"""The exercises of a lesson, read from its source: functions, checks, hints and points.

A **task** is a cell tagged `exercise`. It has functions named `my_...`, which students write, and
below them statements that check these functions. The solution of the task has the same functions
under the names `solved_...`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy_shufflenet.course.editions import tags
from numpy_shufflenet.course.lessons import Lesson

# "Exercise: " and "Hint" may be in another language.
TITLE = re.compile(r"^##+ [^:：]*(?:: |：)(.*?) ((?:&#96(?:79|75);){3})$", re.MULTILINE)
HINT = re.compile(r"<summary>((?:Hint|提示)[^<]*)</summary>\s*(.*?)\s*</details>", re.DOTALL)


@dataclass(frozen=True)
class Task:
    """An exercise of the course."""

    lesson: Lesson
    #: The number of the exercise in the lesson, from 1.
    number: int
    title: str
    #: 1 to 3: the number of dots after the title.
    points: int
    #: Names of the functions that a student writes: "my_dx".
    functions: tuple[str, ...]
    #: The code of the cell above the checks.
    blank: str
    #: Statements that fail if the functions are wrong.
    checks: tuple[str, ...]
    #: Title and text of each hint.
    hints: tuple[tuple[str, str], ...]
    #: Code that defines correct functions, without checks.
    solution: str
    #: Index of the cell in the notebook.
    cell: int

    @property
    def name(self) -> str:
        """The lesson and the number: "03_convolution_backwards-2"."""
        return f"{self.lesson.name}-{self.number}"


def tasks(lesson: Lesson) -> list[Task]:
    """Return the exercises of a lesson in order.

    Raises
    ------
    ValueError
        If an exercise has no title with dots, or no solution for each of its functions.
    """
    return list(_tasks(lesson, lesson.read().cells))


def _tasks(lesson: Lesson, cells: Any) -> Iterator[Task]:
    places = [i for i, cell in enumerate(cells) if "exercise" in tags(cell)]
    for number, (place, end) in enumerate(
        zip(places, [*places[1:], len(cells)], strict=True), start=1
    ):
        above = "\n".join(c.source for c in cells[:place] if c.cell_type == "markdown")
        below = cells[place + 1 : end]
        titles = TITLE.findall(above)
        solution = next((cell.source for cell in below if "solution" in tags(cell)), None)
        if not titles or solution is None:
            raise ValueError(f"{lesson.name}: exercise {number} lacks a title or a solution")
        title, dots = titles[-1]
        blank, checks = split_cell(cells[place].source)
        functions = tuple(_defined(blank, "my_"))
        yield Task(
            lesson,
            number,
            title,
            dots.count("&#9679;"),
            functions,
            blank,
            checks,
            tuple(
                hint
                for cell in below
                if cell.cell_type == "markdown"
                for hint in HINT.findall(cell.source)
            ),
            _answer(lesson, functions, solution),
            place,
        )


def split_cell(source: str) -> tuple[str, tuple[str, ...]]:
    """Return the code of a cell up to its last function, and the statements below the function."""
    statements = ast.parse(source).body
    last = max(i for i, s in enumerate(statements) if isinstance(s, ast.FunctionDef))
    lines = source.splitlines()
    end = statements[last].end_lineno or 0
    rest = statements[last + 1 :]
    checks: list[str] = []
    for i, statement in enumerate(rest):
        text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        # An assignment prepares the next statement, so both belong to one check.
        if i and isinstance(rest[i - 1], ast.Assign):
            checks[-1] += "\n" + text
        else:
            checks.append(text)
    return "\n".join(lines[:end]), tuple(checks)


def _defined(source: str, prefix: str) -> list[str]:
    return [
        s.name
        for s in ast.parse(source).body
        if isinstance(s, ast.FunctionDef) and s.name.startswith(prefix)
    ]


def _answer(lesson: Lesson, functions: tuple[str, ...], solution: str) -> str:
    """Return the solution, with each function also under its name in the exercise."""
    answer, _ = split_cell(solution)
    for name in functions:
        solved = name.replace("my_", "solved_", 1)
        if solved not in _defined(answer, "solved_"):
            raise ValueError(f"{lesson.name}: there is no {solved} for {name}")
        answer += f"\n\n\n{name} = {solved}"
    return answer
