"""Follows the steps of a graph, from the images to the logits: which step reads which channels.

Channels are numbered. `rows` are the channel numbers of an activation, in the order of our network.
A step may read them in another order. Then its weights are reordered: the columns of a convolution,
or all arrays of a depthwise convolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.graph import GraphStep, Normalisation, NotUnderstoodError

SAME = ((1, 1), (1, 1))  # the padding of a 3x3 window that keeps the size
NONE = ((0, 0), (0, 0))
NAMES = {"max": "a max pool", "average": "an average pool", "add": "an addition"}
NAMES |= {"mean": "a mean over the image", "linear": "a matrix product", "scale": "an excitation"}
NAMES |= {"conv": "a convolution"}


@dataclass
class Convolution:
    """A convolution of the network, its channels in our order; `node` is for messages."""

    node: str
    weight: Array
    bias: Array | None
    norm: Normalisation | None


@dataclass
class Match:
    """A network of ours that the steps compute."""

    #: The name of the function that builds the network, and its arguments.
    config: dict[str, Any] = field(default_factory=dict)
    convolutions: list[Convolution] = field(default_factory=list)  #: in the order of our network
    #: The four parameters of each squeeze-and-excitation.
    excitations: list[tuple[Array, ...]] = field(default_factory=list)
    #: The weight of the classifier.
    weight: Array = field(default_factory=lambda: np.empty(0))
    bias: Array | None = None


class MisfitError(NotUnderstoodError):
    """A step that a ShuffleNet doesn't have at this place."""

    def __init__(self, step: GraphStep, reason: str):
        super().__init__(step.node, reason)
        self.place = step.first


def order_in(reads: Array, rows: Array) -> Array | None:
    """Return where each of the rows is in `reads`; None if they are not the same channels."""
    if len(reads) != len(rows):
        return None
    by_number = np.argsort(reads)
    places = by_number[np.searchsorted(reads[by_number], rows).clip(max=len(rows) - 1)]
    return places if np.array_equal(reads[places], rows) else None


def reversed_step(step: GraphStep, steps: Sequence[GraphStep]) -> GraphStep:
    """Return a step with its channels reversed, except those of images and of classes."""
    if step is steps[0]:
        return step
    ends = np.array([0, *(s.first + s.channels for s in steps)])

    def mirrored(rows: Array) -> Array:
        place = np.searchsorted(ends, rows, "right")
        turned = ends[place - 1] + ends[place] - 1 - rows
        return np.where(rows < ends[1], rows, turned)[:: 1 if rows[0] < ends[1] else -1]

    rows = 1 if step is steps[-1] else -1
    columns = 1 if step.reads[0][0] < ends[1] else -1

    def turn(array: Array | None) -> Array | None:
        return None if array is None else array[::rows]

    weight = turn(step.weight)
    return replace(
        step,
        reads=tuple(mirrored(part) for part in step.reads),
        weight=None if weight is None else weight[:, ::columns],
        bias=turn(step.bias),
        norm=step.norm and step.norm.taken(slice(None, None, rows)),
    )


def _ordered(step: GraphStep, reads: Array, rows: Array) -> Array:
    places = order_in(reads, rows)
    if places is None:
        raise MisfitError(step, "it reads other channels than in a ShuffleNet")
    return places


