"""The known layouts: how other libraries name the weights of ShuffleNets and order the channels.

`layouts` has the table for readers, and turns weights from one layout into another.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy_shufflenet._typing import Array

PARAMETERS = {name: name for name in ("weight", "bias")}
LEAVES = PARAMETERS | {
    name: name for name in ("running_mean", "running_var", "num_batches_tracked")
}
REPEATS = (4, 8, 4)  # units of each stage, of V1 and V2


@dataclass(frozen=True)
class Layout:
    """How a library names and orders the weights of a network, compared with ours."""

    title: str  #: for messages
    differs: str  #: how it differs from ours, for the table in `layouts`
    landmark: str  #: a name in files of this layout that files of other layouts lack
    #: The name of a module within a unit, from {stage}, {unit} and {part}, or from {k}, the
    #: number of the unit in the network.
    unit: str = "stage{stage}.{unit}.{part}"
    #: Our name of each module of a unit, by the name in this layout.
    parts: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)  #: the same for modules outside units
    first_stage: int = 2  #: the number of the first stage
    first_unit: int = 0  #: the number of the first unit
    #: The largest number of units of each stage. It is larger than in any ShuffleNet, so that
    #: `from_weights` can count surplus units. If units are numbered through all stages, it must
    #: be exact.
    repeats: tuple[int, ...] = (16, 32, 16)
    #: Arguments for the function that builds the network.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Our name of each array of a module, by the name in this layout.
    leaves: Mapping[str, str] = field(default_factory=LEAVES.copy)
    #: Maps (our name, array, order of the shuffle) to the array in our layout.
    change: Callable[[str, Array, Array | None], Array] = lambda name, array, order: array

    def modules(self) -> dict[str, str]:
        """Return our name of every module, by theirs."""
        found = dict(self.ends)
        places = [(s, u) for s, repeats in enumerate(self.repeats) for u in range(repeats)]
        for k, (s, u) in enumerate(places):
            for part, ours in self.parts.items():
                stage, unit = s + self.first_stage, u + self.first_unit
                theirs = self.unit.format(stage=stage, unit=unit, part=part, k=k)
                found[theirs] = f"stage{s + 2}.{u}.{ours}"
        return found


def _numbered(**modules: tuple[str, ...]) -> dict[str, str]:
    """Return {theirs: ours} of convolutions and of the batch normalisations after them."""
    pairs: dict[str, str] = {}
    for branch, names in modules.items():
        numbers = {"branch1": (0, 1, 2, 3), "branch2": (0, 1, 3, 4, 5, 6)}.get(
            branch, (0, 1, 4, 5, 6, 7)
        )
        ours = (f"{branch}.{number}" for number in numbers)
        pairs |= dict(zip(names, ours, strict=True))
    return pairs


def _conv_bn(*names: str, conv: str = ".conv", bn: str = ".bn") -> tuple[str, ...]:
    return tuple(name + part for name in names for part in (conv, bn))


def _ends(conv1: str, conv5: str, fc: str, conv: str, bn: str) -> dict[str, str]:
    pairs = {conv1 + conv: "conv1.0", conv1 + bn: "conv1.1", fc: "fc"}
    return pairs | ({conv5 + conv: "conv5.0", conv5 + bn: "conv5.1"} if conv5 else {})


def shuffled_late(name: str, array: Array, order: Array | None) -> Array:
    """Reorder a depthwise convolution and its batch normalisation, for a shuffle after them."""
    late = re.search(r"\.branch\.[45]\.", name) and array.ndim
    return array[order] if late and order is not None else array


def _reversed(name: str, array: Array, order: Array | None) -> Array:
    """Reverse all channels except those of images and classes."""
    if not array.ndim or name == "fc.bias":
        return array
    rows = array if name == "fc.weight" else array[::-1]
    return rows[:, ::-1] if array.ndim > 1 and name != "conv1.0.weight" else rows


def _transposed(name: str, array: Array, order: Array | None) -> Array:
    return array.T if name == "fc.weight" else array


_AUTHORS_V2 = _numbered(
    branch1=tuple(f"branch_proj.{j}" for j in range(4)),
    branch2=tuple(f"branch_main.{j}" for j in (0, 1, 3, 4, 5, 6)),
)
_PYTORCHCV_STEM = "features.init_block.conv"
_AUTHORS_ENDS = _ends("first_conv", "conv_last", "classifier.0", ".0", ".1")
_PYTORCHCV_ENDS = _ends(_PYTORCHCV_STEM, "features.final_block", "output", ".conv", ".bn")
_PYTORCHCV_BRANCH = (
    *("compress_conv1", "compress_bn1", "dw_conv2", "dw_bn2", "expand_conv3", "expand_bn3"),
)
_PYTORCHCV_UNIT = "features.stage{stage}.unit{unit}.{part}"
_OURS_V2 = {name: name for name in (f"branch{b}.{j}" for b in (1, 2) for j in range(9))}
_OURS_ENDS = {
    name: name for name in (*(f"conv{k}.{j}" for k in (1, 5, 6) for j in (0, 1, 3, 4, 6, 7)), "fc")
}

TORCHVISION = Layout(
    "torchvision's V2",
    "names and order are ours",
    "stage2.0.branch2.0.weight",
    parts=_OURS_V2,
    ends=_OURS_ENDS,
    repeats=(16, 32, 32, 16),  # V2-50 and V2-164 have four stages
)
AUTHORS_V2 = Layout(
    "the authors' V2",
    "splits into even and odd channels, not into halves",
    "features.0.branch_main.0.weight",
    "features.{k}.{part}",
    _AUTHORS_V2,
    _AUTHORS_ENDS,
    repeats=REPEATS,
    options={"shuffle_order": "authors"},
)
AUTHORS_V1 = Layout(
    "the authors' V1",
    "shuffles with the inverse, after the depthwise layer",
    "features.0.branch_main_1.0.weight",
    "features.{k}.{part}",
    _numbered(
        branch=(
            *(f"branch_main_1.{j}" for j in (0, 1, 3, 4)),
            *("branch_main_2.0", "branch_main_2.1"),
        )
    ),
    _ends("first_conv", "", "classifier.0", ".0", ".1"),
    repeats=REPEATS,
    options={"shuffle_order": "authors"},
    change=shuffled_late,
)
LAYOUTS = (
    TORCHVISION,
    AUTHORS_V2,
    AUTHORS_V1,
    Layout(
        "our V1",
        "names and order are ours",
        "stage2.0.branch.0.weight",
        parts={name: name for name in (f"branch.{j}" for j in range(8))},
        ends=_OURS_ENDS,
    ),
    Layout(
        "FastestDet's backbone",
        "as the authors' V2, with stages by name; no conv5, no fc",
        "stage2.0.branch_main.0.weight",
        parts=_AUTHORS_V2,
        ends=_AUTHORS_ENDS,
        options={"shuffle_order": "authors"},
    ),
    Layout(
        "pytorchcv's V2",
        "the max pool has no padding, in ceil mode",
        "features.stage1.unit1.expand_conv5.weight",
        _PYTORCHCV_UNIT,
        _numbered(
            branch1=("dw_conv4", "dw_bn4", "expand_conv5", "expand_bn5"),
            branch2=_PYTORCHCV_BRANCH,
        ),
        _PYTORCHCV_ENDS,
        first_stage=1,
        first_unit=1,
        options={"pool_padding": [[0, 1], [0, 1]]},
    ),
    Layout(
        "pytorchcv's V1",
        "channels are concatenated in the other order",
        "features.stage1.unit1.compress_conv1.weight",  # V2 has it, too, but is looked for first
        _PYTORCHCV_UNIT,
        _numbered(branch=_PYTORCHCV_BRANCH),
        _ends("features.init_block", "", "output", ".conv", ".bn"),
        first_stage=1,
        first_unit=1,
        change=_reversed,
    ),
    Layout(
        "pytorchcv's V2 b",
        "names only; branch 1 keeps the input's channels",
        "features.stage1.unit1.shortcut_conv.conv.weight",
        _PYTORCHCV_UNIT,
        _numbered(
            branch1=_conv_bn("shortcut_dconv", "shortcut_conv"),
            branch2=_conv_bn("conv1", "dconv", "conv2"),
        ),
        _PYTORCHCV_ENDS,
        first_stage=1,
        first_unit=1,
    ),
    Layout(
        "mmpretrain's V1",
        "shuffles after the depthwise layer",
        "layers.0.0.g_conv_1x1_compress.conv.weight",
        "layers.{stage}.{unit}.{part}",
        _numbered(
            branch=_conv_bn("g_conv_1x1_compress", "depthwise_conv3x3_bn", "g_conv_1x1_expand")
        ),
        _ends("conv1", "", "fc", ".conv", ".bn"),
        first_stage=0,
        change=shuffled_late,
    ),
    Layout(
        "mmpretrain's V2",
        "names only",
        "layers.0.0.branch2.0.conv.weight",
        "layers.{stage}.{unit}.{part}",
        _numbered(
            branch1=_conv_bn("branch1.0", "branch1.1"),
            branch2=_conv_bn("branch2.0", "branch2.1", "branch2.2"),
        ),
        _ends("conv1", "layers.3", "fc", ".conv", ".bn"),
        first_stage=0,
    ),
    Layout(
        "PaddlePaddle's V2",
        "fc.weight is transposed; no counters of batches",
        "2_1._conv_linear_1.0.weight",
        "{stage}_{unit}.{part}",
        {
            **_numbered(
                branch1=_conv_bn("_conv_dw_1", "_conv_linear_1", conv=".0", bn=".1"),
                branch2=_conv_bn("_conv_pw_2", "_conv_dw_2", "_conv_linear_2", conv=".0", bn=".1"),
            ),
            **_numbered(
                branch2=_conv_bn("_conv_pw", "_conv_dw", "_conv_linear", conv=".0", bn=".1")
            ),
        },
        _ends("_conv1", "_last_conv", "_fc", ".0", ".1"),
        first_unit=1,
        leaves=PARAMETERS | {"_mean": "running_mean", "_variance": "running_var"},
        change=_transposed,
    ),
)
SHARED = {
    "pytorch-cifar-models": "torchvision's names; the small stem, for 10 and 100 classes",
    "NanoDet's backbone": "torchvision's names; no conv5, no fc, and leaky ReLU",
    "MegEngine's V2": "the authors' names and order",
}
"""Networks that use the names of one of the layouts."""
NANODET_HEAD = "head.gfl_cls."
"""A part of names in NanoDet's whole detector."""


def layout_table() -> list[str]:
    """Return the lines of the table of layouts: a title, and how the layout differs from ours."""
    rows = [(layout.title, layout.differs) for layout in LAYOUTS] + list(SHARED.items())
    return [f"{title:24}{differs}" for title, differs in rows]
