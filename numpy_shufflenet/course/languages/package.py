"""The messages of the package that a student reads: verdicts, hints, causes, and pages of the site.

Babel finds the calls of `_` and `marked`. Hints of mistakes come from the catalogue of mistakes.
"""

from pathlib import Path
from typing import Any

import numpy_shufflenet
from numpy_shufflenet import zoo
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.languages import pieces

ROOT = Path(numpy_shufflenet.__file__).parent
FOLDERS = ("exercises", "zoo", "course")
KEYWORDS: dict[str, Any] = {"_": None, "marked": None}


def messages() -> dict[str, str]:
    """Return the messages that the code marks and the hints of all mistakes, with their kinds."""
    extract = need("babel.messages.extract", "translating").extract_from_file
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for _, message, _, _ in extract("python", path, keywords=KEYWORDS):
                found.setdefault(message, "")
    for mistake in zoo.MISTAKES.values():
        if mistake.part in ("a", "b", "answer"):
            found.setdefault(mistake.hint, f"hint: {mistake.exercise}")
    return found


def site_messages() -> dict[str, str]:
    """Return the messages of the pages of the site that aren't lessons."""
    from numpy_shufflenet.course.site import glossary

    landing = (ROOT / "course" / "site" / "landing.md").read_text("utf-8")
    found = {piece.message: piece.kind for piece in pieces.in_markdown(landing)}
    for term in glossary.terms():
        found.setdefault(term.text, f"glossary: {term.english}")
    return found
