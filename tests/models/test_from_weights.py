"""Networks of other libraries, from random weights with random running statistics."""

import functools
import random
import re

import numpy as np
import published_networks as published
import pytest
from hypothesis import given, settings
from networks import largest, loss_and_gradients
from networks import randomised as random_weights
from peers import need
from strategies import seeds

from numpy_shufflenet import models, weights
from numpy_shufflenet.models import from_weights
from numpy_shufflenet.weights import known, layouts
from numpy_shufflenet.weights.relabel import relabelled

torch = need("torch")
torchvision = published.torchvision()
pytorchcv = need("pytorchcv.model_provider")
TOLERANCE = 1e-9  # of the largest number
V1 = {"name": "shufflenet_v1"}


def cv(name):
    def build():
        network = pytorchcv.get_model(name, num_classes=7)
        network.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)  # for small images
        return network

    return build


def vision(name):
    return lambda: getattr(torchvision.models, f"shufflenet_v2_{name}")(num_classes=7)


NETWORKS = {  # what builds it, and what is recognised
    **{
        f"torchvision {name}": (vision(name), {"scale": float(name[1:].replace("_", "."))})
        for name in ("x0_5", "x1_0", "x1_5", "x2_0")
    },
    **{
        f"authors v2 {scale}x": (
            lambda scale=scale: published.authors_v2(scale),
            {"scale": scale, "shuffle_order": "authors", "dropout": 0.2 if scale == 2 else 0.0},
        )
        for scale in (0.5, 1, 1.5, 2)
    },
    **{
        f"authors v1 {scale}x g={groups}": (
            lambda scale=scale, groups=groups: published.authors_v1(scale, groups),
            {"scale": scale, "groups": groups, "shuffle_order": "authors"},
        )
        for scale in (0.5, 1, 1.5, 2)
        for groups in (3, 8)
    },
    **{
        f"pytorchcv {name}": (cv(name), expected)
        for name, expected in {
            "shufflenetv2_wd2": {"scale": 0.5},
            "shufflenetv2_w1": {"scale": 1.0},
            "shufflenetv2_w3d2": {"widths": [24, 176, 352, 704, 1553]},
            "shufflenetv2_w2": {"widths": [24, 244, 488, 976, 2153]},
            "shufflenetv2b_wd2": {"scale": 0.5},
            "shufflenetv2b_w1": {"scale": 1.0, "layout": "paper"},
            "shufflenetv2b_w3d2": {"widths": [24, 176, 352, 704, 1553]},
            "shufflenetv2b_w2": {"widths": [24, 244, 488, 976, 2153]},
            **{f"shufflenet_g{g}_w1": {"groups": g, "scale": 1.0} for g in (1, 2, 3, 4, 8)},
            "shufflenet_g1_w3d4": {"groups": 1, "widths": [18, 108, 216, 432]},
            "shufflenet_g3_w3d4": {"groups": 3, "widths": [18, 180, 360, 720]},
            "shufflenet_g1_wd2": {"groups": 1, "scale": 0.5},
            "shufflenet_g3_wd2": {"groups": 3, "scale": 0.5},
            "shufflenet_g1_wd4": {"groups": 1, "widths": [6, 36, 72, 144]},
            "shufflenet_g3_wd4": {"groups": 3, "widths": [6, 60, 120, 240]},
        }.items()
    },
}


