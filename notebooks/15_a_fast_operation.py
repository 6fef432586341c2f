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
# # Lesson 15: making an operation fast
#
# **Goal**
# - Take one operation from Python loops to NumPy to machine code, with the same results.
# - Measure the limits of your machine, and say for each operation which limit it meets.
# - Use memory and a compiler well, and write a kernel (here: a compiled function) of your own.

# %%
import importlib.util
import inspect
import mmap

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from numpy_shufflenet import (
    backend,
    exercises,
    gradcheck,
    ops,
    plots,
    steps,
)
from numpy_shufflenet.bench.resources import machine
from numpy_shufflenet.operations import find
from numpy_shufflenet.timing import interleave

HAS_NUMBA = importlib.util.find_spec("numba") is not None
IMPLEMENTATIONS = {"loops": steps, "NumPy": ops}
if HAS_NUMBA:
    import numba

    from numpy_shufflenet import kernels

    njit = numba.njit
    IMPLEMENTATIONS["Numba"] = kernels
else:
    print("Numba isn't installed here: cells that need it say that they are left out")

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
# Hundreds of times, often more. For each multiply-add, Python looks up what `*` means for the two
# objects, checks the indices, and makes new objects for the results. That takes a few hundred
# nanoseconds. A core does several multiply-adds in *one* cycle, about a third of a nanosecond.
#
# </details>
#
# ## One operation, three implementations
#
# A depthwise convolution (lesson 5): each output is a sum over one window of its own channel.

# %%
rng = np.random.default_rng(15)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("depthwise_conv2d", small(1, 2, 4, 4), small(2, 1, 3, 3), padding=1)

# %% [markdown]
# `steps/` computes what the picture shows: one output after the other, in Python.


# %%
def text(function):
    """Return the source of a function without its docstring."""
    source = inspect.getsource(function)
    if function.__doc__ is None:
        return source
    head, _, rest = source.partition('"""')
    return head + rest.partition('"""')[2].strip()


print(text(steps.depthwise_conv2d_forward_steps))

# %% [markdown]
# `ops/` has no loops over images, channels, rows and columns: NumPy runs them in C, once for each
# of the nine taps.

# %%
print(text(ops.depthwise_conv2d_forward))

# %% [markdown]
# In `kernels/` there are loops again, but [Numba](https://numba.pydata.org) compiles them to
# machine code. This is the innermost loop. It adds up all nine taps in a **register**, a memory
# cell inside the processor, so it writes each output once, not nine times. It has no branch,
# because the image was copied into a larger array of zeros before. So the compiler can use **vector
# instructions**, which compute 8 or 16 numbers at once.

# %%
if HAS_NUMBA:
    from numpy_shufflenet.kernels.depthwise_planes import nine_taps

    print(text(nine_taps))
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# A pointwise convolution is a matrix product. So the NumPy implementation has no loop at all: NumPy
# calls BLAS, a library that people have optimised for 40 years. Here the kernel only cuts the work
# into pieces that fit into the processor's cache:

# %%
print(text(ops.pointwise_conv2d_forward))
if HAS_NUMBA:
    from numpy_shufflenet.kernels import pointwise_conv2d

    print(pointwise_conv2d.__doc__)

# %% [markdown]
# ### Equal results
#
# Wrong code can be fast, too. So before we time anything, all implementations must agree, forward
# and backward.

# %%
CASES = {
    "depthwise_conv2d": ((1, 16, 14, 14), (16, 1, 3, 3), {"padding": 1}),
    "pointwise_conv2d": ((1, 16, 14, 14), (16, 16, 1, 1), {}),
}


def forward_and_backward(functions, name, x, w, settings):
    """Return y, dx and dw, with y as dy."""
    y, cache = getattr(functions, f"{name}_forward")(x, w, **settings)
    dx, dw, _ = getattr(functions, f"{name}_backward")(y, cache)
    return y, dx, dw


