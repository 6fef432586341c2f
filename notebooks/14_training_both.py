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
# - Understand each part of the training loop, and check it in three steps before you trust it.
# - Train V1 and V2 of equal cost, and distinguish a difference from chance.
# - Look at what the networks have learned, and at the effect of the shuffle.

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
# It gives each class a probability of about 1/10. So the loss is about -log(1/10) = log 10 = 2.30,
# and it classifies about one image in ten rightly. A first loss of 5 or of 0.7 shows that there is
# a mistake somewhere: find it before you train.
#
# </details>
#
# **2. V1 (3 groups) and V2 with the same number of multiply-adds: which is better after a few
# minutes on a laptop, and by how much?**
#
# <details>
# <summary>Answer (decide before you open it)</summary>
#
# On ImageNet, at about 140 M multiply-adds, the papers print an error of 32.6 % for V1 with 3
# groups and of 30.6 % for V2. Below we train on small images with a few seeds. The result may be
# the opposite, or no clear difference: then "cannot tell" is the right answer.
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
# At half of the full width, with a stem for small images, the networks differ by 2 % in
# multiply-adds. V2 has more parameters: the layer with 1024 channels before its classifier has many
# weights but few multiply-adds.


# %%
def build(name, seed=0):
    """Return V1 with 3 groups, V1 without its shuffle, or V2."""
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
# ## The parts of the training loop
#
# Training repeats one step:
#
# 1. **forward**: images in, a number ("logit") for each class out;
# 2. **loss**: a measure of how wrong the logits are for the labels;
# 3. **backward**: the gradient of the loss for every parameter, by the chain rule;
# 4. **update**: change every parameter a little in the direction opposite to its gradient.
#
# The next cell does one step by hand, on 32 images. Afterwards the loss *of these images* is lower.

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
# The backward starts at the logits. For each image their gradient is the probabilities, minus 1 at
# the label, divided by the batch size. Hover in **Backward**: the gradient is negative for the
# right class, so an update raises its logit, and positive for all other classes. Each row adds up
# to 0.

# %%
plots.step_through(
    "softmax_cross_entropy", np.array([[2.0, 1.0, -1.0], [0.0, 0.5, 0.0]]), np.array([0, 2])
)

# %% [markdown]
# ### The update: SGD with momentum
#
# The batch is a small sample, so its gradient is noisy. And the loss is often like a narrow valley:
# steep across, and flat along its floor. **Momentum** keeps a sum v of all gradients so far, in
# which each step multiplies the older ones by μ < 1. Components with the same sign in each step add
# up. Components that change their sign cancel:
#
#     v <- mu v + g          p <- p - eta v
#
# (This is PyTorch's convention for SGD; some texts put η into the sum instead.) The next picture
# shows 30 steps with the same learning rate in a valley that is 20 times as steep across as along:


# %% tags=["hide-input"]
# Picture: two paths of 30 steps into a narrow valley. Without momentum the path moves slowly along
# the bottom; with momentum it oscillates at first, and ends nearer to the minimum.
def valley_path(momentum, rate=0.04, steps=30):
    p, v = np.array([-4.0, 1.0]), np.zeros(2)
    path = [p]
    for _ in range(steps):
        v = momentum * v + np.array([1.0, 20.0]) * p  # the gradient of (p0² + 20 p1²) / 2
        p = p - rate * v
        path.append(p)
    return np.array(path)


figure, axes = plt.subplots(figsize=(8.4, 3.0), layout="constrained")
along, across = np.meshgrid(np.linspace(-4.5, 2, 80), np.linspace(-1.4, 1.4, 60))
axes.contour(along, across, along**2 + 20 * across**2, levels=12, colors="0.75", linewidths=0.8)
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
# Given a parameter p, its gradient g, and v from the step before, return the new `(p, v)` of the
# formula above (`learning_rate` is η, `momentum` is μ). If you like, also take `weight_decay`,
# which adds weight_decay · p to g for arrays of more than one axis. Or take `nesterov`: if it is
# true, p moves by g + μ v, with the new v, instead of v.


