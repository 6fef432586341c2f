"""Where the windows of a convolution or a pool lie, and how NumPy reads them.

A tap is one position (i, j) of the kernel. Along one axis, tap k of output o reads row
`o * stride + k * dilation` of the padded input. So tap k of all outputs reads the rows
`k * dilation, k * dilation + stride, ...`, one row for each output. These rows are a strided slice:
NumPy makes a view of them without a copy, and an operation on windows is a loop over a few taps.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops._sums import wide
from numpy_shufflenet.ops.checks import as_padding, as_pair
from numpy_shufflenet.registry import Draw
from numpy_shufflenet.registry.formula import Settings, Shapes, of_image


class Windows(NamedTuple):
    """The geometry of windows over an image of a given size."""

    kernel: tuple[int, int]  # kh, kw
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
    dilation: tuple[int, int]
    size: tuple[int, int]  # h, w, before padding
    output: tuple[int, int]  # oh, ow

    def taps(self) -> Iterator[tuple[int, int]]:
        """Every (i, j) of the kernel, in row-major order."""
        return iter(np.ndindex(*self.kernel))

    def pad(self, x: Array, value: float = 0.0) -> Array:
        """Return x with its border: (n, c, h, w) -> (n, c, h + top + bottom, w + left + right)."""
        if self.padding == ((0, 0), (0, 0)):
            return x
        (top, _), (left, _) = self.padding
        h, w = self.size
        # `full_like` keeps the memory layout of x, such as channel-major.
        padded = np.full_like(x, value, shape=(*x.shape[:2], *self.padded_size))
        padded[:, :, top : top + h, left : left + w] = x
        return padded

    def crop(self, padded: Array) -> Array:
        """Return the view of a padded image without its border: the transpose of `pad`."""
        (top, _), (left, _) = self.padding
        h, w = self.size
        return padded[:, :, top : top + h, left : left + w]

    def tap(self, padded: Array, i: int, j: int) -> Array:
        """Return the view (n, c, oh, ow) of the pixel that each output reads at tap (i, j)."""
        (sh, sw), (dh, dw), (oh, ow) = self.stride, self.dilation, self.output
        rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
        columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
        return padded[:, :, rows, columns]

    def inside(self, i: int, j: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return two indices: the outputs that read a pixel of x at tap (i, j), and these pixels.

        At tap (i, j) the other outputs read the border.
        """
        outputs, pixels = [], []
        for axis, tap in enumerate((i, j)):
            stride, size = self.stride[axis], self.size[axis]
            start = tap * self.dilation[axis] - self.padding[axis][0]  # what output 0 reads
            first = max(0, -(start // stride))
            last = max(first, min(self.output[axis], (size - 1 - start) // stride + 1))
            outputs.append(slice(first, last))
            pixels.append(slice(start + first * stride, start + last * stride, stride))
        return (..., *outputs), (..., *pixels)

    def accumulator(self, x: Array, channels: int, size: tuple[int, int]) -> Array:
        """Return zeros (n, channels, *size) in the layout of x, to which every tap adds.

        The zeros are float64 if the kernel has many taps: see `_sums`.
        """
        dtype = wide(x.dtype, self.kernel[0] * self.kernel[1])
        return np.zeros_like(x, dtype, shape=(len(x), channels, *size))

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width with the border."""
        (top, bottom), (left, right) = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right


def windows_over(
    x: Array,
    kernel: tuple[int, int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> Windows:
    """Work out the windows over x (n, c, h, w), or raise ValueError if the kernel doesn't fit.

    Output sizes are rounded down, as in PyTorch: rows that no window reaches are not used.
    """
    sides, size = as_padding(padding), (x.shape[2], x.shape[3])
    return _fit(size, kernel, as_pair("stride", stride), sides, as_pair("dilation", dilation))


@functools.lru_cache(maxsize=256)
def _fit(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    dilation: tuple[int, int],
) -> Windows:
    """Work out the windows from arguments that were checked one by one."""
    output = []
    for axis, name in enumerate(("height", "width")):
        before, after = padding[axis]
        span = (kernel[axis] - 1) * dilation[axis] + 1
        room = size[axis] + before + after - span
        if size[axis] < 1 or room < 0:
            raise ValueError(
                f"a kernel that spans {span} does not fit into x of {name} {size[axis]} "
                f"with padding=({before}, {after})"
            )
        output.append(room // stride[axis] + 1)
    return Windows(kernel, stride, padding, dilation, size, (output[0], output[1]))


def smallest_image(
    kernel: tuple[int, int], padding: Padding, dilation: IntOrPair = 1
) -> tuple[int, int]:
    """Return the smallest (height, width) into which the kernel fits."""
    axes = zip(kernel, as_padding(padding), as_pair("dilation", dilation), strict=True)
    height, width = (max(1, (k - 1) * d + 1 - sum(sides)) for k, sides, d in axes)
    return height, width


def draw_convolution(
    draw: Draw, c: int, o: int, groups: int, *, width: int = 3, padding: Padding = 1
) -> tuple[Array, Array, dict[str, Any]]:
    """Draw x of c channels and w of o kernels, and stride, padding and dilation.

    In the example, kernels are 3 x `width`.
    """
    kernel = (draw.integer(1, 3, example=3), draw.integer(1, 3, example=width))
    settings = {
        "stride": draw.option("stride", 1, lambda: draw.pair(1, 3, example=2)),
        "padding": draw.option("padding", 0, lambda: draw.padding(2, example=padding)),
        "dilation": draw.option("dilation", 1, lambda: draw.pair(1, 2, example=1)),
    }
    low = smallest_image(kernel, settings["padding"], settings["dilation"])
    size = draw.side(low[0], example=5), draw.side(low[1], example=4)
    return draw(draw.batch(), c, *size), draw(o, c // groups, *kernel), settings


def of_windows(shapes: Shapes, settings: Settings) -> dict[str, int]:
    """Return the letters of the cost formula of a convolution or a pool.

    `registry.formula` explains most letters. uh and uw are the number of image rows and columns
    that some window reads (a stride larger than the kernel skips some). rh and rw are the number of
    rows and columns of the padded image that some window reads.
    """
    letters = of_image(shapes, settings)
    if "w" in shapes:
        o, inputs, kh, kw = shapes["w"]
        letters |= {"o": o, "g": letters["c"] // inputs, "b": int("b" in shapes)}
    else:
        kh, kw = as_pair("kernel_size", settings["kernel_size"])
    stride = settings.get("stride", 1 if "w" in shapes else None)  # None: the kernel size
    geometry = _fit(
        (letters["h"], letters["w"]),
        (kh, kw),
        (kh, kw) if stride is None else as_pair("stride", stride),
        as_padding(settings.get("padding", 0)),
        as_pair("dilation", settings.get("dilation", 1)),
    )
    for i, axis in enumerate("hw"):
        size, before = geometry.size[i], geometry.padding[i][0]
        starts = range(0, geometry.output[i] * geometry.stride[i], geometry.stride[i])
        taps = range(0, geometry.kernel[i] * geometry.dilation[i], geometry.dilation[i])
        seen = {start + tap for start in starts for tap in taps}
        letters |= {f"k{axis}": geometry.kernel[i], f"o{axis}": geometry.output[i]}
        letters[f"r{axis}"] = len(seen)
        letters[f"u{axis}"] = sum(before <= row < before + size for row in seen)
    return letters