def randomised(network, seed=0):
    """In float64, with random weights, statistics and counters, and no dropout."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return torch.empty(shape, dtype=torch.float64).normal_(0, std, generator=generator)

    network = network.double()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif name.endswith("num_batches_tracked"):
                value.fill_(torch.randint(1, 999, (), generator=generator))
            elif value.ndim > 1:
                value.copy_(normal(value.shape, (2 / value[0].numel()) ** 0.5))
            elif name.endswith("weight"):
                value.uniform_(0.5, 1.5, generator=generator)
            else:
                value.copy_(normal(value.shape, 0.3))
    return network


def arrays_of(network):
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def assert_close(ours, theirs, scale=None):
    assert ours.keys() == theirs.keys()
    scale = scale or largest(theirs.values())
    for name, array in theirs.items():
        assert ours[name].shape == array.shape, name
        assert np.abs(ours[name] - array).max() <= TOLERANCE * scale, name


def assert_same_function(model, network, *, training, translate, size=64):
    """Logits, every gradient, and the running statistics after a forward in training mode."""
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(2, 3, size, size - 7)), np.array([1, 4])
    logits, _, dx, gradients = loss_and_gradients(model, x, labels, training=training)
    network.train(training)
    x_torch = torch.tensor(x, requires_grad=True)
    theirs = network(x_torch)
    assert np.ptp(theirs.detach().numpy(), axis=0).max() > 1e-3  # the images do differ
    torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), label_smoothing=0.1).backward()
    assert_close({"": logits}, {"": theirs.detach().numpy()})
    found = {name: p.grad.numpy() for name, p in network.named_parameters()}
    assert_close(gradients, translate(found))
    assert_close({"": dx}, {"": x_torch.grad.numpy()})
    after = translate(arrays_of(network))
    state = model.state_dict()
    for name, array in after.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_every_gradient_are_those_of_the_network(name):
    build, expected = NETWORKS[name]
    network = randomised(build())
    arrays = arrays_of(network)
    model = from_weights(arrays)
    assert model.config["num_classes"] == 7
    assert {key: model.config[key] for key in expected} == expected
    layout, own = layouts.recognise(arrays)
    assert own.keys() == arrays.keys()

    def translate(found):
        # Orders follow from shapes, so gradients are relabelled beside the weights.
        whole = layouts.to_ours(layout, {**arrays, **found})
        names = layouts.to_ours(layout, found)
        return {key: value for key, value in whole.items() if key in names}

    training = len(name) % 2 == 0
    assert_same_function(model, network, training=training, translate=translate)
    x = np.random.default_rng(2).normal(size=(2, 3, 64, 64))
    assert_close({"": model.infer(x)}, {"": model.forward(x)})


@pytest.mark.parametrize("groups", [3, 8])
def test_mmpretrain_v1(groups):
    network = randomised(published.authors_v1(1, groups, paper_order=True))
    arrays = {published.mmpretrain_v1_name(k): v for k, v in arrays_of(network).items()}
    model = from_weights({f"state_dict.{name}": value for name, value in arrays.items()})
    assert model.config["groups"] == groups
    assert model.config.get("shuffle_order", "paper") == "paper"
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    network.eval()
    assert_close({"": model.forward(x)}, {"": network(torch.tensor(x)).detach().numpy()})


@pytest.mark.parametrize("kind", ["mmpretrain", "paddle"])
@pytest.mark.parametrize("scale", ["x0_5", "x1_0", "x1_5", "x2_0"])
def test_other_names_of_torchvisions_networks(kind, scale):
    network = randomised(vision(scale)())
    arrays = arrays_of(network)
    renamed = {published.renamed_v2(name, kind): value for name, value in arrays.items()}
    assert len(renamed) == len(arrays)
    if kind == "paddle":
        renamed["_fc.weight"] = renamed["_fc.weight"].T
        renamed = {k: v for k, v in renamed.items() if not k.endswith("num_batches_tracked")}
    model = from_weights(renamed)
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    network.eval()
    assert_close({"": model.forward(x)}, {"": network(torch.tensor(x)).detach().numpy()})


def test_a_width_of_paddles_own():
    network = randomised(
        torchvision.models.ShuffleNetV2([4, 8, 4], [24, 224, 488, 976, 2048], num_classes=7)
    )
    model = from_weights(arrays_of(network))
    assert model.config["widths"] == [24, 224, 488, 976, 2048]
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    network.eval()
    assert_close({"": model.forward(x)}, {"": network(torch.tensor(x)).detach().numpy()})


def test_fastestdets_backbone_gives_the_output_of_each_stage():
    network = randomised(published.FastestDetBackbone()).eval()
    arrays = {f"backbone.{name}": value for name, value in arrays_of(network).items()}
    arrays["detect_head.conv1.weight"] = np.zeros((2, 3, 1, 1))
    model = from_weights(arrays)
    assert model.config["classifier"] is False
    x = np.random.default_rng(1).normal(size=(2, 3, 96, 64))
    expected = {name: y.detach().numpy() for name, y in network(torch.tensor(x)).items()}
    assert_close(model.stage_outputs(x), expected)
    assert_close({"": model.infer(x)}, {"": expected["stage4"]})


def with_activation(network, layer):
    """Another activation in place of every ReLU."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(module, name, layer())
    return network


