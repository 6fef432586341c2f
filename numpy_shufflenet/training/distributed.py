"""Data-parallel training: each rank computes its share of every batch, and all do the same update.

With n ranks, rank r takes images r m / n to (r + 1) m / n of each part of m images. Its loss is the
mean over its own images; weighted by their share of the batch, the losses of all ranks add up to
the mean over the batch, and the gradients to its gradient, also where shares are unequal.

Batch normalisation is the exception: its statistics are those of a rank's own images, unless it is
synchronised. Then n ranks compute what one process computes, up to rounding.
"""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet._version import __version__
from numpy_shufflenet.data import Dataset, Standardise
from numpy_shufflenet.distributed import (
    BUCKET_BYTES,
    Buckets,
    Communicator,
    check_equal,
    together,
    world,
)
from numpy_shufflenet.nn import Buffer, Dropout, Layer, synchronise
from numpy_shufflenet.training._smallest_part import (
    error_of_one_image,
    fitting_batch_size,
    smallest_part,
)
from numpy_shufflenet.training.evaluation import evaluate
from numpy_shufflenet.training.history import History
from numpy_shufflenet.training.loop import Observer, Trainer, TrainingDiverged, fingerprint
from numpy_shufflenet.training.share import Share


class RankShare(Share):
    """The share of one rank; see `Share`."""

    def __init__(self, ranks: Communicator, buckets: Buckets, *, synchronised: bool):
        super().__init__()
        self._ranks = ranks
        self._buckets = buckets
        self._synchronised = synchronised

    def own(self, model: Layer, part: Array) -> Array:
        """Return this rank's indices, and let dropout skip the masks of the other ranks."""
        shares = np.array_split(part, self._ranks.size)
        own = shares[self._ranks.rank]
        before = sum(map(len, shares[: self._ranks.rank]))
        for _, layer in model.named_layers():
            if isinstance(layer, Dropout):
                layer.others = before, len(part) - before - len(own)
        return own

    @contextmanager
    def reduction(self, loss: float, correct: int, *, last: bool) -> Iterator[None]:
        """Run a backward; with the last one, start to add up the loss and all gradients."""
        total = self._ranks.start_sum(np.array([loss, correct], float)) if last else None
        with self._buckets.reduction() if last else nullcontext():
            yield
        if total is not None:
            loss, correct = total()
            self._totals = float(loss), int(correct)

    def end_epoch(self, model: Layer, epoch: int) -> None:
        """Give all ranks the mean of their running statistics, and compare the weights."""
        if not self._synchronised:
            stored = [b for _, b in model._named(Buffer) if b.value.dtype.kind == "f"]
            if stored:
                vector = np.concatenate([buffer.value.ravel() for buffer in stored], dtype=float)
                mean = self._ranks.gather(vector).mean(axis=0)
                ends = np.cumsum([buffer.value.size for buffer in stored])
                for buffer, values in zip(stored, np.split(mean, ends[:-1]), strict=True):
                    buffer.value[...] = values.reshape(buffer.value.shape)
        check_equal(self._ranks, {f"the weights after epoch {epoch}": checksum(model)})

    def evaluate(
        self, model: Layer, dataset: Dataset, standardise: Standardise
    ) -> tuple[float, float]:
        """Evaluate this rank's share of a dataset, and add up the results of all ranks."""
        own = np.array_split(np.arange(len(dataset)), self._ranks.size)[self._ranks.rank]
        sums = np.zeros(2)
        if len(own):
            found = evaluate(model, dataset.subset(own), standardise)
            sums[:] = found.loss, found.accuracy
        loss, accuracy = self._ranks.gather(sums * len(own)).sum(axis=0) / len(dataset)
        return float(loss), float(accuracy)


