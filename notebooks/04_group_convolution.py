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
# - Cut a convolution into independent groups, and see that in its gradients.
# - Rebuild what AlexNet did: compute two halves on two graphics cards, and join the results.
# - Test three claims about groups on trained networks: fewer parameters, a smaller gap between
#   training and test, and correlated filters within groups.

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
# In 2012 AlexNet (Krizhevsky, Sutskever, Hinton) was too large for the memory of one GTX 580. So it
# ran on two of these graphics cards. In most layers each card read only its own half of the
# channels: that is a convolution with two groups.
#
# **A 3 × 3 convolution, 256 channels in and 256 out, cut into 2 groups: how many parameters and
# multiply-adds are left?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# Half of both. Each of the 256 output channels sums over 128 input channels instead of 256. With g
# groups, 1/g is left. The output has the same size.
#
# </details>
#
# ## Groups are independent
#
# Four channels in two groups. **Hover over an output**: it reads only the channels of its own
# group. **Backward**: gradients stay in their group. Note the shape of w: (o, c / groups, kh, kw).

# %%
rng = np.random.default_rng(4)


def small(*shape):
    """Random tenths, which a picture shows without rounding."""
    return np.round(rng.uniform(-1, 1, shape), 1)


plots.step_through("group_conv2d", small(1, 4, 3, 3), small(4, 2, 2, 2), groups=2)

# %% [markdown]
# ### Exercise: two cards &#9679;&#9675;&#9675;
#
# Compute a convolution with 2 groups as AlexNet did: cut x and w into halves, run an **ordinary**
# convolution on each half, and join the results. Use `ops.conv2d_forward(x, w)`, which returns y
# and a cache. The check draws 1 to 3 groups, so write your function for any number.


# %% tags=["exercise", "raises-exception"]
def my_group_conv(x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("group_conv2d_forward", my_group_conv)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `np.split(x, groups, axis=1)` cuts the input channels. `np.split(w, groups, axis=0)` cuts the
# kernels.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Join along the channel axis: `np.concatenate(parts, axis=1)`. `np.split` returns views that aren't
# contiguous; `ops` accepts them.
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
# Return `(dx, dw)`. Each group runs its own backward with the cache of its own forward: `dx, dw, db
# = ops.conv2d_backward(dy, cache)`.


# %% tags=["exercise", "raises-exception"]
def my_group_conv_backward(dy, x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("group_conv2d_backward", my_group_conv_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# The backward of a concatenation is a split. The backward of a split is a concatenation.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Join dx along axis 1 and dw along axis 0: the axes along which x and w were cut.
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
# In ShuffleNet V1 the 1 × 1 convolutions have groups. `w` has the shape (o, c / groups, 1, 1).
# Write the forward without any loop: give the groups their own axis.


# %% tags=["exercise", "raises-exception"]
def my_grouped_pointwise(x, w, groups):
    raise NotImplementedError  # your code here


exercises.check("pointwise_conv2d_forward", my_grouped_pointwise, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Reshape x to (n, g, c/g, h w), and w to (g, o/g, c/g).
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `w @ x` multiplies matrices in the last two axes, and broadcasts the leading axes: (g, o/g, c/g) @
# (n, g, c/g, h w) is (n, g, o/g, h w).
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
# In the library's convolution the groups are the first axis of one batched matrix product (lesson
# 2):

# %%
source = inspect.getsource(ops.conv2d_forward)
print(source[source.rindex('"""') + 4 :])

# %% [markdown]
# ## The gradient check
#
# First the library's gradients are checked. The picture after the check shows the Jacobians of four
# 1 × 1 convolutions, computed by the backward: row o marks the input channels on which output
# channel o depends. With groups there are blocks along the diagonal, and zeros elsewhere.

# %%
x, w = rng.normal(size=(2, 4, 4, 3)), rng.normal(size=(6, 2, 2, 2))
verdict = gradcheck.check_pair(
    ops.group_conv2d_forward, ops.group_conv2d_backward, x, w, None, groups=2, per_entry=True
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% tags=["hide-input"]
# Picture: which output channel depends on which input channel, for 1, 2, 4 and 12 groups: a full
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
# ## Three claims about groups, tested
#
# First, groups save parameters. Second, **at equal width** fewer parameters act as a regulariser,
# so the gap between training and test accuracy shrinks. Third, filters of neighbouring layers
# become correlated within their groups ("diagonal correlation"). Besides, **at equal cost** a
# network with groups can have more channels.
#
# Four small networks train on 1200 real images for 10 epochs: one with 1 group; one with 4 groups
# at the same width; one with 4 groups that is wider, at about the same cost; and the last with a
# shuffle added.
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
    """Return a stem and three convolutions with groups, each followed by BN and ReLU."""
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
    """Train for `count` epochs; yield after each."""
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
# With 1200 images a single run proves little: two seeds of the same network may differ as much as
# two networks. Run the cell with other seeds before you believe a difference. Only the numbers of
# parameters are the same in every run.
#
# ### Correlation of filters
#
# Can we see the groups in what a network has learned? Take the activations of two neighbouring
# layers on test images, and correlate every channel of one layer with every channel of the other.
# With groups, the strong correlations lie in the blocks along the diagonal, because a channel
# depends only on channels of its own group.

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
# Compare the two printed lines. With one group, the blocks have no reason to differ from the rest;
# with four groups they have. (All channels depend on the same images, so no two are wholly
# uncorrelated.)
#
# ## What it costs
#
# The number of multiply-adds falls as 1 / g. **Predict: does the time fall as 1 / g, too?**

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
# x and y have the same size for every g, and must be read and written: groups don't reduce that. So
# memory access grows relative to the multiply-adds. That is guideline 2 of ShuffleNet V2:
# "excessive group convolution increases memory access cost".
#
# ## Recap
#
# <details>
# <summary>1. How many groups make a depthwise convolution?</summary>
#
# As many as there are channels (lesson 5).
#
# </details>
#
# <details>
# <summary>2. Why does AlexNet's third convolution read the channels of both cards?</summary>
#
# Without that, the two halves would be two separate networks, which only the classifier joins.
# ShuffleNet uses the channel shuffle instead (lesson 8).
#
# </details>
#
# <details>
# <summary>3. At equal cost, by what factor can the width grow with 4 groups?</summary>
#
# By 2: the cost is proportional to width² / g.
#
# </details>
#
# <details>
# <summary>4. Your gradient check passes at groups = 1. What does that show?</summary>
#
# It shows nothing about groups. Check with several groups of several channels each, 1 < g < c, and
# with different numbers of input and output channels.
#
# </details>
