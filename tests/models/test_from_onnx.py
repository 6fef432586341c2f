"""ShuffleNets from ONNX graphs: exporters' files, and graphs in every spelling."""

import os
import random
import time
import warnings

import mutations
import numpy as np
import onnx_graphs
import published_networks as published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.test_from_weights import NETWORKS, assert_same_function
from models.test_from_weights import randomised as torch_randomised
from networks import largest, randomised
from peers import need
from strategies import seeds

from numpy_shufflenet import gradcheck, models, weights
from numpy_shufflenet.models import from_onnx, from_weights
from numpy_shufflenet.nn.layer import NonFiniteWeightsWarning
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is not the newest
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
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    session_options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, session_options, ["CPUExecutionProvider"])
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
    "authors v2 0.5x": (True, {"opset_version": 10}),  # the first one with steps in Slice
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
    model = randomised(models.build(config), seed).astype(np.float32)
    for name, value in model.parameters().items():
        if name.endswith("expand_bias"):
            value += 3  # or 16 excitations by about a half leave nothing
    return model


@settings(max_examples=15)
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
    expected = source.infer(x)
    np.testing.assert_allclose(
        model.infer(x), expected, rtol=0, atol=TOLERANCE * largest([expected])
    )
    assert_same_logits(model, str(path), size, batches=(1,) if batch == 1 else (1, 3))


def proto_of(config, size=(32, 32), **spelling):
    return onnx_graphs.Graph(small(config), size, **spelling).proto()


V2_SMALL = V2 | {"name": "shufflenet_v2", "stem": "small"}
V1_SMALL = V1 | {"name": "shufflenet_v1", "groups": 2, "stem": "small"}


@pytest.mark.parametrize("config", [V2_SMALL, V1_SMALL])
def test_sizes_that_auto_pad_treats_differently(tmp_path, config):
    """Odd sizes are padded by (1, 1), even ones by (0, 1), in each stage by its own size."""
    stages = [[[0, 1], [1, 1]], [[1, 1], [0, 1]], [[0, 1], [0, 1]]]  # of 26 x 15, 13 x 8, 7 x 4
    paddings = [1, *stages[:1], stages[1], [[1, 1], [0, 1]]]
    config = config | {"stride2_padding": paddings}
    if config["name"] == "shufflenet_v1":
        config["count_include_pad"] = False
    proto = proto_of(config, (26, 15), padding="same")
    path = written(tmp_path / "a.onnx", proto)
    model = from_onnx(path)
    expected = [[[1, 1], [1, 1]], *paddings[1:]]
    assert model.config["stride2_padding"] == expected
    assert_same_logits(model, str(path), (26, 15))


def test_auto_pad_needs_a_size(tmp_path):
    config = V2_SMALL | {"stride2_padding": [1, PADDED, PADDED, PADDED]}
    proto = proto_of(config, padding="same", mean="global")
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "hw"
    path = tmp_path / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"'Conv_\d+' \(Conv\): auto_pad=SAME_UPPER .* image_size"):
        from_onnx(path)
    model = from_onnx(path, image_size=32)
    assert model.config["stride2_padding"][1:] == [PADDED] * 3
    with pytest.raises(ValueError, match="image_size"):
        from_onnx(path, image_size=(1, 2, 3))


def test_channels_last_and_a_softmax_as_in_tensorflow(tmp_path):
    proto = proto_of(V2_SMALL | {"in_channels": 3})
    helper, graph = onnx.helper, proto.graph
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "moved" if name == "images" else name
    shape = [dim.dim_value or dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim]
    last = [shape[axis] for axis in (0, 2, 3, 1)]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("images", onnx_graphs.FLOAT, last))
    graph.node.insert(0, helper.make_node("Transpose", ["images"], ["moved"], perm=[0, 3, 1, 2]))
    graph.node.append(helper.make_node("Softmax", [graph.output[0].name], ["shares"], axis=-1))
    graph.output[0].name = "shares"
    path = written(tmp_path / "a.onnx", proto)
    assert_same_logits(from_onnx(path), str(path), (32, 32), softmax=True)


