"""The history of a training, as plain numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """One step of the optimiser."""

    #: Number of the step, counted from 1 over all epochs.
    step: int
    #: Size of the batch.
    images: int
    #: Number of images in the batch that were classified correctly, in training mode.
    correct: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training images.

    The training loss and accuracy are means over the steps of the epoch. The images are augmented,
    the model is in training mode, and the loss has label smoothing. The test loss and accuracy come
    from `evaluate` after the epoch; without test images, the test values are None.
    """

    #: Number of the epoch, counted from 1.
    epoch: int
    #: Number of steps since the start of the training.
    steps: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    #: Duration of the epoch, evaluation included.
    seconds: float


@dataclass
class History:
    """The loss and the learning rate of every step, and a record of every epoch."""

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the history as lists and dicts of numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "History":
        """Make a history from the result of `to_dict`."""
        return cls(
            list(values["loss"]),
            list(values["learning_rate"]),
            [EpochRecord(**record) for record in values["epochs"]],
        )
