"""Translates docstrings to reStructuredText.

Our docstrings are written for an editor, and aren't reStructuredText. Indented blocks are
equations, tables or programs. Names are in backticks, with or without the names of their modules.
Sections are underlined as in NumPy.
"""

import re
from collections.abc import Callable, Sequence

Link = Callable[[str], str | None]
"""Takes a name in backticks; returns the role that links it, or None if no page shows the name."""

SPECIAL = re.compile(r"([\\*|_])")
LISTED = re.compile(r"(- |\d+\. )")
SOURCE = "Source: "


def to_rst(lines: Sequence[str], link: Link = lambda name: None) -> list[str]:
    """Return the lines of a docstring, without common indent, as lines of reStructuredText."""
    rst: list[str] = []
    in_section = False
    depth = 0  # indent of the text of the current list item
    for block in _blocks(lines):
        item = LISTED.match(block[0])
        depth = len(item[0]) if item else depth if block[0].startswith(" ") else 0
        if len(block) > 1 and re.fullmatch("-{3,}", block[1]):
            in_section = True
            rst += [f":{block[0]}:", *_entries(block[2:], link), ""]
        elif block[0].startswith(SOURCE):
            source = inline("\n".join(block).removeprefix(SOURCE), link)
            rst += [":Source:", *_indented(source), ""]
        elif in_section and block[0].startswith(" "):  # another paragraph of the last entry
            rst += [*_indented(inline("\n".join(block), link)), ""]
        else:
            in_section = False
            within = 0 if item else depth
            shown = _prose([line[within:] for line in block], link)
            rst += [*(f"{' ' * within}{line}".rstrip() for line in shown), ""]
    return rst


def inline(text: str, link: Link = lambda name: None) -> str:
    """Link the names in backticks, and escape all other markup."""
    parts = re.split(r"`([^`]+)`", text)
    for number, part in enumerate(parts):
        if number % 2 == 0:
            parts[number] = SPECIAL.sub(r"\\\1", part)
        else:
            name = " ".join(part.split())
            glue = (
                r"\ " if parts[number + 1][:1].isalnum() else ""
            )  # markup must end at the end of a word
            parts[number] = (link(name) or f"``{name}``") + glue
    return "".join(parts)


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """Split at blank lines, but not within an indented block, which may have blank lines."""
    blocks: list[list[str]] = []
    gap = True
    for line in lines:
        if not line.strip():
            gap = True
        elif not gap:
            blocks[-1].append(line.rstrip())
        elif blocks and 0 < _indent(line) == _indent(blocks[-1][0]):
            blocks[-1] += ["", line.rstrip()]
            gap = False
        else:
            blocks.append([line.rstrip()])
            gap = False
    return blocks


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indented(text: str) -> list[str]:
    return [f"    {line}".rstrip() for line in text.splitlines()]


def _prose(block: list[str], link: Link) -> list[str]:
    """Translate a paragraph, a list, or an indented block."""
    if block[0].startswith(" "):
        return [".. code-block:: text", "", *_indented("\n".join(block))]
    if LISTED.match(block[0]):
        return inline("\n".join(block), link).splitlines()
    end = next((i for i, line in enumerate(block) if line.startswith(" ")), len(block))
    rst = inline("\n".join(block[:end]), link).splitlines()
    return [*rst, "", *_prose(block[end:], link)] if end < len(block) else rst


def _entries(lines: Sequence[str], link: Link) -> list[str]:
    """Translate the entries of a section: `name : type`, and the indented text below."""
    rst = []
    for entry in re.split(r"\n(?=\S)", "\n".join(lines)):
        head, _, body = entry.partition("\n")
        name, colon, kind = head.partition(" : ")
        shown = f"**{inline(name)}** : {inline(kind, link)}" if colon else inline(head, link)
        about = [f"      {line.strip()}" for line in inline(body, link).splitlines()]
        rst += [f"    * {shown}", "", *about, ""]
    return rst