for name, (x_shape, w_shape, settings) in CASES.items():
    x, w = rng.normal(size=x_shape), rng.normal(size=w_shape)
    expected = forward_and_backward(steps, name, x, w, settings)
    for which, functions in IMPLEMENTATIONS.items():
        found = forward_and_backward(functions, name, x, w, settings)
        worst = max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True))
        print(f"{name:17} {which:6} y, dx, dw differ from the loops' by {worst:.1e} at most")
        assert worst < 1e-10

# %% [markdown]
# ### Different times
#
# Times are noisy on a computer that also runs other programs. So `timing.interleave` runs the
# functions in turn, in changing order, and we compare medians. For now everything runs on one
# thread, in float32 as in a network.


# %%
def medians(runs, rounds=7, **options):
    """Return the median seconds of functions that run in turn on one thread."""
    backend.set_num_threads(1)
    try:
        with backend.own_cores():
            found = interleave(runs, rounds=rounds, **options)
    finally:
        backend.set_num_threads(THREADS)
    return {name: float(np.median(seconds)) for name, seconds in found.items()}


def single(*shape):
    """Return normal numbers in float32, in the memory layout that networks use."""
    numbers = rng.normal(size=shape).astype(np.float32)
    return backend.channel_major(numbers) if len(shape) == 4 else numbers


def time_all(names, operation, x_shape, w_shape, settings):
    """Return the median seconds of forward and backward in these implementations."""
    x, w = single(*x_shape), rng.normal(size=w_shape).astype(np.float32)
    runs = {
        which: lambda which=which: forward_and_backward(
            IMPLEMENTATIONS[which], operation, x, w, settings
        )
        for which in names
    }
    return medians(runs, min_seconds=0.002)


# %% tags=["timing"]
# Picture: milliseconds of each implementation as bars, in logarithms; left a depthwise convolution,
# right a pointwise one. The loops take by far the longest.
figure, row = plt.subplots(1, 2, figsize=(9, 2.4), layout="constrained", sharex=True)
for axes, (name, (x_shape, w_shape, settings)) in zip(row, CASES.items(), strict=True):
    counts = find(name).cost({"x": x_shape, "w": w_shape}, settings)
    products = counts.forward.multiply_adds + counts.backward.multiply_adds
    found = time_all(IMPLEMENTATIONS, name, x_shape, w_shape, settings)
    print(f"{name}, forward and backward, {products:,} multiply-adds")
    for which, seconds in found.items():
        print(
            f"  {which:6} {1e3 * seconds:8.3f} ms  {1e9 * seconds / products:8.2f} ns each, "
            f"{found['loops'] / seconds:6.0f} times as fast as the loops"
        )
    axes.barh(list(found), [1e3 * s for s in found.values()], color="#0072B2")
    axes.set(xscale="log", xlabel="ms, log scale", title=name)
    axes.invert_yaxis()
plt.show()

# %% [markdown]
# These loops also record what each output reads, for the pictures. How much of the difference is
# due to Python alone? Here is a loop that only computes, run by Python, and **the same function**
# compiled:


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
# That image was small, so that the loops didn't take too long. Now we time a layer of stage 2 of
# ShuffleNet V2 with 8 images, without the loops, which would take about a minute.

# %% tags=["timing"]
LARGE = {
    "depthwise_conv2d": ((8, 58, 28, 28), (58, 1, 3, 3), {"padding": 1}),
    "pointwise_conv2d": ((8, 58, 28, 28), (58, 58, 1, 1), {}),
}
for name, (x_shape, w_shape, settings) in LARGE.items():
    found = time_all(list(IMPLEMENTATIONS)[1:], name, x_shape, w_shape, settings)
    print(name, ", ".join(f"{key} {1e3 * s:.2f} ms" for key, s in found.items()))

