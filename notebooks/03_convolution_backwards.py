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
# - Understand why the backward flips the kernel, and what stride and padding change.

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
# 1, 3 and 9: the number of windows that contain the pixel. The output of each window sends back its
# gradient times the weight by which the pixel was multiplied there.
#
# </details>
#
# ## Gradients flow back
#
# Start in **Backward**. **Hover over a pixel** of x or dx: the frames mark the outputs whose
# windows contain it, each with the weight by which the pixel was multiplied there. **Hover over a
# weight**: it was used at every position of the kernel. Its gradient sums, over all positions, the
# pixel under it times the output gradient. **Hover over the bias**: it was added to every output of
# its channel. **Hover over a dy**: you see where it flows.

# %%
rng = np.random.default_rng(3)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 3, 3), small(1))

# %% [markdown]
# Follow the pixel in the centre. The output **above left** of it multiplied it by the last weight,
# w[2, 2]. The output **below right** multiplied it by the first, w[0, 0]. Seen from the pixel, the
# kernel is flipped along both axes.
#
# ## The derivation
#
# The forward, along one axis and with stride s and padding t (n, o and c left out):
#
#     y[p] = sum over i of w[i] x[p s + i - t]  +  b
#
# For b, w and x: which outputs depend on it, and with what slope?
#
# | | changes | slope | so |
# |---|---|---|---|
# | b | every y[p] | 1 | db = sum over p of dy[p] |
# | w[i] | every y[p] | x[p s + i - t] | dw[i] = sum over p of dy[p] x[p s + i - t] |
# | x[r] | y[p] where p s + i - t = r | w[i] | dx[r] = sum over p of dy[p] w[r + t - p s] |
#
# In dw the gradient slides over the image as the kernel did. In dx the index of w **falls** as p
# rises: that is the flipped kernel.
#
# ### Exercise: the bias &#9679;&#9675;&#9675;
#
# `dy` has the shape (n, o, oh, ow). Return db, shape (o,). All images of the batch and all pixels
# use the same bias.


# %% tags=["exercise", "raises-exception"]
def my_db(dy):
    raise NotImplementedError  # your code here


exercises.check("conv2d_backward", my_db, wrt="b")

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# `sum` takes several axes at once. Which axis must remain?
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_db(dy):
    return dy.sum(axis=(0, 2, 3))


exercises.check("conv2d_backward", solved_db, wrt="b")

# %% [markdown]
# ### Exercise: the weights &#9679;&#9679;&#9675;
#
# Return dw, shape (o, c, kh, kw), for stride 1 and no padding; you need only the shape of `w`. This
# gives all points. If you like, let your function take `stride` and `padding`, too; the check then
# varies them.
#
# A common mistake in published code: dw is right for one image, and wrong for a batch.


# %% tags=["exercise", "raises-exception"]
def my_dw(dy, x, w):
    raise NotImplementedError  # your code here


