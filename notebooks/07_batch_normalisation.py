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
# - Normalise a batch, and know what differs between training and inference.
# - Derive its backward three times: along the graph, simplified, and as the library runs it.
# - Measure its effect on training: convergence, accuracy, and the range of rates that work.

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
# Batch normalisation takes all values of one channel, over all pixels and all images, and makes
# their mean 0 and their variance 1. Then it multiplies each channel by a learned scale gamma and
# adds a learned shift beta.
#
# **Two questions.** Every value of a channel is raised by 5: how does y change? And what is the
# sum of dx over a channel?
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# y doesn't change: the mean rises by 5, too. *Therefore* the sum of dx is 0: if all x rise
# together, the loss stays the same. The same holds for scaling: if all x are doubled, y doesn't
# change (apart from eps), so dx is also orthogonal to x minus its mean. The whole backward follows
# from these two facts.
#
# </details>
#
# ## Forward and backward, step by step
#
# Two images of 2 × 3 pixels, one channel. **Hover over an output**: it reads *every* value of the
# channel, because mean and variance depend on all of them. **Backward**: hover over an x. Every
# output of its channel depends on it: its own output directly, and all outputs through the mean and
# the variance.

# %%
rng = np.random.default_rng(7)
x = np.round(rng.normal(1, 1, size=(2, 1, 2, 3)), 1)
plots.step_through("batch_norm", x, np.array([1.5]), np.array([0.2]))

# %% [markdown]
# Look at the factors in the sum for one dx: one factor is large, that of the output at the same
# place, and many are small. The factors add up to 0. In the formulas below, x_hat is the normalised
# x:
#
#     mu    = mean x            var = mean (x - mu)^2          inv_std = 1 / sqrt(var + eps)
#     x_hat = (x - mu) inv_std      y = gamma x_hat + beta
#
# ### Exercise: the forward &#9679;&#9675;&#9675;
#
# Return y. Compute mean and variance **per channel**, over axes 0, 2 and 3. The variance divides by
# m, the number of values, not by m - 1.


# %% tags=["exercise", "raises-exception"]
def my_batch_norm(x, gamma, beta, eps):
    raise NotImplementedError  # your code here


exercises.check("batch_norm_forward", my_batch_norm)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `x.mean(axis=(0, 2, 3), keepdims=True)` has the shape (1, c, 1, 1). NumPy broadcasts it to the
# shape of x.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `gamma[:, None, None]` has the shape (c, 1, 1), and is broadcast, too.
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
# ## Training and inference
#
# In training, mean and variance are those of the batch. In inference there may be a single image,
# and its result must not depend on other images. So training keeps running statistics. After each
# batch it updates them:
#
#     running = (1 - momentum) running + momentum new
#
# The library follows PyTorch's convention: momentum is the weight of the *new* value, by default
# 0.1, and the new variance divides by m - 1. (In Keras momentum is the weight of the old value.)
# Inference uses the running statistics as constants, so each channel goes through an affine map, y
# = scale x + shift. **Training and inference have different backwards**, and using the wrong one is
# a common bug.
#
# ### Exercise: inference, forward and backward &#9679;&#9679;&#9675;
#
# `mean` and `var` are given, shape (c,). The forward returns y, and the backward `(dx, dgamma,
# dbeta)`.


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
# y = scale · x + shift for each channel, so dx = scale · dy.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Every y of a channel depends on gamma with slope x_hat, and on beta with slope 1.
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
# **1. Along the graph.** Write the forward with one operation a line, and go through the lines in
# reverse order (lesson 1). Where a value was used twice, add its gradients:

# %%
print(inspect.getsource(ops.batch_norm_backward_graph))

