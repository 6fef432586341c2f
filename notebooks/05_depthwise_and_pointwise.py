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
# - Replace a convolution by two cheap ones: one over neighbouring pixels, one over channels.
# - Write both, forward and backward, and count the multiply-adds that they save.
# - Measure the time that they save, which isn't in proportion.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# An ordinary 3 × 3 convolution does two things at once: it combines neighbouring pixels, and it
# mixes all channels. MobileNet (Howard et al., 2017) does one after the other. First a
# **depthwise** convolution applies one 3 × 3 kernel to each channel separately. Then a
# **pointwise** convolution, 1 × 1, mixes the channels of each pixel.
#
# **Both ways turn 128 channels into 128 channels of the same size. What share of the multiply-adds
# is left?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# About 12 %. For each output pixel the ordinary convolution takes 128 · 128 · 9 multiply-adds, the
# other two together 128 · 9 + 128 · 128. The ratio is 1/o + 1/9 for o output channels. With many
# channels it is nearly 1/9, and the share of the depthwise part is very small.
#
# </details>
#
# ## Depthwise: no sum over channels
#
# **Hover over an output**: it reads one window of its own channel. **Backward**: a pixel gathers
# from its own channel only. The gradient of a weight sums over one channel.

# %%
rng = np.random.default_rng(5)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("depthwise_conv2d", small(1, 3, 4, 4), small(3, 1, 3, 3), padding=1)

# %% [markdown]
# ## Pointwise: no sum over pixels
#
# **Hover over an output**: it reads all channels of its own pixel. At every pixel the same matrix
# of weights (o, c) is multiplied by the pixel's channels (c,).

# %%
plots.step_through("pointwise_conv2d", small(1, 3, 2, 3), small(4, 3, 1, 1))

# %% [markdown]
# ### Exercise: pointwise, forward &#9679;&#9675;&#9675;
#
# `x` has the shape (n, c, h, w), and `w` the shape (o, c, 1, 1). One or two lines are enough.


# %% tags=["exercise", "raises-exception"]
def my_pointwise(x, w):
    raise NotImplementedError  # your code here


exercises.check("pointwise_conv2d_forward", my_pointwise)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `np.einsum` takes the indices as the formula has them: "nchw,oc->nohw".
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Or without einsum: `w[:, :, 0, 0] @ x.reshape(n, c, h * w)`. A matrix product broadcasts over the
# batch axis.
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
# Return `(dx, dw)`. The operation is the linear layer of lesson 1, applied at every pixel. All
# pixels of all images share w.


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
# `w` has the shape (c · m, 1, kh, kw): output channel k uses kernel k and reads input channel k //
# m. In ShuffleNet m is 1; the check also tries 2. Take `stride` and `padding`, too. If you like,
# begin with m = 1.
#
# There is no sum over channels, so a matrix product doesn't help. Loop over the taps: each adds one
# shifted image, scaled channel by channel.


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
# `x.repeat(m, axis=1)` gives every kernel its own copy of the input channel that it reads.
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
# Backward, tap by tap: `dw[:, 0, i, j] = (dy * pixels).sum(axis=(0, 2, 3))`, and add `w[:, 0, i,
# j][:, None, None] * dy` to the gradient of the pixels. At the end each input channel receives the
# gradients of its m outputs: reshape to (n, c, m, h, w), and sum over m.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def taps(x, w, oh, ow, stride):
    """Yield each tap, and the index of the pixels that all outputs read through it."""
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
# ## What the two convolutions can't do
#
# Do the two convolutions together compute all that an ordinary one can? Multiply out: a depthwise
# convolution with d, followed by a pointwise one with p, equals an ordinary convolution with the
# kernels w[o, c, i, j] = p[o, c] · d[c, i, j].

# %%
x = rng.normal(size=(1, 3, 6, 6))
d, p = rng.normal(size=(3, 1, 3, 3)), rng.normal(size=(4, 3, 1, 1))
separate, _ = ops.pointwise_conv2d_forward(ops.depthwise_conv2d_forward(x, d)[0], p)
joined, _ = ops.conv2d_forward(x, p * d[:, 0])  # o c kh kw
assert np.allclose(separate, joined)
print(f"the same result; {d.size + p.size} weights instead of {(p * d[:, 0]).size}")

# %% [markdown]
# So the pair equals an ordinary convolution in which all kernels for one input channel are
# multiples of the same 3 × 3 kernel. Most ordinary convolutions don't have this form. Networks make
# up for it with more layers or more channels at the same cost.
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
# **Predict: the depthwise convolution of the table has 1 / 14 of the multiply-adds of the pointwise
# one. What share of its time does it take?**

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
# The depthwise convolution is slow for its few multiply-adds. For each number that it reads it does
# 9 of them; the pointwise convolution does 128. So it waits for memory most of the time. **FLOPs
# are not time**: this observation led to ShuffleNet V2 (lessons 11 and 12; a FLOP there is one
# multiply-add).
#
# ## Recap
#
# <details>
# <summary>1. Which one changes the number of channels, which one the size of the image?</summary>
#
# The pointwise one changes the number of channels. The depthwise one (with a stride) changes the
# size.
#
# </details>
#
# <details>
# <summary>2. Where are most of the multiply-adds and weights of such a network?</summary>
#
# In the pointwise layers: they have o / 9 times as many as the depthwise ones. Therefore ShuffleNet
# V1 cuts the pointwise layers into groups (lesson 4).
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
# <summary>4. How many products does the gradient of one depthwise weight sum?</summary>
#
# n · oh · ow, those of one channel. The gradient of an ordinary convolution's weight sums as many.
#
# </details>
