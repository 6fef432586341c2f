"""Networks with leaky ReLU and swish, through everything that takes a network."""

import json

import numpy as np
import pytest
from networks import randomised

from numpy_shufflenet import backend, models, nn
from numpy_shufflenet.gradcheck import check_layer
from numpy_shufflenet.training._schema import architecture

ACTIVATIONS = pytest.mark.parametrize("activation", ["leaky_relu", "swish"])
X = np.random.default_rng(0).normal(size=(2, 3, 24, 19))


def build(activation):
    return models.shufflenet_v2(
        scale=0.5, activation=activation, stem="small", num_classes=3, seed=0
    )


@ACTIVATIONS
def test_both_backends_the_folded_network_and_inference_agree(activation):
    model = randomised(build(activation))
    logits = {}
    for name in backend.BACKENDS:
        if name == "numba":
            pytest.importorskip("numba")
        with backend.use(name):
            logits[f"{name} forward"] = model.forward(X)
            logits[f"{name} infer"] = model.infer(X)
            logits[f"{name} folded"] = model.fold().infer(X)
    expected = logits["numpy forward"]
    assert np.ptp(expected, axis=0).min() > 1e-3
    for name, array in logits.items():
        np.testing.assert_allclose(array, expected, rtol=1e-9, err_msg=name)


@ACTIVATIONS
def test_the_activation_is_everywhere(activation):
    model = build(activation)
    kinds = [type(layer) for _, layer in model.named_layers()]
    usual = [type(layer) for _, layer in build("relu").named_layers()]
    assert nn.ReLU not in kinds
    kind = {"leaky_relu": nn.LeakyReLU, "swish": nn.Swish}[activation]
    assert [nn.ReLU if each is kind else each for each in kinds] == usual
    assert kind.__name__ in str(models.summary(model, (3, 32, 32)))


@ACTIVATIONS
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_units_are_found_right(activation, stride):
    unit = randomised(nn.ShuffleNetV2Unit(6, 6 * stride, stride=stride, activation=activation))
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 4))
    check_layer(unit, x, training=True).raise_if_failed()


@ACTIVATIONS
def test_files_and_checkpoints_say_it(activation, tmp_path):
    model = build(activation)
    architecture(json.loads(json.dumps(model.config)), "architecture")
    model.save(tmp_path / "a.safetensors")
    assert models.from_weights(tmp_path / "a.safetensors").config == model.config


@ACTIVATIONS
def test_a_plan_names_what_it_can_not_run(activation):
    pytest.importorskip("numba")
    with pytest.raises(ValueError, match=f"a plan can't run {activation}"):
        build(activation).plan()(X.astype(np.float32))


@pytest.mark.parametrize("activation", ["gelu", "", None, ["relu"], nn.ReLU])
def test_another_activation_is_refused(activation):
    with pytest.raises(ValueError, match=r"activation=.* is not one of 'relu', 'leaky_relu', 's"):
        build(activation)
    with pytest.raises(ValueError, match=r"activation"):
        architecture({"name": "shufflenet_v2", "activation": activation}, "architecture")
