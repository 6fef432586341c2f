"""The messages of the package that a student reads: verdicts, hints, causes, pages of the site.

The code marks messages by calls of `_` and `marked`. Hints come from the catalogue of mistakes.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy_shufflenet
from numpy_shufflenet import zoo
from numpy_shufflenet.course.languages import pieces

ROOT = Path(numpy_shufflenet.__file__).parent
FOLDERS = ("exercises", "zoo", "course")
MARKING = {"_", "marked"}


def messages() -> dict[str, str]:
    """Return the messages that the code marks and the hints of all mistakes, with their kinds."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found |= dict.fromkeys(_marked_in(path), "")
    for mistake in zoo.MISTAKES.values():
        if mistake.part in ("a", "b", "answer"):
            found.setdefault(mistake.hint, f"hint: {mistake.exercise}")
    return found


def _marked_in(path: Path) -> Iterator[str]:
    """Yield the messages that a module marks, in order."""
    calls: list[Any] = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if _is_marked(node)
    ]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        yield call.args[0].value


def _is_marked(node: Any) -> bool:
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in MARKING
        and isinstance(node.args[0], ast.Constant)
    )


def site_messages() -> dict[str, str]:
    """Return the messages of the pages of the site that aren't lessons."""
    from numpy_shufflenet.course.site import glossary

    landing = (ROOT / "course" / "site" / "landing.md").read_text("utf-8")
    found = {piece.message: piece.kind for piece in pieces.in_markdown(landing)}
    for term in glossary.terms():
        found.setdefault(term.text, f"glossary: {term.english}")
    return found
