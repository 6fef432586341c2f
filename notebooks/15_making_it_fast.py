# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 15: making it fast
#
# **Goal**
# - Take one operation from Python loops over NumPy to machine code, and get the same numbers.
# - Measure what your machine allows, and say for each operation what holds it back.
# - Use memory, threads and a compiler so that they help, and know how much there is to gain.

# %%
import importlib.util
import inspect
import json
import mmap
import os
import queue
import subprocess
import sys
import tempfile
import threading

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from numpy_shufflenet import (
    _threads,
    backend,
    cost,
    exercises,
    gradcheck,
    models,
    ops,
    plots,
    steps,
)
from numpy_shufflenet.bench.networks import with_real_statistics
from numpy_shufflenet.bench.resources import machine
from numpy_shufflenet.operations import find
from numpy_shufflenet.timing import interleave, median_interval

HAS_NUMBA = importlib.util.find_spec("numba") is not None
FLOORS = {"loops": steps, "NumPy": ops}
if HAS_NUMBA:
    import numba

    from numpy_shufflenet import kernels

    njit = numba.njit
    FLOORS["Numba"] = kernels
else:
    print("Numba isn't installed here: you'll see NumPy's part, and what is left out says so")

    def njit(function=None, **settings):
        """Leave the function as it is: slow, and with the same results."""
        return function or (lambda plain: plain)

    backend.set_num_threads(1)

THREADS = backend.num_threads()
print(f"{THREADS} threads, one for each core that this process may use")

# %% [markdown]
# ## Predict first
#
# <details>
# <summary>1. The same loop, once run by Python and once as machine code: how many times as fast?
# (decide before you open it)</summary>
#
# Hundreds of times, often more. For each multiply-add, Python looks up what `*` means for these two
# objects, checks the indices, and makes new objects for the results: a few hundred nanoseconds. A
# core does several multiply-adds in *one* cycle, a third of a nanosecond.
#
# </details>
#
# <details>
# <summary>2. A second core works on a ReLU of 10 million numbers. Twice as fast?</summary>
#
# Less, on most machines: a ReLU waits for memory, and both cores share that. A matrix product comes
# close to 2. You will measure both.
#
# </details>
#
# <details>
# <summary>3. Depthwise convolutions have 3 % of the multiply-adds of ShuffleNet V2. Somebody makes
# them infinitely fast. How much faster is the network?</summary>
#
# That depends on their share of the *time*, which is larger. If it is p, the network is 1 / (1 - p)
# times as fast: with p = 10 % it is 1.11 times, and no more, ever.
#
# </details>
#
# ## One operation on three floors
#
# A depthwise convolution (lesson 5): each output is a sum over one window of its own channel.

# %%
rng = np.random.default_rng(15)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("depthwise_conv2d", small(1, 2, 4, 4), small(2, 1, 3, 3), padding=1)

# %% [markdown]
# The ground floor is that picture as a program, `steps/`: one output after the other, in Python.


# %%
def text(function):
    """The source of a function without its docstring."""
    source = inspect.getsource(function)
    if function.__doc__ is None:
        return source
    head, _, rest = source.partition('"""')
    return head + rest.partition('"""')[2].strip()


print(text(steps.depthwise_conv2d_forward_steps))

# %% [markdown]
# One floor up, `ops/`: the loops over images, channels, rows and columns are gone from the page.
# NumPy runs them in C, once for each of the nine taps.

# %%
print(text(ops.depthwise_conv2d_forward))

# %% [markdown]
# And `kernels/`: loops again, but [Numba](https://numba.pydata.org) compiles them to machine code.
# This is the innermost one. All nine taps are added up while they are in registers, so each output
# is written once, not nine times; there is no branch in it (the border was copied into a plane of
# zeros before), so the compiler turns it into instructions that work on 8 or 16 numbers at once.

# %%
if HAS_NUMBA:
    from numpy_shufflenet.kernels._depthwise_planes import nine_taps

    print(text(nine_taps))
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# A pointwise convolution is a matrix product, so that NumPy's text has no loop at all, and its
# work is done by BLAS, a library on which people have worked for 40 years. There, the upper floor
# only cuts the work into pieces that fit in cache:

# %%
print(text(ops.pointwise_conv2d_forward))
if HAS_NUMBA:
    from numpy_shufflenet.kernels import pointwise_conv2d

    print(pointwise_conv2d.__doc__)

# %% [markdown]
# ### Equal results
#
# Fast and wrong is easy. Before anything is timed, all floors must agree, forward and backward.

# %%
CASES = {
    "depthwise_conv2d": ((1, 16, 14, 14), (16, 1, 3, 3), {"padding": 1}),
    "pointwise_conv2d": ((1, 16, 14, 14), (16, 16, 1, 1), {}),
}


def forward_and_backward(floor, name, x, w, settings):
    """Return y, dx and dw, with y as dy."""
    y, cache = getattr(floor, f"{name}_forward")(x, w, **settings)
    dx, dw, _ = getattr(floor, f"{name}_backward")(y, cache)
    return y, dx, dw


for name, (x_shape, w_shape, settings) in CASES.items():
    x, w = rng.normal(size=x_shape), rng.normal(size=w_shape)
    expected = forward_and_backward(steps, name, x, w, settings)
    for floor_name, floor in FLOORS.items():
        found = forward_and_backward(floor, name, x, w, settings)
        worst = max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True))
        print(f"{name:17} {floor_name:6} y, dx, dw differ from the loops' by {worst:.1e} at most")
        assert worst < 1e-10

# %% [markdown]
# ### Different times
#
# Times on a computer that also does other things are noisy. What is compared here takes turns, in
# an order that changes, and the median counts: `timing.interleave`. Everything runs on one thread
# for now, in float32 as in a network.


# %%
def medians(runs, rounds=7, **options):
    """Median seconds of functions that take turns on one thread."""
    backend.set_num_threads(1)
    try:
        with _threads.single_threaded_blas():
            found = interleave(runs, rounds=rounds, **options)
    finally:
        backend.set_num_threads(THREADS)
    return {name: float(np.median(seconds)) for name, seconds in found.items()}


def single(*shape):
    """Normal numbers in float32, in the order of memory that networks use."""
    numbers = rng.normal(size=shape).astype(np.float32)
    return backend.channel_major(numbers) if len(shape) == 4 else numbers


def time_floors(names, operation, x_shape, w_shape, settings):
    """Median seconds of forward and backward on these floors."""
    x, w = single(*x_shape), rng.normal(size=w_shape).astype(np.float32)
    runs = {
        floor: lambda floor=floor: forward_and_backward(FLOORS[floor], operation, x, w, settings)
        for floor in names
    }
    return medians(runs, min_seconds=0.002)


