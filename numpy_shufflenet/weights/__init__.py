"""Weights in and out: files of safetensors, NumPy, PyTorch and ONNX, without PyTorch."""

from numpy_shufflenet.weights.files import load, save

__all__ = ["load", "save"]