# %% tags=["exercise", "raises-exception"]
def my_sgd_step(p, g, v, learning_rate, momentum):
    raise NotImplementedError  # your code here


exercises.check("sgd_step", my_sgd_step)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Compute the new v first. Then move p by the *new* v.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Make new arrays with `v = momentum * v + g`. `v += ...` would change the caller's array.
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
# ### The learning rate: a warm-up and a decay
#
# At first, gradients are large and change direction from step to step. At the end, large steps only
# jump over the minimum. So the learning rate rises for some steps (the **warm-up**). Then it falls
# to 0. In both papers it falls linearly. Along a cosine it stays high for longer.

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
# Return the learning rate of a `step`, counted from 0. In the first `warmup` steps the rate rises
# linearly: at step 0 it is peak / warmup, and at step warmup - 1 it is the peak. Then it falls
# along half a cosine: peak (1 + cos(π t)) / 2, where t rises from 0 at step `warmup` to 1 at step
# `steps`.


# %% tags=["exercise", "raises-exception"]
def my_schedule(step, peak, steps, warmup):
    raise NotImplementedError  # your code here


exercises.check("cosine_schedule", my_schedule, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Step 0 should already change the parameters, so the factor is (step + 1) / warmup.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# After the warm-up there are steps - warmup steps. Of these, step - warmup are done.
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
# Here is one step of the library's `Trainer`. It has the same four parts, and does three things
# more. It can split a batch into smaller parts to save memory. It stops the training if the loss
# isn't finite. And `self.share` is the part of the work that this process does: all of it, unless
# several processes train together (lesson 18).

# %%
print(inspect.getsource(training.Trainer._run_step))
print(inspect.getsource(training.SGD.step))

# %% [markdown]
# ## Three checks before training
#
# A network with a mistake often learns something, too. That makes mistakes hard to see. So make
# three checks before each training. They take seconds.
#
# **Check 1: the loss at the start.** You have predicted it.

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
# **Check 2: overfit a few images.** A network that can't memorise 20 images has a mistake, or an
# unsuitable learning rate. (The running statistics of batch normalisation need more steps than
# that, so measure in training mode.)


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
# Run it with `rate=0.05`: V1's loss rises sharply in the first steps, before it falls. A warm-up
# prevents that.
#
# ## The gradient check
#
# **Check 3: are the gradients right?** `gradcheck.check_model` compares entries of the gradient of
# every parameter with differences. It uses float64, training mode, real images and the loss of the
# training. (The images have half the size, to save time.)


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
# The next heat map shows the gradient of the loss by every *pixel*, through the whole of V2. On the
# left one backward computed it; in the middle it was measured by differences, pixel by pixel. (The
# network is in evaluation mode and sees one image. Before that, some forwards in training mode set
# the running statistics of batch normalisation.)

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
# Both networks train on the same 2000 images in the same order, mirrored at random: 3 epochs,
# batches of 32, SGD with Nesterov's momentum, a cosine schedule after a warm-up. After each epoch
# we test on 500 images, and at the end on all 2000.
#
# **A common mistake:** an unfair learning rate. Of 0.01, 0.02 and 0.05, tried once with seed 0, the
# smallest is the best for both networks. But V2 tolerates larger ones. At 0.05 V1's loss jumps to
# nearly 50, and its accuracy ends nine points lower than at 0.01; V2's ends two points lower. With
# 0.05 for both, V2 seems to be better, but such a comparison is one of learning rates, not of
# networks.
#
# **Predict: which network learns faster per step? And which per second?**

# %%
EPOCHS, BATCH, RATE = 3, 32, 0.01


class Bar(training.Observer):
    """A progress bar in the notebook: the trainer calls its observers after every step."""

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
# The dashed training accuracy is a mean over the epoch, while the network was still learning. So
# the test accuracy after the epoch may be higher. If the test accuracy stays clearly below the
# training accuracy, the network is memorising the images.

# %% tags=["long"]
found = {name: training.evaluate(model, test_set, standardise) for name, model in networks.items()}
for name, result in found.items():
    low, high = plots.wilson_interval(int(np.trace(result.confusion)), len(test_set))
    print(f"{name}: {result.accuracy:.1%} of 2000 test images right (95 % interval {low:.1%} to "
          f"{high:.1%}), loss {result.loss:.3f}")  # fmt: skip

# %% [markdown]
# This interval tells how uncertain the accuracy is because there are only 2000 test images. It
# doesn't tell what another *training*, with other random weights, would give. The section on six
# seeds measures that.
#
# ### Exercise: a confusion matrix &#9679;&#9679;&#9675;
#
# Which class is taken for which other? Return an array of shape (classes, classes), whose entry [i,
# j] is the number of images with label i that were predicted as j.


# %% tags=["exercise", "raises-exception"]
def my_confusion_matrix(labels, predictions, classes):
    raise NotImplementedError  # your code here


exercises.check("confusion_matrix", my_confusion_matrix, points=2)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# A loop over `zip(labels, predictions)` is enough.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Without a loop: `counts[labels, predictions] += 1` adds 1 only once to each entry, however often
# it occurs. `np.add.at(counts, (labels, predictions), 1)` adds 1 for each occurrence. The same
# mistake is possible in the backward of a max pool whose windows overlap (lesson 6).
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_confusion_matrix(labels, predictions, classes):
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predictions), 1)
    return counts