def nanodet():
    """NanoDet's backbone, without its head, and its output after each stage."""
    network = with_activation(vision("x1_0")(), lambda: torch.nn.LeakyReLU(0.1))
    randomised(network).eval()
    names = ("conv1", "maxpool", "stage2", "stage3", "stage4")
    backbone = torch.nn.Sequential()
    for name in names:
        backbone.add_module(name, getattr(network, name))
    return backbone


@pytest.mark.parametrize("prefix", ["", "state_dict.avg_model."])
def test_nanodets_backbone_has_leaky_relu(prefix):
    backbone = nanodet()
    arrays = {f"{prefix}backbone.{name}": value for name, value in arrays_of(backbone).items()}
    with pytest.raises(ValueError, match="pass activation='leaky_relu' if it is NanoDet's"):
        from_weights(arrays)
    assert from_weights(arrays, activation="relu").config["activation"] == "relu"
    arrays[f"{prefix}head.gfl_cls.0.weight"] = np.zeros((2, 3, 1, 1))
    model = from_weights(arrays)
    assert model.config["activation"] == "leaky_relu"
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    y = torch.tensor(x)
    for name, stage in backbone.named_children():
        y = stage(y)
        if name.startswith("stage"):
            assert_close({"": model.stage_outputs(x)[name]}, {"": y.detach().numpy()})


def test_paddles_network_with_swish_is_read_if_it_is_told():
    network = randomised(with_activation(vision("x1_0")(), torch.nn.SiLU)).eval()
    arrays = {published.renamed_v2(k, "paddle"): v for k, v in arrays_of(network).items()}
    arrays["_fc.weight"] = arrays["_fc.weight"].T
    arrays = {k: v for k, v in arrays.items() if not k.endswith("num_batches_tracked")}
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    theirs = network(torch.tensor(x)).detach().numpy()
    model = from_weights(arrays, activation="swish")
    assert_close({"": model.forward(x)}, {"": theirs})
    assert_close({"": model.fold().forward(x)}, {"": theirs})
    assert np.abs(from_weights(arrays).forward(x) - theirs).max() > 0.01 * np.abs(theirs).max()
    with pytest.raises(ValueError, match=r"activation='gelu' is not one of 'relu', 'leaky_relu'"):
        from_weights(arrays, activation="gelu")


@pytest.fixture(scope="module")
def small():
    """torchvision's names, in float32."""
    arrays = arrays_of(randomised(vision("x0_5")()))
    return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def assert_holds(model, arrays):
    state = model.state_dict()
    assert state.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name], array, strict=True)


@pytest.mark.parametrize(
    "prefix", ["module.", "state_dict.", "state_dict.module.", "model.", "ema.", "net.backbone."]
)
def test_prefixes_are_taken_off(small, prefix):
    others = {"optimizer.state.0.momentum_buffer": np.zeros(3), "epoch": np.array(3)}
    assert_holds(from_weights({prefix + k: v for k, v in small.items()} | others), small)


