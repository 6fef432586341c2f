"""How exact sums are: every reduction, in every implementation and layout, against math.fsum.

    python -m numpy_shufflenet.bench.rounding 10000000
    python -m numpy_shufflenet.bench.rounding 10000 "batch norm"

prints the table, or those rows, for 10^2 up to so many numbers of float32, in units of 1e-7 of the
sum of all |terms|. All numbers are positive, so that sums grow as those of real images do.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import kernels, nn, ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.plan import InferencePlan

BOUND = 1e-6  # of the sum of |terms|: rounding the result alone gives up to 0.6e-7
LAYOUTS = ("row-major", "channels-last", "channel-major", "fortran", "every second")
IMPLEMENTATIONS = {"ops": ops, "kernels": kernels}
Found = tuple[Any, Array]
"""A sum, and its terms in float64, whose products of float32 are exact."""


def laid_out(array: Array, layout: str) -> Array:
    """Return the same numbers, that lie in memory in another order."""
    if layout == "row-major":
        return np.ascontiguousarray(array)
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "every second":
        room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        room[..., ::2] = array
        return room[..., ::2]
    order = {"channels-last": (0, 2, 3, 1), "channel-major": (1, 2, 3, 0)}[layout]
    if array.ndim != len(order):
        return np.asfortranarray(array)
    inverse = tuple(int(axis) for axis in np.argsort(order))
    return np.ascontiguousarray(array.transpose(order)).transpose(inverse)


class Numbers:
    """Draws positive numbers of float32 in one layout."""

    def __init__(self, layout: str, batch: int):
        self.layout = layout
        self.batch = batch
        self.rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> Array:
        """Return numbers from 0 to 1 of this shape."""
        return laid_out(self.rng.random(shape, np.float32), self.layout)

    def images(self, m: int, channels: int) -> Array:
        """Return images of m numbers a channel."""
        h = 10 if m >= 10 * self.batch else 1
        return self(self.batch, channels, h, m // self.batch // h)


def _bits(*arrays: Array) -> Array:
    """Return the product of arrays in float64, flat."""
    wide = [array.astype(np.float64) for array in arrays]
    return np.asarray(math.prod(wide)).ravel()


def batch_norm_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Mean, variance, dbeta or dgamma of a channel."""
    x, one = draw.images(m, 2), np.ones(2, np.float32)
    if what in ("mean", "var"):
        cache = f.batch_norm_forward(x, one, 0 * one)[1]
        terms = _bits(x[:, 1])
        if what == "var":
            terms = np.square(terms - math.fsum(terms) / m)
        return getattr(cache, what)[1], terms / m
    _, cache = f.batch_norm_inference_forward(x, one, one, 0 * one, one, eps=0.0)
    dy = draw.images(m, 2)
    _, dgamma, dbeta = f.batch_norm_inference_backward(dy, cache)
    return (dgamma[1], _bits(x[:, 1], dy[:, 1])) if what == "gamma" else (dbeta[1], _bits(dy[:, 1]))


def global_mean(f: ModuleType, draw: Numbers, m: int) -> Found:
    """The mean of an image, m pixels."""
    x = draw.images(m * draw.batch, 2)
    return f.global_avg_pool_forward(x)[0][0, 1], _bits(x[0, 1]) / m


