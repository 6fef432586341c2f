"""The points of a class: as JSON, for a spreadsheet, as a page, and in nbgrader's database."""

import csv
import io
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.commands._report import HtmlReport

MOST_CAUSES = 5  # that the page names for an exercise
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula in a spreadsheet


def grade_book(grades: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the grades of each student, with the sum of the points of all notebooks."""
    book: dict[str, Any] = {}
    for found in grades:
        entry = book.setdefault(found["student"], {"points": 0, "of": 0, "notebooks": []})
        entry["points"] += found["points"]
        entry["of"] += found["of"]
        entry["notebooks"].append(found)
    return {"students": book}


def as_csv(grades: Iterable[dict[str, Any]]) -> str:
    """Return a table with a row for each student and exercise."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["student", "lesson", "exercise", "points", "of", "message"])
    for found in grades:
        for result in found["exercises"]:
            texts = [found["student"], found["lesson"], result["title"]]
            row = [*texts, f"{result['points']:g}", f"{result['of']:g}", result["message"]]
            table.writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in row])
    return out.getvalue()


def class_page(grades: list[dict[str, Any]], failed: dict[str, str]) -> str:
    """Return a page that shows which exercises are hard, and which mistakes occur."""
    students = {found["student"] for found in grades}
    report = HtmlReport("The class")
    report.paragraph(f"{len(grades)} notebooks of {len(students)} students.")
    results: dict[str, list[dict[str, Any]]] = {}
    for found in grades:
        for result in found["exercises"]:
            results.setdefault(f"{result['exercise']}: {result['title']}", []).append(result)
    solved = {name: sum(r["passed"] for r in some) for name, some in results.items()}
    hardest = sorted(results, key=lambda name: solved[name] / len(results[name]))
    report.table(
        "Exercises, the hardest first",
        ["exercise", "solved", "handed in", "mean points", "of"],
        [
            [
                name,
                str(solved[name]),
                str(len(results[name])),
                f"{sum(r['points'] for r in results[name]) / len(results[name]):.2g}",
                f"{results[name][0]['of']:g}",
            ]
            for name in hardest
        ],
    )
    mistakes = []
    for name in hardest:
        wrong = [r for r in results[name] if not r["passed"]]
        said = Counter(text for r in wrong for text in r["causes"] or [r["message"]])
        mistakes += [[name, str(n), text] for text, n in said.most_common(MOST_CAUSES)]
    report.table("Mistakes", ["exercise", "students", "likely cause, or what is wrong"], mistakes)
    if failed:
        report.table("Not graded", ["notebook", "reason"], failed.items())
    return report.html()


def record_in_nbgrader(course: Path, grades: Iterable[dict[str, Any]]) -> None:
    """Write the points into the gradebook of an nbgrader course, as `nbgrader autograde` does.

    Raises
    ------
    ImportError
        If nbgrader isn't installed.
    ValueError
        If the course has no gradebook, or an assignment isn't in it.
    """
    api = need("nbgrader.api", "writing its gradebook")
    database = course / "gradebook.db"
    if not database.is_file():
        raise ValueError(f"{database} doesn't exist; run nbgrader generate_assignment first")
    # nbgrader runs alembic, which is found where Python is, even if that environment isn't active.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with warnings.catch_warnings(), api.Gradebook(f"sqlite:///{database}") as book:
        warnings.filterwarnings("ignore", "Object of type .* not in session")  # nbgrader's own
        for found in grades:
            lesson, student = found["lesson"], found["student"]
            try:
                book.find_assignment(lesson)
            except api.MissingEntry:
                raise ValueError(
                    f"{database} has no assignment {lesson}; run nbgrader generate_assignment "
                    f"{lesson} first"
                ) from None
            book.update_or_create_student(student)
            book.update_or_create_submission(lesson, student)
            for result in found["exercises"]:
                cell = f"{result['exercise']}-check"
                book.find_grade(cell, lesson, lesson, student).auto_score = result["points"]
        book.db.commit()
