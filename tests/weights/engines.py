"""Run exported networks in other engines, and print how far they are from `infer`. By hand:

    pip install onnxruntime openvino opencv-python-headless ncnn pnnx MNN onnx2torch tract \
        apache-tvm
    PYTHONPATH=tests python tests/weights/engines.py [ENGINE ...]

Weights and statistics are random; images are of 224 pixels. Each line has the largest difference
between logits, relative to the largest logit, over three networks and batches of 1 and 5.
"""

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from networks import randomised

from numpy_shufflenet import models

NETWORKS = (
    models.shufflenet_v1(groups=3, seed=0),
    models.shufflenet_v2(seed=0),
    models.shufflenet_v2(scale=0.5, seed=0),
)
EXPORTS: dict[str, dict[str, Any]] = {
    "any": {},
    "fixed": {"batch": None},  # each batch has a file of its own
    "BN left in": {"fold": False},
}


def tool(name: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    subprocess.run(command, check=True, capture_output=True)


def onnxruntime(path: Path, x: np.ndarray) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, {"images": x})[0]


def openvino(path: Path, x: np.ndarray) -> Any:
    """In float32: its default may be bfloat16."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(x)[0]


def opencv(path: Path, x: np.ndarray) -> Any:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    return net.forward()


def ncnn(path: Path, x: np.ndarray) -> Any:
    """Image by image, as it has no batch; without float16, in the file and in its arithmetic."""
    import ncnn

    tool("pnnx", str(path), "inputshape=[1,3,224,224]", "fp16=0")
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(path.with_suffix(".ncnn.param")))
    net.load_model(str(path.with_suffix(".ncnn.bin")))
    rows = []
    for image in x:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        rows.append(np.array(extractor.extract("out0")[1]))
    return np.stack(rows)


def mnn(path: Path, x: np.ndarray) -> Any:
    import MNN.expr
    import MNN.nn

    out = str(path.with_suffix(".mnn"))
    tool("mnnconvert", "-f", "ONNX", "--modelFile", str(path), "--MNNModel", out, "--bizCode", "-")
    net = MNN.nn.load_module_from_file(out, ["images"], ["logits"])
    images = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW, MNN.expr.float)
    images.write(x)
    return np.array(net.forward([images])[0].read())


def onnx2torch(path: Path, x: np.ndarray) -> Any:
    import onnx2torch
    import torch

    with torch.inference_mode():
        return onnx2torch.convert(path).eval()(torch.from_numpy(x)).numpy()


def tract(path: Path, x: np.ndarray) -> Any:
    import tract

    return tract.onnx().load(path).into_model().into_runnable().run([x])[0].to_numpy()


def tvm(path: Path, x: np.ndarray) -> Any:
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    compiled = tvm.compile(from_onnx(onnx.load(path)), target="llvm")
    return tvm.relax.VirtualMachine(compiled, tvm.cpu())["main"](tvm.runtime.tensor(x)).numpy()


ENGINES = {  # by the package's name
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "opencv-python-headless": opencv,
    "ncnn": ncnn,
    "MNN": mnn,
    "onnx2torch": onnx2torch,
    "tract": tract,
    "apache-tvm": tvm,
}


def main(*names: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3, 1, 1)) + rng.normal(size=(5, 3, 224, 224))
    x = x.astype(np.float32)
    for name in names or ENGINES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: not installed")
            continue
        for export, options in EXPORTS.items():
            print(f"{name} {version}, {export}: {worst(ENGINES[name], options, x)}", flush=True)


def worst(run: Any, options: dict[str, Any], x: np.ndarray) -> str:
    """The largest difference, or the first error."""
    found = 0.0
    for network in NETWORKS:
        model = randomised(network).astype(np.float32)
        for batch in (1, 5):
            given = {**options, "batch": batch} if "batch" in options else options
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.onnx"
                model.export(path, **given)
                try:
                    y = run(path, x[:batch])
                except Exception as error:
                    return f"{network.config['name']}, batch {batch}: {error!r}"[:300]
            wanted = model.infer(x[:batch])
            assert y.shape == wanted.shape, y.shape
            found = max(found, float(np.abs(y - wanted).max() / np.abs(wanted).max()))
    return f"{found:.1e}"


if __name__ == "__main__":
    main(*sys.argv[1:])
