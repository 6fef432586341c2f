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
# # Lesson 13: ShuffleNet V2
#
# **Goal**
# - See how the units follow from the four guidelines of lesson 12.
# - Assemble them, forward and backward, and count the network's cost in both published layouts.
# - Show that each unit reuses half of the channels, and how many units a channel passes unchanged.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import exercises, gradcheck, models, nn, ops, plots, zoo

# %% [markdown]
# ## Predict first
#
# V1's unit has grouped pointwise convolutions, a bottleneck, and an addition. Each breaks a
# guideline: groups raise the memory access (G2), a bottleneck has unequal widths (G1), and an
# addition is an element-wise operation (G4).
#
# V2 (Ma et al., 2018) **splits** the channels into two halves. One half passes unchanged. The other
# half goes through three convolutions of equal widths: the branch. Then the unit joins both halves
# and shuffles the channels.
#
# **A unit has just joined its channels. How many of the next units does a channel pass unchanged,
# on average, before it enters a branch?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# One on average. The shuffle spreads the channels evenly over the two halves. So 1/2 of them enter
# the branch of the next unit, 1/4 pass one unit first, 1/8 pass two, and so on: 1/4 + 2/8 + 3/16 +
# ... = 1.
#
# </details>
#
# ## The units
#
# Stride 1: split, compute the branch on one half, concatenate, shuffle. There is no addition, no
# group convolution and no bottleneck. **Hover**, play, and look at **Backward**: the backward of a
# split is a concatenation, and no gradients are added.

# %%
plots.unit(nn.ShuffleNetV2Unit(116, 116, stride=1), (116, 28, 28))

# %% [markdown]
# Stride 2: both branches read all channels, so the number of channels grows.

# %%
plots.unit(nn.ShuffleNetV2Unit(116, 232, stride=2, branch1_channels=116), (116, 28, 28))

# %% [markdown]
# The next picture shows a unit channel by channel, with the numbers of one pixel. Blue channels
# pass unchanged, and green ones go through the branch. Hover over the outputs: half of them are
# copies of an input. In **Backward**, their gradient arrives at the input unchanged.

# %%
plots.unit_channels(nn.ShuffleNetV2Unit(8, 8, stride=1), 8)

# %% [markdown]
# | guideline | V1's unit | V2's unit |
# |---|---|---|
# | G1: equal widths | a bottleneck, 4 to 1 | 58 → 58 → 58 |
# | G2: few groups | g groups in both pointwise layers | none; the split acts as two groups |
# | G3: few fragments | one branch | one branch, and one without any operation |
# | G4: few element-wise operations | addition, ReLU on all | no addition, ReLU on half |
#
# ## The library's own text

# %%
print(inspect.getsource(nn.ShuffleNetV2Unit._forward))
print(inspect.getsource(nn.ShuffleNetV2Unit._backward))

# %% [markdown]
# ### Exercise: the split, backwards &#9679;&#9675;&#9675;
#
# `dy` is a tuple of gradients, one for each part. `sizes` holds the number of channels of each
# part. Return dx.


# %% tags=["exercise", "raises-exception"]
def my_split_backward(dy, x, sizes):
    raise NotImplementedError  # your code here


exercises.check("channel_split_backward", my_split_backward)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# Use `np.concatenate` along the channel axis.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_split_backward(dy, x, sizes):
    return np.concatenate(dy, axis=1)


exercises.check("channel_split_backward", solved_split_backward)

# %% [markdown]
# ### Exercise: where does a channel go? &#9679;&#9679;&#9675;
#
# A unit splits, computes the branch on the second half, concatenates, and shuffles with 2 groups.
# Of c channels, channel k of the input passes unchanged if k < c / 2. **Which channel of the output
# is it then?** Write a function that returns this number, or None if channel k goes through the
# branch.


# %% tags=["exercise", "raises-exception"]
def my_place_after_unit(k, c):
    raise NotImplementedError  # your code here


x = np.arange(12.0).reshape(1, 12, 1, 1)
unit = nn.ShuffleNetV2Unit(12, 12, stride=1)  # its weights are 0, so the branch returns 0
y = unit.forward(x.astype(np.float32)).ravel()
for k in range(1, 12):
    place = my_place_after_unit(k, 12)
    expected = list(y).index(k) if k in y else None
    assert place == expected, f"channel {k} of 12 goes to {expected}, you say {place}"

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# After the concatenation its number is still k, in the first of two groups. The shuffle takes one
# channel from each group in turn (lesson 8).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_place_after_unit(k, c):
    return 2 * k if k < c // 2 else None


x = np.arange(12.0, dtype=np.float32).reshape(1, 12, 1, 1)
y = nn.ShuffleNetV2Unit(12, 12, stride=1).forward(x).ravel()
for k in range(1, 12):
    assert solved_place_after_unit(k, 12) == (list(y).index(k) if k in y else None)
