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
# # Lesson 6: pooling down, interpolation up
#
# **Goal**
# - Shrink an image by maxima and means, and enlarge it by copies and by interpolation.
# - See where each gradient goes, and why the backward of a linear operation is its transpose.
# - Know what often goes wrong: borders, ties, overlapping windows, two conventions for corners.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import data, exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# A max pool of 2 × 2 with stride 2 keeps the largest of four pixels. Its upstream gradient is 1
# everywhere.
#
# **What is the sum of all entries of dx? And for an average pool?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# Both sums equal the number of outputs. The max pool sends each dy to one pixel. The average pool
# sends a quarter of it to each of four pixels. Neither changes the total.
#
# </details>
#
# ## The maximum: one pixel gets all of dy
#
# **Forward**: hover over an output. The pixel with the thick frame is the largest of the window: it
# **wins**. **Backward**: hover over a pixel. If it wins in no window, its gradient is 0, even if it
# was only a little smaller than the winner. If it wins in several windows (here they overlap),
# their gradients **add**.

# %%
rng = np.random.default_rng(6)
image = np.round(rng.permutation(25).reshape(1, 1, 5, 5) / 10 - 1.2, 1)
plots.step_through("max_pool2d", image, kernel_size=3, stride=2, padding=1)

# %% [markdown]
# The border is filled with **-∞**, which never wins. If it were filled with zeros, the border would
# win in every window of negative numbers. Much published code has this bug. If forward and backward
# both have it, they agree, and no gradient check can detect it.
#
# ## The mean: equal shares

# %%
plots.step_through("avg_pool2d", image, kernel_size=3, stride=2, padding=1)

# %% [markdown]
# At the corner, the sum of four pixels is divided by nine: here the zeros of the border count as
# pixels, as in the authors' ShuffleNet V1. With `count_include_pad=False` they don't count, and the
# sum is divided by four.
#
# ### Exercise: average pool, forward &#9679;&#9675;&#9675;
#
# Take `x` and `kernel_size` (a whole number). The stride then equals kernel_size. For a harder
# exercise, take `stride`, `padding` and `count_include_pad`, too.


# %% tags=["exercise", "raises-exception"]
def my_avg_pool(x, kernel_size):
    raise NotImplementedError  # your code here


exercises.check("avg_pool2d_forward", my_avg_pool)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# As in lesson 2, take one strided slice for each tap (i, j): `x[:, :, i::k, j::k]`, cut to the size
# of the output, which has h // k rows. Rows that lie in no window are not used.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Or cut x to a multiple of k, reshape it to (n, c, oh, k, ow, k), and take the mean over two axes.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_avg_pool(x, kernel_size):
    n, c, h, w = x.shape
    k, oh, ow = kernel_size, h // kernel_size, w // kernel_size
    return x[:, :, : oh * k, : ow * k].reshape(n, c, oh, k, ow, k).mean(axis=(3, 5))


exercises.check("avg_pool2d_forward", solved_avg_pool)

# %% [markdown]
# ### Exercise: max pool, backward &#9679;&#9679;&#9675;
#
# Take `dy`, `x`, `kernel_size` and `stride`. Windows may overlap. Where several pixels of a window
# are equal and largest (a **tie**), the first of them in row-major order gets all of dy, as in
# PyTorch; `argmax` finds this pixel. The attempt below is almost right. Run it, and read in the
# check's message what is missing.


# %% tags=["exercise", "raises-exception"]
def my_max_pool_backward(dy, x, kernel_size, stride):
    dx = np.zeros_like(x)
    for n, c, p, q in np.ndindex(*dy.shape):
        top, left = p * stride, q * stride
        window = x[n, c, top : top + kernel_size, left : left + kernel_size]
        i, j = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, top + i, left + j] = dy[n, c, p, q]
    return dx


exercises.check("max_pool2d_backward", my_max_pool_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# What should happen to the gradient of a pixel that wins in two windows?
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_max_pool_backward(dy, x, kernel_size, stride):
    dx = np.zeros_like(x)
    for n, c, p, q in np.ndindex(*dy.shape):
        top, left = p * stride, q * stride
        window = x[n, c, top : top + kernel_size, left : left + kernel_size]
        i, j = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, top + i, left + j] += dy[n, c, p, q]
    return dx


exercises.check("max_pool2d_backward", solved_max_pool_backward)

# %% [markdown]
# ## Interpolation: larger images
#
# **Nearest**: every pixel becomes a block of equal pixels. Backward: the gradients of the block add
# up.

