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
# - Compute the paper's table from models, and count their exact number of multiply-adds.
# - See what a network gains from groups, and what it loses without the shuffle.

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
# pointwise ones (lesson 5). ShuffleNet V1 (Zhang et al., 2017) cuts those into g groups, which
# divides their cost by g. The network uses what it saves for more channels. With one group, its
# stage 2 has 144 channels.
#
# **How many channels can stage 2 have at the same cost with 8 groups?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# It can have 384. If only pointwise layers had a cost, the number of channels could grow by √8 to
# 407, but depthwise layers and the stem cost something, too. More channels at the same cost is the
# idea of the paper. The shuffle lets information flow between the groups again.
#
# </details>
#
# ## The unit
#
# The picture is drawn from the unit itself. **Hover** over a box to see its shape and cost. Play
# the unit forward. Then play it **Backward**, and see where gradients add up.
#
# With stride 1 the input is added to the branch (a residual connection, as in ResNet).

# %%
plots.unit(nn.ShuffleNetV1Unit(240, 240, groups=3, stride=1), (240, 28, 28))

# %% [markdown]
# With stride 2 the unit halves the image. The shortcut is an average pool. The unit
# **concatenates** shortcut and branch instead of adding them, which gives more channels at almost
# no cost. If the unit turns `in` channels into `out`, the shortcut already has `in` of them, so the
# branch computes only `out - in`.

# %%
plots.unit(nn.ShuffleNetV1Unit(240, 480, groups=3, stride=2), (240, 28, 28))

# %% [markdown]
# Here is a small unit channel by channel, with numbers. Colours show groups. Hover over an output
# to see on which channels it depends; in Backward you see where its gradient goes. Then change the
# cell to `shuffle=False`, and run it again: now each half depends only on itself.

# %%
plots.unit_channels(nn.ShuffleNetV1Unit(24, 24, groups=2, stride=1, shuffle=True), 24, seed=3)

# %% [markdown]
# ## The library's own text
#
# The backward takes the steps of the forward in reverse order.

# %%
print(inspect.getsource(nn.ShuffleNetV1Unit._forward))
print(inspect.getsource(nn.ShuffleNetV1Unit._backward))

# %% [markdown]
# ### Exercise: what the pool sends back &#9679;&#9675;&#9675;
#
# The shortcut of a stride-2 unit is an average pool of 3 × 3, stride 2, padding 1. It counts the
# zeros of the border as pixels, so it always divides by 9. Write its backward. (The check draws
# other sizes, too.)


# %% tags=["exercise", "raises-exception"]
def my_avg_pool_backward(dy, x, kernel_size, stride, padding):
    raise NotImplementedError  # your code here


exercises.check("avg_pool2d_backward", my_avg_pool_backward)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Every output sends dy / k² to all pixels of its window. Loop over the taps, add into an array of
# the padded size, and cut off the border at the end.
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
# Count the multiply-adds of a unit with stride 1. It has c channels in and out, a bottleneck of m
# channels (the narrower part between its two pointwise convolutions), g groups in both pointwise
# convolutions, and h × w pixels.


# %% tags=["exercise", "raises-exception"]
def my_cost(c, m, g, h, w):
    raise NotImplementedError  # your code here


