"""The training loop: forward, backward and step for every batch, and a record of the results."""

import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from numpy_shufflenet._files import PathLike, existing_folder_of, expanded, remove_leftovers
from numpy_shufflenet._locks import FileLock
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data import Dataset, Standardise, augment, channel_statistics
from numpy_shufflenet.data.augment import draw_choices
from numpy_shufflenet.data.dataset import batch_indices
from numpy_shufflenet.models import MODELS
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from numpy_shufflenet.ops.checks import check_positive, check_share
from numpy_shufflenet.training._smallest_part import check_smallest_part
from numpy_shufflenet.training.average import WeightAverage
from numpy_shufflenet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from numpy_shufflenet.training.evaluation import dtype_of
from numpy_shufflenet.training.history import EpochRecord, History, StepReport
from numpy_shufflenet.training.optimiser import SGD
from numpy_shufflenet.training.passes import Passes
from numpy_shufflenet.training.schedule import Schedule
from numpy_shufflenet.training.share import Share


class TrainingDiverged(ValueError):  # noqa: N818 - no "Error" needed: the name says what happened
    """The loss or a weight is NaN or infinite."""


class Observer:
    """The trainer calls these methods during training; a subclass overrides some methods.

    An exception in an observer ends the training.
    """

    def begin(self, trainer: "Trainer") -> None:
        """Called when training starts or resumes."""

    def step(self, trainer: "Trainer", report: StepReport) -> None:
        """Called after each step."""

    def epoch(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Called after each epoch, when the test loss is known and the checkpoint is written."""

    def end(self, trainer: "Trainer") -> None:
        """Called at the end of training, also after an exception."""


class Trainer:
    """Trains a model on a set of images.

    Parameters
    ----------
    model : Layer
        Maps images (n, c, h, w) to logits. Its frozen layers stay as they are: see `Layer.frozen`.
    optimiser : SGD
        An optimiser of this model.
    train_set : Dataset
    test_set : Dataset, optional
        The model is evaluated on these images after each epoch.
    epochs, batch_size : int
        The last batch of an epoch may be smaller; see `steps_per_epoch`. Some networks can't be
        trained on a single image, because batch normalisation needs two values of each channel.
        If a batch would be a single image, ValueError names a batch size that fits.
    schedule : Schedule, optional
        Sets the learning rate before each step. Without a schedule, the learning rate stays.
    standardise : Standardise, optional
        Converts images to the input of the model. The default is measured on the training images.
    label_smoothing : float
    accumulation : int
        Number of parts into which a batch is split to save memory. The gradients of the parts add
        up to the gradient of the whole batch, except that batch normalisation uses the statistics
        of each part.
    augmentation : dict, optional
        Arguments of `data.augment`; None for no augmentation.
    average : float
        Decay of a `WeightAverage`, or 0 for none. With an average, the test loss and the model of
        a checkpoint are those of the average; `model` keeps the weights of the last step.
    seed : int
        Seed for the order of the images, and for augmentation.
    checkpoint : path, optional
        A file, written after each epoch.

    Attributes
    ----------
    epoch, step : int
        Number of finished epochs and steps.
    history : History

    Raises
    ------
    ValueError
        If an argument is out of range, a batch would be a single image but the network needs two,
        or every parameter is frozen.
    """

    def __init__(
        self,
        model: Layer,
        optimiser: SGD,
        train_set: Dataset,
        test_set: Dataset | None = None,
        *,
        epochs: int,
        batch_size: int,
        schedule: Schedule | None = None,
        standardise: Standardise | None = None,
        label_smoothing: float = 0.0,
        accumulation: int = 1,
        augmentation: Mapping[str, Any] | None = None,
        average: float = 0.0,
        seed: int = 0,
        checkpoint: PathLike | None = None,
    ):
        if optimiser.model is not model:
            raise ValueError("optimiser belongs to another model; make it from this one")
        if len(train_set) == 0:
            raise ValueError("train_set has 0 images; at least 1 is needed")
        if all(parameter.frozen for _, parameter in model.named_parameters()):
            raise ValueError("every parameter of the model is frozen; nothing would be trained")
        self.model = model
        self.optimiser = optimiser
        self.train_set = train_set
        self.test_set = test_set
        self.epochs = check_positive("epochs", epochs)
        self.batch_size = check_positive("batch_size", batch_size)
        self.schedule = schedule
        self.standardise = standardise or channel_statistics(train_set.images)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)
        self.accumulation = check_positive("accumulation", accumulation)
        self.augmentation = None if augmentation is None else dict(augmentation)
        if self.augmentation is not None:
            augment(train_set.images[:1], np.random.default_rng(), **self.augmentation)  # checks
        average = check_share("average", average, below=True)
        self.average = WeightAverage(model, average) if average else None
        self._dtype = dtype_of(model)
        with np.errstate(over="ignore", invalid="ignore"):  # of a std that hardly fits the dtype
            x = self.standardise(train_set.images[:1], self._dtype)
        check_smallest_part(model, x, len(train_set), self.batch_size, self.accumulation)
        self.checkpoint = checkpoint
        self._lock: FileLock | None = None
        self.epoch = 0
        self.step = 0
        self.history = History()
        self.share = Share()
        self._rng = np.random.default_rng(seed)
        self._within_epoch = False
        self._passes = Passes(model)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in one epoch."""
        return steps_per_epoch(len(self.train_set), self.batch_size)

    def run(self, observers: Iterable[Observer] = ()) -> History:
        """Train from the current epoch to the last one.

        After an exception, Ctrl-C included, continue from the checkpoint with `resume`.

        Raises
        ------
        TrainingDiverged
            If the loss or a weight is NaN or infinite. The checkpoint, if any, has the state after
            the previous epoch.
        ValueError
            If an earlier call stopped in the middle of an epoch.
        OSError
            In the cases of `exclusive`, and if a checkpoint can't be written. The message says
            which epoch the last checkpoint holds.
        """
        if self._within_epoch:
            raise ValueError(
                f"this training has stopped within epoch {self.epoch + 1}; Trainer.resume "
                "continues from the checkpoint of the last complete epoch"
            )
        observers = tuple(observers)
        with self.exclusive():
            if self.checkpoint is not None:
                remove_leftovers(expanded(self.checkpoint).parent)
            self._run(observers)
        return self.history

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other trainings away from the checkpoint, during a `with` block.

        `run` does that, too. The lock ends with the process, even if the process is killed.

        Raises
        ------
        BlockingIOError
            If another training writes to the same file; the message has its process number.
        OSError
            If the folder of the checkpoint doesn't exist, or can't be written to.
        """
        if self.checkpoint is None:
            return nullcontext()
        path = existing_folder_of(self.checkpoint)
        if self._lock is None or self._lock.path != path:
            self._lock = FileLock(path)
        return self._lock

    def _run(self, observers: tuple[Observer, ...]) -> None:
        self.model.release()  # caches that an interrupted training may have left
        try:
            for observer in observers:
                observer.begin(self)
            while self.epoch < self.epochs:
                self._run_epoch(observers)
        finally:
            self.model.release()  # caches that an exception left between forward and backward
            self._passes.release()
            for observer in observers:
                observer.end(self)

    def _run_epoch(self, observers: tuple[Observer, ...]) -> None:
        start = time.perf_counter()
        self._within_epoch = True
        reports = []
        for chosen in batch_indices(len(self.train_set), self.batch_size, self._rng):
            reports.append(self._run_step(chosen))
            for observer in observers:
                observer.step(self, reports[-1])
        seen = sum(report.images for report in reports)
        test_loss, test_accuracy = self._evaluate()
        self.epoch += 1
        record = EpochRecord(
            epoch=self.epoch,
            steps=self.step,
            train_loss=sum(report.loss * report.images for report in reports) / seen,
            train_accuracy=sum(report.correct for report in reports) / seen,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            seconds=time.perf_counter() - start,
        )
        self.history.epochs.append(record)
        if self.checkpoint is not None:
            self._save(self.checkpoint)
        self._within_epoch = False
        for observer in observers:
            observer.epoch(self, record)

    def _save(self, path: PathLike) -> None:
        """Write the checkpoint; if that fails, say which epoch the old checkpoint holds."""
        try:
            save_checkpoint(path, self.state())
        except OSError as error:
            kept = self._kept(self.epoch - 1)
            message = f"{error.args[-1]}; epoch {self.epoch} is lost: {kept}"
            raise type(error)(*error.args[:-1], message) from error

    def _kept(self, epoch: int) -> str:
        """Say what the checkpoint holds, if `epoch` is the last epoch that was written."""
        if self.checkpoint is None or not epoch:
            return "there is no checkpoint yet"
        return f"{self.checkpoint} holds the end of epoch {epoch}"

    def _run_step(self, chosen: Array) -> StepReport:
        """Run one step of the optimiser with the gradient of the mean loss of some images."""
        if self.schedule is not None:
            self.optimiser.learning_rate = self.schedule(self.step)
        self.model.zero_gradients()
        n, loss, correct = len(chosen), 0.0, 0
        augmented = self._augmentation(n)
        parts = np.array_split(np.arange(n), min(self.accumulation, n))
        # `_check_finite` reports an overflow, so NumPy need not warn.
        with np.errstate(over="ignore", invalid="ignore"):
            for part in parts:
                own = self.share.own(self.model, part)
                images = augmented(self.train_set.images[chosen[own]], own)
                labels = self.train_set.labels[chosen[own]]
                x = self.standardise(images, self._dtype)  # b c h w
                logits = self._passes.forward(x)  # b k
                part_loss, cache = softmax_cross_entropy_forward(
                    logits, labels, label_smoothing=self.label_smoothing
                )
                # Parts may differ in size, so each part's weight is its share of the batch.
                share = len(own) / n
                loss += share * float(part_loss)
                correct += int((logits.argmax(axis=1) == labels).sum())
                with self.share.reduction(loss, correct, last=part is parts[-1]):
                    self._passes.backward(softmax_cross_entropy_backward(share, cache))
            loss, correct = self.share.totals()
            self._check_finite("the loss", loss, self.step + 1)
            self.optimiser.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        learning_rate = self.optimiser.learning_rate
        self.history.loss.append(loss)
        self.history.learning_rate.append(learning_rate)
        return StepReport(self.step, n, correct, loss, learning_rate)

    def _evaluate(self) -> tuple[float | None, float | None]:
        """Check that the weights are finite; return the test loss and the test accuracy."""
        self.share.end_epoch(self.model, self.epoch + 1)
        for name, array in self.model.state_dict().items():
            self._check_finite(name, array, self.step)
        with self.averaged():
            if self.average is not None:
                self.share.end_epoch(self.model, self.epoch + 1)
            if self.test_set is None:
                return None, None
            loss, accuracy = self.share.evaluate(self.model, self.test_set, self.standardise)
        self._check_finite("the test loss", loss, self.step)
        return loss, accuracy

    def averaged(self) -> AbstractContextManager[None]:
        """Give the model the average of its weights, if there is one, during a `with` block."""
        return nullcontext() if self.average is None else self.average.in_model()

    def _check_finite(self, what: str, value: Any, step: int) -> None:
        if np.isfinite(value).all():
            return
        found = "nan" if np.isnan(value).any() else "infinite"
        raise TrainingDiverged(
            f"{what} is {found} at step {step} (epoch {self.epoch + 1}), with "
            f"learning_rate={self.optimiser.learning_rate:g}; "
            f"try a lower one, or a longer warm-up; {self._kept(self.epoch)}"
        )

    def _augmentation(self, n: int) -> Callable[[Array, Array], Array]:
        """Return a function of images and their indices in a batch of n; it augments them."""
        if self.augmentation is None:
            return lambda images, rows: images
        choices = draw_choices(n, self._rng, **self.augmentation)
        return lambda images, rows: choices.of(rows).apply(images)

    def state(self) -> Checkpoint:
        """Return a copy of the state of this training, between two epochs."""
        config = getattr(self.model, "config", None) or {}
        weights = self.model.state_dict()
        return Checkpoint(
            model=weights if self.average is None else self.average.state_dict(),
            latest={} if self.average is None else weights,
            architecture=config if config.get("name") in MODELS else None,
            optimiser=self.optimiser.state_dict(),
            schedule=None if self.schedule is None else self.schedule.to_dict(),
            settings={
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "label_smoothing": self.label_smoothing,
                "accumulation": self.accumulation,
                "augmentation": self.augmentation,
                "average": 0.0 if self.average is None else self.average.decay,
            },
            standardise=self.standardise,
            fingerprint=fingerprint(self.train_set),
            image_shape=self.train_set.images.shape[1:],
            classes=self.train_set.classes,
            epoch=self.epoch,
            step=self.step,
            history=self.history.to_dict(),
            rng={name: rng.bit_generator.state for name, rng in self._generators().items()},
            frozen=tuple(self.model.frozen_layers()),
        )

    @classmethod
    def resume(
        cls,
        path: PathLike,
        train_set: Dataset,
        test_set: Dataset | None = None,
        *,
        model: Layer | None = None,
        epochs: int | None = None,
    ) -> "Trainer":
        """Return a Trainer that continues from a checkpoint.

        The final weights are bitwise the same as without the interruption.

        Parameters
        ----------
        path : path
            The checkpoint. The training continues to write to this file.
        train_set, test_set : Dataset
            The same sets as at the start of the training.
        model : Layer, optional
            A model that receives the weights; needed only if the first model had no `config`.
        epochs : int, optional
            The new number of epochs, at least the number of finished epochs. A schedule is
            stretched: the learning rate continues as if the training had been planned with this
            number of epochs from the start. By default, the number stays.

        Raises
        ------
        FileNotFoundError, ValueError
            In the same cases as `load_checkpoint`, and if the model or the training set doesn't fit
            the checkpoint, or `epochs` is too small.
        """
        checkpoint = load_checkpoint(path)
        if fingerprint(train_set) != checkpoint.fingerprint:
            raise ValueError(
                f"train_set={train_set!r} is not the training set of the training in {path}"
            )
        try:
            return cls._resume(checkpoint, path, train_set, test_set, model, epochs)
        except ValueError as error:
            if checkpoint.source in str(error):
                raise
            raise ValueError(f"{checkpoint.source}: {error}") from error

    @classmethod
    def _resume(
        cls,
        checkpoint: Checkpoint,
        path: PathLike,
        train_set: Dataset,
        test_set: Dataset | None,
        model: Layer | None,
        epochs: int | None,
    ) -> "Trainer":
        if model is None:
            model = checkpoint.build_model()
        else:
            checkpoint.fill(model)
        model.frozen = False
        if checkpoint.frozen:
            model.freeze(*checkpoint.frozen)
        optimiser = SGD(model, learning_rate=0.0)
        optimiser.load_state_dict(checkpoint.optimiser)
        schedule = None if checkpoint.schedule is None else Schedule(**checkpoint.schedule)
        settings = dict(checkpoint.settings)
        if epochs is not None:
            if check_positive("epochs", epochs) < checkpoint.epoch:
                raise ValueError(f"epochs={epochs}, but {checkpoint.epoch} are done already")
            if schedule is not None:
                schedule = schedule.stretched(epochs, settings["epochs"])
            settings["epochs"] = epochs
        trainer = cls(
            model,
            optimiser,
            train_set,
            test_set,
            schedule=schedule,
            standardise=checkpoint.standardise,
            checkpoint=path,
            **settings,
        )
        if checkpoint.step != checkpoint.epoch * trainer.steps_per_epoch:
            raise ValueError(
                f"its field settings.batch_size holds {trainer.batch_size}, with which "
                f"{checkpoint.epoch} epochs of {len(train_set)} images are "
                f"{checkpoint.epoch * trainer.steps_per_epoch} steps; its field step holds "
                f"{checkpoint.step}"
            )
        if checkpoint.latest:  # until here, the model has had the average
            model.load_state_dict(checkpoint.latest)
        trainer.epoch, trainer.step = checkpoint.epoch, checkpoint.step
        trainer.history = History.from_dict(checkpoint.history)
        generators = trainer._generators()
        if generators.keys() != checkpoint.rng.keys():
            raise ValueError(
                f"its field rng has {', '.join(checkpoint.rng)}; {', '.join(generators)} is needed"
            )
        for name, rng in generators.items():
            rng.bit_generator.state = checkpoint.rng[name]
        return trainer

    def _generators(self) -> dict[str, np.random.Generator]:
        """Return all random generators: one of this loop, and one of each dropout layer."""
        found = {"trainer": self._rng}
        for name, layer in self.model.named_layers():
            rng = getattr(layer, "rng", None)
            if isinstance(rng, np.random.Generator):
                found[f"model.{name}"] = rng
        return found


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches in one epoch, including a smaller last batch."""
    return -(-check_positive("images", images) // check_positive("batch_size", batch_size))


def fingerprint(dataset: Dataset) -> int:
    """Return a checksum of the images and labels."""
    return zlib.crc32(dataset.labels.tobytes(), zlib.crc32(dataset.images.tobytes()))
