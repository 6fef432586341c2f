"""Arrays as tiles of numbers: a tile has a cell for each entry of an array's last two axes."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.moving.picture import Scene, svg

WIDTH, HEIGHT = 38, 28  # size of a cell
Margins = tuple[tuple[int, int], tuple[int, int]]
NO_BORDER: Margins = ((0, 0), (0, 0))
LEADING = {"x": ("image", "channel"), "w": ("kernel", "channel"), "y": ("image", "channel")}


@dataclass
class Grid:
    """An array whose entries are elements of a scene."""

    name: str
    array: Array
    kind: str  #: CSS class of the array's colour: "k0", "k1", ... or "ky"
    first: int  #: number of the scene's element for the first entry
    border: Margins = NO_BORDER  #: rows and columns of padding around each tile
    border_text: str = "0"  #: text in the padding

    @classmethod
    def add(cls, scene: Scene, name: str, array: Any, kind: str, **settings: Any) -> "Grid":
        """Add every entry of an array to a scene."""
        array = np.asarray(array)
        first = len(scene.labels)
        if array.dtype.kind == "f":  # show rounding errors of 0 as 0
            noise = 1e-6 if array.dtype == np.float32 else 1e-12
            array = np.where(np.abs(array) < noise * np.abs(array).max(initial=0.0), 0, array)
        for index in np.ndindex(array.shape):
            place = f"[{','.join(map(str, index))}]" if index else ""
            scene.add(name + place, short_number(array[index]), kind)
        return cls(name, array, kind, first, **settings)

    def element(self, index: Sequence[int]) -> int:
        """Return the number of an entry's element."""
        return self.first + (
            int(np.ravel_multi_index(tuple(index), self.array.shape)) if index else 0
        )

    def html(self, scene: Scene) -> str:
        """Return the array as a figure."""
        shape = self.array.shape
        height, width = (1, 1, *shape)[-2:]
        leading = shape[:-2]
        largest = float(np.abs(self.array).max(initial=0.0)) or 1.0
        tiles = []
        for number_, index in enumerate(np.ndindex(leading)):
            first = self.first + number_ * height * width
            names = self._tile_name(index)
            svg = self._tile(scene, first, height, width, largest, names)
            tiles.append(f"<div>{svg}{f'<small>{names}</small>' if names else ''}</div>")
        columns = shape[1] if len(shape) == 4 else 1
        size = " × ".join(map(str, shape)) if shape else "a number"
        return (
            f'<figure class="{self.kind}" data-k="{self.kind}">'
            f"<figcaption><b>{html.escape(self.name)}</b> <span>{size}</span></figcaption>"
            f'<div class="tiles" style="grid-template-columns: repeat({columns}, auto)">'
            f"{''.join(tiles)}</div></figure>"
        )

    def _tile_name(self, index: Sequence[int]) -> str:
        shape = self.array.shape[: len(index)]
        words = LEADING.get(self.name.lstrip("d")[:1], ("", ""))
        named = zip(words, index, shape, strict=False)
        return ", ".join(f"{word} {i}" for word, i, size in named if size > 1 and word)

    def _tile(
        self, scene: Scene, first: int, height: int, width: int, largest: float, names: str
    ) -> str:
        (top, bottom), (left, right) = self.border
        w, h = (left + width + right) * WIDTH, (top + height + bottom) * HEIGHT
        cells = []
        for r, s in np.ndindex(top + height + bottom, left + width + right):
            corner = f'x="{s * WIDTH + 1}" y="{r * HEIGHT + 1}"'
            rect = f'{corner} width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="3"'
            middle = f'x="{(s + 0.5) * WIDTH:g}" y="{(r + 0.5) * HEIGHT:g}"'
            i, j = r - top, s - left
            if not (0 <= i < height and 0 <= j < width):
                text = f"<text {middle}>{self.border_text}</text>"
                cells.append(f'<g class="pad"><rect {rect}/>{text}</g>')
                continue
            element = first + i * width + j
            value = float(self.array.reshape(-1)[element - self.first])
            sign = "m" if value < 0 else "p"
            shade = min(abs(value) / largest, 1) * 0.5 if math.isfinite(value) else 0
            cells.append(
                f'<g class="c {self.kind}{scene.classes(element)}" data-e="{element}">'
                f'<rect {rect} class="{sign}" fill-opacity="{shade:.2f}"/>'
                f"<text {middle}>{scene.values[element]}</text></g>"
            )
        label = f"{self.name}{', ' if names else ''}{names}: {height} by {width} numbers"
        return svg(cells, (w, h), label, (first, height * width, width))


def short_number(value: Any) -> str:
    """Return a number as text of at most about five characters, with a typographic minus sign."""
    if isinstance(value, np.integer | np.bool_ | int):
        return str(int(value)).replace("-", "−")
    value = float(value)
    if not math.isfinite(value):
        return str(value).replace("inf", "∞").replace("-", "−")
    if value == 0:
        return "0"
    if abs(value) >= 999.5 or abs(value) < 0.005:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    else:
        text = f"{value:.{2 if abs(value) < 99.5 else 0}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")