def test_averaged_weights_come_first(small):
    averaged = {name: 2 * value for name, value in small.items()}
    arrays = {f"model.{name}": value for name, value in small.items()}
    arrays |= {f"model_ema.module.{name}": value for name, value in averaged.items()}
    arrays["model_ema.n_averaged"] = np.array(3)
    assert_holds(from_weights(arrays), averaged)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_torch(small, tmp_path, zipped):
    tensors = {f"module.{name}": torch.from_numpy(value) for name, value in small.items()}
    path = tmp_path / "a.pth"
    torch.save({"state_dict": tensors, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    model = from_weights(path)
    assert_holds(model, small)
    assert next(iter(model.parameters().values())).dtype == np.float32


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_variants_have_the_small_stem(classes):
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=classes)
    network.conv1[0].stride, network.maxpool = (1, 1), torch.nn.Identity()
    randomised(network).eval()
    model = from_weights(arrays_of(network))
    assert model.config["stem"] == "small"
    x = np.random.default_rng(1).normal(size=(2, 3, 32, 32))
    assert_close({"": model.forward(x)}, {"": network(torch.tensor(x)).detach().numpy()})
    assert from_weights(arrays_of(network), stem="imagenet").config["stem"] == "imagenet"


def test_options_that_weights_do_not_tell(small):
    assert from_weights(small, dropout=0.3).config["dropout"] == 0.3
    with pytest.raises(ValueError, match=r"options=\{'grups': 3\} don't fit shufflenet_v2"):
        from_weights(small, grups=3)


OURS = {
    "v2": {"name": "shufflenet_v2", "scale": 1.0, "in_channels": 1},
    "v2 se": {"name": "shufflenet_v2", "scale": 0.5, "se": True, "classifier_bias": False},
    "v2*": {"name": "shufflenet_v2", "scale": 0.5, "extra_depthwise": True},
    "v1": {"name": "shufflenet_v1", "scale": 0.25, "groups": 8, "in_channels": 1},
    "v1 se": {"name": "shufflenet_v1", "scale": 0.5, "groups": 4, "se": True},
    "v2-50": {"name": "shufflenet_v2_50"},
}


@pytest.mark.parametrize("name", OURS)
def test_our_own_networks_are_recognised_by_their_shapes(name):
    config = OURS[name] | {"num_classes": 5, "seed": 0}
    model = models.build(config)
    found = from_weights(model.state_dict())
    assert_holds(found, model.state_dict())
    for key, value in config.items():
        assert key == "seed" or found.config[key] == value, key


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pth"])
@pytest.mark.parametrize("name", ["v2 se", "v1"])
def test_native_files_come_back_bit_for_bit(name, suffix, tmp_path):
    model = models.build(OURS[name] | {"num_classes": 5, "seed": 0})
    model.save(tmp_path / f"a.{suffix}")
    assert_holds(from_weights(tmp_path / f"a.{suffix}"), model.state_dict())


@pytest.mark.parametrize(
    "config",
    [
        {"name": "shufflenet_v2", "scale": 0.5, "residual": True, "stem": "small"},
        {"name": "shufflenet_v1", "scale": 0.25, "shuffle": False},
        {"name": "shufflenet_v2", "widths": [24, 32, 64, 128, 512], "pool_padding": [[0, 1]] * 2},
        {"name": "shufflenet_v2", "scale": 0.5, "classifier": False},
        {"name": "mobilenet_v1", "scale": 0.25},
    ],
)
def test_a_native_safetensors_file_says_what_shapes_can_not(config, tmp_path):
    config = {"num_classes": 5, "seed": 3} | config
    model = models.build(config)
    model.save(tmp_path / "a.safetensors")
    found = from_weights(tmp_path / "a.safetensors")
    assert found.config == model.config
    assert_holds(found, model.state_dict())
    with pytest.raises(ValueError, match="can't change a file that says how its network is built"):
        from_weights(tmp_path / "a.safetensors", dropout=0.1)


@pytest.mark.parametrize(
    ("config", "untold"),
    [
        ({"stem": "small"}, "stem='small'"),
        ({"num_classes": 10}, "stem='imagenet'"),  # which would be read as small
        ({"shuffle_order": "authors"}, "shuffle_order='authors'"),
        ({"residual": True}, "residual=True"),
        ({"pool_padding": 0}, "pool_padding=0"),
        ({"activation": "swish"}, "activation='swish'"),
        ({"classifier": False}, "classifier=False"),
        ({"name": "shufflenet_v1", "shuffle": False}, "shuffle=False"),
        ({"name": "mobilenet_v1"}, "name='mobilenet_v1'"),
    ],
)
def test_a_native_file_that_would_be_read_as_another_network_is_not_written(
    config, untold, tmp_path
):
    model = models.build({"name": "shufflenet_v2", "scale": 0.5, "num_classes": 5} | config)
    for suffix in ("npz", "pth"):
        with pytest.raises(ValueError, match=f"can't hold {untold} of this network, which its"):
            model.save(tmp_path / f"a.{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its description of the network is damaged"),
        ("[" * 100_000, "its description of the network is damaged"),
        ('{"name": "alexnet"}', "architecture.name holds 'alexnet'; one of 'shufflenet_v1'"),
        (
            '{"name": "shufflenet_v2", "num_classes": 1000000000000}',
            "it has num_classes=1000000000000, but fc.weight does not",
        ),
        (
            '{"name": "shufflenet_v2", "num_classes": 7, "widths": [1, 2]}',
            r"widths=\[1, 2\]; a list of 5 whole",
        ),
        ('{"name": "shufflenet_v2", "widths": [1e9]}', r"widths\[0\] holds 1000000000.0; a whole"),
        (
            '{"name": "shufflenet_v2", "num_classes": 7, "scale": 2}',
            "doesn't fit this ShuffleNetV2",
        ),
    ],
)
def test_a_wrong_description_is_refused(small, tmp_path, text, message):
    weights.save(tmp_path / "a.safetensors", small, {"architecture": text})
    with pytest.raises(ValueError, match=rf"a\.safetensors: .*{message}"):
        from_weights(tmp_path / "a.safetensors")


