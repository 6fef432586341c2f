"""Odd values, shapes and memory: all implementations of an operation agree, both ways."""

import random
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from strategies import as_tuple, cases, cotangent_like, run, seeds
from test_array_kinds import GOOD, each
from test_special_values import WRITTEN_OUT, assert_same, has_value_at_its_mean, with_special

from numpy_shufflenet.operations import OPERATIONS, Example

pytestmark = [pytest.mark.campaign, pytest.mark.filterwarnings("ignore::RuntimeWarning")]


def compare(name, case, dy_special, kinds, rng):
    """Compare each implementation with `ops`; its arrays have a random kind of memory."""
    operation = OPERATIONS[name]
    y, cache = run(operation, case)
    dy = cotangent_like(y, rng)
    if dy_special and name != "softmax_cross_entropy":
        dy = each(lambda a: with_special(a, rng), dy)
    gradients = as_tuple(operation.backward()(dy, cache))
    for implementation in operation.implementations:
        arrays = tuple(each(GOOD[rng.choice(kinds)], (a,))[0] for a in case.arrays)
        other, cache = run(operation, Example(arrays, case.hyperparameters), implementation)
        assert_same(name, as_tuple(y), as_tuple(other))
        change = GOOD[rng.choice(kinds)]
        others = as_tuple(operation.backward(implementation)(each(change, dy), cache))
        if name in WRITTEN_OUT:  # which of NaN, inf and -inf comes out may differ there
            for a, b in zip(gradients, others, strict=True):
                np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        else:
            assert_same(name, gradients, others)


def test_odd_numbers(campaign):
    """Hypothesis draws the cases, and finds the smallest failing case."""
    size, start, tried = campaign.size or 2000, time.perf_counter(), 0
    kinds = list(GOOD)
    smallest = None

    @seed(campaign.seed)
    @settings(
        max_examples=size,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(list(OPERATIONS)), st.data(), seeds())
    def check(name, data, number):
        nonlocal tried, smallest
        tried += 1
        rng = np.random.default_rng(number)
        drawn = data.draw(cases(name))
        special = [data.draw(st.booleans()) for _ in (*drawn.arrays, "dy")]
        arrays = tuple(
            with_special(a, rng) if odd and a is not None and a.dtype.kind == "f" else a
            for odd, a in zip(special, drawn.arrays, strict=False)
        )
        if name.startswith("batch_norm") and has_value_at_its_mean(drawn.arrays[0]):
            return
        case = Example(arrays, drawn.hyperparameters)
        said = f"{name} {case} {number}"
        try:
            compare(name, case, special[-1], kinds, rng)
        except Exception as error:
            smallest = (len(said), tried, said, str(error))
            raise

    try:
        check()
    except Exception as error:
        smallest = smallest or (0, tried, "", str(error))
    campaign.report(tried, tried - bool(smallest), time.perf_counter() - start, smallest)


def test_plans_of_odd_images(campaign):
    """A plan and its model agree on images of odd values, sizes and memory."""
    from numpy_shufflenet import models

    networks = [
        models.shufflenet_v1(scale=0.25, groups=3, stem="small", num_classes=4, seed=0),
        models.shufflenet_v2(scale=0.5, stem="small", num_classes=4, seed=0),
        models.shufflenet_v2(scale=0.5, num_classes=4, seed=0, se=True),
    ]
    plans = [model.plan() for model in networks]

    def case(draw: random.Random, say):
        rng = np.random.default_rng(draw.randrange(2**32))
        i, shape = draw.randrange(len(networks)), [draw.randrange(k) for k in (10, 30, 30)]
        n, h, w = shape[0], shape[1] + 32, shape[2] + 32
        kind = draw.choice(list(GOOD))
        x = rng.normal(size=(n, 3, h, w)).astype(np.float32)
        odd = draw.random() < 0.3
        say(f"network {i}, images {x.shape}, {kind}{', with a special value' * odd}")
        if odd:
            x = with_special(x, rng)
        got, expected = plans[i](GOOD[kind](x)), networks[i].infer(x)
        size = np.abs(expected[np.isfinite(expected)]).max(initial=1e-3)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * size)

    campaign.run(case, size=300)


def test_programs_of_odd_images(campaign):
    """A training program is about as near to float64 as layers are, for images of any kind.

    Rounding may put a number on the other side of a ReLU's kink, in a program or in layers, and
    that changes gradients. So other numbers are drawn if there is a difference; a fault stays.
    """
    from numpy_shufflenet import models
    from numpy_shufflenet.engine import TrainingProgram

    networks = [
        models.shufflenet_v1(scale=0.25, groups=3, stem="small", num_classes=4, seed=0),
        models.shufflenet_v2(scale=0.5, stem="small", num_classes=4, seed=0),
        models.shufflenet_v2(scale=0.5, stem="small", num_classes=4, seed=0, se=True),
    ]
    states = [model.state_dict() for model in networks]

    def results(i, forward, backward, network):
        network.load_state_dict(states[i])
        network.zero_gradients()
        logits = forward()
        if np.isfinite(logits).all():
            backward()
        network.release()
        return [logits, *network.gradients().values(), *network.state_dict().values()]

    def difference(i, x, dy):
        model, exact = networks[i], networks[i].astype(np.float64)
        program = TrainingProgram(model, x.shape)
        found = results(i, lambda: program.forward(x), lambda: program.backward(dy), model)
        layers, oracle = (
            results(
                i,
                lambda: network.forward(x.astype(dtype), training=True),  # noqa: B023
                lambda: network.backward(dy.astype(dtype)),  # noqa: B023
                network,
            )
            for network, dtype in ((model, np.float32), (exact, np.float64))
        )
        if not np.isfinite(oracle[0]).all():  # then a training stops
            return "" if not np.isfinite(found[0]).any() else "finite logits"
        for a, b, right in zip(found, layers, oracle, strict=True):
            most, error = np.abs(right).max(initial=0), np.abs(a - right).max()
            if not error <= 30 * np.abs(b - right).max() + 1e-4 * most + 1e-6:
                return f"error {error:.2e} of {most:.2e}"
        return ""

    def case(draw: random.Random, say):
        i, n = draw.randrange(len(networks)), draw.randrange(2, 7)
        h, w = draw.randrange(1, 40), draw.randrange(1, 40)
        kind, odd, problem = draw.choice(list(GOOD)), draw.random() < 0.3, ""
        say(f"network {i}, images {(n, 3, h, w)}, {kind}{', with a special value' * odd}")
        for _ in range(6):
            rng = np.random.default_rng(draw.randrange(2**32))
            x = GOOD[kind](rng.normal(size=(n, 3, h, w)).astype(np.float32))
            x = with_special(x, rng) if odd else x
            dy = GOOD[kind](rng.normal(size=(n, 4)).astype(np.float32))
            problem = difference(i, x, dy)
            if not problem:
                break
        return problem

    campaign.run(case, size=300)
