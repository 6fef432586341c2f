"""Which parts of a lesson become slides: rules, so that nobody maintains a second text.

- A heading begins a slide. The slides of a section lie below one another.
- A slide shows lists, tables and formulas, and of a paragraph the first sentence and those with
  bold words. The speaker's notes hold the paragraphs that were shortened.
- A folded answer appears with the next key. Each question of the recap has its own slide.
- Pictures have a slide without code. A cell that prints has its code on the slide, if it is short.
  A cell without output isn't shown.
- An exercise is a slide "Your turn" with the blank function; the solution lies below it. Hints
  aren't shown.

A slide holds about `LINES` lines; what doesn't fit goes on, below the same heading.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy_shufflenet._optional import need
from numpy_shufflenet.course.editions import tags
from numpy_shufflenet.course.tasks import split_cell

LINES = 11
COLUMNS = 72  # characters in a line of text
WHOLE = 150  # a paragraph up to this length isn't shortened
CODE_LINES = 16  # more code than this isn't shown beside its output
PRINTED = 22  # more lines of output go on, on the next slide
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>\s*(.*?)\s*</details>", re.DOTALL)
HINT = re.compile(r"(Hint|提示)")
SECTION = re.compile(r"<(/?)section\b")
QUESTION = re.compile(r"\d+\. ")
SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[^a-z\s])|(?<=[。！？])")


@dataclass
class DeckSlide:
    """A slide: a heading, and what stands below it."""

    heading: str
    #: "slide" begins a section; "subslide" lies below the slide before it.
    kind: str = "subslide"
    #: The heading of what doesn't fit; that of the slide itself if it is empty.
    goes_on: str = ""
    #: Markdown.
    text: list[str] = field(default_factory=list)
    #: Markdown that the next key shows.
    answer: str = ""
    #: A code cell, with what it shows.
    cell: Any = None
    #: Markdown for the speaker.
    notes: list[str] = field(default_factory=list)
    lines: float = 0

    @property
    def empty(self) -> bool:
        """Whether there is a heading only."""
        return not (self.text or self.answer or self.cell)


def slides(cells: Iterable[Any], solution: str = "Solution") -> list[DeckSlide]:
    """Return the slides of a lesson.

    Parameters
    ----------
    cells : iterable of NotebookNode
        The cells of a lesson's page, executed; see `site.lesson_page`.
    solution : str
        Title of the slides with solutions.
    """
    made: list[DeckSlide] = []
    for cell in cells:
        if cell.cell_type == "markdown":
            _add_text(made, cell.source)
        elif "remove-cell" not in tags(cell):
            _add_code(made, cell, solution)
    return [s for s in made if s.kind == "slide" or not s.empty]


def notebook(deck: Iterable[DeckSlide]) -> Any:
    """Return a notebook whose cells have the metadata that nbconvert's slides need."""
    new = need("nbformat", "a notebook").v4
    cells: list[Any] = []

    def add(kind: str, text: str) -> None:
        name = f"slide-{len(cells):04}"
        cells.append(new.new_markdown_cell(text, id=name, metadata=_kind(kind)))

    for slide in deck:
        add(slide.kind, "\n\n".join([slide.heading, *slide.text]))
        if slide.cell is not None:
            shown = slide.cell.copy()
            shown.id = f"slide-{len(cells):04}"
            named = tags(shown) | (set() if shown.source else {"no-code"})
            shown.metadata = type(shown.metadata)(_kind("-"), tags=sorted(named))
            cells.append(shown)
        if slide.answer:
            add("fragment", slide.answer)
        if slide.notes:
            add("notes", "\n\n".join(slide.notes))
    return new.new_notebook(cells=cells)


def _kind(kind: str) -> dict[str, Any]:
    return {"slideshow": {"slide_type": kind}}


def _add_text(made: list[DeckSlide], source: str) -> None:
    end = 0
    for details in DETAILS.finditer(source):
        _add_blocks(made, source[end : details.start()])
        end = details.end()
        title, answer = details.groups()
        if QUESTION.match(title):
            made.append(DeckSlide(f"### {QUESTION.sub('', title, count=1)}", answer=answer))
        elif not HINT.match(title):
            made[-1].answer = answer
    _add_blocks(made, source[end:])


def _add_blocks(made: list[DeckSlide], source: str) -> None:
    for kind, block in markdown_blocks(source):
        if kind == "heading":
            level = block.index(" ")
            made.append(DeckSlide(block, "slide" if level < 3 else "subslide"))
            continue
        shown = key_sentences(block) if kind == "paragraph" else block
        size = _lines(kind, shown)
        if made[-1].answer or made[-1].cell or made[-1].lines + size > LINES:
            made.append(_continued(made[-1]))
        made[-1].text.append(shown)
        made[-1].lines += size
        if shown != block:
            made[-1].notes.append(block)


