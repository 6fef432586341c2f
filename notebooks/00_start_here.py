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
# # Lesson 0: start here
#
# **Goal**
# - See what the course contains, and what you'll be able to do at its end.
# - Use its four tools once: moving pictures, the library's source, exercises, gradient checks.
# - Write your first three functions, and let the course check them.
#
# ShuffleNet V1 and V2 are two image classifiers that are small and fast. The course takes them
# apart, down to sums and products in NumPy. You'll write every operation yourself, forward **and
# backward**, and train the networks.
#
# | lesson | what you'll be able to do |
# |---|---|
# | 0 start here | use the course |
# | 1 the chain rule | send a gradient back through any function, and add those that meet |
# | 2 convolution | write a convolution as a sum in loops, then as one matrix product |
# | 3 convolution, backwards | derive dX, dW and db, and see why the kernel is flipped |
# | 4 group convolution | split a layer into independent groups, and say what that saves |
# | 5 depthwise and pointwise | replace a convolution by two cheap ones |
# | 6 pooling and interpolation | shrink an image and enlarge it, gradients included |
# | 7 batch normalisation | derive its backward three times |
# | 8 channel shuffle | exchange channels between groups |
# | 9 verifying gradients | tell a right gradient from a wrong one, and find bugs |
# | 10 ShuffleNet V1 | assemble the unit and the network, and count its cost as the paper does |
# | 11 FLOPs and memory access | count what a network costs, and say what the count hides |
# | 12 four guidelines | measure on your own machine what makes a network fast |
# | 13 ShuffleNet V2 | assemble the network that follows from them |
# | 14 training | train both on real images, and look at what they learned |
# | 15 a fast operation | go from loops to NumPy to machine code, and say what your machine allows |
# | 16 a fast network | compile a network to a program for inference, and see what each step saves |
#
# You need Python, and a little of NumPy: arrays, shapes, `sum(axis=...)`. Most lessons take
# about an hour. Lessons build on each other. If you know convolutions well, read lesson 1 and go on
# with lesson 3.
#
# ## Five questions
#
# Can you answer these without running code? If not, each answer says what to read first.
#
# <details>
# <summary>1. x has the shape (2, 3, 4). Which shape has x.sum(axis=1)?</summary>
#
# (2, 4); with keepdims=True it is (2, 1, 4). If you missed it, read *NumPy: the absolute basics for
# beginners* in NumPy's documentation.
#
# </details>
#
# <details>
# <summary>2. a has the shape (3, 1), and b the shape (4,). Which shape has a * b?</summary>
#
# (3, 4). If you missed it, read *Broadcasting* in NumPy's documentation.
#
# </details>
#
# <details>
# <summary>3. x is np.arange(6).reshape(2, 3). What is x.T.reshape(2, 3)?</summary>
#
# [[0, 3, 1], [4, 2, 5]]. x.T is [[0, 3], [1, 4], [2, 5]], and reshape takes its entries row by row.
# If you missed it, read what NumPy's documentation says about *reshape*; lesson 8 uses it a lot.
#
# </details>
#
# <details>
# <summary>4. A is a 2 × 3 matrix, B a 3 × 4 matrix. How many products does A B need?</summary>
#
# 24: A B is a 2 × 4 matrix, and each of its 8 entries is a sum of 3 products. If you missed it,
# read about the matrix product in a book on linear algebra.
#
# </details>
#
# <details>
# <summary>5. What is the derivative of (3 x + 1)^2 at x = 1?</summary>
#
# 24: by the chain rule it is 2 (3 x + 1) · 3. If you missed it, read about the chain rule in a book
# on calculus. Lesson 1 begins there.
#
# </details>

# %%
import inspect
import time

