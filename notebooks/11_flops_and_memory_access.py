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
# - Say what a "FLOP" is in four conventions, and find out which one a paper uses.
# - Count the operations of a convolution by running it, and by a formula with the same result.
# - Count what FLOPs don't show: the memory that is read and written.

# %%
import inspect

import numpy as np
from IPython.display import display

from numpy_shufflenet import cost, exercises, models, nn, plots
from numpy_shufflenet.operations import find
from numpy_shufflenet.steps.conv2d import conv2d_forward_steps

# %% [markdown]
# ## Predict first
#
# The paper says that ShuffleNet V2 1× has 146 MFLOPs (million floating-point operations). Count
# every addition, every multiplication and every comparison of one forward, those of batch
# normalisation, ReLU and pooling included. **Is the result about 150, about 220 or about 300
# million?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# About 300 million. The papers count a multiplication *and the addition that follows* as one FLOP.
# So the convolutions alone have twice as many operations. All other layers add only about 3 %.
#
# </details>

# %% [markdown]
# ## The loop, step by step
#
# The smallest example is one row of three pixels, a kernel of two weights, stride 2, and one zero
# of padding in front. It has two outputs. Each step says what it reads and what it adds up.

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
# The loop skips the tap that falls on the padding. Published counts include it, and so do we.
# Otherwise the formula would depend on the border, and the compiled code of most libraries does
# multiply by the zero. So this tap counts as a multiply-add. But it doesn't count as a *read*,
# because the padding isn't stored in memory.
#
# `cost.counting` runs the same loop, padding included, on number objects that count their additions
# and multiplications:

# %%
forward, backward = cost.counting.count_operation("conv2d", x, w, **settings)
print("forward ", forward)
print("backward", backward)
assert forward.multiply_adds == 4

# %% [markdown]
# ## The formula
#
# The library evaluates the following formula. The shape of the input is n c h w. There are o output
# channels, g groups, a kernel of kh × kw and an output of oh × ow; b is 1 if there is a bias,
# otherwise 0. Some rows of the input may lie in no window. uh is the number of those that lie in at
# least one, and uw the same for columns. rh and rw are these numbers for the padded input.

# %%
print(find("conv2d").formula)
computed = find("conv2d").cost({"x": x.shape, "w": w.shape}, settings)
assert computed.forward == forward
assert computed.backward == backward

# %% [markdown]
# The backward takes twice as many multiply-adds as the forward: as many for the gradient of x, and
# as many for the gradient of w.
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
# The upper chart shows multiply-adds: nearly all of them are in 1×1 convolutions. The lower chart
# shows **memory access**, the amount of numbers that are read and written. There batch
# normalisation, ReLU, split, concatenation and shuffle have a considerable share, although the
# papers count no FLOPs for them. The papers call it memory access cost, **MAC**. (Elsewhere MAC
# often means multiply-accumulate, that is, one multiply-add.)

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
# These are the paper's formulas for the memory access of a 1×1 convolution, and for its lower
# bound.

# %%
print(inspect.getsource(cost.closed_forms.pointwise_memory_access))
print(inspect.getsource(cost.closed_forms.lower_bound))

# %% [markdown]
# ## Exercise: count a convolution &#9679;&#9675;&#9675;
#
# Return the multiply-adds of a convolution from `c` to `o` channels with a `k` × `k` kernel in `g`
# groups, for an output of `oh` × `ow`. The cell below holds a common first attempt.


# %% tags=["exercise", "raises-exception"]
def my_multiply_adds(c: int, o: int, k: int, g: int, oh: int, ow: int) -> int:
    return oh * ow * c * o * k * k


exercises.check("conv2d_multiply_adds", my_multiply_adds)

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
# With groups, an output reads `c / g` channels, each through `k * k` taps.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_multiply_adds(c: int, o: int, k: int, g: int, oh: int, ow: int) -> int:
    return oh * ow * o * (c // g) * k * k


exercises.check("conv2d_multiply_adds", solved_multiply_adds)

# %% [markdown]
# ## The check: the papers' own figures
#
# The next cell prints every figure of the papers beside ours. V1's table 1 doesn't count the
# classifier; its other tables do. Where a figure differs, a note says what we know about the
# reason.

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
# What matters in practice is time. The next chart shows, for each kind of operation, its share of
# multiply-adds, of memory access and of run time, measured on this machine.

# %% tags=["timing"]
x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
rows["run time, measured"] = cost.shares_by_kind(model, x, rounds=5)
display(plots.cost_by_kind(rows, "ShuffleNet V2 1x by kind of operation"))

# %% [markdown]
# ### Training keeps activations
#
# What the forward keeps for the backward needs memory, too. The next cell counts it. It doesn't
# count parameters, and it counts an array that two layers keep once.

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
# Groups and depthwise convolutions make a unit cheap, so it can have more channels at the same
# cost. V2's unit processes one half of its channels, and passes on the other half unchanged.

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
# No. It counts two FLOPs for each multiply-add.
#
# </details>
#
# <details>
# <summary>2. What does a depthwise separable 3×3 convolution to 256 channels cost?</summary>
#
# 1/256 + 1/9, that is 11.5 %, of a full convolution.
#
# </details>
#
# <details>
# <summary>3. Two 1×1 convolutions, 64 to 64 and 16 to 256 channels: which MAC is larger?</summary>
#
# Their FLOPs are equal. But the second reads and writes 16 + 256 = 272 channels, and the first only
# 64 + 64 = 128. Run the next cell.
#
# </details>

# %%
access = cost.closed_forms.pointwise_memory_access
print(access(56, 56, 64, 64), access(56, 56, 16, 256))
print(f"1/N + 1/D_K^2 = {cost.closed_forms.separable_ratio(256, 3):.3f}")
unit = cost.count(nn.Sequential(nn.Conv2d(16, 256, 1)), (16, 56, 56))
assert unit.forward.memory_access == access(56, 56, 16, 256)
