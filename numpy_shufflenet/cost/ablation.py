"""Shuffle against no shuffle: V1's table 3 on images that a laptop can train on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet.ops.checks import check_positive

# Test error in % of V1 0.25x on ImageNet, without and with the shuffle: V1, table 3.
PAPER = {3: (56.3, 55.0), 8: (56.5, 52.7)}

# Two-sided 95 % quantiles of Student's t, by degrees of freedom.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
LARGE_SAMPLE = 1.96


@dataclass(frozen=True)
class Ablation:
    """Test errors of networks that differ in the shuffle only.

    Attributes
    ----------
    groups, images, epochs : int
        Of the network; in training; rounds over them.
    without_shuffle, with_shuffle : tuple of float
        Share of the test images classified wrongly, one for each seed: the same weights and the
        same order of images to begin with.
    """

    groups: int
    images: int
    epochs: int
    without_shuffle: tuple[float, ...]
    with_shuffle: tuple[float, ...]

    @property
    def gain(self) -> tuple[float, float, float]:
        """Mean error that the shuffle takes away, and its 95 % interval over paired seeds."""
        differences = np.subtract(self.without_shuffle, self.with_shuffle)
        n = len(differences)
        quantile = STUDENT[n - 2] if n - 2 < len(STUDENT) else LARGE_SAMPLE
        half = quantile * float(differences.std(ddof=1)) / math.sqrt(n)
        mean = float(differences.mean())
        return mean, mean - half, mean + half

    @property
    def verdict(self) -> str:
        """What these seeds say."""
        _, low, high = self.gain
        if low > 0:
            return "holds: with the shuffle fewer images are classified wrongly"
        if high < 0:
            return "does not hold here: with the shuffle more images are classified wrongly"
        return "can't be told: the seeds differ by more than the shuffle does"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types, for JSON."""
        mean, low, high = self.gain
        return {
            "groups": self.groups,
            "images": self.images,
            "epochs": self.epochs,
            "error_without_shuffle": list(self.without_shuffle),
            "error_with_shuffle": list(self.with_shuffle),
            "gain": {"mean": mean, "low": low, "high": high},
            "verdict": self.verdict,
            "paper_imagenet_error_percent": PAPER.get(self.groups),
        }


def shuffle_ablation(
    *,
    groups: int = 8,
    seeds: int = 3,
    images: int = 2000,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float = 0.05,
    test_images: int = 2000,
    on_step: Callable[[], object] = lambda: None,
) -> Ablation:
    """Train ShuffleNet V1 0.25x on the embedded images, with and without the shuffle.

    Parameters
    ----------
    groups : int
        Of the network; the more, the more the shuffle has to mend.
    seeds : int
        Pairs of networks, at least 2.
    images : int
        Of the 10,000 to train on.
    epochs, batch_size : int
    learning_rate : float
        Its peak.
    test_images : int
        Of the 2,000 to test on.
    on_step : callable, optional
        Called after each step of a training.

    Raises
    ------
    ValueError
        If there are fewer than 2 seeds, or more images than there are.
    """
    from numpy_shufflenet.data import load_embedded

    if check_positive("seeds", seeds) < 2:
        raise ValueError(f"seeds={seeds} shows no spread; at least 2 are needed")
    train_set, test_set = load_embedded()
    train_set = _some("images", train_set, images)
    test_set = _some("test_images", test_set, test_images)
    errors: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(seeds):
        for shuffle in (False, True):
            error = _train(
                train_set,
                test_set,
                groups=groups,
                shuffle=shuffle,
                seed=seed,
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                on_step=on_step,
            )
            errors[shuffle].append(error)
    return Ablation(groups, images, epochs, tuple(errors[False]), tuple(errors[True]))


def total_steps(*, seeds: int, images: int, epochs: int, batch_size: int = 32) -> int:
    """Return how many steps an ablation takes."""
    from numpy_shufflenet.training import steps_per_epoch

    return 2 * seeds * epochs * steps_per_epoch(images, batch_size)


def _some(name: str, dataset: Any, count: int) -> Any:
    """Return so many images, always the same."""
    if check_positive(name, count) > len(dataset):
        raise ValueError(f"{name}={count} is more than the {len(dataset)} there are")
    return dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:count])


def _train(
    train_set: Any,
    test_set: Any,
    *,
    groups: int,
    shuffle: bool,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    on_step: Callable[[], object],
) -> float:
    """Return the test error of one network."""
    from numpy_shufflenet.models import shufflenet_v1
    from numpy_shufflenet.training import (
        SGD,
        Observer,
        Schedule,
        Trainer,
        evaluate,
        steps_per_epoch,
    )

    class Ticks(Observer):
        """Passes on that a step is done."""

        def step(self, trainer: Any, report: Any) -> None:
            """Say so."""
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
    optimiser = SGD(
        model, learning_rate=learning_rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = epochs * steps_per_epoch(len(train_set), batch_size)
    trainer = Trainer(
        model,
        optimiser,
        train_set,
        epochs=epochs,
        batch_size=batch_size,
        schedule=Schedule("cosine", learning_rate, steps, steps // 10),
        augmentation={"flip": True},
        seed=seed,
    )
    trainer.run([Ticks()])
    return 1 - evaluate(model, test_set, trainer.standardise).accuracy