def views(arrays):
    """Arrays of the same shapes that take no memory."""
    return {name: np.broadcast_to(np.zeros((), a.dtype), a.shape) for name, a in arrays.items()}


@functools.cache
def layouts_of_all():
    """By name, the arrays of one network of each layout."""
    v2 = arrays_of(vision("x0_5")())
    v1 = published.authors_v1(0.5, 3)
    networks = {
        "torchvision": v2,
        "paddle": {
            published.renamed_v2(name, "paddle"): a.T if name == "fc.weight" else a
            for name, a in v2.items()
            if not name.endswith("num_batches_tracked")
        },
        "mmpretrain v1": {published.mmpretrain_v1_name(k): a for k, a in arrays_of(v1).items()},
        "authors v1": arrays_of(published.authors_v1(0.5, 8)),
        "authors v2": arrays_of(published.authors_v2(0.5)),
        "pytorchcv v1": arrays_of(cv("shufflenet_g3_wd4")()),
        "pytorchcv v2": arrays_of(cv("shufflenetv2_wd2")()),
        "pytorchcv v2 b": arrays_of(cv("shufflenetv2b_wd2")()),
        "mmpretrain v2": {published.renamed_v2(name, "mmpretrain"): a for name, a in v2.items()},
        "fastestdet": arrays_of(published.FastestDetBackbone()),
        "our v1": models.shufflenet_v1(scale=0.25, groups=3, num_classes=5).state_dict(),
    }
    return {name: views(arrays) for name, arrays in networks.items()}


@settings(max_examples=200)
@given(seed=seeds())
def test_any_changed_entry_is_refused_in_words(seed):
    rng = random.Random(seed)
    arrays = dict(rng.choice(list(layouts_of_all().values())))
    early = list(arrays)[:70]  # among them the entries from which the network is recognised
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(early if rng.random() < 0.7 else list(arrays))
        if rng.random() < 0.3:
            arrays.pop(name, None)
        else:
            shape = [rng.choice((0, 1, 2, 3, 12, 24)) for _ in range(rng.randrange(6))]
            dtype = rng.choice((np.float32, np.int64, np.complex64))
            arrays[name] = np.broadcast_to(np.zeros((), dtype), shape)
    message = ""
    try:
        from_weights(arrays)  # what isn't needed may be missing
    except ValueError as error:
        message = str(error)
    assert len(message) < 1500


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pth"])
@pytest.mark.parametrize(
    "build",
    [
        vision("x1_0"),
        lambda: published.authors_v2(1),
        lambda: published.authors_v1(1, 8),
        lambda: published.authors_v1(0.5, 3),
    ],
    ids=["torchvision", "authors v2", "authors v1 g=8", "authors v1 g=3"],
)
def test_back_to_the_layout_it_came_from_bit_for_bit(build, suffix, tmp_path):
    arrays = arrays_of(randomised(build()))
    layout = "torchvision" if "conv1.0.weight" in arrays else "authors"
    from_weights(arrays).save(tmp_path / f"a.{suffix}", layout=layout)
    written = weights.load(tmp_path / f"a.{suffix}")
    assert written.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(written[name], array, strict=True)