# %% [markdown]
# Usually the depthwise convolution gets several times as fast. The pointwise one gains little,
# because BLAS is machine code already. **A compiler helps where NumPy has no single call for the
# operation.**
#
# ## Why: bytes and FLOPs
#
# How fast *can* an operation be? Two things take time: computing, and moving numbers between memory
# and the processor. So we count both. `Operation.cost` gives the arithmetic (here every addition,
# multiplication and comparison is one FLOP), and the least number of numbers that must be read and
# written. A float32 has 4 bytes.


# %%
def flops_and_bytes(name, shapes, settings):
    """Return the FLOPs of a forward, and the bytes that it must move, in float32."""
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
# by a factor of 2000, and a shuffle computes nothing at all. So the operations that make these
# networks cheap in FLOPs compute little for each number that they read.
#
# ### The limits of your machine
#
# We measure two limits. The highest speed of arithmetic comes from matrix products whose arrays
# stay in the cache. The highest speed of memory comes from a copy of large arrays.

# %% tags=["timing"]
limits = machine()
print(
    f"all {THREADS} threads: {limits.gflops:.0f} GFLOP/s, {limits.gbytes:.0f} GB/s; "
    f"both limits are reached at {limits.gflops / limits.gbytes:.1f} FLOP a byte"
)
backend.set_num_threads(1)
alone = machine()
backend.set_num_threads(THREADS)
print(f"one thread: {alone.gflops:.0f} GFLOP/s, {alone.gbytes:.0f} GB/s")

# %% [markdown]
# ### Exercise: the least time &#9679;&#9675;&#9675;
#
# An operation computes `flops` FLOPs and moves `moved` bytes. The machine does `gflops` billion
# FLOPs and moves `gbytes` billion bytes a second. It does both *at the same time*: while it
# computes, it already reads the next numbers. Return the least number of seconds that the operation
# takes.


# %% tags=["hide-input"]
def same(found, expected):
    return np.allclose(found, expected, rtol=1e-6, atol=0)


def compared(attempt, target, names, cases, mistakes):
    """Compare all cases, and name the known mistake that gives the same answers."""
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
            "The slower of the two decides, not the faster.": lambda f, m, a, b: (
                min(f / a, m / b) / 1e9
            ),
            "Both run at the same time: don't add.": lambda f, m, a, b: (f / a + m / b) / 1e9,
            "Giga is 1e9.": lambda f, m, a, b: max(f / a, m / b),
            "That is a speed; a time was asked for.": lambda f, m, a, b: (
                1e9 * f / max(f / a, m / b)
            ),
            "The time of memory is missing.": lambda f, m, a, b: f / a / 1e9,
            "The time of arithmetic is missing.": lambda f, m, a, b: m / b / 1e9,
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
# Compute two times: that of the arithmetic if memory were infinitely fast, and that of memory if
# arithmetic were.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The operation ends when both have ended.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_least_seconds(flops, moved, gflops, gbytes):
    return max(flops / gflops, moved / gbytes) / 1e9


assert check_least_seconds(solved_least_seconds)

# %% [markdown]
# ### The roofline
#
# Draw the highest possible speed against the intensity. At low intensity memory limits the speed,
# which rises in proportion to the intensity: a slope. At high intensity arithmetic limits it: a
# ceiling. Together they are the **roofline** (Williams, Waterman, Patterson, 2009). The points
# below it are the operations of the table above on one thread, with 116 channels of 28 × 28 pixels
# and 32 images. For each, see how far it is from the roofline, and from which part.

# %% tags=["timing"]
runs = {}
for label, (name, shapes, settings) in LAYERS.items():
    arrays = [single(*shape) for shape in shapes.values()]
    for which in list(IMPLEMENTATIONS)[1:]:
        forward = getattr(IMPLEMENTATIONS[which], f"{name}_forward")
        runs[which, label] = lambda f=forward, a=arrays, s=settings: f(*a, **s)
