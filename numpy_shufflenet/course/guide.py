"""The parts of the teacher's guide that are made from the course itself.

    python -m numpy_shufflenet.course.guide notebooks/teachers_guide.md

writes them anew, between marks in the page; `.ci/run` compares. They are the goals and points of
the lessons, and common mistakes with the hint that each gets: the bugs of the zoo,
submitted as a student would.
"""

import re
import sys
from pathlib import Path

from numpy_shufflenet import exercises, zoo
from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.course.lessons import lessons
from numpy_shufflenet.course.tasks import tasks
from numpy_shufflenet.exercises import NotYet
from numpy_shufflenet.zoo import Bug

SECONDS = 120.0  # so that a hint depends on the cases alone, not on how busy the machine is


def submitted() -> list[Bug]:
    """Return the bugs that can be handed in as the answer to an exercise."""
    return [
        bug
        for bug in zoo.BUGS.values()
        if bug.part in ("a", "held out") and f"{bug.operation}_backward" in exercises.names()
    ]


def hint(bug: Bug) -> str:
    """Return what a student reads who makes this mistake; nothing if float64 doesn't show it."""
    try:
        name = f"{bug.operation}_backward"
        exercises.check(name, bug.backward, forward=bug.forward, seconds=SECONDS)
    except NotYet as error:
        said = error.result.cause or error.result.message
        # Without what depends on the numbers that were drawn.
        said = re.sub(r"^(.*? in the gradient of [^:]*): .*?; ", _first_part, said)
        return said.partition(", in line")[0]
    return ""


def _first_part(match: re.Match[str]) -> str:
    return f"{match[1]}: "


def mistakes() -> str:
    """Return all mistakes by operation, as Markdown."""
    lines = ["| operation | mistake | hint |", "|---|---|---|"]
    bugs = submitted()
    for operation in dict.fromkeys(bug.operation for bug in bugs):
        for bug in bugs:
            if bug.operation == operation and (said := hint(bug)):
                cells = (f"`{operation}`", bug.summary, said)
                lines.append(
                    f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
                )
    return "\n".join(lines)


def goals() -> str:
    """Return what each lesson is for, and its exercises with their points, as Markdown."""
    lines = ["| lesson | goals | exercises (points) |", "|---|---|---|"]
    for lesson in lessons():
        asked = ", ".join(f"{task.title} ({task.points})" for task in tasks(lesson))
        title = lesson.title.removeprefix("Lesson ").replace(": ", " ", 1)
        lines.append(f"| {title} | {' '.join(lesson.goal)} | {asked} |")
    return "\n".join(lines)


def renewed(page: str) -> str:
    """Return a page with its parts as they must be.

    Raises
    ------
    ValueError
        If the page has no place for one of them.
    """
    for name, make in (("goals", goals), ("mistakes", mistakes)):
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->\n")
        if not begin or not end:
            raise ValueError(
                f"the page has no place between <!-- {name} --> and <!-- end {name} -->"
            )
        page = f"{before}{begin}{make()}\n{end}{after}"
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_bytes(path, renewed(path.read_text("utf-8")).encode())
