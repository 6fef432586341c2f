"""Speed comparisons of this package with PyTorch, ONNX Runtime and plain NumPy."""

from numpy_shufflenet.bench.timing import Comparison, TimedRow, time_against

__all__ = ["Comparison", "TimedRow", "time_against"]
