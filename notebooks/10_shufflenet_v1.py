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
# # Lesson 10: ShuffleNet V1
#
# **Goal**
# - Assemble the unit from the operations that you know, forward and backward.
# - Read the paper's table off a model, and count its cost to the last multiply-add.
# - See what the groups buy, and what the shuffle gives back.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, models, nn, ops, plots, zoo

# %% [markdown]
# ## Predict first
#
# A network of depthwise and pointwise convolutions has nearly all of its multiply-adds in the
# pointwise ones (lesson 5). ShuffleNet V1 (Zhang et al., 2017) cuts those into g groups, so that
# they cost a g-th. What is saved, it spends on more channels: its stage 2 has 144 channels with
# one group.
#
# **How many channels can stage 2 afford for the same cost with 8 groups?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 384. If pointwise layers were everything, the channels could grow by √8 to 407; depthwise layers
# and the stem cost something, too. More channels for the same price: that is the idea of the
# paper. The shuffle repairs what the groups break.
#
# </details>
#
# ## The unit
#
# Drawn from the unit itself. **Hover** over a box for its shape and cost; play it forward; then
# play it **Backward** and watch where gradients add up.
#
# With stride 1 the input is added to the branch (a residual connection, as in ResNet).

# %%
plots.unit(nn.ShuffleNetV1Unit(240, 240, groups=3, stride=1), (240, 28, 28))

# %% [markdown]
# With stride 2 the image is halved. The shortcut is an average pool, and instead of an addition
# the two are **concatenated**: more channels at next to no cost. So the branch only gives out - in
# channels.

# %%
plots.unit(nn.ShuffleNetV1Unit(240, 480, groups=3, stride=2), (240, 28, 28))

# %% [markdown]
# Here is a small unit channel by channel, with numbers. Colours are groups. Hover over an output,
# and see from which channels it comes; in Backward, where its gradient goes. Then compare with
# `shuffle=False`: change the cell and run it again. Each half only ever sees itself.

# %%
plots.unit_channels(nn.ShuffleNetV1Unit(24, 24, groups=2, stride=1, shuffle=True), 24, seed=3)

# %% [markdown]
# ## The library's own text
#
# The backward reads as the forward, upwards.

# %%
print(inspect.getsource(nn.ShuffleNetV1Unit._forward))
print(inspect.getsource(nn.ShuffleNetV1Unit._backward))

# %% [markdown]
# ### Exercise: what the pool sends back &#9679;&#9675;&#9675;
#
# The shortcut of a stride-2 unit is an average pool of 3 × 3, stride 2, padding 1, that counts its
# border (always divides by 9). Write its backward. (The check draws other sizes, too.)


# %% tags=["exercise", "raises-exception"]
def my_avg_pool_backward(dy, x, kernel_size, stride, padding):
    raise NotImplementedError  # your code here


exercises.check("avg_pool2d_backward", my_avg_pool_backward)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Every output sends dy / k² to all pixels of its window. Walk over the taps, add into an array of
# the padded size, and cut the border off.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_avg_pool_backward(dy, x, kernel_size, stride, padding):
    n, c, h, w = x.shape
    oh, ow = dy.shape[2:]
    padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    for i, j in np.ndindex(kernel_size, kernel_size):
        rows = slice(i, i + (oh - 1) * stride + 1, stride)
        columns = slice(j, j + (ow - 1) * stride + 1, stride)
        padded[:, :, rows, columns] += dy / kernel_size**2
    return padded[:, :, padding : padding + h, padding : padding + w]


exercises.check("avg_pool2d_backward", solved_avg_pool_backward)

# %% [markdown]
# ### Exercise: the unit's cost &#9679;&#9679;&#9675;
#
# Count the multiply-adds of a unit with stride 1: c channels in and out, a bottleneck of m
# channels, g groups in both pointwise convolutions, h × w pixels.


