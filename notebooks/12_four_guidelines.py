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
# # Lesson 12: the four guidelines, measured on this machine
#
# **Goal**
# - Measure each guideline of ShuffleNet V2 on your own machine, beside the paper's GPU and phone.
# - Tell a difference from chance: interleaved runs, and an interval for every ratio.
# - Audit networks against the guidelines, and see what V2's argument is worth in numbers.

# %%
import inspect
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from numpy_shufflenet import cost, models, nn, plots
from numpy_shufflenet.cost import experiments, stacks
from numpy_shufflenet.steps.pointwise_conv2d import pointwise_conv2d_forward_steps
from numpy_shufflenet.timing import median_interval

# %% [markdown]
# ## Predict first
#
# Two networks of ten blocks, on 56×56 pixels, with the same number of multiply-adds: one has 1×1
# convolutions from 32 to 32 channels, the other 9 to 108 and back.
# **Which one is slower, and by how much?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# The second one. On the paper's GPU it runs at half of the speed, on its phone at 0.72. What it is
# on your machine, you will see below.
#
# </details>

# %% [markdown]
# ## The loop: what one step reads
#
# The same number of multiply-adds, but not of numbers that are read and written. Two outputs of
# 4 → 4 channels, against eight of 2 → 8:

# %%
rng = np.random.default_rng(0)
for c1, c2 in ((4, 4), (2, 8)):
    x, w = rng.normal(size=(1, c1, 2, 2)), rng.normal(size=(c2, c1, 1, 1))
    _, *steps = pointwise_conv2d_forward_steps(x, w)
    read = {entry for step in steps for entry in step.reads}
    products = sum(len(step.terms) for step in steps)
    print(f"{c1} -> {c2}: {products} multiply-adds, {len(read)} read, {len(steps)} written")

# %% [markdown]
# ## The picture: memory access against the channel ratio
#
# At constant cost B, `MAC = h w (c1 + c2) + c1 c2` is least at equal channels: the geometric mean
# of c1 and c2 is given, and their sum is least when they are equal.

# %%
# Picture: memory access over its lower bound, against the ratio of output to input channels: 1 at
# equal channels, and rising from there.
ratios = np.geomspace(1, 16, 40)
c1, c2 = 64 / np.sqrt(ratios), 64 * np.sqrt(ratios)
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(ratios, (56 * 56 * (c1 + c2) + c1 * c2) / (56 * 56 * 128 + 64 * 64), color="#0072B2")
axes.axhline(1, color="0.6")
axes.set(xlabel="c2 / c1", ylabel="MAC over its lower bound", xscale="log")
plt.show()

# %% [markdown]
# ## The library's own text
#
# What is compared runs in turn, and each round gives one ratio; the interval is that of the sign
# test and assumes nothing about how times are distributed.

# %%
print(inspect.getsource(median_interval))

# %% [markdown]
# ## G1 to G4, measured
#
# Each row's speed per multiply-add, relative to the first. Each verdict speaks of this machine.


# %% tags=["hide-input"]
def show(result: cost.GuidelineResult) -> None:
    """Print one table with its verdict, and draw it beside the paper's columns."""
    gpu, arm = experiments.paper_relative(result.experiment)
    relative = result.relative()
    print(f"{result.experiment.key}: {result.experiment.title}")
    if result.experiment.note:
        print(f"  {result.experiment.note}")
    for (label, speed), a, b in zip(relative.items(), gpu, arm, strict=True):
        print(
            f"  {label:15} {result.multiply_adds[label] / 1e6:6.1f} M multiply-adds, "
            f"MAC {result.memory_access[label] / 1e6:5.2f} M: {speed:.2f}"
            f"   paper: GPU {a:.2f}, ARM {b:.2f}"
        )
    for step in result.steps:
        print(f"  time of {step.label} over {step.before}: {step.ratio}")
    print(f"  {result.experiment.claim}: {result.verdict}")
    columns = {"this machine": list(relative.values()), "paper, GPU": gpu, "paper, ARM": arm}
    display(plots.guideline(list(relative), columns, result.experiment.key))


# %% tags=["timing"]
show(cost.measure(cost.EXPERIMENTS["G1"]("x1"), rounds=20))

# %% tags=["timing"]
show(cost.measure(cost.EXPERIMENTS["G2"]("x1"), rounds=20))

# %% tags=["timing"]
show(cost.measure(cost.EXPERIMENTS["G3"]("x1"), rounds=20))

# %% tags=["timing"]
show(cost.measure(cost.EXPERIMENTS["G4"]("x1"), rounds=20))

# %% [markdown]
# ## Exercise: the bound &#9679;&#9679;&#9675;
#
# Return the least memory access that a 1×1 convolution of `b` multiply-adds on `h` × `w` pixels can
# have. Below stands a bound that forgets something.


