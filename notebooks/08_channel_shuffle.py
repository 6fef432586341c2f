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
# # Lesson 8: channel shuffle, forward and backward
#
# **Goal**
# - See how a shuffle reorders channels, and by which order its gradient goes back.
# - Write its backward pass yourself, and let the course check it.
# - Show why two common tests can't detect a wrong one, and what a network loses without a shuffle.

# %%
import inspect
import time
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from numpy_shufflenet import exercises, gradcheck, nn, ops, plots
from numpy_shufflenet.steps.channel_shuffle import (
    channel_shuffle_backward_steps,
    channel_shuffle_forward_steps,
    shuffled_from,
    shuffled_to,
)

# %% [markdown]
# ## Predict first
#
# A group convolution cuts its channels into groups, and no group reads another's channels. The
# shuffle distributes the channels of each group over all groups, as one deals cards:
#
# | | |
# |---|---|
# | six channels in two groups | `0 1 2` &#124; `3 4 5` |
# | after the shuffle | `0 3` `1 4` `2 5`, cut again into two groups: `0 3 1` &#124; `4 2 5` |
#
# **Shuffle the result once more in the same way. Are the channels back in their original order?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# No. `0 3 1 4 2 5` becomes `0 4 3 2 1 5`. The first and the last channel never move. The four
# others form a cycle, and are back in place after four shuffles. So the inverse is *another*
# permutation. The backward pass consists of this one fact, and implementations often get it wrong.
#
# </details>

# %%
x = np.arange(6.0).reshape(1, 6, 1, 1)  # one image of one pixel: channel k holds the number k
for times in range(5):
    print(f"after {times} shuffles: {x.ravel().astype(int)}")
    x, _ = ops.channel_shuffle_forward(x, 2)

# %% [markdown]
# ## The loop, step by step
#
# `steps` computes one output at a time and says what it read. In the forward, each output channel
# reads one input channel. In the backward, each `dx` reads the one `dy` whose output had read that
# `x`.

# %%
x = np.arange(6.0).reshape(1, 6, 1, 1)
dy = np.array([0.3, -1.0, 0.5, 2.0, -0.2, 1.1]).reshape(1, 6, 1, 1)

print("forward: 6 channels in 2 groups")
_, *forward_steps = channel_shuffle_forward_steps(x, 2)
for step in forward_steps:
    (_, source), target = step.reads[0], step.index
    print(f"  y[{target[1]}] = x[{source[1]}] = {step.value:g}")

print("backward")
_, *backward_steps = channel_shuffle_backward_steps(dy, x, 2)
for step in backward_steps:
    (_, source), target = step.reads[0], step.index
    print(f"  dx[{target[1]}] = dy[{source[1]}] = {step.value:+g}")

# %% [markdown]
# Here are the same steps as a moving picture. The colour shows the group in which a channel
# started, and the frames show the groups of the next convolution. **Hover over a channel**, or play
# the picture. In **Backward** the gradients go back along the same wires.

# %%
plots.shuffle_wires(6, 2)

# %% tags=["hide-input"]
# Colours of Okabe and Ito, which colour-blind readers can tell apart, and text that shows on each.
GROUP_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
TEXT_COLOURS = ("white", "black", "white", "black", "white", "black")


def draw_row(axes: Axes, height: float, channels: list[int], group_size: int) -> None:
    """Draw a row of dots, each with the channel that it holds, in the colour of its group."""
    for place, channel in enumerate(channels):
        group = channel // group_size
        axes.scatter(place, height, s=300, color=GROUP_COLOURS[group], zorder=3)
        axes.text(
            place, height, channel, ha="center", va="center", color=TEXT_COLOURS[group], zorder=4
        )
    for start in range(0, len(channels), group_size):
        corner = (start - 0.46, height - 0.2)
        axes.add_patch(Rectangle(corner, group_size - 0.08, 0.4, fill=False, color="0.6"))


