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
# # Lesson 14: training both on real images
#
# **Goal**
# - Take the training loop apart, and climb the ladder of checks before you trust it.
# - Train V1 and V2 of equal cost side by side, and tell a difference from chance.
# - Look at what they have learned to see, and at what the shuffle has to do with it.

# %%
import inspect
import time

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import ProgressBar, display

from numpy_shufflenet import (
    backend,
    data,
    exercises,
    gradcheck,
    models,
    ops,
    plots,
    timing,
    training,
)

# %% [markdown]
# ## Predict first
#
# Ten classes, and a network whose weights are still random.
#
# **1. What is its loss (cross-entropy in nats), and how many images does it classify rightly?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# It gives each class about 1/10, so the loss is about -log(1/10) = log 10 = 2.30, and it is right
# about one time in ten. A first loss of 5, or of 0.7, means a mistake somewhere: look for it before
# you train.
#
# </details>
#
# **2. V1 (3 groups) and V2 with the same number of multiply-adds: which is better after a few
# minutes on a laptop, and by how much?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# On ImageNet at about 140 M multiply-adds the papers print an error of 32.6 % for V1 with 3 groups
# and 30.6 % for V2. Below we find out what a few seeds on small images say. They may say the
# opposite, or nothing: then "cannot tell" is the right answer.
#
# </details>
#
# ## The images
#
# Fashion-MNIST, 28 × 28 pixels, ten kinds of clothes: a part of it comes with the package.

# %%
train_set, test_set = data.load_embedded()
standardise = data.channel_statistics(train_set.images)  # mean and deviation of training images
CLASSES = train_set.classes
print(train_set, test_set, standardise, sep="\n")

# %% tags=["hide-input"]
# Picture: four images of each of the ten classes of Fashion-MNIST, a class a column: ten kinds of
# clothes, shoes and bags, light on black.
figure, grid = plt.subplots(4, 10, figsize=(10, 4.4), layout="constrained")
for label, column in enumerate(grid.T):
    for axes, number in zip(column, np.flatnonzero(train_set.labels == label), strict=False):
        axes.imshow(train_set.images[number, 0], cmap="gray")
        axes.set(xticks=[], yticks=[])
    column[0].set_title(CLASSES[label], size=9)
plt.show()

# %% [markdown]
# ## Two networks of equal cost
#
# At half of the width, with a stem for small images, they differ by 2 % in multiply-adds. Mind
# that V2 has more parameters: 1024 channels before its classifier cost little and hold much.


# %%
def build(name, seed=0):
    """V1 with 3 groups, the same without its shuffle, or V2."""
    settings = {"scale": 0.5, "stem": "small", "in_channels": 1, "num_classes": 10, "seed": seed}
    if name == "V2":
        return models.shufflenet_v2(**settings)
    return models.shufflenet_v1(groups=3, shuffle=name == "V1", **settings)


NAMES = ("V1", "V2")
networks = {name: build(name) for name in NAMES}
for name, model in networks.items():
    table = models.summary(model, (1, 28, 28))
    print(
        f"{name}: {table.multiply_adds / 1e6:.2f} M multiply-adds, {table.parameters:,} parameters"
    )

# %% [markdown]
# ## The loop, taken apart
#
# Training is one step, again and again:
#
# 1. **forward**: images in, a number ("logit") for each class out;
# 2. **loss**: how surprised the network is by the labels;
# 3. **backward**: the gradient of the loss for every parameter, by the chain rule;
# 4. **update**: move every parameter a little against its gradient.
#
# Here is one, on 32 images, by hand. Afterwards the loss *of these images* is lower.

# %%
model = build("V2")
x, labels = standardise(train_set.images[:32]), train_set.labels[:32]

logits = model.forward(x, training=True)  # 1
loss, cache = ops.softmax_cross_entropy_forward(logits, labels)  # 2
dlogits = ops.softmax_cross_entropy_backward(1.0, cache)
model.zero_gradients()
model.backward(dlogits, input_gradient=False)  # 3: nobody asks for the gradient of the images
gradients = model.gradients()
for name, p in model.parameters().items():  # 4
    p -= 0.05 * gradients[name]

after, _ = ops.softmax_cross_entropy_forward(model.forward(x, training=True), labels)
model.release()  # there is no backward for this forward
print(f"images {x.shape} -> logits {logits.shape} -> loss {loss:.3f}")
print(f"{len(gradients)} gradients; after one step the loss is {after:.3f}")
assert after < loss

# %% [markdown]
# Where does the gradient start? At the logits: for an image it is the probabilities, minus 1 at
# the label, over the batch. **Backward**, and hover: the right class is pulled up, all others are
# pushed down, and each row adds up to 0.

# %%
plots.step_through(
    "softmax_cross_entropy", np.array([[2.0, 1.0, -1.0], [0.0, 0.5, 0.0]]), np.array([0, 2])
)

