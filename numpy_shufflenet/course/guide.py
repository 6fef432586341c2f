"""Writes the tables of the teacher's guide, from the lessons and from the zoo.

    python -m numpy_shufflenet.course.guide notebooks/teachers_guide.md

replaces the text between marks in the page; `.ci/run` checks that the page is up to date. There are
two tables: the goals and points of the lessons, and common mistakes with their hints.
"""

import sys
from pathlib import Path

from numpy_shufflenet import exercises, zoo
from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.course.lessons import lessons
from numpy_shufflenet.course.tasks import tasks


def mistakes() -> str:
    """Return a Markdown table of the published mistakes, sorted by operation."""
    lines = ["| operation | mistake | hint |", "|---|---|---|"]
    bugs = [b for b in zoo.BUGS.values() if b.part == "a" and b.exercise in exercises.names()]
    for operation in dict.fromkeys(bug.operation for bug in bugs):
        for bug in bugs:
            if bug.operation == operation:
                cells = (f"`{operation}`", bug.summary, bug.hint)
                lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def goals() -> str:
    """Return a Markdown table of the lessons with their goals, exercises and points."""
    lines = ["| lesson | goals | exercises (points) |", "|---|---|---|"]
    for lesson in lessons():
        asked = ", ".join(f"{task.title} ({task.points})" for task in tasks(lesson))
        title = lesson.title.removeprefix("Lesson ").replace(": ", " ", 1)
        lines.append(f"| {title} | {' '.join(lesson.goal)} | {asked} |")
    return "\n".join(lines)


def renewed(page: str) -> str:
    """Return a page with new tables; ValueError if the marks of a table are missing."""
    for name, make in (("goals", goals), ("mistakes", mistakes)):
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->\n")
        if not begin or not end:
            raise ValueError(f"the page lacks the marks <!-- {name} --> and <!-- end {name} -->")
        page = f"{before}{begin}{make()}\n{end}{after}"
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_bytes(path, renewed(path.read_text("utf-8")).encode())
