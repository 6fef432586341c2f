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
# # Lesson 16: making a network fast
#
# **Goal**
# - Divide the work of a layer between threads, and get the same results on any machine.
# - Measure which layers of a network take the time, and how much you can gain.
# - Compile a network to a program that runs without Python.

# %%
import importlib.util
import inspect
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading

import numpy as np
from IPython.display import display

from numpy_shufflenet import backend, cost, models, plots
from numpy_shufflenet.bench.networks import with_real_statistics
from numpy_shufflenet.bench.resources import machine
from numpy_shufflenet.timing import interleave, median_interval

HAS_NUMBA = importlib.util.find_spec("numba") is not None
if HAS_NUMBA:
    from numpy_shufflenet import kernels
else:
    print("Numba isn't installed here: cells that need it say that they are left out")
    backend.set_num_threads(1)

THREADS = backend.num_threads()
rng = np.random.default_rng(16)
print(f"{THREADS} threads, one for each core that this process may use")


def text(function):
    """Return the source of a function without its docstring."""
    source = inspect.getsource(function)
    if function.__doc__ is None:
        return source
    head, _, rest = source.partition('"""')
    return head + rest.partition('"""')[2].strip()


def single(*shape):
    """Return normal numbers in float32, in the memory layout that networks use."""
    numbers = rng.normal(size=shape).astype(np.float32)
    return backend.channel_major(numbers) if len(shape) == 4 else numbers


def forward_and_backward(implementation, name, x, w, settings):
    """Return y, dx and dw, with y as dy."""
    y, cache = getattr(implementation, f"{name}_forward")(x, w, **settings)
    dx, dw, _ = getattr(implementation, f"{name}_backward")(y, cache)
    return y, dx, dw


def medians(runs, rounds=7, **options):
    """Return the median seconds of functions that run in turn on one thread."""
    backend.set_num_threads(1)
    try:
        with backend.own_cores():
            found = interleave(runs, rounds=rounds, **options)
    finally:
        backend.set_num_threads(THREADS)
    return {name: float(np.median(seconds)) for name, seconds in found.items()}


# %% [markdown]
# ## Predict first
#
# <details>
# <summary>1. A second core helps with a ReLU of 10 million numbers. Is it twice as fast?</summary>
#
# On most machines the gain is smaller: memory limits a ReLU, and both cores share the memory. A
# matrix product gets almost twice as fast. You will measure both.
#
# </details>
#
# <details>
# <summary>2. Depthwise convolutions have 3 % of the multiply-adds of ShuffleNet V2. Somebody makes
# them infinitely fast. How much faster is the network?</summary>
#
# That depends on their share of the *time*, which is larger. If this share is p, the network
# becomes 1 / (1 - p) times as fast. With p = 10 % that is 1.11 times, and no kernel can gain more.
#
# </details>
#
# ## Threads
#
# Python's global interpreter lock (GIL) lets only one thread run Python at a time. Compiled code
# can release the GIL (`nogil=True`), and NumPy releases it in BLAS. So two threads can divide a
# layer's channels between them. How much faster is that?

# %% tags=["timing"]
compute = single(32, 232, 14, 14), single(232, 232, 1, 1)
stream = single(32, 24, 112, 112)


def with_threads(count, run):
    """Return the same run with `count` threads."""

    def set_and_run():
        backend.set_num_threads(count)
        run()

    return set_and_run


if HAS_NUMBA and THREADS > 1:
    jobs = {
        "pointwise (arithmetic)": lambda: kernels.pointwise_conv2d_forward(*compute),
        "ReLU (memory)": lambda: kernels.relu_forward(stream),
    }
    runs = {(job, k): with_threads(k, run) for job, run in jobs.items() for k in (1, 2)}
    with backend.own_cores():
        found = interleave(runs, rounds=15)
    backend.set_num_threads(THREADS)
    for job in jobs:
        ratio = median_interval(found[job, 1] / found[job, 2])
        print(f"{job:23} two threads are {ratio} times as fast as one")
else:
    print("left out: it takes Numba, and two cores")