def draw_wires(
    axes: Axes, channels: int, groups: int, order: Callable[[int, int, int], int], *, upwards: bool
) -> None:
    """Draw y[k] = x[order(k)] from top to bottom, or how its gradients run from bottom to top."""
    sources = [order(k, channels, groups) for k in range(channels)]
    size = channels // groups
    draw_row(axes, 1, list(range(channels)), size)
    draw_row(axes, 0, sources, size)
    for place, source in enumerate(sources):
        draw_arrow(axes, source, place, GROUP_COLOURS[source // size], upwards=upwards)
    finish(axes, channels, ("y", "x") if not upwards else ("dy", "dx"))


def draw_arrow(axes: Axes, top: int, bottom: int, colour: str, *, upwards: bool) -> None:
    """Draw one wire between the rows; a head shows which way the numbers run."""
    start, end = ((bottom, 0.2), (top, 0.78)) if upwards else ((top, 0.8), (bottom, 0.22))
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
    if upwards:
        style["linestyle"] = (0, (4, 2))
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def finish(axes: Axes, channels: int, labels: tuple[str, str]) -> None:
    """Name the two rows and leave nothing else around them."""
    axes.set(xlim=(-0.7, channels - 0.3), ylim=(-0.35, 1.35), xticks=[], yticks=[0, 1])
    axes.set_yticklabels(labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


# %% [markdown]
# ## The permutation, and the two orders in use
#
# Write the channel numbers row by row into a table of `g` rows (the groups) and `n = c/g` columns.
# Transpose it, and read it row by row: `y[j g + i] = x[i n + j]`. The inverse transposes it back,
# which is the same as a shuffle with `n` groups.
#
# Both orders are called "channel shuffle". The paper's figure and torchvision use the first order.
# The authors' V1 code uses the second, its inverse. Weights trained with one order are useless with
# the other. Solid wires show the forward. **Dashed wires show the backward: the same wires in the
# opposite direction.**

# %% tags=["hide-input"]
# Picture: wires of a shuffle of 12 channels in 3 groups. Columns: the paper's order and that of
# the authors' code; rows: forward, and backward along the same wires.
figure, grid = plt.subplots(2, 2, figsize=(13, 6.4), layout="constrained")
orders = (
    ("the paper's order, channel_shuffle", shuffled_from),
    ("the authors' V1 code, channel_unshuffle", shuffled_to),
)
for column, (name, order) in zip(grid.T, orders, strict=True):
    for axes, upwards in zip(column, (False, True), strict=True):
        draw_wires(axes, 12, 3, order, upwards=upwards)
        axes.set_title(f"{name}: {'backward' if upwards else 'forward'}")
plt.show()

# %% [markdown]
# On an image, all pixels of a channel move together.

# %%
plots.step_through("channel_shuffle", np.arange(24.0).reshape(1, 6, 2, 2), groups=3)

# %% [markdown]
# ## The library's own text
#
# This is the whole forward: a view as a table, one transposition, one copy.

# %%
print(inspect.getsource(ops.channel_shuffle._transpose_table))

# %% [markdown]
# ### Exercise: the shuffle, forward &#9679;&#9675;&#9675;
#
# Take `x` (n, c, h, w) and `groups`, and return the channels in the paper's order.


# %% tags=["exercise", "raises-exception"]
def my_shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    raise NotImplementedError  # your code here


exercises.check("channel_shuffle_forward", my_shuffle)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Reshape the channel axis into two: (n, groups, c // groups, h, w) is the table.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `swapaxes(1, 2)` transposes the table, and a reshape reads it row by row.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    n, c, h, w = x.shape
    table = x.reshape(n, groups, c // groups, h, w)  # n g c/g h w
    return table.swapaxes(1, 2).reshape(n, c, h, w)


exercises.check("channel_shuffle_forward", solved_shuffle)

# %% [markdown]
# ### Exercise: write the backward pass &#9679;&#9679;&#9675;
#
# `dy` holds the gradient of every output, shape (n, c, h, w). Return `dx`, the gradient of every
# input. The cell below holds a common first attempt: it shuffles `dy` as the forward shuffled `x`.
# Run it, read what the check says, and correct it.


# %% tags=["exercise", "raises-exception"]
def my_shuffle_backward(dy: np.ndarray, groups: int) -> np.ndarray:
    n, c, h, w = dy.shape
    table = dy.reshape(n, groups, c // groups, h, w)  # n g c/g h w
    return table.swapaxes(1, 2).reshape(n, c, h, w)


exercises.check("channel_shuffle_backward", my_shuffle_backward, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Follow one wire in the picture: which channel of `y` did `x[1]` become, with 6 channels in 2
# groups? The gradient of `x[1]` is the gradient of that output.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The forward wrote a table of `groups` rows and `c // groups` columns and transposed it. What shape
# did the table have *after* that? `dy` has the order of that table.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# A second transposition restores the order: reshape `dy` to (n, c // groups, groups, h, w), then
# continue as the forward does.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_shuffle_backward(dy: np.ndarray, groups: int) -> np.ndarray:
    n, c, h, w = dy.shape
    table = dy.reshape(n, c // groups, groups, h, w)  # n c/g g h w: the transposed table
    return table.swapaxes(1, 2).reshape(n, c, h, w)


exercises.check("channel_shuffle_backward", solved_shuffle_backward)

# %% [markdown]
# ### Exercise: split and concatenate &#9679;&#9679;&#9679;
#
# ShuffleNet V2 joins two branches, and then shuffles with two groups. Joining and splitting only
# move channels, too, and each is the other's backward. `dy` is the gradient of the concatenated
# arrays. Return one gradient for each array.


# %% tags=["exercise", "raises-exception"]
def my_concat_backward(dy: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    raise NotImplementedError  # your code here


exercises.check("channel_concat_backward", my_concat_backward, points=3)

# %% [markdown]
# <details>
# <summary>Hint</summary>
#
# The gradient of the first array `a` is `dy[:, : a.shape[1]]`. The next begins where this one ends.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_concat_backward(dy: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    ends = np.cumsum([array.shape[1] for array in arrays])
    return tuple(np.split(dy, ends[:-1], axis=1))


exercises.check("channel_concat_backward", solved_concat_backward)

# %% [markdown]
# The library's backward of the shuffle is one line, which calls the same function as the forward:

# %%
print(inspect.getsource(ops.channel_shuffle_backward))

# %% [markdown]
# ## The gradient check
#
# A gradient check changes the inputs a little, measures how the outputs change, and compares with
# what the backward says. It weights the outputs by a *random* `dy`. First comes the right backward,
# then the one that shuffles `dy` as the forward does:

# %%
rng = np.random.default_rng(8)
x = rng.normal(size=(2, 6, 3, 2))


def shuffle(x: np.ndarray, groups: int = 2) -> np.ndarray:
    return ops.channel_shuffle_forward(x, groups)[0]


def wrong_vjp(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return shuffle(dy)  # the same permutation, not its inverse


def right_vjp(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    return ops.channel_shuffle_backward(dy, ops.channel_shuffle_forward(x, 2)[1])


right = gradcheck.check(shuffle, right_vjp, x)
wrong = gradcheck.check(shuffle, wrong_vjp, x)
print("right backward:", right, "\n\nwrong backward:", wrong, sep="\n")
assert right.status == "pass"
assert wrong.status == "fail"

# %% [markdown]
# The next heat maps show the whole Jacobian, measured by differences: row `k`, column `l` says how
# much output channel `k` changes with input channel `l`. A backward multiplies by its
# **transpose**, so each column of the backward's matrix must be a row of the Jacobian. A cross
# marks each entry that disagrees.

# %% tags=["hide-input"]
# Picture: four matrices of 6 × 6: the measured Jacobian, its transpose, the right backward, which
# equals the transpose, and the wrong one, with crosses where it differs.
h = 0.5  # the shuffle is linear: any step is exact, and halves are exact in floating point
pixel = rng.normal(size=(1, 6, 1, 1))
units = np.eye(6).reshape(6, 1, 6, 1, 1)
jacobian = np.stack(
    [(shuffle(pixel + h * u) - shuffle(pixel - h * u)).ravel() / (2 * h) for u in units], axis=1
)
backwards = {
    "right backward": np.stack([right_vjp(u, pixel).ravel() for u in units], axis=1),
    "wrong backward": np.stack([wrong_vjp(u, pixel).ravel() for u in units], axis=1),
}

figure, row = plt.subplots(1, 4, figsize=(14, 3.9), layout="constrained")
pictures = {"Jacobian, measured": jacobian, "its transpose": jacobian.T, **backwards}
for axes, (name, matrix) in zip(row, pictures.items(), strict=True):
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1.4)
    axes.set_title(name)
    axes.set(
        xticks=range(6), yticks=range(6), xlabel="goes in: channel", ylabel="comes out: channel"
    )
    axes.hlines(np.arange(0.5, 5), -0.5, 5.5, color="0.85", linewidth=0.8)
    axes.vlines(np.arange(0.5, 5), -0.5, 5.5, color="0.85", linewidth=0.8)
    if name in backwards:
        for r, c in np.argwhere(~np.isclose(matrix, jacobian.T, atol=1e-12)):
            ink = "white" if matrix[r, c] else "#D55E00"
            axes.text(c, r, "X", ha="center", va="center", color=ink, fontsize=18)
plt.show()

# %% [markdown]
# ### Two tests that detect nothing
#
# **A plain sum as the loss.** Its gradient is `dy = 1` everywhere. A permutation of equal numbers
# changes nothing. So a sum can't detect *any* wrong permutation, not even a missing one.
#
# **Four channels in two groups.** The table is square, so the shuffle is its own inverse, and the
# wrong backward is right by chance.

# %%
ones = np.ones_like(x)
sum_sees = not np.array_equal(right_vjp(ones, x), wrong_vjp(ones, x))
print(f"loss = y.sum(): does it tell right from wrong? {sum_sees}")
assert not sum_sees

four = rng.normal(size=(2, 4, 3, 2))
verdict = gradcheck.check(shuffle, wrong_vjp, four)
print(f"wrong backward at 4 channels in 2 groups: {verdict.status}")
assert verdict.status == "pass"

print("\nc   groups for which a test can see the wrong backward")
for channels in (4, 6, 8, 9, 12, 16):
    numbers = np.arange(float(channels)).reshape(1, channels, 1, 1)
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    telling = [g for g in divisors if not np.array_equal(shuffle(shuffle(numbers, g), g), numbers)]
    print(f"{channels:<3} {telling or 'none'}")

# %% [markdown]
# So test a shuffle with a random `dy`, and with `1 < g < c` and `c/g != g`.
#
# ## Which outputs depend on which inputs?
#
# Why do networks shuffle at all? Take two group convolutions in a row (1×1, 12 channels, 3 groups).
# On which inputs does an output depend? **The backward pass answers this:** send a 1 back from one
# output, and see which inputs have a gradient other than 0.
#
# **Predict: without a shuffle, on how many of the 12 inputs does output 0 depend? And with one?**
#
# <details>
# <summary>Answer</summary>
#
# Without a shuffle: on the 4 inputs of its own group, however many layers there are. With a
# shuffle: on all 12. After the shuffle each group of 4 channels contains channels of all 3 groups,
# because `c/g = 4` is at least `g = 3`.
#
# </details>

# %%
channels, groups = 12, 3
first, second = rng.normal(size=(2, channels, channels // groups, 1, 1))  # two weights: o c/g 1 1


def reach(*, with_shuffle: bool) -> np.ndarray:
    """Entry (k, l): does output k of the two layers depend on input l?"""
    x = rng.normal(size=(1, channels, 1, 1))
    middle, first_cache = ops.pointwise_conv2d_forward(x, first, groups=groups)
    if with_shuffle:
        middle, shuffle_cache = ops.channel_shuffle_forward(middle, groups)
    _, second_cache = ops.pointwise_conv2d_forward(middle, second, groups=groups)

    rows = []
    for dy in np.eye(channels).reshape(channels, 1, channels, 1, 1):  # a 1 at one output
        dmiddle, *_ = ops.pointwise_conv2d_backward(dy, second_cache)
        if with_shuffle:
            dmiddle = ops.channel_shuffle_backward(dmiddle, shuffle_cache)
        dx, *_ = ops.pointwise_conv2d_backward(dmiddle, first_cache)
        rows.append(dx.ravel() != 0)
    return np.array(rows)


apart, together = reach(with_shuffle=False), reach(with_shuffle=True)
print(
    f"inputs that output 0 depends on: {apart[0].sum()} without a shuffle, {together[0].sum()} with"
)
assert apart.sum(axis=1).tolist() == [4] * 12
assert together.all()

# %% tags=["hide-input"]
# Picture: which of 12 input channels reaches which output through two group convolutions: only
# blocks along the diagonal without a shuffle, everything with one.
figure, row = plt.subplots(1, 2, figsize=(9, 4.3), layout="constrained")
for axes, (name, matrix) in zip(
    row, {"no shuffle": apart, "shuffle": together}.items(), strict=True
):
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1.4)
    axes.set(xlabel="input channel", ylabel="output channel", xticks=range(12), yticks=range(12))
    axes.set_title(f"two group convolutions, {name}")
    axes.hlines(np.arange(0.5, 11), -0.5, 11.5, color="0.85", linewidth=0.8)
    axes.vlines(np.arange(0.5, 11), -0.5, 11.5, color="0.85", linewidth=0.8)
plt.show()

# %% [markdown]
# Here is a whole unit of ShuffleNet V1, channel by channel. The shuffle lies between its two group
# convolutions. Hover over an output at the bottom, and follow the highlighted paths: they lead to
# both halves of the input, except where a ReLU stops them. (The colour of a channel shows its
# group.)

# %%
plots.unit_channels(nn.ShuffleNetV1Unit(24, 24, groups=2, stride=1), 24, seed=3)

# %% [markdown]
# The paper measured the effect on ImageNet (V1, table 3): ShuffleNet 1× with 3 groups has an error
# of 34.5 % without the shuffle, and of 32.6 % with it.
#
# ## What it costs
#
# A shuffle does no multiplication and no addition, so the papers count 0 FLOPs (multiply-adds) for
# it. But it reads every number once and writes it once, so it isn't free. The next cell compares it
# with a plain copy and with the group convolution before it, at the size in stage 2 of V1 (3
# groups).

# %% tags=["timing"]
x = rng.normal(size=(8, 60, 28, 28)).astype(np.float32)  # the bottleneck of V1's stage 2
w = rng.normal(size=(60, 80, 1, 1)).astype(np.float32)  # 240 channels in 3 groups lead to it
before = rng.normal(size=(8, 240, 28, 28)).astype(np.float32)


def best_milliseconds(run: Callable[[], object], repeats: int = 9) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


copy_ms = best_milliseconds(x.copy)
shuffle_ms = best_milliseconds(lambda: ops.channel_shuffle_forward(x, 3))
conv_ms = best_milliseconds(lambda: ops.pointwise_conv2d_forward(before, w, groups=3))
moved = 2 * x.nbytes
conv_moved = before.nbytes + w.nbytes + x.nbytes
products = 8 * 60 * 28 * 28 * 80
print(f"{'':20} multiply-adds   MB moved       ms")
print(f"{'copy':20} {0:13,} {moved / 1e6:10.1f} {copy_ms:8.2f}")
print(f"{'channel shuffle':20} {0:13,} {moved / 1e6:10.1f} {shuffle_ms:8.2f}")
print(f"{'group convolution':20} {products:13,} {conv_moved / 1e6:10.1f} {conv_ms:8.2f}")

# %% [markdown]
# FLOPs don't show this cost. It is guideline 4 of ShuffleNet V2: "element-wise operations are
# non-negligible".
#
# ## Recap
#
# <details>
# <summary>1. What is the backward of a shuffle with 2 groups of 58 channels each?</summary>
#
# A shuffle with 58 groups, applied to dy. (116 channels in 2 groups: the shuffle in stage 2 of
# ShuffleNet V2 1×.)
#
# </details>
#
# <details>
# <summary>2. Your test passes at 16 channels in 4 groups, dy random. What does it show?</summary>
#
# It doesn't show that the backward uses the inverse: 4 · 4 = 16, so the shuffle is its own inverse.
# Test 16 channels in 2 groups.
#
# </details>
#
# <details>
# <summary>3. Why does each gradient come back unchanged? Why are no gradients added up?</summary>
#
# Each output is a copy of one input, so its slope is 1. Exactly one output reads each input, so
# only one gradient arrives. Where several outputs read an input, as in a convolution, their
# gradients add up.
#
# </details>
#
# <details>
# <summary>4. Why does the backward not need x?</summary>
#
# The shuffle is linear, so its slope is the same everywhere. The cache holds only the number of
# groups and the shape, for checks. So the memory of x can be freed.
#
# </details>
#
# <details>
# <summary>5. A perfect riffle interleaves two halves of a deck. How many restore 52?</summary>
#
# Eight. A riffle is a shuffle with 2 groups of 26. Run the next cell.
#
# </details>

# %%
deck = np.arange(52.0).reshape(1, 52, 1, 1)
cards, riffles = shuffle(deck), 1
while not np.array_equal(cards, deck):
    cards, riffles = shuffle(cards), riffles + 1
print(f"{riffles} riffles bring 52 cards back")