def window_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Windows of m pixels: their average, and what a pixel gets back from m of them."""
    k = math.isqrt(m)
    x = draw(draw.batch, 1, k, k)
    if what == "average":
        return f.avg_pool2d_forward(x, k)[0][0, 0, 0, 0], _bits(x[0, 0]) / k**2
    x = laid_out(np.zeros((draw.batch, 1, 2 * k - 1, 2 * k - 1), np.float32), draw.layout)
    x[:, :, k - 1, k - 1] = 1
    dy = draw(draw.batch, 1, k, k)
    if what == "averages":
        dx = f.avg_pool2d_backward(dy, f.avg_pool2d_forward(x, k, stride=1)[1])
        return dx[0, 0, k - 1, k - 1], _bits(dy[0, 0]) / k**2
    dx = f.max_pool2d_backward(dy, f.max_pool2d_forward(x, k, stride=1)[1])
    return dx[0, 0, k - 1, k - 1], _bits(dy[0, 0])


def depthwise_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Depthwise convolution: y over m taps, dx from m outputs, dw and db over m pixels."""
    if what in ("y", "dx"):
        k = math.isqrt(m)
        w = draw(1, 1, k, k)
        x = draw(draw.batch, 1, *((k, k) if what == "y" else (2 * k - 1, 2 * k - 1)))
        y, cache = f.depthwise_conv2d_forward(x, w)
        if what == "y":
            return y[0, 0, 0, 0], _bits(x[0, 0], w[0, 0])
        dy = draw(*y.shape)
        dx = f.depthwise_conv2d_backward(dy, cache)[0]
        return dx[0, 0, k - 1, k - 1], _bits(dy[0, 0], w[0, 0, ::-1, ::-1])
    x, w = draw.images(m, 2), draw(2, 1, 3, 3)
    y, cache = f.depthwise_conv2d_forward(x, w, draw(2), padding=1)
    dy = draw(*y.shape)
    _, dw, db = f.depthwise_conv2d_backward(dy, cache)
    return (dw[1, 0, 1, 1], _bits(x[:, 1], dy[:, 1])) if what == "dw" else (db[1], _bits(dy[:, 1]))


def pointwise_sums(f: ModuleType, draw: Numbers, m: int, what: str, channels: int) -> Found:
    """Pointwise convolution: y and dx over m channels, dw and db over m pixels."""
    if what == "y":
        x, w = draw(draw.batch, m, 4, 4), draw(channels, m, 1, 1)
        y = f.pointwise_conv2d_forward(x, w)[0]
        return y[0, -1, 0, 0], _bits(x[0, :, 0, 0], w[-1, :, 0, 0])
    if what == "dx":
        x, w = draw(draw.batch, channels, 4, 4), draw(m, channels, 1, 1)
        y, cache = f.pointwise_conv2d_forward(x, w)
        dy = draw(*y.shape)
        dx = f.pointwise_conv2d_backward(dy, cache)[0]
        return dx[0, -1, 0, 0], _bits(dy[0, :, 0, 0], w[:, -1, 0, 0])
    x, w = draw.images(m, channels), draw(channels, channels, 1, 1)
    y, cache = f.pointwise_conv2d_forward(x, w, draw(channels))
    dy = draw(*y.shape)
    _, dw, db = f.pointwise_conv2d_backward(dy, cache)
    if what == "dw":
        return dw[-1, -1, 0, 0], _bits(x[:, -1], dy[:, -1])
    return db[-1], _bits(dy[:, -1])


