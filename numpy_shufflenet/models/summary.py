"""A network layer by layer: shapes, parameters and multiply-adds."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.nn import Layer, OperationLayer

CONVENTION = "multiply-adds as in the papers: convolutions and classifier, one FLOP each"


@dataclass(frozen=True)
class SummaryRow:
    """One layer.

    Attributes
    ----------
    name : str
        As in the model's dicts.
    kind : str
        Its class and settings.
    output_shape : tuple of int
        For one image, without the batch.
    parameters : int
    multiply_adds : int
        For one image; see `Summary`.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """A table of layers that prints itself.

    Multiply-adds are counted as in both papers: convolutions and matrix products only, taps that
    fall on padding included; a multiplication and the addition that follows count as one.
    """

    title: str
    image_shape: tuple[int, ...]
    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """Learned numbers of the whole network."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the whole network for one image."""
        return sum(row.multiply_adds for row in self.rows)

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
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)

        def line(cells: tuple[str, ...]) -> str:
            left = [cell.ljust(width) for cell, width in zip(cells[:3], widths, strict=False)]
            right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
            return "  ".join(left + right)

        image = " x ".join(map(str, self.image_shape))
        lines = [
            self.title,
            f"input {image}; {CONVENTION}",
            line(header),
            rule,
            *map(line, body),
            rule,
        ]
        return "\n".join([*lines, line(total)])


def summary(model: Layer, image_shape: tuple[int, int, int]) -> Summary:
    """Return the table of a network's layers for images of shape (c, h, w).

    The shapes come from running the network on a batch of no images, so it costs nothing.

    Raises
    ------
    ValueError
        If such images don't fit the network.
    """
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
