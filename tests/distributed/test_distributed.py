"""Distributed training on simulated ranks: without synchronised BN, and errors at the start."""

import numpy as np
import pytest
import small_trainings

from numpy_shufflenet import backend, models, nn
from numpy_shufflenet.data import augment
from numpy_shufflenet.data.augment import draw_choices
from numpy_shufflenet.distributed import AgreedError, Buckets, Single, simulate
from numpy_shufflenet.training import Distributed
from numpy_shufflenet.training.passes import Passes


@pytest.fixture(autouse=True)
def _numpy():
    with backend.use("numpy"):
        yield


class ShareBySharePlain(nn.Layer):
    """One process that normalises two shares of a batch by statistics of their own."""

    def __init__(self, model):
        super().__init__()
        self.first, self.second = model, model.astype(np.float64)
        shared = dict(model.named_parameters())
        for layer_name, layer in self.second.named_layers():
            for name, value in vars(layer).items():
                if isinstance(value, nn.Parameter):
                    setattr(layer, name, shared[f"{layer_name}.{name}"])

    def children(self):
        return {"first": self.first}

    def _forward(self, x, training):
        a, b = np.array_split(x, 2)
        parts = self.first.forward(a, training=training), self.second.forward(b, training=training)
        return np.concatenate(parts)

    def _backward(self, dy):
        a, b = np.array_split(dy, 2)
        return np.concatenate([self.first.backward(a), self.second.backward(b)])