def _add_code(made: list[DeckSlide], cell: Any, solution: str) -> None:
    cell = cell.copy()
    cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    if tags(cell) & {"exercise", "solution"}:
        cell.source, cell.outputs = split_cell(cell.source)[0], []
        if "solution" in tags(cell):
            section = next(s.heading for s in reversed(made) if s.kind == "slide")
            made.append(DeckSlide(f"### {solution}", goes_on=section))
        _place(made, cell)
    elif any(_is_picture(output) for output in cell.outputs):
        cell.source = ""
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):  # reveal.js takes each section for a slide
                output.data["text/html"] = SECTION.sub(r"<\1div", output.data["text/html"])
        _place(made, cell)
    elif cell.outputs:
        printed = "".join(
            o.get("text", o.get("data", {}).get("text/plain", "")) for o in cell.outputs
        )
        if "hide-input" in tags(cell) or len(cell.source.splitlines()) > CODE_LINES:
            cell.source = ""
        for part in portions(printed.strip("\n").splitlines()):
            if len(part) > CODE_LINES:
                cell.source = ""
            shown = cell.copy()
            shown.outputs = [_stream("\n".join(part))]
            _place(made, shown)
            cell.source = ""


def _place(made: list[DeckSlide], cell: Any) -> None:
    """Put a code cell on the last slide if it has room for it, or on a new one."""
    printed = [output.get("text", "") for output in cell.outputs]
    pictures = sum(map(_is_picture, cell.outputs))
    size = LINES * pictures + sum(_lines("code", text) for text in (cell.source, *printed) if text)
    last = made[-1]
    if not last.empty and (last.answer or last.cell or last.lines + size > LINES):
        made.append(_continued(last))
    made[-1].cell = cell
    made[-1].lines += size


def portions(lines: list[str]) -> Iterator[list[str]]:
    """Yield about `PRINTED` lines at a time; a portion ends at an empty line, if there is one."""
    while len(lines) > 1.2 * PRINTED:
        empty = [i for i in range(PRINTED // 2, PRINTED) if not lines[i].strip()]
        end = empty[-1] + 1 if empty else PRINTED
        yield lines[:end]
        lines = lines[end:]
    yield lines


def _stream(text: str) -> Any:
    return need("nbformat", "a notebook").v4.new_output("stream", text=text)


def _is_progress(output: Any) -> bool:
    html = output.get("data", {}).get("text/html", "")
    return output.get("name") == "stderr" or html.startswith("<progress")


def _is_picture(output: Any) -> bool:
    return any(kind.startswith("image/") or kind == "text/html" for kind in output.get("data", {}))


def _continued(slide: DeckSlide) -> DeckSlide:
    """Return a slide with the same heading, one level lower."""
    return DeckSlide(f"### {(slide.goes_on or slide.heading).lstrip('# ')}")


def _lines(kind: str, block: str) -> float:
    """Estimate how many lines of text a block takes on a slide, with the space below it."""
    lines = block.splitlines()
    if kind == "paragraph":
        return len(block) // COLUMNS + 1.5
    if kind == "list":
        return len(lines) + 0.5
    return 0.8 * len(lines) + 0.5


def markdown_blocks(source: str) -> Iterator[tuple[str, str]]:
    """Yield the blocks of Markdown: heading, paragraph, list, table, or another kind, and text."""
    parser = need("markdown_it", "reading a lesson").MarkdownIt().enable("table")
    lines = source.splitlines()
    for token in parser.parse(source):
        if token.level == 0 and token.map and token.nesting >= 0:
            text = "\n".join(lines[slice(*token.map)]).rstrip()
            kind = token.type.removesuffix("_open").removeprefix("bullet_")
            yield kind.removeprefix("ordered_"), text


def key_sentences(paragraph: str) -> str:
    """Return a short paragraph as it is; otherwise its first sentence and those with bold words.

    A last sentence that ends with a colon stays, too: it introduces the next block.
    """
    paragraph = " ".join(paragraph.split("\n"))
    if len(paragraph) <= WHOLE:
        return paragraph
    sentences = [""]
    for part in SENTENCE.split(paragraph):
        # Bold words and code may hold a full stop.
        if sentences[-1].count("**") % 2 or sentences[-1].count("`") % 2:
            sentences[-1] += " " + part
        else:
            sentences.append(part)
    first, *rest = [sentence for sentence in sentences if sentence]
    kept = [s for i, s in enumerate(rest) if "**" in s or (i == len(rest) - 1 and s[-1] in ":：")]
    return " ".join([first, *kept])
