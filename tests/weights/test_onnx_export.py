"""Whole networks as ONNX files: what ONNX Runtime and onnx.reference compute from them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import randomised
from peers import need
from strategies import seeds

from numpy_shufflenet import backend, models, nn, weights
from numpy_shufflenet.models import v2
from numpy_shufflenet.models.classifier import ImageClassifier

onnx = need("onnx")
onnxruntime = need("onnxruntime")
reference = need("onnx.reference")

CEIL_MODE = [[0, 1], [0, 1]]  # what padding makes of a pool in ceil mode without any
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
    {"name": "se_shufflenet_v2_164", "num_classes": 7, "seed": 0},
]


def like_se_v2_164(config):
    """SE-V2-164 with fewer units and channels; it has 192 million weights."""
    config = {**config, "in_channels": 3, "stem": "imagenet", "classifier_bias": True}
    stages = [v2.Stage(20, 2, 1), v2.Stage(40, 2, 2), v2.Stage(60, 3, 2), v2.Stage(80, 2, 2)]
    options = {"keeps_input": False, "se": True, "residual": True}
    return v2._build({**config, "dropout": 0}, (8, 8, 16), stages, ("conv6", 100), **options)


def built(config):
    """A network with random weights and statistics, whose excitations let most of x through."""
    build = like_se_v2_164 if config["name"] == "se_shufflenet_v2_164" else models.build
    model = randomised(build(config)).astype(np.float32)
    for name, array in model.parameters().items():
        if name.endswith("expand_bias"):
            array += 2
    return model


def images(model, batch, size, seed=0):
    """Images whose colours differ; of white noise, all logits would be alike."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(batch, model.in_channels, 1, 1))
    noise = rng.normal(size=(batch, model.in_channels, *size))
    return (2 * colours + noise).astype(np.float32)


def expected(model, x):
    """Outputs by name. Those of the first two images are far apart, or nothing would be tested."""
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
    # Its sigmoid computes both branches everywhere, and drops what is infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = evaluator.run(None, {"images": x})
    return dict(zip(evaluator.output_names, outputs, strict=True))


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, y in wanted.items():
        assert found[name].shape == y.shape
        assert found[name].dtype == np.float32
        assert np.abs(found[name] - y).max() <= 1e-4 * np.abs(y).max(), name


def checked(path):
    """The file, whose shapes and types are those that ONNX infers."""
    onnx.checker.check_model(str(path), full_check=True)
    file = onnx.load(path)
    onnx.shape_inference.infer_shapes(file, check_type=True, strict_mode=True, data_prop=True)
    return file


def kinds(file):
    return [node.op_type for node in file.graph.node]


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_every_network_and_option(tmp_path, config):
    model, size, path = built(config), (37, 50), tmp_path / "a.onnx"
    model.export(path, size=size)
    assert "BatchNormalization" not in kinds(checked(path))
    for batch in (1, 5):
        x = images(model, batch, size)
        assert_close(run_onnxruntime(path, x), expected(model, x))


@settings(max_examples=8)
@given(
    seeds(),
    st.sampled_from([{**V1, "scale": 0.25, **o} for o in OPTIONS] + [{**V2, "scale": 0.5}]),
    st.tuples(st.integers(20, 60), st.integers(20, 60)),
    st.sampled_from(["any", 1, 2, 5]),
    st.booleans(),
    st.integers(13, min(NEWEST, 21)),
)
def test_sizes_batches_and_opsets(tmp_path_factory, seed, config, size, batch, fold, opset):
    model, path = built({**config, "seed": seed}), tmp_path_factory.mktemp("export") / "a.onnx"
    model.export(path, batch=batch, size=size, fold=fold, opset=opset)
    file = checked(path)
    assert [o.version for o in file.opset_import] == [opset]
    assert ("BatchNormalization" in kinds(file)) != fold
    x = images(model, 5 if batch == "any" else batch, size, seed)
    assert_close(run_onnxruntime(path, x), expected(model, x))
    if batch != "any":
        with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
            run_onnxruntime(path, np.concatenate([x, x]))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        {**V1, "scale": 0.25, "se": True},
        {**V2, "scale": 0.5, **V2_OPTIONS[4], "pool_padding": CEIL_MODE, "classifier": False},
    ],
    ids=["V1", "V2"],
)
def test_the_reference_implementation(tmp_path, config, fold):
    model, size, path = built(config), (21, 34), tmp_path / "a.onnx"
    model.export(path, size=size, fold=fold, opset=NEWEST)
    x = images(model, 2, size)
    assert_close(run_reference(path, x), expected(model, x))


