"""The costs that the papers and torchvision print, next to the counts of our networks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet.cost.network import NetworkCost, count

UNITS = {"M": 1e6, "G": 1e9, "": 1}
IMAGE = (3, 224, 224)
QUANTITIES = ("multiply-adds", "multiply-adds, no classifier", "parameters")
MULTIPLY_ADDS, NO_CLASSIFIER, PARAMETERS = QUANTITIES


@dataclass(frozen=True)
class Figure:
    """A number that a source prints, and our count of the same quantity."""

    source: str
    network: str
    quantity: str  #: one of `QUANTITIES`
    printed: str  #: as in the source, with its unit: "143 M", "2.3 G", or a whole number
    counted: int
    tolerance: float | None = None  #: in the printed unit; by default half of the last digit
    note: str = ""  #: the known reason why the two numbers differ

    @property
    def difference(self) -> float:
        """Our count minus the printed number, in the printed unit."""
        number, unit, _ = self._parts()
        return self.counted / unit - float(number)

    @property
    def fits(self) -> bool:
        """Whether our count rounds to the printed number, or is within the tolerance."""
        _, unit, digits = self._parts()
        allowed = 0.0 if unit == 1 else 0.5 * 10**-digits
        return abs(self.difference) <= (self.tolerance or allowed) + 1e-9

    @property
    def ours(self) -> str:
        """Our count in the printed unit, with two more digits."""
        _, unit, digits = self._parts()
        if unit == 1:
            return f"{self.counted:,}"
        return f"{self.counted / unit:.{digits + 2}f} {self.printed[-1]}"

    def _parts(self) -> tuple[str, float, int]:
        """Return the printed number, its unit, and the number of digits after the point."""
        number, _, letter = self.printed.partition(" ")
        return number, UNITS[letter], len(number.partition(".")[2])


Network = tuple[str, Callable[[], models.ImageClassifier]]
PrintedFigure = tuple[str, Network, str, str, dict[str, Any]]


def _v1(groups: int, scale: float = 1.0, **settings: Any) -> Network:
    name = f"ShuffleNet V1 {scale:g}x, g={groups}{', SE' if settings.get('se') else ''}"
    return name, partial(models.shufflenet_v1, groups=groups, scale=scale, **settings)


def _v2(scale: float, **settings: Any) -> Network:
    layout = ", torchvision's layout" if settings.get("layout") == "torchvision" else ""
    name = f"ShuffleNet V2 {scale:g}x{', SE' if settings.get('se') else ''}{layout}"
    return name, partial(models.shufflenet_v2, scale=scale, **settings)


def _rows(
    source: str,
    quantity: str,
    network: Callable[..., Network],
    printed: Mapping[tuple[Any, ...], str],
    **extra: Any,
) -> Iterator[PrintedFigure]:
    """Yield a row for each printed number; the keys of `printed` are arguments of `network`."""
    for arguments, number in printed.items():
        yield source, network(*arguments), quantity, number, extra


ROWS: tuple[PrintedFigure, ...] = (
    *_rows(
        "V1, table 1",
        NO_CLASSIFIER,
        _v1,
        {(1,): "143 M", (2,): "140 M", (3,): "137 M", (4,): "133 M", (8,): "137 M"},
    ),
    *_rows("V1, table 2", MULTIPLY_ADDS, _v1, {(3, 0.25): "13 M"}),
    *_rows("V1, tables 2, 8", MULTIPLY_ADDS, _v1, {(3, 0.5): "38 M"}),
    *_rows("V1, table 5", MULTIPLY_ADDS, _v1, {(3, 1.5): "292 M", (3, 2.0): "524 M"}),
    *_rows(
        "authors' code",
        MULTIPLY_ADDS,
        _v1,
        {(8, 0.5): "40 M", (8, 1.0): "138 M", (8, 1.5): "290 M", (8, 2.0): "522 M"},
    ),
    *_rows("V1, table 5", MULTIPLY_ADDS, partial(_v1, se=True), {(3, 2.0): "527 M"}),
    *_rows(
        "V1, table 5",
        MULTIPLY_ADDS,
        _v1,
        {(8,): "140 M"},
        note="known: the paper prints one 140 for all 1x networks",
    ),
    *_rows(
        "V1, table 2",
        MULTIPLY_ADDS,
        _v1,
        {(4, 0.5): "38 M"},
        note="known: the paper does not say how it rounds such widths",
    ),
    *_rows(
        "V2, table 5",
        MULTIPLY_ADDS,
        _v2,
        {(0.5,): "41 M", (1.0,): "146 M", (1.5,): "299 M", (2.0,): "591 M"},
        tolerance=1.0,
    ),
    *_rows(
        "V2, table 5",
        PARAMETERS,
        _v2,
        {(0.5,): "1.4 M", (1.0,): "2.3 M", (1.5,): "3.5 M", (2.0,): "7.4 M"},
    ),
    *_rows("V2, table 8", MULTIPLY_ADDS, partial(_v2, se=True), {(2.0,): "597 M"}),
    ("V2, table 6", ("ShuffleNet V2-50", models.shufflenet_v2_50), MULTIPLY_ADDS, "2.3 G", {}),
    (
        "V2, table 6",
        ("SE-ShuffleNet V2-164", models.se_shufflenet_v2_164),
        MULTIPLY_ADDS,
        "12.7 G",
        {},
    ),
    *_rows(
        "torchvision",
        PARAMETERS,
        partial(_v2, layout="torchvision"),
        {(0.5,): "1366792", (1.0,): "2278604", (1.5,): "3503624", (2.0,): "7393996"},
    ),
    *_rows(
        "V1, table 5",
        MULTIPLY_ADDS,
        lambda scale: (f"MobileNet V1 {scale:g}x", partial(models.mobilenet_v1, scale=scale)),
        {(1.0,): "569 M", (0.75,): "325 M", (0.5,): "149 M", (0.25,): "41 M"},
    ),
    (
        "V2, table 6",
        ("ResNet-50", models.resnet_50),
        MULTIPLY_ADDS,
        "3.8 G",
        {"note": "known: the paper rounds 3.86 down to 3.8"},
    ),
)


def compare_figures() -> Iterator[Figure]:
    """Build each network of `ROWS`, count its cost, and yield the printed number and our count."""
    counted: dict[str, NetworkCost] = {}
    for source, (name, build), quantity, printed, extra in ROWS:
        if name not in counted:
            counted[name] = count(build(), IMAGE)
        network = counted[name]
        conventions = network.conventions()
        ours = {
            MULTIPLY_ADDS: conventions["papers"],
            NO_CLASSIFIER: conventions["papers, no classifier"],
            PARAMETERS: network.parameters,
        }[quantity]
        yield Figure(source, name, quantity, printed, ours, **extra)
