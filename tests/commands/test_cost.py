"""`cost`, `guidelines` and `audit` as a user types them."""

import json

import pytest
from PIL import Image

from numpy_shufflenet import cli, cost
from numpy_shufflenet.operations import OPERATIONS


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def assert_pictures(folder, names):
    assert {path.name for path in folder.glob("*.png")} == set(names)
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_cost_prints_the_papers_figures_beside_ours(capsys, tmp_path):
    assert run("cost", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert ["143", "M", "142.50", "M", "-0.497"] in [row[-5:] for row in rows]
    assert ["2,278,604", "2,278,604", "+0"] in [row[-3:] for row in rows]
    assert "33 of 36 agree; the reasons for all others are known" in printed
    assert printed.count("known: ") == 3
    assert "h w (2 c m / g + 9 m)" in printed
    assert "a multiply-add is one FLOP" in printed
    assert_pictures(tmp_path, ["channels_at_budget.png", "multiply_adds_by_kind.png"])


def test_cost_of_a_network(capsys, tmp_path):
    arguments = ["shufflenet_v2", "--scale", 0.5, "--layout", "torchvision", "--time"]
    assert run("cost", *arguments, "--rounds", 2, "--size", 64, "--layers", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    expected = cost.count(
        cost.published.models.shufflenet_v2(scale=0.5, layout="torchvision"), (3, 64, 64)
    )
    for value in expected.conventions().values():
        assert f"{value:,}" in printed
    assert "run time" in printed
    assert f"kept between forward and backward: {expected.kept_bytes / 1e6:,.1f} MB" in printed
    assert "stage2.0.branch1.0" in printed
    assert_pictures(tmp_path, ["cost_by_kind.png", "cost_by_layer.png"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_cost_of_an_operation_shows_its_formula_and_what_was_counted(name, capsys):
    assert run("cost", name) == 0
    printed = capsys.readouterr().out
    assert str(OPERATIONS[name].formula) in printed
    lines = printed.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("multiply-adds"))
    table = [line.split() for line in lines[first : first + 7]]
    assert [row[0] for row in table][-2:] == ["read", "written"]
    for _, computed, counted, backward, backward_counted in table:
        assert computed == counted
        assert backward == backward_counted


def test_guidelines_measure_print_draw_and_write(capsys, tmp_path):
    arguments = ["--rounds", 6, "--sizes", "x1", "--only", "ours", "--out", tmp_path]
    assert run("guidelines", "G1", "G2", *arguments) == 0
    printed = capsys.readouterr().out
    assert "erratum" in printed
    assert "paper, GPU" in printed
    assert "Verdicts, only for this machine" in printed
    found = json.loads((tmp_path / "guidelines.json").read_text())
    assert [row["guideline"] for row in found["guidelines"]] == ["G1", "G2"]
    for guideline in found["guidelines"]:
        assert guideline["verdict"] in printed
        for row in guideline["rows"]:
            assert len(row["seconds"]) == 6
        for step in guideline["steps"]:
            assert step["low"] <= step["median"] <= step["high"]
            assert f"{step['median']:.2f} [{step['low']:.2f}, {step['high']:.2f}]" in printed
    assert found["machine"]["processors"] >= 1
    assert_pictures(tmp_path, ["G1_x1.png", "G2_x1.png"])


def test_guidelines_by_default_are_all_four_and_the_shares(capsys, tmp_path, monkeypatch):
    measured = []

    def fake(experiment, **settings):
        measured.append((experiment.key, experiment.size, settings["rounds"]))
        return REAL(experiment, rounds=6, min_seconds=0)

    monkeypatch.setattr(cost, "measure", fake)
    assert run("guidelines", "--quick", "--only", "ours", "--out", tmp_path) == 0
    assert measured == [(key, "x1", 24) for key in ("G1", "G2", "G3", "G4")]
    printed = capsys.readouterr().out
    assert "element-wise (batch norm, ReLU, addition)" in printed
    shares = json.loads((tmp_path / "guidelines.json").read_text())["shares"]
    assert set(shares) == {"shufflenet_v1", "shufflenet_v2", "mobilenet_v1"}
    for row in shares.values():
        assert abs(sum(row.values()) - 1) < 1e-9
    assert_pictures(tmp_path, [*(f"G{i}_x1.png" for i in range(1, 5)), "shares.png"])


REAL = cost.measure


def test_the_ablation_is_printed_with_its_spread(capsys, tmp_path, monkeypatch):
    def fake(*, on_step, **settings):
        assert settings == {"groups": 3, "seeds": 4, "images": 100, "epochs": 2}
        return cost.Ablation(3, 100, 2, (0.3, 0.31, 0.29, 0.3), (0.2, 0.22, 0.21, 0.19))

    monkeypatch.setattr(cost, "shuffle_ablation", fake)
    settings = ["--groups", 3, "--seeds", 4, "--images", 100, "--epochs", 2, "--out", tmp_path]
    assert run("guidelines", "ablation", *settings) == 0
    printed = capsys.readouterr().out
    assert "56.3 %" in printed
    assert "30.0% +- 0.8%" in printed
    assert "holds: with the shuffle fewer images are classified wrongly" in printed
    found = json.loads((tmp_path / "guidelines.json").read_text())["ablation"]
    assert found["error_with_shuffle"] == [0.2, 0.22, 0.21, 0.19]


def test_audit_shows_networks_side_by_side(capsys, tmp_path):
    assert run("audit", "--json", tmp_path / "audit.json") == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "audit.json").read_text())
    departures = {name: audit["departures"] for name, audit in found.items()}
    assert departures["shufflenet_v2"] == []
    for line in ("G1", "G2", "G3", "G4"):
        assert departures[f"breaks {line}"] == [line]
    stars = [line for line in printed.splitlines() if line.split()[:1] == ["G2"]]
    assert stars[0].count("*") == 2  # V1, and the one that breaks G2


def test_audit_of_one_network_shows_its_layers(capsys):
    assert run("audit", "shufflenet_v1", "--groups", 8, "--layers") == 0
    printed = capsys.readouterr().out
    assert "shufflenet_v1, G2: use fewer groups" in printed
    assert "stage4.3.branch.6" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["guidelines", "G5"], "part 'G5' is not one of G1, G2, G3, G4, shares, ablation"),
        (["guidelines", "G1", "--rounds", 2, "--sizes", "x1"], "2 values give no 95 % interval"),
        (["guidelines", "ablation", "--seeds", 1], "seeds=1 shows no spread"),
        (["cost", "shufflenet_v1", "--groups", 5], "groups=5 is not one of"),
        (["cost", "mobilenet_v1", "--scale", 2], "scale=2.0 is not one of 0.25, 0.5, 0.75, 1"),
        (["audit", "resnet_50", "--scale", 2], "resnet_50 has no such setting"),
    ],
)
def test_bad_input_gets_one_line_that_names_it(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("numpy-shufflenet: error: ")
    assert message in error
    assert len(error.splitlines()) == 1
