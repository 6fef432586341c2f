"""The experiments are the paper's: same networks and figures; verdicts follow from the numbers."""

import json

import numpy as np
import pytest

from numpy_shufflenet import cost
from numpy_shufflenet.cost import experiments, guidelines, stacks
from numpy_shufflenet.timing import Interval


def multiply_adds(experiment):
    return {
        variant.label: cost.count(variant.build(), (variant.channels, 56, 56)).forward.multiply_adds
        for variant in experiment.variants
    }


@pytest.mark.parametrize("size", experiments.SIZES)
@pytest.mark.parametrize("key", cost.EXPERIMENTS)
def test_flops_are_about_constant(key, size):
    found = np.array(list(multiply_adds(cost.EXPERIMENTS[key](size)).values()))
    assert found.max() / found.min() < 1.07  # as in the printed tables: 1:12 has 5 % fewer


def test_widths_of_g1_are_the_printed_ones():
    """V2, table 1."""
    printed = {1: (128, 128, 32, 32), 2: (90, 180, 22, 44), 6: (52, 312, 13, 78)}
    printed[12] = (36, 432, 9, 108)
    for ratio, widths in printed.items():
        assert (*stacks.at_ratio(128, ratio), *stacks.at_ratio(32, ratio)) == widths
    networks = cost.EXPERIMENTS["G1"]("x1").variants
    assert [variant.channels for variant in networks] == [32, 22, 13, 9]
    shapes = [v.build()[0][0].weight.value.shape for v in networks]
    assert shapes == [(32, 32, 1, 1), (44, 22, 1, 1), (78, 13, 1, 1), (108, 9, 1, 1)]


def test_widths_of_g2_are_the_printed_ones_but_for_the_erratum():
    experiment = cost.EXPERIMENTS["G2"]("x1")
    assert [variant.channels for variant in experiment.variants] == [64, 90, 128, 184]
    assert "180" in experiment.note
    assert "184" in experiment.note


def test_blocks_of_g3_and_g4():
    fragments = cost.EXPERIMENTS["G3"]("x2").variants
    assert [variant.channels for variant in fragments] == [128, 91, 64, 91, 64]
    series, parallel = fragments[2].build(), fragments[4].build()
    assert len(series) == len(parallel) == 10
    x = np.random.default_rng(0).normal(size=(1, 64, 3, 3)).astype(np.float32)
    assert len(series[0]) == 4
    parts = [branch.forward(x) for branch in parallel[0][0].children().values()]
    parallel[0].release()
    np.testing.assert_allclose(parallel[0].forward(x), sum(parts), rtol=1e-4, atol=1e-5)

    rows = {
        v.label: cost.count(v.build(), (32, 56, 56)).by_kind()
        for v in cost.EXPERIMENTS["G4"]("x1").variants
    }
    assert ("ReLU" in rows["ReLU"], "addition" in rows["ReLU"]) == (True, False)
    assert ("ReLU" in rows["shortcut"], "addition" in rows["shortcut"]) == (False, True)
    assert set(rows["neither"]) == {"1x1 convolution", "convolution"}
    assert set(rows["ReLU, shortcut"]) == {"1x1 convolution", "convolution", "ReLU", "addition"}


def test_the_papers_columns_are_per_multiply_add():
    gpu, arm = experiments.paper_relative(cost.EXPERIMENTS["G1"]("x1"))
    assert gpu[0] == arm[0] == 1
    np.testing.assert_allclose(gpu[3], 748 * 36 * 432 / (1480 * 128 * 128))
    np.testing.assert_allclose(arm[1], 72.9 * 22 * 44 / (76.2 * 32 * 32))
    gpu, arm = experiments.paper_relative(cost.EXPERIMENTS["G2"]("x4"))
    np.testing.assert_allclose(gpu[3], 230 * 360**2 / 8 / (437 * 128**2))
    np.testing.assert_allclose(arm[3], 1.8 * 184**2 / 8 / (2.3 * 64**2))
    gpu, _ = experiments.paper_relative(cost.EXPERIMENTS["G4"]("x2"))
    np.testing.assert_allclose(gpu, [1, 2256 / 2066, 2121 / 2066, 2376 / 2066])


def steps(*claimed):
    return [
        guidelines.RowComparison(f"row {i}", "first", Interval(1.0, 1.0, 1.0), value)
        for i, value in enumerate(claimed)
    ]