exercises.check("v1_unit_multiply_adds", my_cost, points=2)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# In a grouped pointwise convolution c → m each output sums c / g products, and in the depthwise one
# 9.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_cost(c, m, g, h, w):
    return h * w * (c * m // g + 9 * m + m * c // g)


exercises.check("v1_unit_multiply_adds", solved_cost)
for c, g in ((240, 3), (480, 3), (384, 8)):
    unit = nn.ShuffleNetV1Unit(c, c, groups=g, stride=1)
    assert solved_cost(c, c // 4, g, 28, 28) == models.summary(unit, (c, 28, 28)).multiply_adds
print("right: h w (2 c m / g + 9 m)")

# %% [markdown]
# A ResNet unit with the same c and m has a full 3 × 3 convolution in the middle: h w (2 c m + 9
# m²). A ResNeXt unit has a grouped one: h w (2 c m + 9 m² / g).

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
# The next cell holds the forward of a unit with stride 1, made of the library's operations. Write
# its backward: one line for each line of the forward, in reverse order. Return dx. Note that x is
# used twice.


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

    settings = gradcheck.Settings(skip=("dtype", "float32"))  # the weights are float64
    return gradcheck.check(
        lambda x: unit_forward(x, weights)[0], vjp, image, per_entry=True, settings=settings
    )


# %% tags=["exercise", "raises-exception"]
def my_unit_backward(dy, caches):
    c1, c2, c3, c4, c5, c6, c7, c8, c9 = caches
    raise NotImplementedError  # your code here


exercises.check("v1_unit_backward", my_unit_backward, forward=unit_forward, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Start with `dy = ops.relu_backward(dy, c9)`. This is the gradient of the sum x + y, so x and y
# both receive it. Keep it for the shortcut.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The backward of a convolution returns (dx, dw, db), that of batch normalisation (dx, dgamma,
# dbeta). Here you need only the first: `dy, *_ = ...`.
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


exercises.check("v1_unit_backward", solved_unit_backward, forward=unit_forward)
verdict = check_unit(solved_unit_backward)
print(verdict)
assert verdict.passed

# %% [markdown]
# ## The gradient check
#
# The first heat map is that of the library's unit. (For yours, run
# `plots.gradient_map(check_unit(my_unit_backward))`.) The second is that of a bug from the zoo: its
# backward forgets the gradient of the shortcut, although x is used twice.

# %%
bug = zoo.find("unit_v1/shortcut_dropped")
bug_image, *bug_weights = bug.example(seed=0).arrays


def check_dx(forward, backward):
    """Compare dx with differences; the weights are constant."""
    return gradcheck.check(
        lambda x: forward(x, *bug_weights)[0],
        lambda dy, x: backward(dy, forward(x, *bug_weights)[1])[0],
        bug_image,
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
# The network has a stem (a convolution and a max pool), three stages of 4, 8 and 4 units (the first
# unit of each has stride 2), a global pool and a classifier. The picture is drawn from the model.
# Hover over rows and units:

# %%
plots.network(models.shufflenet_v1(groups=3), (3, 224, 224))

# %% [markdown]
# The next cell counts the multiply-adds of the models, and prints those of the paper's table 1
# beside them. The paper's table doesn't count the classifier.

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
# The first pointwise convolution of stage 2 has **no** groups, because its input has only 24
# channels.
#
# **Common mistakes** of implementations: with stride 2 the branch must have `out - in` output
# channels, and the bottleneck a quarter of the *output* channels; there is no ReLU after the
# depthwise convolution; the last ReLU comes after the addition; and two orders of the shuffle are
# in use (lesson 8).
#
# ## The effect of groups, and of the shuffle
#
# These are the paper's measurements on ImageNet (error in %, lower is better). Table 2 compares
# numbers of groups at the same cost. Table 3 compares the same networks without and with the
# shuffle. To repeat them takes days on several graphics cards. Lesson 14 trains small networks that
# fit a laptop.

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
# The smaller the network, the more it gains from groups, which allow more channels. The more groups
# a network has, the more it loses without a shuffle.
#
# ## What it costs
#
# The next cell measures the time of each layer of a unit, and prints it beside its multiply-adds:

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
# The layers without multiply-adds take a considerable part of the time. The paper's count doesn't
# show that. ShuffleNet V2 starts from this observation.
#
# ## Recap
#
# <details>
# <summary>1. Why is there no ReLU after the depthwise convolution?</summary>
#
# The authors follow Xception, whose authors found that a ReLU at this point lowered the accuracy.
#
# </details>
#
# <details>
# <summary>2. The authors' code shuffles after the depthwise layer. Why is y the same?</summary>
#
# The depthwise layer treats each channel separately. So the order of the channels doesn't matter,
# if the layer's kernels have the same order.
#
# </details>
#
# <details>
# <summary>3. g = 3, 24 channels in, 240 out, stride 2: how many does the branch compute?</summary>
#
# 216; the average pool contributes the other 24. 216 is divisible by 3, as groups require.
#
# </details>
#
# <details>
# <summary>4. What does the last shuffle of a stage do for the classifier?</summary>
#
# Nothing is shuffled before the classifier: each unit has its shuffle in the middle, and doesn't
# shuffle its output. That is no problem, because the classifier reads all channels anyway.
#
# </details>
#
# <details>
# <summary>5. In the addition's backward, which gradient do shortcut and branch receive?</summary>
#
# Both receive dy. At the input, where x was used twice, the two gradients add up.
#
# </details>