import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# Each lesson asks you for a guess before it shows you anything. Do guess: people who have guessed,
# even wrongly, remember the answer far better.
#
# A **global average pool** turns each channel of an image into one number, its mean. The last pool
# of ShuffleNet does that to 1024 channels of 7 × 7 pixels.
#
# **The gradient of the loss by one of those means is 1. What is the gradient by each pixel of its
# channel?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 1/49. If one pixel rises by a small amount, the mean rises by 1/49 of it. This holds for every
# pixel of the channel. The gradient by the pixels of all other channels is 0.
#
# </details>
#
# ## Tool 1: moving pictures
#
# A moving picture shows an operation at work. **Hover** over a number to see where it comes from
# (on a touch screen, tap or slide). **▶ Play** computes one number after the other. The slider goes
# to any step. With the keyboard, Tab goes from part to part and the arrow keys from number to
# number. **Backward** shows the backward pass: hover over an input to see every gradient that flows
# back into it.
#
# `x` is the input and `y` the output. `dx` and `dy` are their *gradients*: by how much the loss at
# the end of the network rises for each unit by which that number rises. An operation receives `dy`
# from the layers after it, so `dy` is called the **upstream gradient**. Shapes are always (n, c, h,
# w): images, channels, rows, columns.

# %%
x = np.array([[[[4.0, 2.0], [0.0, 6.0]], [[1.0, 1.0], [3.0, -1.0]]]])  # n c h w: 1 2 2 2
plots.step_through("global_avg_pool", x, dy=np.array([[1.0, -2.0]]))

# %% [markdown]
# Hover over the mean of channel 0. Then switch to **Backward** and hover over its pixels. Was your
# prediction right?
#
# A moving picture is a small program inside the notebook. It loads nothing, and it also works in an
# exported page. If you see two still pictures, one below the other, Jupyter doesn't trust the
# notebook yet: choose *Trust notebook* from JupyterLab's commands.
#
# ## Tool 2: the library's own text
#
# Lessons show you the source that runs. Each operation is a pair of functions in `ops`. The forward
# returns `y` and a **cache**: what the backward needs to know, such as `x` or its shape. The
# backward takes `dy` and the cache. It returns one gradient for each input; if there are several,
# they are a tuple in the order of the inputs. This is the backward that computed the picture's
# numbers:

# %%
print(inspect.getsource(ops.global_avg_pool_backward))

# %% [markdown]
# ## Tool 3: exercises
#
# An exercise is a cell with a function that you fill in, and a check. The check draws random cases
# and compares your function with the library's. If a case fails, the check searches for the
# smallest case that fails, draws your result beside the right one, and says what the likely cause
# is. You can't break anything: the check stops endless loops, and accepts any answer without
# crashing.
#
# The dots say how hard an exercise is. First run the cell as it is, and read what the check says
# about a function that isn't written yet. Then write the function, and run the cell again.
#
# ### Exercise: the mean of each channel &#9679;&#9675;&#9675;
#
# Return the mean over the pixels of each channel: (n, c, h, w) → (n, c).


# %% tags=["exercise", "raises-exception"]
def my_global_avg_pool(x):
    raise NotImplementedError  # your code here, instead of this line


exercises.check("global_avg_pool_forward", my_global_avg_pool)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `x.sum(axis=2)` adds up the rows of the image, and leaves the shape (n, c, w).
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `axis` may be several axes at once, and arrays have a method `mean`.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_global_avg_pool(x):
    return x.mean(axis=(2, 3))


exercises.check("global_avg_pool_forward", solved_global_avg_pool)

# %% [markdown]
# ### Exercise: and its gradient &#9679;&#9679;&#9675;
#
# Given `dy` of shape (n, c), return `dx`, which has the shape of `x`. You predicted its entries
# above.


# %% tags=["exercise", "raises-exception"]
def my_global_avg_pool_backward(dy, x):
    raise NotImplementedError  # your code here


