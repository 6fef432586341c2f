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
# # Lesson 7: batch normalisation
#
# **Goal**
# - Normalise a batch, and know what differs in training and in use.
# - Derive its backward three times: along the graph, simplified, and as the library runs it.
# - Measure what it does for training: convergence, accuracy, and the range of rates that work.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import ProgressBar

from numpy_shufflenet import data, exercises, gradcheck, nn, ops, plots

# %% [markdown]
# ## Predict first
#
# Batch normalisation takes all values of one channel, of all pixels and all images, and makes
# their mean 0 and their variance 1. Then each channel gets a learned scale gamma and shift beta.
#
# **Two questions.** Every value of a channel is raised by 5: how does y change? And what is the
# sum of dx over a channel?
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# y doesn't change: the mean rises by 5, too. *Therefore* the sum of dx is 0: raising all x
# together does nothing to the loss. The same for stretching: x times 2 changes nothing, and so dx
# is also at right angles to x (less its mean). These two facts are all there is to the backward
# pass.
#
# </details>
#
# ## Forward and backward, step by step
#
# Two images of 2 × 3 pixels, one channel. **Hover over an output**: it reads *every* value of the
# channel, since all of them move mean and variance. **Backward**: hover over an x. It reaches
# every output of its channel: directly only its own, and all others through the mean and the
# variance.

# %%
rng = np.random.default_rng(7)
x = np.round(rng.normal(1, 1, size=(2, 1, 2, 3)), 1)
plots.step_through("batch_norm", x, np.array([1.5]), np.array([0.2]))

# %% [markdown]
# Look at the factors in the backward sums: one large one, of the output that belongs to the x, and
# many small ones. They add up to 0.
#
#     mu    = mean x            var = mean (x - mu)^2          inv_std = 1 / sqrt(var + eps)
#     x_hat = (x - mu) inv_std      y = gamma x_hat + beta
#
# ### Exercise: the forward &#9679;&#9675;&#9675;
#
# Return y. All statistics are **per channel**, over axes 0, 2 and 3; the variance divides by m,
# the number of values, not by m - 1.


# %% tags=["exercise", "raises-exception"]
def my_batch_norm(x, gamma, beta, eps):
    raise NotImplementedError  # your code here


exercises.check("batch_norm_forward", my_batch_norm)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `x.mean(axis=(0, 2, 3), keepdims=True)` has the shape (1, c, 1, 1), which stretches over x.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `gamma[:, None, None]` has the shape (c, 1, 1), and does the same.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
AXES = (0, 2, 3)


def solved_batch_norm(x, gamma, beta, eps):
    mean, var = x.mean(axis=AXES, keepdims=True), x.var(axis=AXES, keepdims=True)
    x_hat = (x - mean) / np.sqrt(var + eps)
    return gamma[:, None, None] * x_hat + beta[:, None, None]


exercises.check("batch_norm_forward", solved_batch_norm)

# %% [markdown]
# ## In training and in use
#
# In training the statistics are those of the batch. In use there may be a single image, and its
# answer must not depend on its neighbours. So during training a running mean of the statistics is
# kept, and used then: an affine map of each channel, with constants. **The two have different
# backwards**, and taking the wrong one is a popular bug.
#
# ### Exercise: in use, forward and backward &#9679;&#9679;&#9675;
#
# `mean` and `var` are given, shape (c,). Return y; and backwards `(dx, dgamma, dbeta)`.


# %% tags=["exercise", "raises-exception"]
def my_inference(x, gamma, beta, mean, var, eps):
    raise NotImplementedError  # your code here


def my_inference_backward(dy, x, gamma, mean, var, eps):
    raise NotImplementedError  # and here


exercises.check("batch_norm_inference_forward", my_inference)
exercises.check("batch_norm_inference_backward", my_inference_backward)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# y = scale · x + shift for each channel; so dx = scale · dy.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# gamma reaches every y of its channel with slope x_hat, beta with slope 1.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def per_channel(v):
    return v[:, None, None]  # c 1 1