# %%
two = np.array([[1.0, -0.5], [0.2, 2.0]]).reshape(1, 1, 2, 2)
plots.step_through("upsample_nearest", two, scale=2)

# %% [markdown]
# **Bilinear**: a new pixel lies between up to four old ones. Its value is their weighted mean: the
# nearer the old pixel, the larger its weight. Hover over an output for its weights; they sum to 1.
# In **Backward** an old pixel gathers from all new pixels that read it, with the same weights.

# %%
plots.step_through("upsample_bilinear", two, scale=2)

# %% [markdown]
# Where exactly does a new pixel lie? Two conventions are in use, and if you confuse them, you shift
# the image by up to half a pixel. With `align_corners=False` pixels are small **squares**, and the
# outer edges of both images coincide. With `align_corners=True` pixels are **points**, and the
# corner points of both images coincide.

# %% tags=["hide-input"]
# Picture: four old pixels above eight new ones, joined by lines as thick as their weight. Left,
# the outer edges of both rows coincide; right, their outer pixels do.
figure, row = plt.subplots(1, 2, figsize=(11, 2.4), layout="constrained")
for axes, align_corners in zip(row, (False, True), strict=True):
    weights = ops.upsample.interpolation_matrix(4, 2, align_corners)  # 8 4
    if align_corners:
        old, new = np.arange(4) / 3, np.arange(8) / 7
    else:
        old, new = (np.arange(4) + 0.5) / 4, (np.arange(8) + 0.5) / 8
    axes.scatter(old, np.ones(4), s=200, marker="s", color="#0072B2", zorder=3)
    axes.scatter(new, np.zeros(8), s=90, color="#E69F00", zorder=3)
    for k, l in np.ndindex(8, 4):
        if weights[k, l] > 0:
            axes.plot([old[l], new[k]], [1, 0], color="0.5", linewidth=3 * weights[k, l])
    axes.set(yticks=[0, 1], xticks=[], xlim=(-0.05, 1.05), ylim=(-0.3, 1.3))
    axes.set_yticklabels(["8 new", "4 old"])
    axes.set_title(f"align_corners={align_corners}")
plt.show()

# %% [markdown]
# ### Exercise: bilinear interpolation &#9679;&#9679;&#9679;
#
# Rows and columns can be interpolated one after the other. Along one axis interpolation is a matrix
# product: `y = R x C^T`, where R has the shape (h scale, h), and each of its rows has at most two
# numbers other than 0. With pixels as squares, new row p lies at
#
#     t = (p + 0.5) / scale - 0.5,        clipped to [0, h - 1]
#
# and old row r has the weight 1 - |t - r| if that is positive, otherwise 0. Return y, shape (n, c,
# h scale, w scale).


# %% tags=["exercise", "raises-exception"]
def my_bilinear(x, scale):
    raise NotImplementedError  # your code here


