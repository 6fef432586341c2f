"""Checks of JSON values; an error names the field, its value, and what would fit.

A kind is a function of a value and a field's name, which raises ValueError if the value does not
fit.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Kind: TypeAlias = Callable[[Any, str], None]
LONGEST = 60  # characters of a value in a message


def refuse(field: str, value: Any, needed: str) -> None:
    """Raise ValueError that names the field, its value, and what would fit."""
    held = repr(value)
    if len(held) > LONGEST:
        held = held[: LONGEST - 3] + "..."
    raise ValueError(f"its field {field} holds {held}; {needed} is needed")


def _kind(fits: Callable[[Any], bool], needed: str) -> Kind:
    def check(value: Any, field: str) -> None:
        if not fits(value):
            refuse(field, value, needed)

    return check


def whole_number(low: int = 0, high: int | None = None) -> Kind:
    """Return the kind of a whole number from low to high; without high, below 2^63."""
    largest = 2**63 - 1 if high is None else high
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    return _kind(
        lambda value: type(value) is int and low <= value <= largest, f"a whole number {limits}"
    )


def bits(count: int) -> Kind:
    """Return the kind of a whole number of at most `count` bits."""
    return whole_number(0, 2**count - 1)


def finite_number(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False
) -> Kind:
    """Return the kind of a finite number from low to high.

    `above` excludes low, and `below` excludes high.
    """
    excluded = [limit for limit, left_out in ((low, above), (high, below)) if left_out]
    limits = "" if low == -math.inf else f" {'above' if above else 'of at least'} {low}"
    if high < math.inf:
        limits += f" and {'below' if below else 'at most'} {high}"

    def fits(value: Any) -> bool:
        finite = type(value) in (int, float) and math.isfinite(_float(value))
        return finite and low <= value <= high and value not in excluded

    return _kind(fits, f"a finite number{limits}")


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


flag = _kind(lambda value: type(value) is bool, "true or false")
text = _kind(lambda value: type(value) is str, "a string")


def one_of(*values: Any) -> Kind:
    """Return the kind that allows only these values. 1, 1.0 and True are different values."""
    return _kind(
        lambda value: any(type(value) is type(v) and value == v for v in values),
        f"one of {', '.join(map(repr, values))}",
    )


def maybe(kind: Kind) -> Kind:
    """Return the kind of a value that may also be None."""
    return lambda value, field: None if value is None else kind(value, field)


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """Return the kind of a list whose items are of `kind`."""

    def check(value: Any, field: str) -> None:
        if not isinstance(value, list) or length not in (None, len(value)):
            refuse(field, value, "a list" if length is None else f"a list of {length}")
        for index, item in enumerate(value):
            kind(item, f"{field}[{index}]")

    return check


def object_with(fields: Mapping[str, Kind], *, optional: bool = False) -> Kind:
    """Return the kind of an object with these fields. Fields may be missing if `optional`."""

    def check(value: Any, field: str) -> None:
        if not isinstance(value, dict):
            refuse(field, value, f"an object with {', '.join(fields)}")
        start = f"{field}." if field else ""
        for name in value:
            if name not in fields:
                raise ValueError(f"it has a field {start}{name!s:.60}, which is unknown")
        for name, kind in fields.items():
            if name in value:
                kind(value[name], start + name)
            elif not optional:
                raise ValueError(f"it lacks the field {start}{name}")

    return check