def solved_inference(x, gamma, beta, mean, var, eps):
    scale = gamma / np.sqrt(var + eps)
    return per_channel(scale) * (x - per_channel(mean)) + per_channel(beta)


def solved_inference_backward(dy, x, gamma, mean, var, eps):
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - per_channel(mean)) * per_channel(inv_std)
    return dy * per_channel(gamma * inv_std), (dy * x_hat).sum(axis=AXES), dy.sum(axis=AXES)


exercises.check("batch_norm_inference_forward", solved_inference)
exercises.check("batch_norm_inference_backward", solved_inference_backward)

# %% [markdown]
# ## The backward in training, three times
#
# **1. Along the graph.** Write the forward one operation a line, and walk upwards (lesson 1).
# Where a value was used twice, add. Nothing to think about:

# %%
print(inspect.getsource(ops.batch_norm_backward_graph))

# %% [markdown]
# **2. Simplified.** Put g = gamma dy, the gradient of x_hat. From y back to x lead three ways:
#
# | way | contributes |
# |---|---|
# | directly | g inv_std |
# | through the mean | - inv_std · mean(g), the same for all |
# | through the variance | - inv_std · x_hat · mean(g x_hat) |
#
# (The way from the variance through the mean adds nothing, because the mean of x - mu is 0.)
# Together
#
#     dx = inv_std (g - mean g - x_hat mean(g x_hat))
#
# The two means take out of g what normalisation makes impossible: shifting x, and stretching x.
# That is the answer to your prediction, as a formula.
#
# ### Exercise: the backward in training &#9679;&#9679;&#9679;
#
# Return `(dx, dgamma, dbeta)`. Below stands a popular bug: the formula of inference. Run it, read
# the hint, mend it.


# %% tags=["exercise", "raises-exception"]
def my_batch_norm_backward(dy, x, gamma, eps):
    mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    dx = dy * gamma[:, None, None] * inv_std
    return dx, (dy * x_hat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))


