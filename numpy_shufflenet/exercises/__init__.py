"""Checks of the exercises of the course: `check("conv2d_backward", my_function)`."""

from numpy_shufflenet._optional import need

need("hypothesis", "checking an exercise")

from numpy_shufflenet.exercises.check import check, earned, save_points  # noqa: E402
from numpy_shufflenet.exercises.languages import language  # noqa: E402
from numpy_shufflenet.exercises.result import NotYet, Result  # noqa: E402
from numpy_shufflenet.exercises.table import names  # noqa: E402

__all__ = ["NotYet", "Result", "check", "earned", "language", "names", "save_points"]