# %% tags=["hide-input"]
def check_bound(attempt: Callable[[int, int, int], float]) -> bool:
    """Compare with the best of many convolutions, name the cause, and draw both."""
    widths = np.array([4, 8, 16, 32, 64])
    targets = np.array(
        [cost.closed_forms.pointwise_memory_access(7, 5, int(c), int(c)) for c in widths]
    )
    found = np.array([attempt(7, 5, int(7 * 5 * c * c)) for c in widths])
    if np.allclose(found, targets):
        print("Right: it is reached by equal channels")
        return True
    weights = np.allclose(targets - found, widths**2)
    print("the weights, B / (h w), are missing" if weights else "no convolution has this MAC")
    _, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    axes.plot(widths, targets, "o-", color="#0072B2", label="target: c1 = c2")
    axes.plot(widths, found, "s--", color="#D55E00", label="yours")
    axes.set(xlabel="channels", ylabel="memory access")
    axes.legend(frameon=False)
    plt.show()
    return False


# %% tags=["exercise", "raises-exception"]
# Picture: memory access against the number of channels: the target, and yours below it.
def my_bound(h: int, w: int, b: int) -> float:
    return 2 * (h * w * b) ** 0.5


assert check_bound(my_bound)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# MAC has three parts: input, output, weights. Which of them depends on B alone?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `c1 + c2 >= 2 sqrt(c1 c2)`, and `c1 c2 = B / (h w)`.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_bound(h: int, w: int, b: int) -> float:
    return 2 * (h * w * b) ** 0.5 + b / (h * w)


assert check_bound(solved_bound)

# %% [markdown]
# ## Who reaches whom?
#
# G2 says that groups cost memory; V1 says that groups without a shuffle cut channels off. Blue:
# this output sees this input. Orange: the input is passed on unchanged, as V2 does with half of its
# channels.

# %%
units = {
    "V1 unit, no shuffle": nn.ShuffleNetV1Unit(36, 36, groups=3, stride=1, shuffle=False),
    "V1 unit, shuffle": nn.ShuffleNetV1Unit(36, 36, groups=3, stride=1),
    "V2 unit": nn.ShuffleNetV2Unit(36, 36, stride=1),
}
found = {name: cost.channel_reach(unit, 36, size=2) for name, unit in units.items()}
display(
    plots.reachability(
        {name: reach.connected for name, reach in found.items()},
        unchanged={name: reach.unchanged for name, reach in found.items()},
    )
)
assert found["V1 unit, shuffle"].share == 1
assert found["V1 unit, no shuffle"].cut_off == 24

# %%
for distance, share in enumerate(cost.feature_reuse(64, 5), start=1):
    print(f"V2, {distance} units on: {share:.1%} of the channels are still the same")

# %% [markdown]
# ### Shuffle against no shuffle, trained
#
# A short training on few images, two seeds: look at the spread before you believe the difference.
# `numpy-shufflenet guidelines ablation` trains longer, with as many seeds as you like.

# %% tags=["long"]
ablation = cost.shuffle_ablation(groups=3, seeds=2, images=200, epochs=1, test_images=200)
print("without:", ablation.without_shuffle, "  with:", ablation.with_shuffle)
print(ablation.verdict)

# %% [markdown]
# ## The check: an audit
#
# G1 and G2 say by which factor unequal channels and groups raise memory access; G3 counts
# convolutions and pools in a block; G4 is the share of ReLU and additions in memory access.

# %%
networks = (
    models.shufflenet_v1(),
    models.shufflenet_v2(),
    models.mobilenet_v1(),
    models.resnet_50(),
)
print(f"{'':15} {'G1':>6} {'G2':>6} {'G3':>6} {'G4':>6}   departs from")
for model in networks:
    audit = cost.audit(model)
    means = "".join(f" {value:6.2f}" for value in audit.means().values())
    print(f"{model.config['name']:15}{means}   {', '.join(audit.departures()) or 'none'}")

# %% [markdown]
# The numbers say what V2 argues: V1 pays for groups (G2) and for narrow bottlenecks (G1); ResNet
# for its bottlenecks; all three others move nearly half of their memory for ReLU and additions
# (G4), as V2 does for a fifth only, because half of its channels just pass. The one thing that V2
# is not best at is G3: its units of stride 2 have two branches.
#
# The check of the audit itself: networks that break one guideline each lose on that line only.

# %%
for line, (model, channels) in stacks.one_fault_each().items():
    audit = cost.audit(model, (channels, 56, 56))
    print(f"breaks {line:5} departs from {', '.join(audit.departures()) or 'none'}")
    assert audit.departures() == (() if line == "none" else (line,))

# %% [markdown]
# ## What it costs
#
# G4 once more, as run time: what batch normalisation, ReLU and additions take.

# %% tags=["timing"]
x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
shares = {m.config["name"]: cost.shares_by_kind(m, x, rounds=3) for m in networks[:3]}
display(plots.cost_by_kind(shares, "Share of run time, measured on this machine"))

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Why is time per multiply-add compared, and not time?</summary>
#
# Widths are whole numbers, so that FLOPs are never quite equal: 1:12 has 5 % fewer.
#
# </details>
#
# <details>
# <summary>2. A ratio of 1.04 has the interval [0.97, 1.11]. What do you report?</summary>
#
# That no difference can be told: 1 lies within.
#
# </details>
#
# <details>
# <summary>3. Your machine contradicts a guideline. Is the paper wrong?</summary>
#
# No. Its first principle is that speed must be measured on the target platform.
#
# </details>
