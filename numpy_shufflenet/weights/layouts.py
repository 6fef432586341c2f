"""How others name and order the weights of ShuffleNets, and how to turn them into ours.

    layout                networks         how it differs from ours
    torchvision           V2               not at all: these are our names
    pytorch-cifar-models  V2               as torchvision, with the small stem
    NanoDet               V2, no conv5, fc LeakyReLU, which this library lacks: read on request only
    authors               V2               even and odd channels are parted where we split halves
    FastestDet            V2, no conv5, fc as the authors, with stages by name
    authors               V1               shuffles by the inverse, and after the depthwise layer
    pytorchcv             V1               channels are concatenated in the other order
    pytorchcv             V2               the max pool has no padding, in ceil mode
    pytorchcv b           V2               branch 1 keeps the input's channels
    mmpretrain            V1               shuffles after the depthwise layer
    mmpretrain            V2               names only
    PaddlePaddle          V2               fc.weight is transposed; no counters of batches

All but the first three have names of their own. All scales are read: widths follow from shapes, and
become the argument `widths` where no scale of ours has them. The stem's stride and the activation
leave no trace in the weights; PaddlePaddle's network with swish is taken for one with ReLU.

A shuffle after a depthwise convolution is the same as one before it, with the channels of that
convolution and of its batch normalisation in the other order. Channels that are concatenated in the
other order are the same network with the channels of all layers in reverse: a reversal maps groups
to groups, and it commutes with the shuffle.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

LEAVES = {
    **{name: name for name in ("weight", "bias", "running_mean", "running_var")},
    **{"num_batches_tracked": "num_batches_tracked"},
    **{"_mean": "running_mean", "_variance": "running_var"},  # PaddlePaddle's
}


def _no_change(name: str, array: Array, order: Array | None) -> Array:
    return array


@dataclass(frozen=True)
class Layout:
    """Names of modules, and what else differs.

    Attributes
    ----------
    title : str
        For messages.
    landmark : str
        A name that such a file has, and files of other layouts lack.
    unit : str
        How a module within a unit is called: {stage}, {unit} and {part}; or {k} for the number of
        the unit in the network.
    parts : dict of str to str
        Modules of a unit, by their names there; ours as values.
    ends : dict of str to str
        Modules outside units.
    first_stage, first_unit : int
        Numbers of the first ones.
    repeats : tuple of int
        Units of each stage, at the most.
    options : dict
        Arguments of the function that builds the network.
    change : callable
        (our name, array, order) -> array, turns an array into ours; order is that of the shuffle.
    """

    title: str
    landmark: str
    unit: str = "stage{stage}.{unit}.{part}"
    parts: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)
    first_stage: int = 2
    first_unit: int = 0
    repeats: tuple[int, ...] = (4, 8, 4)
    options: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[str, Array, Array | None], Array] = _no_change

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


def _shuffled_late(name: str, array: Array, order: Array | None) -> Array:
    """Reorder a depthwise convolution and its batch normalisation, which follow our shuffle."""
    late = re.search(r"\.branch\.[45]\.", name) and array.ndim
    return array[order] if late and order is not None else array


def _reversed(name: str, array: Array, order: Array | None) -> Array:
    """Reverse all channels but those of images and classes."""
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
_PYTORCHCV_UNIT = "features.stage{stage}.unit{unit}.{part}"
_OURS_V2 = {name: name for name in (f"branch{b}.{j}" for b in (1, 2) for j in range(9))}
_OURS_ENDS = {
    name: name for name in (*(f"conv{k}.{j}" for k in (1, 5, 6) for j in (0, 1, 3, 4, 6, 7)), "fc")
}

TORCHVISION = Layout(
    "torchvision's V2",
    "stage2.0.branch2.0.weight",
    parts=_OURS_V2,
    ends=_OURS_ENDS,
    repeats=(10, 10, 23, 10),  # also of our V2-50 and V2-164
)
AUTHORS_V2 = Layout(
    "the authors' V2",
    "features.0.branch_main.0.weight",
    "features.{k}.{part}",
    _AUTHORS_V2,
    _AUTHORS_ENDS,
    options={"shuffle_order": "authors"},
)
AUTHORS_V1 = Layout(
    "the authors' V1",
    "features.0.branch_main_1.0.weight",
    "features.{k}.{part}",
    _numbered(
        branch=(
            *(f"branch_main_1.{j}" for j in (0, 1, 3, 4)),
            *("branch_main_2.0", "branch_main_2.1"),
        )
    ),
    _ends("first_conv", "", "classifier.0", ".0", ".1"),
    options={"shuffle_order": "authors"},
    change=_shuffled_late,
)
LAYOUTS = (
    TORCHVISION,
    AUTHORS_V2,
    AUTHORS_V1,
    Layout(
        "our V1",
        "stage2.0.branch.0.weight",
        parts={name: name for name in (f"branch.{j}" for j in range(8))},
        ends=_OURS_ENDS,
    ),
    Layout(
        "FastestDet's backbone",
        "stage2.0.branch_main.0.weight",
        parts=_AUTHORS_V2,
        ends=_AUTHORS_ENDS,
        options={"shuffle_order": "authors"},
    ),
    Layout(
        "pytorchcv's V1",
        "features.init_block.conv.weight",
        _PYTORCHCV_UNIT,
        _numbered(
            branch=(
                *("compress_conv1", "compress_bn1", "dw_conv2", "dw_bn2"),
                *("expand_conv3", "expand_bn3"),
            )
        ),
        {**_ends("features.init_block", "", "output", ".conv", ".bn")},
        first_stage=1,
        first_unit=1,
        change=_reversed,
    ),
    Layout(
        "pytorchcv's V2",
        "features.stage1.unit1.expand_conv5.weight",
        _PYTORCHCV_UNIT,
        _numbered(
            branch1=("dw_conv4", "dw_bn4", "expand_conv5", "expand_bn5"),
            branch2=(
                *("compress_conv1", "compress_bn1", "dw_conv2", "dw_bn2"),
                *("expand_conv3", "expand_bn3"),
            ),
        ),
        _PYTORCHCV_ENDS,
        first_stage=1,
        first_unit=1,
        options={"pool_padding": [[0, 1], [0, 1]]},
    ),
    Layout(
        "pytorchcv's V2 b",
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
        "layers.0.0.g_conv_1x1_compress.conv.weight",
        "layers.{stage}.{unit}.{part}",
        _numbered(
            branch=_conv_bn("g_conv_1x1_compress", "depthwise_conv3x3_bn", "g_conv_1x1_expand")
        ),
        _ends("conv1", "", "fc", ".conv", ".bn"),
        first_stage=0,
        change=_shuffled_late,
    ),
    Layout(
        "mmpretrain's V2",
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
        change=_transposed,
    ),
)
OTHERS = {  # names of other networks' weights
    "features.1.conv.0.0.weight": "MobileNetV2",
    "features.4.block.2.fc1.weight": "MobileNetV3",
    "features.1.0.block.0.0.weight": "EfficientNet",
    "layers.8.0.layers.0.weight": "MNASNet",
    "features.denseblock1.denselayer1.norm1.weight": "DenseNet",
    "features.3.squeeze.weight": "SqueezeNet",
    "features.1.0.norm1.weight": "Swin Transformer",
    "features.1.0.layer_scale": "ConvNeXt",
    "trunk_output.block1.block1-0.f.a.0.weight": "RegNet",
    "inception3a.branch1.conv.weight": "GoogLeNet",
    "Mixed_5b.branch1x1.conv.weight": "Inception V3",
    "encoder.layers.encoder_layer_0.ln_1.weight": "Vision Transformer",
    "blocks.0.attn.qkv.weight": "Vision Transformer",
    "blocks.0.layers.0.layers.MBconv.layers.conv_a.0.weight": "MaxViT",
    "layer1.0.conv1.weight": "ResNet",
    "classifier.6.weight": "AlexNet or VGG",
}


def recognise(arrays: Mapping[str, Array]) -> tuple[Layout, dict[str, Array]]:
    """Return the layout of a network in some arrays, and the network's arrays without a prefix.

    Wrappers and prefixes such as "state_dict.", "module." and "backbone." are taken off. Of several
    networks in a file, one whose prefix has "ema" comes first, then the shortest prefix.

    Raises
    ------
    ValueError
        If there is no network whose layout is known.
    """
    candidates = [
        ("ema" not in prefix, len(prefix), prefix, layout)
        for layout in LAYOUTS
        for prefix in _prefixes(arrays, layout.landmark)
    ]
    if not candidates:
        for landmark, name in OTHERS.items():
            if any(True for _ in _prefixes(arrays, landmark)):
                raise ValueError(
                    f"this looks like {name}: it has {landmark}; a ShuffleNet is needed"
                )
        known = ", ".join(layout.title for layout in LAYOUTS)
        shown = ", ".join(list(arrays)[:3])
        raise ValueError(
            f"no ShuffleNet whose layout is known: it has {shown}, ...; known are {known}"
        )
    *_, prefix, layout = min(candidates, key=lambda candidate: candidate[:3])
    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    if prefix.endswith("backbone."):  # mmpretrain's classifier is beside it
        head = prefix.removesuffix("backbone.") + "head.fc."
        for name, array in arrays.items():
            if name.startswith(head):
                own[f"fc.{name.removeprefix(head)}"] = array
    return layout, own


def _prefixes(arrays: Mapping[str, Array], landmark: str) -> Iterator[str]:
    for name in arrays:
        prefix = name.removesuffix(landmark)
        if prefix != name and (not prefix or prefix.endswith(".")):
            yield prefix


def to_ours(layout: Layout, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays by our names, their channels in our order.

    Raises
    ------
    ValueError
        If a name is unknown, or an array has so few axes that it can't be reordered.
    """
    modules = layout.modules()
    unknown, found = [], {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith(".se") and leaf.startswith(("reduce_", "expand_")):
            found[name] = array
        elif module in modules and leaf in LEAVES:
            found[f"{modules[module]}.{LEAVES[leaf]}"] = np.asarray(array)
        else:
            unknown.append(name)
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(f"{layout.title} has no {', '.join(unknown[:5])}{more}")
    return {
        name: layout.change(name, array, _order(layout, name, array, found))
        for name, array in found.items()
    }


def from_ours(layout: Layout, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return our arrays by the names of a layout, with their channels in its order.

    Raises
    ------
    ValueError
        If the layout has no such name.
    """
    theirs = {ours: name for name, ours in layout.modules().items()}
    renamed = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if module not in theirs:
            raise ValueError(f"{layout.title} has nothing like {name}")
        order = _order(layout, name, array, arrays)
        inverse = None if order is None else np.argsort(order)
        renamed[f"{theirs[module]}.{leaf}"] = layout.change(name, array, inverse)
    return renamed


def _order(layout: Layout, name: str, array: Array, arrays: Mapping[str, Array]) -> Array | None:
    """Return the order in which the shuffle of a V1 unit reads its input, if that is needed."""
    if layout.change is not _shuffled_late or not np.ndim(array):
        return None
    channels, groups = len(array), groups_of(arrays)
    if groups < 1 or channels == 0 or channels % groups:
        return None  # shapes are wrong, which is said where they are compared
    rows = channels // groups if layout.options.get("shuffle_order") == "authors" else groups
    return np.arange(channels).reshape(rows, channels // rows).T.ravel()


def groups_of(arrays: Mapping[str, Array]) -> int:
    """Return the groups of a V1: the channels of a bottleneck over those that one output reads.

    0 if these arrays are missing or have other shapes.
    """
    shapes = (np.shape(arrays.get(f"stage2.0.branch.{k}.weight", 0)) for k in (5, 6))
    match tuple(shapes):
        case (middle,), (_, read, _, _) if read:
            return int(middle // read)
    return 0
