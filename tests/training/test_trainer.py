import re

import numpy as np
import pytest

from numpy_shufflenet.data import Dataset, Standardise, batches, channel_statistics
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.ops import softmax_cross_entropy_forward
from numpy_shufflenet.training import (
    SGD,
    Observer,
    Trainer,
    TrainingDiverged,
    cosine_schedule,
    evaluate,
    linear_schedule,
    steps_per_epoch,
)


def make_trainer(model, train_set, test_set=None, *, rate=0.05, momentum=0.9, **settings):
    optimiser = SGD(model, learning_rate=rate, momentum=momentum)
    return Trainer(
        model, optimiser, train_set, test_set, **{"epochs": 3, "batch_size": 8, **settings}
    )


def assert_equal_states(model, other):
    theirs = other.state_dict()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


class At(Observer):
    """Raises an exception, or does something else, after one step."""

    def __init__(self, step, action):
        self.at, self.action = step, action

    def step(self, trainer, report):
        if report.step == self.at:
            self.action(trainer)


def test_it_learns_what_can_be_learned(small_network, small_set):
    trainer = make_trainer(
        small_network(), small_set(64), small_set(64, seed=1), epochs=25, rate=0.1
    )
    trainer.run()
    assert trainer.history.epochs[-1].test_accuracy > 0.95
    assert trainer.history.epochs[-1].train_loss < 0.5 * trainer.history.epochs[0].train_loss


def test_the_books_are_right(small_network, small_set):
    """Without a step there is nothing but measuring: the learning rate is 0."""
    model = small_network(batch_norm=False, dtype="float64")
    train_set, test_set = small_set(21), small_set(9, seed=1)
    trainer = make_trainer(model, train_set, test_set, rate=0.0, epochs=2, seed=5)
    history = trainer.run()

    standardise = channel_statistics(train_set.images)
    rng = np.random.default_rng(5)
    expected = []
    for _ in range(2):
        for images, labels in batches(train_set, 8, rng):
            logits = model.forward(standardise(images, np.float64))
            expected.append(softmax_cross_entropy_forward(logits, labels)[0])
    assert history.loss == pytest.approx(expected, rel=1e-12)
    assert history.learning_rate == [0.0] * 6
    whole, test = (evaluate(model, part, standardise) for part in (train_set, test_set))
    for number, record in enumerate(history.epochs, start=1):
        assert (record.epoch, record.steps) == (number, 3 * number)
        assert record.train_loss == pytest.approx(whole.loss, rel=1e-12)
        assert record.train_accuracy == whole.accuracy
        assert (record.test_loss, record.test_accuracy) == (test.loss, test.accuracy)
        assert record.seconds > 0


def test_the_schedule_sets_every_step(small_network, small_set):
    schedule = cosine_schedule(0.05, 9, 2)
    history = make_trainer(small_network(), small_set(21), schedule=schedule).run()
    assert history.learning_rate == [schedule(step) for step in range(9)]


@pytest.mark.parametrize("accumulation", [2, 3, 5, 100])
def test_parts_of_a_batch_give_the_step_of_the_batch(small_network, small_set, accumulation):
    """Batches of 7, 7 and 6, so parts are unequal; more parts than images are as many as images."""
    train_set = small_set(20)
    models = [small_network(batch_norm=False, dtype="float64") for _ in range(2)]
    settings = {"batch_size": 7, "label_smoothing": 0.1}
    whole = make_trainer(models[0], train_set, **settings)
    parts = make_trainer(models[1], train_set, accumulation=accumulation, **settings)
    whole.run()
    parts.run()
    np.testing.assert_allclose(parts.history.loss, whole.history.loss, rtol=1e-10)
    theirs = models[1].state_dict()
    for name, array in models[0].state_dict().items():
        np.testing.assert_allclose(theirs[name], array, rtol=1e-9, atol=1e-11, err_msg=name)


def test_parts_are_as_large_as_can_be(small_network, small_set, monkeypatch):
    """Memory is what accumulation saves: no forward sees more than its share."""
    model, sizes = small_network(), []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda x, **how: sizes.append(len(x)) or forward(x, **how)
    )
    make_trainer(model, small_set(20), batch_size=10, accumulation=3, epochs=1).run()
    assert sizes == [4, 3, 3] * 2


@pytest.mark.parametrize("setting", [{"seed": 1}, {"augmentation": {"crop_padding": 1}}], ids=str)
def test_the_same_seed_gives_the_same_weights_and_another_setting_others(
    small_network, small_set, setting
):
    models = [small_network() for _ in range(3)]
    for model, settings in zip(models, [{}, {}, setting], strict=True):
        make_trainer(model, small_set(20), **settings).run()
    assert_equal_states(models[0], models[1])
    with pytest.raises(AssertionError):
        assert_equal_states(models[0], models[2])