exercises.check("confusion_matrix", solved_confusion_matrix)

# %% [markdown]
# The next cell draws the confusion matrix of each network. **Predict: which class has the most
# mistakes?**

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
# Where the intervals of two networks overlap widely, their order means nothing.
#
# The next picture shows the mistakes to which V2 gave the highest probabilities. Some of the labels
# may surprise you, too:

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
# Both networks are wrong on the same images far more often than by chance. So the difficulty is
# mostly in the images, not in the networks.
#
# ## Which network is better? Six seeds
#
# One training of each network proves little: with other random weights the other network may win.
# So we train with six seeds, each with its own weights and order of images. To be fast enough for a
# laptop, we use 1000 images of half the size. V1, V1 without its shuffle, and V2 see the same
# images in the same order, so we can compare them **in pairs**, seed by seed.
#
# **Predict: are six pairs enough to show a difference between V2 and V1? And between V1 with and
# without its shuffle?**

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
    for seed in range(1, SEEDS + 1):  # the learning rate was chosen with seed 0
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
# The interval of the median difference is the one of lesson 12, from the sign test. It assumes
# nothing about the distribution of the differences. With six pairs it reaches from the smallest
# difference to the largest. So it excludes 0 only if all six have the same sign, which happens by
# chance one time in 32.


# %%
def compare(better, worse):
    """Print by how much one network is better in pairs, and whether that may be chance."""
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
# The papers' numbers are from ImageNet: V2 errs 2.0 points less than V1 with 3 groups at about 140
# M multiply-adds (V2, table 8); and V1 with 3 groups errs 1.9 points more without its shuffle (V1,
# table 3). In our run, six seeds can't show either difference. That doesn't contradict the papers:
# a verdict holds only for *these* images, this size, this rate and this short training. And "cannot
# tell" doesn't mean "equal": to show an advantage of one point takes more seeds.
#
# ## What the networks have learned
#
# **The first layer.** Its 3 × 3 filters act on pixels, so we can draw them like images. Most have
# become edges and spots: red next to blue means an edge.

# %%
for name, model in networks.items():
    figure = plots.filters(model.parameters()["conv1.0.weight"], columns=12)
    figure.suptitle(f"{name}: {figure.get_suptitle()}", size=11)
    figure.alt = f"{name}: {figure.alt}"
    display(figure)

# %% [markdown]
# **The activations of an image.** `model.trace` keeps every activation by name. In deeper layers
# the maps are smaller, and look less like the image.

