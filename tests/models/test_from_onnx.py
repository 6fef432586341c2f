"""ShuffleNets from ONNX graphs: exporters' files, and graphs in every spelling."""

import numpy as np
import onnx_graphs
import published_networks as published
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.test_from_weights import NETWORKS, assert_same_function
from models.test_from_weights import randomised as torch_randomised
from networks import randomised
from peers import need
from strategies import seeds

from numpy_shufflenet import models
from numpy_shufflenet.models import from_onnx
from numpy_shufflenet.weights import layouts

onnx, onnxruntime, torch = need("onnx"), need("onnxruntime"), need("torch")
torchvision = published.torchvision()
TOLERANCE = 1e-4  # of the largest logit, in float32
PADDED = [[0, 1], [0, 1]]  # as TensorFlow pads even sizes


def exported(network, path, *, size=(64, 64), fold=True, batch=1, dynamic=True, **options):
    """The file that PyTorch's exporter writes for a network."""
    dtype = next(network.parameters()).dtype
    options |= {"dynamic_axes": {"x": {0: "n"}}} if dynamic else {}
    if not fold:
        options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    x = torch.zeros(batch, 3, *size, dtype=dtype)
    torch.onnx.export(network.eval(), (x,), path, dynamo=False, input_names=["x"], **options)
    return path


def written(path, proto):
    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())
    return path


def images(model, size, n=3):
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, model.in_channels, *size)).astype(np.float32)


