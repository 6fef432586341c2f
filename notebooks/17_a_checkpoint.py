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
# # Lesson 17: a checkpoint, taken apart
#
# **Goal**
# - Open a file of weights down to its bytes, without running the code that it may hold.
# - Load it into a network, and know what the file doesn't say.
# - Port it wrong in five usual ways, measure what each costs, and see why `allclose` passes them.

# %%
import colorsys
import importlib.util
import inspect
import math
import pickle
import pickletools
import tempfile
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from numpy_shufflenet import data, models, nn, training, weights

FOLDER = Path(tempfile.mkdtemp())
SETTINGS = {"scale": 0.5, "stem": "small", "num_classes": 10, "layout": "torchvision", "seed": 0}

# %% [markdown]
# ## Predict first
#
# <details>
# <summary>1. OpenCV gives you an image in BGR. The network was trained on RGB. How do you notice?
# </summary>
#
# There is no error, because the shapes fit. The accuracy drops, by how much depends on the data:
# grass that is green in both orders stays recognisable. You will measure it.
#
# </details>
#
# <details>
# <summary>2. You have ported a network to another library. Both have the same new random weights,
# and their logits agree to 1e-6. Is the port right?</summary>
#
# You can't tell. In evaluation mode, a new ShuffleNet gives practically the same logits for every
# image, even for a black one. Many wrong ports pass this test. At the end of the lesson you will
# have passed it with five of them.
#
# </details>
#
# ## A network to save
#
# We train a small ShuffleNet V2 for one minute or less. Red, green and blue should matter, but
# Fashion-MNIST is grey. So we colour it: each class gets a hue of its own, with some noise. This is
# artificial. But photographs have it, too: grass is green, and the sky is blue.


# %%
def coloured(dataset, count, seed):
    """Return the first images of a grey dataset in colours that depend on the class."""
    rng = np.random.default_rng(seed)
    labels = dataset.labels[:count]
    hues = (labels / len(dataset.classes) + rng.normal(0, 0.08, count)) % 1
    tints = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1) for hue in hues])  # n c
    images = dataset.images[:count] * tints[:, :, None, None]
    return data.Dataset(images.astype(np.uint8), labels, dataset.classes)


grey_train, grey_test = data.load_embedded()
train_set, test_set = coloured(grey_train, 3200, seed=0), coloured(grey_test, 500, seed=1)
standardise = data.channel_statistics(train_set.images)
print(train_set, test_set, standardise, sep="\n")

# %% tags=["hide-input"]
# Picture: twenty images of clothes, each in the colour of its class, on black.
figure, grid = plt.subplots(2, 10, figsize=(10, 2.4), layout="constrained")
for label, column in enumerate(grid.T):
    for axes, number in zip(column, np.flatnonzero(train_set.labels == label), strict=False):
        axes.imshow(train_set.images[number].transpose(1, 2, 0))
        axes.set(xticks=[], yticks=[])
    column[0].set_title(train_set.classes[label], size=9)
plt.show()

# %% tags=["long"]
trained = models.shufflenet_v2(**SETTINGS)
optimiser = training.SGD(trained, learning_rate=0.1, momentum=0.9, weight_decay=5e-4)
schedule = training.cosine_schedule(0.1, 50, 6)
trainer = training.Trainer(
    trained, optimiser, train_set, test_set, epochs=1, batch_size=64, schedule=schedule
)
trainer.run()
print(f"test accuracy {trainer.history.epochs[-1].test_accuracy:.1%} after {trainer.step} steps")

path = FOLDER / "checkpoint.pth"
trained.save(path, layout="torchvision")  # the file that torch.save writes for torchvision's net
print(f"{path.name}: {path.stat().st_size:,} bytes")

# %% [markdown]
# ## The file, from the outside
#
# Since version 1.6, PyTorch's files are zip archives. Look into it with the standard library:

# %% tags=["long"]
archive = zipfile.ZipFile(path)
members = archive.infolist()
print(f"it begins with {path.read_bytes()[:4]}, as every zip file does; {len(members)} members")
for member in [*members[:3], *members[-4:]]:
    print(f"{member.filename:20} {member.file_size:8,} bytes")

# %% [markdown]
# Each `data/...` is a **storage**: the numbers of a tensor, in a row, without a name or a shape.
# The first one is the first convolution:

