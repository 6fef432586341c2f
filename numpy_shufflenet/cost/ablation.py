"""Training with and without the channel shuffle, as in V1's table 3, on images fit for a laptop.

Each seed gives a pair of trainings that start from the same weights and see the images in the same
order. Only the shuffle differs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet.ops.checks import check_positive

#: For each number of groups, the test errors in % of V1 0.25x on ImageNet without and with the
#: shuffle (V1, table 3).
PAPER = {3: (56.3, 55.0), 8: (56.5, 52.7)}

#: Two-sided 95 % quantiles of Student's t distribution, for 1, 2, ... degrees of freedom.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
LARGE_SAMPLE = 1.96


@dataclass(frozen=True)
class Ablation:
    """Test errors of networks that differ only in the shuffle."""

    groups: int
    images: int  #: training images
    epochs: int
    without_shuffle: tuple[float, ...]  #: share of wrongly classified test images, for each seed
    with_shuffle: tuple[float, ...]

    @property
    def gain(self) -> tuple[float, float, float]:
        """The mean decrease of the error by the shuffle, and the bounds of its 95 % interval.

        The interval comes from a paired t-test over the seeds.
        """
        differences = np.subtract(self.without_shuffle, self.with_shuffle)
        n = len(differences)
        quantile = STUDENT[n - 2] if n - 2 < len(STUDENT) else LARGE_SAMPLE
        half = quantile * float(differences.std(ddof=1)) / math.sqrt(n)
        mean = float(differences.mean())
        return mean, mean - half, mean + half

    @property
    def verdict(self) -> str:
        """Whether the paper's claim holds for these seeds."""
        _, low, high = self.gain
        if low > 0:
            return "holds: with the shuffle fewer images are classified wrongly"
        if high < 0:
            return "does not hold here: with the shuffle more images are classified wrongly"
        return "not clear: the seeds differ more from each other than the shuffle changes"

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, for JSON."""
        return {
            "groups": self.groups,
            "images": self.images,
            "epochs": self.epochs,
            "error_without_shuffle": list(self.without_shuffle),
            "error_with_shuffle": list(self.with_shuffle),
            "gain": dict(zip(("mean", "low", "high"), self.gain, strict=True)),
            "verdict": self.verdict,
            "paper_imagenet_error_percent": PAPER.get(self.groups),
        }


def _nothing() -> None:
    """Do nothing. Unlike a lambda, this function can be sent to another process."""


def shuffle_ablation(
    *,
    groups: int = 8,
    seeds: int = 3,
    images: int = 2000,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    test_images: int = 2000,
    on_step: Callable[[], object] = _nothing,
    share: Callable[..., Any] = map,
) -> Ablation:
    """Train ShuffleNet V1 0.25x on the embedded images, with and without the shuffle.

    Parameters
    ----------
    groups : int
        With more groups, the shuffle matters more.
    seeds : int
        Number of pairs of networks, at least 2.
    images : int
        Number of training images, at most 10,000.
    learning_rate : float
        The peak of the learning rate.
    test_images : int
        Number of test images, at most 2,000.
    on_step : callable, optional
        Called after each training step.
    share : callable
        share(train, shuffles, seeds) returns train(shuffle, seed) for each pair, in order. `map`
        does one after the other; the `map` of an executor shares them among processes.

    Raises
    ------
    ValueError
        If `seeds` is below 2, or the dataset has fewer images than asked for.
    """
    from numpy_shufflenet.data import load_embedded

    if check_positive("seeds", seeds) < 2:
        raise ValueError(f"seeds={seeds} shows no spread; at least 2 are needed")
    train_set, test_set = load_embedded()
    train_set = _subset("images", train_set, images)
    test_set = _subset("test_images", test_set, test_images)
    settings: dict[str, Any] = {"groups": groups, "epochs": epochs, "batch_size": batch_size}
    train = partial(
        _train, train_set, test_set, learning_rate=learning_rate, on_step=on_step, **settings
    )
    pairs = [(shuffle, seed) for seed in range(seeds) for shuffle in (False, True)]
    errors = list(share(train, *zip(*pairs, strict=True)))
    return Ablation(groups, images, epochs, tuple(errors[::2]), tuple(errors[1::2]))


def total_steps(*, seeds: int, images: int, epochs: int, batch_size: int = 32) -> int:
    """Return the number of training steps of an ablation."""
    from numpy_shufflenet.training import steps_per_epoch

    return 2 * seeds * epochs * steps_per_epoch(images, batch_size)


def _subset(name: str, dataset: Any, count: int) -> Any:
    """Return `count` images of a dataset, always the same ones."""
    if check_positive(name, count) > len(dataset):
        raise ValueError(f"{name}={count} is more than the {len(dataset)} images in the dataset")
    return dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:count])


def _train(
    train_set: Any,
    test_set: Any,
    shuffle: bool,
    seed: int,
    *,
    groups: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    on_step: Callable[[], object],
) -> float:
    """Train one network and return its test error."""
    from numpy_shufflenet import training
    from numpy_shufflenet.models import shufflenet_v1

    class StepCallback(training.Observer):
        """Calls `on_step` after each training step."""

        def step(self, trainer: Any, report: Any) -> None:
            """Called by the trainer."""
            on_step()

    model = shufflenet_v1(
        groups=groups,
        scale=0.25,
        shuffle=shuffle,
        num_classes=len(train_set.classes),
        in_channels=train_set.images.shape[1],
        stem="small",
        seed=seed,
    )
    optimiser = training.SGD(
        model, learning_rate=learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = epochs * training.steps_per_epoch(len(train_set), batch_size)
    trainer = training.Trainer(
        model,
        optimiser,
        train_set,
        epochs=epochs,
        batch_size=batch_size,
        schedule=training.Schedule("cosine", learning_rate, steps, steps // 10),
        augmentation={"flip": True},
        seed=seed,
    )
    trainer.run([StepCallback()])
    return 1 - training.evaluate(model, test_set, trainer.standardise).accuracy