@pytest.mark.parametrize(
    ("claimed", "verdict"),
    [
        ((True, True), "holds: every row differs from the first as the guideline says"),
        ((True, None), "holds in part: no clear difference in row 1"),
        ((True, False), "holds in part: opposite direction in row 1"),
        ((None, False), "does not hold here: opposite direction in row 1; no clear difference in"),
        ((None, None), "does not hold here: no clear difference in row 0, row 1"),
    ],
)
def test_verdicts_follow_from_the_steps(claimed, verdict):
    assert guidelines.judge_guideline(steps(*claimed)).startswith(verdict)


@pytest.fixture
def made_up_times(monkeypatch):
    """Times of a machine on which a multiply-add of the i-th network takes 1 + i / 2."""

    def set_times(slope, noise=0.01):
        def fake(runs, *, rounds, min_seconds, on_run):
            rng = np.random.default_rng(0)
            for name, run in runs.items():
                run()
                on_run(name)
            flops = multiply_adds(set_times.experiment)
            common = rng.lognormal(0, 0.5, rounds)  # the machine's load, which interleaving cancels
            return {
                name: common * flops[name] * (1 + slope * i) * rng.lognormal(0, noise, rounds)
                for i, name in enumerate(runs)
            }

        monkeypatch.setattr(guidelines, "interleave", fake)

    return set_times


@pytest.mark.parametrize(
    ("key", "slope", "verdict"),
    [
        ("G1", 0.5, "holds: "),
        ("G1", 0.0, "does not hold here: no clear difference in 1:2, 1:6, 1:12"),
        ("G1", -0.2, "does not hold here: opposite direction in 1:2, 1:6, 1:12"),
        ("G4", -0.2, "holds: "),
        ("G4", 0.5, "does not hold here"),
    ],
)
def test_a_result_says_what_its_times_say(key, slope, verdict, made_up_times):
    experiment = made_up_times.experiment = cost.EXPERIMENTS[key]("x1")
    made_up_times(slope)
    result = cost.measure(experiment, rounds=30)
    assert result.verdict.startswith(verdict)
    relative = result.relative()
    labels = [variant.label for variant in experiment.variants]
    np.testing.assert_allclose(
        [relative[label] for label in labels], [1 / (1 + slope * i) for i in range(4)], rtol=0.5
    )
    for step in result.steps:
        expected = (1 + slope * labels.index(step.label)) / (1 + slope * labels.index(step.before))
        np.testing.assert_allclose(step.ratio.median, expected, rtol=0.02)


def test_a_result_is_json_with_every_sample(made_up_times):
    made_up_times.experiment = cost.EXPERIMENTS["G3"]("x1")
    made_up_times(0.1)
    found = json.loads(json.dumps(cost.measure(made_up_times.experiment, rounds=7).to_dict()))
    assert found["guideline"] == "G3"
    assert found["implementation"] == "ours"
    assert [len(row["seconds"]) for row in found["rows"]] == [7] * 5
    assert [step["before"] for step in found["steps"]] == [
        *("1 fragment", "2 in series", "1 fragment", "2 in parallel"),
    ]
    assert len(found["against_the_first"]) == 4


def test_a_real_run_measures_every_network():
    experiment = cost.EXPERIMENTS["G1"]("x1")
    heard = []
    result = cost.measure(experiment, rounds=6, min_seconds=0, on_run=heard.append)
    assert len(heard) == 4 * 7
    assert all(min(values) > 0 for values in result.seconds.values())
    for label, access in result.memory_access.items():
        assert access >= result.bound[label]
    assert result.memory_access["1:1"] == result.bound["1:1"]


def test_memory_access_is_that_of_the_formula():
    result_of = {v.label: v for v in cost.EXPERIMENTS["G2"]("x1").variants}
    for g, c in ((1, 64), (8, 184)):
        model = result_of[f"g={g}"].build()
        found = cost.count(model, (c, 56, 56)).forward.memory_access
        assert found == 10 * cost.closed_forms.pointwise_memory_access(56, 56, c, c, g)


