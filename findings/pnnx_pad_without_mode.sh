#!/usr/bin/env bash
# pnnx drops an ONNX Pad whose mode is left at its default.
#
# Versions: pnnx 20261020, ncnn 1.0.20261020, onnx 1.23.2.
#
# ONNX: the attribute mode of Pad may be left out; it is "constant" then. pnnx converts the graph to
# ncnn with exit code 0, but without the attribute it writes a layer Pad without parameters, which
# ncnn doesn't have. With mode="constant", which means the same, it writes ncnn's Padding.
#
# Ends with exit code 0 if pnnx still behaves so, and 1 if it has changed.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip install --quiet pnnx==20261020 onnx==1.23.2
cat > write.py <<'PYTHON'
import sys

import onnx
from onnx import helper

mode = {"mode": "constant"} if sys.argv[1] == "said" else {}
sides = helper.make_tensor("sides", onnx.TensorProto.INT64, [8], [0, 0, 1, 1, 0, 0, 1, 1])
pad = helper.make_node("Pad", ["x", "sides"], ["padded"], **mode)
pool = helper.make_node("AveragePool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
x = helper.make_tensor_value_info("x", 1, [1, 2, 8, 8])
y = helper.make_tensor_value_info("y", 1, [1, 2, 4, 4])
graph = helper.make_graph([pad, pool], "pool", [x], [y], [sides])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, f"{sys.argv[1]}.onnx")
PYTHON
for which in said unsaid; do
  venv/bin/python write.py "$which"
  venv/bin/pnnx "$which.onnx" "inputshape=[1,2,8,8]" fp16=0 >"$which.log" 2>&1
  echo "mode $which: $(grep -E '^Pad' "$which.ncnn.param" || echo 'no layer pads')"
done
grep -q '^Padding' said.ncnn.param || { echo "mode=constant isn't converted any more"; exit 1; }
grep -Eq '^Pad ' unsaid.ncnn.param || { echo "pnnx reads the default now"; exit 1; }
