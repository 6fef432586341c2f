"""Training with frozen layers: what stays, what a checkpoint remembers, and resuming."""

import json

import numpy as np
import pytest
import safetensors

from numpy_shufflenet.data import Dataset
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import SGD, Observer, Trainer, cosine_schedule, load_checkpoint
from numpy_shufflenet.weights.safetensors import write_safetensors

FROZEN = ("conv1", "stage2", "stage3.1")


def images(n=12):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 1, 16, 16), np.uint8)
    return Dataset(pixels, np.arange(n) % 2, ("dark", "bright"))


def network():
    return shufflenet_v2(scale=0.5, in_channels=1, num_classes=2, stem="small", dropout=0.2, seed=0)


def make_trainer(model, *, epochs=2, **settings):
    optimiser = SGD(model, learning_rate=0.02, momentum=0.9, nesterov=True, weight_decay=0.1)
    schedule = cosine_schedule(0.02, 3 * epochs, 1)
    return Trainer(
        model, optimiser, images(), epochs=epochs, batch_size=4, schedule=schedule, **settings
    )


def assert_equal_states(left, right):
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


def test_frozen_parts_stay_bit_for_bit_and_all_others_move(tmp_path):
    model = network()
    model.freeze(*FROZEN)
    before = model.state_dict()
    trainer = make_trainer(model, checkpoint=tmp_path / "a.safetensors", accumulation=2)
    trainer.run()
    for name, array in model.state_dict().items():
        frozen = any(name.startswith(f"{outer}.") for outer in FROZEN)
        # Batch normalisation takes some biases away again, so their gradient is 0.
        if frozen or not name.endswith("bias"):
            assert (array == before[name]).all() == frozen, name
    assert load_checkpoint(tmp_path / "a.safetensors").frozen == FROZEN
    assert trainer.history.loss[-1] > 0


def test_a_resumed_training_ends_with_the_very_same_weights(tmp_path):
    class Stop(Observer):
        def epoch(self, trainer, record):
            raise KeyboardInterrupt

    straight, path = network(), tmp_path / "a.safetensors"
    straight.freeze(*FROZEN)
    make_trainer(straight).run()
    stopped = network()
    stopped.freeze(*FROZEN)
    with pytest.raises(KeyboardInterrupt):
        make_trainer(stopped, checkpoint=path).run([Stop()])
    given = network()
    given.freeze("stage4")  # which the checkpoint overrides
    for model in (None, given):
        path.with_name("b.safetensors").write_bytes(path.read_bytes())
        resumed = Trainer.resume(path.with_name("b.safetensors"), images(), model=model)
        assert resumed.model.frozen_layers() == list(FROZEN)
        resumed.run()
        assert_equal_states(resumed.model.state_dict(), straight.state_dict())


def test_a_network_may_be_thawed_during_a_training():
    """The optimiser looks at each step which parameters are frozen."""
    model = network()
    model.freeze("conv1", "stage2")
    before = model.state_dict()

    class Thaw(Observer):
        def epoch(self, trainer, record):
            if record.epoch == 1:
                np.testing.assert_array_equal(
                    model.state_dict()["conv1.0.weight"], before["conv1.0.weight"]
                )
                model.frozen = False

    make_trainer(model).run([Thaw()])
    for name, array in model.parameters().items():
        if array.ndim == 4:
            assert (array != before[name]).any(), name


def test_a_checkpoint_of_an_older_version_has_nothing_frozen(tmp_path):
    path = tmp_path / "a.safetensors"
    make_trainer(network(), epochs=1, checkpoint=path).run()
    for change, expected in (
        (lambda rest: rest.pop("frozen"), ()),
        (lambda rest: rest.update(frozen=["stage9"]), ("stage9",)),
    ):
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        rest = json.loads(metadata["checkpoint"])
        change(rest)
        metadata["checkpoint"] = json.dumps(rest)
        write_safetensors(tmp_path / "b.safetensors", arrays, metadata)
        assert load_checkpoint(tmp_path / "b.safetensors").frozen == expected
        if not expected:
            assert Trainer.resume(tmp_path / "b.safetensors", images()).epoch == 1
    with pytest.raises(ValueError, match=r"b\.safetensors: there is no layer 'stage9' to freeze"):
        Trainer.resume(tmp_path / "b.safetensors", images())


def test_a_frozen_network_has_nothing_to_train():
    model = network()
    model.frozen = True
    with pytest.raises(ValueError, match="every parameter of the model is frozen"):
        make_trainer(model)
