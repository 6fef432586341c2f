"""What the axes of arrays are called, and the sizes by which a student may multiply or divide."""

import math
from typing import Any

import numpy as np


def axes_of(name: str, ndim: int) -> tuple[str, ...]:
    """Return what the axes of an array are called."""
    if ndim == 4 and name in ("w", "dw"):
        return "filter", "input channel", "row", "column"
    known = {2: ("row", "column"), 4: ("image", "channel", "row", "column")}
    return known.get(ndim) or tuple(f"entry of axis {axis}" for axis in range(ndim))


def sizes_of(case: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, int]:
    """Return the sizes of a case, with their names."""
    arrays, settings = case
    found: dict[str, int] = {}
    shapes = {name: np.shape(a) for name, a in arrays.items() if not isinstance(a, tuple)}
    for name, shape in sorted(shapes.items(), key=lambda item: -len(item[1])):
        if len(shape) == 4 and name in ("x", "dy"):
            n, c, h, w = shape
            one = "of the image" if name == "x" else "of an output"
            found |= {"n, the number of images": n, f"h w, the pixels {one}": h * w}
            found |= {f"n h w, the values of a channel {one}": n * h * w}
            found |= {f"the number of channels {one}": c, f"all entries {one}": n * c * h * w}
            found |= {f"the number of rows {one}": h, f"the number of columns {one}": w}
        elif len(shape) == 4 and name == "w":
            found["kh kw, the weights of a window"] = shape[2] * shape[3]
            found["c kh kw, the weights of a filter"] = math.prod(shape[1:])
        elif len(shape) == 2:
            found[f"the number of rows of {name}"], found[f"the number of columns of {name}"] = (
                shape
            )
    for name in ("kernel_size", "stride", "scale", "groups"):
        value = settings.get(name)
        if isinstance(value, int):
            found[name] = value
        if name in ("kernel_size", "scale") and isinstance(value, int | tuple):
            found[f"{name} squared"] = value**2 if isinstance(value, int) else math.prod(value)
    return found
