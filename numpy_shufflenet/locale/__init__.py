"""Messages in the reader's language: `_("nothing is written yet")`.

The English message is the key. Translations are gettext PO files, one folder for each language:
`zh_CN/LC_MESSAGES/messages.po`. They are read as they are, so nothing has to be compiled. The
language is that of the environment variable NUMPY_SHUFFLENET_LANGUAGE, or of `set_language`. A
message without a translation stays in English.
"""

import functools
import json
import os
import re
from pathlib import Path

ENGLISH = "en"
LANGUAGES = {"zh_CN": "中文"}
"""The languages beside English, and what each calls itself."""

VARIABLE = "NUMPY_SHUFFLENET_LANGUAGE"
FOLDER = Path(__file__).parent
_chosen: list[str] = []  # the language of `set_language`


def set_language(name: str) -> None:
    """Choose the language of messages: "en", or a key of `LANGUAGES`; else raise ValueError."""
    _chosen[:] = [known(name)]


def current_language() -> str:
    """Return the language of messages; "en" if nobody has chosen another."""
    return _chosen[0] if _chosen else known(os.environ.get(VARIABLE) or ENGLISH)


def known(name: str) -> str:
    """Return the name of a language, or raise ValueError if there is no such language."""
    if name != ENGLISH and name not in LANGUAGES:
        there = ", ".join([ENGLISH, *LANGUAGES])
        raise ValueError(f"there is no language {name!r}; there are {there}")
    return name


def _(message: str) -> str:
    """Return a message in the chosen language."""
    chosen = current_language()
    return message if chosen == ENGLISH else translate(message, chosen)


def marked(message: str) -> str:
    """Return a message as it is; mark it for translation, where `_` is called later."""
    return message


def translate(message: str, name: str) -> str:
    """Return a message in the language of this name."""
    return message if name == ENGLISH else catalogue(name).get(message, message)


@functools.cache
def catalogue(name: str) -> dict[str, str]:
    """Return all translated messages of the package in a language."""
    files = sorted((FOLDER / name / "LC_MESSAGES").glob("*.po"))
    return {key: text for file in files for key, text in read_po(file).items()}


def read_po(path: Path) -> dict[str, str]:
    """Return the translations of a PO file, without those that are empty or fuzzy.

    Raises
    ------
    ValueError
        If a line isn't one of a PO file: of two branches that were merged, for example.
    """
    found: dict[str, str] = {}
    for entry in re.split(r"\n\s*\n", path.read_text("utf-8")):
        lines = [line for line in entry.splitlines() if line]
        texts = {"msgid": "", "msgstr": ""}
        name = ""
        for line in lines:
            if not line.startswith("#"):
                start, _, rest = line.partition('"')
                name = start.strip() or name
                try:
                    texts[name] += json.loads(f'"{rest}')
                except (KeyError, ValueError):
                    raise ValueError(f"{path}: this is no line of a PO file: {line}") from None
        if texts["msgid"] and texts["msgstr"] and not any(_is_fuzzy(line) for line in lines):
            found[texts["msgid"]] = texts["msgstr"]
    return found


def _is_fuzzy(line: str) -> bool:
    return line.startswith("#,") and "fuzzy" in line
