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
# - Send a gradient back through any function without ever computing its Jacobian.
# - Know what happens where paths part and meet: copies, sums, splits, concatenations.
# - Write a network of two layers, its loss, its gradients by hand, and its training.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, ops, plots

# %% [markdown]
# ## Predict first
#
# A number x is used twice: `a = 3 x` and `b = x * x`. The loss depends on both. All we know of it
# are its gradients at this point: `da = 2` and `db = -1`. So the loss rises by 2 for each unit of
# a, and falls by 1 for each unit of b. Let x = 1.
#
# **What is dx?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# dx = 2 · 3 + (-1) · 2x = 6 - 2 = 4. Each path from x to the loss contributes the upstream gradient
# times the slope of the path, and the contributions **add up**. That is the chain rule, and all of
# backpropagation.
#
# </details>
#
# ## One product instead of a table
#
# A function from 3 numbers to 2 has 6 slopes. They form its Jacobian J, with a row for each output
# and a column for each input. Given the upstream gradient `dy`, the gradient of the inputs is
#
#     dx[i] = sum over k of dy[k] J[k, i]        dx = dy @ J
#
# This is a **vector-Jacobian product**, and all that a backward ever computes.


# %%
def f(x):
    return np.array([x[0] * x[1], np.sin(x[2]) + x[0]])


def jacobian(x):
    return np.array([[x[1], x[0], 0], [1, 0, np.cos(x[2])]])


x, dy = np.array([2.0, -1.0, 0.5]), np.array([0.3, 2.0])
print("J =\n", jacobian(x))
print("dx = dy @ J =", dy @ jacobian(x))

# The same by measurement: change each input a little, and see how sum(dy * y) changes.
h = 1e-6
unit = np.eye(3)
measured = [(dy @ f(x + h * e) - dy @ f(x - h * e)) / (2 * h) for e in unit]
print("measured:    ", np.array(measured))

# %% [markdown]
# **Why never the Jacobian itself?** The last layer of ShuffleNet turns 1024 numbers into 1000. For
# a batch of 32 images its Jacobian by x has 32 000 rows and 32 768 columns: a billion numbers, of
# which 31 in 32 are 0. The product dy @ J needs only one product of a 32 × 1000 matrix and the 1000
# × 1024 matrix of weights.
#
# ## A linear layer, step by step
#
# `y = x @ w.T + b`. **Forward**, hover over an output: it is a row of x times a row of w, plus b.
# **Backward**, hover over an entry of x: every output of its row read it, so its gradient sums over
# all of them. Hover over a weight: every row of the batch used it once, so its gradient sums over
# the rows.

# %%
x = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]])  # n in: 2 3
w = np.array([[1.0, 0.5, -0.5], [-1.0, 2.0, 0.5]])  # out in: 2 3
b = np.array([0.1, -0.2])
plots.step_through("linear", x, w, b, dy=np.array([[1.0, -0.5], [0.2, 2.0]]))

# %% [markdown]
# Written as matrix products, the three sums are the library's source:

# %%
print(inspect.getsource(ops.linear_backward))

# %% [markdown]
# Next, a ReLU: `y = max(x, 0)`. Its slope is 1 or 0, so a gradient passes or is stopped. Each
# output depends on one input only, so J is diagonal.

# %%
plots.step_through("relu", np.array([[1.5, -0.5, 0.3], [-2.0, 0.7, -0.1]]))

# %% [markdown]
# ### Exercise: ReLU, backwards &#9679;&#9675;&#9675;
#
# The cell below holds a common first attempt. Run it, read what the check says, and correct it.


# %% tags=["exercise", "raises-exception"]
def my_relu_backward(dy, x):
    return np.maximum(dy, 0)


exercises.check("relu_backward", my_relu_backward)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# dy says how much the loss rises with y. Whether y changes with x depends on the sign of x, not on
# dy.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `x > 0` is an array of True and False. In a product they count as 1 and 0.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_relu_backward(dy, x):
    return dy * (x > 0)


exercises.check("relu_backward", solved_relu_backward)

# %% [markdown]
# ### Exercise: a linear layer, backwards &#9679;&#9679;&#9675;
#
# Return `(dx, dw, db)`. If `b` is None, db is None, too. The shapes nearly give the answer: dy is
# (n, out), x is (n, in), w is (out, in), and every gradient has the shape of its array.


# %% tags=["exercise", "raises-exception"]
def my_linear_backward(dy, x, w, b):
    raise NotImplementedError  # your code here


