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
# # Lesson 3: convolution, backwards
#
# **Goal**
# - See which output gradients flow back into a pixel, a weight and a bias.
# - Derive db, dW and dX, and write each of them.
# - Understand why the kernel turns round on the way back, and what stride and padding do to it.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# A 3 × 3 kernel slides over 5 × 5 pixels, with stride 1 and no padding. All nine output gradients
# `dy` are 1, and all weights are 1.
#
# **What is dx at a corner, in the middle of an edge, and in the centre?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 1, 3 and 9: as many as there are windows that hold the pixel. Each sends back its gradient, times
# the weight that the pixel met there.
#
# </details>
#
# ## Gradients flow back
#
# Start in **Backward**. **Hover over a pixel** of x or dx: framed are the outputs whose windows
# hold it, each with the weight that the pixel met there. **Hover over a weight**: it was used at
# every place of the kernel, so at each it multiplies a pixel and a gradient; those pairs are
# summed. **Hover over the bias**: it went into every output of its channel. **Hover over a dy**:
# where it flows.

# %%
rng = np.random.default_rng(3)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 3, 3), small(1))

# %% [markdown]
# Follow the pixel in the centre. The output **above left** of it met it with its last weight, w[2,
# 2]; the output **below right** met it with its first, w[0, 0]. Seen from the pixel, the kernel
# lies the other way round.
#
# ## The derivation
#
# The forward, along one axis and with stride s and padding t (n, o and c left out):
#
#     y[p] = sum over i of w[i] x[p s + i - t]  +  b
#
# Ask of each letter which outputs it reaches, and with what slope:
#
# | | reaches | slope | so |
# |---|---|---|---|
# | b | every y[p] | 1 | db = sum over p of dy[p] |
# | w[i] | every y[p] | x[p s + i - t] | dw[i] = sum over p of dy[p] x[p s + i - t] |
# | x[r] | y[p] where p s + i - t = r | w[i] | dx[r] = sum over p of dy[p] w[r + t - p s] |
#
# In dw the gradient slides over the image as the kernel did. In dx the index of w **falls** as p
# rises: that is the kernel turned round.
#
# ### Exercise: the bias &#9679;&#9675;&#9675;
#
# `dy` has the shape (n, o, oh, ow). Return db, shape (o,). Batch and pixels: all of them use the
# same bias.


# %% tags=["exercise", "raises-exception"]
def my_db(dy):
    raise NotImplementedError  # your code here


exercises.check("conv2d_backward", my_db, wrt="b")

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# `sum` takes several axes at once. Which one is left?
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_db(dy):
    return dy.sum(axis=(0, 2, 3))


exercises.check("conv2d_backward", solved_db, wrt="b")

# %% [markdown]
# ### Exercise: the weights &#9679;&#9679;&#9675;
#
# Return dw, shape (o, c, kh, kw). Begin with a function of `dy`, `x` and `w` (of `w` you need the
# shape alone); then let it take `stride` and `padding`, too.
#
# A mistake that is in much published code: dw that is right for one image, and wrong for a batch.


# %% tags=["exercise", "raises-exception"]
def my_dw(dy, x, w):
    raise NotImplementedError  # your code here


