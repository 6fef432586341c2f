"""Writes out the sum that a step computes: the entries in each term, and their factors.

`steps` gives the entries that a step reads and the terms that it adds. A term of a convolution is
the product of two entries. Every other backward is linear in dy, so each term is an entry of dy
times a slope. The slope is the value of the term for dy = 1. In the same way, each term of a
forward that is linear in x is an entry of x times a slope.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import Part
from numpy_shufflenet.steps import Step
from numpy_shufflenet.steps.batch_norm import mean_and_std

PRODUCTS = ("conv2d", "group_conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")
ElementOf = Callable[[tuple[str, Any]], int]
SumTerms = list[list[Part]]


def write_out(name: str, step: Step, unit: Step | None, element: ElementOf) -> SumTerms:
    """Return the terms of a step of the operation `name` as parts.

    `unit` is the same step with ones as input (x in forward, dy in backward) if the operation is
    linear in this input, otherwise None. `element` returns the scene's element for an entry.
    """
    if name in PRODUCTS:
        return _products(step, element)
    backward = step.output.startswith("d")
    sources = [read for read in step.reads if not backward or read[0].startswith("dy")]
    if unit is not None and len(sources) == len(step.terms):
        slopes = unit.terms
        return [
            [element(read), *_times(slope)] for read, slope in zip(sources, slopes, strict=True)
        ]
    if name == "relu":
        return [[element(("x", step.index))] for _ in step.terms]
    return [[short_number(term)] for term in step.terms]


def batch_norm_terms(
    step: Step, arrays: Mapping[str, Any], eps: float, element: ElementOf
) -> tuple[SumTerms, str]:
    """Return the terms of gamma (x - mean) / std + beta, and a note on mean and std."""
    c = step.index[1]
    if "mean" in arrays:
        mean = arrays["mean"][c]
        _, std = mean_and_std([0.0], float(arrays["var"][c]) + eps)
    else:
        mean, std = mean_and_std([arrays["x"][i] for name, i in step.reads if name == "x"], eps)
    x, gamma, beta = (
        element((n, i)) for n, i in (("x", step.index), ("gamma", (c,)), ("beta", (c,)))
    )
    centred = f" − {short_number(mean)}" if mean >= 0 else f" + {short_number(-mean)}"
    scaled: list[Part] = [gamma, " × (", x, f"{centred}) / {short_number(std)}"]
    source = "given" if "mean" in arrays else "of this channel, over all images and pixels"
    note = f"mean {short_number(mean)} and standard deviation {short_number(std)}, {source}"
    return [scaled, [beta]], note


def _products(step: Step, element: ElementOf) -> SumTerms:
    """Return the product of each pair of entries read, and an unpaired bias as a term."""
    if all(name == step.reads[0][0] for name, _ in step.reads):  # db
        return [[element(read)] for read in step.reads]
    pairs: SumTerms = [
        [element(a), element(b)] for a, b in zip(step.reads[0::2], step.reads[1::2], strict=False)
    ]
    bias: SumTerms = [[element(step.reads[-1])]] if len(step.reads) % 2 else []
    return [*pairs, *bias]


def _times(slope: float) -> Sequence[Part]:
    """Return the text of a factor; there is no text for 1, and a division for 1/n."""
    if slope == 1:
        return []
    if 0 < slope < 1 and abs(1 / slope - round(1 / slope)) < 1e-9:
        return [f" / {round(1 / slope)}"]
    return [f" × {short_number(slope)}"]
