import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from numpy_shufflenet import training
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import (
    SGD,
    Trainer,
    linear_schedule,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)


@pytest.fixture
def trained(small_network, small_set):
    """A training of one epoch."""
    model = small_network(dropout=0.2)
    optimiser = SGD(model, learning_rate=0.1, momentum=0.9, nesterov=True)
    trainer = Trainer(
        model,
        optimiser,
        small_set(20),
        small_set(8, seed=1),
        epochs=2,
        batch_size=8,
        schedule=linear_schedule(0.1, 6, 1),
        augmentation={"flip": True, "crop_padding": 1},
    )
    trainer.epochs = 1
    trainer.run()
    trainer.epochs = 2
    return trainer


def flattened(checkpoint):
    """Everything in a checkpoint, with arrays as bytes, so that == compares all of it."""
    arrays = {**checkpoint.model, **checkpoint.optimiser["velocity"]}
    plain = replace(checkpoint, model={}, optimiser={**checkpoint.optimiser, "velocity": {}})
    described = {name: (a.dtype, a.shape, a.tobytes()) for name, a in checkpoint.model.items()}
    return plain, described, {name: array.tobytes() for name, array in arrays.items()}


def test_it_comes_back_as_it_was(trained, tmp_path):
    state, path = trained.state(), tmp_path / "state.safetensors"
    save_checkpoint(path, state)
    assert flattened(load_checkpoint(path)) == flattened(state)
    assert state.optimiser["velocity"]
    assert state.rng["trainer"]["state"]["state"] > 2**64  # more than JSON's usual numbers
    assert set(state.rng) == {"trainer", "model.6"}
    assert (state.epoch, state.step, len(state.history["loss"])) == (1, 3, 3)


@pytest.mark.parametrize("bit_generator", ["MT19937", "Philox", "SFC64"])
def test_any_generator_of_a_dropout_comes_back(trained, tmp_path, bit_generator):
    rng = np.random.Generator(getattr(np.random, bit_generator)(0))
    rng.random(5)
    trained.model[6].rng = rng
    save_checkpoint(tmp_path / "state.safetensors", trained.state())
    state = load_checkpoint(tmp_path / "state.safetensors").rng["model.6"]
    other = np.random.Generator(getattr(np.random, bit_generator)(1))
    other.bit_generator.state = state
    assert other.random() == rng.random()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_is_built_again(small_set, tmp_path, dtype):
    settings = {"scale": 0.5, "in_channels": 1, "num_classes": 4, "stem": "small"}
    model = shufflenet_v2(**settings, se=True, seed=0).astype(dtype)
    for p in model.parameters().values():
        p += 0.01
    path = tmp_path / "state.safetensors"
    optimiser = SGD(model, learning_rate=0.1)
    trainer = Trainer(model, optimiser, small_set(4), epochs=1, batch_size=4, checkpoint=path)
    save_checkpoint(path, trainer.state())
    checkpoint = load_checkpoint(path)
    again = checkpoint.build_model()
    assert again.config == model.config
    x = checkpoint.standardise(small_set(4).images, dtype)
    np.testing.assert_array_equal(again.forward(x), model.forward(x))
    assert again.forward(x).dtype == dtype
    resumed = Trainer.resume(path, small_set(4))
    assert resumed.model.config == model.config


def test_a_model_without_config_says_so(trained):
    with pytest.raises(ValueError, match="architecture=None"):
        trained.state().build_model()


def fail(*_):
    raise OSError("no space left on device")


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("exception", [OSError("disk"), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_the_old_file(
    trained, tmp_path, monkeypatch, function, exception
):
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, trained.state())
    before = path.read_bytes()
    for p in trained.model.parameters().values():
        p += 1

    def fail(*_):
        raise exception

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(type(exception)):
            save_checkpoint(path, trained.state())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state.safetensors"]
    save_checkpoint(path, trained.state())
    assert path.read_bytes() != before


def test_a_first_write_that_fails_leaves_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", fail)
    for write in (
        lambda path: save_checkpoint(path, trained.state()),
        lambda path: save_weights(trained.model, path),
    ):
        with pytest.raises(OSError, match="no space"):
            write(tmp_path / "new.safetensors")
    assert os.listdir(tmp_path) == []


def test_what_is_not_json_is_refused_before_anything_is_written(trained, tmp_path):
    for history in ({"loss": [float("nan")]}, {"loss": object()}):
        with pytest.raises(ValueError, match=r"JSON"):
            save_checkpoint(
                tmp_path / "state.safetensors", replace(trained.state(), history=history)
            )
    assert os.listdir(tmp_path) == []


def test_weights_are_a_plain_safetensors_file(trained, small_network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(trained.model, path)
    arrays = safetensors.numpy.load_file(path)
    state = trained.model.state_dict()
    assert set(arrays) == set(state)
    for name, array in state.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("kind", ["weights", "checkpoint"])
def test_weights_are_read_from_either_kind_of_file(trained, small_network, tmp_path, kind):
    path = tmp_path / "file.safetensors"
    if kind == "weights":
        save_weights(trained.model, path)
    else:
        save_checkpoint(path, trained.state())
    other = small_network(seed=5, dropout=0.2)
    load_weights(other, path)
    for name, array in trained.model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


@pytest.fixture(params=["checkpoint", "weights"])
def read(request, small_network):
    """Both ways to read a file."""
    if request.param == "checkpoint":
        return load_checkpoint
    return lambda path: load_weights(small_network(), path)


def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.safetensors does not exist"):
        read(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError, match=r"is not a file"):
        read(tmp_path)


@pytest.mark.parametrize("left", [0, 5, 100, -1], ids=lambda left: f"[:{left}]")
def test_a_truncated_file_is_named(read, trained, tmp_path, left):
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, trained.state())
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"state.safetensors is truncated, or not a safetensors"):
        read(path)


def test_a_foreign_file_is_named(read, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 10)
    with pytest.raises(ValueError, match=r"picture.png is truncated, or not a safetensors"):
        read(path)


def test_other_arrays_are_named(read, small_network, tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"other.safetensors.* (is not a checkpoint|missing)"):
        read(path)


def test_weights_that_do_not_fit_leave_the_model_as_it_was(small_network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(small_network(batch_norm=False), path)
    model = small_network()
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"weights.safetensors: .*is missing"):
        load_weights(model, path)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("damage", ["{", "[]", '{"epoch": 1}', json.dumps({"optimiser": 3})])
def test_a_damaged_description_is_named(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    metadata = {"format": training.checkpoint.FORMAT, "checkpoint": damage}
    safetensors.numpy.save_file({"model.a": np.zeros(3)}, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"state.safetensors is a damaged checkpoint"):
        load_checkpoint(path)


def test_a_missing_folder_is_named(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        save_weights(trained.model, tmp_path / "nowhere" / "weights.safetensors")


def test_without_safetensors_the_error_says_what_to_install(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "numpy_shufflenet\[demo\]"'):
        save_weights(trained.model, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_an_error_of_the_disk_says_which_file_and_what_is_left(
    trained, tmp_path, monkeypatch, number
):
    path = tmp_path / "state.safetensors"

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    for left in ("nothing was written", "its last version is there, whole"):
        message = rf"cannot write .*state\.safetensors \([\d,]+ bytes\): .*; {left}"
        with pytest.raises(OSError, match=message) as e:
            save_checkpoint(path, trained.state())
        assert e.value.errno == number
        assert os.strerror(number) in str(e.value)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            save_checkpoint(path, trained.state())