@pytest.mark.parametrize(
    ("config", "layout", "message"),
    [
        ({}, "keras", "layout='keras' is not one of 'native', 'torchvision', 'authors'"),
        ({"scale": 1.0}, "torchvision", "layout='paper', whose first unit has other shapes"),
        ({"se": True}, "torchvision", "it has se=True"),
        ({"activation": "leaky_relu"}, "torchvision", "it has activation='leaky_relu'"),
        ({"pool_padding": 0}, "authors", "it has pool_padding=0"),
        ({"classifier": False}, "authors", "it has no classifier"),
        ({"scale": 1.0}, "authors", "in stage2, the authors' shuffle brings other numbers"),
        (
            {"shuffle_order": "authors", "layout": "torchvision", "scale": 1.0},
            "authors",
            "it has layout='torchvision'",
        ),
        ({"name": "shufflenet_v1", "scale": 0.5}, "torchvision", "torchvision has no V1"),
        ({"groups": 4, "scale": 1.0, **V1}, "authors", "in stage3.0, the authors' shuffle"),
        ({"groups": 8, "scale": 1.0, **V1}, "authors", "in stage2.1, the authors' shuffle"),
        ({"name": "shufflenet_v1", "shuffle": False}, "authors", "it has shuffle=False"),
        ({"name": "mobilenet_v1", "scale": 0.5}, "torchvision", "it is mobilenet_v1"),
    ],
)
def test_what_a_layout_can_not_express(config, layout, message, tmp_path):
    model = models.build({"name": "shufflenet_v2", "scale": 0.5, "num_classes": 5} | config)
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "a.npz", layout=layout)
    assert not list(tmp_path.iterdir())


def relabelling_of(build, config, arrays):
    """The logits of a network of ours, and of others' code with the arrays that we wrote for it."""
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    model = random_weights(models.build({"num_classes": 7} | config))
    if "fc.bias" in model.parameters():
        model.parameters()["fc.bias"][...] *= config.get("shuffle_order") == "authors"
    found = arrays(model)
    network = build().double().eval()
    network.load_state_dict({name: torch.tensor(value) for name, value in found.items()})
    logits = network(torch.tensor(x)).detach().numpy()
    assert np.ptp(logits, axis=0).max() > 1e-3
    assert_close({"": model.forward(x)}, {"": logits})
    assert_close({"": from_weights(found).forward(x)}, {"": logits})


