"""Batch normalisation over a batch that several processes share."""

from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import BatchNorm2d
from numpy_shufflenet.nn.sequential import Sequential
from numpy_shufflenet.ops.sync_batch_norm import Gather, alone


class SyncBatchNorm2d(BatchNorm2d):
    """Batch normalisation; in training, by the statistics of the batches of all processes.

    Forward and backward in training must run on all processes at the same time.

    Parameters
    ----------
    channels, eps, momentum
        As in `BatchNorm2d`.
    gather : callable
        Exchanges vectors with the other processes; see `ops.sync_batch_norm_forward`.
    """

    synchronised = True

    def __init__(
        self, channels: int, *, gather: Gather = alone, eps: float = 1e-5, momentum: float = 0.1
    ):
        super().__init__(channels, eps=eps, momentum=momentum)
        self.gather = gather

    def operation_in(self, training: bool) -> str:
        """Return the operation with statistics of all processes in training."""
        return "sync_batch_norm" if training else super().operation_in(training)

    def _forward(self, x: Array, training: bool) -> Array:
        if not training:
            return super()._forward(x, training)
        y, call = backend.forward(
            self.operation_in(training), *self.arrays(x), gather=self.gather, **self.hyperparameters
        )
        self.note(call.cache, training)
        self.keep(call)
        return y


def synchronise(model: Layer, gather: Gather | None) -> None:
    """Replace every batch normalisation of a model in place; parameters and names stay.

    Parameters
    ----------
    model : Layer
    gather : callable or None
        The new layers are `SyncBatchNorm2d` with this `gather`; with None, `BatchNorm2d`.

    Raises
    ------
    ValueError
        If a batch normalisation isn't in a `Sequential`. Then nothing changes.
    """
    layers = dict(model.named_layers())
    within = {
        id(layer) for part in layers.values() if isinstance(part, Sequential) for layer in part
    }
    for name, layer in layers.items():
        if isinstance(layer, BatchNorm2d) and id(layer) not in within:
            raise ValueError(f"layer {name!r} is a batch normalisation outside a Sequential")
    for layer in layers.values():
        if isinstance(layer, Sequential) and any(isinstance(part, BatchNorm2d) for part in layer):
            layer.replace([_replaced(part, gather) for part in layer])


def _replaced(layer: Layer, gather: Gather | None) -> Layer:
    """Return another batch normalisation with the same parameters and statistics, or layer."""
    if not isinstance(layer, BatchNorm2d):
        return layer
    channels = len(layer.weight.value)
    new = BatchNorm2d(channels) if gather is None else SyncBatchNorm2d(channels, gather=gather)
    kept: dict[str, Any] = {**vars(layer)}
    kept.pop("gather", None)
    vars(new).update(kept)
    return new