# %% [markdown]
# The interval in brackets contains the true median with 95 % confidence. If other programs use the
# second core, the ratio falls. An operation that memory limits gains less, unless one core alone
# can't use the full speed of memory.
#
# ### The cost of waking a thread
#
# A thread without work sleeps. To give it work, the program has to call the operating system, and a
# core has to wake up. At the end, the caller waits for the slowest thread.

# %% tags=["timing"]
if HAS_NUMBA:
    there, back = queue.SimpleQueue(), queue.SimpleQueue()

    def worker():
        while (job := there.get()) is not None:
            back.put(job())

    thread = threading.Thread(target=worker)
    thread.start()

    def hand_over():
        there.put(lambda: None)
        back.get()

    tiny = single(1, 58, 28, 28)
    found = medians(
        {
            "waking a thread and waiting for it": hand_over,
            "a ReLU of 58 x 28 x 28, one image": lambda: kernels.relu_forward(tiny),
        },
        min_seconds=0.005,
    )
    there.put(None)
    thread.join()
    for key, seconds in found.items():
        print(f"{key:35} {1e6 * seconds:7.1f} us")
    print()
    print(text(kernels.relu_forward))
else:
    print("left out: it takes Numba")

# %% [markdown]
# `share` cuts the numbers into pieces for several threads, but only if there is enough work. With
# one image, many layers of a ShuffleNet are too small. With a batch, a second core helps more.
#
# ### The same results on any machine
#
# If two threads each compute a part of a sum, the order of additions differs from that of one
# thread. In float32 the results differ:

# %%
row = rng.normal(size=100_000).astype(np.float32)
for pieces in (1, 2, 3, 4):
    parts = [part.cumsum()[-1] for part in np.array_split(row, pieces)]  # one after the other
    print(f"{pieces} pieces: {np.float32(sum(parts)):.5f}")
print(f"exactly:  {row.sum(dtype=np.float64):.5f}")

# %% [markdown]
# None of these results is wrong. But if a training run gives another result on a machine with more
# cores, nobody can repeat it to find a bug. So this library has a rule: **how work is cut depends
# on shapes, never on the number of threads.** Channels are independent anyway. A sum over the batch
# is cut into the same pieces for any number of threads. So all results are equal to the last bit:

# %%
if HAS_NUMBA:
    x, w = single(16, 58, 28, 28), single(116, 58, 1, 1)
    d = single(58, 1, 3, 3)
    results = []
    for count in (1, 2, 3):
        backend.set_num_threads(count)
        results.append(
            [
                *forward_and_backward(kernels, "pointwise_conv2d", x, w, {}),
                *forward_and_backward(kernels, "depthwise_conv2d", x, d, {"padding": 1}),
            ]
        )
    backend.set_num_threads(THREADS)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
    print("1, 2 and 3 threads: equal to the last bit, forward and backward")
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# ### Two thread pools on the same cores
#
# A **thread pool** keeps threads, its workers, ready for the next job. Workers without a job often
# *spin*: they check for a job in a loop, because that reacts faster than sleeping. BLAS has such a
# pool, Numba's `parallel=True` has another, and PyTorch a third. If a program uses two pools in
# turn, the workers of each spin on the cores that the other needs. The next cell shows this in a
# separate process: it alternates between a small matrix product and a small loop.

# %% tags=["timing", "long"]
POOLS = """
import json
import numba, numpy as np
from threadpoolctl import threadpool_limits
from numpy_shufflenet.timing import interleave

@numba.njit(parallel=True)
def double(x, y):
    for k in numba.prange(x.size):
        y[k] = 2 * x[k]

a, b, c = (np.ones((192, 192), np.float32) for _ in range(3))
x, y = np.ones(1 << 15, np.float32), np.empty(1 << 15, np.float32)

def run(blas, own):
    def both():
        numba.set_num_threads(own)
        for _ in range(3):
            np.matmul(a, b, out=c)
            double(x, y)
    def limited():
        with threadpool_limits(blas, "blas"):
            both()
    return limited

runs = {f"BLAS {i}, Numba {j}": run(i, j) for i in (1, 2) for j in (1, 2)}
found = interleave(runs, rounds=7, min_seconds=0, warm_seconds=0.01)
print(json.dumps({name: float(np.median(t)) / 3 for name, t in found.items()}))
"""