found = medians(runs, rounds=3, min_seconds=0)
series = {
    which: [
        plots.Work(
            label if functions is IMPLEMENTATIONS[list(IMPLEMENTATIONS)[-1]] else "",
            *flops_and_bytes(*layer),
            found[which, label],
        )
        for label, layer in LAYERS.items()
        if label != "shuffle"  # it has no arithmetic, so no place in this picture
    ]
    for which, functions in list(IMPLEMENTATIONS.items())[1:]
}
display(
    plots.roofline(series, gflops=alone.gflops, gbytes=alone.gbytes, title="Forward, one thread")
)
for label, layer in LAYERS.items():
    flops, moved = flops_and_bytes(*layer)
    least = max(flops / alone.gflops, moved / alone.gbytes) / 1e9
    times = ", ".join(
        f"{which} {1e3 * found[which, label]:.2f}" for which in list(IMPLEMENTATIONS)[1:]
    )
    print(f"{label:16} at least {1e3 * least:6.2f} ms; {times}")

# %% [markdown]
# NumPy's depthwise convolution is far below the slope, although memory limits it. Each of its nine
# taps reads and writes whole arrays, so it moves many times as many bytes as necessary. Batch
# normalisation reads each number three times: for the mean, for the variance, and for the result.
# The kernel does all three for one channel while the channel is in the cache, then goes on to the
# next.
#
# A point *above* the slope is no mistake: some of its numbers were in a cache, which is several
# times as fast as memory. Besides, the roofline itself is measured, and other programs on the
# machine disturb the measurement.
#
# ## Memory
#
# ### Order: along rows, or along columns
#
# Memory is one long sequence of numbers. NumPy stores a matrix row after row (**row-major**). The
# next cell copies a matrix twice: once along its rows, in the order of memory, and once along its
# columns. Both loops do the same work. (Without Numba, Python is so slow that it hides the
# difference.)


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
# The reason: the processor reads memory in **cache lines**, mostly of 64 bytes, or 16 float32. To
# read one number it loads all 16. Along the columns of a large matrix, the other 15 often leave the
# cache before they are used.
#
# You can measure the size of a line. Add 1 to every number of a large array, then to every second,
# to every fourth, and so on. How long does each take? If the time depended on the count of numbers,
# half as many would take half the time.


# %% tags=["timing"]
# Picture: milliseconds against the distance of the numbers that are changed, both in logarithms:
# measured, and for comparison in proportion to numbers, and to lines of 16 numbers.
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
axes.loglog(strides, measured[0] / strides, ":", color="#767676", label="proportional to numbers")
lines = measured[strides == 16] * np.minimum(1, 16 / strides)
axes.loglog(strides, lines, "--", color="#D55E00", label="proportional to lines of 16")
axes.set(xlabel="distance between the numbers", ylabel="ms")
axes.set_xticks(strides, strides)
axes.yaxis.set_major_formatter("{x:g}")
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# On the left the loop itself takes the time. Then the curve is nearly flat: each step halves the
# count of numbers, but as long as their distance is less than a line, every line must be loaded.
# Beyond 16 the curve falls, because some lines aren't loaded (on some processors beyond 32, because
# they load lines in pairs).
#
# ### Channel-major: a channel is contiguous
#
# The shape of an image array is (n, c, h, w), but this library stores it in memory in the order (c,
# h, w, n): each channel of the whole batch is contiguous. Then a pointwise convolution is *one*
# large matrix product instead of n small ones, and the mean of a channel reads contiguous memory.
# The next cell compares both layouts, in NumPy.

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
# The differences depend on your BLAS and your caches.
#
# ### The first write to new memory
#
# When a program allocates memory, the operating system only reserves addresses. At the first write
# to each page (mostly 4 kB) it interrupts the program, finds a physical page and fills it with
# zeros, so that no program can read another's data. This is a **page fault**. So the *first* pass
# over new memory is much slower than the second.

# %% tags=["timing"]
size = 1 << 25  # bytes


