"""A table of the layers of a network: shapes, parameters and multiply-adds."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._room import check_room
from numpy_shufflenet.nn import Layer, OperationLayer

CONVENTION = "multiply-adds as in the papers: convolutions and classifier, one FLOP each"


@dataclass(frozen=True)
class SummaryRow:
    """One layer."""

    name: str  #: The layer's name in the dicts of the model.
    kind: str  #: The layer's class and settings.
    output_shape: tuple[int, ...]  #: The output's shape for one image, without the batch axis.
    parameters: int
    multiply_adds: int  #: Multiply-adds for one image; see `Summary`.


@dataclass(frozen=True)
class Summary:
    """A table of layers; `print` shows it.

    Multiply-adds are counted as in both papers: in convolutions and matrix products only, with taps
    on the padding included. A multiplication and the addition after it count as one.
    """

    title: str
    image_shape: tuple[int, ...]
    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Number of multiply-adds of the network for one image."""
        return sum(row.multiply_adds for row in self.rows)

    def memory(self, images: int, *, training: bool = False) -> int:
        """Return how many bytes of float32 a batch takes at least, without the weights.

        Inference keeps the input and the output of a layer; training keeps at least half of all
        outputs for the backward.
        """
        sizes = [math.prod(self.image_shape), *(math.prod(row.output_shape) for row in self.rows)]
        kept = sum(sizes) // 2 if training else max(map(sum, pairwise(sizes)), default=0)
        return 4 * images * kept

    def __str__(self) -> str:
        header = ("layer", "kind", "output", "parameters", "multiply-adds")
        body = [
            (
                row.name,
                row.kind,
                " x ".join(map(str, row.output_shape)),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
            )
            for row in self.rows
        ]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        widths = [max(map(len, column)) for column in zip(header, *body, total, strict=True)]
        form = "  ".join(f"{{:{side}{width}}}" for side, width in zip("<<<>>", widths, strict=True))
        head, *lines, last = (form.format(*cells) for cells in (header, *body, total))
        rule = "-" * len(head)
        about = [self.title, f"input {' x '.join(map(str, self.image_shape))}; {CONVENTION}"]
        return "\n".join([*about, head, rule, *lines, rule, last])


def summary(model: Layer, image_shape: tuple[int, int, int]) -> Summary:
    """Return the table of a network's layers for images of shape (c, h, w).

    The shapes come from a run on a batch of 0 images, which takes little time.

    Raises
    ------
    ValueError
        If images of this shape don't fit the network.
    MemoryError
        If not even one image of this shape fits into memory.
    """
    pixels = " x ".join(map(str, image_shape))
    check_room(4 * math.prod(image_shape), f"an image of {pixels} numbers")
    dtype = next(iter(model.parameters().values())).dtype
    trace = model.trace(np.zeros((0, *image_shape), dtype))
    model.release()
    rows = [
        _row(name, layer, trace.inputs[name], trace.activations[name])
        for name, layer in model.named_layers()
        if isinstance(layer, OperationLayer)
    ]
    return Summary(repr(model), tuple(image_shape), tuple(rows))


def _row(name: str, layer: OperationLayer, x: Any, y: Any) -> SummaryRow:
    cost = operations.find(layer.operation).cost(layer.shapes(x, 1), layer.hyperparameters)
    first = y[0] if isinstance(y, tuple) else y
    channels = sum(part.shape[1] for part in y) if isinstance(y, tuple) else y.shape[1]
    return SummaryRow(
        name,
        repr(layer),
        (channels, *first.shape[2:]),
        cost.parameters,
        cost.forward.multiply_adds,
    )
