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
# # Lesson 2: convolution, step by step
#
# **Goal**
# - Build a convolution from one sum: one channel, many channels, stride, padding, dilation.
# - Compute the size of the output and the number of multiply-adds without running anything.
# - Turn a convolution into a single matrix product.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import data, exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# A kernel of 3 × 3 numbers (its **weights**) slides over an image of 5 × 5 pixels. At each position
# the nine pixels under it form its **window**. The convolution multiplies each pixel of the window
# by the weight above it, and adds up the nine products.
#
# **How large is the result? And if the kernel moves two pixels at a time (stride 2), with one row
# and one column of zeros all around the image (padding 1)?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 3 × 3 both times. Without padding the kernel has 3 positions along each axis. With padding the
# image is 7 wide, and the kernel starts at 0, 2 and 4. In general, along one axis,
#
#     out = (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1
#
# </details>
#
# ## One channel
#
# **Hover over an output**: you see the window that it reads, and the sum. **Hover over an input**:
# you see which outputs read it. Nine outputs read the centre, and only one reads a corner. In
# **Backward** each pixel receives a gradient from every output that read it; lesson 3 explains
# this.

# %%
rng = np.random.default_rng(2)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 3, 3))

# %% [markdown]
# Deep learning calls this a convolution. In mathematics a convolution flips the kernel first;
# without the flip it is a **cross-correlation**. For learned kernels it makes no difference.
#
# ### Exercise: the sum, in loops &#9679;&#9675;&#9675;
#
# Write the convolution of an image (n, c, h, w) with kernels (o, c, kh, kw): output channel `o`
# sums its kernel times the window over **all** input channels.
#
#     y[n, o, p, q] = sum over c, i, j of w[o, c, i, j] x[n, c, p + i, q + j]
#
# Your function takes `x` and `w` only, so the check uses stride 1 and no padding. Plain loops are
# fine. As in all exercises, arrays are float64, and results must be, too: `np.zeros(shape)` is
# float64.


# %% tags=["exercise", "raises-exception"]
def my_conv(x, w):
    raise NotImplementedError  # your code here


exercises.check("conv2d_forward", my_conv)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# y has the shape (n, o, h - kh + 1, w - kw + 1). `np.ndindex(*y.shape)` runs through all its
# indices.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The window of output (p, q) is `x[n, :, p : p + kh, q : q + kw]`. Its shape (c, kh, kw) is that of
# one kernel.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_conv(x, w):
    n, _, h, width = x.shape
    o, _, kh, kw = w.shape
    y = np.zeros((n, o, h - kh + 1, width - kw + 1))
    for image, k, p, q in np.ndindex(*y.shape):
        y[image, k, p, q] = (x[image, :, p : p + kh, q : q + kw] * w[k]).sum()
    return y


exercises.check("conv2d_forward", solved_conv)

# %% [markdown]
# ## More channels
#
# An image has three channels: red, green and blue. Later layers have hundreds. Every kernel has kh
# × kw weights for each input channel, and every output channel has its own kernel. Hover over an
# output: it reads all input channels.

# %%
plots.step_through("conv2d", small(1, 2, 4, 4), small(3, 2, 2, 2), small(3))

# %% [markdown]
# What does a kernel detect? Here are a real image and three kernels that people designed before
# networks learned them. (The first layer of a trained network looks similar: lesson 14.)

# %%
# Picture: a boot, and three images made of it by kernels: blurred by a mean, its vertical edges,
# and its horizontal edges, red where positive and blue where negative.
train_set, _ = data.load_embedded()
boot = train_set.images[train_set.labels == 9][:1] / 255.0  # n c h w: 1 1 28 28
kernels = {
    "mean of 9 pixels": np.full((3, 3), 1 / 9),
    "vertical edges": np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]),
    "horizontal edges": np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]),
}
seen, _ = ops.conv2d_forward(boot, np.stack(list(kernels.values()))[:, None], padding=1)
figure, row = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
for axes, picture, name in zip(row, [boot[0, 0], *seen[0]], ["image", *kernels], strict=True):
    largest = np.abs(picture).max()
    axes.imshow(picture, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set_title(name)
    axes.axis("off")
plt.show()

# %% [markdown]
# ## Stride, padding, dilation
#
# - **Stride** s: the kernel moves s pixels at a time. The output is s times as small.
# - **Padding**: zeros around the image. With stride 1, an odd kernel, no dilation and padding
#   kernel // 2 the output is as large as the image.
# - **Dilation** d: the **taps** of the kernel (the positions of its weights) lie d pixels apart.
#   The window covers a larger area at the same cost.
#
# One formula holds all three: through tap i, output p reads input **r = p · stride + i · dilation -
# padding**. Dashed cells are the padding; they add nothing to the sum.

# %%
plots.step_through("conv2d", small(1, 1, 5, 6), small(1, 1, 3, 3), stride=2, padding=1)

# %%
plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 2, 2), dilation=3)

