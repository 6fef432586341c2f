"""The command `convert`, where it writes a graph."""

import json

import numpy as np
import pytest
from networks import randomised
from peers import need

from numpy_shufflenet import data, models, training
from numpy_shufflenet.cli import main

onnx = need("onnx")
onnxruntime = need("onnxruntime")
RNG = np.random.default_rng(0)


@pytest.fixture
def model():
    model = models.shufflenet_v2(scale=0.5, num_classes=3, layout="torchvision", seed=0)
    return randomised(model).astype(np.float32)


def test_weights_become_a_graph(model, tmp_path, capsys):
    source, target = tmp_path / "a.pth", tmp_path / "a.onnx"
    model.save(source, "torchvision")
    assert main(["convert", str(source), str(target), "--size", "32", "--batch", "2"]) == 0
    assert f"{target}: shufflenet_v2(scale=0.5, " in capsys.readouterr().out
    x = RNG.normal(size=(2, 3, 32, 32)).astype(np.float32)
    found = onnxruntime.InferenceSession(target).run(None, {"images": x})[0]
    wanted = model.infer(x)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_checkpoint_brings_its_preprocessing(tmp_path):
    images = RNG.integers(0, 256, (9, 3, 28, 28), dtype=np.uint8)
    examples = data.Dataset(images, np.arange(9) % 3, ("ant", "bee", "cat"))
    model = models.shufflenet_v2(scale=0.5, num_classes=3, stem="small", seed=0)
    trainer = training.Trainer(
        model, training.SGD(model, learning_rate=0.1), examples, examples, epochs=1, batch_size=3
    )
    state, target = trainer.state(), tmp_path / "a.onnx"
    training.save_checkpoint(tmp_path / "a.safetensors", state)
    assert main(["convert", str(tmp_path / "a.safetensors"), str(target)]) == 0
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(target).metadata_props}
    del metadata["architecture"]
    assert metadata == {
        "classes": ["ant", "bee", "cat"],
        "mean": list(state.standardise.mean),
        "std": list(state.standardise.std),
        "channel_order": "RGB",
        "size": [28, 28],
    }


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("a.onnx", ["--layout", "native"], "--layout native is for weights, and OUT is a graph"),
        ("a.npz", ["--batch", "1"], "--batch and --size are for .onnx, and OUT is"),
        ("a.pth", ["--size", "64"], "--batch and --size are for .onnx, and OUT is"),
    ],
)
def test_options_that_do_not_fit(model, tmp_path, capsys, target, options, message):
    model.save(tmp_path / "in.safetensors")
    assert main(["convert", str(tmp_path / "in.safetensors"), str(tmp_path / target), *options])
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]