# %% [markdown]
# ### The update: SGD with momentum
#
# The batch is a small sample, so its gradient is noisy; and a valley is steep across and flat
# along. **Momentum** remembers: v is a sum of all gradients so far, older ones fading. What points
# the same way each time adds up, what goes to and fro cancels out:
#
#     v <- mu v + g          p <- p - eta v
#
# In a valley 20 times as steep across as along, 30 steps of the same size:


# %% tags=["hide-input"]
# Picture: two paths of 30 steps from above into a narrow valley. Without momentum it creeps along
# the bottom; with momentum it goes to and fro at first, and ends nearer to the minimum.
def valley_path(momentum, rate=0.04, steps=30):
    p, v = np.array([-4.0, 1.0]), np.zeros(2)
    path = [p]
    for _ in range(steps):
        v = momentum * v + np.array([1.0, 20.0]) * p  # the gradient of (p0² + 20 p1²) / 2
        p = p - rate * v
        path.append(p)
    return np.array(path)


figure, axes = plt.subplots(figsize=(8.4, 3.0), layout="constrained")
across, along = np.meshgrid(np.linspace(-4.5, 2, 80), np.linspace(-1.4, 1.4, 60))
axes.contour(across, along, across**2 + 20 * along**2, levels=12, colors="0.75", linewidths=0.8)
for momentum, style, colour in ((0.0, "o-", "#0072B2"), (0.7, "s--", "#D55E00")):
    path = valley_path(momentum)
    far = np.hypot(*path[-1])
    label = f"momentum {momentum}: {far:.2f} from the minimum"
    axes.plot(*path.T, style, color=colour, markersize=3.5, linewidth=1, label=label)
axes.plot(0, 0, "k*", markersize=10)
axes.set(xlabel="flat direction", ylabel="steep direction")
axes.legend(loc="lower right", fontsize=9)
plt.show()

# %% [markdown]
# ### Exercise: a step of SGD &#9679;&#9675;&#9675;
#
# Given a parameter p, its gradient g, and v from the step before, return the new `(p, v)`, as in
# the formula above (`learning_rate` is η, `momentum` is μ). If you like, take `weight_decay`, too:
# it adds weight_decay · p to g, for arrays of more than one axis; or `nesterov`.


# %% tags=["exercise", "raises-exception"]
def my_sgd_step(p, g, v, learning_rate, momentum):
    raise NotImplementedError  # your code here


exercises.check("sgd_step", my_sgd_step)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First the new v, then p, which moves by the *new* v.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Make new arrays: `v = momentum * v + g`, and not `v += ...`, which would write into the caller's.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_sgd_step(p, g, v, learning_rate, momentum, nesterov, weight_decay):
    if p.ndim > 1:
        g = g + weight_decay * p
    v = momentum * v + g
    return p - learning_rate * (g + momentum * v if nesterov else v), v


exercises.check("sgd_step", solved_sgd_step)

# %% [markdown]
# ### The learning rate: a warm-up and a fall
#
# At first, gradients are large and point anywhere; at the end, a large step only jumps to and fro
# over the minimum. So the rate rises for a while, then falls to 0. Both papers let it fall in a
# straight line; along a cosine it stays high for longer.

# %%
# Picture: the learning rate of 100 steps. Both schedules rise over the first ten; then one falls to
# 0 in a straight line, and the other along half a cosine.
figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for schedule, style in (
    (training.linear_schedule(0.05, 100, 10), "--"),
    (training.cosine_schedule(0.05, 100, 10), "-"),
):
    rates = [schedule(step) for step in range(101)]
    axes.plot(rates, style, label=f"{schedule.shape}: {schedule.describe()}")
