"""Rounding errors of every sum, in every implementation and layout, compared with math.fsum.

    python -m numpy_shufflenet.bench.rounding 10000000
    python -m numpy_shufflenet.bench.rounding 10000 "batch norm"

The argument is the largest number of terms; the table has a column for each power of ten from 10^2.
A second argument selects rows by a part of their name. Errors are in units of 1e-7 of the sum of
all |terms|. All numbers are positive float32, so that partial sums grow as with real images. Below,
"dw over m pixels" means an entry of dw, which is a sum over m pixels.
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

BOUND = 1e-6  # relative to the sum of |terms|; rounding of the result alone gives up to 0.6e-7
LAYOUTS = ("row-major", "channels-last", "channel-major", "fortran", "every second")
IMPLEMENTATIONS = {"ops": ops, "kernels": kernels, "plan": None}  # a plan needs no module
Found = tuple[Any, Array]
"""A sum, and its terms in float64. A product of two float32 numbers is exact in float64."""
GRADIENTS = ("y", "dx", "dw", "db")


def laid_out(array: Array, layout: str) -> Array:
    """Return the same array in another memory layout."""
    if layout == "row-major":
        return np.ascontiguousarray(array)
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "every second":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    order = {"channels-last": (0, 2, 3, 1), "channel-major": (1, 2, 3, 0)}[layout]
    if array.ndim != len(order):
        return np.asfortranarray(array)
    inverse = tuple(int(axis) for axis in np.argsort(order))
    return np.ascontiguousarray(array.transpose(order)).transpose(inverse)


class Numbers:
    """Draws positive float32 arrays in one memory layout."""

    def __init__(self, layout: str, batch: int):
        self.layout = layout
        self.batch = batch
        self.rng = np.random.default_rng(0)

    def __call__(self, *shape: int) -> Array:
        """Return an array of numbers from 0 to 1."""
        return laid_out(self.rng.random(shape, np.float32), self.layout)

    def images(self, m: int, channels: int) -> Array:
        """Return a batch of images with m numbers in each channel."""
        h = 10 if m >= 10 * self.batch else 1
        return self(self.batch, channels, h, m // self.batch // h)


def _products(*arrays: Array) -> Array:
    """Return the elementwise product of arrays in float64, as one dimension."""
    wide = [array.astype(np.float64) for array in arrays]
    return np.asarray(math.prod(wide)).ravel()


def batch_norm_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Return the mean, variance, dbeta or dgamma of one channel."""
    x, one = draw.images(m, 2), np.ones(2, np.float32)
    if what in ("mean", "var"):
        cache = f.batch_norm_forward(x, one, 0 * one)[1]
        terms = _products(x[:, 1])
        if what == "var":
            terms = np.square(terms - math.fsum(terms) / m)
        return getattr(cache, what)[1], terms / m
    _, cache = f.batch_norm_inference_forward(x, one, one, 0 * one, one, eps=0.0)
    dy = draw.images(m, 2)
    _, dgamma, dbeta = f.batch_norm_inference_backward(dy, cache)
    if what == "gamma":
        return dgamma[1], _products(x[:, 1], dy[:, 1])
    return dbeta[1], _products(dy[:, 1])


def global_mean(f: ModuleType, draw: Numbers, m: int) -> Found:
    """Return the mean over the m pixels of an image."""
    x = draw.images(m * draw.batch, 2)
    return f.global_avg_pool_forward(x)[0][0, 1], _products(x[0, 1]) / m


def window_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Return the average of a window of m pixels, or the gradient of a pixel in m windows."""
    k = math.isqrt(m)
    x = draw(draw.batch, 1, k, k)
    if what == "average":
        return f.avg_pool2d_forward(x, k)[0][0, 0, 0, 0], _products(x[0, 0]) / k**2
    x = laid_out(np.zeros((draw.batch, 1, 2 * k - 1, 2 * k - 1), np.float32), draw.layout)
    x[:, :, k - 1, k - 1] = 1
    dy = draw(draw.batch, 1, k, k)
    if what == "averages":
        dx = f.avg_pool2d_backward(dy, f.avg_pool2d_forward(x, k, stride=1)[1])
        return dx[0, 0, k - 1, k - 1], _products(dy[0, 0]) / k**2
    dx = f.max_pool2d_backward(dy, f.max_pool2d_forward(x, k, stride=1)[1])
    return dx[0, 0, k - 1, k - 1], _products(dy[0, 0])


def depthwise_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Return y over m taps, dx over m outputs, dw or db over m pixels of depthwise convolution."""
    if what in ("y", "dx"):
        k = math.isqrt(m)
        w = draw(1, 1, k, k)
        x = draw(draw.batch, 1, *((k, k) if what == "y" else (2 * k - 1, 2 * k - 1)))
        y, cache = f.depthwise_conv2d_forward(x, w)
        if what == "y":
            return y[0, 0, 0, 0], _products(x[0, 0], w[0, 0])
        dy = draw(*y.shape)
        dx = f.depthwise_conv2d_backward(dy, cache)[0]
        return dx[0, 0, k - 1, k - 1], _products(dy[0, 0], w[0, 0, ::-1, ::-1])
    forward, backward = f.depthwise_conv2d_forward, f.depthwise_conv2d_backward
    return _weight_gradient(partial(forward, padding=1), backward, draw, m, (2, 1, 3, 3), what)