@pytest.mark.parametrize("fold", [True, False])
def test_every_value_has_the_name_that_a_trace_has(tmp_path, fold):
    model = built({**V2, "scale": 0.5, "se": True, "residual": True})
    x = images(model, 2, (33, 40))
    model.export(tmp_path / "a.onnx", size=(33, 40), fold=fold)
    file = checked(tmp_path / "a.onnx")
    trace = (model.fold() if fold else model).trace(x)
    layers = {name: y for name, y in trace.activations.items() if not isinstance(y, tuple)}
    named = {name for node in file.graph.node for name in node.output} & layers.keys()
    assert {"conv1.0", "maxpool", "stage2.0.branch1.2", "stage4.3.add", "stage3.1.se"} < named
    assert len(named) == sum(kind not in ("Constant", "Split") for kind in kinds(file)) - (
        1 + 16 * (2 + 5) + 1  # the global pool's mean; of a unit, shuffle and excitation; logits
    )
    for name in named:
        file.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    onnx.save(file, tmp_path / "all.onnx")
    found = run_onnxruntime(tmp_path / "all.onnx", x)
    assert_close({name: found[name] for name in named}, {name: layers[name] for name in named})


def test_weights_keep_their_names_unless_they_are_folded(tmp_path):
    model, path = built({**V2, "scale": 0.5, "layout": "torchvision"}), tmp_path / "a.onnx"
    model.export(path, fold=False)
    state = model.state_dict()
    read = weights.load(path)
    assert [n for n in state if not n.endswith("num_batches_tracked")] == list(read)
    for name, array in read.items():
        np.testing.assert_array_equal(array, state[name], strict=True)

    model.export(path)
    read = weights.load(path)
    assert read.keys() == model.fold().parameters().keys()
    for name, array in model.fold().parameters().items():
        np.testing.assert_allclose(read[name], array, rtol=1e-5, atol=1e-6)
    assert kinds(onnx.load(path)).count("Conv") == 56


def test_what_is_written_beside_the_graph(tmp_path):
    model, path = models.shufflenet_v1(scale=0.25, num_classes=2, seed=0), tmp_path / "a.onnx"
    model.export(path, size=40)
    names = {"architecture", "size"}
    assert {prop.key for prop in onnx.load(path).metadata_props} == names
    model.export(
        path,
        batch=3,
        classes=["Bär", "Ente"],
        mean=(0.5, 0.25, 0),
        std=np.array([1, 2, 0.5]),
        channel_order="BGR",
    )
    session = onnxruntime.InferenceSession(path)
    found = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in found.items()} == {
        "architecture": model.config,
        "classes": ["Bär", "Ente"],
        "mean": [0.5, 0.25, 0],
        "std": [1, 2, 0.5],
        "channel_order": "BGR",
        "size": [224, 224],
    }
    assert models.build(json.loads(found["architecture"])).config == model.config
    assert session.get_inputs()[0].shape == [3, 3, 224, 224]
    assert session.get_outputs()[0].shape == [3, 2]


def test_the_model_stays_as_it_was(tmp_path):
    model = built({**V2, "scale": 0.5}).astype(np.float64)
    before, x = model.state_dict(), np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    with backend.use("numpy"):
        y = model.forward(x)
        model.export(tmp_path / "a.onnx", size=32)
        assert model.backward(y).shape == x.shape  # of the forward before
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], strict=True)
    assert_close(run_onnxruntime(tmp_path / "a.onnx", x.astype(np.float32)), {"logits": y})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.pb"}, r"a\.pb' does not end in \.onnx"),
        ({"batch": 0}, "batch=0 is neither 'any' nor a whole number of at least 1"),
        ({"batch": "all"}, "batch='all' is neither"),
        ({"batch": True}, "batch=True is neither"),
        ({"opset": 12}, f"opset=12 is not a whole number from 13 to {NEWEST}"),
        ({"opset": NEWEST + 1}, f"opset={NEWEST + 1} is not"),
        ({"opset": "13"}, "opset='13' is not"),
        ({"size": 0}, "size=0 is neither"),
        ({"size": (224, 224, 3)}, r"size=\(224, 224, 3\) is neither"),
        ({"classes": ["a"]}, "classes holds 1 names, but the network has 2"),
        ({"classes": "ab"}, "classes='ab' is not a list of names"),
        ({"classes": [1, 2]}, r"classes=\[1, 2\] is not a list of names"),
        ({"mean": [0, 0, 0]}, r"mean=\[0, 0, 0\] and std=None: both or none are needed"),
        ({"mean": [0], "std": [1]}, "is not one number for each of 3 channels"),
        ({"mean": [0, 0, 0], "std": [1, 1, 0]}, "std=.* has a value that is not above 0"),
        ({"channel_order": "rgb"}, "channel_order='rgb' does not fit in_channels=3"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    model = models.shufflenet_v1(scale=0.25, num_classes=2, seed=0)
    path = tmp_path / arguments.pop("path", "a.onnx")
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=message):
        model.export(path, **arguments)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_image_too_small(tmp_path):
    model = models.shufflenet_v2(scale=0.5, num_classes=2, pool_padding=0, seed=0)
    with pytest.raises(ValueError, match="maxpool: a kernel that spans 3 does not fit into x of h"):
        model.export(tmp_path / "a.onnx", size=(3, 30))


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, np.float32), (1e200, np.float64)])
def test_weights_that_are_no_numbers(tmp_path, value, dtype):
    model = models.shufflenet_v1(scale=0.25, num_classes=2, seed=0).astype(dtype)
    model.parameters()["fc.weight"][1, 2] = value
    with pytest.raises(ValueError, match=r"NaN, infinite, or too large for float32: fc\.weight"):
        model.export(tmp_path / "a.onnx")


