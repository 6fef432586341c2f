"""The speed comparison: our kernels beside PyTorch, ONNX Runtime and plain NumPy, as ratios."""

from numpy_shufflenet.bench.timing import Comparison, Row, compare

__all__ = ["Comparison", "Row", "compare"]
