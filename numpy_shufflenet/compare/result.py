"""The result of a comparison: differences layer by layer, and the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

# A layer tells images apart if their outputs differ by more than all of these limits.
CLEAR = 100  # this many times the difference that rounding explains
ALIKE = 0.01  # this share of the layer's scale
NATS = 1e-3  # for logits; below it no probability changes by more than a thousandth of itself


@dataclass(frozen=True)
class LayerDifference:
    """How far a layer of the other network is from ours."""

    layer: str  #: Our name.
    theirs: str  #: Their name.
    kind: str  #: "conv", "norm", "unit", "concat", "shuffle", "pool" or "logits".
    shape: tuple[int, ...]  #: Our shape.
    #: The largest absolute difference; infinite if shapes differ or their output isn't finite.
    difference: float
    scale: float  #: The largest absolute value of our output.
    limit: float  #: The largest difference that rounding explains.
    #: The largest difference between the outputs of the first image and of another image.
    apart: float
    reordered: bool = False  #: Whether channels were put into our order before they were compared.

    @property
    def relative(self) -> float:
        """The difference relative to the layer's scale."""
        return self.difference / self.scale if self.scale else self.difference

    @property
    def beyond(self) -> bool:
        """Whether the difference is more than rounding."""
        return not self.difference <= self.limit

    @property
    def blind(self) -> bool:
        """Whether all images have practically the same output here."""
        nats = NATS if self.kind == "logits" else 0.0
        return self.apart < max(CLEAR * self.limit, ALIKE * self.scale, nats)


@dataclass(frozen=True)
class NetworkComparison:
    """What `compare_networks` returns; `str` of it is a short report."""

    #: All layers, in the order of our network; the last one holds the logits.
    layers: Sequence[LayerDifference]
    images: int  #: The number of images.
    cause: str = ""  #: What may be wrong in the first layer that differs, or "".
    new_statistics: bool = False  #: Whether all running statistics are those of a new network.
    notes: tuple[str, ...] = ()  #: What was left out of the comparison, in sentences.

    @property
    def first(self) -> LayerDifference | None:
        """The first layer that differs by more than rounding, if there is one."""
        return next((layer for layer in self.layers if layer.beyond), None)

    @property
    def verdict(self) -> str:
        """Return "equal", "different", or "can't tell" if the images' logits aren't apart."""
        if self.first:
            return "different"
        return "can't tell" if self.layers[-1].blind else "equal"

    def __str__(self) -> str:
        first, logits = self.first, self.layers[-1]
        lines = [f"{self.verdict}: {len(self.layers)} layers, {self.images} images"]
        if first:
            lines.append(
                f"the first layer that differs is {first.layer} (theirs: {first.theirs}), by "
                f"{first.difference:.2g}, or {first.relative:.2g} of its scale; rounding explains "
                f"{first.limit:.2g}"
            )
            lines += [self.cause] if self.cause else []
        else:
            worst = max(self.layers, key=lambda layer: layer.relative)
            lines.append(
                f"the largest difference relative to a layer's scale is {worst.relative:.2g}, in "
                f"{worst.layer}"
            )
        if logits.blind:
            lines.append(self._trap())
        else:
            lines.append(
                f"two images' logits are up to {logits.apart:.2g} apart; rounding explains "
                f"{logits.limit:.2g}"
            )
        return "\n".join([*lines, *self.notes])

    def _trap(self) -> str:
        logits = self.layers[-1]
        blind = next(layer for layer in self.layers if layer.blind)
        new = " The running statistics are those of a new network." if self.new_statistics else ""
        return (
            "by logits, this comparison can't tell a right network from a wrong one: two images' "
            f"logits are only {logits.apart:.2g} apart, and the largest is {logits.scale:.2g}, so "
            f"that np.allclose passes wrong networks. Images are alike from {blind.layer} on.{new} "
            "Fill the running statistics (--fill-statistics), or compare trained networks; and use "
            "images that differ"
        )
