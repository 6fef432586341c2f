"""Networks beside their ports to PyTorch and ONNX, right ones and wrong ones."""

import copy
import types
import warnings

import numpy as np
import published_networks as published
import pytest
from hypothesis import given
from peers import need
from strategies import seeds

from numpy_shufflenet import models
from numpy_shufflenet.compare import compare_networks
from numpy_shufflenet.compare.pair import in_our_order
from numpy_shufflenet.torch_peer import to_torch

torch = need("torch")
torchvision = published.torchvision()
need("onnx")
need("onnxruntime")
X = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
KEEP_BN = {"training": torch.onnx.TrainingMode.PRESERVE}


def randomised(network, seed=0):
    """With random weights and statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.float().state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
            elif name.endswith("weight"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point():
                value.normal_(0, 0.3, generator=generator)
    return network.eval()


def new(seed=0, classes=7):
    torch.manual_seed(seed)
    return torchvision.models.shufflenet_v2_x0_5(num_classes=classes).eval()


def ours_of(network, **options):
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    return models.from_weights(arrays, **options)


@pytest.fixture(scope="module")
def trained():
    return randomised(new())


@pytest.fixture(scope="module")
def ours(trained):
    return ours_of(trained)


def inverse_shuffle(unit, x):
    y = torch.cat([unit.branch1(x), unit.branch2(x)], 1)
    n, c, h, w = y.shape
    return y.view(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def with_wrong_shuffle(network):
    wrong = copy.deepcopy(network)
    unit = wrong.stage3[0]
    unit.forward = types.MethodType(inverse_shuffle, unit)
    return wrong


def exported(network, path, *, dynamic=True, **options):
    axes = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}} if dynamic else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.tensor(X),), path, dynamo=False, **axes, **options)
    return path


def logits_of(network, x=X):
    with torch.inference_mode():
        return network(torch.tensor(x)).numpy()


def test_torchvision_s_own_network_is_equal(trained, ours):
    before = copy.deepcopy(trained.state_dict())
    found = compare_networks(ours, trained, X)
    assert found.verdict == "equal", str(found)
    kinds = [layer.kind for layer in found.layers]
    assert [kinds.count(kind) for kind in ("conv", "norm", "unit", "pool")] == [56, 56, 16, 1]
    logits = found.layers[-1]
    expected = np.abs(logits_of(trained) - ours.infer(X)).max()
    assert logits.difference <= 4 * expected + logits.limit / 16
    assert logits.apart == pytest.approx(np.abs(logits_of(trained) - logits_of(trained)[0]).max())
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("way", ["torch", "onnx", "new"])
def test_a_wrong_shuffle_is_named(trained, ours, tmp_path, way):
    if way == "new":
        trained = new()
        ours = ours_of(trained)
    wrong = with_wrong_shuffle(trained)
    theirs = exported(wrong, tmp_path / "a.onnx") if way == "onnx" else wrong
    found = compare_networks(ours, theirs, X)
    assert found.verdict == "different"
    assert found.first.layer == ("stage3.0.shuffle" if way == "onnx" else "stage3.0")
    assert "in another order: look at the shuffle" in found.cause
    assert ("can't tell a right network from a wrong one" in str(found)) == (way == "new")
    in_any_order = compare_networks(ours, theirs, X, any_order=True)
    assert in_any_order.first.layer.startswith("stage3.1.branch2.")
    assert "channels in another order" in str(in_any_order)


@pytest.mark.parametrize("way", ["torch", "onnx"])
def test_a_new_network_tells_nothing_until_its_statistics_are_filled(tmp_path, way):
    right = new()
    wrong = with_wrong_shuffle(right)
    # The trap: a wrong network passes, and so does a black image.
    assert np.allclose(logits_of(wrong), logits_of(right), rtol=1e-3, atol=1e-4)
    assert np.allclose(logits_of(right, 0 * X), logits_of(right), rtol=1e-3, atol=1e-4)
    theirs = exported(right, tmp_path / "a.onnx", **KEEP_BN) if way == "onnx" else right
    found = compare_networks(ours_of(right), theirs, X)
    assert found.verdict == "can't tell"
    assert "statistics are those of a new network" in str(found)
    assert [layer.kind for layer in found.layers].count("norm") == 56
    filled = compare_networks(ours_of(right), theirs, X, fill_statistics=True)
    assert filled.verdict == "equal", str(filled)
    assert filled.layers[-1].apart > 1000 * found.layers[-1].apart
    if way == "torch":
        found = compare_networks(ours_of(right), wrong, X, fill_statistics=True)
        assert found.first.layer == "stage3.0"


def test_equal_images_tell_nothing(trained, ours):
    assert compare_networks(ours, trained, X[[0, 0]]).verdict == "can't tell"


def change_eps(network):
    network.stage2[1].branch2[4].eps = 1e-3


def change_weights(network):
    network.stage3[2].branch2[5].weight.data[0] *= 1.01


def change_padding(network):
    network.stage2[0].branch1[0].padding_mode = "circular"
    network.stage2[0].branch1[0]._reversed_padding_repeated_twice = (1, 1, 1, 1)


def change_pool(network):
    network.maxpool = torch.nn.MaxPool2d(3, 2, 0, ceil_mode=True)


def change_stride(network):
    network.conv5[0].stride = (2, 2)


def change_activation(network):
    network.stage2[3].branch2[7] = torch.nn.LeakyReLU()


def change_classifier(network):
    network.fc.bias.data += 0.1


def change_to_infinity(network):
    network.stage4[0].branch2[6].weight.data[3] = torch.inf


@pytest.mark.parametrize(
    ("change", "layer", "cause"),
    [
        (change_eps, "stage2.1.branch2.4", "its eps"),
        (change_weights, "stage3.2.branch2.5", "its weights differ from ours"),
        (change_padding, "stage2.0.branch1.0", "look at its padding"),
        (change_pool, "maxpool", "padding of the pool"),
        (change_stride, "conv5.0", "look at stride and padding"),
        (change_activation, "stage2.3", "and at the activation"),
        (change_classifier, "logits", "the classifier; conv5.1 agrees"),
        (change_to_infinity, "stage4.0.branch2.6", "NaN or infinity"),
    ],
)
def test_the_first_layer_that_differs_is_named_with_a_cause(trained, ours, change, layer, cause):
    wrong = copy.deepcopy(trained)
    change(wrong)
    found = compare_networks(ours, wrong, X)
    assert found.first.layer == layer
    assert cause in found.cause


def test_onnx_with_folded_batch_normalisation(trained, ours, tmp_path):
    theirs = exported(trained, tmp_path / "folded.onnx", dynamic=False)
    found = compare_networks(ours, theirs, X)
    assert found.verdict == "equal", str(found)
    kinds = [layer.kind for layer in found.layers]
    assert [kinds.count(kind) for kind in ("conv", "norm", "concat", "shuffle")] == [56, 0, 16, 16]
    assert compare_networks(ours.fold(), trained, X).verdict == "equal"
    assert "takes BGR" in compare_networks(ours, theirs, X, their_images=X[:, ::-1]).cause
    with pytest.raises(ValueError, match="folded statistics can't be filled"):
        compare_networks(ours, theirs, X, fill_statistics=True)
    with pytest.raises(ValueError, match=r"images have shape \(2, 3, 64, 64\)"):
        compare_networks(ours, theirs, X[:2])  # the file is for 3


def test_a_network_of_nan_is_not_equal_to_itself(trained):
    ours = ours_of(trained)
    ours.parameters()["stage3.0.branch2.5.weight"][0] = np.nan
    wrong = copy.deepcopy(trained)
    wrong.stage3[0].branch2[5].weight.data[0] = torch.nan
    found = compare_networks(ours, wrong, X)
    assert found.first.layer == "stage3.0.branch2.5"
    assert "our output holds NaN" in str(found)


def test_bgr_is_named_wherever_it_comes_from(trained, ours):
    swapped = copy.deepcopy(trained)
    swapped.conv1[0].weight.data = swapped.conv1[0].weight.data.flip(1)
    for theirs, options in ((swapped, {}), (trained, {"their_images": X[:, ::-1]})):
        found = compare_networks(ours, theirs, X, **options)
        assert found.first is found.layers[0]
        assert "takes BGR" in found.cause
    assert compare_networks(ours, swapped, X, their_images=X[:, ::-1]).verdict == "equal"


@pytest.mark.parametrize("name", ["authors_v1", "authors_v2", "pytorchcv", "unknown names"])
def test_channels_are_compared_in_our_order(tmp_path, name):
    if name == "pytorchcv":
        theirs = need("pytorchcv.model_provider").get_model("shufflenet_g3_wd4", num_classes=7)
        theirs.features.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    elif name == "unknown names":
        theirs = None
        ours = ours_of(randomised(new()))
    else:
        theirs = getattr(published, name)(0.5, *([3] if name == "authors_v1" else []))
    if theirs is None:
        theirs = to_torch(ours).eval()
    else:
        ours = ours_of(randomised(theirs))
    found = compare_networks(ours, theirs, X)
    assert found.verdict == "equal", str(found)
    assert not found.notes
    assert [layer.kind for layer in found.layers].count("unit") == 16
    if name == "authors_v1":
        assert compare_networks(ours, theirs, X, fill_statistics=True).verdict == "equal"
        path = exported(theirs, tmp_path / "a.onnx")
        assert compare_networks(ours, path, X).first.layer == "stage2.0.branch.5"
        found = compare_networks(ours, path, X, any_order=True)
        assert found.verdict == "equal", str(found)
        assert "16 layers have their channels in another order" in str(found)


@given(seeds())
def test_an_order_of_channels_is_found_also_where_some_are_equal(seed):
    rng = np.random.default_rng(seed)
    ours = rng.normal(size=(2, rng.integers(1, 40), 3, 3)).astype(np.float32)
    ours[:, rng.random(ours.shape[1]) < 0.3] = 0
    theirs = ours[:, rng.permutation(ours.shape[1])] + np.float32(1e-6)
    assert np.abs(in_our_order(ours, theirs) - ours).max() < 1e-5


class Pair(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x), x


def test_what_can_not_be_compared(trained, ours, tmp_path):
    deeper = copy.deepcopy(trained)
    deeper.stage2.append(copy.deepcopy(deeper.stage2[1]))
    (tmp_path / "damaged.onnx").write_bytes(b"\x08\x07 this is no graph")
    wider = torchvision.models.shufflenet_v2_x1_0(num_classes=7)
    peer = to_torch(ours)
    for theirs, message in (
        (wider, r"our convolution is stage2.0.branch1.2 of shape \(24, 24, 1, 1\), theirs is"),
        (deeper, "ours has none for their stage2.4.branch2"),
        (to_torch(ours_of(wider.eval())), r"theirs has none for our stage2.0.branch1.2"),
        (torch.nn.Sequential(*peer, torch.nn.Linear(7, 5)), "theirs has"),
        (Pair(trained), "theirs returns tuple"),
        (torch.nn.Conv2d(5, 7, 3), "theirs can't run images of shape"),
        (new(classes=5), r"our output has shape \(3, 7\), theirs has \(3, 5\)"),
        (tmp_path / "damaged.onnx", "damaged.onnx is damaged, or not an ONNX file"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_networks(ours, theirs, X)
    with pytest.raises(ValueError, match="n >= 2 is needed"):
        compare_networks(ours, trained, X[:1])
    with pytest.raises(ValueError, match="their_images has 2 images, images has 3"):
        compare_networks(ours, trained, X, their_images=X[:2])
    with pytest.raises(FileNotFoundError):
        compare_networks(ours, tmp_path / "none.onnx", X)