exercises.check("linear_backward", my_linear_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Write the forward with indices: y[n, o] = sum_i x[n, i] w[o, i] + b[o]. Then ask for an entry of
# x, of w and of b: which outputs depend on it, and with what slope?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# y[n, o] depends on x[n, i] for all o, with slope w[o, i]. So dx[n, i] = sum_o dy[n, o] w[o, i]. As
# matrices: (n, out) @ (out, in).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_linear_backward(dy, x, w, b):
    return dy @ w, dy.T @ x, None if b is None else dy.sum(axis=0)


exercises.check("linear_backward", solved_linear_backward)

# %% [markdown]
# ## Where paths part and meet
#
# | forward | backward |
# |---|---|
# | **used twice**: a = x, b = x | dx = da + db: gradients add |
# | **add**: y = a + b | da = dy, db = dy: both get the same |
# | **split**: a, b = the two parts of x | dx = [da, db], side by side |
# | **concat**: y = [a, b] | da, db = the two parts of dy |
#
# Split and concat are each other's backward, and so are "use twice" and "add". Every unit of
# ShuffleNet uses some of them. Here is a split of four channels into one and three:

# %%
four = np.arange(1.0, 5.0).reshape(1, 4, 1, 1)  # n c h w
parts = (np.array([0.5]).reshape(1, 1, 1, 1), np.array([-1.0, 2.0, 0.1]).reshape(1, 3, 1, 1))
plots.step_through("channel_split", four, sizes=(1, 3), dy=parts)

# %% [markdown]
# The unit of ShuffleNet V2 that halves the image uses its input twice, and joins two branches. Look
# at its **Backward**: x was used twice, so two gradients arrive at the input and add up.

# %%
from numpy_shufflenet import nn

plots.unit(nn.ShuffleNetV2Unit(24, 48, stride=2), (24, 8, 8))

# %% [markdown]
# ## The loss
#
# A classifier ends with one number for each class, the **logits** z. Softmax turns them into
# probabilities p. The cross-entropy is minus the logarithm of the probability of the right class,
# as a mean over the batch.
#
#     p = exp(z) / sum exp(z)        L = -mean of log p[label]
#
# Its gradient is simple: `dz = dy (p - q) / n`, where n is the number of rows, and q is 1 at the
# label and 0 elsewhere. It is what the network says, minus what it should say.
#
# ### Exercise: the loss, backwards &#9679;&#9679;&#9679;
#
# `dy` is the upstream gradient of the loss, a single number (usually 1). Logits may be so large
# that exp overflows. So first subtract the largest logit of each row from the row: that changes no
# probability.


# %% tags=["exercise", "raises-exception"]
def my_loss_backward(dy, logits, labels):
    raise NotImplementedError  # your code here


exercises.check("softmax_cross_entropy_backward", my_loss_backward, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First compute p: `np.exp(logits - logits.max(axis=1, keepdims=True))`, divided by its sum over
# axis 1.
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
# The loss is a *mean* over n rows, so divide by n. And dy need not be 1.
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
# The forward runs from top to bottom. The backward has **the same lines in reverse order**, each
# replaced by its vector-Jacobian product. Every unit in the library is written like this.


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
# This checks the whole chain at once: it changes every weight and every input a little, and
# measures the loss.

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
# Stochastic gradient descent is one line: `w -= rate * dw`. Straight lines can't separate the
# points of three spirals. Two layers with a ReLU between them can.
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
# of three classes in three colours, over the regions in which the network trained at rate 1
# predicts each class.
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
right.set(title="predicted class, rate 1", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# With the smallest rate the loss hardly falls. With the largest it jumps up and down, or overflows.
# With the one in between the network learns. Lesson 7 shows how batch normalisation widens the
# range of rates that work.
#
# ## What it costs
#
# The forward of a linear layer takes n · in · out multiply-adds. **Predict: how many times as many
# does its backward take?**
#
# <details>
# <summary>Answer</summary>
#
# Twice as many: dx and dw each are one matrix product of the same size. This holds for
# convolutions, too, so a training step costs about as much as three forwards.
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
# <summary>1. Why do many backwards need x, and which of this lesson don't?</summary>
#
# They need x where the slope depends on it. In a product the slope is the other factor; in a ReLU
# it depends on the sign of x. In add, split and concat each y is a copy or a sum: the slope is 1,
# so x isn't needed and its memory can be freed.
#
# </details>
#
# <details>
# <summary>2. y = a + b, and a and b have shapes (4, 3) and (3,). What is db?</summary>
#
# db is dy summed over the first axis. b was used four times, once for each row, and the gradients
# of all uses add up. The db of a linear layer is the same.
#
# </details>
#
# <details>
# <summary>3. Why do we compute dy @ J, and not J times a vector on its right?</summary>
#
# A loss is one output that depends on millions of weights. One vector-Jacobian product gives the
# gradients of all of them; products of J and a vector would need one pass for each weight. With few
# inputs and many outputs it is the other way round: that is called forward mode.
#
# </details>
#
# <details>
# <summary>4. All logits of a row rise by 5. How do the loss and its gradient change?</summary>
#
# Neither changes: softmax depends on differences between logits only. Therefore each row of dz sums
# to 0.
#
# </details>