def write_fresh():
    with mmap.mmap(-1, size) as memory:
        pages = np.frombuffer(memory, np.float32)
        pages.fill(1)
        del pages  # so that the memory can be closed


kept = np.ones(size // 4, np.float32)
found = medians({"first write": write_fresh, "again": lambda: kept.fill(1)}, min_seconds=0)
for key, seconds in found.items():
    print(f"{key:12} {1e3 * seconds:6.2f} ms, {size / seconds / 1e9:5.1f} GB/s")
print(f"the first takes {found['first write'] / found['again']:.0f} times as long")

# %% [markdown]
# Often it takes about 20 times as long. A training step allocates hundreds of arrays, with the same
# sizes as the step before. So the kernels' outputs come from a *workspace*, which keeps memory and
# reuses it as soon as no array refers to it any more (`_memory.py`). NumPy asks the system for
# large pages, which makes page faults rarer: with `np.empty` the first write is less slow.
#
# ### Fusing: one pass instead of two
#
# Where memory limits the speed, an operation gets faster only if it moves less. Batch normalisation
# writes an array, and the ReLU after it reads it again. If both are **fused** into *one* operation,
# the numbers between them stay in registers.

# %% tags=["timing"]
shape = (8, 24, 112, 112)
x, gamma, beta = single(*shape), single(24), single(24)
shapes = {"x": shape, "gamma": (24,), "beta": (24,)}
apart = flops_and_bytes("batch_norm", shapes, {"eps": 1e-5})[1]
apart += flops_and_bytes("relu", {"x": shape}, {})[1]
fused = flops_and_bytes("batch_norm_relu", shapes, {"eps": 1e-5})[1]
print(f"apart {apart / 1e6:.1f} MB at least, fused {fused / 1e6:.1f} MB")

runs = {}
for which in list(IMPLEMENTATIONS)[1:]:
    functions = IMPLEMENTATIONS[which]
    runs[which, "apart"] = lambda f=functions: f.relu_forward(
        f.batch_norm_forward(x, gamma, beta)[0]
    )
    runs[which, "fused"] = lambda f=functions: f.batch_norm_relu_forward(x, gamma, beta)
    assert np.array_equal(runs[which, "apart"]()[0], runs[which, "fused"]()[0])
found = medians(runs)
for (which, how), seconds in found.items():
    print(f"{which:6} {how}  {1e3 * seconds:7.2f} ms")

# %% [markdown]
# NumPy can't fuse: each of its functions is a separate pass over the arrays. So in NumPy both times
# are equal apart from noise. (`ops.batch_norm_relu_forward` is there to be read, not to be fast.)
# That is the second reason for a compiler.
#
# ### Exercise: batch normalisation and ReLU in one pass &#9679;&#9679;&#9675;
#
# Write both as one compiled function with loops. `x` has the shape (n, c, h, w), `gamma` and `beta`
# have (c,). For each channel compute the mean and the variance (divided by m), then y = max(gamma
# (x - mean) / √(var + eps) + beta, 0), in one pass that writes into `y`. Numba compiles loops,
# indices and `math`: write `normalise_channels` as you would write C.
#
# The check calls the function with small cases in a separate process. If a kernel writes outside
# its arrays, only that process can crash. (It has half a minute, because it also compiles.) While
# you look for a mistake, use `@njit(boundscheck=True)`, which reports a wrong index.


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
# Start with `total = 0.0`, add up in a loop, and compute `mean = total / rows.shape[1]`. Do the
# same for the squares of x - mean. Divide by m, not by m - 1.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Compute everything that is the same for a whole channel before the last loop: `scale = gamma[k] /
# math.sqrt(variance + eps)`. A division and a square root cost as much as 20 multiplications.
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
# How fast is your function? Add it to this table: `"mine": lambda: my_batch_norm_relu(x, gamma,
# beta, 1e-5)`. The cell also times two *sums* alone, in the order in which they are written.


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
# On most machines the sums alone take longer than the library's whole kernel. Each addition has to
# wait for the one before it, about four cycles, while the processor could do 16 additions at once.
# The compiler isn't allowed to change the order.
#
# ## `fastmath`: what a compiler may change
#
# (a + b) + c and a + (b + c) can differ in floating point, so a compiler must add in the order that
# you wrote. `fastmath` lets it treat both as equal. In Numba you choose what to allow: here either
# all of `fastmath`, or only `reassoc`, which allows another order.


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
# Another order is usually much faster *and more exact*: 16 or 32 small partial sums lose fewer
# digits than one large sum. But all of `fastmath` also promises the compiler that there is no NaN
# and no infinity. So it may remove a test for them, and you don't notice that a network has
# diverged. The kernels of this library allow `reassoc` for sums, and nothing else.
#
# ## Your own kernel
#
# ### Exercise: a depthwise convolution in Numba &#9679;&#9679;&#9679;
#
# Now write a forward and a backward that are compiled. `x` has the shape (n, c, h, w), `w` has (c ·
# m, 1, kh, kw), and output channel k reads channel k // m. Take `stride` and `padding`. First write
# correct code with a loop for each index. Then choose the order of the loops: which index should be
# innermost, so that memory is read contiguously and the compiler can compute several outputs at
# once?


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
# Each product of the forward gives two terms in the backward: `dpadded[...] += w[...] * dy[i, k, p,
# q]`, and `dw[...] += padded[...] * dy[i, k, p, q]`, at the same indices.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# For speed, make q the innermost loop, and compute everything that doesn't depend on q before it:
# `weight = w[k, 0, a, b]`, `source = padded[i, k // m, p * stride + a]`. Sum each entry of dw in a
# local variable, which is a register, and write it to the array once at the end.
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
# The next cell checks the library's kernels. To check yours, let `forward` return `my_depthwise(x,
# w, 2, 1)`, and `backward` return `my_depthwise_backward(dy, x, w, 2, 1)`.


# %% tags=["long"]
fast = IMPLEMENTATIONS[list(IMPLEMENTATIONS)[-1]]


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
# A common mistake in loops: somebody wrote `range(g.size - 1)`, so the last column is left out.
# There is no exception and no warning, and the loss hardly shows it. A cross marks each wrong
# entry.


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
# This cell times NumPy and the kernel, and prints the least time that the roofline allows. Add
# yours to the table:
#
# ```python
# "mine": lambda: (my_depthwise(x, w, 1, 1), my_depthwise_backward(dy, x, w, 1, 1)),
# ```
#
# With q innermost, your loop reads contiguous rows of (n, c, h, w). The library's kernel expects
# its own memory layout, so it gets its arrays in that layout.

# %% tags=["timing"]
if HAS_NUMBA:
    shapes = {"x": (8, 58, 28, 28), "w": (58, 1, 3, 3)}
    settings = {"padding": 1}
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in shapes.values())
    major = backend.channel_major(x)
    dy, _ = ops.depthwise_conv2d_forward(x, w, padding=1)
    major_dy = backend.channel_major(dy)

    def forward_backward(functions):
        _, cache = functions.depthwise_conv2d_forward(major, w, padding=1)
        functions.depthwise_conv2d_backward(major_dy, cache)

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
    print(f"{'the roofline':21} {1e3 * least:7.2f} ms")
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
# Fusing. Memory limits the operation to 40 GFLOP/s, a fifth of what the processor can compute.
#
# </details>
#
# <details>
# <summary>2. Why is a point of the roofline sometimes above the slope?</summary>
#
# The slope is the speed of memory. Some of the operation's numbers came from a cache, which is
# faster.
#
# </details>
#
# <details>
# <summary>3. You time A, then B, and B is 8 % faster. What do you do before you believe it?
# </summary>
#
# Run them in turn, many times, and look at the interval of the ratio. The load of the machine may
# have changed between the two measurements.
#
# </details>
