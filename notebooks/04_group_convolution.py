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
# # Lesson 4: group convolution
#
# **Goal**
# - Cut a convolution into groups that never meet, and see that in its gradients.
# - Rebuild AlexNet's trick: two halves on two cards, computed apart and joined.
# - Check on trained networks what is said of groups: fewer parameters, a smaller gap between
#   training and test, and filters that specialise.

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
# In 2012 AlexNet (Krizhevsky, Sutskever, Hinton) was too large for the memory of one GTX 580. So
# it ran on two, and in most layers each card saw only its own half of the channels: a convolution
# with two groups.
#
# **A 3 × 3 convolution, 256 channels in and 256 out, cut into 2 groups: how many parameters and
# multiply-adds are left?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# Half of both. Each of the 256 outputs sums over 128 input channels instead of 256. With g groups
# a g-th is left. The output has the same size.
#
# </details>
#
# ## Halves that never meet
#
# Four channels in two groups. **Hover over an output**: it reads the channels of its own group
# alone. **Backward**: no gradient leaves its group. Note the shape of w: (o, c / groups, kh, kw).

# %%
rng = np.random.default_rng(4)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("group_conv2d", small(1, 4, 3, 3), small(4, 2, 2, 2), groups=2)

# %% [markdown]
# ### Exercise: two cards &#9679;&#9675;&#9675;
#
# Compute a convolution with 2 groups as AlexNet did: cut x and w in halves, let each "card" run an
# **ordinary** convolution, and join the results. Use `ops.conv2d_forward(x, w)`, which returns y
# and a cache. The check draws 1 to 3 groups; make your function work for any number.


