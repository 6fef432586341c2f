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
# # Lesson 9: verifying gradients
#
# **Goal**
# - Choose a step that measures a derivative well, and know the error that remains.
# - Write a gradient check that detects every bug of a collection, the zoo, and have it checked.
# - Tell a kink from a mistake, and find a mistake's cause from its pattern.

# %%
import inspect
import time
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from numpy_shufflenet import gradcheck, ops, zoo
from numpy_shufflenet.gradcheck.differences import Line
from numpy_shufflenet.zoo import score
from numpy_shufflenet.zoo.checkers import CHECKERS, Case

# Colours of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, ORANGE, RED, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"

# %% [markdown]
# ## Predict first
#
# A backward pass is a formula that somebody derived. To check it, change an input by a small `h`
# and measure the output: `(f(x + h) - f(x - h)) / 2h` approximates the slope without using the
# formula.
#
# **Is a smaller step always better? With 64-bit numbers, which step measures the slope of `sin` at
# 1 best: 1e-2, 1e-5, 1e-8 or 1e-12?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# 1e-5. With a large step the curvature of the function causes a **truncation error** of about
# `h²/6`. With a small step two numbers are subtracted that agree in nearly all digits. What remains
# is mostly rounding, and is divided by `h`: this **rounding error** is about `1e-16 / h`. Both
# errors are equal near the cube root of 1e-16. There about ten digits are correct.
#
# </details>

# %%
for h in (1e-2, 1e-5, 1e-8, 1e-12):
    slope = (np.sin(1 + h) - np.sin(1 - h)) / (2 * h)
    print(f"h = {h:.0e}: {slope:.15f}, off by {abs(slope - np.cos(1)):.0e}")
print(f"cos(1)    = {np.cos(1):.15f}")

# %% [markdown]
# ## The loop, step by step
#
# A gradient check is one loop. `y` has many entries, so first an upstream gradient `dy` (also
# called a **cotangent**) reduces them to one number: the loss `sum(dy * y)`. Then the loop moves
# every entry of `x` up and down by `h`. The change of the loss divided by `2h` must equal what the
# backward returns. Here is this loop for batch normalisation, on a tiny image.

# %%
rng = np.random.default_rng(9)
x = 2 + 3 * rng.normal(size=(2, 2, 2, 3))
gamma, beta = rng.normal(size=(2, 2))
y, cache = ops.batch_norm_forward(x, gamma, beta)
dy = rng.normal(size=y.shape)
analytic, _, _ = ops.batch_norm_backward(dy, cache)


def loss(x: np.ndarray) -> float:
    return float((dy * ops.batch_norm_forward(x, gamma, beta)[0]).sum())


h, numeric, rows = 1e-5, np.empty_like(x), []
for index in np.ndindex(x.shape):
    moved = np.zeros_like(x)
    moved[index] = h
    numeric[index] = (loss(x + moved) - loss(x - moved)) / (2 * h)
    rows.append(
        f"  x{list(index)}: backward {analytic[index]:+.8f}, measured {numeric[index]:+.8f}"
    )
print(*rows[:5], f"  ... and {len(rows) - 5} more", sep="\n")
assert np.allclose(analytic, numeric, atol=1e-8)

# %% [markdown]
# The next picture shows the same loop: the gradient that the backward computes, what is measured
# after some of the steps, and the difference. A tile is a channel of an image. Grey entries have
# not been measured yet.