# %% tags=["timing"]
# Picture: milliseconds of each floor as bars, in logarithms; left a depthwise convolution, right a
# pointwise one. The loops take by far the longest.
figure, row = plt.subplots(1, 2, figsize=(9, 2.4), layout="constrained", sharex=True)
for axes, (name, (x_shape, w_shape, settings)) in zip(row, CASES.items(), strict=True):
    counts = find(name).cost({"x": x_shape, "w": w_shape}, settings)
    products = counts.forward.multiply_adds + counts.backward.multiply_adds
    found = time_floors(FLOORS, name, x_shape, w_shape, settings)
    print(f"{name}, forward and backward, {products:,} multiply-adds")
    for floor_name, seconds in found.items():
        print(
            f"  {floor_name:6} {1e3 * seconds:8.3f} ms  {1e9 * seconds / products:8.2f} ns each, "
            f"{found['loops'] / seconds:6.0f} times as fast as the loops"
        )
    axes.barh(list(found), [1e3 * s for s in found.values()], color="#0072B2")
    axes.set(xscale="log", xlabel="ms, log scale", title=name)
    axes.invert_yaxis()
plt.show()

# %% [markdown]
# These loops also note for each output what it reads, so that it can be drawn. How much of the
# distance is Python's? Here is a bare loop, run by Python, and **the very same function** compiled:


# %% tags=["timing"]
def bare_loop(padded, w, y):
    """A depthwise convolution: y (c, oh, ow) from one image with its border."""
    for k in range(y.shape[0]):
        for p in range(y.shape[1]):
            for q in range(y.shape[2]):
                s = 0.0
                for a in range(w.shape[1]):
                    for b in range(w.shape[2]):
                        s += w[k, a, b] * padded[k, p + a, q + b]
                y[k, p, q] = s


padded, w, y = rng.normal(size=(16, 16, 16)), rng.normal(size=(16, 3, 3)), np.empty((16, 14, 14))
expected, _ = ops.depthwise_conv2d_forward(padded[None], w[:, None])
loops = {"Python": bare_loop}
if HAS_NUMBA:
    loops["Numba"] = njit(bare_loop)
found = medians({key: lambda f=f: f(padded, w, y) for key, f in loops.items()}, min_seconds=0.002)
assert np.allclose(y, expected[0])
for key, seconds in found.items():
    print(f"{key:6} {1e3 * seconds:8.3f} ms, {1e9 * seconds / (y.size * 9):7.2f} ns a multiply-add")
if HAS_NUMBA:
    print(f"compiled, it is {found['Python'] / found['Numba']:.0f} times as fast")

# %% [markdown]
# That was a small image, so that the loops get done. Now a layer of the size that stage 2 of
# ShuffleNet V2 has, 8 images, without the loops: they would take a minute or so.

# %% tags=["timing"]
LARGE = {
    "depthwise_conv2d": ((8, 58, 28, 28), (58, 1, 3, 3), {"padding": 1}),
    "pointwise_conv2d": ((8, 58, 28, 28), (58, 58, 1, 1), {}),
}
for name, (x_shape, w_shape, settings) in LARGE.items():
    found = time_floors(list(FLOORS)[1:], name, x_shape, w_shape, settings)
    print(name, ", ".join(f"{key} {1e3 * s:.2f} ms" for key, s in found.items()))

# %% [markdown]
# Usually the depthwise one gains several times, and the pointwise one little: it was machine code
# already. **Where NumPy has no single call for what you want to do, a compiler pays.**
#
# ## Why: bytes and FLOPs
#
# How fast *can* it be? Two things take time: to compute, and to move numbers between memory and the
# processor. Count both. `Operation.cost` gives arithmetic (here every addition, multiplication and
# comparison), and how many numbers must be read and written at least; a float32 has 4 bytes.


# %%
def flops_and_bytes(name, shapes, settings):
    """What a forward computes, and what it must move, in float32."""
    counts = find(name).cost(shapes, settings).forward
    return counts.arithmetic, 4 * counts.memory_access


image = (32, 116, 28, 28)
channels = {"gamma": (116,), "beta": (116,)}
LAYERS = {
    "3x3 convolution": ("conv2d", {"x": image, "w": (116, 116, 3, 3)}, {"padding": 1}),
    "pointwise": ("pointwise_conv2d", {"x": image, "w": (116, 116, 1, 1)}, {}),
    "depthwise": ("depthwise_conv2d", {"x": image, "w": (116, 1, 3, 3)}, {"padding": 1}),
    "BN + ReLU": ("batch_norm_relu", {"x": image, **channels}, {"eps": 1e-5}),
    "ReLU": ("relu", {"x": image}, {}),
    "shuffle": ("channel_shuffle", {"x": image}, {"groups": 2}),
}
print(f"{'116 ch., 32 images':18} million FLOP       MB   FLOP a byte")
for label, (name, shapes, settings) in LAYERS.items():
    flops, moved = flops_and_bytes(name, shapes, settings)
    print(f"{label:18} {flops / 1e6:12.2f} {moved / 1e6:8.2f} {flops / moved:13.2f}")

# %% [markdown]
# The last column is the **arithmetic intensity**. From the 3 × 3 convolution to the ReLU it falls
# by a factor of 2000, and a shuffle computes nothing at all: what makes these networks cheap in
# FLOPs has little to do for each number that it fetches.
#
# ### What your machine allows
#
# Two measurements. The best at arithmetic: matrix products that stay in cache. The best at moving:
# a copy of arrays that fit in no cache.

# %% tags=["timing"]
limits = machine()
print(
    f"all {THREADS} threads: {limits.gflops:.0f} GFLOP/s, {limits.gbytes:.0f} GB/s; "
    f"both are busy at {limits.gflops / limits.gbytes:.1f} FLOP a byte"
)
backend.set_num_threads(1)
alone = machine()
backend.set_num_threads(THREADS)
print(f"one thread: {alone.gflops:.0f} GFLOP/s, {alone.gbytes:.0f} GB/s")

# %% [markdown]
# ### Exercise: the least time &#9679;&#9675;&#9675;
#
# An operation computes `flops` and moves `moved` bytes. The machine does `gflops` billion FLOP and
# `gbytes` billion bytes a second, and does both *at once*: while it computes, the next numbers are
# on their way. Return the least number of seconds that it takes.


# %% tags=["hide-input"]
def same(found, expected):
    return np.allclose(found, expected, rtol=1e-6, atol=0)


def compared(attempt, target, names, cases, mistakes):
    """Compare in all cases, and name the mistake that would give just these answers."""
    found, right = ([function(*case) for case in cases] for function in (attempt, target))
    if same(found, right):
        print(f"Right in all {len(cases)} cases")
        return True
    causes = (
        said
        for said, mistake in mistakes.items()
        if same(found, [mistake(*case) for case in cases])
    )
    i = next(i for i in range(len(cases)) if not same(found[i], right[i]))
    case = ", ".join(f"{name}={value:g}" for name, value in zip(names, cases[i], strict=True))
    print(f"{case}: you say {found[i]:g}, it is {right[i]:g}. {next(causes, '')}")
    return False