# %% [markdown]
# ### Exercise: stride, padding and dilation &#9679;&#9679;&#9675;
#
# Extend your function. It may also take the bias `b`, one number for each output channel (or None).
# You can add one argument after the other: the check uses only the arguments that your function
# takes.


# %% tags=["exercise", "raises-exception"]
def my_full_conv(x, w, b, stride, padding, dilation):
    raise NotImplementedError  # your code here


exercises.check("conv2d_forward", my_full_conv, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Start with `np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))`. The rest of your
# function then needs no padding.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Make the taps the outer loop. The pixels that all outputs read through one tap (i, j) are **one**
# strided slice, `x[:, :, i * dilation :: stride, j * dilation :: stride]`, cut to the size of the
# output.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# For one tap: `np.einsum("nchw,oc->nohw", pixels, w[:, :, i, j])`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_full_conv(x, w, b, stride, padding, dilation):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kh, kw = w.shape[2:]
    oh = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    ow = (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((len(x), len(w), oh, ow))
    for i, j in np.ndindex(kh, kw):
        rows = slice(i * dilation, i * dilation + (oh - 1) * stride + 1, stride)
        columns = slice(j * dilation, j * dilation + (ow - 1) * stride + 1, stride)
        y += np.einsum("nchw,oc->nohw", x[:, :, rows, columns], w[:, :, i, j])
    return y if b is None else y + b[:, None, None]


exercises.check("conv2d_forward", solved_full_conv)

# %% [markdown]
# ## As one matrix product
#
# Write every window as one column of a matrix. The matrix has c kh kw rows, and a column for each
# output pixel. Write every kernel as one row of a second matrix. Then the whole convolution is
#
#     y = kernels @ columns        (o, c kh kw) @ (c kh kw, oh ow)
#
# Matrix products are what processors and libraries do fastest. The step from image to columns is
# called **im2col**. It costs memory: it writes each pixel up to kh · kw times.

# %%
# Picture: left, an image of 4 × 4 numbers with a window of 3 × 2 framed; right, the matrix of
# columns, in which the six numbers of that window are one framed column.
numbers = np.arange(16.0).reshape(1, 1, 4, 4)


def show_columns(x, kernel_size):
    """Draw im2col: the image with one window framed, and the matrix with its column framed."""
    kh, kw = kernel_size
    view = np.lib.stride_tricks.sliding_window_view(x[0, 0], kernel_size)
    oh, ow = view.shape[:2]
    columns = view.reshape(oh * ow, kh * kw).T
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    for axes, table in ((left, x[0, 0]), (right, columns)):
        axes.imshow(table, cmap="Blues", vmax=1.8 * x.max())
        for (r, s), value in np.ndenumerate(table):
            axes.text(s, r, f"{value:g}", ha="center", va="center")
        axes.set(xticks=[], yticks=[])
    frame = {"fill": False, "edgecolor": "#D55E00", "linewidth": 3}
    p, q = 1, 1
    left.add_patch(plt.Rectangle((q - 0.5, p - 0.5), kw, kh, **frame))
    right.add_patch(plt.Rectangle((p * ow + q - 0.5, -0.5), 1, kh * kw, **frame))
    left.set_title("image")
    right.set_title("columns: one for each output")
    plt.show()


show_columns(numbers, (3, 2))

# %% [markdown]
# ### Exercise: im2col &#9679;&#9679;&#9679;
#
# Return the columns of `x`, shape (n, c · kh · kw, oh · ow). The rows have the order of a kernel's
# weights (channel, then row, then column). The columns have the order of the output's pixels.
# `kernel_size` is a pair (kh, kw). Add `padding` and `dilation` if you like.


# %% tags=["exercise", "raises-exception"]
def my_im2col(x, kernel_size, stride):
    raise NotImplementedError  # your code here


exercises.check("im2col", my_im2col, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Allocate an array (n, c, kh, kw, oh, ow) with `np.empty`, and fill it tap by tap: `columns[:, :,
# i, j]` is one strided slice of x, as in the exercise before.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# At the end, `.reshape(n, c * kh * kw, oh * ow)` joins neighbouring axes into one.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    n, c, h, w = x.shape
    kh, kw = kernel_size
    oh = (h - dilation * (kh - 1) - 1) // stride + 1
    ow = (w - dilation * (kw - 1) - 1) // stride + 1
    columns = np.empty((n, c, kh, kw, oh, ow))
    for i, j in np.ndindex(kh, kw):
        rows = slice(i * dilation, i * dilation + (oh - 1) * stride + 1, stride)
        across = slice(j * dilation, j * dilation + (ow - 1) * stride + 1, stride)
        columns[:, :, i, j] = x[:, :, rows, across]
    return columns.reshape(n, c * kh * kw, oh * ow)


exercises.check("im2col", solved_im2col)


def conv_by_product(x, w, stride, padding):
    n, o = len(x), len(w)
    columns = solved_im2col(x, w.shape[2:], stride, padding)  # n, c kh kw, oh ow
    oh = (x.shape[2] + 2 * padding - w.shape[2]) // stride + 1
    return (w.reshape(o, -1) @ columns).reshape(n, o, oh, -1)


exercises.check("conv2d_forward", conv_by_product)

# %% [markdown]
# ## The library's own text
#
# The library does the same, with groups (lesson 4) as the first axis. It lays out the columns so
# that one matrix product covers all images of the batch.

# %%
print(inspect.getsource(ops.conv2d.im2col))
source = inspect.getsource(ops.conv2d_forward)
print(source[: source.index('"""')] + "    ..." + source[source.rindex('"""') + 3 :])

# %% [markdown]
# ## The gradient check
#
# A convolution is **linear** in x. So a finite difference with any step is exact but for rounding,
# and dx doesn't depend on x. Here is the check of the library's backward, which you'll write in the
# next lesson:

# %%
rng = np.random.default_rng(3)
verdict = gradcheck.check_pair(
    ops.conv2d_forward,
    ops.conv2d_backward,
    rng.normal(size=(2, 2, 5, 4)),
    rng.normal(size=(3, 2, 3, 2)),
    rng.normal(size=3),
    stride=2,
    padding=1,
    per_entry=True,
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% [markdown]
# White lines separate the tiles: a row of tiles for each image, a tile for each channel.
#
# ## What it costs
#
# Each of the n · o · oh · ow outputs sums c · kh · kw products:
#
#     multiply-adds = n o oh ow · c kh kw
#
# **Predict: a loop over outputs, a loop over taps and one matrix product do the same multiply-adds.
# By what factors do their times differ?**

# %% tags=["timing"]
rng = np.random.default_rng(4)
x = rng.normal(size=(4, 16, 28, 28))
w = rng.normal(size=(32, 16, 3, 3))


def best_milliseconds(run, repeats):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def loop_over_outputs(x, w):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    windows = windows.transpose(0, 2, 3, 1, 4, 5)  # n oh ow c kh kw
    return [(windows[place] * kernel).sum() for place in np.ndindex(4, 26, 26) for kernel in w]


def loop_over_taps(x, w):
    return sum(
        np.einsum("nchw,oc->nohw", x[:, :, i : i + 26, j : j + 26], w[:, :, i, j])
        for i, j in np.ndindex(3, 3)
    )


count = 4 * 32 * 26 * 26 * 16 * 9
print(f"{count:,} multiply-adds")
for name, run, repeats in (
    ("loop over outputs", lambda: loop_over_outputs(x, w), 1),
    ("loop over taps", lambda: loop_over_taps(x, w), 3),
    ("one product", lambda: ops.conv2d_forward(x, w), 7),
):
    ms = best_milliseconds(run, repeats)
    print(f"{name:18} {ms:9.1f} ms  {count / ms / 1e6:7.2f} billion multiply-adds a second")

# %% [markdown]
# Remember the size of the first convolution of ShuffleNet: 3 → 24 channels, 3 × 3, stride 2, on 224
# × 224 pixels:

# %%
out = (224 + 2 * 1 - 1 * (3 - 1) - 1) // 2 + 1
print(f"{out} x {out} outputs, {24 * out * out * 3 * 9:,} multiply-adds")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. 56 × 56 pixels, 3 × 3 kernel, stride 2, padding 1: how large is the output?</summary>
#
# (56 + 2 - 2 - 1) // 2 + 1 = 28. With padding 1, a 3 × 3 kernel of stride 2 halves even sizes.
#
# </details>
#
# <details>
# <summary>2. Which kernel leaves an image as it is?</summary>
#
# A kernel with 1 in the centre and 0 elsewhere, with padding kernel // 2.
#
# </details>
#
# <details>
# <summary>3. Two 3 × 3 convolutions in a row: how many pixels does one output depend on?</summary>
#
# 5 × 5. Each further 3 × 3 layer adds 2 to the width and the height. With dilation 2 in the second
# layer it is 7 × 7.
#
# </details>
#
# <details>
# <summary>4. What does im2col do for a 1 × 1 convolution?</summary>
#
# It only reshapes, because every window is one pixel. So a 1 × 1 convolution is a plain matrix
# product, and the cheapest way to mix channels. ShuffleNet consists mostly of such convolutions
# (lesson 5).
#
# </details>
#
# <details>
# <summary>5. How many numbers does a convolution learn? Does the image's size matter?</summary>
#
# o · c · kh · kw weights, and o numbers for the bias. The image's size doesn't matter: the same
# kernel is used at every position.
#
# </details>
