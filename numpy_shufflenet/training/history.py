"""What happened in a training, as plain numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """One step of the optimiser.

    Attributes
    ----------
    step : int
        Counted from 1, over all epochs.
    images : int
        Size of the batch.
    correct : int
        Images of it that were classified rightly, in training mode.
    loss, learning_rate : float
    """

    step: int
    images: int
    correct: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training images.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    steps : int
        Steps since the start of the training.
    train_loss, train_accuracy : float
        Means over the epoch's images as they were seen: augmented, by the network as it was at
        that step, in training mode, the loss with label smoothing.
    test_loss, test_accuracy : float or None
        From `evaluate` after the epoch; None without test images.
    seconds : float
        What the epoch took, evaluation included.
    """

    epoch: int
    steps: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float


@dataclass
class History:
    """Loss and learning rate of every step, and a record of every epoch."""

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as lists and dicts of numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "History":
        """Make a history again from what `to_dict` returned."""
        return cls(
            list(values["loss"]),
            list(values["learning_rate"]),
            [EpochRecord(**record) for record in values["epochs"]],
        )