def test_another_eps_is_taken_up_by_the_statistics(tmp_path):
    proto = proto_of(V2_SMALL)
    norms = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    for number, node in enumerate(norms):
        node.attribute[0].f = (1e-3, 1e-7)[number % 2]
    for tensor in proto.graph.initializer:
        if tensor.name in (norms[1].input[4], norms[4].input[4]):  # so small that eps matters
            array = np.float32(1e-6) * onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    path = written(tmp_path / "a.onnx", proto)
    assert_same_logits(from_onnx(path), str(path), (32, 32))


@pytest.mark.parametrize("norm", ["left", "folded"])
@pytest.mark.parametrize("config", [V2_SMALL, V1_SMALL])
def test_a_loaded_network_is_saved_trained_and_checked(tmp_path, config, norm):
    path = written(tmp_path / "a.onnx", proto_of(config, norm=norm))
    model = from_weights(path, dropout=0.25, seed=1)
    assert model.config["dropout"] == 0.25
    x = images(model, (32, 32), 4)
    model.save(tmp_path / "a.safetensors")
    again = from_weights(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.infer(x), model.infer(x))
    if norm == "folded":
        for layout, suffix in (("torchvision", "pth"), ("native", "npz")):
            with pytest.raises(ValueError, match="batch_norm=False"):
                model.save(tmp_path / f"a.{suffix}", layout)
    before = model.state_dict()["fc.weight"]
    logits = model.forward(x, training=True)
    model.backward(np.ones_like(logits))
    for name, value in model.parameters().items():
        value -= 0.01 * model.gradients()[name]
    assert np.abs(model.state_dict()["fc.weight"] - before).max() > 0


def test_gradients_of_a_loaded_network_are_checked(tmp_path):
    config = V2_SMALL | {"stride2_padding": [1, PADDED, PADDED, PADDED]}
    path = written(tmp_path / "a.onnx", proto_of(config, (8, 8), norm="folded"))
    model = from_onnx(path)
    assert model.config["stride2_padding"][1:] == [PADDED] * 3
    verdict = gradcheck.check_model(model, images(model, (8, 8), 2), np.array([1, 3]), entries=1)
    assert verdict.status == "pass", str(verdict)


# What is refused


def replaced(kind, place, **changes):
    """A change of the place-th node of a kind, and the node's name."""

    def change(graph):
        node = [node for node in graph.node if node.op_type == kind][place]
        for name, value in changes.items():
            setattr(node, name, value)
        return node.name

    return change


def attributed(kind, place, **attributes):
    def change(graph):
        node = [node for node in graph.node if node.op_type == kind][place]
        kept = [entry for entry in node.attribute if entry.name not in attributes]
        del node.attribute[:]
        made = [onnx.helper.make_attribute(k, v) for k, v in attributes.items()]
        node.attribute.extend(kept + made)
        return node.name

    return change


def read_elsewhere(graph):
    """A shuffle that also turns the image on its side."""
    node = next(node for node in graph.node if node.op_type == "Transpose")
    node.attribute[0].ints[:] = [0, 2, 1, 4, 3]
    return next(
        other.name
        for other in graph.node[list(graph.node).index(node) :]
        if other.op_type == "Conv"
    )


