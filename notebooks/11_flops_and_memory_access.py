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
# # Lesson 11: FLOPs and memory access
#
# **Goal**
# - Say what a "FLOP" is, in four conventions, and find out which one a paper uses.
# - Count a convolution by doing it, and by a formula that gives the same number.
# - Count what FLOPs don't show: the memory that is read and written.

# %%
import inspect
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from numpy_shufflenet import cost, models, nn, plots
from numpy_shufflenet.operations import find
from numpy_shufflenet.steps.conv2d import conv2d_forward_steps

# %% [markdown]
# ## Predict first
#
# ShuffleNet V2 1× is said to have 146 MFLOPs. Count every addition, every multiplication and every
# comparison of one forward, with batch normalisation, ReLU and pooling.
# **Is the result about 150, about 220 or about 300 million?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# About 300 million. The papers count a multiplication *and the addition that follows* as one FLOP,
# so the convolutions alone come out twice. All the rest adds another 3 % only.
#
# </details>

# %% [markdown]
# ## The loop, step by step
#
# One row of three pixels, a kernel of two weights, stride 2, one zero of padding in front: two
# outputs. Each step tells what it reads and what it adds up.

# %%
x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
w = np.array([10.0, 100.0]).reshape(1, 1, 1, 2)
settings = {"stride": 2, "padding": ((0, 0), (1, 0))}
_, *steps = conv2d_forward_steps(x, w, **settings)
for step in steps:
    products = " + ".join(f"{term:g}" for term in step.terms)
    read = ", ".join(f"{name}[{index[-1]}]" for name, index in step.reads)
    print(f"y[{step.index[-1]}] = {products} = {step.value:g}        reads {read}")

# %% [markdown]
# The tap that falls on the padding is skipped by the loop. Published counts never skip it: it would
# make the count depend on the border, and a kernel in a library multiplies by the zero as well. So
# it counts here too, as a multiply-add; but nothing is *read* there, as padding is nowhere in
# memory.
#
# `counting` runs the same loop on numbers that count what is done to them, with the border written
# out:

# %%
forward, backward = cost.counting.count_operation("conv2d", x, w, **settings)
print("forward ", forward)
print("backward", backward)
assert forward.multiply_adds == 4

# %% [markdown]
# ## The formula
#
# This is the text that the library evaluates. Letters: n c h w input, o output channels, g groups,
# kh kw kernel, oh ow output; b is 1 with a bias; uh uw are the rows and columns that some window
# sees, rh rw the same with the border.

# %%
print(find("conv2d").formula)
computed = find("conv2d").cost({"x": x.shape, "w": w.shape}, settings)
assert computed.forward == forward
assert computed.backward == backward

# %% [markdown]
# Backward costs twice as many multiply-adds: as many for the gradient of x as forward, and as many
# for the gradient of w.
#
# ## The picture: where a network spends them

# %%
model = models.shufflenet_v2()
counted = cost.count(model, (3, 224, 224))
for name, flops in counted.conventions().items():
    print(f"{name:22} {flops / 1e6:7.1f} M   {cost.CONVENTIONS[name]}")
assert round(counted.conventions()["papers"] / 1e6) == 146

# %%
display(plots.cost_by_layer(counted.layers, "ShuffleNet V2 1x"))

# %% [markdown]
# Above, the multiply-adds: nearly all of it is 1×1 convolutions. Below, the memory: batch
# normalisation, ReLU, split, concatenation and shuffle have their share, and none of it is a FLOP.

# %%
kinds = counted.by_kind()
rows = {
    "multiply-adds": {kind: counts.multiply_adds for kind, counts in kinds.items()},
    "memory access": {kind: counts.memory_access for kind, counts in kinds.items()},
}
display(plots.cost_by_kind(rows, "ShuffleNet V2 1x by kind of operation"))

# %% [markdown]
# ## The library's own text
#
# The papers' closed forms: memory access of a 1×1 convolution, and its lower bound.

# %%
print(inspect.getsource(cost.closed_forms.pointwise_memory_access))
print(inspect.getsource(cost.closed_forms.lower_bound))

# %% [markdown]
# ## Exercise: count a convolution &#9679;&#9675;&#9675;
#
# Return the multiply-adds of a convolution from `c` to `o` channels with a `k` × `k` kernel in `g`
# groups, for an output of `oh` × `ow`. Below stands what many write first.


# %% tags=["hide-input"]
CASES = ((6, 4, 3, 1, 5, 4), (6, 4, 3, 2, 5, 4), (8, 8, 3, 8, 7, 5), (12, 9, 1, 3, 4, 6))


