"""The result of an exercise: text, a picture of your result and the target, and points."""

import html
import json
import textwrap
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.exercise import NEUTRAL, Case
from numpy_shufflenet.exercises.judge import Problem, differs
from numpy_shufflenet.locale import _
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import asset

MOST_DRAWN = 300  # entries of an array; larger arrays are not drawn
CELL_WIDTH, CELL_HEIGHT = 40, 26
STYLE = """
.nsn-moving .bad rect { stroke: var(--red); stroke-opacity: 1; stroke-width: 3; }
.nsn-moving .bad text { font-weight: 700; }
.nsn-moving.answer { border-left: 5px solid var(--hue); padding: .2em 0 .2em 1em; }
.nsn-moving.answer p { margin: .3em 0; }
.nsn-moving.answer pre { white-space: pre-wrap; font-size: 12px; margin: .4em 0; color: inherit;
  background: color-mix(in srgb, currentColor 6%, transparent); padding: .5em; }
"""


@dataclass
class Result:
    """The outcome of a check. A notebook shows it as a picture."""

    exercise: str
    passed: bool
    #: What was tested, or what is wrong, in a sentence.
    message: str
    #: The likely cause; "" if none was found.
    cause: str = ""
    #: The smallest case that failed.
    case: Case | None = None
    problem: Problem | None = None
    #: The points earned, and the points for a right answer.
    points: float = 0.0
    of: float = 1.0
    #: What the function printed in the case that failed.
    printed: str = ""
    #: Without a cause: what is right and what is wrong in all cases.
    so_far: str = ""
    _shown: bool = field(default=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what a grade book stores, as plain data."""
        stored = ("exercise", "passed", "points", "of", "message", "cause")
        return {name: getattr(self, name) for name in stored}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        if self.passed:
            return f"{self.exercise}: {self.message}"
        parts = [f"{self.exercise}: {self.message}"]
        if self.cause:
            parts.append(_("likely cause: {cause}").format(cause=self.cause))
        if self.so_far:
            parts.append(_("in all cases: {facts}").format(facts=self.so_far))
        if self.case is not None:
            code = textwrap.indent(self._code(), "    ")
            parts.append(f"{_('the smallest case that fails:')}\n{code}")
        if self.problem is not None and self.problem.yours is not None:
            target = textwrap.indent(str(self.problem.target), "    ")
            yours = textwrap.indent(str(self.problem.yours), "    ")
            parts.append(f"{_('target:')}\n{target}\n{_('yours:')}\n{yours}")
        if self.printed:
            printed = textwrap.indent(self.printed, "    ")
            parts.append(f"{_('your function printed:')}\n{printed}")
        return "\n".join(parts)

    def show(self) -> None:
        """Show the result if this is a notebook.

        If the result is also the value of the cell, the notebook doesn't show it a second time.
        """
        try:
            from IPython import get_ipython
        except ImportError:
            return
        if get_ipython() is not None:
            self._ipython_display_()
            self._shown = True

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        if not self._shown:
            display(HTML(self._repr_html_()))  # type: ignore[no-untyped-call]
        self._shown = False

    def _repr_html_(self) -> str:
        mark = _("✓ Right") if self.passed else _("✗ Not yet")
        hue = "var(--green)" if self.passed else "var(--red)"
        said = [
            f"<p><b>{mark}{_(': ')}{html.escape(self.exercise)}{_('.')}</b> "
            f"{html.escape(self.message)}</p>",
        ]
        if self.cause:
            said.append(_titled(_("Likely cause:"), self.cause))
        if self.so_far:
            said.append(_titled(_("In all cases:"), self.so_far))
        problem = self.problem
        if problem is not None and problem.yours is not None and problem.target is not None:
            said.append(side_by_side(problem.name, problem.target, problem.yours))
        if self.case is not None:
            said.append(
                "<details open><summary>"
                f"{_('The smallest case that fails, to run yourself')}</summary>"
                f"<pre>{html.escape(self._code())}</pre></details>"
            )
        if self.printed:
            said.append(
                f"<p>{_('Your function printed:')}</p><pre>{html.escape(self.printed)}</pre>"
            )
        return (
            f"<style>{asset('picture.css')}{STYLE}</style>"
            f'<div class="nsn-moving answer" style="--hue: {hue}">{"".join(said)}</div>'
        )

    def _code(self) -> str:
        """Return Python code that makes the case."""
        assert self.case is not None
        arrays, settings = self.case
        lines = [
            f"{name.replace('[', '_').replace(']', '')} = {_literal(array)}"
            for name, array in arrays.items()
            if array is not None
        ]
        lines += [
            f"{name} = {_literal(value)}"
            for name, value in settings.items()
            if name not in NEUTRAL or value != NEUTRAL[name] or "kernel_size" in settings
        ]
        return "\n".join(lines)


class NotYet(AssertionError):  # noqa: N818 - the name tells a student to go on
    """An answer is not right yet; `result` says why.

    A notebook has shown the result already, so this error prints one line instead of a traceback.
    """

    def __init__(self, result: Result):
        super().__init__(str(result))
        self.result = result

    def _render_traceback_(self) -> list[str]:
        said = _("Not yet: {exercise}. Change your function and run this cell again.")
        return [said.format(exercise=self.result.exercise)]


def _titled(title: str, text: str) -> str:
    """Return a paragraph that ends with a full stop."""
    end = _(".")
    return f"<p><b>{title}</b> {html.escape(text.removesuffix(end))}{end}</p>"


def side_by_side(name: str, target: Array, yours: Array) -> str:
    """Draw both arrays as grids of numbers with wrong entries framed; "" if they are too large."""
    target, yours = np.asarray(target, float), np.asarray(yours, float)
    if max(target.size, yours.size) > MOST_DRAWN:
        return ""
    same = target.shape == yours.shape
    wrong = differs(yours, target) if same else np.ones(yours.shape, bool)
    titles = [_("{name}, the target").format(name=name), _("{name}, yours").format(name=name)]
    right_grid = _grids(titles[0], target, np.zeros(target.shape, bool), "k0")
    return f'<div class="row">{right_grid}{_grids(titles[1], yours, wrong, "ky")}</div>'


def _grids(title: str, array: Array, wrong: Array, kind: str) -> str:
    height, width = (1, 1, *array.shape)[-2:]
    largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) or 1.0
    tiles = []
    for index in np.ndindex(array.shape[:-2]):
        values, bad = (np.reshape(a[index], (height, width)) for a in (array, wrong))
        cells = [
            _cell(r, s, float(values[r, s]), bool(bad[r, s]), largest)
            for r, s in np.ndindex(height, width)
        ]
        w, h = width * CELL_WIDTH, height * CELL_HEIGHT
        place = f"<small>{', '.join(map(str, index))}</small>" if index else ""
        tiles.append(
            f'<div><svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            f'aria-label="{html.escape(title)} {index}">{"".join(cells)}</svg>{place}</div>'
        )
    columns = array.shape[1] if array.ndim == 4 else 1
    shape = " × ".join(map(str, array.shape)) or _("a number")
    return (
        f'<figure class="{kind}"><figcaption><b>{html.escape(title)}</b> <span>{shape}</span>'
        f'</figcaption><div class="tiles" style="grid-template-columns: repeat({columns}, auto)">'
        f"{''.join(tiles)}</div></figure>"
    )


def _cell(r: int, s: int, value: float, bad: bool, largest: float) -> str:
    shade = min(abs(value) / largest, 1) * 0.5 if np.isfinite(value) else 0
    sign = "m" if value < 0 else "p"
    return (
        f'<g class="c{" bad" if bad else ""}"><rect x="{s * CELL_WIDTH + 2}" '
        f'y="{r * CELL_HEIGHT + 2}" width="{CELL_WIDTH - 4}" height="{CELL_HEIGHT - 4}" rx="3" '
        f'class="{sign}" fill-opacity="{shade:.2f}"/><text x="{(s + 0.5) * CELL_WIDTH}" '
        f'y="{(r + 0.5) * CELL_HEIGHT}">{"✗ " if bad else ""}{short_number(value)}</text></g>'
    )


def _literal(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = np.array2string(value, separator=", ", threshold=10_000, max_line_width=10_000)
        return f"np.array({' '.join(text.split())})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_literal(part)}' for key, part in value.items())}}}"
    if isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):
        return f"({', '.join(map(_literal, value))},)"
    return repr(value.item() if isinstance(value, np.generic) else value)
