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
# # Lesson 18: many machines
#
# **Goal**
# - Train one network on several processes, and get the result of one process.
# - Say why batch normalisation is the exception, and write down what the processes exchange for it.
# - Predict how many machines pay, from the latency and the bandwidth between them.

# %%
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from IPython.display import display

from numpy_shufflenet import gradcheck, models, nn, ops, plots
from numpy_shufflenet.cost.communication import (
    GIGABIT,
    Link,
    TrainingStep,
    bytes_sent,
    gradient_bytes,
)
from numpy_shufflenet.distributed import simulate

rng = np.random.default_rng(18)

# %% [markdown]
# ## Predict first
#
# <details>
# <summary>1. Two processes have 5 and 3 images of a batch, and each computes the gradient of the
# mean loss of its own images. Which combination is the gradient of the whole batch? (decide before
# you open it)</summary>
#
# $\frac{5}{8}\,g_1 + \frac{3}{8}\,g_2$. The plain mean of both would count an image of the second
# process more than one of the first.
#
# </details>
#
# <details>
# <summary>2. V2 has 2.3 million parameters, ResNet-50 has 25.6 million. Which one loses more time
# to the network cable?</summary>
#
# The cable carries the gradients, 4 bytes for each parameter: 9 MB for V2, 102 MB for ResNet-50.
# But V2 also computes about 28 times less for each image, so its machines exchange gradients much
# more often. Relative to its own computing, V2 sends 2.5 times as much.
#
# </details>
#
# ## The mean of gradients
#
# A process is called a **rank**. Each rank has the whole network, and computes its share of every
# batch. Its loss counts with the share of its images, so the gradients only have to be *added up*.


# %%
def network(batch_norm):
    """Return a small network in float64 with random weights."""
    norm = [nn.BatchNorm2d(6)] if batch_norm else []
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), *norm, nn.ReLU()),
        *(nn.GlobalAvgPool(), nn.Linear(6, 4)),
    ).astype(np.float64)
    weights = np.random.default_rng(0)
    for parameter in model.parameters().values():
        parameter += weights.normal(size=parameter.shape)
    return model


x, labels = rng.normal(size=(8, 3, 5, 5)), rng.integers(0, 4, size=8)


def gradients(model, rows):
    """Return the gradients of the loss of some images, weighted by their share of the batch."""
    model.zero_gradients()
    logits = model.forward(x[rows], training=True)
    _, cache = ops.softmax_cross_entropy_forward(logits, labels[rows])
    model.backward(ops.softmax_cross_entropy_backward(len(logits) / len(x), cache))
    return model.gradients()


def largest_difference(parts, whole):
    """Return the largest difference between the sum of the parts and the whole."""
    return max(np.abs(sum(part[name] for part in parts) - whole[name]).max() for name in whole)


SHARES = slice(0, 5), slice(5, 8)
for batch_norm in (False, True):
    model = network(batch_norm)
    whole = gradients(model, slice(None))
    difference = largest_difference([gradients(model, rows) for rows in SHARES], whole)
    print(f"batch normalisation: {batch_norm!s:5}   largest difference: {difference:.1e}")

# %% [markdown]
# Without batch normalisation the sum is the gradient of the whole batch, up to rounding. With it,
# the sum is something else.
#
# ## Batch normalisation is the exception
#
# Batch normalisation (lesson 7) subtracts the mean of the *batch*. A rank knows only its own share,
# so it uses another mean and another variance. Each image then has another output than in one
# process. Training usually still works, if each share is large enough. With few images on a rank,
# **synchronised** batch normalisation helps: the ranks exchange their statistics.
#
# Rank r has m_r values of a channel, with their mean mean_r, and M_r, the sum of (x - mean_r)^2.
# All ranks together have m values, the sum of all m_r, and
#
#     mean = sum of m_r mean_r / m
#     var  = sum of (M_r + m_r (mean_r - mean)^2) / m
#
# ### Exercise: the statistics of all ranks &#9679;&#9675;&#9675;
#
# Each rank has sent three numbers of one channel: how many values it has, their mean, and the sum
# of squares around that mean. Return the mean and the variance of the values of all ranks.