def check_least_seconds(attempt):
    return compared(
        attempt,
        lambda flops, moved, gflops, gbytes: max(flops / gflops, moved / gbytes) / 1e9,
        ("flops", "moved", "gflops", "gbytes"),
        ((2e9, 4e6, 100, 10), (1e6, 8e8, 100, 20), (5e8, 5e7, 50, 2), (3e7, 1e6, 40, 80)),
        {
            "One waits for the other: the slower of the two decides.": lambda f, m, a, b: (
                min(f / a, m / b) / 1e9
            ),
            "They don't take turns, both run at once.": lambda f, m, a, b: (f / a + m / b) / 1e9,
            "Giga is 1e9.": lambda f, m, a, b: max(f / a, m / b),
            "That is a speed; a time was asked for.": lambda f, m, a, b: (
                1e9 * f / max(f / a, m / b)
            ),
            "Where is memory?": lambda f, m, a, b: f / a / 1e9,
            "Where is arithmetic?": lambda f, m, a, b: m / b / 1e9,
            "Seconds are work divided by speed.": lambda f, m, a, b: 1e9 / max(f / a, m / b),
        },
    )


# %% tags=["exercise", "raises-exception"]
def my_least_seconds(flops, moved, gflops, gbytes):
    raise NotImplementedError  # your code here


assert check_least_seconds(my_least_seconds), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First two times: how long would arithmetic take if memory were infinitely fast, and how long
# memory if arithmetic were?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# It is done when both are done.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_least_seconds(flops, moved, gflops, gbytes):
    return max(flops / gflops, moved / gbytes) / 1e9


assert check_least_seconds(solved_least_seconds)

# %% [markdown]
# ### The roofline
#
# Drawn against the intensity, the best speed is a slope (memory decides) that ends at a ceiling
# (arithmetic decides): a roof (Williams, Waterman, Patterson, 2009). Below it, the operations of
# the table above on one thread: 116 channels of 28 × 28 pixels, 32 images. Look how far each is
# from the roof, and from which part of it.

# %% tags=["timing"]
runs = {}
for label, (name, shapes, settings) in LAYERS.items():
    arrays = [single(*shape) for shape in shapes.values()]
    for floor_name in list(FLOORS)[1:]:
        forward = getattr(FLOORS[floor_name], f"{name}_forward")
        runs[floor_name, label] = lambda f=forward, a=arrays, s=settings: f(*a, **s)
found = medians(runs, rounds=3, min_seconds=0)
series = {
    floor_name: [
        plots.Work(
            label if floor is FLOORS[list(FLOORS)[-1]] else "",
            *flops_and_bytes(*layer),
            found[floor_name, label],
        )
        for label, layer in LAYERS.items()
        if label != "shuffle"  # no arithmetic: it is nowhere on this picture
    ]
    for floor_name, floor in list(FLOORS.items())[1:]
}
display(
    plots.roofline(series, gflops=alone.gflops, gbytes=alone.gbytes, title="Forward, one thread")
)
for label, layer in LAYERS.items():
    flops, moved = flops_and_bytes(*layer)
    least = max(flops / alone.gflops, moved / alone.gbytes) / 1e9
    times = ", ".join(
        f"{floor_name} {1e3 * found[floor_name, label]:.2f}" for floor_name in list(FLOORS)[1:]
    )
    print(f"{label:16} at least {1e3 * least:6.2f} ms; {times}")

# %% [markdown]
# NumPy's depthwise convolution is far down, although it is memory that it waits for: each of its
# nine taps reads and writes whole arrays, so it moves many times what it must. Batch normalisation
# needs each number three times (for the mean, for the variance, for the result); the kernel does
# all of it to one channel, and then to the next, while a channel is in the cache.
#
# A point *above* the slope is no mistake: some of its numbers were in a cache, which is several
# times as fast as memory. And the roof itself is a measurement, on a machine that has other things
# to do.
#
# ## Memory
#
# ### Order: along the rows, or down the columns
#
# Memory is a row of numbers; an array says which comes after which. Here one array is copied twice,
# once in the order in which it lies there and once across it. Same loop, same arithmetic. (Without
# Numba, Python takes so long that it hides the difference.)


# %% tags=["timing"]
@njit
def along(x, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j]


@njit
def across(x, y):
    for j in range(x.shape[1]):
        for i in range(x.shape[0]):
            y[i, j] = x[i, j]


side = 2048 if HAS_NUMBA else 256
x = np.ones((side, side), np.float32)
y = np.zeros_like(x)
found = medians({"along": lambda: along(x, y), "across": lambda: across(x, y)})
print({key: f"{1e3 * seconds:.1f} ms" for key, seconds in found.items()})
print(f"across takes {found['across'] / found['along']:.1f} times as long")
assert np.array_equal(x, y)

# %% [markdown]
# ### Cache lines
#
# Why? Memory doesn't hand out numbers but **cache lines**, mostly of 64 bytes: 16 float32. Whoever
# asks for one gets all 16, and across the rows 15 of them are thrown away unread.
#
# You can see the size of a line. Add 1 to every number of a large array; then to every second, to
# every fourth, ... How long does it take? If numbers counted, half of them would take half the
# time.


# %% tags=["timing"]
# Picture: milliseconds against the distance of the numbers that are touched, both in logarithms:
# measured, and what it would be if numbers counted, or if lines of 16 numbers did.
@njit
def touch(x, stride):
    for k in range(0, x.size, stride):
        x[k] += 1


strides = np.array([1, 2, 4, 8, 16, 32, 64, 128])
numbers = np.zeros((1 << 23) if HAS_NUMBA else (1 << 14), np.float32)
found = medians({s: lambda s=s: touch(numbers, s) for s in strides.tolist()}, 25, min_seconds=0)
measured = 1e3 * np.array(list(found.values()))
figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
axes.loglog(strides, measured, "o-", color="#0072B2", label="measured")
axes.loglog(strides, measured[0] / strides, ":", color="#767676", label="if numbers counted")
lines = measured[strides == 16] * np.minimum(1, 16 / strides)
axes.loglog(strides, lines, "--", color="#D55E00", label="if lines of 16 numbers counted")
axes.set(xlabel="every so many-th number", ylabel="ms")
axes.set_xticks(strides, strides)
axes.yaxis.set_major_formatter("{x:g}")
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# On the left the loop itself takes the time. Then the curve is nearly flat: half of the numbers
# each time, but as long as they are less than a line apart, every line still has to come. It falls
# again beyond 16, where lines are left out (or beyond 32: many processors fetch them in pairs).
#
# ### Channel-major: everything in a row
#
# Images are (n, c, h, w) to you, but this library lays them out in memory as (c, h, w, n): each
# channel of the whole batch is one contiguous row. Then a pointwise convolution is *one* large
# matrix product instead of n small ones, and the mean of a channel runs along a row. Both are
# NumPy here, and only the order in memory differs.

