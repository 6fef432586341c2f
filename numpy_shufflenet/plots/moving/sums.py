"""How the sum of a step is written out: which entries each term multiplies, and by what.

`steps` says what a step reads and the terms that it adds up. A term of a convolution is a product
of two reads. Any other backward is linear in dy, so each term is one dy times a slope, and the
slope is that term with dy = 1; likewise for forwards that are linear in x.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import Part
from numpy_shufflenet.steps import Step
from numpy_shufflenet.steps.batch_norm import mean_and_std
from numpy_shufflenet.steps.pooling import winner

PRODUCTS = ("conv2d", "group_conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")
ElementOf = Callable[[tuple[str, Any]], int]
SumTerms = list[list[Part]]


def write_out(name: str, step: Step, unit: Step | None, element: ElementOf) -> SumTerms:
    """Return the terms of a step as parts.

    Parameters
    ----------
    name : str
        Of the operation.
    step : Step
    unit : Step or None
        The same step with ones for what the operation is linear in (x forward, dy backward).
    element : callable
        Gives the element of a read.
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
    """Return gamma (x - mean) / std + beta, and a sentence on mean and std."""
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
    return [
        scaled,
        [beta],
    ], f"mean {short_number(mean)} and standard deviation {short_number(std)}, {source}"


def largest(step: Step, x: Any) -> tuple[str, Any]:
    """Return the read that a max pool keeps."""
    return "x", winner(x, [index for _, index in step.reads])


def _products(step: Step, element: ElementOf) -> SumTerms:
    """Pairs of reads, and single ones of another array after or without them (a bias)."""
    if all(name == step.reads[0][0] for name, _ in step.reads):  # db
        return [[element(read)] for read in step.reads]
    pairs: SumTerms = [
        [element(a), element(b)] for a, b in zip(step.reads[0::2], step.reads[1::2], strict=False)
    ]
    bias: SumTerms = [[element(step.reads[-1])]] if len(step.reads) % 2 else []
    return [*pairs, *bias]


def _times(slope: float) -> Sequence[Part]:
    """Write a factor: nothing for 1, a division for 1/n."""
    if slope == 1:
        return []
    if 0 < slope < 1 and abs(1 / slope - round(1 / slope)) < 1e-9:
        return [f" / {round(1 / slope)}"]
    return [f" × {short_number(slope)}"]
