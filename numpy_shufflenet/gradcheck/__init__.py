"""Checks of the gradients of any hand-written backward pass. The package needs only NumPy."""

from .adapters import from_jax, from_torch
from .check import check
from .curve import ErrorCurve
from .explain import FAMILIES, Explanation
from .layer import check_layer
from .model import ModelVerdict, TensorRow, check_model
from .pair import assert_gradients, check_operation, check_pair
from .report import ArrayReport, Entry
from .second_order import (
    SymmetryVerdict,
    check_hessian,
    check_model_hessian,
)
from .settings import Settings
from .verdict import Verdict

__all__ = [
    "FAMILIES",
    "ArrayReport",
    "Entry",
    "ErrorCurve",
    "Explanation",
    "ModelVerdict",
    "Settings",
    "SymmetryVerdict",
    "TensorRow",
    "Verdict",
    "assert_gradients",
    "check",
    "check_hessian",
    "check_layer",
    "check_model",
    "check_model_hessian",
    "check_operation",
    "check_pair",
    "from_jax",
    "from_torch",
]
