"""Makes and updates PO files from their sources, with Babel.

A new message is empty; if another file has a translation of it, this one is entered. A changed
message gets the translation of the former text, the flag fuzzy, and the former text beside it. A
message that has vanished is removed.
"""

import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy_shufflenet import locale
from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet.course.languages import package, pieces
from numpy_shufflenet.course.lessons import Lesson, in_language, lessons, source_folder

WIDTH = 96
SITE = Path(__file__).parents[1] / "site"
ALIKE = 0.6  # how similar a vanished and a new message are if one has become the other
HEADER = """\
# {name}: {language}
msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


@dataclass(frozen=True)
class Source:
    """What one PO file translates: its messages, each with its kind (see `pieces.Piece`)."""

    name: str
    messages: dict[str, str]
    #: The PO file.
    path: Path
    #: Whether the file has to exist.
    required: bool = False
    #: The lesson in the other language, if the file translates one.
    lesson: Lesson | None = None


def sources(language: str) -> list[Source]:
    """Return everything that can be translated: the package's messages, pages, and lessons."""
    folder = source_folder() / language
    own = locale.FOLDER / language / "LC_MESSAGES"
    pages = [*sorted(source_folder().glob("*.md")), SITE / "numbers.md"]
    return [
        Source("messages", package.messages(), own / "messages.po", required=True),
        Source("site", package.site_messages(), own / "site.po", required=True),
        *(
            Source(
                lesson.name,
                dict(lesson_messages(lesson)),
                folder / f"{lesson.name}.po",
                lesson=in_language(lesson, language),
            )
            for lesson in lessons()
        ),
        *(
            Source(page.stem, dict(page_messages(page)), folder / f"{page.stem}.po")
            for page in pages
        ),
    ]


def lesson_messages(lesson: Lesson) -> Iterator[tuple[str, str]]:
    """Yield the messages of a lesson in order, and their kinds."""
    for cell in lesson.read().cells:
        for piece in pieces.pieces(cell.cell_type, cell.source):
            yield piece.message, piece.kind


def page_messages(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the messages of a page of Markdown, and their kinds."""
    for piece in pieces.in_markdown(page.read_text("utf-8")):
        yield piece.message, piece.kind


def read(path: Path) -> Any:
    """Return a PO file as a catalogue of Babel; an empty catalogue if there is no file.

    Babel takes the former text of a fuzzy message for a comment; here it becomes `previous_id`.
    """
    babel = need("babel.messages.pofile", "translating")
    if not path.exists():
        return babel.read_po(io.StringIO(""))
    with path.open(encoding="utf-8") as file:
        catalogue = babel.read_po(file, ignore_obsolete=True)
    for message in catalogue:
        former = [line for line in message.user_comments if line.startswith("|")]
        if former:
            texts = (babel.unescape(line[line.index('"') :]) for line in former)
            message.previous_id = ["".join(texts)]
            message.user_comments = [c for c in message.user_comments if c not in former]
    return catalogue


def updated(old: Any, messages: Mapping[str, str], known: Mapping[str, str]) -> Any:
    """Return a catalogue with these messages, and the translations of an old one.

    `known` has translations of other files.
    """
    new = need("babel.messages.catalog", "translating").Catalog()
    vanished = [m.id for m in old if m.id and m.string and m.id not in messages]
    for text, kind in messages.items():
        about: dict[str, Any] = {"auto_comments": [kind] if kind else []}
        entry = old.get(text)
        if entry is None and text not in known:
            for former in difflib.get_close_matches(text, vanished, 1, ALIKE):
                vanished.remove(former)
                entry = old.get(former)
                about |= {"flags": {"fuzzy"}, "previous_id": [former]}
        elif entry is not None and entry.fuzzy:
            about |= {"flags": {"fuzzy"}, "previous_id": entry.previous_id}
        if entry is not None:
            about["user_comments"] = entry.user_comments
        string = entry.string if entry is not None and entry.string else known.get(text, "")
        new.add(text, string, **about)
    return new


def write(catalogue: Any, source: Source, language: str) -> None:
    """Write the PO file of a source."""
    written = as_text(catalogue, source.name, language)
    source.path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(source.path, written.encode())


def as_text(catalogue: Any, name: str, language: str) -> str:
    """Return a catalogue as a PO file."""
    file = io.BytesIO()
    need("babel.messages.pofile", "translating").write_po(
        file, catalogue, width=WIDTH, omit_header=True, include_previous=True, ignore_obsolete=True
    )
    body = re.sub(r"\n{3,}", "\n\n", file.getvalue().decode()).strip()
    return HEADER.format(name=name, language=language) + body + "\n"


def translations(catalogues: Iterable[Any]) -> dict[str, str]:
    """Return the finished translations of catalogues."""
    return {
        message.id: message.string
        for catalogue in catalogues
        for message in catalogue
        if message.id and message.string and not message.fuzzy
    }
