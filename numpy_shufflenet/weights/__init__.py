"""Weights in and out: files of safetensors, NumPy, PyTorch and ONNX, read without PyTorch.

    arrays = weights.load("shufflenetv2_x1.pth")          # name -> array
    weights.save("shufflenetv2_x1.safetensors", arrays)
    model = models.from_weights("shufflenetv2_x1.pth")    # the network, recognised by its weights

    format                              read  written
    safetensors (package safetensors)   yes   yes, with metadata
    NumPy's .npz                        yes   yes
    PyTorch's .pth and .pt, zip file    yes   yes
    PyTorch's .pth, before version 1.6  yes   no
    PaddlePaddle's .pdparams            yes   no
    ONNX's initialisers (package onnx)  yes   with the graph, by `model.export`

No code of a file is run. A reader compares what a header claims with the size of the file before it
allocates memory. `weights.layouts` says which networks of other libraries are known, and how their
weights differ from ours. `weights.graph` reads ONNX graphs, for `models.from_onnx`.
"""

from numpy_shufflenet.weights.files import load, save

__all__ = ["load", "save"]
