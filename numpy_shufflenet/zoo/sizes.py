"""What the axes of arrays are called, and the sizes by which a student may multiply or divide."""

import math
from typing import Any

import numpy as np

from numpy_shufflenet.locale import _


def axes_of(name: str, ndim: int) -> tuple[str, ...]:
    """Return what an entry along each axis of an array is called: a row, a column, ..."""
    if ndim == 4 and name in ("w", "dw"):
        return _("filter"), _("input channel"), _("row"), _("column")
    known = {2: (_("row"), _("column")), 4: (_("image"), _("channel"), _("row"), _("column"))}
    return known.get(ndim) or tuple(_("entry of axis {n}").format(n=n) for n in range(ndim))


def plural_axes_of(name: str, ndim: int) -> tuple[str, ...]:
    """Return what the entries along each axis of an array are called: rows, columns, ..."""
    if ndim == 4 and name in ("w", "dw"):
        return _("filters"), _("input channels"), _("rows"), _("columns")
    known = {
        2: (_("rows"), _("columns")),
        4: (_("images"), _("channels"), _("rows"), _("columns")),
    }
    return known.get(ndim) or tuple(_("entries of axis {n}").format(n=n) for n in range(ndim))


def sizes_of(case: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, int]:
    """Return the sizes of a case, with their names."""
    arrays, settings = case
    found: dict[str, int] = {}
    shapes = {name: np.shape(a) for name, a in arrays.items() if not isinstance(a, tuple)}
    for name, shape in sorted(shapes.items(), key=lambda item: -len(item[1])):
        if len(shape) == 4 and name in ("x", "dy"):
            n, c, h, w = shape
            one = _("of the image") if name == "x" else _("of an output")
            found[_("n, the number of images")] = n
            for said, size in (
                (_("h w, the pixels {one}"), h * w),
                (_("n h w, the values of a channel {one}"), n * h * w),
                (_("the number of channels {one}"), c),
                (_("all entries {one}"), n * c * h * w),
                (_("the number of rows {one}"), h),
                (_("the number of columns {one}"), w),
            ):
                found[said.format(one=one)] = size
        elif len(shape) == 4 and name == "w":
            found[_("kh kw, the weights of a window")] = shape[2] * shape[3]
            found[_("c kh kw, the weights of a filter")] = math.prod(shape[1:])
        elif len(shape) == 2:
            found[_("the number of rows of {name}").format(name=name)] = shape[0]
            found[_("the number of columns of {name}").format(name=name)] = shape[1]
    for name in ("kernel_size", "stride", "scale", "groups"):
        value = settings.get(name)
        if isinstance(value, int):
            found[name] = value
        if name in ("kernel_size", "scale") and isinstance(value, int | tuple):
            found[_("{name} squared").format(name=name)] = (
                value**2 if isinstance(value, int) else math.prod(value)
            )
    return found
