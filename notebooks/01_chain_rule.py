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
# # Lesson 1: the chain rule, as vector-Jacobian products
#
# **Goal**
# - Send a gradient back through any function without ever writing down its Jacobian.
# - Know what happens where ways part and meet: copies, sums, splits, concatenations.
# - Write a network of two layers with its loss and its training, gradients by hand.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# A number x is used twice: `a = 3 x` and `b = x * x`. Both go on to the loss, which we know
# nothing about but this: at the moment `da = 2` and `db = -1`, so the loss rises by 2 for each
# unit of a, and falls by 1 for each unit of b. Now x = 1.
#
# **What is dx?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# dx = 2 · 3 + (-1) · 2x = 6 - 2 = 4. Each way from x to the loss contributes the gradient that
# arrives, times the slope of the way; and the contributions **add up**. That is the chain rule,
# and all of backpropagation.
#
# </details>
#
# ## One product instead of a table
#
# A function from 3 numbers to 2 has 6 slopes: its Jacobian J, a row for each output, a column for
# each input. Given the gradient `dy` of the outputs, the gradient of the inputs is
#
#     dx[i] = sum over k of dy[k] J[k, i]        dx = dy @ J
#
# a **vector-Jacobian product**. It is all that a backward ever computes.


# %%
def f(x):
    return np.array([x[0] * x[1], np.sin(x[2]) + x[0]])


def jacobian(x):
    return np.array([[x[1], x[0], 0], [1, 0, np.cos(x[2])]])


x, dy = np.array([2.0, -1.0, 0.5]), np.array([0.3, 2.0])
print("J =\n", jacobian(x))
print("dx = dy @ J =", dy @ jacobian(x))

# The same, by raising each input a little and watching <dy, y>:
h = 1e-6
unit = np.eye(3)
print("measured:    ", [(dy @ f(x + h * e) - dy @ f(x - h * e)) / (2 * h) for e in unit])

# %% [markdown]
# **Why never the Jacobian itself?** The last layer of ShuffleNet turns 1024 numbers into 1000, and
# for a batch of 32 images its Jacobian by x has 32 000 rows and 32 768 columns: a billion numbers,
# of which all but one in 32 are 0. The product dy @ J is one matrix product of 1000 × 1024.
#
# ## A linear layer, step by step
#
# `y = x @ w.T + b`. **Forward**, hover over an output: a row of x times a row of w. **Backward**,
# hover over an entry of x: it goes into every output of its row, so it gathers from all of them.
# Hover over a weight: it was used once for each row of the batch, so the rows add up.

# %%
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]])  # n in: 2 3
w = np.array([[1.0, 0.5, -0.5], [-1.0, 2.0, 0.5]])  # out in: 2 3
b = np.array([0.1, -0.2])
plots.step_through("linear", x, w, b, dy=np.array([[1.0, -0.5], [0.2, 2.0]]))

# %% [markdown]
# Read the three sums as products of matrices, and you have the library's text:

# %%
print(inspect.getsource(ops.linear_backward))

# %% [markdown]
# And a ReLU: `y = max(x, 0)`. Its slope is 1 or 0, so a gradient passes or doesn't. Every entry
# has a slope of its own, and J is diagonal.

# %%
plots.step_through("relu", np.array([[1.5, -0.5, 0.3], [-2.0, 0.7, -0.1]]))

# %% [markdown]
# ### Exercise: ReLU, backwards &#9679;&#9675;&#9675;
#
# Below stands what many write first. Run it, read what the check says, and mend it.


# %% tags=["exercise", "raises-exception"]
def my_relu_backward(dy, x):
    return np.maximum(dy, 0)


exercises.check("relu_backward", my_relu_backward)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# dy says how much the loss rises with y. Whether y moves at all when x does is for x to say.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `x > 0` is an array of True and False, and in a product they count as 1 and 0.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_relu_backward(dy, x):
    return dy * (x > 0)


exercises.check("relu_backward", solved_relu_backward)

# %% [markdown]
# ### Exercise: a linear layer, backwards &#9679;&#9679;&#9675;
#
# Return `(dx, dw, db)`. `b` may be None: then so is db. The shapes alone nearly tell you the
# answer: dy is (n, out), x is (n, in), w is (out, in), and every gradient has the shape of its
# array.


# %% tags=["exercise", "raises-exception"]
def my_linear_backward(dy, x, w, b):
    raise NotImplementedError  # your code here