# %% tags=["long"]
numbers = np.frombuffer(archive.read("archive/data/0"), "<f4")  # little-endian float32
first = trained.parameters()["conv1.0.weight"]
print(numbers[:4], "from", first.shape, "of the network:", first.ravel()[:4])
assert np.array_equal(numbers, first.ravel())

# %% [markdown]
# ## The pickle, without running it
#
# Names and shapes are in `archive/data.pkl`. It isn't a table but a **program** for a small machine
# with a stack, and `pickle.load` runs it. `pickletools` only prints it. `GLOBAL` fetches a function
# by its name, and `REDUCE` calls it:

# %% tags=["long"]
program = archive.read("archive/data.pkl")
for number, (opcode, argument, place) in enumerate(pickletools.genops(program)):
    print(f"{place:6} {opcode.name:12} {'' if argument is None else argument}")
    if number == 29:
        break

# %% [markdown]
# A file may name any function there: one that deletes your files, too. Here is a harmless one. The
# cell makes such a file, and prints its program. `weights.load` accepts a short list of names, and
# refuses this one before anything runs:


# %%
class Marker:
    def __reduce__(self):
        return print, ("this file has just run code",)


marked = FOLDER / "marked.pth"
marked.write_bytes(pickle.dumps({"weight": Marker()}, protocol=2))
print([f"{op.name} {arg}" for op, arg, _ in pickletools.genops(marked.read_bytes()) if arg])
try:
    weights.load(marked)
except ValueError as error:
    print("refused:", error)
else:
    raise AssertionError("it should have been refused")

# %% [markdown]
# Which functions does an honest file need? Only those that make tensors:

# %% tags=["long"]
print({argument for opcode, argument, _ in pickletools.genops(program) if opcode.name == "GLOBAL"})

# %% [markdown]
# ### Exercise: from a storage to a tensor &#9679;&#9675;&#9675;
#
# `_rebuild_tensor_v2` gets a storage, an offset, a shape and strides, all counted in numbers (not
# in bytes). Entry (i, j, ...) of the tensor is number `offset + i strides[0] + j strides[1] + ...`
# of the storage. Return the tensor as a new array. Tensors may be transposed, share a storage, or
# repeat a number (stride 0), so `reshape` isn't enough.


# %% tags=["hide-input"]
def check_tensor(attempt):
    """Compare with NumPy's own strided views, and name what is wrong."""
    storage = np.arange(100.0, 160.0)
    cases = {
        "a matrix in a row": (0, (3, 4), (4, 1)),
        "one with an offset": (7, (2, 3), (3, 1)),
        "a transposed matrix": (0, (4, 3), (1, 4)),
        "a repeated row": (5, (3, 4), (0, 1)),
        "every second number": (1, (6,), (2,)),
        "filters": (4, (2, 3, 2, 2), (12, 4, 2, 1)),
        "a single number": (9, (), ()),
    }
    for title, (offset, shape, strides) in cases.items():
        found = np.asarray(attempt(storage.copy(), offset, shape, strides))
        steps = [8 * step for step in strides]
        right = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)
        if found.shape != right.shape:
            print(f"{title}: your shape is {found.shape}, it is {right.shape}")
            return False
        if not np.array_equal(found, right):
            place = tuple(map(int, np.argwhere(found != right)[0]))
            print(f"{title}: entry {place} is {right[place]:g}, you say {found[place]:g}")
            return False
    print(f"right in all {len(cases)} cases")
    return True


# %% tags=["exercise", "raises-exception"]
def my_tensor(storage, offset, shape, strides):
    raise NotImplementedError  # your code here


assert check_tensor(my_tensor), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# First make an integer array of this shape with the place of each entry in the storage. Then
# `storage[places]` is the tensor.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `np.ndindex(shape)` yields every (i, j, ...). Or use `np.indices(shape)`: its first axis has one
# array of indices for each axis of the tensor.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_tensor(storage, offset, shape, strides):
    places = np.full(shape, offset)
    for index, step in zip(np.indices(shape), strides, strict=True):
        places = places + step * index
    return storage[places]


assert check_tensor(solved_tensor)

