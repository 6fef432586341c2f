"""The average of weights: its arithmetic, its running statistics, and a training that resumes."""

import json
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from small_trainings import CLASSES, images, trainer

from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.nn.statistics import fill_statistics
from numpy_shufflenet.training import (
    Observer,
    Schedule,
    Trainer,
    WeightAverage,
    evaluate,
    load_checkpoint,
    load_trained,
)


class Keep(Observer):
    """Keeps a copy of the weights after each step."""

    def __init__(self):
        self.weights = []

    def step(self, trainer, report):
        self.weights.append(trainer.model.state_dict())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_the_average_is_that_of_a_loop(dtype, tolerance):
    training = trainer("V2", steps=30, average=0.8, dtype=dtype)
    begin, keep = training.model.state_dict(), Keep()
    training.run([keep])
    assert len(keep.weights) == 30
    for name, average in training.average.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert average == 30
            continue
        expected = begin[name].astype(np.longdouble)
        for t, weights in enumerate(keep.weights, start=1):
            d = min(0.8, (1 + t) / (10 + t))
            expected = d * expected + (1 - d) * weights[name]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(average, expected.astype(dtype), tolerance, tolerance * scale)
        assert average.dtype == dtype


def test_its_running_statistics_are_those_of_its_activations():
    """At the end of a training whose rate falls to 0: close to statistics measured anew."""
    training = trainer("V2", average=0.9, batch_size=29, augmentation=None, epochs=80)
    training.schedule = Schedule("cosine", 0.01, 80)
    training.run()
    x = training.standardise(training.train_set.images, np.float64)
    with training.averaged():
        averaged = training.model.state_dict()
        fill_statistics(training.model, x)
        measured = training.model.state_dict()
    moved = 0.0
    for name, statistic in measured.items():
        if "running" not in name:
            continue
        if name.endswith("mean"):  # in units of the standard deviation of the channel
            scale = np.sqrt(measured[name.replace("mean", "var")])
        else:
            scale = statistic
        assert (np.abs(averaged[name] - statistic) < 0.05 * scale).all(), name
        initial = np.full_like(statistic, name.endswith("var"))
        moved = max(moved, (np.abs(initial - statistic) / scale).max())
    assert moved > 0.5  # else the statistics of a new network would pass


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """A training without a stop, the same one resumed after two epochs, and its checkpoint."""
    folder = tmp_path_factory.mktemp("average")

    class Stop(Observer):
        def epoch(self, trainer, record):
            if record.epoch == 2:
                raise KeyboardInterrupt

    def make(path):
        model = shufflenet_v2(
            widths=(4, 8, 12, 16, 16), num_classes=4, in_channels=1, stem="small", seed=3
        )
        return trainer("V2", model=model, epochs=4, average=0.9, checkpoint=path)

    whole, path = make(folder / "whole"), folder / "stopped"
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make(path).run([Stop()])
    again = Trainer.resume(path, images(), images(9, seed=1))
    assert (again.epoch, again.average.decay) == (2, 0.9)
    again.run()
    return whole, again, path


def test_a_resumed_training_ends_with_the_very_same_average(trainings):
    whole, again, path = trainings
    state, expected = load_checkpoint(path), whole.state()
    for kind in ("model", "latest"):
        arrays, others = getattr(state, kind), getattr(expected, kind)
        assert arrays.keys() == others.keys() == whole.model.state_dict().keys()
        assert all(np.array_equal(arrays[name], others[name]) for name in others)
    assert any((state.model[name] != state.latest[name]).any() for name in state.model)
    records = again.history.epochs, whole.history.epochs
    losses = [[(record.test_loss, record.train_loss) for record in of] for of in records]
    assert losses[0] == losses[1]


def test_what_reads_a_checkpoint_gets_the_average(trainings):
    whole, _, path = trainings
    model = load_trained(path).model
    loss = evaluate(model, images(9, seed=1), whole.standardise).loss
    assert loss == whole.history.epochs[-1].test_loss
    assert loss != evaluate(whole.model, images(9, seed=1), whole.standardise).loss
    with whole.averaged():
        assert evaluate(whole.model, images(9, seed=1), whole.standardise).loss == loss
    assert evaluate(whole.model, images(9, seed=1), whole.standardise).loss != loss


def test_an_average_does_not_change_the_training():
    plain, averaged = trainer("V2", steps=6), trainer("V2", steps=6, average=0.99)
    plain.run()
    averaged.run()
    for name, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(averaged.model.state_dict()[name], array)
    assert plain.history.loss == averaged.history.loss


@pytest.mark.parametrize("value", [1.0, -0.1, np.nan, "0.9"])
def test_a_decay_out_of_range_is_named(value):
    with pytest.raises(ValueError, match=r"average=.* is not a number from 0 to below 1"):
        trainer("V2", average=value)
    with pytest.raises(ValueError, match=r"decay=.* is not a number from 0 to below 1"):
        WeightAverage(trainer("V2").model, value)


def test_a_checkpoint_whose_latest_weights_do_not_fit_is_refused(trainings, tmp_path):
    path = trainings[2]
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays, name = safetensors.numpy.load_file(path), "latest.fc.weight"
    fewer = {key: value for key, value in arrays.items() if key != name}
    none = {key: value for key, value in arrays.items() if not key.startswith("latest.")}
    other = json.loads(metadata["checkpoint"])
    other["settings"]["average"] = 0.0
    cases = (
        (fewer, metadata, "lacks the tensor latest.fc.weight"),
        (none, metadata, "lacks the tensor latest."),
        (arrays | {name: np.zeros(3, np.float32)}, metadata, "latest.fc.weight has shape (3,)"),
        (arrays, metadata | {"checkpoint": json.dumps(other)}, "has the tensor latest."),
    )
    for number, (tensors, description, message) in enumerate(cases):
        wrong = tmp_path / f"{number}.safetensors"
        safetensors.numpy.save_file(tensors, wrong, metadata=description)
        with pytest.raises(ValueError, match=re.escape(message)):
            load_checkpoint(wrong)
    del other["settings"]["average"]  # as older versions wrote it
    old = tmp_path / "old.safetensors"
    description = metadata | {"checkpoint": json.dumps(other)}
    safetensors.numpy.save_file(none, old, metadata=description)
    assert Trainer.resume(old, images()).average is None
    assert len(CLASSES) == load_checkpoint(old).model["fc.weight"].shape[0]