WRONG = {
    "another activation": (replaced("Relu", 3, op_type="LeakyRelu"), r"no such operator"),
    "another domain": (replaced("Conv", 2, domain="com.example"), "no such operator"),
    "no activation": (replaced("Relu", 3, op_type="Identity"), "ReLU"),
    "a dilation": (attributed("Conv", 2, dilations=[2, 2]), "its dilations are"),
    "a stride": (attributed("Conv", 5, strides=[2, 2]), "is not understood"),
    "a negative padding": (attributed("Conv", 2, pads=[-1, 0, 0, 0]), "its window is"),
    "a huge padding": (attributed("Conv", 2, pads=[10**9] * 4), "it makes an array"),
    "groups of 0": (attributed("Conv", 2, group=0), "don't fit"),
    "another axis": (attributed("Concat", 2, axis=2), "is not understood"),
    "wrong sizes": (attributed("Conv", 2, kernel_shape=[5, 5]), "is not understood"),
    "pixels in another order": (read_elsewhere, "whole channels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_first_node_that_is_not_understood_is_named(tmp_path, case):
    change, message = WRONG[case]
    proto = proto_of(V2_SMALL | {"stem": "imagenet"})
    name = change(proto.graph)
    path = tmp_path / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    if case == "wrong sizes":  # the attribute repeats the weights' shape, which counts
        assert from_onnx(path).config["num_classes"] == 5
        return
    with pytest.raises(ValueError, match=message) as error:
        from_onnx(path)
    found = str(error.value)
    assert found.startswith(f"{path}: the first node that is not understood is '")
    exact = case not in ("no activation", "a stride", "another axis")
    assert f"'{name}'" in found or not exact, found


@pytest.mark.parametrize(
    ("network", "node"),
    [
        ("resnet18", r"'/conv1/Conv' \(Conv\): it has kernel=\(7, 7\)"),
        ("mobilenet_v2", r"'/features/features.0/features.0.2/Clip' \(Clip\)"),
        ("squeezenet1_1", r"'/features/features.3/squeeze/Conv' \(Conv\)"),
    ],
)
def test_other_networks_are_refused(tmp_path, network, node):
    build = getattr(torchvision.models, network)
    path = exported(build(num_classes=4), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=f"a.onnx: the first node .* is {node}"):
        from_weights(path)


def test_the_network_of_the_package_onnx_is_refused_by_its_groups():
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    with pytest.raises(ValueError, match=r"'n4' \(Conv\): it has groups=4; a ShuffleNet has 1"):
        from_onnx(os.path.join(folder, "light_shufflenet.onnx"))


def test_weights_in_other_files(tmp_path):
    proto = proto_of(V2_SMALL)
    inner = tmp_path / "inner"
    inner.mkdir()
    path = inner / "a.onnx"
    expected = from_onnx(written(tmp_path / "c.onnx", proto)).state_dict()
    onnx.save_model(proto, path, save_as_external_data=True, location="b.data", size_threshold=0)
    for name, array in from_onnx(path).state_dict().items():
        np.testing.assert_array_equal(array, expected[name])
    (inner / "b.data").rename(tmp_path / "b.data")
    with pytest.raises(ValueError, match=r"a\.onnx: .*'b\.data', which is not beside it"):
        from_onnx(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph.output.add(name="a"), "its graph has 2 outputs"),
        (lambda graph: graph.input.add(name="a"), "its graph has 2 inputs"),
        (lambda graph: graph.ClearField("input"), "its graph has 0 inputs"),
        (lambda graph: graph.ClearField("node"), "its graph is empty"),
        (lambda graph: setattr(graph.output[0], "name", "a"), "'a' does not depend on its images"),
        (lambda graph: graph.node.pop(0), "no node before it computes"),
        (lambda graph: _sized(graph, 10**6), "it makes an array of|more than"),
        (lambda graph: _sized(graph, 2**62), "it makes an array of|more than"),
        (lambda graph: _sized(graph, -5), r"\(n, c, h, w\) is needed"),
    ],
)
def test_a_graph_without_images_and_logits_is_refused_in_words(tmp_path, change, message):
    proto = proto_of(V2_SMALL)
    change(proto.graph)
    path = tmp_path / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    start = time.perf_counter()
    with pytest.raises(ValueError, match=rf"a\.onnx: .*({message})"):
        from_onnx(path)
    assert time.perf_counter() - start < 5


def _sized(graph, size):
    graph.input[0].type.tensor_type.shape.dim[2].dim_value = size


