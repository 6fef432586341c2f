"""Whole networks as ONNX files: what ONNX Runtime and onnx.reference compute from them."""

import numpy as np
import pytest
from networks import randomised
from peers import need

from numpy_shufflenet import models
from numpy_shufflenet.models.v2 import CEIL_MODE

onnx = need("onnx")
onnxruntime = need("onnxruntime")
reference = need("onnx.reference")

NEWEST = onnx.defs.onnx_opset_version()
V1 = {"name": "shufflenet_v1", "num_classes": 7, "seed": 0}
V2 = {"name": "shufflenet_v2", "num_classes": 7, "seed": 0}
OPTIONS = [  # of small networks
    *({"groups": g, "shuffle_order": o} for g in (1, 2, 3, 4, 8) for o in ("paper", "authors")),
    *({"se": True}, {"shuffle": False}, {"stem": "small", "in_channels": 1}),
    *({"classifier_bias": False, "dropout": 0.5}, {"widths": [8, 20, 44, 68], "groups": 4}),
]
NETWORKS = [
    *({**V1, "scale": 0.25, **options} for options in OPTIONS),
    *({**V1, "scale": scale} for scale in (0.5, 1.0, 1.5, 2.0)),
    *({**V2, "scale": s, "layout": o} for s in (0.5, 1.0, 1.5, 2.0) for o in models.LAYOUTS),
]
V2_OPTIONS = [
    *({"shuffle_order": "authors"}, {"se": True}, {"residual": True}, {"extra_depthwise": True}),
    {"se": True, "residual": True, "extra_depthwise": True, "shuffle_order": "authors"},
    *({"pool_padding": 0}, {"pool_padding": CEIL_MODE}, {"stem": "small", "in_channels": 2}),
    *({"classifier": False}, {"classifier": False, "shuffle_order": "authors", "se": True}),
    {"classifier_bias": False, "dropout": 0.5, "widths": [6, 10, 22, 30, 12]},
]
NETWORKS += [{**V2, "scale": 0.5, **options} for options in V2_OPTIONS]
NETWORKS += [
    {"name": "mobilenet_v1", "scale": 0.25, "num_classes": 7},
    {"name": "resnet_50", "num_classes": 7},
    {"name": "shufflenet_v2_50", "num_classes": 7},
]


def built(config):
    return randomised(models.build(config)).astype(np.float32)


def images(model, batch, size, seed=0):
    shape = (batch, model.in_channels, *size)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def expected(model, x):
    """Outputs by name; and the first two images' are far apart, or a comparison says nothing."""
    outputs = {"logits": model.infer(x)} if model.num_classes else model.stage_outputs(x)
    for y in outputs.values():
        assert len(y) == 1 or np.abs(y[0] - y[1]).max() > 0.01 * np.abs(y).max()
    return outputs


def run_onnxruntime(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": x}), strict=True))


def run_reference(path, x):
    evaluator = reference.ReferenceEvaluator(str(path))
    return dict(zip(evaluator.output_names, evaluator.run(None, {"images": x}), strict=True))


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, y in wanted.items():
        assert found[name].shape == y.shape
        assert found[name].dtype == np.float32
        assert np.abs(found[name] - y).max() <= 1e-4 * np.abs(y).max(), name


def check(path):
    onnx.checker.check_model(str(path), full_check=True)
    file = onnx.load(path)
    onnx.shape_inference.infer_shapes(file, check_type=True, strict_mode=True, data_prop=True)
    return file


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_onnxruntime_computes_the_same(tmp_path, config):
    model, size = built(config), (37, 50)
    path = tmp_path / "a.onnx"
    model.export(path, size=size)
    check(path)
    for batch in (1, 5):
        x = images(model, batch, size)
        assert_close(run_onnxruntime(path, x), expected(model, x))
