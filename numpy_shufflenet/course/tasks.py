"""The exercises of a lesson, read from its source: what is asked, by which function, for how much.

A **task** is a cell tagged `exercise`: functions named `my_...`, which wait to be written, and
below them statements that check these. Its solution has the same functions, named `solved_...`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy_shufflenet.course.editions import tags
from numpy_shufflenet.course.lessons import Lesson


@dataclass(frozen=True)
class Task:
    """An exercise of the course.

    Attributes
    ----------
    lesson : Lesson
    number : int
        Within its lesson, from 1.
    title : str
    points : int
        1 to 3, as many as there are dots behind its title.
    functions : tuple of str
        Names that a student defines: "my_dx".
    blank : str
        The cell's code above its checks.
    checks : tuple of str
        Statements that fail unless the functions are right.
    hints : tuple of (str, str)
        Title and text of each.
    solution : str
        Code that defines the same functions, rightly, without its checks.
    cell : int
        Place of the exercise in the notebook.
    """

    lesson: Lesson
    number: int
    title: str
    points: int
    functions: tuple[str, ...]
    blank: str
    checks: tuple[str, ...]
    hints: tuple[tuple[str, str], ...]
    solution: str
    cell: int

    @property
    def name(self) -> str:
        """The same in every run: "03_convolution_backwards-2"."""
        return f"{self.lesson.name}-{self.number}"


def tasks(lesson: Lesson) -> list[Task]:
    """Return the exercises of a lesson, in their order.

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
        titles = re.findall(r"^##+ Exercise: (.*?) ((?:&#96(?:79|75);){3})$", above, re.MULTILINE)
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
                for hint in re.findall(
                    r"<summary>(Hint[^<]*)</summary>\s*(.*?)\s*</details>", cell.source, re.DOTALL
                )
            ),
            _answer(lesson, functions, solution),
            place,
        )


def split_cell(source: str) -> tuple[str, tuple[str, ...]]:
    """Return what a cell defines, and the statements below the last definition."""
    statements = ast.parse(source).body
    last = max(i for i, s in enumerate(statements) if isinstance(s, ast.FunctionDef))
    lines = source.splitlines()
    end = statements[last].end_lineno or 0
    rest = statements[last + 1 :]
    checks: list[str] = []
    for i, statement in enumerate(rest):
        text = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        # What only prepares a check belongs to it.
        if i and not _may_fail(rest[i - 1]):
            checks[-1] += "\n" + text
        else:
            checks.append(text)
    return "\n".join(lines[:end]), tuple(checks)


def _may_fail(statement: ast.stmt) -> bool:
    return not isinstance(statement, ast.Assign)


def _defined(source: str, prefix: str) -> list[str]:
    return [
        s.name
        for s in ast.parse(source).body
        if isinstance(s, ast.FunctionDef) and s.name.startswith(prefix)
    ]


def _answer(lesson: Lesson, functions: tuple[str, ...], solution: str) -> str:
    """Return the solution under the names that the exercise gives its functions."""
    answer, _ = split_cell(solution)
    for name in functions:
        solved = name.replace("my_", "solved_", 1)
        if solved not in _defined(answer, "solved_"):
            raise ValueError(f"{lesson.name}: there is no {solved} for {name}")
        answer += f"\n\n\n{name} = {solved}"
    return answer
