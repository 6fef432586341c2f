"""A moving picture: one piece of HTML that contains everything it needs.

The picture is inline SVG with a small script. It loads no file and needs no extension, so it works
in JupyterLab, VS Code, an exported page and a static site. Without scripts, a reader sees a still
picture. Text and lines have the colours of the surrounding page.

A scene has elements, which are values such as the entries of an array. Each step of a scene writes
one element, as a sum of terms, and reads other elements.
"""

import hashlib
import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from numpy_shufflenet._files import write_bytes

Part: TypeAlias = int | str
"""A part of a term: the number of an element, whose value is shown, or a text."""


@dataclass(frozen=True)
class PictureStep:
    """One step of a scene: an element that is written, and the elements that it depends on."""

    output: int  #: the element that is written
    reads: Sequence[int] = ()
    terms: Sequence[Sequence[Part]] = ()  #: the terms of the sum; elements in a term are multiplied
    value: str = ""  #: the value of the sum
    function: str = ""  #: "max" if the terms are not added
    also: Sequence[int] = ()  #: elements at the same place as the output, such as x for dx
    winners: Sequence[int] = ()  #: the elements of `reads` that a maximum keeps
    extra: Sequence[int] = ()  #: wires and arrows to highlight with the step
    text: str = ""  #: a sentence in place of the sum
    note: str = ""  #: a sentence below the sum

    def data(self) -> dict[str, Any]:
        """Return the fields that the script needs; the script treats most of them as optional."""
        always = ("output", "reads", "terms", "value")
        return {key: value for key, value in vars(self).items() if value or key in always}


@dataclass
class Scene:
    """One tab of a picture, with elements, steps and a drawing."""

    name: str
    verb: str = "is read by"  #: the relation of an element to the elements that read it
    labels: list[str] = field(default_factory=list)  #: label of each element
    values: list[str] = field(default_factory=list)  #: value of each element
    kinds: list[str] = field(default_factory=list)  #: CSS class of each element, for its colour
    steps: list[PictureStep] = field(default_factory=list)
    body: str = ""  #: HTML of the drawing; a node's attribute data-e is its element's number
    still: int = 0  #: the step that is shown without scripts
    deep: bool = False  #: highlight everything that a step depends on, also indirectly

    def add(self, label: str, value: str = "", kind: str = "") -> int:
        """Add an element, and return its number."""
        self.labels.append(label)
        self.values.append(value)
        self.kinds.append(kind)
        return len(self.labels) - 1

    def classes(self, element: int) -> str:
        """Return the CSS classes of an element in the still picture."""
        step = self.steps[self.still]
        states = {
            "read": element in step.reads,
            "also": element in step.also,
            "win": element in step.winners,
            "on": element in step.extra,
            "out": element == step.output,
        }
        return "".join(f" {state}" for state, holds in states.items() if holds)

    def data(self) -> dict[str, Any]:
        """Return what the script needs."""
        kept = ("name", "verb", "labels", "values", "still", "deep")
        return {
            **{key: getattr(self, key) for key in kept},
            "steps": [step.data() for step in self.steps],
        }

    def html(self) -> str:
        """Return the still picture with its sum, in the form in which the script writes sums."""
        return (
            f'<section class="scene" aria-label="{html.escape(self.name)}">'
            f'<p class="name">{html.escape(self.name)}</p>{self.body}'
            f'<p class="sum" aria-live="polite">{self._sum()}</p></section>'
        )

    def _sum(self) -> str:
        step = self.steps[self.still]
        note = f'<span class="note">{html.escape(step.note)}</span>' if step.note else ""
        head = f"<b>{html.escape(self.labels[step.output])}</b> "
        if step.text:
            return f"{head}{html.escape(step.text)}{note}"
        terms = [f'<span class="t">{self._term(term)}</span>' for term in step.terms]
        text = f"{step.function}({', '.join(terms)})" if step.function else " + ".join(terms)
        if len(terms) != 1 or len(step.terms[0]) != 1:
            text += f"{' = ' if terms else ''}<b>{html.escape(step.value)}</b>"
        elif isinstance(step.terms[0][0], int):
            text = f"{html.escape(self.labels[step.terms[0][0]])} = {text}"
        return f"{head}= {text}{note}"

    def _term(self, term: Sequence[Part]) -> str:
        text = ""
        for number, part in enumerate(term):
            if isinstance(part, str):
                text += html.escape(part)
                continue
            if number and isinstance(term[number - 1], int):
                text += " × "
            text += f'<i class="{self.kinds[part]}">{html.escape(self.values[part])}</i>'
        return text


def svg(
    parts: Sequence[str],
    size: tuple[float, float],
    label: str,
    elements: tuple[int, int, int],
    *,
    backwards: bool = False,
    scroll: bool = False,
) -> str:
    """Return a drawing that the arrow keys can walk through.

    `elements` are the number of the first element, the count of elements, and the count in a row.
    If `scroll` is set, a drawing that is too wide for the page scrolls sideways.
    """
    width, height = size
    first, count, columns = elements
    style = f'style="min-width: {0.8 * width:.0f}px" ' if scroll else ""
    drawing = (
        f'<svg class="tile{" back" if backwards else ""}" role="group" '
        f'aria-label="{html.escape(label)}" {style}viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" data-first="{first}" data-count="{count}" '
        f'data-columns="{columns}">{"".join(parts)}</svg>'
    )
    return f'<div class="scroll">{drawing}</div>' if scroll else drawing


class MovingPicture:
    """Scenes that a reader can play, step through and hover over; a notebook shows the object.

    The first scene is shown first. Without scripts, all scenes are shown one below the other.
    """

    def __init__(self, title: str, scenes: Sequence[Scene]):
        self.title = title
        self.scenes = list(scenes)

    def html(self) -> str:
        """Return the picture as a piece of HTML for any page."""
        body = "".join(scene.html() for scene in self.scenes)
        data = json.dumps([scene.data() for scene in self.scenes], ensure_ascii=False)
        data = data.replace("</", "<\\/")  # "</script>" would end the script
        title = html.escape(self.title)
        key = hashlib.sha256((title + body + data).encode()).hexdigest()[:12]
        return (
            f"<style>{asset('picture.css')}</style>"
            f'<div class="nsn-moving" data-key="{key}" role="group" aria-label="{title}">'
            f'<p class="title">{title}</p>{body}</div>'
            f'<script>{asset("picture.js")}("{key}", {data});</script>'
        )

    def page(self) -> str:
        """Return a page with only the picture, in the reader's light or dark colours."""
        title = html.escape(self.title)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta name="color-scheme" content="light dark"><title>{title}</title>'
            "<style>body { margin: 1rem; }</style></head>"
            f"<body>{self.html()}</body></html>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `page` to a file; an interrupted write leaves the old file."""
        write_bytes(path, self.page().encode())

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        steps = sum(len(scene.steps) for scene in self.scenes)
        return f"MovingPicture({self.title!r}, {len(self.scenes)} scenes, {steps} steps)"


@cache
def asset(name: str) -> str:
    """Return the text of a file in this folder, without indents and empty lines."""
    text = resources.files("numpy_shufflenet.plots.moving").joinpath(name).read_text("utf-8")
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