exercises.check("batch_norm_backward", my_batch_norm_backward, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Which two of the three ways are missing?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Both means are over the whole channel, with keepdims, and of g = gamma dy.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_batch_norm_backward(dy, x, gamma, eps=1e-5):
    mean, var = x.mean(axis=AXES, keepdims=True), x.var(axis=AXES, keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    g = per_channel(gamma) * dy
    mean_g = g.mean(axis=AXES, keepdims=True)
    mean_gx = (g * x_hat).mean(axis=AXES, keepdims=True)
    dx = inv_std * (g - mean_g - x_hat * mean_gx)
    return dx, (dy * x_hat).sum(axis=AXES), dy.sum(axis=AXES)


exercises.check("batch_norm_backward", solved_batch_norm_backward)

# %% [markdown]
# **3. As the library runs it.** Both means are already there: `mean g = gamma dbeta / m` and
# `mean(g x_hat) = gamma dgamma / m`. So dx is one affine combination of dy and x, with a few
# numbers for each channel, and x_hat is never kept: half of the memory.

# %%
print(inspect.getsource(ops.batch_norm_backward))

# %% [markdown]
# The three agree, and dx is at right angles to what can't matter:

# %%
x, dy = rng.normal(3, 2, size=(4, 2, 5, 5)), rng.normal(size=(4, 2, 5, 5))
gamma, beta = np.array([2.0, -0.5]), np.array([0.1, 0.2])
_, cache = ops.batch_norm_forward(x, gamma, beta)
ways = [
    ops.batch_norm_backward_graph(dy, cache)[0],
    ops.batch_norm_backward_simplified(dy, cache)[0],
    ops.batch_norm_backward(dy, cache)[0],
]
assert all(np.allclose(way, ways[0], atol=1e-12) for way in ways)
dx, around = ways[0], (0, 2, 3)
print("sum of dx per channel:      ", dx.sum(axis=around))
centred = x - x.mean(axis=around, keepdims=True)
print("sum of dx (x - mean):       ", (dx * centred).sum(axis=around))

# %% [markdown]
# (The second is 0 but for eps.)
#
# ## The gradient check
#
# First yours, then the inference formula. A **plain sum as the loss would not see the
# difference**: its dy is 1 everywhere, and dx is 0 whatever the scale.

# %%
x = rng.normal(1, 1, size=(2, 2, 3, 3))


def f(x, gamma, beta):
    return ops.batch_norm_forward(x, gamma, beta)[0]


def right(dy, x, gamma, beta):
    return ops.batch_norm_backward(dy, ops.batch_norm_forward(x, gamma, beta)[1])


def of_inference(dy, x, gamma, beta):
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    _, cache = ops.batch_norm_inference_forward(x, gamma, beta, mean, var)
    return ops.batch_norm_inference_backward(dy, cache)


verdict = gradcheck.check(f, right, x, gamma, beta, per_entry=True)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %%
verdict = gradcheck.check(f, of_inference, x, gamma, beta)
print(verdict)
assert verdict.status == "fail"
plots.gradient_map(verdict)

# %% [markdown]
# ## What it does for training
#
# The paper (Ioffe, Szegedy, 2015) promises three things: training converges faster, accuracy
# rises, and much larger learning rates work. **Predict: over how many powers of ten of the rate
# does a small network learn, without batch normalisation and with it?**
#
# A network of four convolutions on 3000 real images, one pass over them, at eight rates: without
# batch normalisation, with it before each ReLU (as in ShuffleNet), and with it after each ReLU.

# %%
train_set, test_set = data.load_embedded()


def prepared(dataset, count):
    images = (dataset.images[:count] / 255.0 - 0.29) / 0.35  # about mean 0, variance 1
    return ops.avg_pool2d_forward(images.astype(np.float32), 2)[0], dataset.labels[:count]


train_x, train_labels = prepared(train_set, 3000)
test_x, test_labels = prepared(test_set, 1000)


def build(norm, seed=0):
    """Four convolutions; norm is "none", "before" or "after" (the ReLU)."""
    rng = np.random.default_rng(seed)
    layers = []
    for c, o, stride in ((1, 16, 1), (16, 16, 2), (16, 32, 1), (32, 32, 2)):
        block = {
            "none": (nn.ReLU(),),
            "before": (nn.BatchNorm2d(o), nn.ReLU()),
            "after": (nn.ReLU(), nn.BatchNorm2d(o)),
        }[norm]
        convolution = nn.Conv2d(c, o, 3, stride=stride, padding=1, bias=norm == "none")
        convolution.weight.value[...] = rng.normal(0, np.sqrt(2 / (9 * c)), (o, c, 3, 3))
        layers += [convolution, *block]
    linear = nn.Linear(32, 10)
    linear.weight.value[...] = rng.normal(0, 0.1, (10, 32))
    return nn.Sequential(*layers, nn.GlobalAvgPool(), linear)


def train(norm, rate, batch=50):
    """Return the loss of each step, and the accuracy on test images."""
    model = build(norm)
    losses = []
    with np.errstate(all="ignore"):  # rates that are too large make numbers explode
        for start in range(0, len(train_x), batch):
            part = slice(start, start + batch)
            logits = model.forward(train_x[part], training=True)
            loss, cache = ops.softmax_cross_entropy_forward(logits, train_labels[part])
            losses.append(float(loss))
            if not np.isfinite(loss):
                return losses, 0.1
            model.zero_gradients()
            model.backward(ops.softmax_cross_entropy_backward(1.0, cache))
            gradients = model.gradients()
            for name, array in model.parameters().items():
                array -= np.float32(rate) * gradients[name]
        accuracy = (model.forward(test_x).argmax(axis=1) == test_labels).mean()
    return losses, float(accuracy)


# %% tags=["long"]
rates = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
norms = ("none", "before", "after")
plan = [(norm, rate) for norm in norms for rate in rates]
runs = {}
for (norm, rate), _ in zip(plan, ProgressBar(len(plan)), strict=True):
    runs[norm, rate] = train(norm, rate)

print(f"accuracy on test images after one pass{'':5}" + "".join(f"{r:>8g}" for r in rates))
for norm in norms:
    print(f"batch normalisation: {norm:22}" + "".join(f"{runs[norm, r][1]:8.0%}" for r in rates))

# %% tags=["hide-input"]
# Picture: left, accuracy against the learning rate, without batch normalisation and with it
# before or after the ReLU; right, the training loss of each at its best rate.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
looks = {"none": ("#0072B2", "s-"), "before": ("#D55E00", "o-"), "after": ("#009E73", "^--")}
for norm, (colour, style) in looks.items():
    accuracies = [100 * runs[norm, rate][1] for rate in rates]
    left.plot(rates, accuracies, style, color=colour, label=norm)
    best = max(rates, key=lambda rate: runs[norm, rate][1])
    losses = np.array(runs[norm, best][0])
    smooth = np.convolve(losses, np.full(5, 0.2), mode="valid")
    right.plot(smooth, style[1:], color=colour, label=f"{norm}, rate {best:g}")
left.set(xscale="log", xlabel="learning rate", ylabel="% of test images right", ylim=(0, 100))
right.set(xlabel="step", ylabel="training loss in nats", title="each at its best rate")
left.set_title("one pass over 3000 images")
for axes in (left, right):
    axes.grid(alpha=0.3)
    axes.legend(title="batch normalisation")
plt.show()

# %% [markdown]
# Read your own figures: the range of rates that work, the best accuracy, and how fast the loss
# falls. Whether before or after the ReLU matters less than whether at all; in a network as small
# as this one, *after* learns faster. **Before** is what the paper proposes and ShuffleNet does,
# and there a convolution and its normalisation can be folded into one in use: scale the kernel by
# gamma / std.

# %%
usable = {
    norm: [rate for rate in rates if runs[norm, rate][1] > 0.5 * max(a for _, a in runs.values())]
    for norm in norms
}
for norm, works in usable.items():
    span = f"{works[0]:g} to {works[-1]:g}" if works else "none"
    best = max(runs[norm, rate][1] for rate in rates)
    print(f"{norm:8} rates that work: {span:14} best accuracy {best:.0%}")

# %% [markdown]
# ## What it costs
#
# No multiply-adds, as the papers count (they leave it out). But in training it passes over the
# data several times. In use it costs nothing, once folded into the convolution.

# %% tags=["timing"]
x = rng.normal(size=(16, 58, 28, 28)).astype(np.float32)  # a branch of V2's stage 2
w = rng.normal(size=(58, 58, 1, 1)).astype(np.float32)
one, zero = np.ones(58, np.float32), np.zeros(58, np.float32)


def best_milliseconds(run, repeats=7):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


y, cache = ops.batch_norm_forward(x, one, zero)
for name, run in (
    ("pointwise convolution", lambda: ops.pointwise_conv2d_forward(x, w)),
    ("batch norm, forward", lambda: ops.batch_norm_forward(x, one, zero)),
    ("batch norm, backward", lambda: ops.batch_norm_backward(y, cache)),
    ("  along the graph", lambda: ops.batch_norm_backward_graph(y, cache)),
):
    print(f"{name:24} {best_milliseconds(run):7.2f} ms")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. A convolution before a batch normalisation has no bias. Why?</summary>
#
# The mean takes it out again. Its gradient would be 0, but for rounding.
#
# </details>
#
# <details>
# <summary>2. A batch of one image of 1 × 1 pixel: what is y?</summary>
#
# beta. The only value is its own mean. Small batches make poor statistics.
#
# </details>
#
# <details>
# <summary>3. You train with training=False by mistake. What do you see?</summary>
#
# The statistics stay at mean 0 and variance 1, as they began: you train without any normalisation,
# and gradient checks pass.
#
# </details>
#
# <details>
# <summary>4. Which backward needs x again for dx: the one of training, or of inference?</summary>
#
# That of training, for the way through the variance. In inference the map is affine, and its slope
# is the same everywhere.
#
# </details>
#
# <details>
# <summary>5. PyTorch's momentum 0.1 is which momentum in Keras?</summary>
#
# 0.9: PyTorch weighs the new value, Keras the old one. (Their defaults are 0.1 and 0.99, which
# differ.)
#
# </details>