@pytest.mark.parametrize(
    ("build", "config", "layout"),
    [
        (lambda: published.authors_v2(0.5), {"name": "shufflenet_v2", "scale": 0.5}, "authors"),
        *(
            (
                lambda g=groups, s=scale: published.authors_v1(s, g),
                {"name": "shufflenet_v1", "scale": scale, "groups": groups},
                "authors",
            )
            for groups, scale in ((1, 0.5), (2, 1), (3, 0.5), (3, 1), (3, 2))
        ),
        (vision("x0_5"), {"scale": 0.5, "shuffle_order": "authors"}, "torchvision"),
        (
            vision("x1_5"),
            {
                **{"scale": 1.5, "shuffle_order": "authors"},
                **{"layout": "torchvision", "classifier_bias": False},
            },
            "torchvision",
        ),
    ],
)
def test_relabelled_channels_give_the_same_logits_in_others_code(build, config, layout, tmp_path):
    def arrays(model):
        model.save(tmp_path / "a.npz", layout=layout)
        return weights.load(tmp_path / "a.npz")

    relabelling_of(build, {"name": "shufflenet_v2"} | config, arrays)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "shufflenet_v1", "groups": 2, "widths": [10, 34, 68, 136]},
        {"name": "shufflenet_v2", "widths": [5, 10, 22, 46, 32], "layout": "torchvision"},
    ],
)
def test_relabelled_there_and_back_is_bit_for_bit(config):
    """Also where halves and groups have an odd number of channels."""
    model = random_weights(models.build({**config, "num_classes": 3}))
    state = model.state_dict()
    there = relabelled(state, "authors")
    assert any(not np.array_equal(there[name], array) for name, array in state.items())
    back = relabelled(there, "paper")
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, strict=True)
    other = models.build({**config, "num_classes": 3, "shuffle_order": "authors"})
    other = other.astype(np.float64)
    other.load_state_dict(there)
    x = np.random.default_rng(1).normal(size=(2, 3, 64, 57))
    assert_close({"": other.forward(x)}, {"": model.forward(x)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("stage3.2.branch2.1.bias"), r"stage3\.2\.branch2\.1\.bias is missing"),
        (lambda a: a.pop("conv1.0.weight"), r"conv1\.0\.weight is missing"),
        (lambda a: a.update(extra=np.zeros(3)), "torchvision's V2 has no extra"),
        (
            lambda a: a.update({"stage2.1.branch2.0.weight": np.zeros((24, 23, 1, 1), np.float32)}),
            r"stage2\.1\.branch2\.0\.weight has shape \(24, 23, 1, 1\), but \(24, 24, 1, 1\) is",
        ),
        (lambda a: a.update({"conv1.0.weight": np.zeros(3)}), r"conv1\.0\.weight has shape \(3,\)"),
        (
            lambda a: a.update({"fc.bias": np.zeros(7, np.int64)}),
            "fc.bias has dtype int64; floating-point weights are needed",
        ),
    ],
)
def test_a_wrong_entry_is_named(small, change, message, tmp_path):
    arrays = dict(small)
    change(arrays)
    weights.save(tmp_path / "a.npz", arrays)
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        from_weights(tmp_path / "a.npz")


OTHERS = {
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3",
    "mobilenet_v3_large": "MobileNetV3",
    "efficientnet_b0": "EfficientNet",
    "efficientnet_v2_s": "EfficientNet",
    "mnasnet0_5": "MNASNet",
    "densenet121": "DenseNet",
    "squeezenet1_1": "SqueezeNet",
    "swin_t": "Swin Transformer",
    "convnext_tiny": "ConvNeXt",
    "regnet_y_400mf": "RegNet",
    "googlenet": "GoogLeNet",
    "inception_v3": "Inception V3",
    "vit_b_16": "Vision Transformer",
    "maxvit_t": "MaxViT",
    "resnet18": "ResNet",
    "wide_resnet50_2": "ResNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG",
    "vgg16_bn": "VGG",
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_another_network_is_named(name):
    # RegNet draws its weights in a way that a device without memory refuses.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        network = getattr(torchvision.models, name)(weights=None)
    arrays = {
        f"module.{key}": np.broadcast_to(np.float32(0), tuple(value.shape))
        for key, value in network.state_dict().items()
    }
    with pytest.raises(ValueError, match=f"this looks like {OTHERS[name]}: it has module."):
        from_weights(arrays)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (cv("mobilenet_w1"), "MobileNetV1"),
        (lambda: models.mobilenet_v1(scale=0.25), "MobileNetV1"),
        (lambda: models.resnet_50(), "ResNet"),
    ],
)
def test_networks_of_this_library_and_of_others_are_named(build, name):
    arrays = {key: np.asarray(value) for key, value in build().state_dict().items()}
    with pytest.raises(ValueError, match=f"this looks like {name}: it has "):
        from_weights(arrays)