# %% tags=["timing"]
n, c, side = 32, 232, 7
w = rng.normal(size=(c, c)).astype(np.float32)
image_by_image = rng.normal(size=(n, c, side * side)).astype(np.float32)
rows = np.ascontiguousarray(image_by_image.transpose(1, 2, 0)).reshape(c, -1)  # c, h w n
assert np.allclose((w @ image_by_image).transpose(1, 2, 0).reshape(c, -1), w @ rows, atol=1e-3)
found = medians(
    {
        "product, n c h w": lambda: w @ image_by_image,
        "product, c h w n": lambda: w @ rows,
        "means,   n c h w": lambda: image_by_image.mean(axis=(0, 2)),
        "means,   c h w n": lambda: rows.mean(axis=1),
        "half,    n c h w": lambda: image_by_image[:, : c // 2].copy(),
        "half,    c h w n": lambda: rows[: c // 2].copy(),
    },
    rounds=15,
)
for key, seconds in found.items():
    print(f"{key}  {1e3 * seconds:7.3f} ms")

# %% [markdown]
# How much that is depends on your BLAS and your caches.
#
# ### The first touch
#
# A system doesn't give you memory when you ask for it. It gives you a promise, and breaks off your
# program at the first write to each page (4 kB, mostly) to find one, and to fill it with zeros: no
# program may see what another has left behind. So the *first* pass over new memory is another
# thing than the second.

# %% tags=["timing"]
size = 1 << 25  # bytes


def write_fresh():
    with mmap.mmap(-1, size) as memory:
        pages = np.frombuffer(memory, np.float32)
        pages.fill(1)
        del pages  # so that the memory can be closed


kept = np.ones(size // 4, np.float32)
found = medians({"first touch": write_fresh, "again": lambda: kept.fill(1)}, min_seconds=0)
for key, seconds in found.items():
    print(f"{key:12} {1e3 * seconds:6.2f} ms, {size / seconds / 1e9:5.1f} GB/s")
print(f"the first takes {found['first touch'] / found['again']:.0f} times as long")

# %% [markdown]
# Often it is about 20 times as long. A training step makes hundreds of arrays, the same ones as the
# step before. So the kernels' outputs come from a *workspace* that keeps memory, and hands it out
# again as soon as nobody looks at it any more (`_memory.py`). NumPy asks for large pages, where the
# system has them, which saves a part of that: with `np.empty`, the first line is less slow.
#
# ### Fusing: one pass instead of two
#
# Where memory is the limit, the only way to be faster is to move less. Batch normalisation writes
# an array, and the ReLU behind it reads it back. As *one* operation, what is in between never
# leaves the registers.

# %% tags=["timing"]
shape = (8, 24, 112, 112)
x, gamma, beta = single(*shape), single(24), single(24)
shapes = {"x": shape, "gamma": (24,), "beta": (24,)}
apart = flops_and_bytes("batch_norm", shapes, {"eps": 1e-5})[1]
apart += flops_and_bytes("relu", {"x": shape}, {})[1]
fused = flops_and_bytes("batch_norm_relu", shapes, {"eps": 1e-5})[1]
print(f"apart {apart / 1e6:.1f} MB at least, fused {fused / 1e6:.1f} MB")

runs = {}
for floor_name in list(FLOORS)[1:]:
    floor = FLOORS[floor_name]
    runs[floor_name, "apart"] = lambda f=floor: f.relu_forward(
        f.batch_norm_forward(x, gamma, beta)[0]
    )
    runs[floor_name, "fused"] = lambda f=floor: f.batch_norm_relu_forward(x, gamma, beta)
    assert np.array_equal(runs[floor_name, "apart"]()[0], runs[floor_name, "fused"]()[0])
found = medians(runs)
for (floor_name, how), seconds in found.items():
    print(f"{floor_name:6} {how}  {1e3 * seconds:7.2f} ms")

# %% [markdown]
# NumPy can't fuse: each of its functions is a pass of its own, so there both are the same but for
# noise. (`ops.batch_norm_relu_forward` is the text, not the speed.) That is the second reason for a
# compiler.
#
# ### Exercise: batch normalisation and ReLU in one pass &#9679;&#9679;&#9675;
#
# Write them as loops that are compiled. `x` is (n, c, h, w), `gamma` and `beta` are (c,). Per
# channel: the mean; the (biased) variance; then y = max(gamma (x - mean) / √(var + eps) + beta, 0),
# in one pass and straight into `y`. Compiled code knows loops, indices and `math`: write
# `normalise_channels` as you would write C.
#
# The check calls the function with small cases, in a process of its own: a kernel that writes
# where it must not may take that down, and nothing else. (It has half a minute, since it compiles,
# too.) While you look for a mistake, `@njit(boundscheck=True)` says at which index it went wrong.


# %% tags=["exercise", "raises-exception"]
@njit
def normalise_channels(rows, gamma, beta, eps, y):
    """rows and y are (c, m): one row a channel, m = h w n."""
    # your loops here


def my_batch_norm_relu(x, gamma, beta, eps):
    n, c, h, w = x.shape
    rows = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).reshape(c, -1)
    y = np.zeros_like(rows)
    normalise_channels(rows, gamma, beta, eps, y)
    return y.reshape(c, h, w, n).transpose(3, 0, 1, 2)


exercises.check("batch_norm_relu_forward", my_batch_norm_relu, seconds=30, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `total = 0.0`, a loop that adds up, `mean = total / rows.shape[1]`; the same again for the squares
# of what is left of x without its mean. Divide by m, not by m - 1.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Everything that is the same for a whole channel belongs in front of the last loop: `scale =
# gamma[k] / math.sqrt(variance + eps)`. A division and a square root cost as much as 20
# multiplications.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
@njit
def solved_normalise_channels(rows, gamma, beta, eps, y):
    m = rows.shape[1]
    for k in range(rows.shape[0]):
        total = 0.0
        for i in range(m):
            total += rows[k, i]
        mean = rows.dtype.type(total / m)
        total = 0.0
        for i in range(m):
            total += (rows[k, i] - mean) ** 2
        scale = rows.dtype.type(gamma[k] / np.sqrt(total / m + eps))
        for i in range(m):
            y[k, i] = max((rows[k, i] - mean) * scale + beta[k], 0)


def solved_batch_norm_relu(x, gamma, beta, eps=1e-5):
    n, c, h, w = x.shape
    rows = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).reshape(c, -1)
    y = np.empty_like(rows)
    solved_normalise_channels(rows, gamma, beta, eps, y)
    return y.reshape(c, h, w, n).transpose(3, 0, 1, 2)


exercises.check("batch_norm_relu_forward", solved_batch_norm_relu, seconds=30)

# %% [markdown]
# How fast is yours? Put it into this table: `"mine": lambda: my_batch_norm_relu(x, gamma, beta,
# 1e-5)`. And how long would your two *sums* take alone, in the order in which you wrote them?


# %% tags=["timing"]
def mean_and_variance(rows, mean, variance):
    for k in range(rows.shape[0]):
        s = rows.dtype.type(0)
        for i in range(rows.shape[1]):
            s += rows[k, i]
        mean[k] = s / rows.shape[1]
        s = rows.dtype.type(0)
        for i in range(rows.shape[1]):
            s += (rows[k, i] - mean[k]) ** 2
        variance[k] = s / rows.shape[1]


if HAS_NUMBA:
    rows = x.transpose(1, 2, 3, 0).reshape(len(gamma), -1)  # as it lies in memory
    statistics = np.empty_like(gamma), np.empty_like(gamma)
    two_sums = njit(mean_and_variance)
    found = medians(
        {
            "NumPy": lambda: ops.batch_norm_relu_forward(x, gamma, beta),
            "the library's kernel": lambda: kernels.batch_norm_relu_forward(x, gamma, beta),
            "the two sums alone": lambda: two_sums(rows, *statistics),
        }
    )
    for key, seconds in found.items():
        print(f"{key:21} {1e3 * seconds:7.2f} ms")
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# On most machines the sums alone take longer than all of the library's kernel. Each addition has to
# wait for the one before it, about four cycles, while the processor could do 16 at once. Why does
# the compiler not help itself? Because it may not:
#
# ## `fastmath`: what a compiler may change
#
# (a + b) + c and a + (b + c) are not the same in floating point, so a compiler that keeps to the
# rules adds in the order that you wrote. With `fastmath` it may do as if they were. Numba lets you
# choose what you allow: here all of it, or only `reassoc`, another order.


# %% tags=["timing"]
def total(row):
    s = row.dtype.type(0)
    for k in range(row.size):
        s += row[k]
    return s


def missing(row):
    count = 0
    for k in range(row.size):
        if row[k] != row[k]:  # true for NaN, and for nothing else
            count += 1
    return count


if HAS_NUMBA:
    row = rng.uniform(size=1 << 18).astype(np.float32)
    exact = row.sum(dtype=np.float64)
    sums = {
        "as written": njit(total),
        "in any order": njit(fastmath={"reassoc"})(total),
        "fastmath": njit(fastmath=True)(total),
        "np.sum": np.sum,
    }
    found = medians({key: lambda f=f: f(row) for key, f in sums.items()}, min_seconds=0.002)
    for key, f in sums.items():
        error = abs(float(f(row)) / exact - 1)
        print(f"{key:13} {1e6 * found[key]:7.1f} us, relative error {error:.1e}")
    with_gaps = np.where(np.arange(64) % 4 == 0, np.nan, 1).astype(np.float32)
    assert njit(missing)(with_gaps) == 16
    assert njit(fastmath={"reassoc"})(missing)(with_gaps) == 16
    print("16 of 64 are NaN; with fastmath we find", njit(fastmath=True)(missing)(with_gaps))

    # The two sums from above once more:
    reordered = njit(fastmath={"reassoc"})(mean_and_variance)
    found = medians(
        {
            "as written": lambda: two_sums(rows, *statistics),
            "in any order": lambda: reordered(rows, *statistics),
        }
    )
    for key, seconds in found.items():
        print(f"mean and variance {key:13} {1e3 * seconds:6.2f} ms")
    assert np.allclose(statistics[0], x.mean(axis=(0, 2, 3)), atol=1e-4)
    assert np.allclose(statistics[1], x.var(axis=(0, 2, 3)), rtol=1e-3)
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# Another order is usually far faster *and more exact*: 16 or 32 partial sums, each of them small,
# lose fewer digits than one that grows and grows. But all of `fastmath` also promises the compiler
# that there is no NaN and no infinity; so it may drop the very test that looks for them, and a
# network that has gone wrong looks healthy. The kernels here allow `reassoc` for sums, and nothing
# else.
#
# ## Threads
#
# Python runs one thread at a time, but not in compiled code that gives its lock back
# (`nogil=True`), and not in BLAS. So two threads can share a layer's channels. What do they gain?

# %% tags=["timing"]
compute = single(32, 232, 14, 14), single(232, 232, 1, 1)
stream = single(32, 24, 112, 112)


def with_threads(count, run):
    """The same run, with so many threads."""

    def set_and_run():
        backend.set_num_threads(count)
        run()

    return set_and_run


if HAS_NUMBA and THREADS > 1:
    jobs = {
        "pointwise (arithmetic)": lambda: kernels.pointwise_conv2d_forward(*compute),
        "ReLU (memory)": lambda: kernels.relu_forward(stream),
    }
    runs = {(job, k): with_threads(k, run) for job, run in jobs.items() for k in (1, 2)}
    with backend.own_cores():
        found = interleave(runs, rounds=15)
    backend.set_num_threads(THREADS)
    for job in jobs:
        ratio = median_interval(found[job, 1] / found[job, 2])
        print(f"{job:23} two threads are {ratio} times as fast as one")
else:
    print("left out: it takes Numba, and two cores")

# %% [markdown]
# The numbers in brackets hold the true median with 95 % confidence; if other programs use the
# second core, you see that here. What waits for memory gains less, unless one core alone can't
# keep the memory busy.
#
# ### What it costs to wake one
#
# A thread that has nothing to do sleeps. To hand it work, the system has to be called, and a core
# has to wake up; and in the end, you wait for the last one.

# %% tags=["timing"]
if HAS_NUMBA:
    there, back = queue.SimpleQueue(), queue.SimpleQueue()

    def worker():
        while (job := there.get()) is not None:
            back.put(job())

    thread = threading.Thread(target=worker)
    thread.start()

    def hand_over():
        there.put(lambda: None)
        back.get()

    tiny = single(1, 58, 28, 28)
    found = medians(
        {
            "waking a thread and waiting for it": hand_over,
            "a ReLU of 58 x 28 x 28, one image": lambda: kernels.relu_forward(tiny),
        },
        min_seconds=0.005,
    )
    there.put(None)
    thread.join()
    for key, seconds in found.items():
        print(f"{key:35} {1e6 * seconds:7.1f} us")
    print()
    print(text(_threads.share_range))
else:
    print("left out: it takes Numba")

# %% [markdown]
# So small work isn't shared (`WORTH_SHARING`): with one image, many layers of a ShuffleNet are too
# small, and a second core does more for a batch.
#
# ### The same numbers on any machine
#
# Two threads that share a sum add in another order than one. In float32 you can see it:

# %%
row = rng.normal(size=100_000).astype(np.float32)
for pieces in (1, 2, 3, 4):
    parts = [part.cumsum()[-1] for part in np.array_split(row, pieces)]  # one after the other
    print(f"{pieces} pieces: {np.float32(sum(parts)):.5f}")
print(f"exactly:  {row.sum(dtype=np.float64):.5f}")

# %% [markdown]
# None of these is wrong. But a training run that ends elsewhere on a machine with more cores can't
# be repeated, and a bug in it can't be found. So the rule here: **how work is cut depends on
# shapes, never on the number of threads.** Channels are independent anyway; a sum over the batch is
# cut into the same pieces however many threads take them. So all results are equal to the last bit:

# %%
if HAS_NUMBA:
    x, w = single(16, 58, 28, 28), single(116, 58, 1, 1)
    d = single(58, 1, 3, 3)
    results = []
    for count in (1, 2, 3):
        backend.set_num_threads(count)
        results.append(
            [
                *forward_and_backward(kernels, "pointwise_conv2d", x, w, {}),
                *forward_and_backward(kernels, "depthwise_conv2d", x, d, {"padding": 1}),
            ]
        )
    backend.set_num_threads(THREADS)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
    print("1, 2 and 3 threads: equal to the last bit, forward and backward")
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# ### Two owners of the same cores
#
# The worst that can happen to threads is other threads. A pool that waits for its next job often
# *spins*: it asks again and again, as that is faster than sleeping. BLAS has such a pool, Numba's
# `parallel=True` another, PyTorch a third. Take turns between two of them, and each spins on the
# cores that the other needs. We try it in a process of its own: a small matrix product, then a
# small loop, again and again.

# %% tags=["timing", "long"]
POOLS = """
import json
import numba, numpy as np
from threadpoolctl import threadpool_limits
from numpy_shufflenet.timing import interleave

@numba.njit(parallel=True)
def double(x, y):
    for k in numba.prange(x.size):
        y[k] = 2 * x[k]

a, b, c = (np.ones((192, 192), np.float32) for _ in range(3))
x, y = np.ones(1 << 15, np.float32), np.empty(1 << 15, np.float32)

def run(blas, own):
    def both():
        numba.set_num_threads(own)
        for _ in range(3):
            np.matmul(a, b, out=c)
            double(x, y)
    def limited():
        with threadpool_limits(blas, "blas"):
            both()
    return limited

runs = {f"BLAS {i}, Numba {j}": run(i, j) for i in (1, 2) for j in (1, 2)}
found = interleave(runs, rounds=7, min_seconds=0, warm_seconds=0.01)
print(json.dumps({name: float(np.median(t)) / 3 for name, t in found.items()}))
"""


def in_new_process(code, **environment):
    """Run code in a process of its own, and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if HAS_NUMBA and THREADS > 1:
    both_may = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    for policy in ("active", "passive"):
        found = in_new_process(POOLS, OMP_WAIT_POLICY=policy, **both_may)
        print(f"threads that wait are {policy}:")
        for key, seconds in found.items():
            print(f"  {key:16} {1e6 * seconds:8.0f} us")
else:
    print("left out: it takes Numba, and two cores")

# %% [markdown]
# If the last line of the first table is the largest, you have seen it: two threads *each* are
# slower than one each, although there are two cores; often by a factor of 10 and more. With
# `passive`, OpenMP's threads sleep while they wait: that helps where Numba uses OpenMP, and not
# against the threads of BLAS, which spin as before.
#
# Hence one owner: BLAS runs on the thread that calls it (`backend.own_cores()`), and the library's
# few workers are the only threads that share work. It is cut into more pieces than there are
# threads, and whoever is done with one takes the next (`_threads.take_turns`): halves are never
# quite equal, and never begin at the same time. An idle worker spins for a fifth of a millisecond,
# which spares the layers of a network most wake-ups, and then sleeps; it sleeps at once if there
# are more threads than cores.
#
# Two things must not happen. *The caller must not wait for a worker that isn't there*, because
# another program has its core. So the caller takes pieces like anybody else, and a worker that
# comes too late is left out. *A worker must not go on when the caller has left*: you press Ctrl-C,
# the next call begins, and the late worker takes a piece of it with the arrays of the old one. So
# each call has counters of its own, and it ends in one call of compiled code, which no interrupt
# can divide: from then on nobody is at work for this call, and nobody can begin.
#
# ## The cold start
#
# Machine code has to be made first. What is the price, and who pays it? A new process with an empty
# cache imports Numba, compiles one kernel and calls it again; then the next process finds the
# machine code on disk.

# %% tags=["timing", "long"]
START = """
import json, time
import numpy as np
ticks = [time.perf_counter()]
import numba
ticks.append(time.perf_counter())
from numpy_shufflenet import kernels
ticks.append(time.perf_counter())
x, one = np.ones((2, 8, 8, 8), np.float32), np.ones(8, np.float32)
for _ in range(2):
    kernels.batch_norm_relu_forward(x, one, one)
    ticks.append(time.perf_counter())
print(json.dumps(np.diff(ticks).tolist()))
"""

if HAS_NUMBA:
    with tempfile.TemporaryDirectory() as folder:
        found = {
            key: in_new_process(START, NUMBA_CACHE_DIR=folder)
            for key in ("cache empty", "code on disk")
        }
    print(f"{'':13} import numba  import kernels  first call  second call")
    for key, (numba_s, import_s, first, second) in found.items():
        print(
            f"{key:13} {numba_s:10.2f} s {import_s:12.2f} s {first:9.3f} s {1e3 * second:9.3f} ms"
        )
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# One kernel takes a second or more, all that a network needs about 20: once on a machine, for each
# of float32 and float64. So a package of kernels compiles when a kernel is first *called*, not when
# it is imported; keeps the result on disk; has few variants of each kernel (one memory order); and
# says what it is doing while you wait.
#
# ## The whole network
#
# ShuffleNet V2 1×, 4 images of 224 × 224, on both floors, all threads. Each layer's time is taken
# by itself, so nothing is fused here.

# %% tags=["timing", "long"]
model = with_real_statistics(models.shufflenet_v2(seed=0), 64)
counted = cost.count(model, (3, 224, 224), batch=4)
images = rng.normal(size=(4, 3, 224, 224)).astype(np.float32)
BACKENDS = ("numpy", "numba") if HAS_NUMBA else ("numpy",)
times = {}
for turn in range(5):
    for name in BACKENDS:
        with backend.use(name), backend.own_cores():
            seconds = model.trace(images).seconds
        model.release()
        if turn == 0:
            continue  # to warm up
        for layer_name, _ in model.named_layers():
            times.setdefault((name, layer_name), []).append(seconds.get(layer_name, 0.0))
per_layer = {key: float(np.median(values)) for key, values in times.items()}

shares = {
    "multiply-adds": {k: v.multiply_adds for k, v in counted.by_kind().items()},
    "memory access": {k: v.memory_access for k, v in counted.by_kind().items()},
}
by_kind = {}
for name in BACKENDS:
    by_kind[name] = {}
    for layer in counted.layers:
        spent = by_kind[name].get(layer.kind, 0.0) + per_layer[name, layer.name]
        by_kind[name][layer.kind] = spent
    shares[f"time, {name}"] = by_kind[name]
    print(f"{name}: {1e3 * sum(by_kind[name].values()):.0f} ms in {len(counted.layers)} layers")
display(plots.cost_by_kind(shares, "ShuffleNet V2 1x, 4 images"))

# %% [markdown]
# A kind's share of the time isn't its share of the multiply-adds (G4 of lesson 12). Layer by layer,
# in the order of forward, on the fastest floor that you have:

# %% tags=["timing"]
fastest = BACKENDS[-1]
seconds = [per_layer[fastest, layer.name] for layer in counted.layers]
display(plots.cost_by_layer(counted.layers, f"ShuffleNet V2 1x, 4 images, {fastest}", seconds))
for layer in sorted(counted.layers, key=lambda layer: -per_layer[fastest, layer.name])[:5]:
    print(f"{1e3 * per_layer[fastest, layer.name]:6.2f} ms  {layer.name}: {layer.text}")

# %% [markdown]
# And all of them below the roof. Each point is one layer.

# %% tags=["timing"]
series = {}
for layer in counted.layers:
    counts, seconds = layer.cost.forward, per_layer[fastest, layer.name]
    if counts.arithmetic and seconds:
        point = plots.Work("", counts.arithmetic, 4 * counts.memory_access, seconds)
        series.setdefault(layer.kind, []).append(point)
display(
    plots.roofline(
        {kind: points for kind, points in series.items() if len(points) > 1},
        gflops=limits.gflops,
        gbytes=limits.gbytes,
        title=f"The layers of ShuffleNet V2 1x, 4 images, {fastest}",
    )
)

# %% [markdown]
# The clouds tell what to do. Far right and below the ceiling: better arithmetic, larger products.
# Left and at the slope: no kernel will help; move less (fuse, or fold batch normalisation into the
# convolution before it, `model.fold()`). Far below everything: small layers, in which the time
# between two calls counts.
#
# ### Exercise: Amdahl's law &#9679;&#9679;&#9675;
#
# One kind of layer takes the share `share` of the time (0 to 1), and you make it `factor` times as
# fast. How many times as fast is the whole? (Amdahl, 1967.)


# %% tags=["hide-input"]
def check_speedup(attempt):
    def by_seconds(share, factor):
        """Of 100 seconds."""
        part, rest = 100 * share, 100 - 100 * share
        return 100 / (part / factor + rest)

    return compared(
        attempt,
        by_seconds,
        ("share", "factor"),
        ((0.3, 2), (0.1, 10), (0.75, 5), (0.5, 1)),
        {
            "That is the best that any factor could do.": lambda p, s: 1 / (1 - p),
            "Times add up, speeds don't: what is left of the part's time?": lambda p, s: (
                p * s + 1 - p
            ),
            "The rest, which stays as slow as it was, is missing.": lambda p, s: s / p,
            "This is the time that is left; the speed-up is its inverse.": lambda p, s: (
                1 - p + p / s
            ),
        },
    )


# %% tags=["exercise", "raises-exception"]
def my_speedup(share, factor):
    raise NotImplementedError  # your code here


assert check_speedup(my_speedup), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Let the whole take 1 second. How long does the part take afterwards, and how long the rest?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `share / factor`, and `1 - share`. The speed-up is the time before over the time after.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_speedup(share, factor):
    return 1 / (1 - share + share / factor)


assert check_speedup(solved_speedup)

# %% [markdown]
# What is there still to gain? For each kind, if it were twice as fast, and if it took no time:

# %% tags=["timing"]
whole = sum(by_kind[fastest].values())
print(f"{'':18} share   twice as fast   no time at all")
for kind, spent in sorted(by_kind[fastest].items(), key=lambda item: -item[1]):
    share = spent / whole
    print(f"{kind:18} {share:5.1%} {1 / (1 - share / 2):12.2f} x {1 / (1 - share):14.2f} x")

# %% [markdown]
# Hardly a line promises a factor of two: where every part has been worked on, no single slow one is
# left. What remains is to run fewer operations, to move less, and to waste less time between two of
# them. That is what fusing and folding do (on a busy machine, or with NumPy, you may see little):

# %% tags=["timing", "long"]
folded = model.fold()
runs = {"layer by layer": lambda: model.trace(images), "model.infer": lambda: model.infer(images)}
runs["folded.infer"] = lambda: folded.infer(images)
found = {key: float(np.median(t)) for key, t in interleave(runs, rounds=5, min_seconds=0).items()}
model.release()
for key, seconds in found.items():
    print(f"{key:15} {1e3 * seconds:6.1f} ms")
expected = model.infer(images)
assert np.allclose(folded.infer(images), expected, atol=1e-3 * np.abs(expected).max())

# %% [markdown]
# ### The network as one program
#
# Between two layers there is still Python: it looks at arguments, finds memory, wakes a thread. For
# one image that is more than half of the time. But an evaluation forward is the same list of
# operations each time. So write the list down once: run the network's own forward on *names* of
# channels in place of numbers. What does the list say about the shuffle?

# %%
if HAS_NUMBA:
    program = model.plan().program((3, 224, 224))
    print("\n".join(str(program).splitlines()[:14]), "\n  ...")
    kinds = {node.kind for node in program.nodes}
    assert not kinds & {"channel_split", "channel_concat", "channel_shuffle"}

# %% [markdown]
# <details>
# <summary>Where has it gone?</summary>
#
# Split, concatenation and shuffle move names, and moving a name costs nothing when the network
# runs: the next product just reads its channels from other places. The half that passes through a
# unit never moves at all. What is left are products, each with its ReLU, and most with the
# depthwise convolution that follows, which finds its input still in the cache.
#
# </details>
#
# The program is a table of whole numbers, and one compiled loop runs it, on all threads: they meet
# after each instruction, without asking the operating system. The loop that does nearly all the
# work is this one: 6 sums of 16 numbers each, in registers until they are complete.

# %%
if HAS_NUMBA:
    from numpy_shufflenet.plan import products

    print(text(products.multiply_block))

# %% tags=["timing", "long"]
if HAS_NUMBA:
    plan, image = model.plan(), images[:1]
    runs = {"folded.infer": lambda: folded.infer(image), "plan": lambda: plan(image)}
    taken = interleave(runs, rounds=9, min_seconds=0.02)
    for key, turns in taken.items():
        print(f"{key:15} {1e3 * np.median(turns):6.2f} ms for one image")
    print(f"ratio           {median_interval(taken['folded.infer'] / taken['plan'])}")
    expected = folded.infer(images)
    assert np.allclose(plan(images), expected, atol=1e-3 * np.abs(expected).max())

# %% [markdown]
# ## Your own kernel
#
# ### Exercise: a depthwise convolution in Numba &#9679;&#9679;&#9679;
#
# Now all of it by yourself: forward and backward, compiled. `x` is (n, c, h, w), `w` (c · m, 1, kh,
# kw), and output channel k reads channel k // m. Take `stride` and `padding`. First make it right,
# with a loop for each index; then think about their order: which index should be innermost,
# so that memory is read in a row, and the compiler can do several outputs at once?


# %% tags=["exercise", "raises-exception"]
@njit
def convolve_planes(padded, w, stride, y):
    """y (n, c m, oh, ow) from images with their border (n, c, h+, w+)."""
    # your loops here


@njit
def send_back(dy, padded, w, stride, dpadded, dw):
    """Add to dpadded (n, c, h+, w+), and fill dw (c m, 1, kh, kw)."""
    # your loops here


def with_border(x, padding):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def my_depthwise(x, w, stride, padding):
    padded = with_border(x, padding)
    oh, ow = ((s - k) // stride + 1 for s, k in zip(padded.shape[2:], w.shape[2:], strict=True))
    y = np.zeros((len(x), len(w), oh, ow), x.dtype)
    convolve_planes(padded, w, stride, y)
    return y


def my_depthwise_backward(dy, x, w, stride, padding):
    padded = with_border(x, padding)
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    send_back(dy, padded, w, stride, dpadded, dw)
    h, width = x.shape[2:]
    return dpadded[:, :, padding : padding + h, padding : padding + width], dw


exercises.check("depthwise_conv2d_forward", my_depthwise, seconds=30, points=1.5)
exercises.check("depthwise_conv2d_backward", my_depthwise_backward, seconds=30, points=1.5)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `y[i, k, p, q] += w[k, 0, a, b] * padded[i, k // m, p * stride + a, q * stride + b]`, in loops
# over i, k, p, q, a, b. Here m is `len(w) // padded.shape[1]`.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Each term goes back along both of its ways: `dpadded[...] += w[...] * dy[i, k, p, q]`, and
# `dw[...] += padded[...] * dy[i, k, p, q]`, at the same indices.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# Fast: q innermost, and everything that doesn't depend on q in front of it: `weight = w[k, 0, a,
# b]`, `source = padded[i, k // m, p * stride + a]`. A sum for dw goes into a local variable, which
# is a register, and to the array once at the end.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
@njit
def solved_convolve_planes(padded, w, stride, y):
    m = len(w) // padded.shape[1]
    for i in range(y.shape[0]):
        for k in range(y.shape[1]):
            for p in range(y.shape[2]):
                target = y[i, k, p]
                for a in range(w.shape[2]):
                    source = padded[i, k // m, p * stride + a]
                    for b in range(w.shape[3]):
                        weight = w[k, 0, a, b]
                        for q in range(target.size):
                            target[q] += weight * source[q * stride + b]


@njit
def solved_send_back(dy, padded, w, stride, dpadded, dw):
    m = len(w) // padded.shape[1]
    for k in range(dy.shape[1]):
        for a in range(w.shape[2]):
            for b in range(w.shape[3]):
                weight = w[k, 0, a, b]
                total = dw.dtype.type(0)
                for i in range(dy.shape[0]):
                    for p in range(dy.shape[2]):
                        g = dy[i, k, p]
                        source = padded[i, k // m, p * stride + a]
                        target = dpadded[i, k // m, p * stride + a]
                        for q in range(g.size):
                            total += g[q] * source[q * stride + b]
                            target[q * stride + b] += weight * g[q]
                dw[k, 0, a, b] = total


def solved_with_border(x, padding):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def solved_depthwise(x, w, stride=1, padding=0):
    padded = solved_with_border(x, padding)
    oh, ow = ((s - k) // stride + 1 for s, k in zip(padded.shape[2:], w.shape[2:], strict=True))
    y = np.zeros((len(x), len(w), oh, ow), x.dtype)
    solved_convolve_planes(padded, w, stride, y)
    return y


def solved_depthwise_backward(dy, x, w, stride=1, padding=0):
    padded = solved_with_border(x, padding)
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    solved_send_back(np.ascontiguousarray(dy), padded, w, stride, dpadded, dw)
    h, width = x.shape[2:]
    return dpadded[:, :, padding : padding + h, padding : padding + width], dw


exercises.check("depthwise_conv2d_forward", solved_depthwise, seconds=30)
exercises.check("depthwise_conv2d_backward", solved_depthwise_backward, seconds=30)

# %% [markdown]
# ## The gradient check
#
# Of the library's kernels. For your own, let `forward` return `my_depthwise(x, w, 2, 1)`, and
# `backward` return `my_depthwise_backward(dy, x, w, 2, 1)`.


# %% tags=["long"]
fast = FLOORS[list(FLOORS)[-1]]


def forward(x, w):
    return fast.depthwise_conv2d_forward(x, w, stride=2, padding=1)[0]


def backward(dy, x, w):
    _, cache = fast.depthwise_conv2d_forward(x, w, stride=2, padding=1)
    return fast.depthwise_conv2d_backward(dy, cache)[:2]


x, w = rng.normal(size=(2, 2, 5, 6)), rng.normal(size=(4, 1, 3, 3))
verdict = gradcheck.check(forward, backward, x, w, per_entry=True)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% [markdown]
# A mistake that compiled code makes easy: the last column is left out, since somebody wrote
# `range(g.size - 1)`. No exception, no warning, and hardly visible in a loss. A cross marks what is
# wrong.


# %%
def last_column_left_out(dy, x, w):
    cut = dy.copy()
    cut[..., -1] = 0
    return backward(cut, x, w)


wrong = gradcheck.check(forward, last_column_left_out, x, w, per_entry=True)
assert wrong.status == "fail"
plots.gradient_map(wrong)

# %% [markdown]
# ## What it costs
#
# Both floors, with the least time that the roof allows. Write yours into the table:
#
# ```python
# "mine": lambda: (my_depthwise(x, w, 1, 1), my_depthwise_backward(dy, x, w, 1, 1)),
# ```
#
# A loop with q innermost runs along rows of (n, c, h, w); the library's along its own order in
# memory, so it gets its arrays in that order.

# %% tags=["timing"]
if HAS_NUMBA:
    shapes = {"x": (8, 58, 28, 28), "w": (58, 1, 3, 3)}
    settings = {"padding": 1}
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in shapes.values())
    major = backend.channel_major(x)
    dy, _ = ops.depthwise_conv2d_forward(x, w, padding=1)
    major_dy = backend.channel_major(dy)

    def forward_backward(floor):
        _, cache = floor.depthwise_conv2d_forward(major, w, padding=1)
        floor.depthwise_conv2d_backward(major_dy, cache)

    found = medians(
        {
            "NumPy": lambda: forward_backward(ops),
            "the library's kernel": lambda: forward_backward(kernels),
        }
    )
    counts = find("depthwise_conv2d").cost(shapes, settings)
    least = sum(
        max(c.arithmetic / alone.gflops, 4 * c.memory_access / alone.gbytes) / 1e9
        for c in (counts.forward, counts.backward)
    )
    print(f"{'the roof':21} {1e3 * least:7.2f} ms")
    for key, seconds in found.items():
        print(f"{key:21} {1e3 * seconds:7.2f} ms")
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. An operation does 2 FLOP a byte; your machine 200 GFLOP/s and 20 GB/s. What helps: a
# processor that computes twice as fast, or fusing it with the next one?</summary>
#
# Fusing. It reaches 40 GFLOP/s at best, a fifth of what the processor does already.
#
# </details>
#
# <details>
# <summary>2. Why is a point of the roofline sometimes above the slope?</summary>
#
# The slope is that of memory; its numbers came from a cache.
#
# </details>
#
# <details>
# <summary>3. You time A, then B, and B is 8 % faster. What do you do before you believe it?
# </summary>
#
# Let them take turns, many times, and look at the interval of the ratio. The machine's other load
# may have changed in between.
#
# </details>
#
# <details>
# <summary>4. A network gives other results on 8 cores than on 4. Is that a bug?</summary>
#
# The results may all be right to rounding: sums in another order. But it is a bug to let the order
# depend on the number of threads, as nothing can be repeated then.
#
# </details>
#
# <details>
# <summary>5. Why is the first training step in a new process slow, even with the code on disk?
# </summary>
#
# Numba has to be imported and the code loaded; and every array that the step makes is new memory,
# whose pages are touched for the first time.
#
# </details>
#
# <details>
# <summary>6. A kernel takes 20 % of the time, and you have a week. What can you win at most?
# </summary>
#
# A factor of 1 / 0.8 = 1.25, and in practice less. See first whether anything takes more.
#
# </details>