def in_new_process(code, **environment):
    """Run code in a separate process, and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if HAS_NUMBA and THREADS > 1:
    both_may = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    for policy in ("active", "passive"):
        found = in_new_process(POOLS, OMP_WAIT_POLICY=policy, **both_may)
        print(f"waiting threads are {policy}:")
        for key, seconds in found.items():
            print(f"  {key:16} {1e6 * seconds:8.0f} us")
else:
    print("left out: it takes Numba, and two cores")

# %% [markdown]
# If the last line of the first table is the largest, the two pools disturb each other: two threads
# in *each* pool are slower than one in each, often by a factor of 10 or more. With `passive`, the
# threads of OpenMP sleep while they wait. That helps where Numba uses OpenMP. The threads of BLAS
# still spin.
#
# Therefore this library uses one pool only: its own workers. BLAS runs on the thread that calls it
# (`backend.own_cores()`). The work is cut into more pieces than there are threads, and a thread
# that has finished one piece takes the next. Two equal halves would be worse, because threads don't
# start at the same time and don't run equally fast. An idle worker spins for 0.2 ms, so most layers
# of a network needn't wake it, and then it sleeps. If there are more threads than cores, it sleeps
# at once.
#
# The pool has to prevent two problems. First, *the caller must not wait for a worker whose core is
# busy with another program*. So the caller takes pieces, too, and a worker that comes too late gets
# none. Second, *no worker may continue with a call after that call has ended*. For example, you
# press Ctrl-C and start the next call; a late worker must not process a piece of it with the arrays
# of the old call. So each call has its own counters. It ends in one compiled function, which an
# interrupt can't divide. After that function no worker is working on this call, and none can start.
#
# ## The cold start
#
# A kernel must be compiled before it can run. How long does that take, and when does it happen? In
# the next cell a new process with an empty cache imports Numba, compiles one kernel and calls it
# twice. Then a second process does the same, and finds the machine code on disk.

# %% tags=["timing", "long"]
START = """
import json, time
import numpy as np
ticks = [time.perf_counter()]
import numba
ticks.append(time.perf_counter())
from numpy_shufflenet import kernels
ticks.append(time.perf_counter())
x, one = np.ones((2, 8, 8, 8), np.float32), np.ones(8, np.float32)
for _ in range(2):
    kernels.batch_norm_relu_forward(x, one, one)
    ticks.append(time.perf_counter())
