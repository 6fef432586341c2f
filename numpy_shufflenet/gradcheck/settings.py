"""How a gradient is checked: the settings that every entry point takes."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# Each method, and the differences that replace it where it cannot be used.
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

    `check_model`, `check_hessian` and `check_model_hessian` use only the fields that their
    docstrings name, and raise ValueError if another one is set.

    Raises
    ------
    ValueError
        If a value does not fit its field; the message names the field and the value.
    """

    #: How slopes are measured.
    #: "auto": by the adjoint identity if y is linear in an array, otherwise by five-point
    #: differences; single entries by the complex step if f proves to be holomorphic.
    #: "central", "five-point", "richardson": by these differences only.
    #: "complex": by the complex step; by differences, with a note, if f is not holomorphic.
    #: "adjoint": by the adjoint identity; by differences, with a note, if y is not linear.
    method: str = "auto"
    directions: int = 2  #: Number of random directions, and of cotangents, for each array.
    #: An array, or a tuple of arrays, of the shape of y; random if not given.
    cotangent: Any = field(default=None, compare=False)
    #: Floating-point arrays are converted to this dtype. With None they keep their own dtype, and
    #: the check is only as precise as that dtype allows (about 1e-2 in float32).
    dtype: Any = np.float64
    #: Relative difference that is allowed in addition to the estimated error of the differences.
    #: The default is 1e-9 for float64 and 1e-4 for float32 in `check`, and 1e-6 elsewhere.
    tolerance: float | None = None
    #: Side checks to skip: "writes", "repeats", "linear", "dtype", "batch", "layout", "float32".
    skip: Collection[str] = ()
    #: Whether f must return the dtype of its arrays. If not given, operations and layers must, and
    #: other functions need not.
    keeps_dtype: bool | None = None
    #: Largest number of calls of f. A note says how many entries were not compared by then.
    max_evaluations: int = 20_000
    #: Longest duration, with the same note. After five seconds a terminal shows the progress.
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
        """Return these settings; raise ValueError if a field that is not in `used` was set."""
        for name in set(vars(self)) - {*used}:
            if not np.array_equal(getattr(self, name), getattr(DEFAULTS, name)):
                raise ValueError(
                    f"settings.{name} is not used here; only {' and '.join(used)} can be set"
                )
        return self


DEFAULTS = Settings()
