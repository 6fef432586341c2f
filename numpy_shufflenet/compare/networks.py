"""Runs two networks on the same images, and compares their layers."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet._typing import Array
from numpy_shufflenet.compare.cause import likely_cause
from numpy_shufflenet.compare.onnx_network import OnnxNetwork
from numpy_shufflenet.compare.pair import Pair
from numpy_shufflenet.compare.record import ConvBlock, Record, paired, post_order, record_ours
from numpy_shufflenet.compare.result import NetworkComparison
from numpy_shufflenet.compare.torch_network import TorchNetwork
from numpy_shufflenet.models import ImageClassifier


def compare_networks(
    ours: ImageClassifier,
    theirs: Any,
    images: Array,
    *,
    their_images: Array | None = None,
    fill_statistics: bool = False,
    any_order: bool = False,
) -> NetworkComparison:
    """Compare the outputs of all layers of two networks in evaluation mode.

    If `weights.layouts` knows the layout of the other network, convolutions are matched by their
    names, and compared with their channels in our order. Otherwise they are matched by the shapes
    of their weights. Units, concatenations, shuffles and max pools are compared if both networks
    have the same number of them. Neither network is changed.

    Parameters
    ----------
    theirs : torch.nn.Module, or path
        A path names an ONNX file, which ONNX Runtime runs. Batch normalisation may be folded into
        the convolutions of the file.
    images : array, shape (n, c, h, w), floating-point
        At least 2.
    their_images : array, shape (n, c, h, w), optional
        The same images for the other network, if it needs other preprocessing, such as BGR.
    fill_statistics : bool
        Whether both networks first get the running statistics of these images. Our network
        computes them in training mode.
    any_order : bool
        Whether the channels of a layer may have another order, as in a port whose channels were
        relabelled. Then a wrong shuffle shows in the next convolution only.

    Raises
    ------
    ImportError
        If PyTorch, onnx or onnxruntime is needed and isn't installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the images don't fit, there are fewer than 2, a file is damaged, the networks differ in
        the number of convolutions or classes, or theirs has no running statistics to fill.
    """
    if np.ndim(images) != 4 or len(images) < 2:
        raise ValueError(f"images has shape {np.shape(images)}; (n, c, h, w) with n >= 2 is needed")
    other = OnnxNetwork(theirs) if isinstance(theirs, str | os.PathLike) else TorchNetwork(theirs)
    x = images.astype(np.float32)
    their_x = x if their_images is None else their_images
    if len(their_x) != len(x):
        raise ValueError(f"their_images has {len(their_x)} images, images has {len(x)}")
    single = ours.astype(np.float32)
    found = other.run(their_x)
    if fill_statistics:
        nn.fill_statistics(single, x)
        pairs = paired(record_ours(single, x[:2]).blocks, found.blocks)
        other.write_statistics(_statistics(single, pairs))
        found = other.run(their_x)
    double = single.astype(np.float64)
    exact = record_ours(double, x.astype(np.float64))
    return _compared(double, x, exact, record_ours(single, x), found, any_order)


def _statistics(
    model: ImageClassifier, pairs: list[tuple[ConvBlock, ConvBlock]]
) -> dict[str, tuple[Array, Array]]:
    """Return our running statistics by the names and in the order of the other network."""
    layers = dict(model.named_layers())
    found = {}
    for ours, theirs in pairs:
        if not theirs.norm or not ours.norm:
            raise ValueError(
                f"{ours.conv} has no batch normalisation after it in one of the networks; folded "
                "statistics can't be filled"
            )
        norm: Any = layers[ours.norm]
        order = slice(None) if theirs.order is None else np.argsort(theirs.order)
        found[theirs.norm] = norm.running_mean.value[order], norm.running_var.value[order]
    return found


def _compared(
    model: ImageClassifier, x: Array, exact: Record, single: Record, theirs: Record, any_order: bool
) -> NetworkComparison:
    places = {name: place for place, (name, _) in enumerate(post_order(model))}
    notes: list[str] = []
    pairs = [
        *_of_blocks(exact, single, theirs),
        *_of_others(exact, single, theirs),
        *_of_units(exact, single, theirs),
    ]
    pairs.sort(key=lambda pair: places[pair.layer])
    assert exact.logits is not None
    assert single.logits is not None
    assert theirs.logits is not None
    if theirs.logits.shape != exact.logits.shape:
        raise ValueError(
            f"our output has shape {exact.logits.shape}, theirs has {theirs.logits.shape}"
        )
    pairs.append(Pair("logits", "logits", "logits", exact.logits, single.logits, theirs.logits))
    layers = [pair.difference(any_order) for pair in pairs]
    if moved := [layer.layer for layer in layers if layer.reordered]:
        notes.append(
            f"{len(moved)} layers have their channels in another order, {moved[0]} first; they "
            "were compared channel by channel with those that are nearest"
        )
    wrong = next((number for number, layer in enumerate(layers) if layer.beyond), None)
    return NetworkComparison(
        layers,
        len(x),
        "" if wrong is None else likely_cause(model, x, pairs, layers, wrong),
        _is_new(model),
        tuple(notes),
    )


def _of_blocks(exact: Record, single: Record, theirs: Record) -> Iterator[Pair]:
    """Yield convolutions and normalisations; if one network has folded them, only the result."""
    in_single = {block.conv: block for block in single.blocks}
    for ours, other in paired(exact.blocks, theirs.blocks):
        rounded, both = in_single[ours.conv], (ours, other)
        unfolded = ours.normalised is not None and other.normalised is not None
        if unfolded or (ours.normalised is None and other.normalised is None):
            y = _ordered(other.output, other.order)
            yield Pair(ours.conv, other.conv, "conv", ours.output, rounded.output, y, both)
        if ours.normalised is None and other.normalised is None:
            continue
        exact_end, single_end, their_end = (
            block.output if block.normalised is None else block.normalised
            for block in (ours, rounded, other)
        )
        name, theirs_name = ours.norm or ours.conv, other.norm or other.conv
        kind, y = "norm" if unfolded else "conv", _ordered(their_end, other.order)
        yield Pair(name, theirs_name, kind, exact_end, single_end, y, both)


def _of_others(exact: Record, single: Record, theirs: Record) -> Iterator[Pair]:
    """Yield layers without weights, if both networks have the same number of this kind.

    If the shapes differ, shuffles and concatenations are at other places of the networks and are
    left out. Pools are always compared.
    """
    for kind, ours in exact.others.items():
        others = theirs.others.get(kind, [])
        shapes = [[found.array.shape for found in outputs] for outputs in (ours, others)]
        if len(ours) != len(others) or (kind != "pool" and shapes[0] != shapes[1]):
            continue
        for own, narrow, other in zip(ours, single.others[kind], others, strict=True):
            y = _ordered(other.array, other.order)
            yield Pair(own.name, other.name, kind, own.array, narrow.array, y)


def _of_units(exact: Record, single: Record, theirs: Record) -> Iterator[Pair]:
    """Yield units, each with the part of the other network that has the same convolutions."""
    names = {ours.conv: other.conv for ours, other in paired(exact.blocks, theirs.blocks)}
    concats = [
        {output.name: output.array for output in record.others.get("concat", [])}
        for record in (exact, single)
    ]
    for within, unit in exact.units.items():
        other = theirs.units.get(frozenset(names[name] for name in within))
        if other is None:
            continue
        name, arrays = unit.name, (unit.array, single.units[within].array)
        if theirs.shuffles_late and f"{name}.concat" in concats[0]:
            name = f"{name}.concat"
            arrays = concats[0][name], concats[1][name]
        yield Pair(name, other.name, "unit", *arrays, _ordered(other.array, other.order))


def _ordered(array: Array, order: Array | None) -> Array:
    return array if order is None or len(order) != array.shape[1] else array[:, order]


def _is_new(model: ImageClassifier) -> bool:
    norms = [layer for _, layer in model.named_layers() if isinstance(layer, nn.BatchNorm2d)]
    statistics = [(norm.running_mean.value, norm.running_var.value) for norm in norms]
    return bool(norms) and all((m == 0).all() and (v == 1).all() for m, v in statistics)