def test_arguments(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.onnx does not exist; an ONNX file is needed"):
        from_onnx(tmp_path / "b.onnx")
    path = written(tmp_path / "a.onnx", proto_of(V2_SMALL))
    with pytest.raises(ValueError, match="scale follows from the graph"):
        from_onnx(path, scale=1.0)
    assert len(weights.load(path)) > 100


def test_mutated_files_are_read_or_refused_by_name_in_bounded_memory(tmp_path):
    good = proto_of(V2_SMALL | {"widths": [4, 8, 16, 32, 8]}, shuffle="computed")
    data, path = good.SerializeToString(), tmp_path / "a.onnx"
    for number in range(int(os.environ.get("MUTATIONS", "200"))):
        rng = random.Random(number)
        if number % 2:
            path.write_bytes(mutations.mutate_bytes(rng, data))
        else:  # a change that protobuf still reads
            path.write_bytes(mutated(rng, good).SerializeToString())
        _, before = mutations.memory()
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NonFiniteWeightsWarning)
                from_onnx(path)
            message = str(path)
        except ValueError as error:
            message = str(error)
        assert str(path) in message, number
        assert time.perf_counter() - start < 10, number
        assert mutations.memory()[1] - before < 500, number


def mutated(rng, good):
    """The model with changes in a node's inputs, operator or attributes, or in a shape."""
    proto = onnx.ModelProto()
    proto.CopyFrom(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        node, other = rng.sample(list(proto.graph.node), 2)
        match rng.randrange(7):
            case 0 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice((*other.output, "", "x"))
            case 1:
                node.op_type = other.op_type
            case 2 if node.attribute:
                entry = rng.choice(list(node.attribute))
                entry.i = rng.choice((-1, 0, 1, 2, 7, 2**31, 2**62))
                if entry.ints:
                    place = rng.randrange(len(entry.ints))
                    entry.ints[place] = rng.choice((-1, 0, 1, 2, 9, 2**31, -(2**62)))
            case 3:
                tensor = rng.choice(list(proto.graph.initializer))
                if tensor.dims:
                    place = rng.randrange(len(tensor.dims))
                    tensor.dims[place] = rng.choice((0, 1, 2, 10**12))
            case 4:
                proto.graph.node.remove(node)
            case 5:
                integers = [t for t in proto.graph.initializer if t.data_type == 7]
                tensor = rng.choice(integers)
                array = onnx.numpy_helper.to_array(tensor).copy()
                array.reshape(-1)[rng.randrange(array.size)] = rng.choice((-7, 0, 3, 10**9, 2**62))
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
            case _:
                node.attribute.extend(other.attribute)
    return proto


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {"name": "shufflenet_v1", "groups": 8, "scale": 0.25, "shuffle_order": "authors"},
        {"name": "shufflenet_v1", "groups": 2, "scale": 0.25, "se": True, "stem": "small"},
        {"name": "shufflenet_v2", "scale": 0.5, "se": True, "residual": True},
        {"name": "shufflenet_v2", "scale": 0.5, "extra_depthwise": True, "in_channels": 1},
    ],
)
def test_our_own_graphs_come_back(tmp_path, config, fold):
    model = randomised(models.build({**config, "num_classes": 7, "seed": 0})).astype(np.float32)
    model.export(tmp_path / "a.onnx", size=32, fold=fold)
    found = from_onnx(tmp_path / "a.onnx")
    assert found.config["batch_norm"] is not fold
    assert type(found) is type(model)
    x = np.random.default_rng(1).normal(size=(3, model.in_channels, 32, 32)).astype(np.float32)
    expected, logits = model.infer(x), found.infer(x)
    apart = np.abs(expected[0] - expected[1]).max()
    assert np.abs(logits - expected).max() <= min(1e-5 * np.abs(expected).max(), apart / 100)
    if not fold:
        np.testing.assert_array_equal(logits, expected)
