"""The figures that the papers and torchvision print, beside what our networks count."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet.cost.network import NetworkCost, count

M, G = 1e6, 1e9
IMAGE = (3, 224, 224)
QUANTITIES = ("multiply-adds", "multiply-adds, no classifier", "parameters")


@dataclass(frozen=True)
class Figure:
    """One printed number, and ours.

    Attributes
    ----------
    source : str
        Where it is printed.
    network : str
    quantity : str
        One of `QUANTITIES`: the convention under which the source counts.
    printed : str
        As it stands there, with its unit: "143 M", "2.3 G", or a whole number.
    counted : int
    tolerance : float, optional
        How far off may be, in the printed unit; half of the last printed digit if not given.
    note : str
        For a misfit, what is known about it.
    """

    source: str
    network: str
    quantity: str
    printed: str
    counted: int
    tolerance: float | None = None
    note: str = ""

    @property
    def difference(self) -> float:
        """Ours less theirs, in the printed unit."""
        number, unit = self._parts()
        return self.counted / unit - float(number)

    @property
    def fits(self) -> bool:
        """Whether ours rounds to theirs, or is within the tolerance."""
        number, _ = self._parts()
        digits = len(number.partition(".")[2])
        exact = self.printed == number
        allowed = 0.0 if exact else 0.5 * 10**-digits
        return abs(self.difference) <= (self.tolerance or allowed) + 1e-9

    @property
    def ours(self) -> str:
        """Ours in the printed unit, with two digits more."""
        number, unit = self._parts()
        if self.printed == number:
            return f"{self.counted:,}"
        digits = len(number.partition(".")[2]) + 2
        return f"{self.counted / unit:.{digits}f} {self.printed[-1]}"

    def _parts(self) -> tuple[str, float]:
        number, _, letter = self.printed.partition(" ")
        return number, {"M": M, "G": G, "": 1}[letter]


Build = Callable[[], models.ImageClassifier]


def _v1(groups: int, scale: float = 1.0, **settings: Any) -> tuple[str, Build]:
    name = f"ShuffleNet V1 {scale:g}x, g={groups}{', SE' if settings.get('se') else ''}"
    settings = {"classifier_bias": False, **settings}
    return name, partial(models.shufflenet_v1, groups=groups, scale=scale, **settings)


def _v2(scale: float, **settings: Any) -> tuple[str, Build]:
    layout = ", torchvision's layout" if settings.get("layout") == "torchvision" else ""
    name = f"ShuffleNet V2 {scale:g}x{', SE' if settings.get('se') else ''}{layout}"
    return name, partial(models.shufflenet_v2, scale=scale, **settings)


def _mobilenet(scale: float) -> tuple[str, Build]:
    return f"MobileNet V1 {scale:g}x", partial(models.mobilenet_v1, scale=scale)


TORCHVISION = {0.5: 1_366_792, 1.0: 2_278_604, 1.5: 3_503_624, 2.0: 7_393_996}

PrintedFigure = tuple[str, tuple[str, Build], str, str, dict[str, Any]]

ROWS: tuple[PrintedFigure, ...] = (
    *(
        ("V1, table 1", _v1(groups), QUANTITIES[1], f"{printed} M", {})
        for groups, printed in ((1, 143), (2, 140), (3, 137), (4, 133), (8, 137))
    ),
    *(
        (source, _v1(groups, scale), QUANTITIES[0], f"{printed} M", {})
        for source, groups, scale, printed in (
            ("V1, table 2", 3, 0.25, 13),
            ("V1, tables 2, 8", 3, 0.5, 38),
            ("V1, table 5", 3, 1.5, 292),
            ("V1, table 5", 3, 2.0, 524),
            ("authors' code", 8, 0.5, 40),
            ("authors' code", 8, 1.0, 138),
            ("authors' code", 8, 1.5, 290),
            ("authors' code", 8, 2.0, 522),
        )
    ),
    ("V1, table 5", _v1(3, 2.0, se=True), QUANTITIES[0], "527 M", {}),
    (
        "V1, table 5",
        _v1(8),
        QUANTITIES[0],
        "140 M",
        {"note": "known: one 140 is printed for the 1x networks of all groups"},
    ),
    (
        "V1, table 2",
        _v1(4, 0.5),
        QUANTITIES[0],
        "38 M",
        {"note": "known: the paper's rounding of indivisible widths is not published"},
    ),
    *(
        ("V2, table 5", _v2(scale), QUANTITIES[0], f"{printed} M", {"tolerance": 1.0})
        for scale, printed in ((0.5, 41), (1.0, 146), (1.5, 299), (2.0, 591))
    ),
    *(
        ("V2, table 5", _v2(scale), QUANTITIES[2], f"{printed} M", {})
        for scale, printed in ((0.5, 1.4), (1.0, 2.3), (1.5, 3.5), (2.0, 7.4))
    ),
    ("V2, table 8", _v2(2.0, se=True), QUANTITIES[0], "597 M", {}),
    (
        "V2, table 6",
        ("ShuffleNet V2-50", models.shufflenet_v2_50),
        QUANTITIES[0],
        "2.3 G",
        {},
    ),
    (
        "V2, table 6",
        ("SE-ShuffleNet V2-164", models.se_shufflenet_v2_164),
        QUANTITIES[0],
        "12.7 G",
        {},
    ),
    *(
        ("torchvision", _v2(scale, layout="torchvision"), QUANTITIES[2], f"{printed}", {})
        for scale, printed in TORCHVISION.items()
    ),
    *(
        ("V1, table 5", _mobilenet(scale), QUANTITIES[0], f"{printed} M", {})
        for scale, printed in ((1.0, 569), (0.75, 325), (0.5, 149), (0.25, 41))
    ),
    (
        "V2, table 6",
        ("ResNet-50", models.resnet_50),
        QUANTITIES[0],
        "3.8 G",
        {"note": "known: 3.86 is cut off to 3.8, not rounded"},
    ),
)


def compare_figures() -> Iterator[Figure]:
    """Build each network that a paper prints a figure of, count, and yield both."""
    counted: dict[str, NetworkCost] = {}
    for source, (name, build), quantity, printed, settings in ROWS:
        if name not in counted:
            counted[name] = count(build(), IMAGE)
        network = counted[name]
        if quantity == "parameters":
            ours = network.parameters
        else:
            without = quantity.endswith("no classifier")
            ours = network.conventions()["papers, no classifier" if without else "papers"]
        yield Figure(source, name, quantity, printed, ours, **settings)