# %%
def check_merge(attempt):
    """Compare with the mean and the variance of all values, which no rank has."""
    for sizes in ((5, 3), (1, 4, 2), (6,)):
        values = [1000 + 3 * r + rng.normal(size=size) for r, size in enumerate(sizes)]
        rows = [(len(v), v.mean(), np.square(v - v.mean()).sum()) for v in values]
        counts, means, m2 = map(np.array, zip(*rows, strict=True))
        together = np.concatenate(values)
        mean, var = attempt(counts, means, m2)
        if not np.isclose(mean, together.mean(), rtol=1e-12):
            print(f"for {sizes} values: your mean is {mean}, and {together.mean()} is right")
            return False
        if not np.isclose(var, together.var(), rtol=1e-9):
            print(f"for {sizes} values: your variance is {var}, and {together.var()} is right")
            return False
    print("right")
    return True


# %% tags=["exercise", "raises-exception"]
def my_merge(counts, means, m2):
    raise NotImplementedError  # your code here


assert check_merge(my_merge), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# A rank with more values counts more: the mean is a weighted mean of the means.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# The mean of the variances is too small. It lacks how far the means are from each other.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_merge(counts, means, m2):
    m = counts.sum()
    mean = (counts * means).sum() / m
    return mean, (m2 + counts * np.square(means - mean)).sum() / m


assert check_merge(solved_merge)

# %% [markdown]
# Backward needs an exchange, too: x of one rank changes mean and var, and so the outputs of every
# rank. Both sums in dx run over all ranks, and x_hat = (x - mean) / std:
#
#     dx = gamma / std (dy - sum of dy / m - x_hat (sum of dy x_hat) / m)
#
# dgamma and dbeta stay sums over the rank's own share. The training adds them up over the ranks,
# with all other gradients.

# %%
print(inspect.getsource(ops.sync_batch_norm_backward))

# %% [markdown]
# `simulate` runs ranks as threads of this process. Now the sum is right:


# %%
def run(ranks):
    model = network(batch_norm=True)
    nn.synchronise(model, ranks.gather)
    return gradients(model, SHARES[ranks.rank])


whole = gradients(network(batch_norm=True), slice(None))
difference = largest_difference(simulate(2, run), whole)
print(f"synchronised: largest difference {difference:.1e}")
assert difference < 1e-12

# %% [markdown]
# ## The gradient check
#
# The function under test is that of *both* ranks. A check of one rank alone would not see how x of
# one rank changes y of the other.


# %%
def forward(x, gamma, beta):
    def run(ranks):
        part = x[SHARES[ranks.rank]]
        return ops.sync_batch_norm_forward(part, gamma, beta, gather=ranks.gather)

    results = simulate(2, run)
    return np.concatenate([y for y, _ in results]), [cache for _, cache in results]


def backward(dy, caches):
    def run(ranks):
        cache = caches[ranks.rank]._replace(gather=ranks.gather)
        return ops.sync_batch_norm_backward(dy[SHARES[ranks.rank]], cache)

    dx, dgamma, dbeta = zip(*simulate(2, run), strict=True)
    return np.concatenate(dx), sum(dgamma), sum(dbeta)


arrays = rng.normal(size=(8, 2, 2, 2)), rng.normal(size=2), rng.normal(size=2)
verdict = gradcheck.check_pair(forward, backward, *arrays)
print(verdict)
assert verdict.passed

# %% [markdown]
# ## Two ranks for real
#
# Clusters start ranks by **MPI**, the message passing interface. `mpiexec -n 2 COMMAND` starts a
# command twice, and the two processes find each other. `training.Distributed` wraps a `Trainer`:
# it gives each rank its share of a batch, and adds up the gradients while the backward of earlier
# layers still runs. The order of the images and their augmentation don't depend on the number of
# ranks.

# %% tags=["long"]
SCRIPT = """
import numpy as np
from numpy_shufflenet import models
from numpy_shufflenet.data import load_embedded
from numpy_shufflenet.distributed import world
from numpy_shufflenet.training import SGD, Distributed, Trainer

ranks = world()
images = load_embedded()[0].subset(np.arange(30))
model = models.shufflenet_v2(
    scale=0.5, num_classes=10, in_channels=1, stem="small", seed=0
).astype(np.float64)
optimiser = SGD(model, learning_rate=0.01, momentum=0.9)
trainer = Trainer(model, optimiser, images, epochs=1, batch_size=10, augmentation={}, seed=0)
Distributed(trainer, ranks, sync_batch_norm=True).run()
if ranks.rank == 0:
    losses = "  ".join(f"{loss:.12f}" for loss in trainer.history.loss)
    print(f"{ranks.size} rank(s), loss of each step: {losses}")
"""
beside = Path(sys.executable).with_name("mpiexec")  # from the package mpich
mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")