def convolution_sums(
    f: ModuleType, draw: Numbers, m: int, what: str, k: int, channels: int
) -> Found:
    """Return y or dx over m terms, dw or db over m pixels of a pointwise or 3x3 convolution."""
    name, settings = ("pointwise_conv2d", {}) if k == 1 else ("conv2d", {"padding": 1})
    forward, backward = getattr(f, f"{name}_forward"), getattr(f, f"{name}_backward")
    deep = max(1, m // k**2)
    if what == "y":
        h, w_in = (4, 4) if k == 1 else (3, 18)
        x, w = draw(draw.batch, deep, h, w_in), draw(channels, deep, k, k)
        return forward(x, w)[0][0, -1, 0, 0], _products(x[0, :, :k, :k], w[-1])
    if what == "dx":
        h, w_in = (4, 4) if k == 1 else (5, 20)
        x, w = draw(draw.batch, channels, h, w_in), draw(deep, channels, k, k)
        y, cache = forward(x, w)
        dy = draw(*y.shape)
        dx = backward(dy, cache)[0]
        terms = _products(dy[0, :, :k, :k], w[:, -1, ::-1, ::-1])
        return dx[0, -1, k - 1, k - 1], terms
    forward = partial(forward, **settings)
    return _weight_gradient(forward, backward, draw, m, (channels, channels, k, k), what)


def _weight_gradient(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    draw: Numbers,
    m: int,
    shape: tuple[int, int, int, int],
    what: str,
) -> Found:
    """Return the weight or bias gradient, over m pixels, of a convolution from o to o channels."""
    o, middle = shape[0], shape[-1] // 2
    x, w = draw.images(m, o), draw(*shape)
    y, cache = forward(x, w, draw(o))
    dy = draw(*y.shape)
    _, dw, db = backward(dy, cache)
    if what == "dw":
        return dw[-1, -1, middle, middle], _products(x[:, -1], dy[:, -1])
    return db[-1], _products(dy[:, -1])


def linear_sums(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Return y over m inputs, dx over m outputs, dw or db over m rows of a linear layer."""
    rows, inputs, outputs = {"y": (2, m, 2), "dx": (2, 2, m)}.get(what, (m, 2, 2))
    x, w = draw(rows, inputs), draw(outputs, inputs)
    y, cache = f.linear_forward(x, w, 0 * w[:, 0])
    dy = draw(*y.shape)
    dx, dw, db = f.linear_backward(dy, cache)
    return {
        "y": (y[1, 1], _products(x[1], w[1])),
        "dx": (dx[1, 1], _products(dy[1], w[:, 1])),
        "dw": (dw[1, 1], _products(x[:, 1], dy[:, 1])),
        "db": (db[1], _products(dy[:, 1])),
    }[what]


def upsample_sums(f: ModuleType, draw: Numbers, m: int, kind: str) -> Found:
    """Return the gradient of a pixel that was repeated or interpolated to m pixels."""
    k = math.isqrt(m)
    x = draw(draw.batch, 1, 1, 1)
    y, cache = getattr(f, f"upsample_{kind}_forward")(x, k)
    dy = draw(*y.shape)
    return getattr(f, f"upsample_{kind}_backward")(dy, cache)[0, 0, 0, 0], _products(dy[0, 0])


def squeeze_excitation_sums(f: ModuleType, draw: Numbers, m: int) -> Found:
    """Return db2, a sum over m pixels. The scale is sigmoid(b2), whose derivative at 0 is 1/4."""
    x, zero = draw.images(m * draw.batch, 2), np.zeros((2, 2), np.float32)
    y, cache = f.squeeze_excitation_forward(x, zero, zero[0], zero, zero[0])
    dy = draw(*y.shape)
    db2 = f.squeeze_excitation_backward(dy, cache)[-1]
    return db2[1], _products(x[:, 1], dy[:, 1]) / 4


def loss(f: ModuleType, draw: Numbers, m: int, what: str) -> Found:
    """Return the mean loss over m rows, or the loss of m classes whose logits are all 0."""
    if what == "classes":
        logits, labels = laid_out(np.zeros((2, m), np.float32), draw.layout), np.zeros(2, int)
        return f.softmax_cross_entropy_forward(logits, labels)[0], np.array([math.log(m)])
    logits, labels = draw(m, 2), np.zeros(m, int)
    z = logits.astype(np.float64)
    terms = np.logaddexp(0, z[:, 1] - z[:, 0]) / m
    return f.softmax_cross_entropy_forward(logits, labels)[0], terms


def plan_mean(_: None, draw: Numbers, m: int) -> Found:
    """Return the mean over the m pixels of an image, computed by a plan."""
    x = draw.images(m * draw.batch, 2)
    return InferencePlan(nn.Sequential(nn.GlobalAvgPool()))(x)[0, 1], _products(x[0, 1]) / m


def plan_product(_: None, draw: Numbers, m: int, what: str) -> Found:
    """Return y over m channels of a pointwise convolution or linear layer, computed by a plan."""
    x = draw(draw.batch, m, 1, 1)
    pointwise, fc = nn.Conv2d(m, 6, 1), nn.Linear(m, 6)
    layers = [pointwise, nn.GlobalAvgPool()] if what == "pointwise" else [nn.GlobalAvgPool(), fc]
    w = (pointwise if what == "pointwise" else fc).weight
    w.value = w.value + draw(6, m).reshape(w.value.shape)
    terms = _products(x[0, :, 0, 0], w.value[-1].ravel())
    return InferencePlan(nn.Sequential(*layers))(x)[0, -1], terms


class Reduction(NamedTuple):
    """A sum that an operation computes."""

    name: str
    run: Callable[..., Found]  #: maps (module, numbers, m) to a sum of m terms, and the terms
    implementations: tuple[str, ...] = ("ops", "kernels")
    most: int = 10**7  #: largest number of terms that time and memory allow


def reductions() -> list[Reduction]:
    """Return all reductions."""
    found: list[Reduction] = []

    def add(name: str, run: Callable[..., Found], *fields: Any, **settings: Any) -> None:
        found.append(Reduction(name, partial(run, **settings), *fields))

    both, ops_only = ("ops", "kernels"), ("ops",)
    for what in ("mean", "var", "beta", "gamma"):
        add(f"batch norm: {what}", batch_norm_sums, what=what)
    add("global average pool: y", global_mean)
    for name, what in (
        ("average pool: y", "average"),
        ("average pool: dx", "averages"),
        ("max pool: dx", "largest"),
    ):
        add(name, window_sums, both, 10**4, what=what)
    for what in GRADIENTS:
        most = 10**4 if what in ("y", "dx") else 10**7
        add(f"depthwise convolution: {what}", depthwise_sums, both, most, what=what)
    for name, k, widths in (("pointwise", 1, (1, 16)), ("3x3", 3, (1, 8))):
        for what in GRADIENTS:
            for channels in widths:
                most = 10**7 if what in ("dw", "db") and k == 1 else 10**6
                add(
                    f"{name} convolution, {channels} channels: {what}",
                    convolution_sums,
                    both,
                    most if channels == 1 else most // 10,
                    what=what,
                    k=k,
                    channels=channels,
                )
    for what in GRADIENTS:
        add(f"linear: {what}", linear_sums, ops_only, what=what)
    for kind, most in (("nearest", 10**7), ("bilinear", 10**6)):
        add(f"upsample {kind}: dx", upsample_sums, ops_only, most, kind=kind)
    add("squeeze-and-excitation: db2", squeeze_excitation_sums, ops_only)
    for what in ("rows", "classes"):
        add(f"cross-entropy, over {what}", loss, ops_only, 10**6, what=what)
    add("global average pool: y", plan_mean, ("plan",), 10**6)
    for what in ("pointwise", "linear"):
        add(f"{what}: y", plan_product, ("plan",), 10**5, what=what)
    return found


def error(reduction: Reduction, implementation: str, m: int) -> float:
    """Return the largest error of all layouts and batches, relative to the sum of |terms|."""
    largest = 0.0
    for batch in (1, 10):
        for layout in LAYOUTS:
            numbers = Numbers(layout, batch)
            found, terms = reduction.run(IMPLEMENTATIONS[implementation], numbers, m)
            exact = math.fsum(terms.tolist())
            size = exact if terms.min() >= 0 else math.fsum(np.abs(terms).tolist())
            largest = max(largest, abs(float(found) - exact) / size)
    return largest


def table(most: int, only: str = "", done: Callable[[str], None] = lambda row: None) -> list[str]:
    """Return a Markdown table of the reductions whose name contains `only`, in units of 1e-7."""
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