def test_pytorch_runs_the_same_network():
    from peers import need

    torch = need("torch")
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for key in cost.EXPERIMENTS:
        for variant in cost.EXPERIMENTS[key]("x1").variants:
            model = variant.build()
            x = rng.normal(size=(1, variant.channels, 9, 7)).astype(np.float32)
            theirs = guidelines.IMPLEMENTATIONS["PyTorch"](model, x)().numpy()
            ours = model.forward(x)
            scale = np.abs(ours).max()
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (cost.EXPERIMENTS["G1"], ("x3",), "size='x3' is not one of x1, x2, x4"),
        (stacks.at_ratio, (4, 17), "ratio=17 leaves no channel of c=4; use at most 16"),
        (stacks.at_ratio, (4, 0), "ratio=0 is not a whole number of at least 1"),
        (stacks.grouped, (10, 3), "groups=3 does not divide c=10"),
        (stacks.in_series, (4, 0), "fragments=0 is not a whole number of at least 1"),
        (stacks.narrowed, (1, 9), "fragments=9 leaves 0 channels of c=1"),
        (stacks.channel_ratio, (0, 3), "in_channels=0 is not a whole number of at least 1"),
    ],
)
def test_bad_input_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_bad_measuring_is_named():
    experiment = cost.EXPERIMENTS["G1"]("x1")
    with pytest.raises(ValueError, match="implementation='JAX' is not one of ours, PyTorch"):
        cost.measure(experiment, implementation="JAX")
    with pytest.raises(ValueError, match="3 values give no 95 % interval"):
        cost.measure(experiment, rounds=3, min_seconds=0)
    with pytest.raises(ValueError, match=r"groups=3 does not divide c|c=30"):
        stacks.bottlenecks(30, relu=True, shortcut=True)


def test_an_ablation_pairs_its_seeds():
    found = cost.Ablation(8, 100, 1, (0.5, 0.6, 0.7), (0.4, 0.45, 0.58))
    mean, low, high = found.gain
    differences = np.array([0.1, 0.15, 0.12])
    half = 4.303 * differences.std(ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    np.testing.assert_allclose(mean, differences.mean())
    np.testing.assert_allclose((low, high), (mean - half, mean + half), rtol=2e-3)
    assert found.verdict.startswith("holds")
    assert cost.Ablation(8, 1, 1, (0.4, 0.45), (0.5, 0.55)).verdict.startswith("does not hold")
    assert cost.Ablation(8, 1, 1, (0.4, 0.6), (0.5, 0.5)).verdict.startswith("not clear")
    assert json.dumps(found.to_dict())


def test_an_ablation_trains():
    heard = []
    settings = {"seeds": 2, "images": 40, "epochs": 1, "batch_size": 20}
    found = cost.shuffle_ablation(
        groups=3, **settings, test_images=50, on_step=lambda: heard.append(1)
    )
    assert len(heard) == cost.ablation.total_steps(**settings)
    for errors in (found.with_shuffle, found.without_shuffle):
        assert len(errors) == 2
        assert all(0 < error < 1 for error in errors)


def test_the_networks_of_an_ablation_differ_in_the_shuffle_only(monkeypatch):
    trained = []

    def fake(train_set, test_set, shuffle, seed, **settings):
        trained.append((seed, shuffle, len(train_set), len(test_set), tuple(settings.items())))
        return 0.5 - 0.1 * shuffle + 0.01 * seed

    monkeypatch.setattr(cost.ablation, "_train", fake)
    found = cost.shuffle_ablation(groups=8, seeds=3, images=30, test_images=20)
    assert [entry[:4] for entry in trained] == [
        (seed, shuffle, 30, 20) for seed in range(3) for shuffle in (False, True)
    ]
    assert len({entry[4] for entry in trained}) == 1
    assert found.without_shuffle == pytest.approx((0.5, 0.51, 0.52))
    assert found.with_shuffle == pytest.approx((0.4, 0.41, 0.42))


def test_a_bad_ablation_is_named():
    with pytest.raises(ValueError, match="seeds=1 shows no spread; at least 2 are needed"):
        cost.shuffle_ablation(seeds=1)
    with pytest.raises(
        ValueError, match="images=20000 is more than the 10000 images in the dataset"
    ):
        cost.shuffle_ablation(images=20000)
    with pytest.raises(
        ValueError, match="test_images=3000 is more than the 2000 images in the dataset"
    ):
        cost.shuffle_ablation(test_images=3000)
    with pytest.raises(ValueError, match="groups=5 is not one of"):
        cost.shuffle_ablation(groups=5, images=40)
