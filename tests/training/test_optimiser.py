import numpy as np
import pytest
from peers import need

from numpy_shufflenet.training import SGD

SETTINGS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.7, "weight_decay": 0.1},
    {"momentum": 0.7, "weight_decay": 0.1, "nesterov": True},
]


class Entry:
    """As much of a parameter."""

    frozen = False

    def __init__(self, model, name):
        self.value = model.values[name]
        self.model, self.name = model, name

    @property
    def gradient(self):
        return self.model.slopes[self.name]


class Arrays:
    """As much of a model as SGD needs: parameters and gradients."""

    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        shapes = {"kernel": (3, 2, 3, 3), "matrix": (4, 5), "bias": (5,), "gamma": (2,)}
        self.values = {name: rng.normal(size=s).astype(dtype) for name, s in shapes.items()}
        self.slopes = {name: np.zeros(s, dtype) for name, s in shapes.items()}

    def parameters(self):
        return self.values

    def gradients(self):
        return self.slopes

    def named_parameters(self):
        for name in self.values:
            yield name, Entry(self, name)

    def draw_gradients(self, rng):
        self.slopes = {
            name: rng.normal(size=p.shape).astype(p.dtype) for name, p in self.values.items()
        }


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_step_is_that_of_pytorch(settings):
    """PyTorch decays all of a group; so kernels and vectors are groups of their own there."""
    torch = need("torch")
    model, rng = Arrays(), np.random.default_rng(1)
    twins = {name: torch.tensor(p, requires_grad=True) for name, p in model.parameters().items()}
    groups = [
        {"params": [t for t in twins.values() if t.ndim > 1]},
        {"params": [t for t in twins.values() if t.ndim == 1], "weight_decay": 0.0},
    ]
    sgd = SGD(model, learning_rate=0.1, **settings)
    peer = torch.optim.SGD(groups, lr=0.1, **settings)
    for step in range(6):
        sgd.learning_rate = 0.1 / (step + 1)
        for group in peer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        model.draw_gradients(rng)
        for name, twin in twins.items():
            twin.grad = torch.tensor(model.gradients()[name])
        sgd.step()
        peer.step()
        for name, twin in twins.items():
            np.testing.assert_allclose(
                model.parameters()[name], twin.detach().numpy(), rtol=0, atol=1e-12
            )


def test_two_steps_by_hand():
    model = Arrays()
    for name, p in model.parameters().items():
        p[...], model.slopes[name] = 1, np.full_like(p, 2)
    sgd = SGD(model, learning_rate=0.5, momentum=0.5, weight_decay=0.25)
    sgd.step()  # kernels: g = 2 + 0.25, v = 2.25, p = 1 - 0.5 * 2.25; vectors: g = v = 2
    assert (model.values["matrix"] == -0.125).all()
    assert (model.values["bias"] == 0).all()
    sgd.step()  # kernels: g = 2 - 0.25 / 8, v = 0.5 * 2.25 + g; vectors: v = 0.5 * 2 + 2
    assert (model.values["matrix"] == -0.125 - 0.5 * (1.125 + 2 - 0.03125)).all()
    assert (model.values["bias"] == -1.5).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_arrays_stay_the_same_and_so_do_dtype_and_gradients(settings):
    model, rng = Arrays(np.float32), np.random.default_rng(1)
    before = dict(model.parameters())
    sgd = SGD(model, learning_rate=0.1, **settings)
    model.draw_gradients(rng)
    kept = {name: g.copy() for name, g in model.gradients().items()}
    old = {name: p.copy() for name, p in before.items()}
    for _ in range(2):
        sgd.step()
    for name, p in model.parameters().items():
        assert p is before[name]
        assert p.dtype == np.float32
        assert not np.array_equal(p, old[name])
        np.testing.assert_array_equal(model.gradients()[name], kept[name])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_loaded_state_continues_exactly(settings):
    model, rng = Arrays(), np.random.default_rng(1)
    sgd = SGD(model, learning_rate=0.1, **settings)
    model.draw_gradients(rng)
    sgd.step()

    other = Arrays()
    for name, p in other.parameters().items():
        p[...] = model.parameters()[name]
    heir = SGD(other, learning_rate=1.0)
    state = sgd.state_dict()
    heir.load_state_dict(state)
    for v in state["velocity"].values():
        v += 1  # a copy: neither optimiser may notice
    for _ in range(2):
        model.draw_gradients(rng)
        other.slopes = model.slopes
        sgd.step()
        heir.step()
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p, other.parameters()[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -0.1}, r"learning_rate=-0.1 is not a number of at least 0"),
        ({"learning_rate": float("nan")}, r"learning_rate=nan is not a number"),
        ({"learning_rate": float("inf")}, r"learning_rate=inf is not a number"),
        ({"momentum": 1.0}, r"momentum=1.0 is not a number from 0 to below 1"),
        ({"momentum": -0.5}, r"momentum=-0.5 is not"),
        ({"nesterov": True}, r"nesterov=True .* momentum > 0 is needed"),
        ({"weight_decay": -1e-4}, r"weight_decay=-0.0001 is not a number of at least 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SGD(Arrays(), **{"learning_rate": 0.1, **arguments})


def test_a_bad_learning_rate_is_refused_later_too():
    sgd = SGD(Arrays(), learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate=-1 is not"):
        sgd.learning_rate = -1
    assert sgd.learning_rate == 0.1


def change(state, **entries):
    return {**state, **entries}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: {"velocity": s["velocity"]}, "state has the entries velocity; learning_rate"),
        (lambda s: change(s, momentum=2.0), "momentum=2.0"),
        (lambda s: change(s, velocity={}), "differ in bias, gamma, kernel, matrix"),
        (lambda s: change(s, momentum=0.0), "differ in bias, gamma, kernel, matrix"),
        (
            lambda s: change(s, velocity=change(s["velocity"], bias=np.zeros(4))),
            r"\['bias'\] has shape \(4,\); \(5,\) is needed",
        ),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(spoil, message):
    model = Arrays()
    sgd = SGD(model, learning_rate=0.1, momentum=0.9)
    model.draw_gradients(np.random.default_rng(1))
    sgd.step()
    before = sgd.state_dict()
    with pytest.raises(ValueError, match=message):
        sgd.load_state_dict(spoil(before))
    after = sgd.state_dict()
    velocities = before.pop("velocity"), after.pop("velocity")
    assert before == after
    for name, v in velocities[0].items():
        np.testing.assert_array_equal(v, velocities[1][name])
