"""A network and images so small that a training takes a moment."""

from collections.abc import Callable

import numpy as np
import pytest

from numpy_shufflenet import nn
from numpy_shufflenet.data import Dataset

CLASSES = ("dark", "bright", "left", "right")


@pytest.fixture
def small_set() -> Callable[..., Dataset]:
    """small_set(n, seed): n noisy images (1, 6, 5), the class of which can be learned."""

    def make(n: int, seed: int = 0) -> Dataset:
        rng = np.random.default_rng(seed)
        images = rng.integers(60, 140, size=(n, 1, 6, 5), dtype=np.uint8)
        labels = rng.integers(0, len(CLASSES), size=n)
        images[labels == 0] //= 4
        images[labels == 1] += 100
        images[labels == 2, :, :, :2] += 100
        images[labels == 3, :, :, 3:] += 100
        return Dataset(images, labels, CLASSES)

    return make


@pytest.fixture
def small_network() -> Callable[..., nn.Sequential]:
    """small_network(seed, batch_norm=True, dropout=0.0, dtype="float32")."""

    def make(
        seed: int = 0, *, batch_norm: bool = True, dropout: float = 0.0, dtype: str = "float32"
    ) -> nn.Sequential:
        model = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=not batch_norm),
            *([nn.BatchNorm2d(6)] if batch_norm else []),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2, bias=True),
            nn.ReLU(),
            nn.GlobalAvgPool(),
            *([nn.Dropout(dropout, seed=seed)] if dropout else []),
            nn.Linear(8, len(CLASSES)),
        )
        rng = np.random.default_rng(seed)
        for p in model.parameters().values():
            p[...] = rng.normal(scale=0.5, size=p.shape)
        return model.astype(dtype)

    return make
