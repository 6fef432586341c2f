"""The letters of the formulas: every dimension that a count depends on, from shapes and settings.

n c h w is the input, o the output's channels, g the groups, kh kw the kernel, oh ow the output.
Of windows: uh uw are the rows and columns of the image that some window sees (a stride larger than
the kernel skips some), rh rw the same of the padded image, border included.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from numpy_shufflenet.ops.checks import as_padding, as_pair

Shape = tuple[int, ...]
Dimensions = dict[str, int]


def of_image(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return n, c, h, w, and m = n h w, the values of a channel."""
    n, c, h, w = shapes["x"]
    return {"n": n, "c": c, "h": h, "w": w, "m": n * h * w}


def of_any(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return the size of x, of whatever shape."""
    return {"size": math.prod(shapes["x"])}


def of_sum(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """size: the numbers in each of two equal arrays."""
    return {"size": math.prod(shapes["x1"])}


def of_parts(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return the size of all arrays together."""
    return {"size": sum(map(math.prod, shapes.values()))}


def of_windows(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return the dimensions of a convolution or a pool."""
    dimensions = of_image(shapes, settings)
    if "w" in shapes:
        o, share, kh, kw = shapes["w"]
        dimensions |= {"o": o, "g": dimensions["c"] // share, "b": int("b" in shapes)}
    else:
        kh, kw = as_pair("kernel_size", settings["kernel_size"])
    stride = settings.get("stride", 1)
    strides = (kh, kw) if stride is None else as_pair("stride", stride)
    dilations = as_pair("dilation", settings.get("dilation", 1))
    paddings = as_padding(settings.get("padding", 0))
    axes = zip(("h", "w"), shapes["x"][2:], (kh, kw), strides, paddings, dilations, strict=True)
    for axis, size, kernel, step, sides, dilation in axes:
        before, after = sides
        outputs = (size + before + after - dilation * (kernel - 1) - 1) // step + 1
        seen = {p * step + i * dilation for p in range(outputs) for i in range(kernel)}
        inside = sum(before <= row < before + size for row in seen)
        dimensions |= {f"k{axis}": kernel, f"o{axis}": outputs}
        dimensions |= {f"r{axis}": len(seen), f"u{axis}": inside}
    return dimensions


def of_pool(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return the dimensions of a pool, whose windows tile the image where no stride is given."""
    return of_windows(shapes, {"stride": None, **settings})


def of_excitation(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return those of the image, and the hidden units r."""
    return {**of_image(shapes, settings), "r": shapes["w1"][0]}


def of_linear(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return rows n, inputs i, outputs o, and whether there is a bias b."""
    n, i = shapes["x"]
    return {"n": n, "i": i, "o": shapes["w"][0], "b": int("b" in shapes)}


def of_rows(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return rows n and classes k of logits."""
    n, k = shapes["logits"]
    return {"n": n, "k": k}


def of_upsampling(shapes: Mapping[str, Shape], settings: Mapping[str, Any]) -> Dimensions:
    """Return those of the image, the scales sh sw, the output, and the old pixels near new ones.

    ah is the sum, over all new rows, of how many old rows have a weight in it; aw of columns.
    """
    dimensions = of_image(shapes, settings)
    scales: Sequence[int] = as_pair("scale", settings["scale"])
    for axis, size, scale in zip(("h", "w"), shapes["x"][2:], scales, strict=True):
        near = _near_rows(size, scale, settings.get("align_corners", False))
        dimensions |= {f"s{axis}": scale, f"o{axis}": size * scale, f"a{axis}": near}
    return dimensions


def _near_rows(size: int, scale: int, align_corners: bool) -> int:
    """A new row lies on an old one, or beyond the edge: 1 near it; or between two: 2."""
    new = range(size * scale)
    if align_corners:
        last = max(size * scale - 1, 1)
        between = sum(row * (size - 1) % last > 0 for row in new)
    else:  # the centre of a new row is (2 row + 1 - scale) / (2 scale) old rows down
        centres = [2 * row + 1 - scale for row in new]
        edge = 2 * scale * (size - 1)
        between = sum(0 < centre < edge and centre % (2 * scale) > 0 for centre in centres)
    return len(new) + between
