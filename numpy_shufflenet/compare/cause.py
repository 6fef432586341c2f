"""The likely cause of a difference: the mistakes that people make when they port networks."""

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet._typing import Array
from numpy_shufflenet.compare.pair import Pair, in_our_order, largest_absolute
from numpy_shufflenet.compare.record import post_order
from numpy_shufflenet.compare.result import LayerDifference
from numpy_shufflenet.models import ImageClassifier


def likely_cause(
    model: ImageClassifier,
    x: Array,
    pairs: list[Pair],
    layers: list[LayerDifference],
    wrong: int,
) -> str:
    """Return what may be wrong in the first layer that differs."""
    pair, layer = pairs[wrong], layers[wrong]
    before = f"; {pairs[wrong - 1].layer} agrees" if wrong else ""
    if pair.other.shape != pair.exact.shape:
        return (
            f"its output has shape {pair.other.shape} instead of {pair.exact.shape}: look at "
            f"stride and padding, or the rounding of a pool's size{before}"
        )
    if not np.isfinite(pair.exact).all():
        return f"our output holds NaN or infinity{before}"
    if not np.isfinite(pair.other).all():
        return f"its output holds NaN or infinity{before}"
    if pair.kind != "logits":
        again = in_our_order(pair.exact, pair.other)
        if again is not pair.other and largest_absolute(again - pair.exact) <= layer.limit:
            return (
                "its channels are ours in another order: look at the shuffle, at the split, and at "
                "the order of the parts that are concatenated. If the layers after it have their "
                "weights relabelled to fit, compare in any order (--any-order)"
            )
    if pair.blocks is None:
        return {
            "pool": f"look at the padding of the pool, and whether it rounds sizes up{before}",
            "logits": f"look at the global pool and at the classifier{before}",
        }.get(pair.kind, f"look at how its branches are joined, and at the activation{before}")
    if pair.kind == "norm":
        return (
            "the convolution before it agrees: look at the weights and the statistics of the "
            "batch normalisation, and at its eps"
        )
    return _cause_in_convolution(model, x, pair, layer, before)


def _cause_in_convolution(
    model: ImageClassifier, x: Array, pair: Pair, layer: LayerDifference, before: str
) -> str:
    assert pair.blocks is not None
    ours, theirs = pair.blocks
    layers = dict(model.named_layers())
    first = next(name for name, layer in post_order(model) if isinstance(layer, nn.Conv2d))
    if ours.weight.shape[1] == x.shape[1] and ours.conv == first:
        y = layers[ours.conv].infer(x[:, ::-1].astype(np.float64))
        if pair.layer == ours.norm:
            y = layers[ours.norm].infer(y)
        if largest_absolute(y - pair.other) <= layer.limit:
            return "it agrees if red and blue are swapped: one of the networks takes BGR"
    if theirs.normalised is None and ours.normalised is not None:
        return f"look at its weights and statistics, which are folded, and at its padding{before}"
    same_order = theirs.order is None or (theirs.order == np.arange(len(theirs.order))).all()
    if same_order and not np.array_equal(ours.weight.astype(np.float32), theirs.weight):
        return f"its weights differ from ours{before}"
    return (
        "look at its padding and stride, and at what comes before it: activation, split, shuffle, "
        f"normalisation of the images{before}"
    )
