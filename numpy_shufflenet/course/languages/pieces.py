"""The pieces of a cell that are translated, and how a translation replaces each.

    for piece in pieces(cell.cell_type, cell.source):
        print(piece.message)
    replaced(cell.cell_type, cell.source, {"batch size": "批量大小"})

Messages of Markdown have no line breaks and no markers: the marker of a heading or of a list item
and HTML tags around a line stay. In code, messages are comments, docstrings, and strings that a
reader sees. An f-string is one message, with its fields: "after {times} shuffles".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from numpy_shufflenet.course.languages import code

LINE = re.compile(
    r"(?P<prefix>\s*(?::{3,}\{[\w-]+\} )?(?:#{1,6} |[-*] |\d+\. |> )?(?:<[^>]+>)*(?:\d+\. )?)"
    r"(?P<text>.*?)"
    r"(?P<suffix>(?:\s*&#96(?:79|75);)*(?:</[^>]+>)*\s*)"
)
DIRECTIVE = re.compile(r":{3,}\{[\w-]+\} +\S")  # ":::{card} Title", whose title is translated
BEGINS = re.compile(
    r"\s*(?::{3,}|#{1,6} |[-*] |\d+\. |> |\||</?[a-z!])"
)  # the line continues no other
ALONE = re.compile(r"\s*(?:#{1,6} |\||</?[a-z!].*>$)|.*\|$")
FENCE = re.compile(r"\s*(?:```|~~~|\$\$)")
NOT_PROSE = re.compile(r"`[^`]*`|\$[^$]*\$|<[^>]*>|<<\w+>>|\]\([^)]*\)|&#?\w+;")


class Piece(NamedTuple):
    """A part of a cell's source, from character `start` to `end`."""

    start: int
    end: int
    #: What is translated.
    message: str
    #: What a translator should know about it.
    kind: str
    #: Takes the translation; returns the source of the translated part.
    write: Callable[[str], str]


def pieces(cell_type: str, source: str) -> list[Piece]:
    """Return the pieces of a cell in order.

    Raises
    ------
    SyntaxError
        If a code cell isn't Python.
    """
    found = in_markdown(source) if cell_type == "markdown" else map(Piece._make, code.parts(source))
    return sorted(found, key=lambda piece: piece.start)


def replaced(cell_type: str, source: str, texts: Mapping[str, str]) -> str:
    """Return the source of a cell with translations of the messages in `texts`.

    Raises
    ------
    ValueError
        If a translation changes more of the code than its strings and comments.
    """
    new, end = [], 0
    for piece in pieces(cell_type, source):
        new.append(source[end : piece.start])
        text = texts.get(piece.message)
        new.append(source[piece.start : piece.end] if text is None else piece.write(text))
        end = piece.end
    changed = "".join([*new, source[end:]])
    if cell_type == "code" and changed != source:
        code.require_same_program(source, changed)
    return changed


def in_markdown(source: str) -> Iterator[Piece]:
    """Yield the pieces of a Markdown text."""
    for start, end in _logical_lines(source):
        joined = re.sub(r"(?<=\S)[ \t]*\n\s*", " ", source[start:end])
        found = LINE.fullmatch(joined)
        assert found is not None
        prefix, text, suffix = found.group("prefix", "text", "suffix")
        if re.search("[A-Za-z]{2}", NOT_PROSE.sub("", text)):
            kind = "heading" if prefix.lstrip().startswith("#") else ""
            yield Piece(start, end, text, kind, partial(_between, prefix, suffix))


def _between(prefix: str, suffix: str, text: str) -> str:
    return f"{prefix}{text}{suffix}"


def _logical_lines(source: str) -> Iterator[tuple[int, int]]:
    """Yield where each line begins and ends, as if paragraphs weren't wrapped."""
    begin, end, offset, fence, closed = -1, 0, 0, "", True
    for line in source.splitlines(keepends=True):
        text = line.strip()
        mark = FENCE.match(line)
        continues = begin >= 0 and not closed and text and not mark and not BEGINS.match(line)
        if begin >= 0 and not continues:
            yield begin, end
            begin = -1
        if mark and not (len(text) > 2 and text[:2] == "$$" == text[-2:]):
            fence = "" if fence else mark[0]
        elif text and not fence and not mark and (text[0] != ":" or DIRECTIVE.match(text)):
            begin = offset if begin < 0 else begin
            end = offset + len(line.rstrip("\n"))
            closed = bool(ALONE.match(text)) or text[0] == ":" or line.startswith("    ")
        offset += len(line)
    if begin >= 0:
        yield begin, end
