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
# - See what the course holds, and how far you'll get.
# - Use its four tools once: moving pictures, exercises, gradient checks, the library's own text.
# - Write your first three functions, and have them checked.
#
# The course takes ShuffleNet V1 and V2 apart, two image classifiers that are small and fast, until
# nothing is left but sums and products in NumPy. You'll write every operation yourself, forward
# **and backward**, and train what you have written.
#
# | lesson | what you'll be able to do |
# |---|---|
# | 0 start here | use the course |
# | 1 the chain rule | send a gradient back through any function, and add it up where ways meet |
# | 2 convolution | grow a convolution from one sum to one matrix product |
# | 3 convolution, backwards | derive dX, dW and db, and see why the kernel turns round |
# | 4 group convolution | split a layer in halves that never meet, and say what that saves |
# | 5 depthwise and pointwise | replace a convolution by two cheap ones |
# | 6 pooling and interpolation | shrink an image and enlarge it, gradients included |
# | 7 batch normalisation | derive its backward three times |
# | 8 channel shuffle | let groups talk to each other |
# | 9 verifying gradients | tell a right gradient from a wrong one, and hunt bugs |
# | 10 ShuffleNet V1 | assemble the unit and the network, and count its cost as the paper does |
# | 11 FLOPs and memory access | count what a network costs, and say what the count hides |
# | 12 four guidelines | measure on your own machine what makes a network fast |
# | 13 ShuffleNet V2 | assemble the network that follows from them |
# | 14 training | train both on real images, and look at what they learned to see |
# | 15 making it fast | get from loops to NumPy to machine code, and say what your machine allows |
#
# You need Python, and a little of NumPy: arrays, shapes, `sum(axis=...)`. A lesson takes 30 to 60
# minutes. They build on each other; if you know convolutions well, read 1 and go on with 3.

# %%
import inspect
import time

import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# Each lesson asks you for a guess before it shows you anything. Make it: people who have guessed,
# even wrongly, remember the answer far better.
#
# A **global average pool** turns each channel of an image into one number, its mean. The last pool
# of ShuffleNet does that to 1024 channels of 7 × 7 pixels.
#
# **The gradient of one of those means is 1. What is the gradient of each pixel of its channel?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 1/49. Raise one pixel by a little, and the mean rises by a 49th of that. It is the same for all
# pixels of the channel, and 0 for those of all others.
#
# </details>
#
# ## Tool 1: moving pictures
#
# Every operation can be looked at while it works. **Hover** over a number to see where it comes
# from (on a touch screen, tap or slide); **▶ Play** computes one number after the other; the
# slider goes to any step; with the keyboard, Tab goes from part to part and the arrow keys from
# number to number. **Backward** turns the operation round: hover over an input to see every
# gradient that flows back into it.
#
# `x` is what goes in, `y` what comes out. `dx` and `dy` are their *gradients*: how much the loss
# at the end of the network rises when that number rises. Shapes are always (n, c, h, w): images,
# channels, rows, columns.

# %%
x = np.array([[[[4.0, 2.0], [0.0, 6.0]], [[1.0, 1.0], [3.0, -1.0]]]])  # n c h w: 1 2 2 2
plots.step_through("global_avg_pool", x, dy=np.array([[1.0, -2.0]]))

# %% [markdown]
# Hover over the mean of channel 0, then switch to **Backward** and hover over its pixels. Does
# your prediction hold?
#
# A picture is a small program inside of the notebook: it loads nothing, and it also works in an
# exported page. If you see two stills, one below the other, the notebook isn't trusted yet: choose
# *Trust notebook* from JupyterLab's commands.
#
# ## Tool 2: the library's own text
#
# What you look at is what runs. Each operation is a pair of functions in `ops`: the forward
# returns `y` and a cache; the backward takes `dy` and the cache, and returns the gradients. This
# is the backward that has made the picture's numbers:

# %%
print(inspect.getsource(ops.global_avg_pool_backward))

# %% [markdown]
# ## Tool 3: exercises
#
# An exercise is a cell with a function that you fill in, and a check. The check draws random cases
# and compares your function with the library's; if one fails, it looks for the smallest such case,
# draws yours beside the target, and says what the likely cause is. It can't break anything:
# endless loops are stopped, and no answer is too strange.
#
# The dots say how hard it is. First run the cell as it is, and read what the check says about a
# function that isn't there yet. Then write it, and run it again.
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
# Given `dy` of shape (n, c), return `dx` of the shape of `x`. You have predicted its entries
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
# `dy[:, :, None, None]` has the shape (n, c, 1, 1), and stretches over an array of shape (n, c, h,
# w) when both are added or multiplied.
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
# Nearest-neighbour up-sampling turns every pixel into a block of scale × scale equal ones: (n, c,
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
# A pixel was copied scale × scale times, so its gradient is the sum of as many dy. Write dy as (n,
# c, h, scale, w, scale), and sum over two axes.
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
# How does one know that a backward is right, without a solution to compare with? Move an input a
# little, watch the output, and compare with what the backward says. `gradcheck.check` takes any
# function and its backward, needs nothing but NumPy, and works for your own code in other
# projects, too. Lesson 9 takes it apart.

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
# Left the gradient of every entry by the backward, in the middle by differences, and right what is
# between them: nothing but rounding. Now a wrong one, which forgets to divide; a cross marks each
# entry that disagrees.

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
# Lessons end with a price. The papers count *multiply-adds* of convolutions and matrix products; a
# pool has none, by that count. But it reads every number once, and that takes time: about as long
# as a sum over the same array, whatever is computed.

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
# This is where the course leads: ShuffleNet V2, drawn from the model itself. Hover over a row or
# over one of its units, or play it from the image to the 1000 classes.

# %%
from numpy_shufflenet import models

plots.network(models.shufflenet_v2(), (3, 224, 224))

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. What does dx[0, 1, 2, 3] = -0.5 say?</summary>
#
# Raise the pixel in row 2, column 3 of channel 1 of the first image by a small e, and the loss
# falls by e / 2.
#
# </details>
#
# <details>
# <summary>2. Why does a backward get dy and not just compute dy/dx?</summary>
#
# It returns the gradient of the loss at the end, and dy is all it needs to know of what comes
# after it. The full table of slopes of every y by every x would be huge: for the pool above 32768
# × 1.6 million. Lesson 1 is about that.
#
# </details>
#
# <details>
# <summary>3. Your points so far?</summary>
#
# `exercises.earned()` lists them, and `exercises.save_points("points.json")` writes them to a
# file.
#
# </details>

# %%
earned = exercises.earned()
print(f"{earned['points']:g} of {earned['of']:g} points")