# %% [markdown]
# ## Names, shapes, numbers
#
# `weights.load` does all that, for this format and others:

# %% tags=["long"]
arrays = weights.load(path)
for name in list(arrays)[:9]:
    print(f"{name:36} {arrays[name].dtype} {arrays[name].shape}")
print(f"... {len(arrays)} arrays")

# %% [markdown]
# A name is a path through the network: `stage2.0.branch1.2.weight` belongs to stage 2, its unit 0,
# branch 1, layer 2. Each batch normalisation has five arrays: `weight` (gamma) and `bias` (beta)
# are learned. `running_mean`, `running_var` and `num_batches_tracked` are not (lesson 7).
#
# ### Exercise: count the parameters &#9679;&#9679;&#9675;
#
# `shapes` maps names to shapes. Return how many *learned* numbers a part of the network has. A part
# is the first word of the name, such as "conv1", "stage2" or "fc".


# %% tags=["hide-input"]
def check_count(attempt):
    """Compare the counts of a small and of the real network, and name the usual mistakes."""
    norm = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (5,))
    small = {
        "conv1.0.weight": (5, 3, 3, 3),
        **{f"conv1.1.{name}": shape for name, shape in norm.items()},
        "conv1.1.num_batches_tracked": (),
        "stage2.0.branch2.0.weight": (4, 5, 1, 1),
        "stage2.1.branch2.0.weight": (2, 2, 1, 1),
        "fc.weight": (7, 4),
        "fc.bias": (7,),
    }
    mistakes = {
        156: "running statistics and num_batches_tracked aren't learned",
        155: "the running statistics aren't learned",
        146: "num_batches_tracked isn't learned",
        135: "gamma and beta of a batch normalisation, weight and bias, are learned, too",
    }
    for part, right in {"conv1": 145, "stage2": 24, "fc": 35, "stage20": 6}.items():
        found = attempt({**small, "stage20.0.weight": (2, 3)}, part)
        if found != right:
            print(f"{part}: you say {found}, it is {right}. {mistakes.get(found, '')}")
            return False
    print("right")
    return True


# %% tags=["exercise", "raises-exception"]
def my_count(shapes, part):
    raise NotImplementedError  # your code here


assert check_count(my_count), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# `name.split(".")` has the part as its first word, and the kind of array as its last.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# Learned arrays end in `weight` or `bias`. `math.prod` multiplies the sizes of a shape.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_count(shapes, part):
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if name.split(".")[0] == part and name.endswith((".weight", ".bias"))
    )


assert check_count(solved_count)

# %% tags=["long"]
sizes = {name: array.size for name, array in arrays.items()}
learned = {name: size for name, size in sizes.items() if name.endswith((".weight", ".bias"))}
for part in ("conv1", "stage2", "stage3", "stage4", "conv5", "fc"):
    count = sum(size for name, size in learned.items() if name.startswith(part))
    print(f"{part:8} {count:8,}  {count / sum(learned.values()):6.1%}")
total = sum(learned.values())
print(f"{'all':8} {total:8,}, and {sum(sizes.values()) - total:,} that aren't learned")
assert total == models.summary(trained, (3, 28, 28)).parameters

# %% [markdown]
# ## Load it, and what the file doesn't say
#
# `from_weights` recognises the network from names and shapes. But not
# all of it: the small stem has the shapes of the large one. It was guessed from the ten classes.

# %% tags=["long"]
loaded = models.from_weights(arrays)
print(repr(loaded))

test_x = standardise(test_set.images)
right_logits = loaded.infer(test_x)


def accuracy(logits):
    """Return the share of test images that are classified rightly."""
    return (logits.argmax(axis=1) == test_set.labels).mean()


print(f"test accuracy {accuracy(right_logits):.1%}")
assert np.array_equal(right_logits, trained.infer(test_x))