class Walk:
    """The steps and their readers; collects the layers of the network in `found`."""

    def __init__(self, steps: Sequence[GraphStep]):
        self.steps = steps
        self.found = Match()
        self._firsts = [step.first for step in steps]
        self._readers: list[list[GraphStep]] = [[] for _ in steps]  # of any channel of a step
        for step in steps:
            for maker in self._makers(np.concatenate([np.empty(0, int), *step.reads])):
                self._readers[maker].append(step)

    def _makers(self, rows: Array) -> list[int]:
        """Return the numbers of the steps that compute these channels."""
        return sorted(set((np.searchsorted(self._firsts, rows, "right") - 1).tolist()))

    def readers(self, rows: Array) -> list[GraphStep]:
        """Return the steps that read one of these channels, in order; there is at least one."""
        makers = self._makers(rows)
        steps = {step.first: step for maker in makers for step in self._readers[maker]}
        found = [
            steps[first]
            for first in sorted(steps)
            if np.isin(np.concatenate(steps[first].reads), rows).any()
        ]
        if not found:
            raise MisfitError(self.steps[makers[-1]], "a ShuffleNet does not end here")
        return found

    def one(self, rows: Array, kind: str, *, beside: Sequence[str] = ()) -> GraphStep:
        """Return the one step of this kind that reads the channels.

        Steps of the kinds in `beside` may read the channels, too.
        """
        readers = self.readers(rows)
        for step in readers:
            if step.kind not in (kind, *beside):
                raise MisfitError(step, f"a ShuffleNet has {NAMES[kind]} here")
        found = [step for step in readers if step.kind == kind]
        if len(found) != 1:
            step = [*found, *readers][-1] if not found else found[1]
            raise MisfitError(step, f"a ShuffleNet has one {NAMES[kind].split(' ', 1)[1]} here")
        return found[0]

    def convolve(
        self, step: GraphStep, rows: Array, kernel: int, groups: int, *, relu: bool, stride: int = 1
    ) -> Array:
        """Collect a convolution, and return its rows; 0 groups mean a depthwise convolution."""
        if step.kind != "conv" or step.weight is None:
            raise MisfitError(step, f"a ShuffleNet has a {kernel}x{kernel} convolution here")
        settings, depthwise = step.settings, groups == 0
        groups = groups or len(rows)
        needed = {"kernel": (kernel, kernel), "stride": (stride, stride), "groups": groups}
        if stride == 1:
            needed["padding"] = SAME if kernel == 3 else NONE
        for name, value in needed.items():
            if settings[name] != value:
                reason = f"it has {name}={settings[name]}; a ShuffleNet has {value} here"
                raise MisfitError(step, reason)
        if step.relu != relu:
            raise MisfitError(step, f"a ShuffleNet has {'a' if relu else 'no'} ReLU after it")
        if depthwise and step.channels == len(rows):
            places = _ordered(step, step.reads[0], rows)
            self._note(step, step.weight[places], places)
            return step.first + places
        reads, columns = (np.reshape(part, (groups, -1)) for part in (step.reads[0], rows))
        weight = step.weight.reshape(groups, -1, *step.weight.shape[1:])
        parts = [
            part[:, _ordered(step, read, column)]
            for part, read, column in zip(weight, reads, columns, strict=True)
        ]
        self._note(step, np.concatenate(parts), np.arange(step.channels))
        return step.outputs

    def _note(self, step: GraphStep, weight: Array, places: Array) -> None:
        bias = None if step.bias is None else step.bias[places]
        norm = step.norm and step.norm.taken(places)
        self.found.convolutions.append(Convolution(step.node, weight, bias, norm))

    def pool(self, step: GraphStep, rows: Array) -> Array:
        """Return the rows of a 3x3 pooling of stride 2."""
        if (step.settings["kernel"], step.settings["stride"]) != ((3, 3), (2, 2)):
            raise MisfitError(step, f"its window is {step.settings}; 3x3 of stride 2 is needed")
        return step.first + _ordered(step, step.reads[0], rows)

    def mean(self, step: GraphStep, rows: Array) -> Array:
        """Return the rows of the means."""
        return step.first + _ordered(step, step.reads[0], rows)

    def add(self, step: GraphStep, rows: Array, others: Array) -> Array:
        """Return the rows of a sum with a ReLU; each of the rows is added to one of the others."""
        first, second = step.reads
        if order_in(first, rows) is None:
            first, second = second, first
        places = _ordered(step, first, rows)
        if not np.array_equal(second[places], others):
            raise MisfitError(step, "it adds other channels than a ShuffleNet")
        if not step.relu:
            raise MisfitError(step, "a ShuffleNet has a ReLU after it")
        return step.first + places

    def linear(self, step: GraphStep, rows: Array) -> Array:
        """Return the weight of a matrix product, its columns in the order of the rows."""
        assert step.weight is not None
        return step.weight[:, _ordered(step, step.reads[0], rows)]

    def excite(self, rows: Array, *, relu: bool) -> Array:
        """Collect a squeeze-and-excitation if there is one, and return the rows after it."""
        readers = self.readers(rows)
        scale = next((step for step in readers if step.kind == "scale"), None)
        if scale is None:
            return rows
        squeeze = self.one(rows, "mean", beside=("scale",))
        means = self.mean(squeeze, rows)
        reduce = self.one(means, "linear")
        expand = self.one(reduce.outputs, "linear")
        places = _ordered(scale, scale.reads[0], rows)
        own = _ordered(scale, expand.outputs, scale.reads[1][places])
        if (reduce.relu, expand.sigmoid, scale.relu) != (True, True, relu):
            raise MisfitError(scale, "the excitation has other activations than a ShuffleNet")
        if reduce.bias is None or expand.bias is None:
            raise MisfitError(scale, "the excitation has no biases")
        weights = self.linear(reduce, means), self.linear(expand, reduce.outputs)[own]
        arrays = weights[0], reduce.bias, weights[1], expand.bias[own]
        self.found.excitations.append(arrays)
        return scale.first + places