print("right: 2 k for the first half; these channels are spread over both halves of the next unit")

# %% [markdown]
# ### Exercise: the unit's backward &#9679;&#9679;&#9679;
#
# The next cell holds the forward of a unit with stride 1. Write its backward, which returns dx.


# %%
def unit_forward(x, p):
    half = x.shape[1] // 2
    (left, y), c0 = ops.channel_split_forward(x, (half, half))
    y, c1 = ops.pointwise_conv2d_forward(y, p["w1"])
    y, c2 = ops.batch_norm_forward(y, p["gamma1"], p["beta1"])
    y, c3 = ops.relu_forward(y)
    y, c4 = ops.depthwise_conv2d_forward(y, p["w2"], padding=1)
    y, c5 = ops.batch_norm_forward(y, p["gamma2"], p["beta2"])
    y, c6 = ops.pointwise_conv2d_forward(y, p["w3"])
    y, c7 = ops.batch_norm_forward(y, p["gamma3"], p["beta3"])
    y, c8 = ops.relu_forward(y)
    y, c9 = ops.channel_concat_forward(left, y)
    y, c10 = ops.channel_shuffle_forward(y, 2)
    return y, (c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10)


rng = np.random.default_rng(0)
weights = {"w1": rng.normal(size=(3, 3, 1, 1)), "w2": rng.normal(size=(3, 1, 3, 3))}
weights["w3"] = rng.normal(size=(3, 3, 1, 1))
for number in (1, 2, 3):
    weights[f"gamma{number}"] = rng.uniform(0.5, 1.5, 3)
    weights[f"beta{number}"] = rng.normal(0, 0.5, 3)
image = rng.normal(size=(2, 6, 4, 3))


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
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 = caches
    raise NotImplementedError  # your code here