@pytest.mark.parametrize("nested", [False, True])
def test_a_resumed_training_ends_with_the_very_same_weights(
    small_network, small_set, tmp_path, nested
):
    """Stopped within an epoch by Ctrl-C, with all that has a state: momentum, dropout, crops."""
    train_set, test_set = small_set(30), small_set(10, seed=1)
    settings = {
        "epochs": 5,
        "schedule": linear_schedule(0.05, 20, 3),
        "augmentation": {"flip": False, "crop_padding": 1},
        "accumulation": 2,
        "label_smoothing": 0.1,
        "seed": 7,
    }
    straight = make_trainer(small_network(dropout=0.3), train_set, test_set, **settings)
    straight.run()

    path = tmp_path / "training.safetensors"
    trainer = make_trainer(
        small_network(dropout=0.3), train_set, test_set, checkpoint=path, **settings
    )

    def interrupt(trainer):
        raise KeyboardInterrupt

    for step in (10, 14) if nested else (10,):  # of 4 steps an epoch
        with pytest.raises(KeyboardInterrupt):
            trainer.run([At(step, interrupt)])
        with pytest.raises(ValueError, match=r"stopped within epoch \d; Trainer.resume continues"):
            trainer.run()
        other = small_network(seed=99, dropout=0.3)  # its weights and masks must not matter
        trainer = Trainer.resume(path, train_set, test_set, model=other)
        assert trainer.step == step - step % 4
    trainer.run()

    assert_equal_states(trainer.model, straight.model)
    for name, v in straight.optimiser.state_dict()["velocity"].items():
        np.testing.assert_array_equal(v, trainer.optimiser.state_dict()["velocity"][name])
    assert trainer.history.loss == straight.history.loss
    assert trainer.history.learning_rate == straight.history.learning_rate
    assert [r.test_loss for r in trainer.history.epochs] == [
        r.test_loss for r in straight.history.epochs
    ]


def test_another_training_set_does_not_continue_a_training(small_network, small_set, tmp_path):
    path = tmp_path / "training.safetensors"
    make_trainer(small_network(), small_set(16), checkpoint=path, epochs=1).run()
    with pytest.raises(
        ValueError, match=r"16 images .* is not the training set of the training in"
    ):
        Trainer.resume(path, small_set(16, seed=1), model=small_network())


def poison(trainer):
    """As if the last step had been far too large."""
    trainer.model.parameters()["0.weight"][0] = np.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    small_network, small_set, tmp_path, value
):
    path = tmp_path / "training.safetensors"
    model = small_network()
    trainer = make_trainer(model, small_set(32), checkpoint=path)

    def poison(trainer):
        model.parameters()["6.bias"][0] = value

    message = r"the loss is nan at step 7 \(epoch 2\), with learning_rate=0.05; .*safetensors holds"
    with pytest.raises(TrainingDiverged, match=message):
        trainer.run([At(6, poison)])
    assert len(trainer.history.loss) == 6
    resumed = Trainer.resume(path, trainer.train_set, model=small_network())
    assert (resumed.epoch, resumed.step) == (1, 4)
    assert all(np.isfinite(array).all() for array in resumed.model.state_dict().values())
    resumed.run()


def test_weights_that_are_not_finite_are_never_saved(small_network, small_set, tmp_path):
    """Spoilt by the last step of an epoch, they have not shown in a loss yet."""
    path = tmp_path / "training.safetensors"
    trainer = make_trainer(small_network(), small_set(32), checkpoint=path)
    message = r"0.weight is infinite at step 8 \(epoch 2\), .* holds the end of epoch 1"
    with pytest.raises(TrainingDiverged, match=message):
        trainer.run([At(8, poison)])
    assert Trainer.resume(path, trainer.train_set, model=small_network()).epoch == 1


def test_a_rate_that_is_far_too_large_diverges_with_a_clear_error(small_network, small_set):
    trainer = make_trainer(small_network(batch_norm=False), small_set(32), rate=1e20)
    with pytest.raises(TrainingDiverged, match=r"at step \d+ .*there is no checkpoint yet"):
        trainer.run()


def test_observers_are_told_everything_in_order(small_network, small_set):
    told = []

    class Listener(Observer):
        def begin(self, trainer):
            told.append("begin")

        def step(self, trainer, report):
            told.append(report)

        def epoch(self, trainer, record):
            told.append(record)

        def end(self, trainer):
            told.append("end")

    trainer = make_trainer(small_network(), small_set(20), epochs=2)
    history = trainer.run([Listener()])
    reports = [told[i] for i in (1, 2, 3, 5, 6, 7)]
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report.images for report in reports] == [8, 8, 4, 8, 8, 4]
    assert [report.loss for report in reports] == history.loss
    assert sum(r.correct for r in reports[:3]) / 20 == history.epochs[0].train_accuracy
    assert (told[0], told[4], told[8], told[9]) == ("begin", *history.epochs, "end")
    assert len(told) == 10


