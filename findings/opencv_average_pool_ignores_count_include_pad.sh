#!/usr/bin/env bash
# OpenCV's DNN module ignores count_include_pad of an ONNX AveragePool with padding.
#
# Versions: opencv-python-headless 4.14.0.94, onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.5.
#
# ONNX: with count_include_pad=1 each mean divides by the whole window, 9 for 3x3. In 4.14 OpenCV
# reads the node without a word and divides by the pixels inside the image: a corner is 9/4 times,
# an edge 9/6 times too large, and the middle is right. ShuffleNet V1 has such a pool in its units of
# stride 2; PyTorch's exporter writes it so, and the logits of a whole network were 2.5 % off.
# A Pad node before an AveragePool without padding computes the same and is read correctly.
#
# Ends with exit code 0 if OpenCV still behaves so, and 1 if it has changed.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip install --quiet opencv-python-headless==4.14.0.94 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import helper


def outputs(nodes, initializers=()):
    """Return what ONNX Runtime and OpenCV compute for an image of ones."""
    x = helper.make_tensor_value_info("x", 1, [1, 1, 8, 8])
    y = helper.make_tensor_value_info("y", 1, [1, 1, 4, 4])
    graph = helper.make_graph(nodes, "pool", [x], [y], list(initializers))
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "pool.onnx")
    ones = np.ones((1, 1, 8, 8), np.float32)
    net = cv2.dnn.readNetFromONNX("pool.onnx")
    net.setInput(ones)
    session = onnxruntime.InferenceSession("pool.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"x": ones})[0][0, 0], net.forward()[0, 0]


window = {"kernel_shape": [3, 3], "strides": [2, 2]}
padded = helper.make_node("AveragePool", ["x"], ["y"], pads=[1, 1, 1, 1], count_include_pad=1, **window)
reference, found = outputs([padded])
print("OpenCV", cv2.__version__, "corner, edge, middle:", found[0, 0], found[0, 1], found[1, 1])
print("ONNX Runtime", onnxruntime.__version__, ":", reference[0, 0], reference[0, 1], reference[1, 1])
assert np.allclose([reference[0, 0], reference[0, 1], reference[1, 1]], [4 / 9, 6 / 9, 1])
assert np.allclose(found, 1), "OpenCV counts the padding now"

sides = helper.make_tensor("sides", onnx.TensorProto.INT64, [8], [0, 0, 1, 1, 0, 0, 1, 1])
pad = helper.make_node("Pad", ["x", "sides"], ["padded"], mode="constant")
pool = helper.make_node("AveragePool", ["padded"], ["y"], **window)
reference, found = outputs([pad, pool], [sides])
assert np.allclose(reference, found), "a Pad node of its own is no way around any more"
print("with a Pad node of its own both agree")
PYTHON