exercises.check("global_avg_pool_backward", my_global_avg_pool_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Every pixel of channel (n, c) gets dy[n, c] / (h w).
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `dy[:, :, None, None]` has the shape (n, c, 1, 1). NumPy broadcasts it to (n, c, h, w) when you
# add it to an array of that shape, or multiply them.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_global_avg_pool_backward(dy, x):
    h, w = x.shape[2:]
    return np.ones_like(x) * dy[:, :, None, None] / (h * w)


exercises.check("global_avg_pool_backward", solved_global_avg_pool_backward)

# %% [markdown]
# ### Exercise: make an image larger &#9679;&#9679;&#9679;
#
# Nearest-neighbour up-sampling turns every pixel into a block of scale × scale equal pixels: (n, c,
# h, w) → (n, c, h scale, w scale). Write its forward. If you like, write its backward, too:
# `exercises.check("upsample_nearest_backward", f)` with `f(dy, x, scale)`.


# %% tags=["exercise", "raises-exception"]
def my_upsample(x, scale):
    raise NotImplementedError  # your code here


exercises.check("upsample_nearest_forward", my_upsample, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Output row p comes from input row p // scale.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `np.repeat(x, scale, axis=2)` repeats every row.
#
# </details>
#
# <details>
# <summary>Hint 3, for the backward</summary>
#
# A pixel was copied scale × scale times, so its gradient is the sum of the dy of all copies.
# Reshape dy to (n, c, h, scale, w, scale), and sum over two axes.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_upsample(x, scale):
    return x.repeat(scale, axis=2).repeat(scale, axis=3)


def solved_upsample_backward(dy, x, scale):
    n, c, h, w = x.shape
    return dy.reshape(n, c, h, scale, w, scale).sum(axis=(3, 5))


exercises.check("upsample_nearest_forward", solved_upsample)
exercises.check("upsample_nearest_backward", solved_upsample_backward)

# %% [markdown]
# ## Tool 4: the gradient check
#
# How do you know that a backward is right, without a solution to compare with? Change an input a
# little, measure how the output changes, and compare with what the backward says. `gradcheck.check`
# takes any function and its backward. It needs nothing but NumPy, and also works for your own code
# in other projects. Lesson 9 explains how it works.

# %%
image = np.random.default_rng(0).normal(size=(2, 3, 4, 5))


def backward(dy, x):
    _, cache = ops.global_avg_pool_forward(x)
    return ops.global_avg_pool_backward(dy, cache)


verdict = gradcheck.check(
    lambda x: ops.global_avg_pool_forward(x)[0], backward, image, per_entry=True
)
print(verdict)
plots.gradient_map(verdict)

# %% [markdown]
# The left map shows the gradient that the backward computes, the middle one the gradient measured
# by differences, and the right one how they differ: by rounding only. The next backward is wrong:
# it forgets to divide. A cross marks each entry that disagrees.

# %%
wrong = gradcheck.check(
    lambda x: ops.global_avg_pool_forward(x)[0],
    lambda dy, x: np.ones_like(x) * dy[:, :, None, None],
    image,
)
print(wrong)
assert wrong.status == "fail"
plots.gradient_map(wrong)

# %% [markdown]
# ## What it costs
#
# Lessons end with a cost. The papers count **multiply-adds**: a product that is added to a sum is
# one. They count those of convolutions and matrix products only, so a pool has none. But a pool
# reads every number once, and that takes time: about as long as a sum over the same array.

# %% tags=["timing"]
activations = np.random.default_rng(0).normal(size=(32, 1024, 7, 7)).astype(np.float32)


def best_milliseconds(run, repeats=7):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print(f"the pool at the end of ShuffleNet V2, batch 32: {activations.nbytes / 1e6:.1f} MB to read")
print(f"forward   {best_milliseconds(lambda: ops.global_avg_pool_forward(activations)):6.2f} ms")
y, cache = ops.global_avg_pool_forward(activations)
print(f"backward  {best_milliseconds(lambda: ops.global_avg_pool_backward(y, cache)):6.2f} ms")
print(f"plain sum {best_milliseconds(activations.sum):6.2f} ms")

# %% [markdown]
# ## And the whole
#
# This network is the goal of the course: ShuffleNet V2, drawn from the model itself. Hover over a
# row or over one of its units, or play it from the image to the 1000 classes.

# %%
from numpy_shufflenet import models

plots.network(models.shufflenet_v2(), (3, 224, 224))

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. What does dx[0, 1, 2, 3] = -0.5 mean?</summary>
#
# If the pixel in row 2, column 3 of channel 1 of the first image rises by a small e, the loss falls
# by e / 2.
#
# </details>
#
# <details>
# <summary>2. Why does a backward take dy, and not just compute dy/dx?</summary>
#
# A backward returns the gradient of the loss, and dy is all it needs to know about the layers after
# it. The full table of slopes of every y by every x would be huge: 32768 × 1.6 million for the pool
# above. Lesson 1 explains this.
#
# </details>
#
# <details>
# <summary>3. Where do you see your points?</summary>
#
# `exercises.earned()` lists them, and `exercises.save_points("points.json")` writes them to a
# file.
#
# </details>

# %%
earned = exercises.earned()
print(f"{earned['points']:g} of {earned['of']:g} points")
