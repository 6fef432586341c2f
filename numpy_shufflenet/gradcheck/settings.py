"""How a gradient is checked: the settings that every entry point takes."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# method -> the differences that are taken where the method itself cannot be used
DIFFERENCES = {
    "auto": "five-point",
    "adjoint": "five-point",
    "complex": "five-point",
    "central": "central",
    "five-point": "five-point",
    "richardson": "richardson",
}
SIDE_CHECKS = ("writes", "repeats", "linear", "dtype", "batch", "layout", "float32")


@dataclass(frozen=True)
class Settings:
    """How a gradient is checked.

    `check_model`, `check_hessian` and `check_model_hessian` use some fields only, as they say, and
    refuse other values than the defaults in the rest.

    Attributes
    ----------
    method : str
        How slopes are measured.
        "auto": the adjoint identity where y is linear in an array; elsewhere differences, five
        points at the step that suits y; entries one by one by the complex step where f proves
        holomorphic.
        "central", "five-point", "richardson": only these differences.
        "complex": the complex step, or differences and a note where f is not holomorphic.
        "adjoint": the adjoint identity, or differences and a note where y is not linear.
    directions : int
        Number of random directions, and of cotangents, for each array.
    cotangent : array or tuple of arrays, optional
        Of the shape of y; random ones if not given.
    dtype : dtype or None
        Floating-point arrays are converted to it. None keeps their own dtype, and judges by what
        can be seen in it (about 1e-2 in float32).
    tolerance : float, optional
        Relative difference that is allowed on top of the estimated error of the differences. In
        `check` 1e-9 in float64 and 1e-4 in float32 if not given; 1e-6 elsewhere.
    skip : collection of str
        Side checks to leave out: "writes", "repeats", "linear", "dtype", "batch", "layout",
        "float32".
    keeps_dtype : bool, optional
        Whether f must return the dtype of its arrays. If not given: an operation and a layer must,
        any other function need not.
    max_evaluations : int
        Of f. Above it no further entries are compared; the verdict says which were not.
    max_seconds : float
        Likewise. After five seconds a terminal shows the progress.

    Raises
    ------
    ValueError
        If a field has a value that does not fit; the message names both.
    """

    method: str = "auto"
    directions: int = 2
    cotangent: Any = field(default=None, compare=False)
    dtype: Any = np.float64
    tolerance: float | None = None
    skip: Collection[str] = ()
    keeps_dtype: bool | None = None
    max_evaluations: int = 20_000
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.directions < 1 or self.directions % 1:
            raise ValueError(f"directions={self.directions!r} is not a whole number of at least 1")
        if self.method not in DIFFERENCES:
            raise ValueError(f"method={self.method!r} is not one of {', '.join(DIFFERENCES)}")
        for name in self.skip:
            if name not in SIDE_CHECKS:
                raise ValueError(f"skip has {name!r}, which is not one of {', '.join(SIDE_CHECKS)}")
        if self.dtype is not None and not np.issubdtype(self.dtype, np.floating):
            raise ValueError(f"dtype={self.dtype!r} is not a floating-point dtype, nor None")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance={self.tolerance!r} is not a number above 0")
        for name in ("max_evaluations", "max_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)!r} is not a number of at least 0")

    def for_operations(self) -> "Settings":
        """Return these settings, with `keeps_dtype` true unless it was given."""
        return replace(self, keeps_dtype=True) if self.keeps_dtype is None else self

    def only(self, *used: str) -> "Settings":
        """Return these settings, or raise ValueError if a field that is not used was set."""
        for name in set(vars(self)) - {*used}:
            if not np.array_equal(getattr(self, name), getattr(DEFAULTS, name)):
                raise ValueError(
                    f"settings.{name} is not used here; only {' and '.join(used)} can be set"
                )
        return self


DEFAULTS = Settings()
