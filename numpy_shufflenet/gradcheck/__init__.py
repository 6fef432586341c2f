"""Gradient checks for hand-written backward passes: anyone's; NumPy is all it needs."""

from numpy_shufflenet.gradcheck.adapters import from_jax, from_torch
from numpy_shufflenet.gradcheck.check import check
from numpy_shufflenet.gradcheck.curve import ErrorCurve
from numpy_shufflenet.gradcheck.explain import FAMILIES, Explanation
from numpy_shufflenet.gradcheck.layer import check_layer
from numpy_shufflenet.gradcheck.model import check_model
from numpy_shufflenet.gradcheck.model_verdict import ModelVerdict, TensorRow
from numpy_shufflenet.gradcheck.pair import assert_gradients, check_operation, check_pair
from numpy_shufflenet.gradcheck.report import ArrayReport, Entry
from numpy_shufflenet.gradcheck.second_order import (
    SymmetryVerdict,
    check_hessian,
    check_model_hessian,
)
from numpy_shufflenet.gradcheck.verdict import Verdict

__all__ = [
    "FAMILIES",
    "ArrayReport",
    "Entry",
    "ErrorCurve",
    "Explanation",
    "ModelVerdict",
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
