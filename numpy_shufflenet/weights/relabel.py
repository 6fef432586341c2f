"""The same network with its channels in another order: the paper's shuffle, or the authors'.

The authors' code shuffles with the inverse of the paper's permutation. One part of a network
computes a channel, and another part reads it. We may reorder the output channels of a convolution
if all layers that read them are reordered, too. So one shuffle can replace the other if both bring
the same number of channels from each computing part to each reading part. Then we permute the rows
and columns of the 1x1 convolutions, and likewise the arrays of depthwise convolutions and batch
normalisations.

In V2, a computing part is a branch of a unit. The part that reads a channel is the first later unit
whose split gives the channel to the branch, or the layer after the stage. In V1, the parts are the
groups of the two 1x1 convolutions of a unit.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from numpy_shufflenet._typing import Array

ORDERS = ("paper", "authors")


def relabelled(arrays: Mapping[str, Array], order: str) -> dict[str, Array]:
    """Return the arrays of a ShuffleNet with the other order, relabelled for `order`.

    `arrays` have our names, and belong to a V1, or to a V2 with conv5 and without
    squeeze-and-excitation. `order` is "paper" or "authors". Raises ValueError if no relabelling
    makes the networks equal.
    """
    result = dict(arrays)
    convert = _unit_of_v1 if "stage2.0.branch.0.weight" in arrays else _stage_of_v2
    stages: dict[str, int] = {}
    for name in arrays:
        stage, _, rest = name.partition(".")
        if stage.startswith("stage"):
            stages[stage] = max(stages.get(stage, 0), int(rest.partition(".")[0]) + 1)
    entering: Array = np.arange(len(arrays["conv1.0.weight"]))
    for stage, units in stages.items():
        entering = convert(result, stage, units, order, entering)
    if "conv5.0.weight" in result:
        _permute(result, ["conv5.0.weight"], entering, axis=1)
    return result


def _stage_of_v2(
    arrays: dict[str, Array], stage: str, units: int, order: str, entering: Array
) -> Array:
    """Relabel a stage in place; `entering[i]` is the old number of input channel i.

    Return the same for the output channels: the old number of each. Channels are numbered in the
    order in which the units compute them.
    """
    kept = len(arrays[f"{stage}.0.branch1.2.weight"])
    width = kept + len(arrays[f"{stage}.0.branch2.5.weight"])
    half = width // 2
    ends = [0, kept, width, *(width + half * (u + 1) for u in range(units - 1))]
    made_by = np.repeat(np.arange(units + 1), np.diff(ends))
    ours, theirs = (_journeys(width, units, other) for other in (ORDERS[order == ORDERS[0]], order))
    old = _match(made_by, ours, theirs, f"{stage}")

    def follow(unit: int) -> Array:
        """Return the old numbers of the input channels of a unit, or of the next stage."""
        place = {number: k for k, number in enumerate(ours[unit])}
        return np.array([place[old[number]] for number in theirs[unit]], int)

    first = f"{stage}.0"
    _permute(arrays, _conv_bn(first, "branch1", 0), entering)
    _permute(arrays, [f"{first}.branch1.2.weight", f"{first}.branch2.0.weight"], entering, axis=1)
    _permute(arrays, _conv_bn(first, "branch1", 2), old[:kept])
    _permute(arrays, _conv_bn(first, "branch2", 5), old[kept:width] - kept)
    for unit in range(1, units):
        name, start = f"{stage}.{unit}", ends[unit + 1]
        _permute(arrays, [f"{name}.branch2.0.weight"], follow(unit), axis=1)
        _permute(arrays, _conv_bn(name, "branch2", 5), old[start : start + half] - start)
    return follow(units)


def _journeys(width: int, units: int, order: str) -> dict[int, Array]:
    """Return the channel numbers that each unit's branch and the layer after the stage read."""
    read = {}
    half = width // 2
    channels, made = np.arange(width), width
    for unit in range(1, units + 1):
        last = unit == units
        groups = 2 if order == "paper" else 1 if last else half
        channels = channels[_shuffle(width, groups)]
        read[unit] = channels if last else channels[half:]
        channels = np.concatenate([channels[:half], np.arange(made, made + half)])
        made += half
    return read


def _unit_of_v1(
    arrays: dict[str, Array], stage: str, units: int, order: str, entering: Array
) -> Array:
    """Relabel the bottlenecks of a stage in place. The channels between units stay as they are."""
    for unit in range(units):
        name = f"{stage}.{unit}"
        reader = f"{name}.branch.6.weight"
        channels, size = len(arrays[f"{name}.branch.0.weight"]), arrays[reader].shape[1]
        groups = channels // size
        ungrouped = stage == "stage2" and unit == 0
        made_by = np.arange(channels) // (channels if ungrouped else size)
        ours, theirs = (
            _shuffle(channels, groups if other == "paper" else size)
            for other in (ORDERS[order == ORDERS[0]], order)
        )
        old = _match(
            made_by,
            dict(enumerate(ours.reshape(groups, size))),
            dict(enumerate(theirs.reshape(groups, size))),
            name,
        )
        after = np.argsort(ours)[old[theirs]]
        _permute(arrays, _conv_bn(name, "branch", 0), old)
        _permute(arrays, _conv_bn(name, "branch", 4), after)
        weight = arrays[reader].reshape(groups, -1, size)
        columns = (after.reshape(groups, size) % size)[:, None]
        arrays[reader] = np.take_along_axis(weight, columns, 2).reshape(arrays[reader].shape)
    return entering


def _shuffle(channels: int, groups: int) -> Array:
    return np.arange(channels).reshape(groups, -1).T.ravel()


def _match(
    made_by: Array, ours: Mapping[int, Array], theirs: Mapping[int, Array], where: str
) -> Array:
    """Return an old number for each new channel: the same parts compute and read both channels.

    `made_by` is the computing part of each channel. `ours` and `theirs` are the channel numbers
    that each part reads, before and after.
    """
    orders = []
    for read in (ours, theirs):
        read_by = np.empty(len(made_by), int)
        for part, numbers in read.items():
            read_by[numbers] = part
        orders.append(
            (np.lexsort((read_by, made_by)), np.sort(made_by * (len(read) + 1) + read_by))
        )
    (before, counts), (after, other_counts) = orders
    if not np.array_equal(counts, other_counts):
        raise ValueError(
            f"in {where}, the authors' shuffle brings other numbers of channels from one part to "
            "another than the paper's, so no relabelling makes the networks equal"
        )
    old = np.empty(len(made_by), int)
    old[after] = before
    return old


def _conv_bn(unit: str, branch: str, number: int) -> list[str]:
    """Return the names of a convolution's weights, and of the batch normalisation after it."""
    leaves = "weight", "bias", "running_mean", "running_var"
    norm = (f"{unit}.{branch}.{number + 1}.{leaf}" for leaf in leaves)
    return [f"{unit}.{branch}.{number}.weight", *norm]


def _permute(arrays: dict[str, Array], names: Iterable[str], order: Array, axis: int = 0) -> None:
    for name in names:
        arrays[name] = np.take(arrays[name], order, axis)