def check_multiply_adds(attempt: Callable[..., int]) -> bool:
    """Compare an attempt with a counting run, name the likely cause, and draw both."""
    targets, found = [], []
    for c, o, k, g, oh, ow in CASES:
        weights = np.ones((o, c // g, k, k))
        images = np.ones((1, c, oh + k - 1, ow + k - 1))
        targets.append(
            cost.counting.count_operation("conv2d", images, weights, groups=g)[0].multiply_adds
        )
        found.append(attempt(c, o, k, g, oh, ow))
    wrong = [i for i in range(len(CASES)) if found[i] != targets[i]]
    if not wrong:
        print(f"Right, in all {len(CASES)} cases")
        return True
    c, o, k, g, oh, ow = CASES[wrong[0]]
    ratio = found[wrong[0]] / targets[wrong[0]]
    causes = {
        g: "groups are missing: an output sees the c/g channels of its own group only",
        2: "a multiplication and the addition that follows count as one",
        1 / g: "groups divide twice",
        1 / (k * k): "the taps of the kernel are missing",
    }
    cause = next((text for factor, text in causes.items() if factor == ratio), "")
    print(f"{c=} {o=} {k=} {g=}: {found[wrong[0]]}, but {targets[wrong[0]]} were counted. {cause}")
    _, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    places = np.arange(len(CASES))
    axes.bar(places - 0.2, targets, 0.4, label="target", color="#0072B2")
    axes.bar(places + 0.2, found, 0.4, label="yours", color="#D55E00", hatch="//")
    axes.set(ylabel="multiply-adds", xlabel="case")
    axes.set_xticks(places, [f"g={case[3]}" for case in CASES])
    axes.legend(frameon=False)
    plt.show()
    return False


# %% tags=["exercise", "raises-exception"]
# Picture: bars for each case: the counted multiply-adds and yours.
def my_multiply_adds(c: int, o: int, k: int, g: int, oh: int, ow: int) -> int:
    return oh * ow * c * o * k * k


assert check_multiply_adds(my_multiply_adds)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# How many products go into *one* output? Then: how many outputs are there?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# With groups, an output sees `c / g` channels, each through `k * k` taps.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_multiply_adds(c: int, o: int, k: int, g: int, oh: int, ow: int) -> int:
    return oh * ow * o * (c // g) * k * k


assert check_multiply_adds(solved_multiply_adds)

# %% [markdown]
# ## The check: the papers' own figures
#
# Every figure that the papers print, beside ours. V1's table 1 leaves the classifier out; its other
# tables don't. Where a figure doesn't fit, the note says what is known.

# %% tags=["long"]
for figure in cost.compare_figures():
    mark = "" if figure.fits else f"   <- {figure.note}"
    print(
        f"{figure.source:16} {figure.network:42} {figure.printed:>8} {figure.ours:>10}"
        f" {figure.difference:+7.3f}{mark}"
    )

# %% [markdown]
# ## What it costs, beyond FLOPs
#
# Time is what one wants to know. Beside each kind's share of multiply-adds stands its share of
# run time, measured here.

# %% tags=["timing"]
x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
rows["run time, measured"] = cost.shares_by_kind(model, x, rounds=5)
display(plots.cost_by_kind(rows, "ShuffleNet V2 1x by kind of operation"))

# %% [markdown]
# ### Training keeps activations
#
# What forward keeps for backward is memory too. Parameters aren't counted, and an array that two
# layers keep is counted once.

# %%
for batch in (1, 32):
    kept = cost.count(model, (3, 224, 224), batch=batch, training=True).kept_bytes
    print(
        f"{batch:3} images: {kept / 1e6:7.1f} MB kept, beside {counted.parameters * 4 / 1e6:.1f} MB"
        " of parameters"
    )

# %% [markdown]
# ### Channels at a fixed budget
#
# Groups and depthwise convolutions make a unit cheap, so that it affords more channels. V2's unit
# works on one half of its channels, and hands the other on.

# %%
budgets = np.geomspace(2e6, 1e8, 12)
found = [cost.closed_forms.channels_at_budget(budget) for budget in budgets]
display(plots.channels_at_budget(list(budgets), {k: [row[k] for row in found] for k in found[0]}))

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. A tool reports 292 MFLOPs for ShuffleNet V2 1×. Is it wrong?</summary>
#
# No: it counts two FLOPs a multiply-add.
#
# </details>
#
# <details>
# <summary>2. What does a depthwise separable 3×3 convolution to 256 channels save?</summary>
#
# It costs 1/256 + 1/9, 11.5 %, of a full convolution.
#
# </details>
#
# <details>
# <summary>3. Two 1×1 convolutions have equal FLOPs, 64 to 64 and 16 to 256 channels. MAC?</summary>
#
# The second reads and writes 272 channels where the first moves 128. Run the next cell.
#
# </details>

# %%
access = cost.closed_forms.pointwise_memory_access
print(access(56, 56, 64, 64), access(56, 56, 16, 256))
print(f"1/N + 1/D_K^2 = {cost.closed_forms.separable_ratio(256, 3):.3f}")
unit = cost.count(nn.Sequential(nn.Conv2d(16, 256, 1)), (16, 56, 56))
assert unit.forward.memory_access == access(56, 56, 16, 256)
