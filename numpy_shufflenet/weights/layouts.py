"""How other libraries name and order the weights of ShuffleNets, and how to turn them into ours.

    layout                  how it differs from ours
    torchvision's V2        names and order are ours
    the authors' V2         splits into even and odd channels, not into halves
    the authors' V1         shuffles with the inverse, after the depthwise layer
    our V1                  names and order are ours
    FastestDet's backbone   as the authors' V2, with stages by name; no conv5, no fc
    pytorchcv's V2          the max pool has no padding, in ceil mode
    pytorchcv's V1          channels are concatenated in the other order
    pytorchcv's V2 b        names only; branch 1 keeps the input's channels
    mmpretrain's V1         shuffles after the depthwise layer
    mmpretrain's V2         names only
    PaddlePaddle's V2       fc.weight is transposed; no counters of batches
    pytorch-cifar-models    torchvision's names; the small stem, for 10 and 100 classes
    NanoDet's backbone      torchvision's names; no conv5, no fc, and leaky ReLU
    MegEngine's V2          the authors' names and order

`recognise` finds the layout by the names of the arrays. Networks of any scale can be read: the
shapes show the widths, which become the argument `widths` if no scale of ours has them. The weights
don't show the stem, the activation and the padding. With torchvision's names and 10 or 100 classes,
we assume the small stem; in a file of NanoDet's whole detector, we assume leaky ReLU. Everything
else must be passed to `from_weights`, such as `activation="swish"` for one network of PaddlePaddle.

`model.save` writes our names, torchvision's names and the authors' names. If the order of the
channels differs, `relabel` changes it. This is possible in V2 if both branches of the first unit
have half of its output channels, which holds at scale 0.5 and in torchvision's layout. It is also
possible in V1 with 1, 2 and 3 groups. Other networks can't be relabelled.

A shuffle after a depthwise convolution equals a shuffle before it, if the channels of the
convolution and of its batch normalisation are reordered. A network that concatenates channels in
the other order equals our network with the channels of all layers reversed: a reversal maps groups
to groups, and it commutes with the shuffle.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.known import (
    AUTHORS_V1,
    AUTHORS_V2,
    LAYOUTS,
    NANODET_HEAD,
    TORCHVISION,
    Layout,
    shuffled_late,
)
from numpy_shufflenet.weights.others import looks_like

__all__ = [
    "AUTHORS_V1",
    "AUTHORS_V2",
    "LAYOUTS",
    "NANODET_HEAD",
    "TORCHVISION",
    "Layout",
    "from_ours",
    "groups_of",
    "recognise",
    "their_names",
    "to_ours",
]

AVERAGED = re.compile(r"(^|[._])(ema|avg|averaged|swa)[._]")  # in the prefix of averaged weights


def recognise(arrays: Mapping[str, Array]) -> tuple[Layout, dict[str, Array]]:
    """Return the layout of a network in some arrays, and the network's arrays without a prefix.

    Wrappers and prefixes such as "state_dict.", "module." and "backbone." are removed. If a file
    has several networks, averaged weights ("ema", "avg_model") are preferred, then the shortest
    prefix.
    """
    candidates = [
        (not AVERAGED.search(prefix), len(prefix), prefix, layout)
        for layout in LAYOUTS
        for name in arrays
        if f".{name}".endswith(f".{layout.landmark}")
        for prefix in [name.removesuffix(layout.landmark)]
    ]
    if not candidates:
        if other := looks_like(arrays):
            raise ValueError(f"this looks like {other}; a ShuffleNet is needed")
        known = ", ".join(layout.title for layout in LAYOUTS)
        shown = ", ".join(list(arrays)[:3])
        raise ValueError(
            f"no ShuffleNet whose layout is known: it has {shown}, ...; known are {known}"
        )
    *_, prefix, layout = min(candidates, key=lambda candidate: candidate[:3])
    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    if prefix.endswith("backbone."):  # mmpretrain's classifier has another prefix
        head = prefix.removesuffix("backbone.") + "head.fc."
        for name, array in arrays.items():
            if name.startswith(head):
                own[f"fc.{name.removeprefix(head)}"] = array
    return layout, own


def to_ours(layout: Layout, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays by our names, their channels in our order."""
    modules = layout.modules()
    unknown, found = [], {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith(".se") and leaf.startswith(("reduce_", "expand_")):
            found[name] = array
        elif module in modules and leaf in layout.leaves:
            found[f"{modules[module]}.{layout.leaves[leaf]}"] = np.asarray(array)
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
    """Return our arrays by the names of a layout, with their channels in its order."""
    renamed = {}
    for name, theirs in their_names(layout, arrays).items():
        if not theirs:
            raise ValueError(f"{layout.title} has nothing like {name}")
        order = _order(layout, name, arrays[name], arrays)
        inverse = None if order is None else np.argsort(order)
        renamed[theirs] = layout.change(name, arrays[name], inverse)
    return renamed


def their_names(layout: Layout, names: Iterable[str]) -> dict[str, str]:
    """Return the names of our arrays in a layout; "" if it lacks such an array."""
    modules = {ours: theirs for theirs, ours in layout.modules().items()}
    leaves = {ours: theirs for theirs, ours in layout.leaves.items()}
    found = {}
    for name in names:
        module, _, leaf = name.rpartition(".")
        known = module in modules and leaf in leaves
        found[name] = f"{modules[module]}.{leaves[leaf]}" if known else ""
    return found


def _order(layout: Layout, name: str, array: Array, arrays: Mapping[str, Array]) -> Array | None:
    """Return the order in which the shuffle of a V1 unit reads its input; None if not needed."""
    if layout.change is not shuffled_late or not np.ndim(array):
        return None
    channels, groups = len(array), groups_of(arrays)
    if groups < 1 or channels == 0 or channels % groups:
        return None  # the shapes are wrong; a later comparison reports it
    rows = channels // groups if layout.options.get("shuffle_order") == "authors" else groups
    return np.arange(channels).reshape(rows, channels // rows).T.ravel()


def groups_of(arrays: Mapping[str, Array]) -> int:
    """Return the number of groups of a V1, or 0 if arrays that show it are missing or misshapen.

    It is the number of channels of a bottleneck, divided by the number that one output reads.
    """
    shapes = (np.shape(arrays.get(f"stage2.0.branch.{k}.weight", 0)) for k in (5, 6))
    match tuple(shapes):
        case (middle,), (_, read, _, _) if read:
            return int(middle // read)
    return 0
