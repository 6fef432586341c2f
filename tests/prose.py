"""Linters of Markdown, of which each yields what is wrong: a sentence with the place."""

import itertools
import pkgutil
import re
from pathlib import Path

PACKAGES = (
    "backend|bench|cost|course|data|exercises|gradcheck|kernels|models|nn|operations|ops|plan|"
    "plots|steps|timing|training|weights|zoo"
)
NAME = re.compile(
    rf"`(?:numpy_shufflenet\.)?((?:{PACKAGES})\.[A-Za-z_][\w.]*)(?:\(.*?\))?`", re.DOTALL
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(\s*<?([^)\s>]*)>?[^)]*\)")
TAG = re.compile(r"<img\b[^>]*>")
WEB = re.compile(r"(?:https?://(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?#][^\s<>\"]*)?|mailto:\S+@\S+)")


def of_lesson(source):
    """The Markdown of a lesson's source."""
    cells = re.split(r"^# %%", source, flags=re.MULTILINE)[1:]
    cells = [cell.partition("\n")[2] for cell in cells if cell.startswith(" [markdown]")]
    return "\n".join(re.sub(r"^# ?", "", cell, flags=re.MULTILINE) for cell in cells)


def without_code(text):
    """Blank out fenced blocks, indented ones, and code in a line."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))


def headings(text):
    found = re.findall(r"^(#{1,6}) +(.*)$", without_code(text), re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def wrong_headings(text):
    """One of level 1, and it is the first; no level is skipped."""
    levels = headings(text)
    if [level for level, _ in levels].count(1) != 1 or levels[0][0] != 1:
        yield "there must be one heading of level 1, the first"
    for (above, _), (level, title) in itertools.pairwise(levels):
        if level > above + 1:
            yield f"{title!r} is of level {level}, below one of level {above}"


def tex(text):
    """Formulas in TeX, which a page would load a program from outside for; the site shows `$$`."""
    for formula in re.findall(r"\$\$.*?\$\$|\\\(.*?\\\)", without_code(text), re.DOTALL):
        yield f"{formula} is TeX; write it as indented text"


def anchors(text):
    """The fragments that lead to its headings, as GitHub and Jupyter make them."""
    slugs = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(text)
    }
    return slugs | {title.replace(" ", "-") for _, title in headings(text)}


def wrong_links(text, folder):
    """Files exist, anchors lead to headings, addresses look like some."""
    for _, _, target in LINK.findall(without_code(text)):
        if re.match(r"\w+:", target):
            if not WEB.fullmatch(target):
                yield f"{target} is no address"
            continue
        path, _, anchor = target.partition("#")
        if path and not (folder / path).exists():
            yield f"{target}: there is no such file"
        elif anchor:
            other = (folder / path).read_text("utf-8") if path else text
            if anchor not in anchors(of_lesson(other) if path.endswith(".py") else other):
                yield f"{target}: there is no such heading"


def unnamed_pictures(text):
    """Every image has an alternative text."""
    for mark, alternative, target in LINK.findall(without_code(text)):
        if mark and not alternative.strip():
            yield f"{target} has no alternative text"
    for tag in TAG.findall(text):
        if not re.search(r"""alt=(["'])\s*\S.*?\1""", tag):
            yield f"{tag} has no alternative text"


def wrong_names(text):
    """What is named in backticks as part of the library is part of it."""
    for name in dict.fromkeys(NAME.findall(text)):
        if name.endswith(".py"):
            continue
        try:
            pkgutil.resolve_name(f"numpy_shufflenet.{name.rstrip('.')}")
        except (ImportError, AttributeError) as error:
            yield f"`{name}`: {error}"


def wrong_spelling(*paths):
    """What codespell, with the words of setup.cfg, doesn't know."""
    import contextlib
    import io

    from codespell_lib import main

    said = io.StringIO()
    config = Path(__file__).parents[1] / "setup.cfg"
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        main("--config", str(config), *map(str, paths))
    return said.getvalue().splitlines()