# %% tags=["exercise", "raises-exception"]
def my_group_conv(x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("group_conv2d_forward", my_group_conv)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `np.split(x, groups, axis=1)` cuts the input channels, `np.split(w, groups, axis=0)` the kernels.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Join along the axis of the channels: `np.concatenate(parts, axis=1)`. And np.split gives views
# that don't lie in one piece; `ops` takes them as they are.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_group_conv(x, w, groups):
    cards = zip(np.split(x, groups, axis=1), np.split(w, groups, axis=0), strict=True)
    return np.concatenate([ops.conv2d_forward(part, kernels)[0] for part, kernels in cards], axis=1)


exercises.check("group_conv2d_forward", solved_group_conv)

# %% [markdown]
# ### Exercise: and backwards &#9679;&#9679;&#9675;
#
# Return `(dx, dw)`. Each card runs its own backward: `dx, dw, db = ops.conv2d_backward(dy,
# cache)`, with the cache of its forward.


# %% tags=["exercise", "raises-exception"]
def my_group_conv_backward(dy, x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("group_conv2d_backward", my_group_conv_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# The backward of a concatenation is a split, and that of a split a concatenation.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# dx is joined along axis 1, dw along axis 0: as x and w were cut.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_group_conv_backward(dy, x, w, groups):
    dxs, dws = [], []
    parts = (np.split(array, groups, axis=a) for array, a in ((dy, 1), (x, 1), (w, 0)))
    for dy_part, x_part, kernels in zip(*parts, strict=True):
        _, cache = ops.conv2d_forward(x_part, kernels)
        dx, dw, _ = ops.conv2d_backward(dy_part, cache)
        dxs.append(dx)
        dws.append(dw)
    return np.concatenate(dxs, axis=1), np.concatenate(dws, axis=0)


exercises.check("group_conv2d_backward", solved_group_conv_backward)

# %% [markdown]
# ### Exercise: pointwise with groups, without a loop &#9679;&#9679;&#9679;
#
# In ShuffleNet V1 it is the 1 × 1 convolutions that have groups. `w` is (o, c / groups, 1, 1).
# Write the forward without any loop: give the groups an axis of their own.


# %% tags=["exercise", "raises-exception"]
def my_grouped_pointwise(x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("pointwise_conv2d_forward", my_grouped_pointwise, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# x as (n, g, c/g, h w), w as (g, o/g, c/g).
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `w @ x` multiplies the last two axes, and takes leading ones in pairs: (g, o/g, c/g) @ (n, g,
# c/g, h w) is (n, g, o/g, h w).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_grouped_pointwise(x, w, groups):
    n, c, h, width = x.shape
    table = x.reshape(n, groups, c // groups, h * width)
    kernels = w.reshape(groups, len(w) // groups, c // groups)
    return (kernels @ table).reshape(n, len(w), h, width)


exercises.check("pointwise_conv2d_forward", solved_grouped_pointwise)

# %% [markdown]
# ## The library's own text
#
# In the library's convolution the groups are the first axis of one batched product (lesson 2):

# %%
source = inspect.getsource(ops.conv2d_forward)
print(source[source.rindex('"""') + 4 :])

# %% [markdown]
# ## The gradient check
#
# As a matrix from input to output channels, a convolution with groups has blocks along its
# diagonal, and zeros elsewhere. The heat map of the Jacobian, measured through the library's
# backward: row o tells what output o depends on.

# %%
x, w = rng.normal(size=(2, 4, 4, 3)), rng.normal(size=(6, 2, 2, 2))
verdict = gradcheck.check_pair(
    ops.group_conv2d_forward, ops.group_conv2d_backward, x, w, None, groups=2, per_entry=True
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% tags=["hide-input"]
# Picture: which input channel reaches which output channel, for 1, 2, 4 and 12 groups: a full
# square, then blocks along the diagonal, at last the diagonal alone.
figure, row = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for axes, groups in zip(row, (1, 2, 4, 12), strict=True):
    w = rng.normal(size=(12, 12 // groups, 1, 1))
    _, cache = ops.pointwise_conv2d_forward(np.ones((1, 12, 1, 1)), w, groups=groups)
    jacobian = [
        ops.pointwise_conv2d_backward(dy, cache)[0].ravel()
        for dy in np.eye(12).reshape(12, 1, 12, 1, 1)
    ]
    axes.imshow(np.abs(jacobian) > 0, cmap="Blues", vmin=0, vmax=1.4)
    axes.set(xticks=[], yticks=[], xlabel="input channel", ylabel="output channel")
    axes.set_title(f"{groups} group{'s' if groups > 1 else ''}: 1 / {groups}")
plt.show()

# %% [markdown]
# ## What is said of groups, checked
#
# Three claims: groups save parameters; **at equal width** that acts as a regulariser, so the gap
# between training and test shrinks; and filters of neighbouring layers become correlated within
# their groups ("diagonal correlation"). And **at equal cost**, more channels can be afforded.
#
# Four small networks learn 1200 real images for 10 epochs: one group; 4 groups at the same width;
# 4 groups and a wider network at about the same cost; and 4 groups with a shuffle in between.
#
# **Predict: which has the largest gap between training and test accuracy?**

# %%
train_set, test_set = data.load_embedded()


def prepared(dataset, count):
    images = (dataset.images[:count] / 255.0 - 0.29) / 0.35
    return ops.avg_pool2d_forward(images.astype(np.float32), 2)[0], dataset.labels[:count]


train_x, train_labels = prepared(train_set, 1200)
test_x, test_labels = prepared(test_set, 1000)


def build(width, groups, shuffle=False, seed=0):
    """A stem and three convolutions of so many groups, each with BN and ReLU."""
    rng = np.random.default_rng(seed)
    layers = []
    for c, o, stride, g in (
        (1, width, 1, 1),
        (width, width, 2, groups),
        (width, width, 1, groups),
        (width, width, 2, groups),
    ):
        convolution = nn.Conv2d(c, o, 3, stride=stride, padding=1, groups=g)
        shape = convolution.weight.value.shape
        convolution.weight.value[...] = rng.normal(0, np.sqrt(2 / (9 * shape[1])), shape)
        layers += [convolution, nn.BatchNorm2d(o), nn.ReLU()]
        if shuffle and g > 1:
            layers.append(nn.ChannelShuffle(g))
    linear = nn.Linear(width, 10)
    linear.weight.value[...] = rng.normal(0, 0.1, (10, width))
    return nn.Sequential(*layers, nn.GlobalAvgPool(), linear)


def accuracy(model, x, labels):
    return float((model.forward(x).argmax(axis=1) == labels).mean())


def epochs(model, count, rate=0.2, batch=60, seed=0):
    """Train for so many epochs; yield after each."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        for part in np.split(rng.permutation(len(train_x)), len(train_x) // batch):
            logits = model.forward(train_x[part], training=True)
            _, cache = ops.softmax_cross_entropy_forward(logits, train_labels[part])
            model.zero_gradients()
            model.backward(ops.softmax_cross_entropy_backward(1.0, cache))
            gradients = model.gradients()
            for name, array in model.parameters().items():
                array -= np.float32(rate) * gradients[name]
        yield


networks = {
    "1 group": build(24, 1),
    "4 groups, same width": build(24, 4),
    "4 groups, same cost": build(48, 4),
    "4 groups, shuffled": build(48, 4, shuffle=True),
}

# %% tags=["long"]
EPOCHS = 10
history = {name: [] for name in networks}
bar = iter(ProgressBar(EPOCHS * len(networks)))
for name, model in networks.items():
    for _ in epochs(model, EPOCHS):
        history[name].append(
            (accuracy(model, train_x, train_labels), accuracy(model, test_x, test_labels))
        )
        next(bar)

print(f"{'network':24} parameters  training    test     gap")
for name, model in networks.items():
    learned = sum(array.size for array in model.parameters().values())
    train, test = history[name][-1]
    print(f"{name:24} {learned:10,} {train:9.1%} {test:7.1%} {train - test:7.1%}")

# %% tags=["hide-input"]
# Picture: share of right answers against the epoch for four networks, dashed on training images
# and solid on test images.
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, record), colour in zip(
    history.items(), ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True
):
    train, test = 100 * np.array(record).T
    axes.plot(range(1, EPOCHS + 1), train, "--", color=colour)
    axes.plot(range(1, EPOCHS + 1), test, "o-", color=colour, label=name)
axes.set(xlabel="epoch", ylabel="% right", title="dashed: training, solid: test")
axes.grid(alpha=0.3)
axes.legend()
plt.show()

# %% [markdown]
# With 1200 images a single run decides little; the gap between the same network with two seeds may
# be as large. Run the cell with other seeds before you believe it. What must hold in every run is
# the number of parameters.
#
# ### Correlation of filters
#
# Does a trained network with groups know of its groups? Take the activations of two neighbouring
# layers on test images, and correlate every channel of the one with every channel of the other.
# With groups, the strong correlations sit in the blocks along the diagonal: a channel can only
# depend on channels of its own group.

# %%
# Picture: correlation of the channels of layer 3 with those of layer 2, without groups and with
# four: with groups it is strongest in four blocks along the diagonal.
names = ("5", "8")  # the ReLUs of the second and third convolution


def correlation(model):
    """Absolute correlation of the channels of two layers, over images; the later one by rows."""
    first, second = (
        model.trace(test_x[:500]).activations[name].mean(axis=(2, 3)) for name in names
    )
    model.release()
    both = np.concatenate([first, second], axis=1).T
    with np.errstate(invalid="ignore", divide="ignore"):  # a channel may be 0 everywhere
        return np.nan_to_num(np.abs(np.corrcoef(both)))[len(both) // 2 :, : len(both) // 2]


figure, row = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axes, name in zip(row, ("1 group", "4 groups, same width"), strict=True):
    table = correlation(networks[name])
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="channel of layer 2", ylabel="channel of layer 3", title=name)
    inside = np.kron(np.eye(4), np.ones((6, 6))).astype(bool)
    print(
        f"{name:22} mean |correlation| in the blocks {table[inside].mean():.2f}, "
        f"outside {table[~inside].mean():.2f}"
    )
figure.colorbar(image, ax=list(row), fraction=0.03)
plt.show()

# %% [markdown]
# Compare the two lines: for one group there is no reason why blocks should differ from the rest,
# and with groups there is. (All channels see the same images, so none is wholly uncorrelated.)
#
# ## What it costs
#
# Multiply-adds fall as 1 / g. **Predict: does the time?**

# %% tags=["timing"]
x = rng.normal(size=(8, 240, 28, 28)).astype(np.float32)


def best_milliseconds(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print("groups  multiply-adds     ms   billion a second")
for groups in (1, 2, 3, 4, 8, 240):
    w = rng.normal(size=(240, 240 // groups, 1, 1)).astype(np.float32)
    count = x.size * 240 // groups
    ms = best_milliseconds(lambda w=w, g=groups: ops.pointwise_conv2d_forward(x, w, groups=g))
    print(f"{groups:6} {count:14,} {ms:6.2f} {count / ms / 1e6:18.1f}")

# %% [markdown]
# x and y are as large as ever, and must be read and written: that doesn't get less. It is
# guideline 2 of ShuffleNet V2: "excessive group convolution increases memory access".
#
# ## Recap
#
# <details>
# <summary>1. Which groups give a depthwise convolution?</summary>
#
# As many as there are channels (lesson 5).
#
# </details>
#
# <details>
# <summary>2. Why does the last layer of AlexNet's first part see both cards?</summary>
#
# In the third convolution each card reads the other's channels, too, or there would be two
# networks that only meet in the classifier. ShuffleNet has the shuffle for that (lesson 8).
#
# </details>
#
# <details>
# <summary>3. At equal cost, by what factor does the width grow with 4 groups?</summary>
#
# By 2: the cost goes with width² / g.
#
# </details>
#
# <details>
# <summary>4. Your gradient check passes at groups = 1. What does it show?</summary>
#
# Nothing about groups. Take groups of several channels each, 1 < g < c, and different numbers of
# input and output channels.
#
# </details>