def start(ranks):
    """Run the script by mpiexec; return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(SCRIPT)
        # The last three settings are for Open MPI: run as root, and more ranks than cores.
        settings = {
            **{"NUMPY_SHUFFLENET_BACKEND": "numpy", "OMPI_ALLOW_RUN_AS_ROOT": "1"},
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        }
        command = [mpiexec, "-n", str(ranks), sys.executable, str(path)]
        environment = {**os.environ, **settings}
        found = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=50, check=False
        )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


if importlib.util.find_spec("mpi4py") and mpiexec:
    one, two = start(1), start(2)
    print(one, two, sep="\n")
else:
    print(
        "There is no MPI here, so this cell ran nothing. Install it, and run the cell again:\n"
        '    pip install "numpy_shufflenet[mpi]" mpich'
    )

# %% [markdown]
# On the command line, the same is
#
#     mpiexec -n 2 numpy-shufflenet train --distributed --sync-batch-norm
#
# ## What it costs
#
# A message of b bytes takes latency + b / bandwidth seconds. The **latency** is the time until the
# first byte arrives, and the **bandwidth** says how many bytes follow in a second. To add up
# gradients of N bytes, p machines form a **ring**. Each sends a p-th part to its neighbour, 2 (p -
# 1) times. That takes
#
#     2 (p - 1) latency + 2 (p - 1) / p N / bandwidth
#
# The second term hardly grows with p: it is at most 2 N / bandwidth. But the first term grows.
# Along a **tree** there are only 2 log2(p) rounds, with all N bytes in each. So small sums take the
# tree, and large sums the ring.

# %%
for name in ("shufflenet_v1", "shufflenet_v2", "resnet_50"):
    size = gradient_bytes(models.build({"name": name}))
    sent = bytes_sent(size, 64)
    print(f"{name:14} {size / 1e6:6.1f} MB; each of 64 machines sends {sent / 1e6:6.1f} MB")

# %% [markdown]
# How long does a step take on *this* machine? Here are 8 images of 224 x 224 pixels.


# %% tags=["timing", "long"]
def measured(model):
    """Return the seconds of a forward and of a backward, the shorter of two."""
    images = rng.normal(size=(8, 3, 224, 224)).astype(np.float32)
    times = []
    for _ in range(3):  # the first one may compile kernels
        begin = time.perf_counter()
        logits = model.forward(images, training=True)
        middle = time.perf_counter()
        model.backward(np.ones_like(logits))
        times.append((middle - begin, time.perf_counter() - middle))
        model.zero_gradients()
    return np.min(times[1:], axis=0)


measurements = {}
for label, model in (("V1", models.shufflenet_v1(seed=0)), ("V2", models.shufflenet_v2(seed=0))):
    forward_seconds, backward_seconds = measured(model)
    whole_step = forward_seconds + backward_seconds
    measurements[label] = TrainingStep(
        whole_step, backward_seconds, gradient_bytes(model), buckets=4
    )
    print(f"{label}: {whole_step:.2f} s, of which backward {backward_seconds:.2f} s")

# %% [markdown]
# With these times, the model predicts how much of each machine's speed is left. A step with four
# times as many images takes four times as long, but sends the same bytes.

# %%
links = {
    "1 Gbit/s": Link(50e-6, GIGABIT),
    "10 Gbit/s": Link(20e-6, 10 * GIGABIT),
    "100 Gbit/s": Link(2e-6, 100 * GIGABIT),
}
# Four images on each machine: a fast machine computes as many as 32 in this time.
short = {f"{name}, batch 4": step.with_batch(0.5) for name, step in measurements.items()}
display(plots.scaling_efficiency(short, links))
for name, step in measurements.items():
    for label, link in links.items():
        least = 8 * step.least_factor(link, 64, 0.9)
        print(f"{name}, {label:10}: 64 machines are 90 % efficient with {least:5.1f} images each")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Why must each rank weight its loss?</summary>
#
# Shares of a batch may be unequal. With the weight (own images) / (all images) the losses add up to
# the mean over the batch, and the gradients to its gradient.
#
# </details>
#
# <details>
# <summary>2. Which sums of synchronised batch normalisation run over all ranks, and which over the
# own share?</summary>
#
# Over all ranks: those in the mean, in the variance, and the two in dx. Over the own share: dgamma
# and dbeta, because the training adds up all gradients of parameters later.
#
# </details>
#
# <details>
# <summary>3. You double the number of machines, and each keeps its batch. What happens to the bytes
# that one machine sends in a step?</summary>
#
# Nearly nothing: 2 (p - 1) / p N stays below 2 N. The latency of the ring doubles, and so does the
# size of the whole batch, for which the learning rate must fit.
#
# </details>
