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
# # Lesson 5: depthwise and pointwise convolution
#
# **Goal**
# - Split a convolution in two cheap ones: one that looks around, and one that mixes channels.
# - Write both, forward and backward, and count what the split saves.
# - Measure what it saves in time, which is something else.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# An ordinary 3 × 3 convolution does two things at once: it looks at the neighbours of a pixel, and
# it mixes all channels. MobileNet (Howard et al., 2017) does one after the other: a **depthwise**
# convolution, one 3 × 3 kernel for each channel by itself; and then a **pointwise** one, 1 × 1,
# which mixes the channels of each pixel.
#
# **For 128 channels in and 128 out, the output is of the same size. What share of the
# multiply-adds is left?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# About 12 %. For each output pixel, ordinary: 128 · 128 · 9 products. Split: 128 · 9 + 128 · 128.
# The ratio is 1/o + 1/9: with many channels it is nearly one ninth, and the depthwise part is next
# to nothing.
#
# </details>
#
# ## Depthwise: channels that never meet
#
# **Hover over an output**: it reads one window of its own channel. **Backward**: a pixel gathers
# from its own channel, a weight is a sum over one channel.

# %%
rng = np.random.default_rng(5)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("depthwise_conv2d", small(1, 3, 4, 4), small(3, 1, 3, 3), padding=1)

# %% [markdown]
# ## Pointwise: pixels that never meet
#
# **Hover over an output**: it reads all channels of its own pixel. It is a matrix product: the
# matrix of weights (o, c) times the pixel's channels (c,), at every pixel the same.

# %%
plots.step_through("pointwise_conv2d", small(1, 3, 2, 3), small(4, 3, 1, 1))

# %% [markdown]
# ### Exercise: pointwise, forward &#9679;&#9675;&#9675;
#
# `x` is (n, c, h, w), `w` is (o, c, 1, 1). One line will do.


# %% tags=["exercise", "raises-exception"]
def my_pointwise(x, w):
    raise NotImplementedError  # your code here


exercises.check("pointwise_conv2d_forward", my_pointwise)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `np.einsum` takes the indices as they stand in the formula: "nchw,oc->nohw".
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Or without einsum: `w[:, :, 0, 0] @ x.reshape(n, c, h * w)`. A product of matrices runs over the
# batch by itself.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_pointwise(x, w):
    n, c, h, width = x.shape
    return (w[:, :, 0, 0] @ x.reshape(n, c, h * width)).reshape(n, len(w), h, width)


exercises.check("pointwise_conv2d_forward", solved_pointwise)

# %% [markdown]
# ### Exercise: pointwise, backward &#9679;&#9679;&#9675;
#
# Return `(dx, dw)`. It is lesson 1's linear layer, at every pixel; the pixels of all images share
# w.


# %% tags=["exercise", "raises-exception"]
def my_pointwise_backward(dy, x, w):
    raise NotImplementedError  # your code here