# %% tags=["exercise", "raises-exception"]
def my_cost(c, m, g, h, w):
    raise NotImplementedError  # your code here


for c, g in ((240, 3), (480, 3), (384, 8)):
    unit = nn.ShuffleNetV1Unit(c, c, groups=g, stride=1)
    counted = models.summary(unit, (c, 28, 28)).multiply_adds
    yours = my_cost(c, c // 4, g, 28, 28)
    assert yours == counted, f"c={c}, g={g}: you count {yours:,}, the library {counted:,}"

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# A grouped pointwise convolution c → m: each output sums c / g products. The depthwise one: 9.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_cost(c, m, g, h, w):
    return h * w * (c * m // g + 9 * m + m * c // g)


for c, g in ((240, 3), (480, 3), (384, 8)):
    unit = nn.ShuffleNetV1Unit(c, c, groups=g, stride=1)
    assert solved_cost(c, c // 4, g, 28, 28) == models.summary(unit, (c, 28, 28)).multiply_adds
print("right: h w (2 c m / g + 9 m)")

# %% [markdown]
# A ResNet unit with the same c and m has a full 3 × 3 convolution in the middle, h w (2 c m + 9
# m²), and ResNeXt a grouped one, h w (2 c m + 9 m² / g):

# %%
c, m, g, pixels = 240, 60, 3, 28 * 28
for name, count in (
    ("ResNet", 2 * c * m + 9 * m * m),
    ("ResNeXt", 2 * c * m + 9 * m * m // g),
    ("ShuffleNet", 2 * c * m // g + 9 * m),
):
    print(f"{name:11} {pixels * count / 1e6:6.2f} M multiply-adds")

# %% [markdown]
# ### Exercise: the unit's backward &#9679;&#9679;&#9679;
#
# Below is the forward of a unit with stride 1, made of the library's operations. Write its
# backward: the same lines upwards. Return dx. Mind the place where x is used twice.


# %%
def unit_forward(x, p):
    """p holds the weights: w1, gamma1, beta1, w2, gamma2, beta2, w3, gamma3, beta3, and groups."""
    g = p["groups"]
    y, c1 = ops.pointwise_conv2d_forward(x, p["w1"], groups=g)
    y, c2 = ops.batch_norm_forward(y, p["gamma1"], p["beta1"])
    y, c3 = ops.relu_forward(y)
    y, c4 = ops.channel_shuffle_forward(y, g)
    y, c5 = ops.depthwise_conv2d_forward(y, p["w2"], padding=1)
    y, c6 = ops.batch_norm_forward(y, p["gamma2"], p["beta2"])
    y, c7 = ops.pointwise_conv2d_forward(y, p["w3"], groups=g)
    y, c8 = ops.batch_norm_forward(y, p["gamma3"], p["beta3"])
    y, c9 = ops.relu_forward(x + y)
    return y, (c1, c2, c3, c4, c5, c6, c7, c8, c9)


def random_weights(c=12, m=6, groups=2, seed=0):
    rng = np.random.default_rng(seed)
    p = {"groups": groups}
    p["w1"] = rng.normal(size=(m, c // groups, 1, 1))
    p["w2"] = rng.normal(size=(m, 1, 3, 3))
    p["w3"] = rng.normal(size=(c, m // groups, 1, 1))
    for number, size in ((1, m), (2, m), (3, c)):
        p[f"gamma{number}"] = rng.uniform(0.5, 1.5, size)
        p[f"beta{number}"] = rng.normal(0, 0.5, size)
    return p


weights = random_weights()
image = np.random.default_rng(1).normal(size=(2, 12, 4, 3))


def check_unit(backward):
    """Compare a backward with differences, and return the verdict."""

    def vjp(dy, x):
        return backward(dy, unit_forward(x, weights)[1])

    return gradcheck.check(lambda x: unit_forward(x, weights)[0], vjp, image, per_entry=True)


# %% tags=["exercise", "raises-exception"]
def my_unit_backward(dy, caches):
    c1, c2, c3, c4, c5, c6, c7, c8, c9 = caches
    raise NotImplementedError  # your code here


check_unit(my_unit_backward).raise_if_failed()

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Start with `dy = ops.relu_backward(dy, c9)`. This is the gradient of the sum x + y: both get it.
# Keep one for later.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Convolutions return (dx, dw, db), batch normalisation (dx, dgamma, dbeta). Here you only need the
# first.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_unit_backward(dy, caches):
    c1, c2, c3, c4, c5, c6, c7, c8, c9 = caches
    dy = dshortcut = ops.relu_backward(dy, c9)
    dy, *_ = ops.batch_norm_backward(dy, c8)
    dy, *_ = ops.pointwise_conv2d_backward(dy, c7)
    dy, *_ = ops.batch_norm_backward(dy, c6)
    dy, *_ = ops.depthwise_conv2d_backward(dy, c5)
    dy = ops.channel_shuffle_backward(dy, c4)
    dy = ops.relu_backward(dy, c3)
    dy, *_ = ops.batch_norm_backward(dy, c2)
    dy, *_ = ops.pointwise_conv2d_backward(dy, c1)
    return dshortcut + dy


verdict = check_unit(solved_unit_backward)
print(verdict)
assert verdict.passed

# %% [markdown]
# ## The gradient check
#
# The heat map of the library's unit (of yours: `plots.gradient_map(check_unit(my_unit_backward))`);
# and one from the bug zoo that forgets the shortcut on the way back, though x is used twice.

# %%
bug = zoo.find("unit_v1/shortcut_dropped")
image, *weights = bug.example(seed=0).arrays


def check_dx(forward, backward):
    """Compare dx with differences; the weights stand still."""
    return gradcheck.check(
        lambda x: forward(x, *weights)[0],
        lambda dy, x: backward(dy, forward(x, *weights)[1])[0],
        image,
        per_entry=True,
    )


verdict = check_dx(*bug.right)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %%
verdict = check_dx(bug.forward, bug.backward)
assert verdict.status == "fail"
plots.gradient_map(verdict)

# %% [markdown]
# ## The network
#
# A stem, three stages of 4, 8 and 4 units (the first of each with stride 2), a global pool and a
# classifier. Hover over the rows and units, drawn from the model:

# %%
plots.network(models.shufflenet_v1(groups=3), (3, 224, 224))

# %% [markdown]
# And the paper's table 1 beside what the models count. It leaves the classifier out.

# %%
printed = {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}  # MFLOPs, V1, table 1
widths = {g: [] for g in printed}
print("groups  stage 2  stage 3  stage 4  multiply-adds  without classifier  printed")
for g, paper in printed.items():
    table = models.summary(models.shufflenet_v1(groups=g), (3, 224, 224))
    last = {row.name.split(".")[0]: row.output_shape[0] for row in table.rows}
    widths[g] = [last[f"stage{s}"] for s in (2, 3, 4)]
    body = table.multiply_adds - table.rows[-1].multiply_adds
    columns = "".join(f"{width:9}" for width in widths[g])
    print(f"{g:6}{columns}{table.multiply_adds / 1e6:13.1f} M{body / 1e6:18.1f} M{paper:7} M")

# %% [markdown]
# The first pointwise convolution of stage 2 is **not** grouped: with 24 channels there is too
# little to cut.
#
# **Traps** that implementations fall into here: with stride 2 the branch must give out - in
# channels, and the bottleneck is a quarter of the *output*; there is no ReLU after the depthwise
# convolution; the ReLU comes after the addition; and the shuffle has two orders in the wild
# (lesson 8).
#
# ## What the groups buy, and what the shuffle gives back
#
# The paper's measurements on ImageNet (error in %, lower is better): table 2, more groups at the
# same cost; table 3, the same networks without and with the shuffle. To repeat them takes days on
# several graphics cards; lesson 14 does what a laptop can.

# %%
# Picture: left, error on ImageNet against the number of groups, for three sizes of V1: the
# smallest gains most from groups. Right, error without and with the shuffle: lower with it.
groups = np.array([1, 2, 3, 4, 8])
table2 = {
    "1×, 140 M": [33.6, 32.7, 32.6, 32.8, 32.4],
    "0.5×, 38 M": [45.1, 44.4, 43.2, 41.6, 42.3],
    "0.25×, 13 M": [57.1, 56.8, 55.0, 54.2, 52.7],
}
table3 = {"1×, g=3": (34.5, 32.6), "1×, g=8": (37.6, 32.4), "0.25×, g=8": (56.5, 52.7)}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained")
for (name, errors), style in zip(table2.items(), ("o-", "s--", "^:"), strict=True):
    left.plot(range(5), errors, style, label=name)
left.set_xticks(range(5), groups)
left.set(xlabel="groups", ylabel="error on ImageNet in %", title="V1, table 2", ylim=(30, 60))
left.legend(ncols=3, loc=(0.02, 0.2), fontsize=9)
places = np.arange(len(table3))
for offset, number, name, colour in ((-0.2, 0, "without", "#767676"), (0.2, 1, "with", "#0072B2")):
    heights = [pair[number] for pair in table3.values()]
    bars = right.bar(places + offset, heights, 0.38, color=colour, label=f"{name} shuffle")
    right.bar_label(bars, fmt="%.1f", size=8)
right.set_xticks(places, list(table3))
right.set(ylabel="error on ImageNet in %", title="V1, table 3", ylim=(25, 60))
right.legend()
plt.show()

# %% [markdown]
# The smaller the network, the more it gains from groups (more channels); and the more groups, the
# more it loses without a shuffle.
#
# ## What it costs
#
# Where the time of a unit goes, layer by layer, beside its multiply-adds:

# %% tags=["timing"]
unit = nn.ShuffleNetV1Unit(240, 240, groups=3, stride=1)
nn.initialise(unit, np.random.default_rng(0))
x = np.random.default_rng(0).normal(size=(4, 240, 28, 28)).astype(np.float32)
trace = unit.trace(x, training=True)
rows = {row.name: row for row in models.summary(unit, (240, 28, 28)).rows}


def best_milliseconds(run, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print(f"{'layer':10} {'kind':38} multiply-adds      ms")
for name, layer in unit.named_layers():
    if name in rows:
        given = trace.inputs[name]
        ms = best_milliseconds(lambda layer=layer, given=given: layer.forward(given, training=True))
        layer.release()
        print(f"{name:10} {rows[name].kind:38} {4 * rows[name].multiply_adds:13,} {ms:7.2f}")

# %% [markdown]
# The layers without a multiply-add take a good part of the time. The count in the paper doesn't
# show that, and this is where ShuffleNet V2 sets in.
#
# ## Recap
#
# <details>
# <summary>1. Why is there no ReLU after the depthwise convolution?</summary>
#
# The authors follow Xception, where one there made things worse.
#
# </details>
#
# <details>
# <summary>2. The authors' code shuffles after the depthwise layer. Why is that equal?</summary>
#
# It works on each channel alone, so it doesn't matter in which order the channels stand, as long
# as its kernels are in the same one.
#
# </details>
#
# <details>
# <summary>3. g = 3, 24 channels in, 240 out, stride 2: what does the branch give?</summary>
#
# 216; the average pool hands on the other 24. And 216 divides by 3, as it must.
#
# </details>
#
# <details>
# <summary>4. What does the last shuffle of a stage do for the classifier?</summary>
#
# There is one in each unit, in its middle; the unit's own output isn't shuffled. The pool and the
# classifier see all channels anyway.
#
# </details>
#
# <details>
# <summary>5. In the backward of the addition, who gets which gradient?</summary>
#
# Both the same, dy; and at the input, where x went two ways, the two gradients add up.
#
# </details>