# %% tags=["hide-input"]
# Picture: the gradient by the backward as tiles, the same as measured after 1, 8, 16 and 24
# entries, filling up, and the difference, which is blank.
def draw_tiles(axes: Axes, image: np.ndarray, limit: float, title: str) -> None:
    """Draw (n, c, h, w): a row for each image, a tile for each channel."""
    n, c, height, width = image.shape
    sheet = np.full((n * (height + 1), c * (width + 1)), np.nan)
    for i, j in np.ndindex(n, c):
        top, left = i * (height + 1), j * (width + 1)
        sheet[top : top + height, left : left + width] = image[i, j]
    axes.set_facecolor("0.8")
    axes.imshow(sheet, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set(xticks=[], yticks=[], title=title)


limit = float(np.abs(analytic).max())
moments = (1, 8, 16, 24)
figure, row = plt.subplots(1, 2 + len(moments), figsize=(15, 2.6), layout="constrained")
draw_tiles(row[0], analytic, limit, "backward")
for axes, moment in zip(row[1:-1], moments, strict=True):
    known = np.where(np.arange(x.size).reshape(x.shape) < moment, numeric, np.nan)
    draw_tiles(axes, known, limit, f"measured: {moment} of {x.size}")
draw_tiles(row[-1], analytic - numeric, limit, "difference")
plt.show()

# %% [markdown]
# ## The picture: error against step
#
# The next picture shows the error for many steps `h`, for the same gradient, with all methods of
# the library. Read it from right to left: as `h` gets smaller, the truncation error falls with a
# power of `h`, the order of the method. Further left the rounding error is larger, and rises.
#
# - **Forward** `(f(x+h) - f(x)) / h` and **central** differences;
# - **five-point** and **Richardson** combine several steps, so that the largest truncation errors
#   cancel: a large step is precise then, and the rounding error stays small;
# - the **complex step** `Im f(x + ih) / h` subtracts nothing, so it loses no digits at a small `h`.

# %%
# Picture: error against step on logarithmic axes, a curve for each method: it falls with the step
# until rounding lets it rise again; that of the complex step falls and stays low.
verdict = gradcheck.check_pair(ops.batch_norm_forward, ops.batch_norm_backward, x, gamma, beta)
axes = verdict.plot_error_curve()
plt.show()
curve = verdict.error_curve()
for name, errors in curve.errors.items():
    print(f"{name:13} best: {errors.min():.0e} at h = {curve.steps[errors.argmin()]:.0e}")

# %% [markdown]
# The complex step needs a **holomorphic** function: one built of +, ×, exp and similar operations.
# `np.abs`, `np.var` and comparisons accept complex numbers, but give wrong slopes without an error.
# So the library first tests at this point whether the complex step is valid:

# %%
wave = rng.normal(size=6)
for name, f, vjp in (
    ("sin", lambda x: np.sin(x), lambda dy, x: dy * np.cos(x)),
    ("abs", lambda x: np.abs(x), lambda dy, x: dy * np.sign(x)),
):
    asked = gradcheck.check(f, vjp, wave, settings=gradcheck.Settings(method="complex"))
    print(f"{name}: {asked.status}, by {asked.arrays[0].method}", *asked.notes)

# %% [markdown]
# ## The library's own text
#
# The change of `y` at steps `h` and `-h` has two parts. The *odd* part is the central difference.
# The *even* part shows curvature and kinks. If the even part is 0 at a step as large as `x` itself,
# and the slope is the same at half that step, then `y` is linear along this line. The step can be
# large then, and no digits are lost.

# %%
print(inspect.getsource(Line.halves))
print(inspect.getsource(Line.affine))

# %% [markdown]
# ## Exercise: write a gradient check &#9679;&#9679;&#9675;
#
# Use these attributes and methods of `case`:
#
# - `case.y()`: the outputs, a list of arrays (most operations have only one);
# - `case.gradients(dys)`: the gradients that the backward returns for the cotangents `dys`, a list
#   of arrays;
# - `case.loss(dys, i, array)`: `sum(dy * y)`, with input number `i` replaced by `array`;
# - `case.arrays` and `case.differentiable`: the inputs, and the indices of those to check.
#
# Return `True` if the backward is right. The cell below holds a common first attempt. Run it, read
# which bug it misses and why, and correct it until it misses none.


# %% tags=["hide-input"]
# Each bug is missed by a check that has this one weakness, and by no other.
HOLES = {
    "relu/slope_one": "a plainly wrong gradient passes: is anything compared?",
    "channel_shuffle/shuffled_onwards": "a sum can't detect a wrong order: draw dy at random",
    "batch_norm/gamma_dropped": "with dy = 1 it is 0, whatever its scale: draw dy at random",
    "linear/sign_of_the_bias": "the last array is wrong: compare every array",
    "max_pool2d/winners_assigned": "few entries are wrong: compare every entry",
    "conv2d/slightly_too_large": "0.5 % too large: a central difference allows a tighter tolerance",
    "conv2d/one_weight_too_large": "one entry, by 0.02 %: every entry, at a tolerance of 1e-6",
    "dropout/scale_forgotten": "a factor is missing: compare with the size of the gradient",
}
RIGHT = ("conv2d/slightly_too_large", "batch_norm/gamma_dropped", "linear/sign_of_the_bias")


def hunt(attempt: Callable[[Case, np.random.Generator], bool]) -> bool:
    """Run an attempt on the bugs; print one of its weaknesses, and draw what it catches."""
    seeds, caught = 4, {}
    for name in RIGHT:
        for seed in range(seeds):
            try:
                right = attempt(Case(zoo.find(name), seed, right=True), np.random.default_rng(seed))
            except Exception as error:
                print(f"your check raised {error!r} on {zoo.find(name).operation}")
                return False
            if right is not True:
                print(
                    f"your check rejects {zoo.find(name).operation}, which is right (it returned "
                    f"{right!r}): is the tolerance below the error of differences?"
                )
                return False
    for name in HOLES:
        tries = [attempt(Case(zoo.find(name), s), np.random.default_rng(s)) for s in range(seeds)]
        caught[name] = tries.count(False) / seeds
    escaped = [name for name, share in caught.items() if share < 1]
    draw_score(caught)
    if escaped:
        print(f"{escaped[0]} is missed: {zoo.find(escaped[0]).summary}\nWhy: {HOLES[escaped[0]]}.")
        return False
    print(
        f"No bug is missed, and nothing right is rejected: {len(caught)} bugs, "
        f"{seeds} examples each."
    )
    return True


def draw_score(caught: dict[str, float]) -> None:
    """Draw, for each bug, the share of its examples on which it is caught, and the target, 1."""
    _, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    names = list(caught)[::-1]
    shares = [caught[name] for name in names]
    axes.barh(names, [1] * len(names), color="0.9", label="target")
    axes.barh(
        names, shares, color=[GREEN if s == 1 else RED for s in shares], height=0.5, label="yours"
    )
    axes.set(xlim=(0, 1), xlabel="share of the examples on which the bug is caught")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    plt.show()


# %% tags=["exercise", "raises-exception"]
# Picture: a bar for each bug: the share of its examples on which it is caught.
def my_check(case: Case, rng: np.random.Generator) -> bool:
    dys = [np.ones_like(y) for y in case.y()]
    gradients = case.gradients(dys)
    for i in case.differentiable:
        index = tuple(int(rng.integers(size)) for size in case.arrays[i].shape)
        step = np.zeros_like(case.arrays[i])
        step[index] = 1e-5
        above = case.loss(dys, i, case.arrays[i] + step)
        below = case.loss(dys, i, case.arrays[i] - step)
        if abs((above - below) / 2e-5 - gradients[i][index]) > 1e-2:
            return False
    return True


assert hunt(my_check)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# How does the sum of all outputs of a *permutation* depend on their order? What is the sum of the
# outputs of a batch normalisation? Choose a `dy` that is different for each output.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# If 1 of 400 entries is wrong, a random entry finds it with probability 1/400. `np.ndindex(shape)`
# goes through all entries.
#
# </details>
#
# <details>
# <summary>Hint 3</summary>
#
# A difference of 1e-2 is small for a gradient of 1000, and huge for one of 1e-3. Compare the
# difference with the largest gradient of the array. Central differences reach 1e-6 of it.
#
# </details>
#
# **Solution:** open the next cell.


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
# Picture: a bar for each bug: the share of its examples on which it is caught, all of them full.
def solved_check(case: Case, rng: np.random.Generator) -> bool:
    dys = [np.asarray(rng.normal(size=y.shape))[()] for y in case.y()]
    gradients = case.gradients(dys)
    for i in case.differentiable:
        allowed = 1e-6 * np.abs(gradients[i]).max() + 1e-8
        for index in np.ndindex(case.arrays[i].shape):
            step = np.zeros_like(case.arrays[i])
            step[index] = 1e-5
            above = case.loss(dys, i, case.arrays[i] + step)
            below = case.loss(dys, i, case.arrays[i] - step)
            if abs((above - below) / 2e-5 - gradients[i][index]) > allowed:
                return False
    return True


assert hunt(solved_check)

# %% [markdown]
# ### Why each part is needed
#
# How often do weaker checks, which are in common use, catch the same bugs? Each of them is a few
# lines in `zoo.checkers`. `numpy-shufflenet zoo` prints the table for the whole zoo.

# %% tags=["hide-input"]
# Picture: a table of bugs by kinds of checks: each weaker check misses some, and the library's
# column is 100 % throughout.
styles = score.weaker_styles()
table = np.array(
    [[score.style_catches(s, zoo.find(n), 2).good / 2 for s in styles] + [1.0] for n in HOLES]
)
for name in HOLES:
    assert score.catches(zoo.find(name), 2).all_good
figure, axes = plt.subplots(figsize=(11, 3.8), layout="constrained")
axes.imshow(table, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
for r, c in np.ndindex(table.shape):
    axes.text(c, r, f"{table[r, c]:.0%}", ha="center", va="center")
axes.set_xticks(range(len(styles) + 1), [*(s.name for s in styles), "the library"])
axes.set_yticks(range(len(HOLES)), list(HOLES))
axes.tick_params(length=0)
axes.set_title("share of examples on which the bug is caught")
plt.show()
for style in (*styles, CHECKERS["relative error below one"]):
    print(f"{style.name}: {style.summary}")

# %% [markdown]
# ## Kinks
#
# ReLU has no derivative at 0, and a max pool has none where the largest values are equal. Such a
# point is a **kink**. **Predict: what does a central difference measure for ReLU at exactly 0? Is
# the backward, which returns 0 there, wrong?**
#
# <details>
# <summary>Answer</summary>
#
# It measures 1/2, the mean of the slopes on both sides, for any step. Neither value is wrong,
# because there is no derivative. A check that doesn't know kinks raises a false alarm here. A check
# that accepts every entry like this misses bugs. So a check must *detect* kinks, leave them out,
# and count them.
#
# </details>

# %%
pixels = rng.normal(size=(4, 10))
pixels[1, 3] = 0
at_kink = gradcheck.check_pair(ops.relu_forward, ops.relu_backward, pixels, per_entry=True)
print(at_kink)
(kink,) = at_kink.kinks
print(f"\n{kink}\nseen by: {', '.join(kink.detectors)}")
assert at_kink.status == "pass"

# %% [markdown]
# Three detectors examine each output separately, so that two kinks can't cancel each other:
#
# | detector | smooth | kink |
# |---|---|---|
# | **slopes**: right minus left, extrapolated to `h = 0` | 0 | the jump |
# | **parabola** fitted to five points: the residual | shrinks with `h` | stays |
# | **winners**: the mask of a ReLU, the winner of a pool | the same at `-h` and `h` | differ |

# %% tags=["hide-input"]
# Picture: left, a smooth curve and one with a kink; in the middle, right minus left slope against
# the step, which vanishes for the smooth one alone; right, the residual of a parabola, likewise.
steps = 2.0 ** -np.arange(1, 9)
t = np.linspace(-1, 1, 201)
curves = {
    "smooth: sin(t) + cosh(t)": lambda t: np.sin(t) + np.cosh(t) - 1,
    "kink: sin(t) + |t|": lambda t: np.sin(t) + np.abs(t),
}
figure, row = plt.subplots(1, 3, figsize=(13, 3.4), layout="constrained")
for (name, function), colour in zip(curves.items(), (BLUE, RED), strict=True):
    row[0].plot(t, function(t), color=colour, label=name)
    jumps = [(function(s) + function(-s) - 2 * function(0.0)) / s for s in steps]
    row[1].loglog(steps, np.abs(jumps), "o-", color=colour)
    five = [
        function(s) - 4 * function(s / 2) + 6 * function(0.0) - 4 * function(-s / 2) + function(-s)
        for s in steps
    ]
    row[2].loglog(steps, np.maximum(np.abs(five) / steps, 1e-16), "o-", color=colour)
row[0].legend()
row[0].set(xticks=[-1, 0, 1], xlabel="t")
row[1].set(title="slopes: right minus left", xlabel="h")
row[2].set(title="residual of the parabola / h", xlabel="h")
plt.show()

# %% [markdown]
# ## Bugs of the zoo, and their causes
#
# The zoo holds wrong backwards from published code. Each is a small diff of the right code. Here is
# one. **Look at the heat map first. What went wrong?** White entries are right. At dark red ones
# the error is as large as the gradient.

# %%
caught = score.check(zoo.find("conv2d/last_column_forgotten"), 0)
caught

# %% [markdown]
# <details>
# <summary>Answer</summary>
#
# Only the last two columns of each channel are wrong. The contribution of the last column of
# outputs is missing: a loop stops one step too early.
#
# </details>
#
# `explain()` recognises such patterns: a constant ratio, the right numbers in another order, errors
# at the border only, entries that should be 0. If the map alone isn't enough, it compares the whole
# Jacobians, which show what each output sends back to each input.

# %%
print(caught.explain(), "\n")
suspects = (
    "batch_norm/gamma_dropped",
    "batch_norm/mean_term_dropped",
    "channel_split/parts_in_reverse",
    "conv2d/kernel_not_flipped",
    "relu/slope_one",
    "conv2d/stride_forgotten",
)
for name in suspects:
    found = score.check(zoo.find(name), 0).explain()
    print(f"{name}: {found.family} ({found.hint or 'none of the other patterns fits'})")
    assert found.family == zoo.find(name).cause

# %% [markdown]
# No gradient check can detect a wrong *forward* whose backward agrees with it: that backward is the
# right gradient of another function. Only a comparison with an independent forward shows the
# mistake.

# %%
for bug in score.part("b"):
    example = bug.example(0)
    y, _ = bug.forward(*example.arrays, **example.hyperparameters)
    expected, _ = bug.right[0](*example.arrays, **example.hyperparameters)
    print(f"{score.check(bug, 0).status}: {bug.summary} Off by {np.abs(y - expected).max():.2f}")

# %% [markdown]
# ## What it costs
#
# Every entry takes at least two forwards. But one random **direction** `v` tests all entries at
# once: the difference along `v` must equal `<gradient, v>`. So the library uses directions to
# detect a mistake, and single entries only to locate it. Where `y` is linear in an array, no small
# step is needed: the adjoint identity `<A v, dy> = <v, A^T dy>` of lesson 3 holds up to rounding.

# %% tags=["timing"]
image, w = rng.normal(size=(2, 4, 6, 6)), rng.normal(size=(4, 4, 3, 3))
pair = ops.conv2d_forward, ops.conv2d_backward
five_point = gradcheck.Settings(method="five-point")
print(f"{'':34} forwards      ms   precision")
for name, options in (
    ("directions, adjoint identity", {}),
    ("directions, five-point", {"settings": five_point}),
    ("every entry, complex step", {"per_entry": True}),
    ("every entry, five-point", {"per_entry": True, "settings": five_point}),
):
    start = time.perf_counter()
    timed = gradcheck.check_pair(*pair, image, w, None, padding=1, **options)
    milliseconds = 1000 * (time.perf_counter() - start)
    print(f"{name:34} {timed.evaluations:8} {milliseconds:7.0f} {timed.precision:11.0e}")
    assert timed.passed

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Why not the smallest step?</summary>
#
# Because `f(x + h)` and `f(x - h)` then agree in nearly all digits. Their difference is mostly
# rounding, and the division by `h` makes it large.
#
# </details>
#
# <details>
# <summary>2. Your loss is a sum of all outputs, and the check passes. What does it show?</summary>
#
# It shows little: with `dy = 1` every permutation has the same gradient, and the dx of batch
# normalisation is 0 for every gamma. Use a random `dy`.
#
# </details>
#
# <details>
# <summary>3. In float32, how many digits can a difference confirm?</summary>
#
# Four or five: eps is 1e-7, and central differences reach an error of about eps^(2/3). So check
# gradients in float64, and then compare float32 with float64.
#
# </details>
#
# <details>
# <summary>4. A check passes, with 2 of 100 entries on kinks. Is the gradient right?</summary>
#
# It is right for 98 entries. The other two lie where there is no derivative: move the point a
# little, and check them, too. If more than 5 % of the entries lie on kinks, the library doesn't say
# "pass".
#
# </details>
#
# <details>
# <summary>5. Why can't a gradient check catch a wrong forward with a matching backward?</summary>
#
# The differences measure the same wrong forward, so both sides agree. Compare outputs with an
# independent implementation.
#
# </details>