@pytest.mark.parametrize("name", ["V1", "V2"])
def test_without_synchronised_bn_each_rank_has_its_own_statistics(name):
    made = small_trainings.trainer(name, epochs=1)
    pair = ShareBySharePlain(made.model)
    plain = small_trainings.trainer(name, epochs=1, model=pair)
    plain.test_set = None
    plain.run()
    states = simulate(
        2, lambda ranks: small_trainings.train(ranks, name, sync_batch_norm=False, epochs=1)
    )
    second = pair.second.state_dict()
    for key, array in pair.first.state_dict().items():
        expected = (array + second[key]) / 2 if "running" in key else array
        for state in states:
            np.testing.assert_allclose(state.model[key], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(states[0].history["loss"], plain.history.loss, rtol=1e-12)


@pytest.mark.parametrize("synchronised", [True, False])
def test_all_ranks_have_the_same_average_of_weights(synchronised):
    settings = {"epochs": 2, "average": 0.9}
    states = simulate(
        2,
        lambda ranks: small_trainings.train(ranks, "V2", sync_batch_norm=synchronised, **settings),
    )
    assert small_trainings.bits(states[0]) == small_trainings.bits(states[1])
    assert any((states[0].model[name] != w).any() for name, w in states[0].latest.items())
    if synchronised:
        alone = small_trainings.trainer("V2", **settings)
        alone.run()
        assert small_trainings.difference(states[0], alone.state()) < 1e-11


def test_the_model_is_as_before_after_a_training():
    made = small_trainings.trainer("V2", epochs=1)
    Distributed(made, Single(), sync_batch_norm=True).run()
    assert not any(isinstance(layer, nn.SyncBatchNorm2d) for _, layer in made.model.named_layers())


def test_sums_start_while_the_backward_runs():
    made, started = small_trainings.trainer("V2"), []

    class Watching(Single):
        def start_sum(self, array):
            started.append((array.size, first.hyperparameters and first._call is not None))
            return super().start_sum(array)

    first = made.model[0][0]
    buckets = Buckets(made.model, Watching(), bucket_bytes=2000)
    x = np.random.default_rng(0).normal(size=(4, 1, 8, 7))
    dy = np.random.default_rng(1).normal(size=(4, 4))
    made.model.forward(x, training=True)
    made.model.backward(dy)
    expected = made.model.gradients()
    made.model.zero_gradients()
    made.model.forward(x, training=True)
    with buckets.reduction():
        made.model.backward(dy)
    for key, gradient in made.model.gradients().items():
        np.testing.assert_allclose(gradient, expected[key], rtol=1e-12, atol=1e-14)
    assert len(started) == len(buckets) > 2
    assert sum(size for size, _ in started) * 8 == buckets.bytes
    assert [waiting for _, waiting in started[:-1]] == [True] * (len(buckets) - 1)


def test_the_gradients_of_a_program_are_added_up_where_they_are():
    model = models.shufflenet_v2(scale=0.5, num_classes=5, stem="small", seed=0)
    rng, sums = np.random.default_rng(0), []
    x = rng.normal(size=(3, 3, 8, 9)).astype(np.float32)
    dy = rng.normal(size=(3, 5)).astype(np.float32)

    class TwoEqualRanks(Single):
        def start_sum(self, array):
            sums.append(array)
            return lambda: np.multiply(array, 2, out=array)

    with backend.use("numba"):
        passes = Passes(model)
        buckets = Buckets(model, TwoEqualRanks(), bucket_bytes=1 << 18)
        passes.forward(x)
        assert passes.reason is None
        passes.backward(dy)
        alone = model.gradients()
        before = {name: gradient.copy() for name, gradient in alone.items()}
        model.zero_gradients()
        passes.forward(x)
        with buckets.reduction():
            passes.backward(dy)
    assert len(sums) == len(buckets) > 2
    assert len({id(array.base) for array in sums}) == 1
    for name, gradient in model.gradients().items():
        np.testing.assert_array_equal(gradient, 2 * before[name], name)
        np.testing.assert_array_equal(alone[name], before[name], name)
        assert gradient.base is sums[0].base


@pytest.mark.parametrize(
    ("ranks", "settings", "sync_batch_norm", "message"),
    [
        (5, {"accumulation": 2}, True, "4 images, fewer than the 5 ranks; .* fits or 4 ranks fit"),
        (2, {"batch_size": 3}, False, "gives a rank a single image.*sync_batch_norm=True fits"),
        (2, {"batch_size": 4}, True, "1 images, fewer than the 2 ranks; batch_size=\\d+ fits"),
    ],
)
def test_a_number_of_ranks_that_does_not_fit(ranks, settings, sync_batch_norm, message):
    if settings == {"batch_size": 3}:
        settings = {"batch_size": 3, "train_set": single_pixels()}
    with pytest.raises(AgreedError, match=message):
        simulate(
            ranks,
            lambda r: Distributed(
                small_trainings.trainer("V2", **settings), r, sync_batch_norm=sync_batch_norm
            ),
        )


def single_pixels():
    """Images of which the last unit leaves one pixel."""
    whole = small_trainings.images(30)
    return type(whole)(whole.images[:, :, :2, :2].copy(), whole.labels, whole.classes)


def test_what_differs_is_named():
    def run(ranks):
        different = {"seed": 1, "label_smoothing": 0.2} if ranks.rank == 2 else {}
        trainer = small_trainings.trainer("V2", **different)
        if ranks.rank:
            trainer.model.parameters()["4.bias"][0] += 1
        Distributed(trainer, ranks)

    with pytest.raises(AgreedError) as caught:
        simulate(3, run)
    for part in ("settings on rank 2 (", "weights (does it have a seed?) on ranks 1, 2", "random"):
        assert part in str(caught.value)


def test_an_error_on_one_simulated_rank_ends_the_others():
    def run(ranks):
        if ranks.rank == 1:
            raise KeyError("a defect")
        ranks.gather(np.zeros(1))

    with pytest.raises(KeyError, match="a defect"):
        simulate(3, run)


def test_choices_of_a_part_are_those_of_the_whole_batch():
    images = small_trainings.images().images
    whole = augment(images, np.random.default_rng(3), crop_padding=2, cutout=3)
    choices = draw_choices(len(images), np.random.default_rng(3), crop_padding=2, cutout=3)
    rows = np.array([5, 2, 7])
    np.testing.assert_array_equal(choices.of(rows).apply(images[rows]), whole[rows])


def test_batch_normalisation_elsewhere_is_refused():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

    with pytest.raises(ValueError, match="layer 'norm' is a batch normalisation outside"):
        nn.synchronise(Own(), Single().gather)