# %% [markdown]
# Much of the network leaves no trace in the file, and each item is a way to go wrong:
#
# | not in the file | if it is wrong |
# |---|---|
# | order of the colours | BGR instead of RGB |
# | scale of the input, mean and deviation | no normalisation |
# | where the shuffle is, and in which order | the names and shapes fit all the same |
# | strides, padding, rounding of the pool's size | shapes may fit all the same |
# | eps of batch normalisation, the activation | small differences, or large ones |
#
# ## Five ports that are wrong
#
# Each port gets the weights of the checkpoint. Nothing raises an error.
#
# 1. **BGR**: the images come from OpenCV.
# 2. **No normalisation**: pixels divided by 255, and nothing subtracted.
# 3. **The shuffle's order**: the weights of torchvision in the network of the authors, whose
#    shuffle is the inverse (lesson 8). At scale 0.5 all shapes fit.
# 4. **58 against 60 channels**: some hardware wants channels in multiples of 4, and the halves of
#    V2 1x have 58. So somebody pads all arrays with zeros to 60. Our halves have 24 channels: pad
#    them to 32, a multiple of 16. Then the halves of a split aren't the same channels any more.
# 5. **Padding**: TensorFlow's "SAME" pads (0, 1) at stride 2, PyTorch pads (1, 1).


# %%
def port(state, **options):
    """Return a network with these arrays."""
    model = models.shufflenet_v2(**{**SETTINGS, **options})
    model.load_state_dict(state)
    return model


def port_in_authors_order(state):
    """Return the network of the authors, with their shuffle."""
    return port(state, shuffle_order="authors")


def port_with_more_channels(state):
    """Return a network whose stage 2 has halves of 32 channels instead of 24, padded with zeros."""
    wider = models.shufflenet_v2(**SETTINGS, widths=(24, 64, 96, 192, 1024))
    padded = {}
    for name, array in wider.state_dict().items():
        padded[name] = np.full_like(array, 1 if name.endswith("running_var") else 0)
        padded[name][tuple(slice(size) for size in state[name].shape)] = state[name]
    wider.load_state_dict(padded)
    return wider


def port_from_tensorflow(state):
    """Return a network with TensorFlow's padding where the stride is 2 and the size is even."""
    model = port(state)
    for stage in (model.stage2, model.stage3):  # 28 and 14 pixels; stage 4 has 7
        for layer in (stage[0].branch1[0], stage[0].branch2[3]):
            layer.hyperparameters["padding"] = ((0, 1), (0, 1))
    return model


def in_bgr(images):
    """Return standardised images, with blue first."""
    return standardise(np.ascontiguousarray(images[:, ::-1]))


def only_scaled(images):
    """Return pixels from 0 to 1."""
    return (images / 255).astype(np.float32)


PORTS = {
    "BGR": (port, in_bgr),
    "no normalisation": (port, only_scaled),
    "shuffle order": (port_in_authors_order, standardise),
    "24 against 32 channels": (port_with_more_channels, standardise),
    "padding": (port_from_tensorflow, standardise),
}

# %% [markdown]
# **Predict: which one costs most, and which one least?** Then run the cell.

# %% tags=["long"]
print(
    f"the right network: {accuracy(right_logits):.1%}, logits to {np.abs(right_logits).max():.0f}"
)
print(f"{'':24} accuracy   same answer   logits differ by")
costs = {}
for title, (build, prepare) in PORTS.items():
    logits = build(arrays).infer(prepare(test_set.images))
    costs[title] = accuracy(right_logits) - accuracy(logits)
    agree = (logits.argmax(axis=1) == right_logits.argmax(axis=1)).mean()
    largest = np.abs(logits - right_logits).max()
    print(f"{title:24} {accuracy(logits):7.1%} {agree:13.1%} {largest:16.1f}")

# %% tags=["hide-input", "long"]
# Picture: a bar for each wrong port, as long as the accuracy that it costs. The shuffle's order is
# among those that cost most: it leaves about one image in ten right.
figure, axes = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
axes.barh(list(costs), [100 * cost for cost in costs.values()], color="#D55E00")
axes.invert_yaxis()
axes.set(xlabel="accuracy lost, in percentage points")
axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %% [markdown]
# A wrong shuffle leaves nothing but chance. Padding and BGR are more dangerous: the network still
# works, only worse. Who doesn't know the right accuracy won't notice.
#
# ## The test that passes them all
#
# How do people test a port? They build both networks, copy the weights, and compare the logits of a
# random image. Often the weights are new, because that needs no download:

# %%
new = port(models.shufflenet_v2(**SETTINGS).state_dict())
some_images = test_set.images[:8]
new_logits = new.infer(standardise(some_images))
black_logits = new.infer(standardise(np.zeros_like(some_images)))