exercises.check("upsample_bilinear_forward", my_bilinear, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First the matrix of one axis:
# `t = np.clip((np.arange(size * scale) + 0.5) / scale - 0.5, 0, size - 1)`, then
# `np.maximum(0, 1 - np.abs(t[:, None] - np.arange(size)))`.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# A matrix product broadcasts over leading axes: `R @ x @ C.T` works on an array (n, c, h, w).
#
# </details>
#
# <details>
# <summary>Hint 3, for the backward</summary>
#
# The map is linear, so its backward is the transpose: `R.T @ dy @ C`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def matrix(size, scale):
    t = np.clip((np.arange(size * scale) + 0.5) / scale - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(t[:, None] - np.arange(size)))


def solved_bilinear(x, scale):
    return matrix(x.shape[2], scale) @ x @ matrix(x.shape[3], scale).T


def solved_bilinear_backward(dy, x, scale):
    return matrix(x.shape[2], scale).T @ dy @ matrix(x.shape[3], scale)


exercises.check("upsample_bilinear_forward", solved_bilinear)
exercises.check("upsample_bilinear_backward", solved_bilinear_backward)

# %% [markdown]
# ## A real image, reduced and enlarged

# %%
# Picture: a shirt of 28 × 28 pixels, shrunk to 7 × 7 by a max pool, an average pool and by taking
# every fourth pixel, and each enlarged again by copies and by interpolation.
train_set, _ = data.load_embedded()
shirt = train_set.images[train_set.labels == 6][1:2] / 255.0  # n c h w: 1 1 28 28
small = {
    "max pool": ops.max_pool2d_forward(shirt, 4)[0],
    "average pool": ops.avg_pool2d_forward(shirt, 4)[0],
    "every 4th pixel": shirt[:, :, ::4, ::4],
}
figure, grid = plt.subplots(3, 4, figsize=(9, 6.8), layout="constrained")
for row, (name, shrunk) in zip(grid, small.items(), strict=True):
    nearest, _ = ops.upsample_nearest_forward(shrunk, 4)
    bilinear, _ = ops.upsample_bilinear_forward(shrunk, 4)
    for axes, picture, title in (
        (row[0], shirt, "28 × 28"),
        (row[1], shrunk, f"{name}: 7 × 7"),
        (row[2], nearest, "nearest, × 4"),
        (row[3], bilinear, "bilinear, × 4"),
    ):
        axes.imshow(picture[0, 0], cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, size=9)
        axes.axis("off")
plt.show()

# %% [markdown]
# ## The library's own text

# %%
print(inspect.getsource(ops.max_pool2d_backward))
print(inspect.getsource(ops.avg_pool2d_backward))
print(inspect.getsource(ops.upsample_bilinear_backward))

# %% [markdown]
# ## The gradient check, and its kinks
#
# Where the *largest* value of a window occurs twice, the maximum has a **kink**: if one of the two
# pixels rises, y rises with it; if it falls, y stays. So there is no derivative, and nothing to
# compare the backward with. The checker finds such entries, leaves them out, and counts them.

# %%
x = rng.normal(size=(1, 2, 6, 5))


def backward(dy, x):
    _, cache = ops.max_pool2d_forward(x, 3, stride=2)
    return ops.max_pool2d_backward(dy, cache)


verdict = gradcheck.check(
    lambda x: ops.max_pool2d_forward(x, 3, stride=2)[0], backward, x, per_entry=True
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %%
x[0, 0, 2, 2] = x[0, 0, 2, 3] = 5.0  # two winners
tied = gradcheck.check(
    lambda x: ops.max_pool2d_forward(x, 3, stride=2)[0], backward, x, per_entry=True
)
print(f"{tied.status}; on kinks: {', '.join(str(kink) for kink in tied.kinks)}")
assert len(tied.kinks) == 2

# %% [markdown]
# ## What it costs
#
# The papers count no multiply-adds for a pool, because it only compares or adds. But ShuffleNet's
# max pool reads 24 channels of 112 × 112 numbers, and each number lies in up to four windows.
# **Predict: the first convolution has 8.1 million multiply-adds, the max pool after it none. Which
# is slower?**

# %% tags=["timing"]
photo = rng.normal(size=(4, 3, 224, 224)).astype(np.float32)
w = rng.normal(size=(24, 3, 3, 3)).astype(np.float32)


def best_milliseconds(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


y, _ = ops.conv2d_forward(photo, w, stride=2, padding=1)
pooled, cache = ops.max_pool2d_forward(y, 3, stride=2, padding=1)
for name, run in (
    ("convolution", lambda: ops.conv2d_forward(photo, w, stride=2, padding=1)),
    ("max pool", lambda: ops.max_pool2d_forward(y, 3, stride=2, padding=1)),
    ("its backward", lambda: ops.max_pool2d_backward(pooled, cache)),
):
    print(f"{name:14} {best_milliseconds(run):7.2f} ms")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. What must a max pool remember for its backward, and what an average pool?</summary>
#
# A max pool must remember which pixel of each window won: a whole number for each output. An
# average pool needs only shapes, because it is linear.
#
# </details>
#
# <details>
# <summary>2. Average pool, kernel 3, stride 2, dy = 1: why isn't dx the same everywhere?</summary>
#
# Because the windows overlap: a pixel lies in 1, 2 or 4 of them, and gets 1/9 from each.
#
# </details>
#
# <details>
# <summary>3. Which pool is the transpose of nearest up-sampling?</summary>
#
# The sum over each block. Divided by the size of the block, it is the average pool with kernel =
# stride = scale.
#
# </details>
#
# <details>
# <summary>4. Why do networks often use a convolution with stride 2 instead of a pool?</summary>
#
# It shrinks the image, too, and its weights are learned. ShuffleNet's units do it in their
# depthwise convolution.
#
# </details>
#
# <details>
# <summary>5. A max pool and its backward pass the gradient check, and yet are wrong. How?</summary>
#
# Both may fill the border with zeros. Then the backward is right for a forward that is wrong. Only
# a comparison with another implementation detects that.
#
# </details>