class Distributed:
    """Runs a Trainer on several ranks. Each rank makes the same Trainer, and wraps it.

        trainer = Trainer(...)
        Distributed(trainer, sync_batch_norm=True).run([ProgressBar()])

    started by `mpiexec -n 4 python script.py`. Only rank 0 calls observers and writes the
    checkpoint, which is that of one process: a training can resume with any number of ranks.

    An exception on one rank is printed once, with the rank, and ends all ranks. TrainingDiverged
    is raised on all ranks.

    Parameters
    ----------
    trainer : Trainer
        Its model, settings and data must be the same on all ranks, so the seeds must be given.
    ranks : Communicator, optional
        By default `distributed.world()`, the ranks that `mpiexec` has started.
    sync_batch_norm : bool
        Whether batch normalisation uses the statistics of the images of all ranks. It costs two
        exchanges for each batch normalisation and step. Without it, each rank has running
        statistics of its own, and after each epoch all ranks get their mean.
    bucket_bytes : int
        Gradients are added up in arrays of about this size.

    Attributes
    ----------
    buckets : Buckets
        `buckets.bytes` and `buckets.waited` say how much was added up, and how long this took
        longer than the backward.

    Raises
    ------
    AgreedError
        On all ranks: if versions, data, settings, weights or random states differ, or a part of a
        batch has fewer images than there are ranks, or the share of a rank would be a single image
        but the network needs two. It is a ValueError.
    ImportError, OSError
        In the cases of `distributed.world`.
    """

    def __init__(
        self,
        trainer: Trainer,
        ranks: Communicator | None = None,
        *,
        sync_batch_norm: bool = False,
        bucket_bytes: int = BUCKET_BYTES,
    ):
        self.trainer = trainer
        self.ranks = ranks = world() if ranks is None else ranks
        self.sync_batch_norm = bool(sync_batch_norm)
        with together(ranks):
            self.buckets = Buckets(trainer.model, ranks, bucket_bytes)
            _check_shares(trainer, ranks.size, sync_batch_norm=self.sync_batch_norm)
        check_equal(ranks, _facts(self))

    def run(self, observers: Iterable[Observer] = ()) -> History:
        """Train from the current epoch to the last one; see `Trainer.run`."""
        trainer, ranks = self.trainer, self.ranks
        before, checkpoint = trainer.share, trainer.checkpoint
        trainer.share = RankShare(ranks, self.buckets, synchronised=self.sync_batch_norm)
        if ranks.rank > 0:
            trainer.checkpoint, observers = None, ()
        try:
            with self._synchronised():
                return trainer.run(observers)
        except TrainingDiverged:
            raise
        except BaseException as error:
            ranks.fail(error)
        finally:
            trainer.share, trainer.checkpoint = before, checkpoint

    @contextmanager
    def _synchronised(self) -> Iterator[None]:
        """Let batch normalisation communicate in a block, if it is to be synchronised."""
        if not self.sync_batch_norm:
            yield
            return
        synchronise(self.trainer.model, self.ranks.gather)
        try:
            yield
        finally:
            synchronise(self.trainer.model, None)


def checksum(model: Layer) -> int:
    """Return a checksum of all weights and statistics."""
    crc = 0
    for name, array in model.state_dict().items():
        crc = zlib.crc32(array.tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _facts(distributed: Distributed) -> dict[str, Any]:
    """Return what must be the same on all ranks, by the names for messages."""
    trainer, state = distributed.trainer, distributed.trainer.state()
    test_set = trainer.test_set
    settings = {
        **state.settings,
        "optimiser": repr(trainer.optimiser),
        "schedule": state.schedule,
        "sync_batch_norm": distributed.sync_batch_norm,
        "buckets": len(distributed.buckets),
    }
    return {
        "the version of numpy_shufflenet": __version__,
        "the version of NumPy": np.__version__,
        "the backend": backend.current(),
        "the training images": state.fingerprint,
        "the test images": None if test_set is None else fingerprint(test_set),
        "the settings": repr(settings),
        "the epoch": repr(state.epoch),
        "the model's weights (does it have a seed?)": checksum(trainer.model),
        "the random states": repr(state.rng).encode(),
    }


def _check_shares(trainer: Trainer, ranks: int, *, sync_batch_norm: bool) -> None:
    """Raise ValueError unless each rank has enough images in each part of a batch."""
    images, batch_size, parts = len(trainer.train_set), trainer.batch_size, trainer.accumulation
    smallest = smallest_part(images, batch_size, parts)
    error: ValueError | None = None
    if smallest < ranks:
        least = ranks
        problem = f"has {smallest} images, fewer than the {ranks} ranks"
    elif ranks > 1 and smallest < 2 * ranks and not sync_batch_norm:
        x = trainer.standardise(trainer.train_set.images[:1], trainer._dtype)
        error = error_of_one_image(trainer.model, x)
        least = 2 * ranks
        problem = f"gives a rank a single image, but this network needs two: {error}"
        if error is None:
            return
    else:
        return
    fitting = fitting_batch_size(least, images, batch_size, parts)
    hints = [f"batch_size={fitting} fits"] if fitting else []
    hints += [f"{smallest} ranks fit"] if error is None and smallest > 1 else []
    hints += ["sync_batch_norm=True fits"] if error else []
    raise ValueError(
        f"batch_size={batch_size} and accumulation={parts} split {images} images so that the "
        f"smallest part {problem}; {' or '.join(hints) or 'use fewer ranks'}"
    ) from error