def test_observers_hear_of_the_end_when_a_training_fails(small_network, small_set):
    ended = []

    class Listener(Observer):
        def end(self, trainer):
            ended.append(trainer.step)

    with pytest.raises(TrainingDiverged):
        make_trainer(small_network(), small_set(32)).run([At(2, poison), Listener()])
    assert ended == [2]


def test_steps_per_epoch_counts_the_smaller_last_batch():
    assert [steps_per_epoch(n, 8) for n in (1, 8, 9, 16)] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0 is not a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size=1.5 is not"),
        ({"accumulation": -1}, "accumulation=-1 is not"),
        ({"label_smoothing": 1.5}, "label_smoothing=1.5 is not a number from 0 to 1"),
        ({"augmentation": {"crop_padding": -1}}, "padding=-1 is not"),
    ],
)
def test_bad_arguments_are_named(small_network, small_set, settings, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(small_network(), small_set(8), **settings)


def test_what_does_not_belong_together_is_refused(small_network, small_set):
    with pytest.raises(ValueError, match="train_set has 0 images"):
        make_trainer(small_network(), small_set(0))
    optimiser = SGD(small_network(), learning_rate=0.1)
    with pytest.raises(ValueError, match="optimiser belongs to another model"):
        Trainer(small_network(), optimiser, small_set(8), epochs=1, batch_size=8)
    wrong = Standardise((0.5, 0.5), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"mean=\(0.5, 0.5\) is not one number for each of 1"):
        make_trainer(small_network(), small_set(8), standardise=wrong).run()


@pytest.mark.parametrize(
    ("images", "batch_size", "accumulation", "fits"),
    [(9, 8, 1, 7), (5, 4, 1, 3), (8, 4, 3, 8), (8, 1, 1, 2), (1, 4, 1, None), (9, 8, 8, None)],
)
def test_a_single_image_that_batch_normalisation_refuses_is_foreseen(
    images, batch_size, accumulation, fits
):
    """The default stem makes 1 x 1 of 32 x 32: one image has one value a channel."""
    model = shufflenet_v2(scale=0.5, in_channels=1, num_classes=2, seed=0)
    pixels = np.zeros((images, 1, 32, 32), np.uint8)
    dataset = Dataset(pixels, np.arange(images) % 2, ("a", "b"))
    before = model.state_dict()
    with pytest.raises(ValueError, match=f"batch_size={batch_size} .* a single image") as caught:
        make_trainer(model, dataset, batch_size=batch_size, accumulation=accumulation)
    hint = re.search(r"batch_size=(\d+) fits", str(caught.value))
    assert (hint and int(hint[1])) == fits
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    if fits:
        settings = {"batch_size": fits, "accumulation": accumulation, "epochs": 1}
        make_trainer(model, dataset, rate=0.0, **settings).run()


def test_a_single_image_trains_where_it_has_more_than_one_value(small_network, small_set):
    train_set = small_set(9)
    with_probe, without = small_network(dropout=0.2), small_network(dropout=0.2)
    make_trainer(with_probe, train_set, epochs=1).run()  # 8 images, then 1
    optimiser = SGD(without, learning_rate=0.05, momentum=0.9)
    trainer = Trainer(without, optimiser, small_set(16), epochs=1, batch_size=8)
    trainer.train_set, trainer.standardise = train_set, channel_statistics(train_set.images)
    trainer.run()
    assert_equal_states(with_probe, without)  # what was tried out left no trace


def test_a_resumed_training_may_be_longer(small_network, small_set, tmp_path):
    path = tmp_path / "training.safetensors"
    schedule = cosine_schedule(0.05, 6, 2)
    settings = {"schedule": schedule, "checkpoint": path}
    make_trainer(small_network(), small_set(16), epochs=3, **settings).run()
    longer = Trainer.resume(path, small_set(16), model=small_network(), epochs=5)
    assert longer.epochs == 5
    assert longer.schedule == cosine_schedule(0.05, 10, 2)
    assert [r.epoch for r in longer.run().epochs] == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"training.safetensors: epochs=2, but 5 are done"):
        Trainer.resume(path, small_set(16), model=small_network(), epochs=2)
    for epochs in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"epochs={epochs} is not a whole number"):
            Trainer.resume(path, small_set(16), model=small_network(), epochs=epochs)