exercises.check("conv2d_backward", my_dw, wrt="w", points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Through one tap (i, j) all outputs together read `x[:, :, i : i + oh, j : j + ow]`: one pixel for
# each entry of dy.
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
# Return dx, which has the shape of x. There are two ways. **Gather**: for each pixel, sum over the
# outputs that read it. **Scatter**: loop over the taps as the forward does, and *add* dy times the
# weight to the pixels that the forward read. Scattering is easier: it is the forward's code with
# both sides of the assignment swapped. As before, stride and padding are not part of the exercise,
# but your function may take them.


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
# Use `+=`, not `=`: the slices of neighbouring taps overlap, and the gradients that arrive at one
# pixel add up.
#
# </details>
#
# <details>
# <summary>Hint 3, for stride and padding</summary>
#
# Add into an array of the padded size, and cut off the border at the end: it holds the gradients of
# the padding, which nobody needs.
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
# With stride 1, dx is a convolution of dy with the **flipped** kernel. Its input and output
# channels are swapped, and dy is padded with kernel - 1 zeros ("full" padding). This cell checks
# it:

# %%
x, w = small(2, 3, 6, 5), small(4, 3, 3, 2)
y, cache = ops.conv2d_forward(x, w)
dy = small(*y.shape)
dx, dw, _ = ops.conv2d_backward(dy, cache)

flipped = w[:, :, ::-1, ::-1].swapaxes(0, 1).copy()  # c o kh kw
by_convolution, _ = ops.conv2d_forward(dy, flipped, padding=(2, 1))
assert np.allclose(by_convolution, dx)

# dw is a convolution, too: of the image with dy, where batch and channels swap their roles.
swapped, _ = ops.conv2d_forward(x.swapaxes(0, 1), dy.swapaxes(0, 1))
assert np.allclose(swapped.swapaxes(0, 1), dw)
print("dx and dw are convolutions")

# %% [markdown]
# With **stride 2** you must first insert zeros between the entries of dy. In the picture below,
# hover over the pixels in Backward: with kernel 3 and stride 2 each pixel gathers from 1, 2 or 4
# outputs, depending on its position. Therefore such a gradient shows a checkerboard pattern.

# %%
plots.step_through("conv2d", small(1, 1, 5, 5), small(1, 1, 3, 3), stride=2, padding=1)

# %% [markdown]
# ## As matrices
#
# In lesson 2 the convolution was `y = kernels @ columns`. Its backward is that of a matrix product:
# `dkernels = dy @ columns.T` and `dcolumns = kernels.T @ dy`. One step remains, from the columns
# back to the image. `im2col` **copied** each pixel into several columns, so its backward **adds
# up** the gradients of all copies. This backward is called **col2im**. (If you like, it is one more
# exercise: `exercises.check("col2im", f)` with `f(columns, shape, kernel_size)`.)

# %%
print(inspect.getsource(ops.conv2d_backward))
print(inspect.getsource(ops.conv2d.col2im))

# %% [markdown]
# ## Proof without a derivative
#
# For fixed w the convolution is linear in x: y = A x for some huge matrix A. Its backward
# multiplies by the transpose of A. An identity defines the transpose. It is exact, and needs no
# finite step:
#
#     <A x, dy> = <x, A^T dy>        for all x and dy
#
# Here <a, b> is the sum of all products a[i] b[i]. **With random x and dy, your dx must satisfy it
# up to rounding.** A wrong dx practically never does.

# %%
rng = np.random.default_rng(5)
x, w = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 3))
y, cache = ops.conv2d_forward(x, w, stride=2, padding=1)
dy = rng.normal(size=y.shape)
left = (y * dy).sum()
for name, kernel in (("kernel flipped", w), ("kernel not flipped", w[:, :, ::-1, ::-1])):
    dx, _, _ = ops.conv2d_backward(dy, cache._replace(w=kernel))
    print(f"{name:20} <Ax, dy> = {left:.12f}, <x, dx> = {(x * dx).sum():.12f}")

# %% [markdown]
# ## The gradient check

# %%
x, w, b = rng.normal(size=(1, 2, 5, 4)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)


def not_flipped(dy, cache):
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
verdict = gradcheck.check_pair(ops.conv2d_forward, not_flipped, x, w, b, **settings)
print(verdict)
assert verdict.status == "fail"
plots.gradient_map(verdict)

# %% [markdown]
# Some pixels of the wrong dx are right: those that only the centre of the kernel reads. A flip
# leaves the centre where it is.
#
# ## What it costs
#
# dw and dx each do as many multiply-adds as the forward. They need x and w again, so both must stay
# in memory until the backward. That is why training takes so much more memory than inference.

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
# For dy = 1 and w = 1, dx counts the windows that contain each pixel.

# %% tags=["hide-input"]
# Picture: four maps of how many windows contain each of 8 × 8 pixels. Padding evens out the border,
# stride 2 leaves a checkerboard pattern, dilation a wider frame.
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
# dw needs x (and the shape of w), dx needs w (and the shape of x), db needs neither.
#
# </details>
#
# <details>
# <summary>2. Your dw passes with one image and fails with two. What happened?</summary>
#
# The images of a batch share the weights, so their contributions add up. Your dw takes the last
# image only, or the mean.
#
# </details>
#
# <details>
# <summary>3. Which mistake does a symmetric kernel hide?</summary>
#
# A kernel that isn't flipped in dx. Weights that are all 1 hide it, too. Test with random weights.
#
# </details>
#
# <details>
# <summary>4. With stride 2, kernel 1 and no padding: what is dx at odd rows?</summary>
#
# 0: no window reads these rows.
#
# </details>
#
# <details>
# <summary>5. Why is the backward of a convolution called a transposed convolution?</summary>
#
# Because dx = A^T dy. Generators and segmentation networks use this map as a forward operation that
# enlarges images. Their images can show the same checkerboard pattern.
#
# </details>
