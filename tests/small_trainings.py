"""Small networks and trainings in which one process and several ranks must agree."""

import hashlib

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.training import SGD, Distributed, Schedule, Trainer

IMAGES, STEPS = 29, 50
CLASSES = ("a", "b", "c", "d")


def network(name, *, dropout=0.0, dtype=np.float64, seed=0):
    """Units of V1 or V2 on images (1, 8, 7), with weights that keep the scale of activations."""
    units = {
        "V1": (
            nn.ShuffleNetV1Unit(8, 24, groups=2, stride=2, first_groups=1),
            nn.ShuffleNetV1Unit(24, 24, groups=2, stride=1),
        ),
        "V2": (
            nn.ShuffleNetV2Unit(8, 16, stride=2),
            nn.ShuffleNetV2Unit(16, 16, stride=1),
        ),
    }[name]
    features = {"V1": 24, "V2": 16}[name]
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *units,
        nn.GlobalAvgPool(),
        *([nn.Dropout(dropout, seed=seed)] if dropout else []),
        nn.Linear(features, len(CLASSES)),
    )
    rng = np.random.default_rng(seed)
    for p in model.parameters().values():
        if p.ndim > 1:
            p[...] = rng.normal(scale=np.sqrt(2 / np.prod(p.shape[1:])), size=p.shape)
        else:
            p += rng.normal(scale=0.2, size=p.shape)
    return model.astype(dtype)


def images(n=IMAGES, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, size=(n, 1, 8, 7), dtype=np.uint8)
    return Dataset(values, rng.integers(0, len(CLASSES), size=n), CLASSES)


def trainer(name, *, steps=STEPS, batch_size=10, dropout=0.0, dtype=np.float64, seed=0, **settings):
    """29 images in batches of 10, 10 and 9; with accumulation 2, parts of 5, 5, 5, 5, 5 and 4."""
    model = settings.pop("model", None) or network(name, dropout=dropout, dtype=dtype)
    train_set = settings.pop("train_set", None) or images()
    optimiser = SGD(
        model,
        learning_rate=settings.pop("learning_rate", 0.01),
        momentum=settings.pop("momentum", 0.9),
        nesterov=settings.pop("nesterov", True),
        weight_decay=settings.pop("weight_decay", 0.01),
    )
    epochs = settings.pop("epochs", -(-steps // 3))
    return Trainer(
        model,
        optimiser,
        train_set,
        images(9, seed=1),
        epochs=epochs,
        batch_size=batch_size,
        schedule=Schedule("cosine", 0.01, 3 * epochs, 2),
        seed=seed,
        **{
            "label_smoothing": 0.1,
            "augmentation": {"flip": True, "crop_padding": 1},
            **settings,
        },
    )


def train(ranks, name, *, sync_batch_norm=True, **settings):
    """Return the state after a training on these ranks."""
    made = trainer(name, **settings)
    Distributed(made, ranks, sync_batch_norm=sync_batch_norm, bucket_bytes=4000).run()
    return made.state()


def difference(state, other):
    """The largest difference of weights and statistics, of velocities, and of losses."""
    kinds = [
        [(array, other.model[name]) for name, array in state.model.items()],
        [(v, other.optimiser["velocity"][name]) for name, v in state.optimiser["velocity"].items()],
        [(state.history["loss"], other.history["loss"])],
        [tuple([e["test_loss"] for e in s.history["epochs"]] for s in (state, other))],
    ]
    return max(
        max(np.abs(np.subtract(a, b)).max() for a, b in pairs)
        / max(np.abs(b).max() for _, b in pairs)
        for pairs in kinds
        if pairs
    )


def bits(state):
    """A digest of all weights, statistics and velocities."""
    digest = hashlib.sha256()
    for arrays in (state.model, state.optimiser["velocity"]):
        for name, array in arrays.items():
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()