# %% [markdown]
# **2. Simplified.** Let g = gamma dy, the gradient of x_hat. Three paths lead from y back to x:
#
# | path | contributes |
# |---|---|
# | directly | g inv_std |
# | through the mean | - inv_std · mean(g), the same for all |
# | through the variance | - inv_std · x_hat · mean(g x_hat) |
#
# (The variance depends on the mean, too. That path contributes 0, because the mean of x - mu is 0.)
# Together
#
#     dx = inv_std (g - mean g - x_hat mean(g x_hat))
#
# The two means remove from g the two directions to which y is insensitive: a shift of x, and a
# scaling of x. This formula is the answer to the prediction at the top.
#
# ### Exercise: the backward in training &#9679;&#9679;&#9679;
#
# Return `(dx, dgamma, dbeta)`. The cell below holds a common bug: the formula of inference. Run it,
# read the hint, and correct it.


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
# Which two of the three paths are missing?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Take both means over the whole channel, with keepdims, and use g = gamma dy.
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
# **3. As the library runs it.** Both means follow from gradients that are needed anyway: `mean g =
# gamma dbeta / m` and `mean(g x_hat) = gamma dgamma / m`. So dx is an affine combination of dy and
# x, with three coefficients for each channel. The library needn't keep x_hat, which halves the
# memory.

# %%
print(inspect.getsource(ops.batch_norm_backward))

# %% [markdown]
# The three agree, and dx is orthogonal to both directions:

# %%
x, dy = rng.normal(3, 2, size=(4, 2, 5, 5)), rng.normal(size=(4, 2, 5, 5))
gamma, beta = np.array([2.0, -0.5]), np.array([0.1, 0.2])
_, cache = ops.batch_norm_forward(x, gamma, beta)
results = [
    ops.batch_norm_backward_graph(dy, cache)[0],
    ops.batch_norm_backward_simplified(dy, cache)[0],
    ops.batch_norm_backward(dy, cache)[0],
]
assert all(np.allclose(result, results[0], atol=1e-12) for result in results)
dx = results[0]
print("sum of dx per channel:      ", dx.sum(axis=(0, 2, 3)))
centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
print("sum of dx (x - mean):       ", (dx * centred).sum(axis=(0, 2, 3)))

# %% [markdown]
# (The second sum would be exactly 0 without eps.)
#
# ## The gradient check
#
# First the library's backward, then the formula of inference. With a **plain sum as the loss** the
# upstream gradient is 1 everywhere, and the right dx is 0 (apart from rounding), because the sum of
# y is always m beta. Such a test detects the formula of inference, whose dx isn't 0. But it passes
# for every multiple of the right dx, for example without gamma. So draw dy at random.

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
# ## Its effect on training
#
# The paper (Ioffe, Szegedy, 2015) claims three things: training converges faster, accuracy rises,
# and much larger learning rates work. **Predict: over how many powers of ten of the rate does a
# small network learn, without batch normalisation and with it?**
#
# The next cells train a network of four convolutions for one pass over 3000 real images, at eight
# rates: without batch normalisation, with it before each ReLU (as in ShuffleNet), and with it after
# each ReLU.

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
# Compare in your own results: the range of rates that work, the best accuracy, and how fast the
# loss falls. Having batch normalisation matters more than its position. In a network as small as
# this one, *after* learns faster. The paper proposes *before*, and ShuffleNet uses it. **Before**
# has one advantage: for inference, a convolution and the normalisation that follows it can be
# folded into one convolution. Its kernel is scaled by gamma / std.

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
# The papers count no multiply-adds for batch normalisation. But in training it reads the data
# several times. In inference it costs nothing once it is folded into the convolution.

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
# The normalisation subtracts the mean, and with it the bias. The gradient of the bias would be 0,
# apart from rounding.
#
# </details>
#
# <details>
# <summary>2. A batch of one image of 1 × 1 pixel: what is y?</summary>
#
# y = beta, because the only value equals the mean. Small batches give poor statistics.
#
# </details>
#
# <details>
# <summary>3. You train with training=False by mistake. What do you see?</summary>
#
# The running statistics keep their initial values, mean 0 and variance 1. So you train without any
# normalisation, and gradient checks still pass.
#
# </details>
#
# <details>
# <summary>4. Which backward needs x for dx: that of training, or that of inference?</summary>
#
# That of training, for the path through the variance. In inference the map is affine, and its slope
# is the same everywhere.
#
# </details>
#
# <details>
# <summary>5. Which momentum in Keras equals PyTorch's 0.1?</summary>
#
# 0.9: PyTorch's momentum is the weight of the new value, Keras's that of the old one. (The
# defaults, 0.1 and 0.99, don't correspond.)
#
# </details>