# %%
ankle_boot = int(np.flatnonzero(test_set.labels == CLASSES.index("Ankle boot"))[1])
trace = networks["V2"].trace(standardise(test_set.images[[ankle_boot]]))
networks["V2"].release()
for layer in ("conv1", "stage2", "stage3"):
    maps = trace.activations[layer][0]
    zeros = (maps == 0).mean()
    shown = maps[:16]
    title = f"V2, {layer}: the first 16 of {len(maps)} channels; {zeros:.0%} of all numbers are 0"
    display(plots.activations(shown, columns=16, title=title))

# %% [markdown]
# **What each stage responds to.** Which of 600 test images cause the largest mean activation of a
# channel? For each stage we show the three channels that respond most *differently* to different
# images.


# %%
def stage_outputs(model, x):
    """Return the output of each part of a network, by name."""
    outputs = {}
    for name, layer in model.children().items():
        x = outputs[name] = layer.infer(x)
    return outputs


probe = test_set.subset(np.arange(600))
outputs = {
    name: stage_outputs(model, standardise(probe.images)) for name, model in networks.items()
}


def purity(responses):
    """Return each channel's share of the most frequent class among its 16 strongest images."""
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
    responses = outputs["V2"][layer].mean(axis=(2, 3))  # n c: the mean activation
    spread = responses.std(axis=0) / (responses.mean(axis=0) + 1e-6)
    active = responses.mean(axis=0) > np.median(responses.mean(axis=0))
    chosen = np.argsort(-np.where(active, spread, 0), kind="stable")[:3]
    title = f"V2, {layer}: images that a channel responds to most"
    display(plots.strongest_images(probe.images, responses, chosen, columns=10, title=title))

# %% [markdown]
# Early channels respond to brightness and edges in images of all classes. Do late channels respond
# to classes? Look at the rows, and at the shares above: they are highest in stage 4.
#
# ### Exercise: where does covering hurt? &#9679;&#9679;&#9679;
#
# An **occlusion map** (Zeiler, Fergus, 2014) shows which pixels a prediction depends on. Replace a
# square of size × size pixels of the image, in all channels, by the number `fill`, and measure by
# how much the probability falls. Do this at every position where the square fits (one pixel apart).
# Each pixel of the map, shape (h, w), is the **mean** fall over all squares that cover it.
#
# `image` has the shape (c, h, w). The function `probability` takes a batch (n, c, h, w) and returns
# an array (n,).


# %% tags=["exercise", "raises-exception"]
def my_occlusion_map(image, probability, size, fill):
    raise NotImplementedError  # your code here


exercises.check("occlusion_map", my_occlusion_map, points=3)

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Keep two arrays (h, w): the sum of the falls, and the number of squares that covered each pixel.
# At the end divide the first by the second.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Change a *copy* of the image. There are (h - size + 1) × (w - size + 1) positions. `image[None]`
# is a batch of one.
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
# The library's function sends many covered images through the network at once. Here the squares are
# black like the background, 8 × 8, and two pixels apart. Red pixels raise the probability of the
# class, and blue ones lower it.

# %% tags=["long"]
BLACK = (0 - standardise.mean[0]) / standardise.std[0]


def probability_of(model, label):
    """Return a function from images to the probability of a class."""

    def probability(x):
        _, cache = ops.softmax_cross_entropy_forward(model.infer(x), np.full(len(x), label))
        return cache.probabilities[:, label]

    return probability


for kind in ("Sandal", "Bag", "Dress"):
    label = CLASSES.index(kind)
    sure = np.minimum(*(result.probabilities[:, label] for result in found.values()))
    of_class = np.where(test_set.labels == label, sure, 0)
    number = np.abs(of_class - 0.9).argmin()  # both networks are fairly sure, but not fully
    image = standardise(test_set.images[[number]])[0]
    maps = {}
    for name, model in networks.items():
        probability = probability_of(model, label)
        fallen = plots.occlusion_map(probability, image, size=8, stride=2, fill=BLACK)
        maps[f"{name}, sure by {probability(image[None])[0]:.0%}"] = fallen
    display(plots.occlusion(image, maps, title=f"{kind}: where covering takes its probability"))