axes.set(xlabel="step", ylabel="learning rate", ylim=(0, 0.068))
axes.legend(frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# ### Exercise: a cosine schedule &#9679;&#9679;&#9675;
#
# Return the learning rate of a `step`, counted from 0. For the first `warmup` steps it rises in a
# straight line, so that step 0 has peak / warmup and step warmup - 1 has the peak. Then it falls
# along half a cosine: peak (1 + cos(π t)) / 2, where t goes from 0 to 1 at step `steps`.


# %% tags=["exercise", "raises-exception"]
def my_schedule(step, peak, steps, warmup):
    raise NotImplementedError  # your code here


exercises.check("cosine_schedule", my_schedule, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Step 0 should already move something: the rise is (step + 1) / warmup.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# After the warm-up there are steps - warmup left, of which step - warmup are done.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_schedule(step, peak, steps, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / (steps - warmup)
    return peak * (1 + np.cos(np.pi * t)) / 2


exercises.check("cosine_schedule", solved_schedule)

# %% [markdown]
# ## The library's own text
#
# One step of the library's `Trainer`. It is your four lines, and two things more: a batch may go
# through in parts, where memory is short; and a loss that isn't finite stops the training at once.

# %%
print(inspect.getsource(training.Trainer._run_step))
print(inspect.getsource(training.SGD.step))

# %% [markdown]
# ## The sanity ladder
#
# Hours of training on a broken network teach it something, too; that is what makes mistakes so hard
# to see. Climb three rungs before each training. They take seconds.
#
# **Rung 1: the loss at the start.** You have predicted it.

# %%
x, labels = standardise(train_set.images[:256]), train_set.labels[:256]
for name, model in networks.items():
    logits = model.forward(x, training=True)
    model.release()
    loss, _ = ops.softmax_cross_entropy_forward(logits, labels)
    rate = (logits.argmax(axis=1) == labels).mean()
    print(f"{name}: loss {loss:.3f}, log 10 = {np.log(10):.3f}, {rate:.0%} right")
    assert abs(loss - np.log(10)) < 0.2

# %% [markdown]
# **Rung 2: overfit a few images.** A network that can't learn 20 images by heart has a mistake, or
# a learning rate that doesn't fit. (The running statistics of batch normalisation need more steps
# than that: so look at training mode.)


# %%
# Picture: the loss on 20 images against the step, in logarithms, for V1 and V2: both fall from 2.3
# to a hundredth of that within 30 steps.
def overfit(model, count=20, steps=30, rate=0.01):
    """Return the loss of each step, and how many images are right at the end."""
    x, labels = standardise(train_set.images[:count]), train_set.labels[:count]
    optimiser = training.SGD(model, learning_rate=rate, momentum=0.9)
    losses = []
    for _ in range(steps):
        logits = model.forward(x, training=True)
        loss, cache = ops.softmax_cross_entropy_forward(logits, labels)
        model.zero_gradients()
        model.backward(ops.softmax_cross_entropy_backward(1.0, cache), input_gradient=False)
        optimiser.step()
        losses.append(float(loss))
    return losses, int((logits.argmax(axis=1) == labels).sum())


figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for name, style in (("V1", "--"), ("V2", "-")):
    losses, right = overfit(build(name))
    print(f"{name}: loss {losses[0]:.2f} -> {losses[-1]:.4f}, {right} of 20 right")
    assert right == 20
    axes.semilogy(losses, style, label=name)
axes.set(xlabel="step", ylabel="loss on 20 images")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# Run it with `rate=0.05`: V1's loss shoots up in the first steps, before it falls. That is what a
# warm-up is for.
#
# ## The gradient check
#
# **Rung 3: are the gradients right?** `gradcheck.check_model` compares entries of every parameter
# of the network with differences, in float64 and training mode, with real images and the loss that
# will be trained (images of half the size, to save time).


# %%
def half_size(dataset, count):
    """The first images, each pixel the mean of 2 × 2."""
    images = dataset.images[:count].astype(np.float64).reshape(count, 1, 14, 2, 14, 2)
    small = np.rint(images.mean(axis=(3, 5))).astype(np.uint8)
    return data.Dataset(small, dataset.labels[:count], dataset.classes)


few = half_size(train_set, 3)


def check_network(name):
    verdict = gradcheck.check_model(
        build(name), standardise(few.images, np.float64), few.labels, entries=1
    )
    worst = max(verdict.rows, key=lambda row: row.difference / row.allowed)
    print(f"{name}: {verdict.status}, {len(verdict.rows)} tensors, {verdict.kinks} kinks")
    print(f"   nearest to its limit: {worst.name}, {worst.difference:.1e} of {worst.allowed:.1e}")
    assert verdict.passed
    return verdict


# %% tags=["long"]
verdicts = {"V1": check_network("V1")}

# %% tags=["long"]
verdicts["V2"] = check_network("V2")

# %% [markdown]
# And as a heat map: the gradient of the loss for every *pixel*, through the whole of V2. Left by
# one backward, in the middle by differences, pixel by pixel. (In evaluation mode, of one image;
# some forwards in training mode have measured the statistics of batch normalisation before.)

# %%
model = build("V2")
for _ in range(40):
    model.forward(standardise(half_size(train_set, 64).images), training=True)
    model.release()
at = {np.dtype(kind): model.astype(kind) for kind in (np.float32, np.float64)}
one_label = few.labels[:1]


def loss_of(x):
    logits = at[x.dtype].forward(x)
    at[x.dtype].release()
    return ops.softmax_cross_entropy_forward(logits, one_label)[0]


def loss_backward(dy, x):
    _, cache = ops.softmax_cross_entropy_forward(at[x.dtype].forward(x), one_label)
    return at[x.dtype].backward(ops.softmax_cross_entropy_backward(dy, cache))


# %% tags=["long"]
verdict = gradcheck.check(
    loss_of, loss_backward, standardise(few.images[:1], np.float64), per_entry=True
)
print(verdict)
assert verdict.passed
plots.gradient_map(verdict)

# %% [markdown]
# ## Side by side
#
# Both on the same 2000 images in the same order, mirrored at random; 3 epochs, batches of 32, SGD
# with Nesterov's momentum, a cosine after a warm-up. After each epoch, 500 test images; at the
# end, all 2000.
#
# **A trap:** the learning rate. Of 0.01, 0.02 and 0.05, tried once with seed 0, the smallest is the
# best for both networks. But V2 bears larger ones: at 0.05 V1's loss jumps to nearly 50, and it
# ends nine points lower than at 0.01, V2 two. Who takes that rate for both "shows" that V2 is
# better, and has compared a rate, not two networks.
#
# **Predict: which learns faster by the step? And by the second?**

# %%
EPOCHS, BATCH, RATE = 3, 32, 0.01


class Bar(training.Observer):
    """A progress bar in the notebook: an observer is told of every step."""

    def begin(self, trainer):
        self.bar = iter(ProgressBar(trainer.epochs * trainer.steps_per_epoch))

    def step(self, trainer, report):
        next(self.bar)

    def epoch(self, trainer, record):
        print(training.progress.describe_epoch(record, trainer.epochs).rpartition(";")[0])


def train(model, rate, images, test_images=None, seed=0, observers=()):
    """Train a model, and return its history."""
    steps = EPOCHS * training.steps_per_epoch(len(images), BATCH)
    optimiser = training.SGD(
        model, learning_rate=rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    return training.Trainer(
        model,
        optimiser,
        images,
        test_images,
        epochs=EPOCHS,
        batch_size=BATCH,
        schedule=training.cosine_schedule(rate, steps, warmup=steps // 10),
        standardise=standardise,
        augmentation={"flip": True, "crop_padding": 0},
        seed=seed,
    ).run(observers)


seen = train_set.subset(np.arange(2000))
some_test = test_set.subset(np.arange(500))
history = {}

# %% tags=["long"]
history["V1"] = train(networks["V1"], RATE, seen, some_test, observers=[Bar()])

# %% tags=["long"]
history["V2"] = train(networks["V2"], RATE, seen, some_test, observers=[Bar()])

# %%
plots.learning_curves(history)

# %% [markdown]
# The dashed training accuracy is a mean over the epoch, of a network that was still learning: so
# the test accuracy after the epoch may lie above it. When it falls behind for good, the network
# learns by heart.

# %% tags=["long"]
found = {name: training.evaluate(model, test_set, standardise) for name, model in networks.items()}
for name, result in found.items():
    low, high = plots.wilson_interval(int(np.trace(result.confusion)), len(test_set))
    print(f"{name}: {result.accuracy:.1%} of 2000 test images right (95 % interval {low:.1%} to "
          f"{high:.1%}), loss {result.loss:.3f}")  # fmt: skip

# %% [markdown]
# Mind what this interval says: how far off the rate may be since there are only 2000 test images.
# It doesn't say what another *training*, with other random weights, would give. To that we come
# below.
#
# ### Exercise: a confusion matrix &#9679;&#9679;&#9675;
#
# Who is taken for whom? Return an array of (classes, classes) whose entry [i, j] is the number of
# images with label i that were predicted as j.


# %% tags=["exercise", "raises-exception"]
def my_confusion_matrix(labels, predictions, classes):
    raise NotImplementedError  # your code here


exercises.check("confusion_matrix", my_confusion_matrix, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# A loop over `zip(labels, predictions)` will do.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Without a loop: `counts[labels, predictions] += 1` adds 1 but once to each entry, however often it
# occurs. `np.add.at(counts, (labels, predictions), 1)` adds for each. It is the same trap as in the
# backward of a max pool whose windows overlap (lesson 6).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_confusion_matrix(labels, predictions, classes):
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predictions), 1)
    return counts


exercises.check("confusion_matrix", solved_confusion_matrix)

# %% [markdown]
# The two networks, each with its own matrix. **Predict: which class is the worst?**

# %%
for name, result in found.items():
    counts = training.confusion_matrix(test_set.labels, result.predictions, 10)
    figure = plots.confusion_matrix(counts, CLASSES)
    figure.axes[0].set_title(f"{name}: {figure.axes[0].get_title()}")
    figure.alt = f"{name}: {figure.alt}"
    display(figure)

# %%
plots.accuracy_by_class({name: result.confusion for name, result in found.items()}, CLASSES)

# %% [markdown]
# Where intervals overlap widely, don't read anything into the order of the two.
#
# And these are the mistakes that V2 was surest of. Some labels may surprise you, too:

# %%
result = found["V2"]
wrong = np.flatnonzero(result.predictions != test_set.labels)
surest = wrong[np.argsort(-result.probabilities[wrong].max(axis=1), kind="stable")][:16]
plots.predictions(
    test_set.images[surest],
    result.predictions[surest],
    result.probabilities[surest],
    CLASSES,
    test_set.labels[surest],
)

# %%
first, second = (result.predictions != test_set.labels for result in found.values())
print(f"wrong in V1 {first.sum()}, in V2 {second.sum()}, in both {(first & second).sum()}")
print(f"if they erred independently, in both about {first.mean() * second.mean() * 2000:.0f}")

# %% [markdown]
# They err on the same images far more often than by chance: what is hard lies in the images, more
# than in the network.
#
# ## Who is better? Six seeds
#
# One training each says little: other random weights, and the order may turn round. So: six seeds,
# each with its own weights and order of images; for a laptop's sake with 1000 images of half the
# size. V1, V1 without its shuffle, and V2 see the same images in the same order, so that we may
# compare them **in pairs**, seed by seed.
#
# **Predict: do six pairs suffice to tell V2 from V1? And V1 from itself without shuffle?**

# %%
SEEDS = 6
small_train, small_test = half_size(train_set, 1000), half_size(test_set, 2000)
small_x = standardise(small_test.images)


def accuracy(model):
    right = 0
    for part in np.split(np.arange(2000), 8):
        right += (model.forward(small_x[part]).argmax(axis=1) == small_test.labels[part]).sum()
        model.release()
    return right / 2000


def train_seeds(name):
    """Train a network from each seed; return the first, and the accuracy of all."""
    kept, rates = None, []
    bar = iter(ProgressBar(SEEDS))
    for seed in range(1, SEEDS + 1):  # 0 has chosen the rate
        model = build(name, seed)
        train(model, RATE, small_train, seed=seed)
        rates.append(accuracy(model))
        kept = kept or model
        next(bar)
    print(name, " ".join(f"{rate:.1%}" for rate in rates))
    return kept, np.array(rates)


study = {}

# %% tags=["long"]
study["V1"] = train_seeds("V1")

# %% tags=["long"]
study["V1, no shuffle"] = train_seeds("V1, no shuffle")

# %% tags=["long"]
study["V2"] = train_seeds("V2")

# %% [markdown]
# The interval of the median difference is that of lesson 12: it asks only how many of the
# differences are above 0, and assumes nothing of how they are spread. With six pairs it goes from
# the least to the largest: it leaves 0 out only if all six agree, which would happen by chance one
# time in 32.


# %%
def compare(better, worse):
    """Say by how much one network is better in pairs, and whether that may be chance."""
    difference = 100 * (study[better][1] - study[worse][1])
    found = timing.median_interval(difference)
    verdict = "cannot tell"
    if found.low > 0 or found.high < 0:
        verdict = "better" if found.low > 0 else "worse"
    print(
        f"{better} against {worse}: median {found.median:+.1f} points, "
        f"95 % interval {found.low:+.1f} to {found.high:+.1f}: {verdict}"
    )
    return difference


pairs = {
    "V2 - V1": compare("V2", "V1"),
    "V1 - V1 without shuffle": compare("V1", "V1, no shuffle"),
}

# %% tags=["hide-input"]
# Picture: left, the accuracy of each training as a dot, by network, with the median. Right, the
# differences of the pairs as dots beside a line at 0: V2 less V1, and V1 less V1 without shuffle.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3.4), layout="constrained", width_ratios=(1, 1.2)
)
for place, ((_, rates), mark) in enumerate(zip(study.values(), "osD", strict=True)):
    left.plot(np.full(SEEDS, place), 100 * rates, mark, color="#0072B2", alpha=0.7)
    left.plot(place, 100 * np.median(rates), "_", color="#D55E00", markersize=36)
left.set_xticks(range(3), list(study))
left.set(ylabel="% right", xlim=(-0.5, 2.5), title="each seed, and the median")
for row, difference in enumerate(pairs.values()):
    right.plot(difference, np.full(SEEDS, row), "o", color="#0072B2", alpha=0.7)
    right.plot(np.median(difference), row, "|", color="#D55E00", markersize=30)
right.axvline(0, color="0.5")
right.set_yticks(range(2), list(pairs))
right.set(xlabel="difference in points, same seed", ylim=(1.5, -0.5), title="in pairs")
plt.show()

# %% [markdown]
# The papers' numbers are from ImageNet: V2 errs 2.0 points less than V1 with 3 groups at about
# 140 M multiply-adds (V2, table 8); and V1 with 3 groups errs 1.9 points more without its shuffle
# (V1, table 3). Here (as we ran it) six seeds tell neither. That refutes neither paper: a
# verdict holds for *these* images, this size, this rate and this short training. And "cannot tell"
# is not "equal": an advantage of a point needs more seeds to be seen.
#
# ## What they have learned to see
#
# **The first layer.** Its 3 × 3 filters look at pixels, so they can be looked at. Most have become
# edges and spots: red next to blue is a slope.

# %%
for name, model in networks.items():
    figure = plots.filters(model.parameters()["conv1.0.weight"], columns=12)
    figure.suptitle(f"{name}: {figure.get_suptitle()}", size=11)
    figure.alt = f"{name}: {figure.alt}"
    display(figure)

# %% [markdown]
# **What becomes of an image.** `model.trace` keeps every activation by name. The deeper, the
# smaller the maps, and the less they look like the picture.

# %%
ankle_boot = int(np.flatnonzero(test_set.labels == CLASSES.index("Ankle boot"))[1])
trace = networks["V2"].trace(standardise(test_set.images[[ankle_boot]]))
networks["V2"].release()
for layer in ("conv1", "stage2", "stage3"):
    maps = trace.activations[layer][0]
    asleep = (maps == 0).mean()
    shown = maps[:16]
    title = f"V2, {layer}: the first 16 of {len(maps)} channels; {asleep:.0%} of all numbers are 0"
    display(plots.activations(shown, columns=16, title=title))

# %% [markdown]
# **What each stage responds to.** Turn the question round: which of 600 test images wake up a
# channel most? Of each stage, the three channels that respond most *differently* to different
# images.


# %%
def stage_outputs(model, x):
    """The output of each part of a network, by name."""
    outputs = {}
    for name, layer in model.children().items():
        x = outputs[name] = layer.infer(x)
    return outputs


probe = test_set.subset(np.arange(600))
outputs = {
    name: stage_outputs(model, standardise(probe.images)) for name, model in networks.items()
}


def purity(responses):
    """The share of the most frequent class among the 16 strongest images of each channel."""
    strongest = np.argsort(-responses, axis=0, kind="stable")[:16]
    counts = [np.bincount(probe.labels[column]).max() for column in strongest.T]
    return np.array(counts) / 16


print("channels whose 16 strongest images are of one class mostly (12 or more):")
for name in NAMES:
    shares = []
    for layer in ("conv1", "stage2", "stage3", "stage4"):
        responses = outputs[name][layer].mean(axis=(2, 3))
        shares.append(f"{layer} {(purity(responses) >= 0.75).mean():4.0%}")
    print(f"{name}: {', '.join(shares)}")

# %%
for layer in ("conv1", "stage2", "stage4"):
    responses = outputs["V2"][layer].mean(axis=(2, 3))  # n c: how much of a channel is awake
    spread = responses.std(axis=0) / (responses.mean(axis=0) + 1e-6)
    awake = responses.mean(axis=0) > np.median(responses.mean(axis=0))
    chosen = np.argsort(-np.where(awake, spread, 0), kind="stable")[:3]
    title = f"V2, {layer}: images that a channel responds to most"
    display(plots.strongest_images(probe.images, responses, chosen, columns=10, title=title))

# %% [markdown]
# Early channels respond to brightness and edges, whatever they belong to. Do late ones respond to
# kinds of things? Look at the rows, and at the shares above: they are highest in stage 4.
#
# ### Exercise: where does covering hurt? &#9679;&#9679;&#9679;
#
# An **occlusion map** (Zeiler, Fergus, 2014) asks the network itself: cover a square of size × size
# pixels of the image, all channels, by the number `fill`; how much does the probability fall? Do it
# at every place where the square fits (one pixel apart). Each pixel of the map, (h, w), gets the
# **mean** of the falls of all squares that covered it.
#
# `image` is (c, h, w); `probability` takes a batch (n, c, h, w) and returns (n,).


# %% tags=["exercise", "raises-exception"]
def my_occlusion_map(image, probability, size, fill):
    raise NotImplementedError  # your code here


exercises.check("occlusion_map", my_occlusion_map, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Two arrays (h, w): the sum of the falls, and how many squares covered each pixel. At the end
# divide one by the other.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Cover a *copy* of the image. There are (h - size + 1) × (w - size + 1) places. `image[None]` is a
# batch of one.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_occlusion_map(image, probability, size, fill):
    _, h, w = image.shape
    whole = probability(image[None])[0]
    fallen, covered = np.zeros((2, h, w))
    for r, s in np.ndindex(h - size + 1, w - size + 1):
        hidden = image.copy()
        hidden[:, r : r + size, s : s + size] = fill
        fallen[r : r + size, s : s + size] += whole - probability(hidden[None])[0]
        covered[r : r + size, s : s + size] += 1
    return fallen / covered


exercises.check("occlusion_map", solved_occlusion_map)

# %% [markdown]
# The library's sends many covered images through the network at once. Black squares of 8 × 8 (the
# background is black), two pixels apart: red is what the network needs to see, blue what misleads
# it.

# %% tags=["long"]
BLACK = (0 - standardise.mean[0]) / standardise.std[0]


def probability_of(model, label):
    """A function from images to the probability of a class."""

    def probability(x):
        _, cache = ops.softmax_cross_entropy_forward(model.infer(x), np.full(len(x), label))
        return cache.probabilities[:, label]

    return probability


for kind in ("Sandal", "Bag", "Dress"):
    label = CLASSES.index(kind)
    sure = np.minimum(*(result.probabilities[:, label] for result in found.values()))
    of_class = np.where(test_set.labels == label, sure, 0)
    number = np.abs(of_class - 0.9).argmin()  # where both are fairly sure, and can be shaken
    image = standardise(test_set.images[[number]])[0]
    maps = {}
    for name, model in networks.items():
        probability = probability_of(model, label)
        fallen = plots.occlusion_map(probability, image, size=8, stride=2, fill=BLACK)
        maps[f"{name}, sure by {probability(image[None])[0]:.0%}"] = fallen
    display(plots.occlusion(image, maps, title=f"{kind}: where covering takes its probability"))

# %% [markdown]
# **Which classes look alike to it?** The pool before the classifier turns each image into 1024
# numbers. Take their mean over the images of each class, and correlate: classes that share features
# should be those that are confused.

# %%
features = outputs["V2"]["pool"]  # n c
centred = features - features.mean(axis=0)
means = np.array([centred[probe.labels == label].mean(axis=0) for label in range(10)])
alike = np.corrcoef(means)
display(plots.similarity(alike, CLASSES, title="V2: correlation of mean features"))

counts = found["V2"].confusion
upper = np.triu_indices(10, 1)
pairs_alike, pairs_confused = alike[upper], (counts + counts.T)[upper]
order = np.argsort(-pairs_alike, kind="stable")[:5]
for place in order:
    i, j = upper[0][place], upper[1][place]
    print(
        f"{alike[i, j]:+.2f}  {CLASSES[i]} and {CLASSES[j]}: confused {pairs_confused[place]} times"
    )
share = pairs_confused[order].sum() / pairs_confused.sum()
print(f"these 5 of 45 pairs make {share:.0%} of all mistakes")

# %% [markdown]
# ## The shuffle's part
#
# V1's groups in stage 3, from the output of its first unit to that of its last: 7 units. **Predict:
# without shuffles, where can a gradient of group 0 arrive? And what of the shuffled network?**
#
# Send gradients back from one group at a time, through the *trained* networks, and see how much
# arrives in each.


# %%
def between_groups(model, x):
    """Gradient sizes from each group (row) of the last unit to each of the first (column)."""
    units = list(model.stage3.children().values())
    for layer in (model.conv1, model.stage2, units[0]):
        x = layer.infer(x)
    table = np.zeros((3, 3))
    for group in range(3):
        y = x
        for unit in units[1:]:
            y = unit.forward(y)
        dy = np.zeros_like(y)
        third = y.shape[1] // 3
        dy[:, group * third : (group + 1) * third] = 1
        for unit in reversed(units[1:]):
            dy = unit.backward(dy)
        table[group] = np.abs(dy).reshape(len(x), 3, -1).mean(axis=(0, 2))
    return table / table.sum(axis=1, keepdims=True), y


few_x = small_x[:200]
tables, ends = {}, {}
for name in ("V1, no shuffle", "V1"):
    tables[name], ends[name] = between_groups(study[name][0], few_x)
    print(f"{name}: share of the gradient from group (row) to group (column)")
    print(np.round(tables[name], 2))
assert np.array_equal(tables["V1, no shuffle"], np.eye(3))  # exactly: not one number leaks
assert (tables["V1"] > 0).all()

# %% [markdown]
# Without a shuffle, three networks live side by side in one stage. Does it show in what they learn?
# Correlate the channels at the end of stage 3 over images, in blocks of groups. Does a channel have
# more in common with its own group?

# %%
# Picture: correlation of every channel at the end of stage 3 with every other, without shuffle and
# with it; lines part the three groups.
figure, row = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axes, (name, y) in zip(row, ends.items(), strict=True):
    channels = y.mean(axis=(2, 3))  # n c
    with np.errstate(invalid="ignore", divide="ignore"):  # a channel may be 0 everywhere
        table = np.nan_to_num(np.abs(np.corrcoef(channels.T)))
    third = len(table) // 3
    same = np.kron(np.eye(3), np.ones((third, third))).astype(bool)
    others = ~np.eye(len(table), dtype=bool)
    inside, outside = table[same & others].mean(), table[~same].mean()
    print(f"{name:15} mean |correlation| inside of groups {inside:.3f}, between them {outside:.3f}")
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
    for edge in (third - 0.5, 2 * third - 0.5):
        axes.axhline(edge, color="#D55E00", linewidth=1)
        axes.axvline(edge, color="#D55E00", linewidth=1)
    axes.set(title=name, xlabel="channel", ylabel="channel")
figure.colorbar(image, ax=list(row), fraction=0.03, label="|correlation|")
plt.show()

# %% [markdown]
# And the filters: from which groups does a unit's second group convolution get what it weighs? Its
# inputs are the bottleneck's channels, in the order that the shuffle has left.


# %%
def weight_by_source(model, shuffled):
    """Mean |weight| from the first convolution's group (column) to the second's (row), in 3.1."""
    w = model.parameters()["stage3.1.branch.6.weight"][:, :, 0, 0]  # o, m / 3
    m = 3 * w.shape[1]
    order = np.arange(float(m)).reshape(1, m, 1, 1)
    if shuffled:
        order, _ = ops.channel_shuffle_forward(order, 3)
    source = order.ravel().astype(int) // (m // 3)  # the group that made each input
    table = np.zeros((3, 3))
    for group in range(3):
        sizes = np.abs(w[group * len(w) // 3 : (group + 1) * len(w) // 3]).sum(axis=0)
        for column, size in zip(source[group * m // 3 : (group + 1) * m // 3], sizes, strict=True):
            table[group, column] += size
    return table / table.sum(axis=1, keepdims=True)


for name in ("V1, no shuffle", "V1"):
    print(f"{name}: share of the weights of each group (row) on what each group made (column)")
    print(np.round(weight_by_source(study[name][0], name == "V1"), 2))

# %% [markdown]
# With the shuffle each group weighs all three about alike: none has become a stranger. That is
# "diagonal correlation" (lesson 4), and its cure.
#
# ## What it costs
#
# A training step by its parts, and what forward keeps for backward: nearly every activation. That
# is why training needs many times the memory of inference, and why it grows with the batch.

# %% tags=["timing"]
images, labels = standardise(train_set.images[:32]), train_set.labels[:32]


def phases(model, repeats=5):
    """Milliseconds of forward, backward and update; the least of several."""
    optimiser = training.SGD(model, learning_rate=0.0, momentum=0.9)
    times = []
    for _ in range(repeats):
        model.zero_gradients()
        marks = [time.perf_counter()]
        logits = model.forward(images, training=True)
        marks.append(time.perf_counter())
        _, cache = ops.softmax_cross_entropy_forward(logits, labels)
        model.backward(ops.softmax_cross_entropy_backward(1.0, cache), input_gradient=False)
        marks.append(time.perf_counter())
        optimiser.step()
        marks.append(time.perf_counter())
        times.append(np.diff(marks))
    return 1000 * np.min(times, axis=0)


print("a step of 32 images:  forward  backward  update   kept for backward   multiply-adds forward")
for name in NAMES:
    model = build(name)
    before = backend.bytes_in_use()
    model.forward(images, training=True)
    kept = backend.bytes_in_use() - before
    model.release()
    forward, backward, update = phases(model)
    count = 32 * models.summary(model, (1, 28, 28)).multiply_adds
    print(
        f"{name:21}{forward:6.0f} ms{backward:7.0f} ms{update:5.0f} ms{kept / 1e6:14.0f} MB"
        f"{count / 1e6:20.0f} M"
    )

# %% [markdown]
# Backward has about twice the multiply-adds of forward: each convolution is needed once for dX and
# once for dW (lesson 3). Equal multiply-adds, yet not equal time nor equal memory: V1's wide
# layers, groups, additions and ReLUs move more numbers (lessons 11 and 12).
#
# ## Recap
#
# <details>
# <summary>1. The first loss of a network with 10 classes is 9.2. What now?</summary>
#
# Not log 10 = 2.3, so it is very sure of wrong answers before it has learned anything. Logits are
# too large: look at the initial weights, at the scale of the images, at batch normalisation.
#
# </details>
#
# <details>
# <summary>2. It overfits 20 images, but its gradient check fails in one tensor. Go on?</summary>
#
# No. A network learns around a wrong gradient, only worse: the checker sees it, the loss curve does
# not.
#
# </details>
#
# <details>
# <summary>3. With momentum 0.9 and a steady gradient g, how large do steps become?</summary>
#
# v tends to g (1 + 0.9 + 0.81 + ...) = 10 g: steps are ten times as long as without.
#
# </details>
#
# <details>
# <summary>4. V2 is better in one pair of trainings. What does that show?</summary>
#
# Next to nothing: one coin that fell on heads. Six of six fall on the same side by chance one time
# in 32.
#
# </details>
#
# <details>
# <summary>5. An occlusion map is blue over a part of the picture. What does it say?</summary>
#
# Covering that part made the network surer: it spoke for another class.
#
# </details>
#
# <details>
# <summary>6. Why must the map of a pixel be a mean, and not a sum?</summary>
#
# A pixel in the middle lies under more squares than one in the corner. A sum would make the middle
# look important for that alone.
#
# </details>

# %%
earned = exercises.earned()
print(f"{earned['points']:g} of {earned['of']:g} points")