def passes(logits, expected):
    """Return what a usual test says."""
    return np.allclose(logits, expected, rtol=1e-3, atol=1e-5)


print(f"{'':24} logits differ by   allclose")
for title, (build, prepare) in PORTS.items():
    logits = build(new.state_dict()).infer(prepare(some_images))
    print(f"{title:24} {np.abs(logits - new_logits).max():16.1e}   {passes(logits, new_logits)}")
    assert passes(logits, new_logits)  # yes: each wrong port passes
print(f"{'black images':24} {np.abs(black_logits - new_logits).max():16.1e}")
print(f"{'one image, another one':24} {np.ptp(new_logits, axis=0).max():16.1e}")

# %% [markdown]
# All five pass, and so do black images. The reason is in batch normalisation. In a new network the
# running mean is 0 and the running variance is 1, so in evaluation mode it normalises nothing.
# Activations shrink from layer to layer, until only the biases are left. Look at the last line: the
# logits of two *different* images agree just as well.
#
# **So measure first how far two images are apart.** If that isn't much more than the difference
# that you want to see, the comparison can't tell. A forward in training mode fills the statistics:

# %%
print(inspect.getsource(nn.fill_statistics))

# %%
nn.fill_statistics(new, standardise(some_images))
filled = new.state_dict()
new_logits = new.infer(standardise(some_images))
print(f"two images are now {np.ptp(new_logits, axis=0).max():.2g} apart")
for title, (build, prepare) in PORTS.items():
    logits = build(filled).infer(prepare(some_images))
    print(f"{title:24} {np.abs(logits - new_logits).max():8.2g}   {passes(logits, new_logits)}")
    assert not passes(logits, new_logits)

# %% [markdown]
# Now the same test fails for each of them, with random weights, and without a download.
#
# ## Which layer is it?
#
# The logits tell *that* a port is wrong. To find out *where*, compare layer by layer.
#
# ### Exercise: the first layer that differs &#9679;&#9679;&#9679;
#
# `ours` and `theirs` map the names of layers to their outputs, in order. Return the name of the
# first layer in which theirs is wrong, or None. A layer is wrong if its shape differs, or if an
# entry differs by more than `tolerance` times the *largest absolute entry of our layer*, or is NaN.


# %% tags=["hide-input"]
def check_first(attempt):
    """Try one fault after the other, and name what is missed."""
    rng = np.random.default_rng(0)
    ours = {
        name: size * rng.normal(size=(2, 3, 4, 4))
        for name, size in (("conv", 1.0), ("unit 1", 1e-7), ("unit 2", 1e4))
    }
    ours["dead"] = np.zeros((2, 3, 4, 4))
    ours["logits"] = rng.normal(size=(2, 5))

    def but(name, change):
        return {**ours, name: change(ours[name].copy())}

    def nan(array):
        array[1, 2, 3, 1] = np.nan
        return array

    cases = {
        "equal networks": (ours, None),
        "only rounding, in a layer of large numbers": (but("unit 2", lambda a: a + 1e-3), None),
        "a layer of small numbers, with its channels reversed": (
            but("unit 1", lambda a: a[:, ::-1]),
            "unit 1",
        ),
        "NaN in one entry": (but("unit 2", nan), "unit 2"),
        "another size": (but("conv", lambda a: a[:, :, :1]), "conv"),
        "an output where ours is 0": (but("dead", lambda a: a + 1), "dead"),
        "negative numbers that are too small": (but("logits", lambda a: a - 1), "logits"),
    }
    for title, (theirs, right) in cases.items():
        found = attempt(ours, theirs, 1e-5)
        if found != right:
            print(f"{title}: you say {found}, it is {right}")
            return False
    print(f"right in all {len(cases)} cases")
    return True


# %% tags=["exercise", "raises-exception"]
def my_first_difference(ours, theirs, tolerance):
    raise NotImplementedError  # your code here


assert check_first(my_first_difference), "not yet"

