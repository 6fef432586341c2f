"""The share of a training's work that one process does."""

from collections.abc import Iterator
from contextlib import contextmanager

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data import Dataset, Standardise
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.training.evaluation import evaluate


class Share:
    """All of the work. `distributed.RankShare` is the share of one of several processes."""

    def __init__(self) -> None:
        self._totals = (0.0, 0)

    def own(self, model: Layer, part: Array) -> Array:
        """Return those indices of a part of a batch that this process computes next."""
        return part

    @contextmanager
    def reduction(self, loss: float, correct: int, *, last: bool) -> Iterator[None]:
        """Run the backward of a part; after the last part, gradients are those of the batch.

        `loss` and `correct` are the sums over all parts so far, of this process.
        """
        yield
        self._totals = loss, correct

    def totals(self) -> tuple[float, int]:
        """Return the loss, and the number of correct images, of the whole batch."""
        return self._totals

    def end_epoch(self, model: Layer, epoch: int) -> None:
        """Prepare the model for its evaluation and the checkpoint."""

    def evaluate(
        self, model: Layer, dataset: Dataset, standardise: Standardise
    ) -> tuple[float, float]:
        """Return the loss and the accuracy on a dataset."""
        found = evaluate(model, dataset, standardise)
        return found.loss, found.accuracy