exercises.check("conv2d_backward", my_dw, wrt="w", points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# For one tap (i, j), all outputs together see `x[:, :, i : i + oh, j : j + ow]`: as many pixels as
# there are dy.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# dw[o, c, i, j] sums dy[n, o, p, q] times those pixels [n, c, p, q] over n, p and q:
# `np.einsum("nopq,ncpq->oc", dy, pixels)`.
#
# </details>
#
# <details>
# <summary>Hint 3, for stride and padding</summary>
#
# Pad x first. The pixels of tap (i, j) are `x[:, :, i : i + (oh - 1) * stride + 1 : stride, ...]`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_dw(dy, x, w, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh, ow = dy.shape[2:]
    dw = np.zeros_like(w)
    for i, j in np.ndindex(*w.shape[2:]):
        rows = slice(i, i + (oh - 1) * stride + 1, stride)
        columns = slice(j, j + (ow - 1) * stride + 1, stride)
        dw[:, :, i, j] = np.einsum("nopq,ncpq->oc", dy, x[:, :, rows, columns])
    return dw


exercises.check("conv2d_backward", solved_dw, wrt="w")

# %% [markdown]
# ### Exercise: the image &#9679;&#9679;&#9679;
#
# Return dx, of the shape of x. There are two ways. **Gather**: for each pixel, collect the outputs
# that it reached. **Scatter**: walk over the taps as the forward did, and *add* dy times the
# weight to the pixels that were read. Scattering is easier: it is the forward's code with both
# sides of the assignment swapped.


# %% tags=["exercise", "raises-exception"]
def my_dx(dy, x, w):
    raise NotImplementedError  # your code here


exercises.check("conv2d_backward", my_dx, wrt="x", points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# The forward did `y += einsum("nchw,oc->nohw", x[window of the tap], w[:, :, i, j])`. Backwards,
# `dx[window of the tap] += einsum("nohw,oc->nchw", dy, w[:, :, i, j])`.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `+=`, not `=`: the windows of neighbouring taps overlap, and gradients that meet in a pixel add.
#
# </details>
#
# <details>
# <summary>Hint 3, for stride and padding</summary>
#
# Add into an array of the padded size, and cut the border off at the end: what flowed into it is
# the gradient of zeros that nobody wants to change.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_dx(dy, x, w, stride=1, padding=0):
    n, c, h, width = x.shape
    oh, ow = dy.shape[2:]
    padded = np.zeros((n, c, h + 2 * padding, width + 2 * padding), x.dtype)
    for i, j in np.ndindex(*w.shape[2:]):
        rows = slice(i, i + (oh - 1) * stride + 1, stride)
        columns = slice(j, j + (ow - 1) * stride + 1, stride)
        padded[:, :, rows, columns] += np.einsum("nohw,oc->nchw", dy, w[:, :, i, j])
    return padded[:, :, padding : padding + h, padding : padding + width]


exercises.check("conv2d_backward", solved_dx, wrt="x")

# %% [markdown]
# ## dX is a convolution itself
#
# With stride 1, dx is the convolution of dy with the kernel **turned round**, its channels
# swapped, and a border of kernel - 1 zeros ("full" padding). See for yourself:

# %%
x, w = small(2, 3, 6, 5), small(4, 3, 3, 2)
y, cache = ops.conv2d_forward(x, w)
dy = small(*y.shape)
dx, dw, _ = ops.conv2d_backward(dy, cache)

turned = w[:, :, ::-1, ::-1].swapaxes(0, 1).copy()  # c o kh kw
by_convolution, _ = ops.conv2d_forward(dy, turned, padding=(2, 1))
assert np.allclose(by_convolution, dx)

# dw is one, too: the image convolved with dy, batch and channels in each other's place.
swapped, _ = ops.conv2d_forward(x.swapaxes(0, 1), dy.swapaxes(0, 1))
assert np.allclose(swapped.swapaxes(0, 1), dw)
print("dx and dw are convolutions")

# %% [markdown]
# With **stride 2** there are zeros to put between the dy first. In the picture below, hover over
# the pixels in Backward: with a kernel of 3 and stride 2 they gather from 1, 2 or 4 outputs,
# depending on where they lie. So such a gradient has a chequered look.

# %%
plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 3, 3), stride=2, padding=1)

# %% [markdown]
# ## As matrices
#
# In lesson 2 the convolution was `y = kernels @ columns`, so its backward is that of a matrix
# product: `dkernels = dy @ columns.T` and `dcolumns = kernels.T @ dy`. What is left is the way
# from the columns back to the image: `im2col` **copied** a pixel into several columns, so its
# backward **adds** those columns up. It is called col2im. (`exercises.check("col2im", f)` with
# `f(columns, shape, kernel_size)` is one more exercise, if you like.)

# %%
print(inspect.getsource(ops.conv2d_backward))
print(inspect.getsource(ops.conv2d.col2im))

# %% [markdown]
# ## Proof without a derivative
#
# For fixed w the convolution is linear in x: y = A x for some huge matrix A. The backward is its
# transpose. And a transpose is known by an identity that holds exactly, without any step:
#
#     <A x, dy> = <x, A^T dy>        for all x and dy
#
# **It must hold for your dx with random numbers, to rounding.** A wrong one has no chance.