def assert_same_logits(model, path, size, batches=(1, 3), softmax=False):
    """Our layers, our engine and ONNX Runtime, for batches of these sizes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    for n in batches:
        x = images(model, size, n)
        fed = x if given.shape[1] == model.in_channels else x.transpose(0, 2, 3, 1)
        theirs = session.run(None, {given.name: fed})[0]
        assert n == 1 or np.ptp(theirs, axis=0).max() > 1e-2  # the images do differ
        for found in (model.infer(x), model.plan()(x)):
            if softmax:
                found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
            assert np.abs(found - theirs).max() <= TOLERANCE * np.abs(theirs).max()


# Files of PyTorch's exporter

EXPORTED = {
    "torchvision x0_5": (True, {}),
    "torchvision x1_0": (False, {"opset_version": 18}),
    "torchvision x2_0": (True, {"opset_version": 11}),
    "authors v2 0.5x": (True, {"opset_version": 9}),
    "authors v2 1x": (False, {}),
    "authors v1 0.5x g=3": (True, {}),
    "authors v1 0.5x g=8": (False, {"opset_version": 12}),
    "pytorchcv shufflenetv2b_w1": (True, {"opset_version": 20}),
    "pytorchcv shufflenetv2_wd2": (False, {}),
    "pytorchcv shufflenet_g3_wd4": (True, {}),
    "pytorchcv shufflenet_g1_wd4": (False, {}),
    "pytorchcv shufflenet_g8_w1": (False, {"opset_version": 13}),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_run_on_layers_and_in_the_engine(tmp_path, name):
    (build, expected), (fold, options) = NETWORKS[name], EXPORTED[name]
    network = torch_randomised(build()).float()
    path = exported(network, tmp_path / "a.onnx", fold=fold, **options)
    model = from_onnx(path)
    expected = {key: value for key, value in expected.items() if key != "dropout"}
    expected |= {"batch_norm": not fold, "num_classes": 7, "stem": "imagenet"}
    assert {key: model.config[key] for key in expected} == expected
    assert_same_logits(model, str(path), (64, 64))
    assert not any(np.isnan(p).any() for p in model.parameters().values())


@pytest.mark.parametrize(
    "name", ["torchvision x0_5", "authors v1 0.5x g=3", "pytorchcv shufflenet_g3_wd4"]
)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_network_in_pytorch(tmp_path, name, training):
    network = torch_randomised(NETWORKS[name][0]())
    path = exported(network, tmp_path / "a.onnx", fold=False)
    model = from_onnx(path)
    layout, _ = layouts.recognise({k: v.numpy() for k, v in network.state_dict().items()})

    def translate(found):
        arrays = {k: np.asarray(v) for k, v in network.state_dict().items()}
        ours = layouts.to_ours(layout, arrays | found)
        if "conv1.1.running_mean" not in layouts.to_ours(layout, found):
            ours = {key: value for key, value in ours.items() if key in model.parameters()}
        return {key: value for key, value in ours.items() if not key.endswith("tracked")}

    for module in network.modules():  # eps and momentum are the same as ours
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)
    assert_same_function(model, network, training=training, translate=translate)


def test_a_graph_of_one_batch_size(tmp_path):
    network = torch_randomised(NETWORKS["torchvision x0_5"][0]()).float()
    path = exported(network, tmp_path / "a.onnx", dynamic=False, batch=2)
    assert_same_logits(from_onnx(path), str(path), (64, 64), batches=(2,))


def test_pixels_of_another_size_are_taken_too(tmp_path):
    network = torch_randomised(NETWORKS["torchvision x0_5"][0]()).float()
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    path = exported(network, tmp_path / "a.onnx", dynamic=False, dynamic_axes=axes)
    model = from_onnx(path)
    assert_same_logits(model, str(path), (65, 42))


# Graphs in every spelling

V2 = {"widths": [8, 16, 32, 64, 32], "num_classes": 5, "in_channels": 2}
V1 = {"widths": [8, 24, 48, 96], "num_classes": 5, "in_channels": 2}
NETWORKS_OF_OURS = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.just("shufflenet_v2"),
            "stem": st.sampled_from(["imagenet", "small"]),
            "layout": st.sampled_from(["paper", "torchvision"]),
            "shuffle_order": st.sampled_from(["paper", "authors"]),
            **{name: st.booleans() for name in ("se", "residual", "extra_depthwise")},
            "classifier_bias": st.booleans(),
        }
    ).map(lambda options: V2 | options),
    st.fixed_dictionaries(
        {
            "name": st.just("shufflenet_v1"),
            "groups": st.sampled_from([1, 2, 4, 8]),
            "stem": st.sampled_from(["imagenet", "small"]),
            "shuffle": st.booleans(),
            "shuffle_order": st.sampled_from(["paper", "authors"]),
            **{name: st.booleans() for name in ("se", "classifier_bias")},
        }
    ).map(lambda options: V1 | options),
)
SPELLING = st.fixed_dictionaries(
    {what: st.sampled_from(options) for what, options in onnx_graphs.SPELLINGS.items()}
)


def small(config, seed=0):
    """One of our networks with random weights and statistics, in float32."""
    return randomised(models.build(config), seed).astype(np.float32)


@given(NETWORKS_OF_OURS, SPELLING, st.booleans(), st.booleans(), seeds())
def test_graphs_in_every_spelling(tmp_path_factory, config, spelling, tensorflow, counted, seed):
    size = (32, 32)
    padded = tensorflow or spelling["padding"] == "same"
    if padded:
        halvings = 5 if config["stem"] == "imagenet" else 3
        config = config | {"stride2_padding": [PADDED] * 4, "pool_padding": PADDED}
        if config["stem"] == "small":
            config["stride2_padding"] = [1, *[PADDED] * 3]
        size = (2 * 2**halvings, 3 * 2**halvings)
    if config["name"] == "shufflenet_v1" and spelling["padding"] != "node":
        config = config | {"count_include_pad": counted}
    source = small(config, seed)
    batch = 1 if spelling["shuffle"] == "batch 1" else "n"
    if spelling["padding"] == "same" and config.get("count_include_pad"):
        # Zeros before the window count, and ONNX Runtime counts those of auto_pad, too.
        spelling["padding"] = "explicit"
    proto = onnx_graphs.Graph(source, size, batch, **spelling).proto()
    path = written(tmp_path_factory.mktemp("graph") / "a.onnx", proto)
    model = from_onnx(path)
    assert model.config["batch_norm"] == (spelling["norm"] in ("left", "bias"))
    for option in ("se", "residual", "extra_depthwise", "classifier_bias", "groups", "stem"):
        assert model.config.get(option) == source.config.get(option), option
    x = images(source, size)
    np.testing.assert_allclose(model.infer(x), source.infer(x), rtol=0, atol=1e-3)
    assert_same_logits(model, str(path), size, batches=(1,) if batch == 1 else (1, 3))