# %% [markdown]
# <details>
# <summary>Hint 1</summary>
#
# Compare shapes before you subtract: NumPy would broadcast some of them.
#
# </details>
#
# <details>
# <summary>Hint 2</summary>
#
# `difference > limit` is False for NaN, and so is `difference <= limit`. Ask for the one that has
# to be True for a right layer.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution", "hide-input"]
def solved_first_difference(ours, theirs, tolerance):
    for name, array in ours.items():
        if theirs[name].shape != array.shape:
            return name
        difference = np.abs(theirs[name] - array).max()
        if not difference <= tolerance * np.abs(array).max():
            return name
    return None


assert check_first(solved_first_difference)

# %% [markdown]
# The next cell draws this for each wrong port. The weights are new, and the statistics aren't
# filled: layer by layer, relative to each layer's scale, even a new network shows where a port goes
# wrong.

# %% tags=["hide-input"]
# Picture: relative differences of all layers for the five wrong ports. Each begins at a layer of
# its own: BGR and the missing normalisation at the first convolution, the others in stage 2.
unfilled = models.shufflenet_v2(**SETTINGS).state_dict()


def outputs(build, prepare):
    """Return the outputs of convolutions, normalisations and shuffles by name."""
    model = build(unfilled)
    activations = model.trace(prepare(some_images)).activations
    model.release()
    kinds = nn.Conv2d, nn.BatchNorm2d, nn.ChannelShuffle
    named = (name for name, layer in model.named_layers() if isinstance(layer, kinds))
    return {name: activations[name] for name in named}


ours = outputs(port, standardise)
figure, axes = plt.subplots(figsize=(10, 3.6), layout="constrained")
for (title, functions), marker in zip(PORTS.items(), "ox^sv", strict=True):
    theirs = outputs(*functions)
    relative = [
        np.abs(theirs[name] - array).max() / np.abs(array).max()
        if theirs[name].shape == array.shape
        else np.nan
        for name, array in ours.items()
    ]
    wrong = [not value < 1e-4 for value in relative]
    print(f"{title:24} first differs in {list(ours)[wrong.index(True)]}")
    axes.semilogy(np.maximum(relative, 1e-7), marker, markersize=4, label=title)
starts = [number for number, name in enumerate(ours) if name.endswith("0.branch1.0")]
axes.set_xticks([0, *starts], ["conv1", "stage2", "stage3", "stage4"])
axes.set(ylabel="difference, relative to the layer")
axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# The port with more channels has no numbers in stage 2, because its shapes differ there.
#
# ## The library's tool
#
# `numpy-shufflenet compare OURS THEIRS --images FOLDER` does this for a network in PyTorch, or in
# an ONNX file. It knows how much difference rounding explains in each layer, because it runs our
# network in two precisions. And it says when a comparison can't tell. Here ours is the network with
# the authors' order, and theirs is the right one in PyTorch (if you have it):

# %% tags=["long"]
if importlib.util.find_spec("torch"):
    from numpy_shufflenet.compare import compare_networks
    from numpy_shufflenet.torch_peer import to_torch

    theirs = to_torch(port(unfilled))
    print(compare_networks(port(unfilled), theirs, standardise(some_images)), "\n")
    print(compare_networks(port_in_authors_order(unfilled), theirs, standardise(some_images)))
else:
    print('PyTorch isn\'t installed here: pip install "numpy_shufflenet[peers]"')

# %% [markdown]
# ## Recap
#
# <details>
# <summary>1. Why isn't a `.pth` file from a stranger only data?</summary>
#
# It holds a pickle: a program that may call any function that it names. Read it with a reader that
# accepts a short list of names, or use safetensors, whose header is JSON.
#
# </details>
#
# <details>
# <summary>2. All names and shapes fit, and nothing raises an error. Is the port right?</summary>
#
# Not necessarily. Order of colours, normalisation, shuffle and padding leave no trace in names and
# shapes. Compare outputs, of more than one image, and with statistics that aren't those of a new
# network.
#
# </details>
#
# <details>
# <summary>3. Two networks' logits agree to 1e-6. What else do you have to know?</summary>
#
# How far the logits of two different images are apart. If that is 1e-6, too, the agreement says
# nothing.
#
# </details>
#
# <details>
# <summary>4. Why is the difference of a layer divided by the layer's scale?</summary>
#
# In a new network, activations shrink from layer to layer. An absolute tolerance passes anything
# there. And in a layer of large numbers it would reject mere rounding.
#
# </details>