# %%
rng = np.random.default_rng(5)
x, w = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 3))
y, cache = ops.conv2d_forward(x, w, stride=2, padding=1)
dy = rng.normal(size=y.shape)
left = (y * dy).sum()
for name, kernel in (("kernel turned round", w), ("kernel as it was", w[:, :, ::-1, ::-1])):
    dx, _, _ = ops.conv2d_backward(dy, cache._replace(w=kernel))
    print(f"{name:20} <Ax, dy> = {left:.12f}, <x, dx> = {(x * dx).sum():.12f}")

# %% [markdown]
# ## The gradient check

# %%
x, w, b = rng.normal(size=(1, 2, 5, 4)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)


def not_turned(dy, cache):
    dx, _, _ = ops.conv2d_backward(dy, cache._replace(w=cache.w[:, :, ::-1, ::-1]))
    return dx, *ops.conv2d_backward(dy, cache)[1:]


settings = {"stride": 2, "padding": 1}
verdict = gradcheck.check_pair(
    ops.conv2d_forward, ops.conv2d_backward, x, w, b, per_entry=True, **settings
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %%
verdict = gradcheck.check_pair(ops.conv2d_forward, not_turned, x, w, b, **settings)
print(verdict)
assert verdict.status == "fail"
plots.gradient_map(verdict)

# %% [markdown]
# Some pixels of the wrong dx are right: those that meet only the centre of the kernel, which stays
# where it is when it turns round.
#
# ## What it costs
#
# dw and dx each do as many multiply-adds as the forward. And they need x and w again, so both must
# be kept in memory until then: that is why training takes so much more of it.

# %% tags=["timing"]
x = rng.normal(size=(8, 32, 28, 28)).astype(np.float32)
w = rng.normal(size=(32, 32, 3, 3)).astype(np.float32)


def best_milliseconds(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


y, cache = ops.conv2d_forward(x, w, padding=1)
forward = best_milliseconds(lambda: ops.conv2d_forward(x, w, padding=1))
backward = best_milliseconds(lambda: ops.conv2d_backward(y, cache))
count = y.size * w[0].size
print(f"forward  {count:13,} multiply-adds {forward:7.2f} ms")
print(f"backward {2 * count:13,} multiply-adds {backward:7.2f} ms, {backward / forward:.1f} times")

# %% [markdown]
# ## How often is a pixel read?
#
# A picture to end with: dx for dy = 1 and w = 1 counts the windows that hold each pixel.

# %% tags=["hide-input"]
# Picture: four maps of how many windows hold each of 8 × 8 pixels. Padding evens out the border,
# stride 2 leaves a chequered pattern, dilation a wider frame.
figure, row = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
for axes, (stride, padding, dilation) in zip(
    row, ((1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 0, 2)), strict=True
):
    image, ones = np.zeros((1, 1, 8, 8)), np.ones((1, 1, 3, 3))
    y, cache = ops.conv2d_forward(image, ones, stride=stride, padding=padding, dilation=dilation)
    counts = ops.conv2d_backward(np.ones_like(y), cache)[0][0, 0]
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=14)
    for (r, s), value in np.ndenumerate(counts):
        axes.text(s, r, f"{value:g}", ha="center", va="center", size=8)
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"stride {stride}, padding {padding}, dilation {dilation}", size=9)
plt.show()

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Which of dx, dw and db need x? Which need w?</summary>
#
# dw needs x (and of w the shape), dx needs w (and of x the shape), db neither.
#
# </details>
#
# <details>
# <summary>2. Your dw passes with one image and fails with two. What happened?</summary>
#
# The images of a batch share the weights, so their contributions add up. Yours takes the last
# image only, or the mean.
#
# </details>
#
# <details>
# <summary>3. A symmetric kernel hides which mistake?</summary>
#
# A kernel that isn't turned round in dx. All-ones weights hide it, too. Test with random ones.
#
# </details>
#
# <details>
# <summary>4. With stride 2, kernel 1 and no padding: what is dx at odd rows?</summary>
#
# 0: no window ever reads them.
#
# </details>
#
# <details>
# <summary>5. Why is the backward of a convolution called a transposed convolution?</summary>
#
# dx = A^T dy. As a forward of its own it enlarges images: generators and segmentation networks use
# it, chequered look included.
#
# </details>