exercises.check("v2_unit_backward", my_unit_backward, forward=unit_forward, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Go through the lines in reverse order: first the shuffle, then the concatenation. Its backward
# returns a tuple: the gradient of the half that passed, and that of the branch.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# At the end, `ops.channel_split_backward((dleft, dright), c0)`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_unit_backward(dy, caches):
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 = caches
    dy = ops.channel_shuffle_backward(dy, c10)
    dleft, dy = ops.channel_concat_backward(dy, c9)
    dy = ops.relu_backward(dy, c8)
    dy, *_ = ops.batch_norm_backward(dy, c7)
    dy, *_ = ops.pointwise_conv2d_backward(dy, c6)
    dy, *_ = ops.batch_norm_backward(dy, c5)
    dy, *_ = ops.depthwise_conv2d_backward(dy, c4)
    dy = ops.relu_backward(dy, c3)
    dy, *_ = ops.batch_norm_backward(dy, c2)
    dy, *_ = ops.pointwise_conv2d_backward(dy, c1)
    return ops.channel_split_backward((dleft, dy), c0)


exercises.check("v2_unit_backward", solved_unit_backward, forward=unit_forward)
verdict = check_unit(solved_unit_backward)
print(verdict)
assert verdict.passed

# %% [markdown]
# ## The gradient check
#
# The first heat map is that of the library's unit. The second is that of a bug from the zoo: the
# two halves receive each other's gradient, a mistake that changes no shape.

# %%
bug = zoo.find("unit_v2/branches_swapped")
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
# Like V1, the network has a stem and stages of 4, 8 and 4 units. In addition it has conv5, a
# pointwise convolution to 1024 channels before the pool.

# %%
plots.network(models.shufflenet_v2(), (3, 224, 224))

# %% [markdown]
# Two layouts are published. In the authors' network, branch 1 of a stride-2 unit keeps the width of
# the *input*. In torchvision, both branches have half of the output channels. The layouts differ
# only in the first unit of stage 2. Only the authors' layout has the multiply-adds that the paper
# prints:

# %%
printed = {0.5: 41, 1.0: 146, 1.5: 299, 2.0: 591}  # MFLOPs, V2, table 5
print("scale     paper's layout   torchvision's   printed   parameters")
for scale, paper in printed.items():
    counts = {}
    for layout in models.LAYOUTS:
        model = models.shufflenet_v2(scale=scale, layout=layout)
        counts[layout] = models.summary(model, (3, 224, 224))
    own, other = (counts[layout].multiply_adds / 1e6 for layout in models.LAYOUTS)
    learned = counts["paper"].parameters / 1e6
    print(f"{scale:4}× {own:16.1f} M {other:13.1f} M {paper:7} M {learned:10.2f} M")

# %% [markdown]
# **Common mistakes**: stage 2 at 2× has 244 channels (the 224 in the paper is a typo, often
# copied); the authors' classifier has no bias, and their input is BGR from 0 to 255; their code
# shuffles at the *start* of a unit.
#
# ## Feature reuse, measured
#
# In DenseNet every layer reads the outputs of all earlier layers, and uses those of near layers
# most. V2 has a similar **feature reuse** without extra cost: of the channels that a unit joins,
# half pass the next unit unchanged, a quarter pass the next two, and so on. The next cell follows
# them through stage 3 of V2 1×, whose units have 232 channels. It sends numbers in, and finds those
# that come out unchanged.


# %%
def untouched(units, c):
    """Return entry (i, j): the share of the channels before unit i that reach unit j unchanged."""
    share = np.zeros((units, units + 1))
    for start in range(units):
        alive = np.arange(c)  # the present numbers of the channels that are unchanged
        for end in range(start, units + 1):
            share[start, end] = len(alive) / c
            alive = np.array([2 * k for k in alive if k < c // 2], int)
    return share


share = untouched(7, 232)
print("passed units:  " + "".join(f"{k:8}" for k in range(8)))
print("share left:    " + "".join(f"{value:8.1%}" for value in share[0]))

# The model itself agrees: in this unit all weights are 0, so the branch returns 0.
model = models.shufflenet_v2(seed=0)
unit = model.children()["stage3"][1]
for array in unit.parameters().values():
    array[...] = 0
x = np.random.default_rng(0).uniform(1, 2, (1, 232, 2, 2)).astype(np.float32)
passed = x
for units in range(1, 4):
    passed = unit.forward(passed)
    kept = np.isin(passed, x).mean()
    print(f"after {units} units {kept:6.1%} of the numbers are unchanged")
    assert abs(kept - share[0, units]) < 1e-9

# %% tags=["hide-input"]
# Picture: left, a triangle of shares: which part of the channels before one unit reaches another
# unchanged. Right, bars: each unit halves the share of unchanged channels.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.imshow(np.where(share > 0, share, np.nan), cmap="Blues", vmin=0, vmax=1.4)
for (r, s), value in np.ndenumerate(share):
    if value > 0:
        left.text(s, r, f"{100 * value:.0f}", ha="center", va="center", size=9)
left.set(xlabel="read by unit", ylabel="made before unit", title="% of channels, unchanged")
right.bar(range(8), 100 * share[0], color="#0072B2")
right.set(xlabel="units passed", ylabel="% of channels left", title="it halves with each unit")
plt.show()

# %% [markdown]
# The paper states the same: between unit i and unit i + j, the share of channels that are connected
# directly falls as r^j, where r is the share that passes a unit unchanged, here 1/2. Concatenation,
# shuffle and the next unit's split only move channels, so a single copy can do all three.
#
# ## What it costs
#
# The next cell times V1 and V2 with about the same number of multiply-adds, on this machine.
# **Predict: which is faster?** (Lesson 12 explains the reasons. Lessons 15 and 16 make both
# faster.)

# %% tags=["timing"]
photo = np.random.default_rng(0).normal(size=(4, 3, 224, 224)).astype(np.float32)


def best_milliseconds(run, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


print(f"{'network':24} multiply-adds   ms an image   ms for 100 M")
for name, model in (
    ("V1 1×, 3 groups", models.shufflenet_v1(groups=3, seed=0)),
    ("V1 1×, 8 groups", models.shufflenet_v1(groups=8, seed=0)),
    ("V2 1×", models.shufflenet_v2(seed=0)),
):

    def run(model=model):
        model.forward(photo)
        model.release()

    ms = best_milliseconds(run) / len(photo)
    million = models.summary(model, (3, 224, 224)).multiply_adds / 1e6
    print(f"{name:24} {million:11.1f} M {ms:13.1f} {100 * ms / million:14.1f}")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. V2 has no group convolution. Why does it have a shuffle?</summary>
#
# The split makes two groups. Without the shuffle one half would never go through a branch.
#
# </details>
#
# <details>
# <summary>2. Where in V2's backward are gradients added up?</summary>
#
# Only at the input of a stride-2 unit, because two branches read it. (And inside the backwards of
# convolutions, of course.)
#
# </details>
#
# <details>
# <summary>3. How many multiply-adds a pixel have V2 and V1 units of 116 channels?</summary>
#
# V2: 2 · 58² + 9 · 58 = 7,250. V1 with g = 1 and a bottleneck of 29: 2 · 116 · 29 + 9 · 29 = 6,989,
# with unequal widths.
#
# </details>
#
# <details>
# <summary>4. Which unit of the paper's layout can't use weights from torchvision?</summary>
#
# The first of stage 2, at 1×, 1.5× and 2×.
#
# </details>
#
# <details>
# <summary>5. Why is ReLU applied in the branch and not after the concatenation?</summary>
#
# The half that passes comes from a ReLU, or from the max pool after one, so none of its numbers is
# negative. A ReLU on it would change nothing and cost time.
#
# </details>
