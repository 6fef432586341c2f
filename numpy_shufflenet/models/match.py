"""The steps of a graph as a ShuffleNet: which of our networks it is, with weights in our order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.models.v1 import REPEATS as V1_REPEATS
from numpy_shufflenet.models.v1 import STEM_CHANNELS, v1_widths
from numpy_shufflenet.models.v2 import REPEATS, WIDTHS
from numpy_shufflenet.models.walk import SAME, Match, MisfitError, Walk, order_in, reversed_step
from numpy_shufflenet.weights.graph import GraphStep

ORDERS = ("paper", "authors", "none")  # of the shuffle
LARGE: dict[tuple[int, ...], str] = {
    (3, 4, 6, 3): "shufflenet_v2_50",
    (10, 10, 23, 10): "se_shufflenet_v2_164",
}  # by units of each stage


def match(steps: Sequence[GraphStep], output: Array) -> Match:
    """Return the network that some steps compute.

    A network that concatenates in another order than ours fits if all channels are reversed.
    """
    errors = []
    for given in (list(steps), [reversed_step(step, steps) for step in steps]):
        for order in ORDERS:
            try:
                return _Matcher(given, order).match(output)
            except MisfitError as error:
                errors.append(error)
    raise max(errors, key=lambda error: error.place)


class _Matcher(Walk):
    """Matches the steps unit by unit, for one order of the shuffle."""

    def __init__(self, steps: Sequence[GraphStep], order: str):
        super().__init__(steps)
        self.order = order
        self.widths: list[int] = []  # of the stem, and of each stage
        self.repeats: list[int] = []  # units of each stage
        self.paddings: list[Any] = []  # of the windows of stride 2: in the stem, and in each stage
        self.kept: list[int] = []  # channels of branch 1 in the first units of V2
        self.traits: dict[str, Any] = {}  # what all units have in common

    def match(self, output: Array) -> Match:
        """Return the network."""
        rows = self.stem(self.steps[0].outputs)
        self.widths.append(len(rows))
        while not self.is_end(rows):
            rows = self.unit(rows)
        step = self.readers(rows)[0]
        if not self.repeats:
            raise MisfitError(step, "a ShuffleNet has units before it")
        head = 0
        if step.kind == "conv":
            rows = self.convolve(step, rows, 1, 1, relu=True)
            head = len(rows)
        last = self.classify(rows, output)
        config = self.found.config
        if any(padding != SAME for padding in self.paddings):
            config["stride2_padding"] = [list(map(list, padding)) for padding in self.paddings]
        config |= self.v2(last, head) if self.kept else self.v1(last, head)
        return self.found

    def stem(self, rows: Array) -> Array:
        """Return the rows after conv1 and the max pool."""
        config = self.found.config
        config["in_channels"] = len(rows)
        first = self.one(rows, "conv")
        stride = 2 if first.settings["stride"] == (2, 2) else 1
        rows = self.convolve(first, rows, 3, 1, relu=True, stride=stride)
        self.paddings.append(first.settings["padding"])
        config["stem"] = "imagenet" if stride == 2 else "small"
        dense3x3 = {"kernel": (3, 3), "groups": 1}.items()
        while len(readers := self.readers(rows)) == 1 and dense3x3 <= readers[0].settings.items():
            rows = self.convolve(readers[0], rows, 3, 1, relu=True)
        if stride == 1:
            return rows
        pool = self.one(rows, "max")
        if pool.settings["padding"] != SAME:
            config["pool_padding"] = [list(side) for side in pool.settings["padding"]]
        return self.pool(pool, rows)

    def is_end(self, rows: Array) -> bool:
        """Whether the last stage has ended: a mean follows, or a convolution and a mean."""
        step, *others = self.readers(rows)
        if others or len(step.reads[0]) != len(rows):
            return False
        following = self.readers(step.outputs) if step.kind == "conv" else [step]
        return [step.kind for step in following] == ["mean"]

    def classify(self, rows: Array, output: Array) -> GraphStep:
        """Collect the classifier, and return its step."""
        mean = self.one(rows, "mean")
        means = self.mean(mean, rows)
        fc = self.one(means, "linear")
        if fc.relu or fc.sigmoid or not np.array_equal(fc.outputs, output):
            raise MisfitError(fc, "a ShuffleNet ends with a matrix product, the logits")
        self.found.weight, self.found.bias = self.linear(fc, means), fc.bias
        self.found.config["num_classes"] = fc.channels
        self.found.config["classifier_bias"] = fc.bias is not None
        return fc

    # Units

    def unit(self, rows: Array) -> Array:
        """Return the rows after the next unit of either network."""
        readers = self.readers(rows)
        kinds, reads = {step.kind for step in readers}, len(readers[0].reads[0])
        if not self.repeats and len(readers) != 2:
            raise MisfitError(readers[0], "the first unit of a ShuffleNet has two branches")
        if "average" in kinds or ("add" in kinds and reads == len(rows)):
            return self.v1_unit(rows, readers)
        if reads == len(rows) and len(readers) != 2:
            raise MisfitError(readers[0], "a unit of a ShuffleNet has two branches")
        return self.v2_unit(rows, readers)

    def v1_unit(self, rows: Array, readers: Sequence[GraphStep]) -> Array:
        """Return the rows after a unit of V1."""
        stride = 2 if any(step.kind == "average" for step in readers) else 1
        other = "average" if stride == 2 else "add"
        first = self.one(rows, "conv", beside=(other,))
        dw = self.one(first.outputs, "conv")
        last = self.one(dw.outputs, "conv")
        self.all_have(last, groups=last.settings["groups"])
        groups = last.settings["groups"]
        own = groups if self.repeats else 1  # of the first convolution
        middle = self.convolve(first, rows, 1, own, relu=True)
        shuffled = self.shuffled(dw, middle, groups)
        windows = self.convolve(dw, shuffled, 3, 0, relu=False, stride=stride)
        excited = any(step.kind == "scale" for step in self.readers(last.outputs))
        cut = stride == 2 and not excited
        branch = self.convolve(last, windows, 1, groups, relu=cut)
        self.all_have(last, se=excited)
        if stride == 1:
            branch = self.excite(branch, relu=False)
            self.repeats[-1] += 1
            return self.add(self.one(rows, "add", beside=("conv",)), rows, branch)
        pool = self.one(rows, "average", beside=("conv",))
        if pool.settings["padding"] != dw.settings["padding"]:
            raise MisfitError(pool, "its padding is not that of the convolution beside it")
        counted = pool.settings["count_include_pad"]
        self.all_have(pool, count_include_pad=counted)
        joined = np.concatenate([self.pool(pool, rows), branch])
        self.begin_stage(len(joined), dw)
        return self.excite(joined, relu=True)

    def v2_unit(self, rows: Array, readers: Sequence[GraphStep]) -> Array:
        """Return the rows after a unit of V2."""
        half = len(rows) // 2
        splits = len(readers[0].reads[0]) * 2 == len(rows)
        if splits:
            kept, given = rows[:half], rows[half:]
            branch, dw = self.branch2(self.readers(given)[0], given, 1)
            add = next((step for step in self.readers(given) if step.kind == "add"), None)
            self.all_have(dw, residual=add is not None)
            if add is not None:
                branch = self.add(add, branch, given)
            self.repeats[-1] += 1
        else:
            first, second = self.sides(readers)
            stride = 2 if first.settings.get("stride") == (2, 2) else 1
            dw1 = self.convolve(first, rows, 3, 0, relu=False, stride=stride)
            kept = self.convolve(self.one(dw1, "conv"), dw1, 1, 1, relu=True)
            branch, dw = self.branch2(second, rows, stride)
            if dw.settings["padding"] != first.settings["padding"]:
                raise MisfitError(dw, "its padding is not that of the convolution beside it")
            self.begin_stage(len(kept) + len(branch), dw)
            self.kept.append(len(kept))
        joined = np.concatenate([kept, branch])
        rows = self.excite(joined, relu=False)
        self.all_have(dw, se=rows is not joined)
        if len(rows) % 2 or self.order == "none":
            raise MisfitError(dw, "a ShuffleNet shuffles its channels after it")
        if self.order == "authors" and len(self.readers(rows)[0].reads[0]) == len(rows):
            return rows  # the last unit of a stage
        return self.shuffled(dw, rows, 2)

    def sides(self, readers: Sequence[GraphStep]) -> tuple[GraphStep, GraphStep]:
        """Return the first steps of branch 1 and branch 2."""
        first, second = readers
        if first.settings.get("kernel") == (1, 1):
            return second, first
        if second.settings.get("kernel") == (3, 3):  # branch 2 has two depthwise convolutions
            after = self.one(second.outputs, "conv")
            # A 3x3 window over the whole output follows the first convolution of branch 2.
            windows = (s for s in self.readers(after.outputs) if s.settings.get("kernel") == (3, 3))
            if not any(order_in(s.reads[0], after.outputs) is not None for s in windows):
                return second, first
        return first, second

    def branch2(self, step: GraphStep, rows: Array, stride: int) -> tuple[Array, GraphStep]:
        """Collect the convolutions of branch 2; return its rows and its last depthwise step."""
        extra = step.settings.get("kernel") == (3, 3)
        self.all_have(step, extra_depthwise=extra)
        if extra:
            rows = self.convolve(step, rows, 3, 0, relu=False)
            step = self.one(rows, "conv")
        rows = self.convolve(step, rows, 1, 1, relu=True)
        dw = self.one(rows, "conv")
        rows = self.convolve(dw, rows, 3, 0, relu=False, stride=stride)
        last = self.one(rows, "conv")
        added = [step.kind for step in self.readers(last.outputs)] == ["add"]
        return self.convolve(last, rows, 1, 1, relu=not added), dw

    def shuffled(self, step: GraphStep, rows: Array, groups: int) -> Array:
        """Return rows in the order after the shuffle; `step` is for messages."""
        if len(rows) % groups:
            raise MisfitError(step, f"it has {len(rows)} channels, not a multiple of {groups}")
        if self.order == "none":
            return rows
        shape = (groups, -1) if self.order == "paper" else (-1, groups)
        return rows.reshape(shape).T.ravel()

    def begin_stage(self, channels: int, step: GraphStep) -> None:
        """Begin a stage with its first unit; `step` has the stride and the padding of the unit."""
        self.widths.append(channels)
        self.repeats.append(1)
        if step.settings["stride"] == (2, 2):
            self.paddings.append(step.settings["padding"])

    def all_have(self, step: GraphStep, **traits: Any) -> None:
        """Store a trait of a unit, and raise if an earlier unit has another value."""
        for name, value in traits.items():
            if self.traits.setdefault(name, value) != value:
                before = self.traits[name]
                raise MisfitError(step, f"its unit has {name}={value}, those before {before}")

    # Configs

    def v1(self, last: GraphStep, head: int) -> dict[str, Any]:
        """Return the other entries of the config of a V1."""
        if head or tuple(self.repeats) != V1_REPEATS:
            raise MisfitError(last, f"V1 has stages of {V1_REPEATS} units, not {self.repeats}")
        scales = [s for s in STEM_CHANNELS if self.widths == v1_widths(self.traits["groups"], s)]
        order = {"shuffle": False} if self.order == "none" else {"shuffle_order": self.order}
        return {"name": "shufflenet_v1", **self.traits, **order, **_size(scales, self.widths)}

    def v2(self, last: GraphStep, head: int) -> dict[str, Any]:
        """Return the other entries of the config of a V2."""
        stem, *stages = self.widths
        repeats = tuple(self.repeats)
        if repeats in LARGE:
            extras = self.traits["se"], self.traits["residual"]
            if extras != (repeats[0] == 10,) * 2 or "stride2_padding" in self.found.config:
                raise MisfitError(last, f"{LARGE[repeats]} has other units")
            return {"name": LARGE[repeats]}
        if repeats != REPEATS or not head:
            raise MisfitError(last, f"V2 has stages of {REPEATS} units and conv5, not {repeats}")
        halves = [2 * kept for kept in self.kept] == stages
        layout = {"layout": "torchvision" if halves else "paper", "shuffle_order": self.order}
        widths = [stem, *stages, head]
        scales = [scale for scale, own in WIDTHS.items() if widths == [24, *own]]
        return {"name": "shufflenet_v2", **self.traits, **layout, **_size(scales, widths)}


def _size(scales: list[float], widths: list[int]) -> dict[str, Any]:
    return {"scale": scales[0]} if scales else {"widths": widths}
