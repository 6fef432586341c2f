"""Layers, units and whole networks; mistakes in them are found in the tensor where they are."""

import numpy as np
import pytest

from numpy_shufflenet import backend, nn, ops
from numpy_shufflenet.gradcheck import check_layer, check_model

UNITS = {
    "V1, stride 1": lambda: nn.ShuffleNetV1Unit(12, 12, stride=1, groups=3),
    "V1, stride 2": lambda: nn.ShuffleNetV1Unit(12, 24, stride=2, groups=3),
    "V2, stride 1": lambda: nn.ShuffleNetV2Unit(12, 12, stride=1),
    "V2, stride 2": lambda: nn.ShuffleNetV2Unit(12, 16, stride=2),
}


def unit_and_image(name):
    rng = np.random.default_rng(0)
    unit = UNITS[name]()
    nn.initialise(unit, rng)
    return unit, rng.normal(size=(2, 12, 5, 4))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", UNITS)
def test_units_pass(name, training):
    unit, x = unit_and_image(name)
    before = unit.state_dict()
    verdict = check_layer(unit, x, training=training)
    verdict.raise_if_failed()
    assert [report.name for report in verdict.arrays] == ["x", *unit.parameters()]
    for key, value in unit.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_dropout_draws_the_same_mask_again():
    check_layer(nn.Dropout(0.5, seed=0), np.ones((3, 4)), training=True).raise_if_failed()


def test_a_forgotten_shuffle_backward_is_found(monkeypatch):
    def wrong(dy, cache):
        return ops.channel_concat_backward(dy, cache.first)

    monkeypatch.setattr(ops, "channel_concat_shuffle_backward", wrong)
    unit, x = unit_and_image("V2, stride 1")
    with backend.use("numpy"):
        assert check_layer(unit, x, training=True).status == "fail"


# Models; test_everything checks whole networks


class Tiny:
    """A linear layer by hand, with a mistake to choose."""

    def __init__(self, mistake=""):
        self.mistake = mistake
        rng = np.random.default_rng(0)
        self.w, self.b = rng.normal(size=(3, 5)), rng.normal(size=3)
        self.cache, self.found = None, {}
        self.calls = 0

    def astype(self, dtype):
        return Tiny(self.mistake)

    def parameters(self):
        return {"w": self.w, "b": self.b}

    def gradients(self):
        return self.found

    def zero_gradients(self):
        self.found = {}

    def release(self):
        self.cache = None

    def forward(self, x, *, training):
        hidden, self.relu = ops.relu_forward(x)
        y, self.cache = ops.linear_forward(hidden, self.w, self.b)
        self.calls += 1
        return y + (1e-7 * self.calls if self.mistake == "not repeatable" else 0)

    def backward(self, dy):
        dx, dw, db = ops.linear_backward(dy, self.cache)
        if self.mistake == "one entry":
            dw[np.unravel_index(np.abs(dw).argmax(), dw.shape)] *= 1.0002
        if self.mistake == "nan":
            db[1] = np.nan
        if self.mistake == "shape":
            db = db[:, None]
        self.found = {"w": dw, "b": db} if self.mistake != "missing" else {"w": dw}
        return ops.relu_backward(dx, self.relu)

    def activation_pattern(self):
        return [self.relu.y > 0]


def verdict_of(mistake="", x=None, **options):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 5)) if x is None else x
    weights = rng.normal(size=(4, 3))

    def loss(logits):
        return float((weights * np.sin(logits)).sum()), weights * np.cos(logits)

    return check_model(Tiny(mistake), x, loss=loss, **options)


def test_a_right_one_passes():
    verdict = verdict_of(include_input=True)
    verdict.raise_if_failed()
    assert [(row.name, row.shape) for row in verdict.rows] == [
        ("w", (3, 5)),
        ("b", (3,)),
        ("x", (4, 5)),
    ]
    # The allowance is what the docstring says.
    for row in verdict.rows:
        assert row.allowed == pytest.approx(1e-6 * row.largest_gradient + row.floor)
        assert 0 < row.floor < 1e-6 * row.largest_gradient


@pytest.mark.parametrize(
    ("mistake", "name", "reason"),
    [
        ("one entry", "w", r"w\[.*analytic"),
        ("nan", "b", "not finite"),
        ("shape", "b", r"the gradient has shape \(3, 1\)"),
        ("missing", "b", "there is no gradient"),
    ],
)
def test_a_mistake_is_found_in_its_tensor(mistake, name, reason):
    verdict = verdict_of(mistake)
    assert verdict.status == "fail"
    assert [row.name for row in verdict.rows if row.status != "pass"] == [name]
    with pytest.raises(AssertionError, match=reason):
        verdict.raise_if_failed()


def test_a_network_that_does_not_repeat_itself_is_nondeterministic():
    assert verdict_of("not repeatable").status == "nondeterministic"


def test_entries_on_kinks_are_counted():
    """All of x is 0, where the slope of ReLU jumps."""
    verdict = verdict_of(x=np.zeros((4, 5)), include_input=True)
    row = verdict.rows[-1]
    assert (row.name, row.status) == ("x", "kink")
    assert row.kinks == row.entries > 0
    assert verdict.status == "kink"


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="either labels"):
        check_model(Tiny(), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="entries=0"):
        verdict_of(entries=0)
    with pytest.raises(TypeError, match=r"use verdict\.passed"):
        bool(verdict_of())


@pytest.mark.parametrize("error", [0, 3e-5])
def test_truncation_is_not_taken_for_a_mistake(error):
    """A loss so large that no small step can be used, and so curved that large ones are wrong."""

    def loss(logits):
        dlogits = (1 + error) * np.cos(8000 * logits)
        return 1000 + float(np.sin(8000 * logits).sum()) / 8000, dlogits

    model = nn.Sequential(nn.GlobalAvgPool(), nn.Linear(2, 3))
    nn.initialise(model, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(2, 2, 3, 2))
    verdict = check_model(model, x, loss=loss)
    assert verdict.status == ("fail" if error else "pass"), str(verdict)