def conv2d_sums(f: ModuleType, draw: Numbers, m: int, what: str, channels: int) -> Found:
    """Convolution, 3x3: y over 9 m / 9 terms, dx likewise, dw and db over m pixels."""
    deep = max(1, m // 9)
    if what == "y":
        x, w = draw(draw.batch, deep, 3, 18), draw(channels, deep, 3, 3)
        y = f.conv2d_forward(x, w)[0]
        return y[0, -1, 0, 0], _bits(x[0, :, :, :3], w[-1])
    if what == "dx":
        x, w = draw(draw.batch, channels, 5, 20), draw(deep, channels, 3, 3)
        y, cache = f.conv2d_forward(x, w)
        dy = draw(*y.shape)
        dx = f.conv2d_backward(dy, cache)[0]
        return dx[0, -1, 2, 2], _bits(dy[0, :, :3, :3], w[:, -1, ::-1, ::-1])
    x, w = draw.images(m, channels), draw(channels, channels, 3, 3)
    y, cache = f.conv2d_forward(x, w, draw(channels), padding=1)
    dy = draw(*y.shape)
    _, dw, db = f.conv2d_backward(dy, cache)
    if what == "dw":
        return dw[-1, -1, 1, 1], _bits(x[:, -1], dy[:, -1])
    return db[-1], _bits(dy[:, -1])


def linear_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Linear layer: y over m inputs, dx over m outputs, dw and db over m rows."""
    rows, inputs, outputs = {"y": (2, m, 2), "dx": (2, 2, m)}.get(what, (m, 2, 2))
    x, w = draw(rows, inputs), draw(outputs, inputs)
    y, cache = f.linear_forward(x, w, 0 * w[:, 0])
    dy = draw(*y.shape)
    dx, dw, db = f.linear_backward(dy, cache)
    return {
        "y": (y[1, 1], _bits(x[1], w[1])),
        "dx": (dx[1, 1], _bits(dy[1], w[:, 1])),
        "dw": (dw[1, 1], _bits(x[:, 1], dy[:, 1])),
        "db": (db[1], _bits(dy[:, 1])),
    }[what]


def upsample_sums(f: ModuleType, draw: Numbers, m: int, kind: str) -> Found:
    """What a pixel gets back from the m it became."""
    k = math.isqrt(m)
    x = draw(draw.batch, 1, 1, 1)
    y, cache = getattr(f, f"upsample_{kind}_forward")(x, k)
    dy = draw(*y.shape)
    return getattr(f, f"upsample_{kind}_backward")(dy, cache)[0, 0, 0, 0], _bits(dy[0, 0])


def squeeze_excitation_sums(f: ModuleType, draw: Numbers, m: int) -> Found:
    """The gradient of a channel's scale: over m pixels; the scale is 1/2, its slope 1/4."""
    x, zero = draw.images(m * draw.batch, 2), np.zeros((2, 2), np.float32)
    y, cache = f.squeeze_excitation_forward(x, zero, zero[0], zero, zero[0])
    dy = draw(*y.shape)
    db2 = f.squeeze_excitation_backward(dy, cache)[-1]
    return db2[1], _bits(x[:, 1], dy[:, 1]) / 4


def loss(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """The mean over m rows, or the sum over m classes, whose logits are 0."""
    if what == "classes":
        logits, labels = laid_out(np.zeros((2, m), np.float32), draw.layout), np.zeros(2, int)
        return f.softmax_cross_entropy_forward(logits, labels)[0], np.array([math.log(m)])
    logits, labels = draw(m, 2), np.zeros(m, int)
    z = logits.astype(np.float64)
    return f.softmax_cross_entropy_forward(logits, labels)[0], np.logaddexp(
        0, z[:, 1] - z[:, 0]
    ) / m


def plan_mean(draw: Numbers, m: int) -> Found:
    """The mean of an image in a plan."""
    x = draw.images(m * draw.batch, 2)
    return InferencePlan(nn.Sequential(nn.GlobalAvgPool()))(x)[0, 1], _bits(x[0, 1]) / m


def plan_product(draw: Numbers, m: int, what: str) -> Found:
    """A sum over m channels in a plan: of a pointwise convolution, or of a linear layer."""
    x = draw(draw.batch, m, 1, 1)
    pointwise, fc = nn.Conv2d(m, 6, 1), nn.Linear(m, 6)
    layers = [pointwise, nn.GlobalAvgPool()] if what == "pointwise" else [nn.GlobalAvgPool(), fc]
    w = (pointwise if what == "pointwise" else fc).weight
    w.value = w.value + draw(6, m).reshape(w.value.shape)
    return InferencePlan(nn.Sequential(*layers))(x)[0, -1], _bits(
        x[0, :, 0, 0], w.value[-1].ravel()
    )


class Reduction(NamedTuple):
    """A sum that an operation makes.

    Attributes
    ----------
    run : callable
        run(module, numbers, m) returns the sum that a module finds of m terms, and the terms.
    implementations : tuple of str
    most : int
        Terms that are tried at the most, for memory or time.
    """

    name: str
    run: Callable[..., Found]
    implementations: tuple[str, ...] = ("ops", "kernels")
    most: int = 10**7


def reductions() -> list[Reduction]:
    """Return all of them."""
    table = [Reduction(f"batch norm: {what}", partial(batch_norm_sums, what=what)) for what in
             ("mean", "var", "beta", "gamma")]  # fmt: skip
    table.append(Reduction("global average pool: y", global_mean))
    table += [
        Reduction(f"{name}", partial(window_sums, what=what), most=10**4)
        for name, what in (
            ("average pool: y", "average"),
            ("average pool: dx", "averages"),
            ("max pool: dx", "largest"),
        )
    ]
    for what in ("y", "dx"):
        run = partial(depthwise_sums, what=what)
        table.append(Reduction(f"depthwise convolution: {what}", run, most=10**4))
    for what in ("dw", "db"):
        run = partial(depthwise_sums, what=what)
        table.append(Reduction(f"depthwise convolution: {what}", run))
    for name, convolution, kinds in (
        ("pointwise", pointwise_sums, (1, 16)),
        ("3x3", conv2d_sums, (1, 8)),
    ):
        for what in ("y", "dx", "dw", "db"):
            for channels in kinds:
                run = partial(convolution, what=what, channels=channels)
                most = 10**7 if what in ("dw", "db") and name == "pointwise" else 10**6
                label = f"{name} convolution, {channels} channels: {what}"
                table.append(Reduction(label, run, most=most if channels == 1 else most // 10))
    for what in ("y", "dx", "dw", "db"):
        table.append(Reduction(f"linear: {what}", partial(linear_sums, what=what), ("ops",)))
    for kind, most in (("nearest", 10**7), ("bilinear", 10**6)):
        table.append(
            Reduction(f"upsample {kind}: dx", partial(upsample_sums, kind=kind), ("ops",), most)
        )
    table.append(Reduction("squeeze-and-excitation: db2", squeeze_excitation_sums, ("ops",)))
    for what in ("rows", "classes"):
        run = partial(loss, what=what)
        table.append(Reduction(f"cross-entropy, over {what}", run, ("ops",), 10**6))
    mean: Callable[..., Found] = lambda f, *a: plan_mean(*a)  # noqa: E731
    table.append(Reduction("global average pool: y", mean, ("plan",), 10**6))
    for what in ("pointwise", "linear"):
        plan = partial(plan_product, what=what)
        table.append(Reduction(f"{what}: y", lambda f, *a, p=plan: p(*a), ("plan",), 10**5))
    return table


def error(reduction: Reduction, implementation: str, m: int) -> float:
    """Return the largest error over layouts and batches, of the sum of |terms|."""
    largest = 0.0
    for batch in (1, 10):
        for layout in LAYOUTS:
            module = IMPLEMENTATIONS.get(implementation)
            found, terms = reduction.run(module, Numbers(layout, batch), m)
            exact = math.fsum(terms.tolist())
            size = exact if terms.min() >= 0 else math.fsum(np.abs(terms).tolist())
            largest = max(largest, abs(float(found) - exact) / size)
    return largest


def table(most: int, only: str = "", done: Callable[[str], None] = lambda row: None) -> list[str]:
    """Return the rows of those whose name has `only` in it, in Markdown: in units of 1e-7."""
    sizes = [10**k for k in range(2, 8) if 10**k <= most]
    rows = [
        "| reduction | in | " + " | ".join(f"10^{len(str(m)) - 1}" for m in sizes) + " |",
        "|---|---|" + "---:|" * len(sizes),
    ]
    for reduction in (r for r in reductions() if only in r.name):
        for implementation in reduction.implementations:
            cells = [
                f"{1e7 * error(reduction, implementation, m):.1f}" if m <= reduction.most else ""
                for m in sizes
            ]
            rows.append(f"| {reduction.name} | `{implementation}` | {' | '.join(cells)} |")
            done(rows[-1])
    return rows


if __name__ == "__main__":
    table(int(sys.argv[1]), "".join(sys.argv[2:3]), lambda row: print(row, flush=True))
