"""A picture that moves: one piece of HTML that holds all it needs, still where scripts don't run.

It is inline SVG with a little script: no file is loaded, and no extension needed, so it works in
JupyterLab, VS Code, an exported page and a static site. Colours come from the page around it.
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
"""A factor of a term: an element, of which the value is shown, or a piece of text."""


@dataclass(frozen=True)
class PictureStep:
    """One moment of a scene.

    Attributes
    ----------
    output : int
        The element that is written.
    reads : sequence of int
        Elements that are looked at.
    terms : sequence of sequences of parts
        What is added up; neighbouring elements are factors of a product.
    value : str
        The sum.
    function : str
        What joins the terms, if it is not a sum: "max".
    also : sequence of int
        Elements that stand for the output, too: x beside dx.
    winners : sequence of int
        Of `reads`, those that are kept.
    extra : sequence of int
        Elements that light up: wires, arrows.
    text : str
        Said instead of a sum.
    note : str
        Said below it.
    """

    output: int
    reads: Sequence[int] = ()
    terms: Sequence[Sequence[Part]] = ()
    value: str = ""
    function: str = ""
    also: Sequence[int] = ()
    winners: Sequence[int] = ()
    extra: Sequence[int] = ()
    text: str = ""
    note: str = ""

    def data(self) -> dict[str, Any]:
        """Return what the script needs, without what is empty."""
        optional = {
            "k": self.function,
            "a": list(self.also),
            "w": list(self.winners),
            "x": list(self.extra),
            "h": self.text,
            "n": self.note,
        }
        always = {
            "o": self.output,
            "r": list(self.reads),
            "t": [list(term) for term in self.terms],
            "v": self.value,
        }
        return always | {key: value for key, value in optional.items() if value}


@dataclass
class Scene:
    """One tab of a picture.

    Attributes
    ----------
    name : str
    verb : str
        What an element that is read does to those that read it: "is read by".
    labels, values : list of str
        Of every element, by its number.
    steps : list of PictureStep
    body : str
        The still: HTML with an attribute data-e on what shows an element.
    kinds : list of str
        Of every element: the class that gives its colour.
    still : int
        The step that the still shows.
    deep : bool
        Whether a step lights up all that it depends on, and not only what it reads.
    """

    name: str
    verb: str = "is read by"
    labels: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    steps: list[PictureStep] = field(default_factory=list)
    body: str = ""
    still: int = 0
    deep: bool = False

    def add(self, label: str, value: str = "", kind: str = "") -> int:
        """Add an element; return its number."""
        self.labels.append(label)
        self.values.append(value)
        self.kinds.append(kind)
        return len(self.labels) - 1

    def classes(self, element: int) -> str:
        """Return the state of an element in the still, as classes."""
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
        return {
            "name": self.name,
            "verb": self.verb,
            "labels": self.labels,
            "values": self.values,
            "steps": [step.data() for step in self.steps],
            "still": self.still,
            "deep": self.deep,
        }

    def html(self) -> str:
        """Return the still with its sum, as the script writes it."""
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
        said = f"{step.function}({', '.join(terms)})" if step.function else " + ".join(terms)
        if len(terms) != 1 or len(step.terms[0]) != 1:
            said += f"{' = ' if terms else ''}<b>{html.escape(step.value)}</b>"
        elif isinstance(step.terms[0][0], int):
            said = f"{html.escape(self.labels[step.terms[0][0]])} = {said}"
        return f"{head}= {said}{note}"

    def _term(self, term: Sequence[Part]) -> str:
        said = ""
        for number, part in enumerate(term):
            if isinstance(part, str):
                said += html.escape(part)
                continue
            if number and isinstance(term[number - 1], int):
                said += " × "
            said += f'<i class="{self.kinds[part]}">{html.escape(self.values[part])}</i>'
        return said


class MovingPicture:
    """Scenes that can be played, stepped through and hovered over; notebooks show it by itself.

    Attributes
    ----------
    title : str
    scenes : list of Scene
        The first is shown first; without scripts all of them, one below the other.
    """

    def __init__(self, title: str, scenes: Sequence[Scene]):
        self.title = title
        self.scenes = list(scenes)

    def html(self) -> str:
        """Return the picture as a piece of HTML that can stand on any page."""
        body = "".join(scene.html() for scene in self.scenes)
        data = json.dumps([scene.data() for scene in self.scenes], ensure_ascii=False)
        data = data.replace("</", "<\\/")  # which would end the script
        title = html.escape(self.title)
        key = hashlib.sha256((title + body + data).encode()).hexdigest()[:12]
        return (
            f"<style>{asset('picture.css')}</style>"
            f'<div class="nsn-moving" data-key="{key}" role="group" aria-label="{title}">'
            f'<p class="title">{title}</p>{body}</div>'
            f'<script>{asset("picture.js")}("{key}", {data});</script>'
        )

    def page(self) -> str:
        """Return a whole page with nothing but the picture, light or dark as the reader has it."""
        title = html.escape(self.title)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta name="color-scheme" content="light dark"><title>{title}</title>'
            "<style>body { margin: 1rem; }</style></head>"
            f"<body>{self.html()}</body></html>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `page` to a file, whole or not at all."""
        write_bytes(path, self.page().encode())

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        steps = sum(len(scene.steps) for scene in self.scenes)
        return f"MovingPicture({self.title!r}, {len(self.scenes)} scenes, {steps} steps)"


@cache
def asset(name: str) -> str:
    """Return the text of a file that lies beside this one, without its comments and indents."""
    text = resources.files("numpy_shufflenet.plots.moving").joinpath(name).read_text("utf-8")
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