@pytest.mark.parametrize(
    ("name", "shape", "network"),
    [
        ("model.1.0.weight", (32, 1, 3, 3), "MobileNetV1"),
        ("blocks.0.0.ghost1.primary_conv.0.weight", (8, 16, 1, 1), "GhostNet"),
        ("layers.0.0.conv.0.primary_conv.0.weight", (8, 16, 1, 1), ""),
        ("blocks.0.0.conv_dw.weight", (32, 1, 3, 3), "EfficientNet or MobileNet, by timm"),
        ("_blocks.0._depthwise_conv.weight", (32, 1, 3, 3), "EfficientNet"),
        ("blocks.0.attn.qkv.weight", (576, 192), "Vision Transformer"),
        ("features.0.weight", (8, 3, 5, 5), ""),
    ],
)
def test_other_networks_are_known_by_one_name_and_its_shape(name, shape, network):
    arrays = {"x": np.zeros(1), name: np.zeros(shape)}
    expected = f"this looks like {network}: it has {name}" if network else "no ShuffleNet whose"
    with pytest.raises(ValueError, match=re.escape(expected)):
        from_weights(arrays)


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        ((4, 8, 5), "its stages have 4, 8 and 5 units; 4, 8 and 4 are needed"),
        ((3, 7, 3), "its stages have 3, 7 and 3 units; 4, 8 and 4 are needed"),
        ((4, 20, 4), "its stages have 4, 20 and 4 units; 4, 8 and 4 are needed"),
    ],
)
def test_a_network_of_another_depth_is_named(repeats, message):
    network = torchvision.models.ShuffleNetV2(list(repeats), [24, 48, 96, 192, 64], num_classes=3)
    with pytest.raises(ValueError, match=message):
        from_weights(arrays_of(network))


def test_errors_have_the_names_of_the_file():
    arrays = arrays_of(published.authors_v2(0.5))
    arrays["features.5.branch_main.0.weight"] = np.zeros((47, 48, 1, 1), np.float32)
    del arrays["features.13.branch_main.4.running_var"]
    with pytest.raises(ValueError, match=r"features\.13\.branch_main\.4\.running_var is mis") as e:
        from_weights(arrays)
    assert "features.5.branch_main.0.weight has shape (47, 48, 1, 1)" in str(e.value)


def test_the_table_of_layouts_is_that_of_the_code():
    """Each layout has a line, and a network in these tests, with what sets it apart."""
    assert "".join(f"    {line}\n" for line in known.layout_table()) in layouts.__doc__
    names = {}
    for arrays in layouts_of_all().values():
        layout, own = layouts.recognise(arrays)
        names[layout.title] = set(layouts.to_ours(layout, own))
    assert names.keys() == {layout.title for layout in layouts.LAYOUTS}
    facts = {
        "shuffles": lambda layout: layout.change is known.shuffled_late,
        "other order": lambda layout: layout.change.__name__ == "_reversed",
        "transposed": lambda layout: layout.change.__name__ == "_transposed",
        "max pool": lambda layout: "pool_padding" in layout.options,
        "no counters": lambda layout: "num_batches_tracked" not in layout.leaves,
        "no conv5, no fc": lambda layout: "fc.weight" not in names[layout.title],
    }
    for layout, line in zip(layouts.LAYOUTS, known.layout_table(), strict=False):
        assert line.startswith(layout.title)
        for words, holds in facts.items():
            assert (words in layout.differs) == holds(layout), (layout.title, words)


def test_weights_of_no_known_network():
    with pytest.raises(
        ValueError, match=r"no ShuffleNet whose layout is known: it has a, b, \.\.\."
    ):
        from_weights({"a": np.zeros(3), "b": np.zeros(2)})


def test_the_plan_runs_networks_of_the_authors_order(small):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    for build in (lambda: published.authors_v2(0.5), lambda: published.authors_v1(0.5, 8)):
        model = from_weights(arrays_of(randomised(build()))).astype(np.float32)
        x = rng.normal(size=(2, 3, 64, 64)).astype(np.float32)
        expected = model.forward(x)
        np.testing.assert_allclose(model.plan()(x), expected, atol=1e-4 * np.abs(expected).max())
