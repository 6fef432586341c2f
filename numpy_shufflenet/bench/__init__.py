"""The speed comparison: our kernels beside PyTorch, ONNX Runtime and plain NumPy, as ratios."""

from numpy_shufflenet.bench.timing import Comparison, TimedRow, time_against

__all__ = ["Comparison", "TimedRow", "time_against"]
