"""Checks of translations: nothing is missing, and markup and fields are those of the source."""

import re
from collections import Counter
from collections.abc import Iterator
from string import Formatter
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.languages import code

FORMULA = re.compile(r"\$[^$]+\$")
ENTITY = re.compile(r"&#?\w+;")
MARK = re.compile(r"<<\w+>>")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!]\s?[\u4e00-\u9fff]")
PICTURE, PICTURE_ZH = "Picture: ", "图："
IN_CODE = {"string", "f-string", "comment", "docstring"}


def faults_of(message: str, text: str, kind: str) -> Iterator[str]:
    """Yield what is wrong with a translation, in sentences.

    Parameters
    ----------
    message, text : str
        The English message and its translation.
    kind : str
        See `pieces.Piece`.
    """
    edges = [(part[: len(part) - len(part.lstrip("\n"))], _end(part)) for part in (message, text)]
    if edges[0] != edges[1]:
        yield "the line breaks at the beginning or the end differ"
    if message.startswith(PICTURE) != text.startswith(PICTURE_ZH):
        yield f"a translation of {PICTURE!r} begins with {PICTURE_ZH!r}, and no other does"
    if kind == "f-string":
        yield from _fields(message, text)
    elif kind not in IN_CODE:
        yield from _markup(message, text)
    if found := HALF_WIDTH.search(_prose(text)):
        yield f"{found[0]!r} has half-width punctuation beside Chinese"


def _end(text: str) -> str:
    return text[len(text.rstrip("\n")) :]


def _fields(message: str, text: str) -> Iterator[str]:
    try:
        same = code.fields_of(message) == code.fields_of(text)
    except ValueError as error:
        yield str(error)
    else:
        if not same:
            yield "the fields {...} differ"


def _markup(message: str, text: str) -> Iterator[str]:
    for what, find in (
        ("code spans, links, emphasis or tags", tokens_of),
        ("formulas", FORMULA.findall),
        ("entities", ENTITY.findall),
        ("marks <<...>>", MARK.findall),
        ("placeholders {...}", placeholders_of),
        ("cells of the table's row", cells_of),
    ):
        before, after = Counter(find(message)), Counter(find(text))
        if before != after:
            missing, added = [*(before - after)], [*(after - before)]
            said = f"; missing: {missing}" if missing else ""
            said += f"; added: {added}" if added else ""
            yield f"{what} differ{said}"


def tokens_of(text: str) -> list[str]:
    """Return the inline markup of a Markdown text as its parser sees it; each code span once."""
    parser: Any = need("markdown_it", "checking translations").MarkdownIt("commonmark")
    found = []
    for token in (parser.parseInline(text)[0].children or []) if text else []:
        if token.type in ("code_inline", "html_inline"):
            code_span = f"{token.type} {token.content}"
            found += [code_span] * (token.type != "code_inline" or code_span not in found)
        elif token.type in ("link_open", "image"):
            found.append(f"{token.type} {token.attrs.get('href') or token.attrs.get('src')}")
        elif token.type in ("strong_open", "em_open"):
            found.append(token.type)
    return found


def placeholders_of(text: str) -> list[str]:
    """Return the names in braces; none if the text isn't a template."""
    try:
        return [name for _, name, _, _ in Formatter().parse(text) if name]
    except ValueError:
        return []


def cells_of(text: str) -> list[str]:
    """Return one mark for each cell of a table's row."""
    return ["|"] * text.count("|") if text.startswith("|") else []


def _prose(text: str) -> str:
    return re.sub(r"`[^`]*`|\$[^$]*\$|\{[^}]*\}|\[[^\]]*\]", "", text)