exercises.check("linear_backward", my_linear_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Write the forward with indices, y[n, o] = sum_i x[n, i] w[o, i] + b[o], and ask of each letter's
# array: which outputs does this entry reach, and with what slope?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# x[n, i] reaches y[n, o] for all o, with slope w[o, i]: dx[n, i] = sum_o dy[n, o] w[o, i]. As
# matrices: (n, out) @ (out, in).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_linear_backward(dy, x, w, b):
    return dy @ w, dy.T @ x, None if b is None else dy.sum(axis=0)


exercises.check("linear_backward", solved_linear_backward)

# %% [markdown]
# ## Where ways part and meet
#
# | forward | backward |
# |---|---|
# | **used twice**: a = x, b = x | dx = da + db: gradients add |
# | **add**: y = a + b | da = dy, db = dy: both get the same |
# | **split**: a, b = the two parts of x | dx = [da, db], side by side |
# | **concat**: y = [a, b] | da, db = the two parts of dy |
#
# Split and concat are each other's backward, and so are "use twice" and "add". Every unit of
# ShuffleNet has such places. Here is a split of four channels in one and three:

# %%
four = np.arange(1.0, 5.0).reshape(1, 4, 1, 1)  # n c h w
parts = (np.array([0.5]).reshape(1, 1, 1, 1), np.array([-1.0, 2.0, 0.1]).reshape(1, 3, 1, 1))
plots.step_through("channel_split", four, sizes=(1, 3), dy=parts)

# %% [markdown]
# And here are all four rules at work in the unit of ShuffleNet V2 that halves the image. Look at
# its **Backward**: x is used twice, so two gradients arrive at the input and add up.

# %%
from numpy_shufflenet import nn

plots.unit(nn.ShuffleNetV2Unit(24, 48, stride=2), (24, 8, 8))

# %% [markdown]
# ## The loss
#
# The end of every classifier: softmax makes probabilities of the logits, and the cross-entropy is
# minus the logarithm of the probability of the right class, as a mean over the batch.
#
#     p = exp(z) / sum exp(z)        L = -mean of log p[label]
#
# Its gradient is the nicest of all: `dz = dy (p - q) / n`, where q is 1 at the label and 0
# elsewhere. What the network says, minus what it should say.
#
# ### Exercise: the loss, backwards &#9679;&#9679;&#9679;
#
# `dy` is the gradient of the loss itself, a number (usually 1). Logits may be so large that exp
# overflows: subtract each row's largest first, which changes no probability.


# %% tags=["exercise", "raises-exception"]
def my_loss_backward(dy, logits, labels):
    raise NotImplementedError  # your code here


exercises.check("softmax_cross_entropy_backward", my_loss_backward, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First p: `np.exp(logits - logits.max(axis=1, keepdims=True))`, divided by its sum over axis 1.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `q[np.arange(n), labels] = 1` writes a 1 into each row.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# The loss is a *mean* over n rows, and dy need not be 1.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_loss_backward(dy, logits, labels):
    n = len(logits)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    q = np.zeros_like(p)
    q[np.arange(n), labels] = 1
    return dy * (p - q) / n


exercises.check("softmax_cross_entropy_backward", solved_loss_backward)

# %% [markdown]
# ## A network is a chain
#
# Forward from top to bottom; backward **the same lines upwards**, each replaced by its
# vector-Jacobian product. Every unit in the library reads like this.


# %%
def loss_and_gradients(x, labels, w1, b1, w2, b2):
    a, linear1 = ops.linear_forward(x, w1, b1)
    z, relu = ops.relu_forward(a)
    logits, linear2 = ops.linear_forward(z, w2, b2)
    loss, last = ops.softmax_cross_entropy_forward(logits, labels)

    dlogits = ops.softmax_cross_entropy_backward(1.0, last)
    dz, dw2, db2 = ops.linear_backward(dlogits, linear2)
    da = ops.relu_backward(dz, relu)
    dx, dw1, db1 = ops.linear_backward(da, linear1)
    return loss, (dx, dw1, db1, dw2, db2)


# %% [markdown]
# ## The gradient check
#
# The whole chain at once: every weight and every input is moved a little, and the loss watched.

# %%
rng = np.random.default_rng(1)
x, labels = rng.normal(size=(6, 2)), np.arange(6) % 3
weights = [rng.normal(size=s) for s in ((8, 2), (8,), (3, 8), (3,))]

verdict = gradcheck.check(
    lambda *arrays: np.asarray(loss_and_gradients(arrays[0], labels, *arrays[1:])[0]),
    lambda dy, *arrays: tuple(
        dy * g for g in loss_and_gradients(arrays[0], labels, *arrays[1:])[1]
    ),
    x,
    *weights,
    names=["x", "w1", "b1", "w2", "b2"],
    per_entry=True,
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% [markdown]
# ## Training: take a step against the gradient
#
# Stochastic gradient descent is one line: `w -= rate * dw`. The points of three spirals can't be
# told apart by straight lines; two layers with a ReLU between them can.
#
# **Predict: which of the rates 0.01, 1 and 30 ends with the lowest loss?**


# %% tags=["hide-input"]
def spirals(per_class=100, seed=0):
    rng = np.random.default_rng(seed)
    radius = np.linspace(0.1, 1, per_class)
    points, classes = [], []
    for k in range(3):
        angle = 4 * radius + 2 * np.pi * k / 3 + rng.normal(0, 0.12, per_class)
        points.append(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
        classes.append(np.full(per_class, k))
    return np.concatenate(points), np.concatenate(classes)


# %%
points, classes = spirals()


def train(rate, steps=1000, width=64):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(width, 2)), np.zeros(width)]
    weights += [rng.normal(size=(3, width)) / np.sqrt(width), np.zeros(3)]
    losses = []
    for _ in range(steps):
        with np.errstate(all="ignore"):  # the largest rate makes the numbers explode
            loss, (_, *gradients) = loss_and_gradients(points, classes, *weights)
        losses.append(float(loss))
        for array, gradient in zip(weights, gradients, strict=True):
            array -= rate * gradient
    return losses, weights


runs = {rate: train(rate) for rate in (0.01, 1.0, 30.0)}
for rate, (losses, _) in runs.items():
    print(f"rate {rate:5}: loss {losses[0]:.2f} at the start, {losses[-1]:.2f} after 1000 steps")

# %% tags=["hide-input"]
# Picture: two panels. Left, the loss against the step for each learning rate. Right, the points
# of three classes in three colours, over the regions in which the network trained at rate 1 says
# each class.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (rate, (losses, _)), style in zip(runs.items(), ("-", "--", ":"), strict=True):
    left.plot(losses, style, label=f"rate {rate:g}")
left.set(xlabel="step", ylabel="loss in nats", ylim=(0, 4), title="loss")
left.legend()
side = np.linspace(-1.2, 1.2, 120)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
w1, b1, w2, b2 = runs[1.0][1]
said = (np.maximum(grid @ w1.T + b1, 0) @ w2.T + b2).argmax(axis=1).reshape(120, 120)
colours = ("#0072B2", "#E69F00", "#009E73")
right.contourf(side, side, said, levels=(-0.5, 0.5, 1.5, 2.5), colors=colours, alpha=0.25)
for k, (colour, marker) in enumerate(zip(colours, "os^", strict=True)):
    right.scatter(*points[classes == k].T, s=14, color=colour, marker=marker)
right.set(title="what the network says, rate 1", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The smallest rate hardly moves, the largest jumps about (or explodes), the one in between learns.
# Lesson 7 shows how batch normalisation widens the range of rates that work.
#
# ## What it costs
#
# A linear layer multiplies n · in · out times. **Predict: how much more does its backward cost?**
#
# <details>
# <summary>Answer</summary>
#
# Twice as much: dx and dw are one product of the same size each. It holds for convolutions, too,
# so a training step costs about three forwards.
#
# </details>

# %% tags=["timing"]
x = np.random.default_rng(0).normal(size=(64, 1024)).astype(np.float32)
w = np.random.default_rng(1).normal(size=(1000, 1024)).astype(np.float32)


def best_milliseconds(run, repeats=9):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


y, cache = ops.linear_forward(x, w)
print(f"multiply-adds: forward {x.shape[0] * w.size:,}, backward {2 * x.shape[0] * w.size:,}")
print(f"forward  {best_milliseconds(lambda: ops.linear_forward(x, w)):6.2f} ms")
print(f"backward {best_milliseconds(lambda: ops.linear_backward(y, cache)):6.2f} ms")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. A backward needs x. Why, and which backward of this lesson doesn't?</summary>
#
# Because the slope depends on x: in a product it is the other factor, in a ReLU it is whether x >
# 0. Where y is a mere copy or sum (add, split, concat), the slope is 1 and x isn't needed; that is
# memory saved.
#
# </details>
#
# <details>
# <summary>2. y = a + b, and a and b have shapes (4, 3) and (3,). What is db?</summary>
#
# dy summed over the first axis: b was used four times, once for each row, and the gradients of all
# uses add up. That is the db of a linear layer.
#
# </details>
#
# <details>
# <summary>3. Why does nobody compute the other order, J times a vector from the right?</summary>
#
# One does, when there are few inputs and many outputs (forward mode). A loss is a single output of
# millions of weights: one vector-Jacobian product gives all their gradients, while J times vectors
# would need one pass for each weight.
#
# </details>
#
# <details>
# <summary>4. All logits of a row rise by 5. How do the loss and its gradient change?</summary>
#
# Not at all: softmax only sees differences. So each row of dz sums to 0.
#
# </details>
