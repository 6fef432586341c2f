"""Gradient checks for hand-written backward passes: anyone's; NumPy is all it needs."""

from numpy_shufflenet.gradcheck.check import check
from numpy_shufflenet.gradcheck.explain import FAMILIES, Explanation
from numpy_shufflenet.gradcheck.layer import check_layer
from numpy_shufflenet.gradcheck.model import check_model
from numpy_shufflenet.gradcheck.model_verdict import ModelVerdict, TensorRow
from numpy_shufflenet.gradcheck.pair import assert_gradients, check_operation, check_pair
from numpy_shufflenet.gradcheck.report import ArrayReport, Entry
from numpy_shufflenet.gradcheck.verdict import Verdict

__all__ = [
    "FAMILIES",
    "ArrayReport",
    "Entry",
    "Explanation",
    "ModelVerdict",
    "TensorRow",
    "Verdict",
    "assert_gradients",
    "check",
    "check_layer",
    "check_model",
    "check_operation",
    "check_pair",
]
