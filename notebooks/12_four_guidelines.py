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
# - Distinguish a difference from chance: interleaved runs, and an interval for every ratio.
# - Audit networks against the guidelines, and test V2's argument with numbers.

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
# Two networks have ten blocks each, on 56×56 pixels, and about the same number of multiply-adds.
# One has 1×1 convolutions from 32 to 32 channels, the other from 9 to 108 channels and back.
# **Which one is slower, and by how much?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# The second one. On the paper's GPU it runs at about half the speed of the first, and on the
# paper's phone at 0.72 of it. Below you will measure it on your machine.
#
# </details>

# %% [markdown]
# ## The loop: what one step reads
#
# Two 1×1 convolutions can have the same number of multiply-adds, and yet read and write different
# amounts of numbers. Compare 4 → 4 channels with 2 → 8 channels:

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
# The memory access cost (lesson 11) of a 1×1 convolution from c1 to c2 channels is `MAC = h w (c1 +
# c2) + c1 c2`. At a constant number of multiply-adds `B = h w c1 c2` it is least for c1 = c2: the
# product c1 c2 is constant then, and a sum of two numbers with a given product is least when they
# are equal.

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
# The networks that are compared run in turn, and each round gives one ratio of times. The following
# function returns an interval for the median ratio. It uses the sign test, which assumes nothing
# about the distribution of times.

# %%
print(inspect.getsource(median_interval))

# %% [markdown]
# ## G1 to G4, measured
#
# Each row shows the speed per multiply-add, relative to the first row. The verdicts hold for this
# machine only. The guidelines say: G1, equal channel widths minimise memory access; G2, too many
# groups increase memory access; G3, fragmentation (many small operations) reduces parallelism; G4,
# element-wise operations are not negligible.


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
# have. The bound in the cell below is incomplete.


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
    print("the weights, b / (h w), are missing" if weights else "no convolution has this MAC")
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
# MAC has three parts: input, output, weights. Which of them follows from b, h and w alone?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `c1 + c2 >= 2 sqrt(c1 c2)`, and `c1 c2 = b / (h w)`.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_bound(h: int, w: int, b: int) -> float:
    return 2 * (h * w * b) ** 0.5 + b / (h * w)


assert check_bound(solved_bound)

# %% [markdown]
# ## Which outputs depend on which inputs?
#
# G2 says that groups increase memory access. V1's authors say that groups without a shuffle cut off
# channels. In the pictures, blue means that this output depends on this input. Orange means that
# the unit passes on the input unchanged, as V2 does with half of its channels.

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
    print(f"V2, after {distance} units: {share:.1%} of the channels are unchanged")

# %% [markdown]
# ### Training with and without the shuffle
#
# This cell trains for a short time on few images, with two seeds. Compare the spread between seeds
# before you believe the difference. `numpy-shufflenet guidelines ablation` trains longer, with as
# many seeds as you like.

# %% tags=["long"]
ablation = cost.shuffle_ablation(groups=3, seeds=2, images=200, epochs=1, test_images=200)
print("without:", ablation.without_shuffle, "  with:", ablation.with_shuffle)
print(ablation.verdict)

# %% [markdown]
# ## The check: an audit
#
# The audit prints four numbers for each network. G1 and G2 are the factors by which unequal
# channels and groups raise memory access. G3 is the number of convolutions and pools in a block. G4
# is the share of ReLU and additions in memory access.

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
# The numbers support V2's argument. Groups (G2) and narrow bottlenecks (G1) raise the memory access
# of V1, and bottlenecks that of ResNet. In all networks but V2, ReLU and additions cause
# nearly half of the memory access (G4). In V2 they cause only a fifth, because half of its channels
# pass unchanged. V2 is not best at G3: its units of stride 2 have two branches.
#
# The next cell checks the audit itself: each of these networks but the first breaks one guideline,
# and the audit must report that guideline only.

# %%
for line, (model, channels) in stacks.one_fault_each().items():
    audit = cost.audit(model, (channels, 56, 56))
    print(f"breaks {line:5} departs from {', '.join(audit.departures()) or 'none'}")
    assert audit.departures() == (() if line == "none" else (line,))

# %% [markdown]
# ## What it costs
#
# This chart shows G4 as run time: the shares of batch normalisation, ReLU and additions.

# %% tags=["timing"]
x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
shares = {m.config["name"]: cost.shares_by_kind(m, x, rounds=3) for m in networks[:3]}
display(plots.cost_by_kind(shares, "Share of run time, measured on this machine"))

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Why do we compare time per multiply-add, and not time?</summary>
#
# Widths are whole numbers, so the FLOPs of two networks are rarely equal: 1:12 has 5 % fewer.
#
# </details>
#
# <details>
# <summary>2. A ratio of 1.04 has the interval [0.97, 1.11]. What do you report?</summary>
#
# That you can't show a difference: the interval contains 1.
#
# </details>
#
# <details>
# <summary>3. Your machine contradicts a guideline. Is the paper wrong?</summary>
#
# No. The paper's first principle is that speed must be measured on the target platform.
#
# </details>
