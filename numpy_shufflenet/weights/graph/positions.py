"""Steps that compute, and positions, which say where each number of an activation was computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.graph.moves import LARGEST, check_result_size

MOST_POSITIONS = 32 * LARGEST  # in all activations of a graph


class Normalisation(NamedTuple):
    """A batch normalisation; each array has one number for each channel."""

    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float

    def taken(self, places: Any) -> "Normalisation":
        """Return the normalisation with its channels in another order."""
        gamma, beta, mean, var = (array[places] for array in self[:4])
        return Normalisation(gamma, beta, mean, var, self.eps)


@dataclass(eq=False)
class GraphStep:
    """A step that computes; the module `graph` lists the kinds."""

    kind: str
    node: str  #: name and operator of the first node that belongs to the step
    reads: tuple[Array, ...]  #: the channel numbers that it reads; two arrays for "add" and "scale"
    channels: int  #: how many channels it computes
    size: tuple[int, int]  #: their height and width
    first: int = 0  #: the number of its first channel
    weight: Array | None = None
    bias: Array | None = None
    norm: Normalisation | None = None
    #: Of convolution and pooling: stride, padding, groups, kernel, count_include_pad.
    settings: dict[str, Any] = field(default_factory=dict)
    start: int = 0  #: the position of the first number that it computes
    relu: bool = False
    sigmoid: bool = False
    softmax: bool = False
    nonnegative: bool = False  #: whether no number that it computes is negative
    is_read: bool = False  #: whether another step reads it already

    @property
    def outputs(self) -> Array:
        """The numbers of the channels that it computes."""
        return np.arange(self.first, self.first + self.channels)


class Positions:
    """The steps that were found so far, in order, and the positions of their outputs."""

    def __init__(self) -> None:
        self.steps: list[GraphStep] = []  #: the first one is the images
        self.sized = True  #: whether the graph fixes the size of the images, or takes any size
        self._firsts: list[int] = []  # the first channel of each step
        self._channels = 0
        # A step gets new positions when a node changes its output. These two lists have an entry
        # each time a step gets positions: the first position, and the step.
        self._starts: list[int] = []
        self._owners: list[GraphStep] = []
        self._top = 0  # the next position
        self._spent = 0

    def add(self, step: GraphStep, images: int) -> Array:
        """Add a step, and return the positions (n, c, h, w) of its output."""
        for number in set(self.steps_of(np.concatenate([*step.reads, np.empty(0, int)]))):
            self.steps[number].is_read = True
        step.first = self._channels
        self._channels += step.channels
        self.steps.append(step)
        self._firsts.append(step.first)
        self._place(step, images)
        shape = images, step.channels, *step.size
        return np.arange(step.start, self._top).reshape(shape)

    def _place(self, step: GraphStep, images: int) -> None:
        count = math.prod((images, step.channels, *step.size))
        check_result_size(count)
        self.spend(count)
        step.start = self._top
        self._starts.append(step.start)
        self._owners.append(step)
        self._top += count

    def spend(self, count: int) -> None:
        """Raise if all positions, with `count` more, would be too many."""
        self._spent += count
        if self._spent > MOST_POSITIONS:
            raise ValueError(
                f"all activations together have more than {MOST_POSITIONS:,} numbers; a graph for "
                "fewer or smaller images is needed"
            )

    def steps_of(self, channels: Array) -> Array:
        """Return the index of the step that computes each of these channels."""
        return np.searchsorted(self._firsts, channels, "right") - 1

    def step_of(self, channel: int) -> GraphStep:
        """Return the step that computes a channel."""
        return self.steps[int(self.steps_of(np.array(channel)))]

    def channels(self, positions: Array) -> Array:
        """Return the channel numbers of an activation (n, c, ...)."""
        if positions.ndim < 2 or not positions.size:
            raise ValueError(f"it reads the shape {positions.shape}; (n, c, h, w) is needed")
        n, c = positions.shape[:2]
        flat = positions.reshape(n, c, -1)
        first = flat[0, :, 0]
        versions = np.searchsorted(self._starts, first, "right") - 1
        rows = np.empty(c, np.int64)
        for version in set(versions.tolist()):
            mine, step = versions == version, self._owners[version]
            if version < 0 or step.start != self._starts[version]:
                raise ValueError(
                    "it reads padding, or numbers that a normalisation or a ReLU has changed since"
                )
            pixels = step.size[0] * step.size[1]
            channel = (first[mine] - step.start) // pixels
            images = step.channels * pixels * np.arange(n)[:, None, None]
            whole = step.start + images + pixels * channel[:, None] + np.arange(flat.shape[2])
            sizes = step.size, (1, 1) if positions.ndim == 2 else positions.shape[2:]
            moved = positions.ndim != 3 and sizes[0] != sizes[1]
            if moved or flat.shape[2] != pixels or not np.array_equal(flat[:, mine], whole):
                raise ValueError("it needs whole channels, with their pixels in the old order")
            rows[mine] = step.first + channel
        return rows

    def renewed(self, positions: Array, kinds: Sequence[str]) -> tuple[Array, list[GraphStep]]:
        """Give new positions to the outputs of steps that a node changes; also return these steps.

        Outputs without negative numbers keep their positions, because a ReLU doesn't change them.
        """
        rows = self.channels(positions)
        owners = self.steps_of(rows)
        moved, found = positions.copy(), []
        for number in sorted(set(owners.tolist())):
            step, mine = self.steps[number], owners == number
            if step.nonnegative:
                continue
            whole = np.array_equal(np.sort(rows[mine]), step.outputs)
            if step.kind not in kinds or step.is_read or not whole:
                raise ValueError(
                    f"it can't be fused with {step.node}, which computes its input; it must be the "
                    f"only node that reads the whole output of one of {', '.join(kinds)}"
                )
            before = step.start
            self._place(step, len(positions))
            moved[:, mine] += step.start - before
            found.append(step)
        return moved, found