def test_weights_too_large_for_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy_shufflenet.weights.onnx_export.LARGEST_WEIGHTS", 10**5)
    model = models.shufflenet_v1(scale=0.25, num_classes=2, seed=0)
    with pytest.raises(ValueError, match="larger than the 100000 bytes of an ONNX file"):
        model.export(tmp_path / "a.onnx")


class Own(nn.Layer):
    """A unit of one's own, composed of known layers with unusual settings."""

    def __init__(self):
        super().__init__()
        depthwise = nn.Conv2d(3, 6, 3, padding=((0, 2), 1), groups=3)
        self.branches = nn.Parallel(nn.Sequential(), depthwise, nn.ReLU())
        self.widen = nn.Conv2d(3, 6, (1, 3), dilation=2, padding=(0, 2), bias=True)
        self.concat = nn.ChannelConcat()
        self.add = nn.Add()
        self.split = nn.ChannelSplit((2, 4))
        self.pools = nn.Sequential(
            nn.AvgPool2d((2, 3), stride=(2, 1), padding=(1, 0), count_include_pad=False),
            nn.AvgPool2d(3, stride=2, padding=((0, 1), (1, 0))),
            nn.MaxPool2d((3, 2), stride=(1, 2), padding=((1, 0), 0)),
        )

    def _forward(self, x, training):
        x, y, z = self.branches.forward(x, training=training)
        parts = self.widen.forward(x), y, self.concat.forward((z, z))
        return self.pools.forward(self.split.forward(self.add.forward(parts))[1])


class Alone(nn.Layer):
    """A layer that computes without an operation."""

    def _forward(self, x, training):
        return 2 * x


class Upsample(nn.OperationLayer):
    operation = "upsample_nearest"


class Network(ImageClassifier):
    def __init__(self, *layers):
        super().__init__({"name": "mine", "in_channels": 3, "num_classes": 2})
        self.features = nn.Sequential(*layers)
        self.pool = nn.GlobalAvgPool()
        self.fc = nn.Linear(4, 2)


def test_layers_of_your_own(tmp_path):
    model, path = randomised(Network(Own())).astype(np.float32), tmp_path / "a.onnx"
    model.export(path, size=(17, 23))
    checked(path)
    x = images(model, 5, (17, 23))
    wanted = expected(model, x)
    assert_close(run_onnxruntime(path, x), wanted)
    assert_close(run_reference(path, x), wanted)


def test_every_opset_is_written(tmp_path):
    more = nn.BatchNorm2d(4), nn.ChannelShuffle(2), nn.SqueezeExcitation(4, reduction=2)
    model = randomised(Network(Own(), *more)).astype(np.float32)
    for opset in range(13, NEWEST + 1):
        model.export(tmp_path / "a.onnx", size=32, opset=opset)
        file = checked(tmp_path / "a.onnx")
        assert file.ir_version == onnx.helper.find_min_ir_version_for(file.opset_import)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Alone(),
            r"features\.1 can't be written to ONNX: Alone computes by itself: unsup",
        ),
        (Upsample(scale=2), r"features\.1 can't be written to ONNX: it runs upsample_nearest"),
    ],
)
def test_layers_that_can_not_be_written_are_named(tmp_path, layer, message):
    with pytest.raises(ValueError, match=message):
        Network(nn.ReLU(), layer).export(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