# %% [markdown]
# **Which classes look alike to the network?** The pool before the classifier turns each image into
# 1024 numbers. Take their means over the images of each class, and correlate the means of the
# classes. Classes with similar features should be the ones that are confused.

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
# ## The effect of the shuffle
#
# Take V1's stage 3, from the output of its first unit to the output of its last: 7 units.
# **Predict: without shuffles, at which groups can a gradient from group 0 arrive? And with
# shuffles?**
#
# The next cell sends gradients back from one group at a time, through the *trained* networks, and
# measures how much arrives at each group.


# %%
def between_groups(model, x):
    """Return the share of gradient from each last group (row) to each first group (column)."""
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
# Without a shuffle, a stage consists of three separate networks. Does this affect what they learn?
# Correlate the channels at the end of stage 3 over images. Is a channel more correlated with
# channels of its own group?

# %%
# Picture: correlation of every channel at the end of stage 3 with every other, without shuffle and
# with it; lines separate the three groups.
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
# Last, the weights: on the channels of which groups does a unit's second group convolution put its
# weights? Its inputs are the bottleneck's channels, in their order after the shuffle.


# %%
def weight_by_source(model, shuffled):
    """Return the share of |weight| of each second group (row) on each first group (column)."""
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
# With the shuffle each group puts about the same weight on all three. Without it, each depends on
# itself only: that is "diagonal correlation" (lesson 4), and the shuffle removes it.
#
# ## What it costs
#
# The next cell times the parts of a training step, and measures what the forward keeps for the
# backward: nearly every activation. Therefore training needs many times the memory of inference,
# and the memory grows with the batch.

# %% tags=["timing"]
images, labels = standardise(train_set.images[:32]), train_set.labels[:32]


def phases(model, repeats=5):
    """Return milliseconds of forward, backward and update: the least of several."""
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
# The backward has about twice the multiply-adds of the forward, for dX and for dW (lesson 3). V1
# and V2 have equal multiply-adds, but not equal time or memory: V1's wide layers, groups, additions
# and ReLUs read and write more numbers (lessons 11 and 12).
#
# ## Recap
#
# <details>
# <summary>1. The first loss of a network with 10 classes is 9.2. What now?</summary>
#
# It should be log 10 = 2.3. The network gives high probabilities to wrong classes before it has
# learned anything, so its logits are too large. Check the initial weights, the scale of the images,
# and batch normalisation.
#
# </details>
#
# <details>
# <summary>2. It overfits 20 images, but its gradient check fails in one tensor. Train it?</summary>
#
# No. A network with one wrong gradient still learns, but worse. The checker shows the mistake; the
# loss curve doesn't.
#
# </details>
#
# <details>
# <summary>3. With momentum 0.9 and a steady gradient g, how large do steps become?</summary>
#
# v tends to g (1 + 0.9 + 0.81 + ...) = 10 g: steps become ten times as long as without momentum.
#
# </details>
#
# <details>
# <summary>4. V2 is better in one pair of trainings. What does that show?</summary>
#
# Almost nothing: it is like one toss of a coin. With six pairs, all six have the same sign by
# chance one time in 32.
#
# </details>
#
# <details>
# <summary>5. An occlusion map is blue over a part of the picture. What does that mean?</summary>
#
# The probability rose when that part was covered: the part was evidence for another class.
#
# </details>
#
# <details>
# <summary>6. Why is each pixel of an occlusion map a mean, and not a sum?</summary>
#
# More squares cover a pixel in the middle than one in the corner. With a sum, the middle would look
# important for that reason alone.
#
# </details>

# %%
earned = exercises.earned()
print(f"{earned['points']:g} of {earned['of']:g} points")