print(json.dumps(np.diff(ticks).tolist()))
"""

if HAS_NUMBA:
    with tempfile.TemporaryDirectory() as folder:
        found = {
            key: in_new_process(START, NUMBA_CACHE_DIR=folder)
            for key in ("cache empty", "code on disk")
        }
    print(f"{'':13} import numba  import kernels  first call  second call")
    for key, (numba_s, import_s, first, second) in found.items():
        print(
            f"{key:13} {numba_s:10.2f} s {import_s:12.2f} s {first:9.3f} s {1e3 * second:9.3f} ms"
        )
else:
    print("left out: Numba isn't installed")

# %% [markdown]
# Compiling one kernel takes a second or more, and all kernels of a network about 20 s. That happens
# once on each machine, for each of float32 and float64. To keep the cost low, this package compiles
# a kernel when it is first *called*, not when it is imported. It keeps the machine code on disk,
# needs only one variant of each kernel for each dtype (for one memory layout), and prints a message
# while you wait.
#
# ## The whole network
#
# The next cell times ShuffleNet V2 1× on 4 images of 224 × 224, in NumPy and compiled, with all
# threads. It times each layer separately, so no layers are fused.

# %% tags=["timing", "long"]
model = with_real_statistics(models.shufflenet_v2(seed=0), 64)
counted = cost.count(model, (3, 224, 224), batch=4)
images = rng.normal(size=(4, 3, 224, 224)).astype(np.float32)
BACKENDS = ("numpy", "numba") if HAS_NUMBA else ("numpy",)
times = {}
for turn in range(5):
    for name in BACKENDS:
        with backend.use(name), backend.own_cores():
            seconds = model.trace(images).seconds
        model.release()
        if turn == 0:
            continue  # to warm up
        for layer_name, _ in model.named_layers():
            times.setdefault((name, layer_name), []).append(seconds.get(layer_name, 0.0))
per_layer = {key: float(np.median(values)) for key, values in times.items()}

shares = {
    "multiply-adds": {k: v.multiply_adds for k, v in counted.by_kind().items()},
    "memory access": {k: v.memory_access for k, v in counted.by_kind().items()},
}
by_kind = {}
for name in BACKENDS:
    by_kind[name] = {}
    for layer in counted.layers:
        spent = by_kind[name].get(layer.kind, 0.0) + per_layer[name, layer.name]
        by_kind[name][layer.kind] = spent
    shares[f"time, {name}"] = by_kind[name]
    print(f"{name}: {1e3 * sum(by_kind[name].values()):.0f} ms in {len(counted.layers)} layers")
display(plots.cost_by_kind(shares, "ShuffleNet V2 1x, 4 images"))

# %% [markdown]
# The share of the time of a kind of operation isn't its share of the multiply-adds (G4 of lesson
# 12). The next chart shows the time of each layer, in the order of the forward, for the fastest
# implementation that you have:

# %% tags=["timing"]
fastest = BACKENDS[-1]
seconds = [per_layer[fastest, layer.name] for layer in counted.layers]
display(plots.cost_by_layer(counted.layers, f"ShuffleNet V2 1x, 4 images, {fastest}", seconds))
for layer in sorted(counted.layers, key=lambda layer: -per_layer[fastest, layer.name])[:5]:
    print(f"{1e3 * per_layer[fastest, layer.name]:6.2f} ms  {layer.name}: {layer.text}")

# %% [markdown]
# The next chart shows all layers below the roofline (lesson 15). Each point is one layer.

# %% tags=["timing"]
limits = machine()
series = {}
for layer in counted.layers:
    counts, seconds = layer.cost.forward, per_layer[fastest, layer.name]
    if counts.arithmetic and seconds:
        point = plots.Work("", counts.arithmetic, 4 * counts.memory_access, seconds)
        series.setdefault(layer.kind, []).append(point)
display(
    plots.roofline(
        {kind: points for kind, points in series.items() if len(points) > 1},
        gflops=limits.gflops,
        gbytes=limits.gbytes,
        title=f"The layers of ShuffleNet V2 1x, 4 images, {fastest}",
    )
)

# %% [markdown]
# The position of a layer tells how to improve it. Points far to the right and below the ceiling
# need better arithmetic, or larger products. Points on the slope are limited by memory: a faster
# kernel doesn't help, so move fewer bytes (fuse operations, or fold batch normalisation into the
# convolution before it, `model.fold()`). Points far below the roofline are small layers, in which
# the time between two calls dominates.
#
# ### Exercise: Amdahl's law &#9679;&#9679;&#9675;
#
# One kind of layer takes the share `share` of the time (0 to 1), and you make it `factor` times as
# fast. How many times as fast does the whole network become? (Amdahl, 1967.)


# %% tags=["hide-input"]
def same(found, expected):
    return np.allclose(found, expected, rtol=1e-6, atol=0)


def compared(attempt, target, names, cases, mistakes):
    """Compare all cases, and name the known mistake that gives the same answers."""
    found, right = ([function(*case) for case in cases] for function in (attempt, target))
    if same(found, right):
        print(f"Right in all {len(cases)} cases")
        return True
    causes = (
        said
        for said, mistake in mistakes.items()
        if same(found, [mistake(*case) for case in cases])
    )
    i = next(i for i in range(len(cases)) if not same(found[i], right[i]))
    case = ", ".join(f"{name}={value:g}" for name, value in zip(names, cases[i], strict=True))
    print(f"{case}: you say {found[i]:g}, it is {right[i]:g}. {next(causes, '')}")
    return False


def check_speedup(attempt):
    def by_seconds(share, factor):
        """Return the speed-up, from a network that takes 100 seconds."""
        part, rest = 100 * share, 100 - 100 * share
        return 100 / (part / factor + rest)

    return compared(
        attempt,
        by_seconds,
        ("share", "factor"),
        ((0.3, 2), (0.1, 10), (0.75, 5), (0.5, 1)),
        {
            "That is the limit for an infinite factor.": lambda p, s: 1 / (1 - p),
            "Times add up, speeds don't: how long does the part take now?": lambda p, s: (
                p * s + 1 - p
            ),
            "The time of the rest, which doesn't change, is missing.": lambda p, s: s / p,
            "This is the new time; the speed-up is its inverse.": lambda p, s: 1 - p + p / s,
        },
    )


# %% tags=["exercise", "raises-exception"]
def my_speedup(share, factor):
    raise NotImplementedError  # your code here


assert check_speedup(my_speedup), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Assume that the whole takes 1 second. How long does the part take afterwards, and how long the
# rest?
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `share / factor`, and `1 - share`. The speed-up is the time before over the time after.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_speedup(share, factor):
    return 1 / (1 - share + share / factor)


assert check_speedup(solved_speedup)

# %% [markdown]
# How much could we still gain? The next cell computes it for each kind of operation, if it were
# twice as fast, and if it took no time:

# %% tags=["timing"]
whole = sum(by_kind[fastest].values())
print(f"{'':18} share   twice as fast   no time at all")
for kind, spent in sorted(by_kind[fastest].items(), key=lambda item: -item[1]):
    share = spent / whole
    print(f"{kind:18} {share:5.1%} {1 / (1 - share / 2):12.2f} x {1 / (1 - share):14.2f} x")

# %% [markdown]
# Hardly any kind could give a factor of two: all of them have been optimised, so no single slow one
# is left. We can still run fewer operations, move fewer bytes, and spend less time between two
# operations. Fusing and folding do that (on a busy machine, or with NumPy, the gain may be small):

# %% tags=["timing", "long"]
folded = model.fold()
runs = {"layer by layer": lambda: model.trace(images), "model.infer": lambda: model.infer(images)}
runs["folded.infer"] = lambda: folded.infer(images)
found = {key: float(np.median(t)) for key, t in interleave(runs, rounds=5, min_seconds=0).items()}
model.release()
for key, seconds in found.items():
    print(f"{key:15} {1e3 * seconds:6.1f} ms")
expected = model.infer(images)
assert np.allclose(folded.infer(images), expected, atol=1e-3 * np.abs(expected).max())

# %% [markdown]
# ### The network as one program
#
# Between two layers Python still runs: it checks arguments, allocates memory, and wakes threads.
# For one image that takes more than half of the time. But an evaluation forward runs the same list
# of operations each time. So we can record the list once: we run the network's own forward on
# *names* of channels in place of numbers. What does the list contain for the shuffle?

# %%
if HAS_NUMBA:
    program = model.plan().program((3, 224, 224))
    print("\n".join(str(program).splitlines()[:14]), "\n  ...")
    kinds = {node.kind for node in program.nodes}
    assert not kinds & {"channel_split", "channel_concat", "channel_shuffle"}

# %% [markdown]
# <details>
# <summary>Answer: where is the shuffle?</summary>
#
# Nowhere. Split, concatenation and shuffle only reorder names while the program is recorded, which
# costs nothing when it runs: the next product reads its channels from other addresses. The half
# that passes a unit unchanged is never copied. The program contains only matrix products, each
# fused with its ReLU, and most with the depthwise convolution after it, whose input is still in the
# cache.
#
# </details>
#
# The program is a table of integers, and one compiled loop runs it on all threads. After each
# instruction the threads wait for each other at a **barrier**, where they spin, without calling the
# operating system. The following loop does nearly all the work. It computes a **register tile**: 6
# × 16 outputs, whose sums stay in vector registers until they are complete.

# %%
if HAS_NUMBA:
    from numpy_shufflenet.plan import products

    print(text(products.multiply_block))

# %% tags=["timing", "long"]
if HAS_NUMBA:
    plan, image = model.plan(), images[:1]
    runs = {"folded.infer": lambda: folded.infer(image), "plan": lambda: plan(image)}
    taken = interleave(runs, rounds=9, min_seconds=0.02)
    for key, turns in taken.items():
        print(f"{key:15} {1e3 * np.median(turns):6.2f} ms for one image")
    print(f"ratio           {median_interval(taken['folded.infer'] / taken['plan'])}")
    expected = folded.infer(images)
    assert np.allclose(plan(images), expected, atol=1e-3 * np.abs(expected).max())

# %% [markdown]
# ### A training step as one program
#
# A training step also runs the same operations each time: its forward, and then the backward of
# each operation in reverse order. `Trainer` compiles both into one program. All life times are
# known before the program runs, so each array gets its place in one block of memory, and arrays
# that are never alive at the same time share a place.
#
# The backward needs the input of each operation. Between two convolutions there are three arrays:
# the output z of the first convolution, the output of the batch normalisation, and the output of
# the ReLU. **Which of them does the program store?**

# %%
if HAS_NUMBA:
    from numpy_shufflenet.engine import TrainingProgram

    step = TrainingProgram(model, (2, 3, 224, 224))
    lines = str(step).splitlines()
    print("\n".join([*lines[:9], "  ...", *lines[-4:]]))

# %% [markdown]
# <details>
# <summary>Answer: which array is stored?</summary>
#
# Only z. The others follow from z and four numbers of each channel:
#
#     y = max(0, a (z − μ) + β)        a = γ / sqrt(σ² + ε)
#
# The next convolution has to read its input anyway. While it reads z into the cache, it computes y
# from z with one multiply-add and one maximum. That takes less time than writing y to memory and
# reading it again. The backward does the same with the gradient g of y:
#
#     dz = a (g [y > 0] − p − q (z − μ))
#
# where p and q are two means that batch normalisation's backward needs (lesson 7). So batch
# normalisation, ReLU, split, concatenation and shuffle store nothing, and memory holds one array
# for each convolution.
#
# </details>

# %% tags=["timing", "long"]
if HAS_NUMBA:
    batch = np.random.default_rng(0).normal(size=(16, 3, 32, 32)).astype(np.float32)
    small = models.shufflenet_v2(scale=0.5, stem="small", num_classes=10, seed=0)
    program = TrainingProgram(small, batch.shape)

    def layer_by_layer():
        small.zero_gradients()
        small.backward(small.forward(batch, training=True), input_gradient=False)

    def as_a_program():
        small.zero_gradients()
        program.backward(program.forward(batch))

    layer_by_layer()
    expected = small.gradients()
    as_a_program()
    found = small.gradients()
    largest = max(np.abs(g).max() for g in expected.values())
    worst = max(np.abs(found[key] - g).max() for key, g in expected.items())
    print(f"largest difference between gradients, over the largest gradient: {worst / largest:.0e}")
    assert worst < 0.1 * largest  # where y is nearly 0, rounding decides whether it is positive
    taken = interleave({"layers": layer_by_layer, "program": as_a_program}, rounds=7, min_seconds=0)
    print(f"layer by layer / program: {median_interval(taken['layers'] / taken['program'])}")

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. A network gives different results on 8 cores and on 4. Is that a bug?</summary>
#
# Both results may be right up to rounding, because the order of sums differs. But the order
# shouldn't depend on the number of threads, because then nobody can repeat a run on another
# machine.
#
# </details>
#
# <details>
# <summary>2. Why is the first training step in a new process slow, even with the code on disk?
# </summary>
#
# The process has to import Numba and load the code. And every array of the step is new memory, so
# the first write to each page causes a page fault (lesson 15).
#
# </details>
#
# <details>
# <summary>3. A kernel takes 20 % of the time. How much can you gain at most by improving it?
# </summary>
#
# A factor of 1 / 0.8 = 1.25, and less in practice. First find out whether another part takes more
# time.
#
# </details>