exercises.check("pointwise_conv2d_backward", my_pointwise_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# y[n, o, p] = sum_c w[o, c] x[n, c, p], where p counts the pixels. So dx sums over o, and dw sums
# over n and p.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# dw must have the shape of w: (o, c, 1, 1).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_pointwise_backward(dy, x, w):
    dx = np.einsum("nohw,oc->nchw", dy, w[:, :, 0, 0])
    dw = np.einsum("nohw,nchw->oc", dy, x)
    return dx, dw[:, :, None, None]


exercises.check("pointwise_conv2d_backward", solved_pointwise_backward)

# %% [markdown]
# ### Exercise: depthwise, forward and backward &#9679;&#9679;&#9679;
#
# `w` is (c · m, 1, kh, kw): channel k of the output uses kernel k and reads channel k // m. In
# ShuffleNet m is 1; the check also tries 2. Take `stride` and `padding`, and for a start m = 1 if
# you like.
#
# There is no sum over channels, so a matrix product has nothing to do. Walk over the taps: each
# adds one shifted image, scaled channel by channel.


# %% tags=["exercise", "raises-exception"]
def my_depthwise(x, w, stride, padding):
    raise NotImplementedError  # your code here


def my_depthwise_backward(dy, x, w, stride, padding):
    raise NotImplementedError  # and here: return (dx, dw)


exercises.check("depthwise_conv2d_forward", my_depthwise, points=1.5)
exercises.check("depthwise_conv2d_backward", my_depthwise_backward, points=1.5)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `x.repeat(m, axis=1)` lines the input channels up with the kernels.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Tap (i, j): `y += w[:, 0, i, j][:, None, None] * pixels`, with the strided slice of lesson 2.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# Backward, tap by tap: `dw[:, 0, i, j] = (dy * pixels).sum(axis=(0, 2, 3))`, and the pixels'
# gradient gets `+= w[:, 0, i, j][:, None, None] * dy`. At the end the m outputs of one channel
# send their gradients to the same place: reshape to (n, c, m, h, w), and sum over m.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def taps(x, w, oh, ow, stride):
    """Each tap with the place of the pixels that all outputs see through it."""
    for i, j in np.ndindex(*w.shape[2:]):
        rows = slice(i, i + (oh - 1) * stride + 1, stride)
        columns = slice(j, j + (ow - 1) * stride + 1, stride)
        yield (i, j), (slice(None), slice(None), rows, columns)


def prepared(x, w, padding):
    x = x.repeat(len(w) // x.shape[1], axis=1)
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def solved_depthwise(x, w, stride=1, padding=0):
    x = prepared(x, w, padding)
    oh, ow = ((size - k) // stride + 1 for size, k in zip(x.shape[2:], w.shape[2:], strict=True))
    y = np.zeros((*x.shape[:2], oh, ow))
    for (i, j), pixels in taps(x, w, oh, ow, stride):
        y += w[:, 0, i, j][:, None, None] * x[pixels]
    return y


def solved_depthwise_backward(dy, x, w, stride=1, padding=0):
    n, c, h, width = x.shape
    padded = prepared(x, w, padding)
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for (i, j), pixels in taps(padded, w, *dy.shape[2:], stride):
        dw[:, 0, i, j] = (dy * padded[pixels]).sum(axis=(0, 2, 3))
        dpadded[pixels] += w[:, 0, i, j][:, None, None] * dy
    dx = dpadded[:, :, padding : padding + h, padding : padding + width]
    return dx.reshape(n, c, len(w) // c, h, width).sum(axis=2), dw


exercises.check("depthwise_conv2d_forward", solved_depthwise)
exercises.check("depthwise_conv2d_backward", solved_depthwise_backward)

# %% [markdown]
# ## The library's own text

# %%
source = inspect.getsource(ops.depthwise_conv2d_forward)
print(source[: source.index('"""')] + "    ..." + source[source.rindex('"""') + 3 :])
print(inspect.getsource(ops.depthwise_conv2d_backward))

# %% [markdown]
# ## The gradient check

# %%
rng = np.random.default_rng(6)
x, w = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(6, 1, 3, 3))
verdict = gradcheck.check_pair(
    ops.depthwise_conv2d_forward,
    ops.depthwise_conv2d_backward,
    x,
    w,
    None,
    stride=2,
    padding=1,
    per_entry=True,
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% [markdown]
# ## A split that loses something
#
# Is a split convolution just an ordinary one, computed in a cheaper way? Multiply out: first
# depthwise with d, then pointwise with p, is an ordinary convolution with the kernels w[o, c, i,
# j] = p[o, c] · d[c, i, j].

# %%
x = rng.normal(size=(1, 3, 6, 6))
d, p = rng.normal(size=(3, 1, 3, 3)), rng.normal(size=(4, 3, 1, 1))
split, _ = ops.pointwise_conv2d_forward(ops.depthwise_conv2d_forward(x, d)[0], p)
joined, _ = ops.conv2d_forward(x, p * d[:, 0])  # o c kh kw
assert np.allclose(split, joined)
print(f"the same result; {d.size + p.size} weights instead of {(p * d[:, 0]).size}")

# %% [markdown]
# So a split is an ordinary convolution whose kernels, for one input channel, are all multiples of
# one: far fewer kernels can be written so. What is lost in a layer is won back by more layers of
# the same price.
#
# ## What it costs
#
# | | multiply-adds for each output pixel | 128 → 128 channels |
# |---|---|---|
# | ordinary 3 × 3 | o c 9 | 147,456 |
# | depthwise 3 × 3 | c 9 | 1,152 |
# | pointwise | o c | 16,384 |
# | both | c (o + 9) | 17,536, or 11.9 % |

# %%
# Picture: share of multiply-adds that is left, against the number of output channels, for kernels
# of 3, 5 and 7: it falls, and levels off at one over the kernel's size squared.
sizes = np.array([8, 16, 32, 64, 128, 256, 512, 1024])
figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for k, style in ((3, "o-"), (5, "s--"), (7, "^:")):
    axes.plot(sizes, 100 * (1 / sizes + 1 / k**2), style, label=f"{k} × {k}")
axes.set(xscale="log", xlabel="output channels", ylabel="% of the multiply-adds left", ylim=(0, 25))
axes.set_xticks(sizes, sizes)
axes.grid(alpha=0.3)
axes.legend(title="kernel")
plt.show()

# %% [markdown]
# **Predict: a depthwise convolution has 1 / 14 of the multiply-adds of the pointwise one above.
# What share of the time does it take?**

# %% tags=["timing"]
x = rng.normal(size=(8, 128, 28, 28)).astype(np.float32)
full = rng.normal(size=(128, 128, 3, 3)).astype(np.float32)
d = rng.normal(size=(128, 1, 3, 3)).astype(np.float32)
p = rng.normal(size=(128, 128, 1, 1)).astype(np.float32)


def best_milliseconds(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


rows = (
    ("ordinary 3 x 3", 9 * 128, lambda: ops.conv2d_forward(x, full, padding=1)),
    ("depthwise 3 x 3", 9, lambda: ops.depthwise_conv2d_forward(x, d, padding=1)),
    ("pointwise", 128, lambda: ops.pointwise_conv2d_forward(x, p)),
)
print(f"{'':16} multiply-adds       ms  billion a second")
for name, products, run in rows:
    ms, count = best_milliseconds(run), x.size * products
    print(f"{name:16} {count:13,} {ms:8.2f} {count / ms / 1e6:8.1f}")

# %% [markdown]
# The depthwise convolution is slow for its few multiply-adds: for each number that it reads it
# does nine of them, and the pointwise one 128. It waits for memory while the arithmetic rests.
# **FLOPs are not time**: that is where ShuffleNet V2 begins (lessons 11 and 12).
#
# ## Recap
#
# <details>
# <summary>1. Which of the two changes the channels, which the size of the image?</summary>
#
# The pointwise one the channels, the depthwise one (with a stride) the size.
#
# </details>
#
# <details>
# <summary>2. Where are most of the multiply-adds and weights of such a network?</summary>
#
# In the pointwise layers: o / 9 times as many as in the depthwise ones. ShuffleNet V1 therefore
# cuts *them* into groups (lesson 4).
#
# </details>
#
# <details>
# <summary>3. Why is depthwise convolution a group convolution?</summary>
#
# It is the one with as many groups as channels.
#
# </details>
#
# <details>
# <summary>4. The gradient of a depthwise weight sums how many products?</summary>
#
# n · oh · ow, over one channel: as many as that of an ordinary convolution's weight.
#
# </details>
