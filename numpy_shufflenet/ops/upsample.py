"""Up-sampling: the counterpart of pooling makes an image larger again.

    nearest    every pixel becomes a block of scale x scale equal ones
    bilinear   every new pixel is a weighted mean of its four neighbours

Both are linear and treat rows and columns alike, so one matrix for each axis is enough:

    y = R x C^T        R: (oh, h),  C: (ow, w), each row summing to 1
    dx = R^T dy C      backward is the transpose, as of every linear map

For nearest, R^T adds up the block that a pixel became.

The position of new pixel o among the old pixels depends on the convention. With align_corners=False
pixels are squares, and the images have the same edges: o is at (o + 1/2) / scale - 1/2, clipped to
the image. With align_corners=True pixels are points, and the images have the same corner points: o
is at o (h - 1) / (oh - 1).
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair
from numpy_shufflenet.ops._sums import product, sum_over
from numpy_shufflenet.ops.checks import as_pair, check_gradient, check_image
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import IMAGE, Settings, Shapes, of_image

__all__ = [
    "upsample_bilinear_backward",
    "upsample_bilinear_forward",
    "upsample_nearest_backward",
    "upsample_nearest_forward",
]


class UpsampleNearestCache(NamedTuple):
    """What `upsample_nearest_backward` needs."""

    shape: tuple[int, ...]  # of x
    dtype: np.dtype[np.floating]
    scale: tuple[int, int]


def upsample_nearest_forward(x: Array, scale: IntOrPair) -> tuple[Array, UpsampleNearestCache]:
    """Repeat every pixel.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    scale : int or (height, width)

    Returns
    -------
    y : array, shape (n, c, h * scale, w * scale)

    Raises
    ------
    ValueError
        If x is not 4-dimensional, or scale is not a whole number of at least 1.

    Source: the counterpart of average pooling with kernel and stride of scale.
    """
    check_image("x", x)
    sh, sw = as_pair("scale", scale)
    y = x.repeat(sh, axis=2).repeat(sw, axis=3)
    return y, UpsampleNearestCache(x.shape, x.dtype, (sh, sw))


def upsample_nearest_backward(dy: Array, cache: UpsampleNearestCache) -> Array:
    """Gradient of `upsample_nearest_forward`: dx (n, c, h, w), the sum over each block."""
    (n, c, h, w), dtype, (sh, sw) = cache
    check_gradient(dy, (n, c, h * sh, w * sw), dtype)
    return sum_over(dy.reshape(n, c, h, sh, w, sw), (3, 5))


class UpsampleBilinearCache(NamedTuple):
    """What `upsample_bilinear_backward` needs."""

    shape: tuple[int, ...]  # of x
    rows: Array  # oh h
    columns: Array  # ow w


def upsample_bilinear_forward(
    x: Array, scale: IntOrPair, *, align_corners: bool = False
) -> tuple[Array, UpsampleBilinearCache]:
    """Interpolate between pixels.

    Parameters
    ----------
    x, scale
        As in `upsample_nearest_forward`, with the same result and errors; x needs a pixel.
    align_corners : bool
        Whether corner points (True) or pixel squares (False) of both images are matched.

    Source: the conventions are those of PyTorch's `interpolate`.
    """
    check_image("x", x)
    if 0 in x.shape[2:]:
        raise ValueError(f"x has shape {x.shape}; there is no pixel to interpolate")
    sh, sw = as_pair("scale", scale)
    rows = interpolation_matrix(x.shape[2], sh, align_corners).astype(x.dtype)  # oh h
    columns = interpolation_matrix(x.shape[3], sw, align_corners).astype(x.dtype)  # ow w
    y = _weigh(columns, _weigh(rows, x, 2), 3)
    return y, UpsampleBilinearCache(x.shape, rows, columns)


def upsample_bilinear_backward(dy: Array, cache: UpsampleBilinearCache) -> Array:
    """Gradient of `upsample_bilinear_forward`: dx (n, c, h, w)."""
    (n, c, _, _), rows, columns = cache
    check_gradient(dy, (n, c, len(rows), len(columns)), rows.dtype)
    return _weigh(columns.T, _weigh(rows.T, dy, 2), 3)


def _weigh(weights: Array, x: Array, axis: int) -> Array:
    """Multiply the last but one or the last axis of x by a matrix of weights.

    A pixel of weight 0 adds nothing, even if it is infinite or NaN. If there are such pixels, their
    products are computed separately.
    """
    if axis == 3:
        return _weigh(weights, x.swapaxes(2, 3), 2).swapaxes(2, 3)
    finite = np.isfinite(x)
    if finite.all():
        return product(weights, x)
    y = product(weights, np.where(finite, x, 0))
    for value, found in ((np.inf, x == np.inf), (-np.inf, x == -np.inf), (np.nan, np.isnan(x))):
        y += np.where((weights > 0) @ found, x.dtype.type(value), 0)
    return y


def interpolation_matrix(size: int, scale: int, align_corners: bool = False) -> Array:
    """Return the weights of linear interpolation along one axis: (size * scale, size), float64."""
    new = np.arange(size * scale)
    if align_corners:
        position = new * (size - 1) / max(size * scale - 1, 1)
    else:
        position = np.clip((new + 0.5) / scale - 0.5, 0, size - 1)
    before = np.minimum(position.astype(int), max(size - 2, 0))
    after = np.minimum(before + 1, size - 1)
    weight = position - before
    matrix = np.zeros((len(new), size))
    matrix[new, before] += 1 - weight
    matrix[new, after] += weight
    return matrix


def _nearest_cases(draw: Draw) -> Case:
    return (draw(*draw.image(example=(3, 3, 2))),), {"scale": draw.pair(1, 3, example=(2, 3))}


def _bilinear_cases(draw: Draw) -> Case:
    align_corners = draw.option("align_corners", False, lambda: draw.choose(False, True))
    return (draw(*draw.image(example=(3, 3, 2))),), {
        "scale": draw.pair(1, 3, example=2),
        "align_corners": align_corners,
    }


def of_upsampling(shapes: Shapes, settings: Settings) -> dict[str, int]:
    """Return the letters of the image, the scales sh sw, the output oh ow, and ah aw.

    ah is the sum, over all new rows, of how many old rows have a weight in it; aw is the same for
    columns.
    """
    letters = of_image(shapes, settings)
    scales = as_pair("scale", settings["scale"])
    for axis, size, scale in zip(("h", "w"), shapes["x"][2:], scales, strict=True):
        weights = interpolation_matrix(size, scale, settings.get("align_corners", False))
        near = int(np.count_nonzero(weights))
        letters |= {f"s{axis}": scale, f"o{axis}": size * scale, f"a{axis}": near}
    return letters


register(
    upsample_nearest_forward,
    kind="pooling",
    linear_in=("x",),
    cases=_nearest_cases,
    formula=Formula(
        of_upsampling,
        Terms(read=IMAGE, written="n*c*oh*ow"),
        Terms(additions=f"{IMAGE} * (sh*sw - 1)", read="n*c*oh*ow", written=IMAGE),
    ),
)
register(
    upsample_bilinear_forward,
    kind="pooling",
    linear_in=("x",),
    cases=_bilinear_cases,
    formula=Formula(
        of_upsampling,
        Terms(
            multiplications="n*c * ah*aw",
            additions="n*c * (ah*aw - oh*ow)",
            read=IMAGE,
            written="n*c*oh*ow",
        ),
        Terms(
            multiplications="n*c * ah*aw",
            additions="n*c * (ah*aw - h*w)",
            read="n*c*oh*ow",
            written=IMAGE,
        ),
        kept="s * (oh*h + ow*w)",
    ),
)
