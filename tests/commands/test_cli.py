"""The command as a user types it."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from numpy_shufflenet import backend, cli, ops
from numpy_shufflenet.commands import check, train
from numpy_shufflenet.commands._common import show_table
from numpy_shufflenet.commands._recipes import RECIPES
from numpy_shufflenet.data import load_embedded
from numpy_shufflenet.models import v2
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.training import cosine_schedule, evaluate, load_checkpoint
from numpy_shufflenet.zoo import BUGS, score

WRONG_FORWARD = "normalised_by_the_unbiased_variance"
COMMANDS = [
    *("demo", "course", "train", "evaluate", "predict", "summary", "check", "zoo"),
    *("cost", "guidelines", "audit", "bench"),
]


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One tiny demo that several tests look at: its folder and what it printed."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-W", "error", "-m", "numpy_shufflenet", "demo", "--out", str(out)]
    sizes = ["--epochs", "2", "--train-images", "60", "--test-images", "40", "--batch-size", "20"]
    sizes += ["--entries", "1"]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    return out, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"numpy-shufflenet {command}" in text
    assert "examples:" in text


def test_starting_imports_nothing_slow():
    code = (
        "import sys, numpy_shufflenet.cli as cli; cli.build_parser(); "
        "print([m for m in ('numba', 'matplotlib', 'rich', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["summary", "shufflenet_v1", "--groups", "5"], "groups=5 is not one of 1, 2, 3, 4, 8"),
        (["summary", "shufflenet_v2", "--groups", "3"], "shufflenet_v2 has no such setting"),
        (["summary", "shufflenet_v2", "--dropout", "2"], "rate=2.0"),
        (["check"], "give either a NAME"),
        (["check", "conv2d", "--all"], "give either a NAME"),
        (["evaluate", "missing.safetensors"], "missing.safetensors does not exist"),
        (["train", "--data", "nonsense"], "nonsense"),
        (["train", "--warmup", "2", "--out", "never"], "--warmup=2.0"),
        (["train", "--resume", "--out", "never"], "never/checkpoint.safetensors does not exist"),
    ],
)
def test_bad_input_gets_one_line_that_names_it(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("numpy-shufflenet: error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lessons", "message"),
    [
        ("5-3", "'5-3' goes from 5 down to 3; 3-5 is needed"),
        ("1-10000000000", "is not a list of numbers"),
        ("", "is not a list of numbers"),
    ],
)
def test_lessons_that_are_no_list_are_refused(lessons, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        run("course", "build", "--lessons", lessons, "--out", tmp_path / "never")
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_summary_lists_the_instructions_of_a_plan(capsys):
    assert run("summary", "shufflenet_v1", "--scale", "0.25", "--plan") == 0
    out = capsys.readouterr().out
    assert "product + shortcut ReLU" in out
    assert "240x7x7" in out


def test_summary_ends_with_the_published_totals(capsys):
    assert run("summary", "shufflenet_v2", "--layout", "torchvision") == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "2,278,604", "144,907,992"]


@pytest.mark.parametrize(
    "name", ["conv2d", "dropout", "channel_split", "unit-v2", "unit-v1-stride2"]
)
def test_check_passes_what_is_right(name, capsys):
    assert run("check", name) == 0
    assert "pass" in capsys.readouterr().out


def test_check_of_a_network_passes(capsys, monkeypatch):
    """With one unit in each stage: whole networks are checked by the demo, and by gradcheck/."""
    monkeypatch.setattr(v2, "REPEATS", (1, 1, 1))
    assert run("check", "shufflenet_v2", "--scale", 0.5, "--stem", "small", "--size", 16) == 0
    printed = capsys.readouterr().out
    assert "conv5.0.weight" in printed
    assert "pass: 53 tensors, 159 entries" in printed


@pytest.mark.parametrize("name", ["channel_shuffle", "unit-v1"])
def test_check_fails_what_is_wrong(name, capsys, monkeypatch):
    """The classical mistake: shuffling the gradient with the groups of the forward."""

    def wrong(dy, cache):
        return ops.channel_shuffle_forward(dy, cache.groups)[0]

    monkeypatch.setattr(ops, "channel_shuffle_backward", wrong)
    with backend.use("numpy"):
        assert run("check", name) == 1
    assert "fail" in capsys.readouterr().out


def test_check_names_the_likely_cause(capsys, monkeypatch):
    monkeypatch.setattr(ops, "relu_backward", lambda dy, cache: dy.copy())
    assert run("check", "relu") == 1
    assert "likely cause: mask in the gradient of x" in capsys.readouterr().out


def test_check_takes_floors_modes_and_entries(capsys):
    assert run("check", "conv2d", "--implementation", "steps", "--per-entry") == 0
    assert "240 entries" in capsys.readouterr().out
    assert run("check", "unit-v2", "--mode", "evaluation") == 0


def test_check_all_prints_a_row_for_each_floor_and_mode(capsys, monkeypatch):
    monkeypatch.setattr(
        check, "OPERATIONS", {name: OPERATIONS[name] for name in ("relu", "linear")}
    )
    monkeypatch.setattr(check, "UNITS", {"unit-v2": check.UNITS["unit-v2"]})
    monkeypatch.setattr(check, "NETWORKS", {})
    assert run("check", "--all") == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if line.endswith(("pass", "pass  "))]
    assert [row[:2] for row in rows[:-2]] == [
        [name, implementation]
        for name in ("relu", "linear")
        for implementation in OPERATIONS[name].implementations
    ]
    assert [row[:3] for row in rows[-2:]] == [
        ["unit-v2", "backend", mode] for mode in ("training", "evaluation")
    ]
    assert all(0 <= float(row[-2]) < 1e-6 for row in rows)
    assert "worst relative error" in printed

    monkeypatch.setattr(check, "UNITS", {})
    monkeypatch.setattr(ops, "relu_backward", lambda dy, cache: dy.copy())
    assert run("check", "--all") == 1


def test_zoo_lists_bugs_and_shows_one(capsys):
    assert run("zoo", "--list") == 0
    printed = capsys.readouterr().out
    assert "batch_norm/gamma_dropped (part a; factor)" in printed
    assert f"{len(BUGS)} bugs" in printed
    assert run("zoo", "relu/slope_one") == 0
    printed = capsys.readouterr().out
    assert "Return dy unchanged, as if the slope were 1 everywhere." in printed
    assert "fail: the gradient of x disagrees" in printed
    assert "mask in the gradient of x" in printed
    assert run("zoo", "no such bug") == 2


def test_zoo_prints_the_score_beside_those_of_weaker_styles(capsys, monkeypatch):
    bugs = [BUGS[name] for name in ("relu/slope_one", "channel_shuffle/shuffled_onwards")]
    right = [bug for bug in score.rights() if bug.name in ("relu", "unit_v2")]
    monkeypatch.setattr(score, "part", lambda *names: bugs)
    monkeypatch.setattr(score, "rights", lambda: right)
    assert run("zoo", "--seeds", 2, "--right-seeds", 2) == 0
    printed = capsys.readouterr().out
    assert "caught: 4 of 4, 100.0 %" in printed
    assert "passed: 4 of 4, 100.0 %" in printed
    assert "sum as loss" in printed

    monkeypatch.setattr(score, "part", lambda *names: [BUGS["batch_norm/" + WRONG_FORWARD]])
    assert run("zoo", "--seeds", 1, "--right-seeds", 1) == 1
    assert "caught: 0 of 1" in capsys.readouterr().out


def test_demo_writes_all_that_it_promises(demo):
    out, printed = demo
    pictures = ["learning_curves.png", "confusion_matrix.png", "filters.png", "predictions.png"]
    for name in pictures:
        with Image.open(out / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
    assert {path.name for path in out.iterdir()} == {
        *pictures,
        "report.html",
        "history.json",
        "checkpoint.safetensors",
    }
    assert "gradient check: pass; 170 tensors, 170 entries" in printed
    assert "conv5.0.weight" in printed


def test_the_report_is_self_contained(demo):
    page = (demo[0] / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page.replace("http-equiv", "")


def test_the_accuracy_that_demo_prints_is_that_of_its_checkpoint(demo):
    out, printed = demo
    checkpoint = load_checkpoint(out / "checkpoint.safetensors")
    _, test_set = load_embedded()
    ranks = np.array(
        [(test_set.labels[:i] == label).sum() for i, label in enumerate(test_set.labels)]
    )
    images = np.flatnonzero(ranks < 4)  # 40 images: the first four of each class
    found = evaluate(checkpoint.build_model(), test_set.subset(images), checkpoint.standardise)
    assert f"test accuracy {found.accuracy:.2%} on 40 images" in printed


def test_evaluate_prints_each_class_and_draws(demo, tmp_path, capsys):
    checkpoint = demo[0] / "checkpoint.safetensors"
    assert run("evaluate", checkpoint, "--out", tmp_path / "confusion.png") == 0
    printed = capsys.readouterr().out
    assert "Ankle boot" in printed
    assert "2000 images" in printed
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_predict_shows_the_top_classes(demo, tmp_path, capsys):
    _, test_set = load_embedded()
    path = tmp_path / "boot.png"
    Image.fromarray(test_set.images[0, 0]).save(path)
    checkpoint = load_checkpoint(demo[0] / "checkpoint.safetensors")
    probabilities = evaluate(
        checkpoint.build_model(), test_set.subset(np.array([0])), checkpoint.standardise
    ).probabilities[0]
    best = probabilities.argmax()
    assert run("predict", "--checkpoint", demo[0] / "checkpoint.safetensors", path) == 0
    printed = capsys.readouterr().out
    first = next(line for line in printed.splitlines() if str(path) in line)
    assert first.split()[1:] == [*checkpoint.classes[best].split(), f"{probabilities[best]:.1%}"]
    assert printed.count("%") == 5
    assert "checkpoint: short side 28" in printed


def test_predict_refuses_what_is_no_image(demo, tmp_path, capsys):
    path = tmp_path / "text.png"
    path.write_text("no image")
    assert run("predict", "--checkpoint", demo[0] / "checkpoint.safetensors", path) == 2
    assert str(path) in capsys.readouterr().err


@pytest.fixture
def tiny(tmp_path):
    """Arguments of a training of seconds, on a folder of made-up images of two classes."""
    rng = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("bright", 190)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 60, (28, 28, 3)).astype(np.uint8) + np.uint8(brightness)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    data = ["--data", f"folder:{tmp_path / 'images'}", "--size", 28]
    return [*data, "--out", tmp_path / "out", "--batch-size", 8, "--learning-rate", 0.05]


def test_train_then_resume_ends_like_an_unbroken_training(tiny, tmp_path, monkeypatch, capsys):
    assert run("train", *tiny, "--epochs", 3, "--out", tmp_path / "unbroken") == 0

    class Stop:
        def begin(self, trainer): ...

        def step(self, trainer, report): ...

        def epoch(self, trainer, record):
            if record.epoch == 2:
                raise KeyboardInterrupt

        def end(self, trainer): ...

    with monkeypatch.context() as patch:
        patch.setattr(train, "observers", lambda: [Stop()])
        assert run("train", *tiny, "--epochs", 3) == 130
    assert load_checkpoint(tmp_path / "out" / "checkpoint.safetensors").epoch == 2
    assert run("train", *tiny, "--resume") == 0
    left, right = (
        load_checkpoint(tmp_path / folder / "checkpoint.safetensors").model
        for folder in ("unbroken", "out")
    )
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [record["epoch"] for record in history["epochs"]] == [1, 2, 3]
    assert "interrupted" in capsys.readouterr().err


def test_train_keeps_an_existing_checkpoint(tiny, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "checkpoint.safetensors").write_text("precious")
    assert run("train", *tiny) == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "out" / "checkpoint.safetensors").read_text() == "precious"


def test_resume_names_every_setting_that_differs(tiny, tmp_path, capsys):
    assert run("train", *tiny, "--epochs", 1, "--momentum", 0.8, "--scale", 0.5) == 0
    path = tmp_path / "out" / "checkpoint.safetensors"
    before = path.read_bytes()
    same = ["--momentum", 0.8, "--scale", 0.5, "--model", "shufflenet_v2", "--seed", 0]
    capsys.readouterr()
    for given in (
        ["--learning-rate", 0.3],  # the default, but said
        ["--model", "shufflenet_v1"],
        ["--groups", 2],
        ["--batch-size", 9],
        ["--schedule", "linear"],
        ["--warmup", 0.5],
        ["--momentum", 0.9],
        ["--weight-decay", 0.1],
        ["--label-smoothing", 0],
        ["--accumulate", 2],
        ["--crop-padding", 1],
        ["--no-flip"],
        ["--cutout", 4],
        ["--average", 0.9],
        ["--seed", 1],
        ["--stem", "imagenet"],
        ["--dropout", 0.5],
        ["--size", 20],
    ):
        assert run("train", *tiny, *same, "--resume", *given) == 2, given
        error = capsys.readouterr().err
        assert f"{path} has other settings: {given[0]}" in error
        assert error.count("checkpoint has") == 1
    assert run("train", *tiny, "--resume", "--accumulate", 2, "--seed", 5) == 2
    error = capsys.readouterr().err
    assert "--accumulate 2, but the checkpoint has 1" in error
    assert "--seed 5, but the checkpoint has 0" in error
    assert path.read_bytes() == before


def test_options_override_a_recipe(tiny, tmp_path, capsys):
    given = {"epochs": 1, "batch_size": 8, "learning_rate": 0.05, "scale": 0.5}
    assert run("train", *tiny, "--epochs", 1, "--scale", 0.5, "--recipe", "cifar10") == 0
    checkpoint = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    found = train.settings_of(checkpoint) | {"epochs": checkpoint.settings["epochs"]}
    expected = RECIPES["cifar10"] | given
    expected["warmup"] = int(expected["warmup"] * found["steps"])
    assert expected.items() <= found.items()
    assert set(given) - {"scale"} < set(RECIPES["cifar10"])
    assert run("train", *tiny, "--recipe", "cifar10", "--resume") == 2
    assert "--recipe starts a new training" in capsys.readouterr().err


def test_resume_extends_a_training(tiny, tmp_path, capsys):
    assert run("train", *tiny, "--epochs", 1) == 0
    capsys.readouterr()
    data = tiny[:2]  # the size of the images is the checkpoint's
    assert run("train", *data, "--out", tmp_path / "out", "--resume") == 0
    assert "all epochs are done; --epochs 2 or more continues" in capsys.readouterr().out
    assert run("train", *tiny, "--resume", "--epochs", 3) == 0
    found = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    steps = found.step // 3
    assert (found.epoch, found.settings["epochs"]) == (3, 3)
    assert found.schedule == {"shape": "cosine", "peak": 0.05, "steps": 3 * steps, "warmup": 0}
    rates = found.history["learning_rate"]
    expected = cosine_schedule(0.05, 3 * steps)
    assert rates[steps:] == [expected(step) for step in range(steps, 3 * steps)]
    assert run("train", *tiny, "--resume", "--epochs", 2) == 2
    assert "epochs=2, but 3 are done" in capsys.readouterr().err


def test_evaluate_takes_the_size_and_the_images_that_training_left_out(tiny, tmp_path, capsys):
    assert run("train", *tiny, "--epochs", 1) == 0
    path = tmp_path / "out" / "checkpoint.safetensors"
    capsys.readouterr()
    assert run("evaluate", path, *tiny[:2]) == 0
    printed = capsys.readouterr().out
    assert "4 images (the images of the folder that the training left out)" in printed
    assert "was trained on" not in printed
    for name in ("dark", "bright"):  # another folder: nothing of it was trained on
        (tmp_path / "other" / name).mkdir(parents=True)
        for number in range(3 if name == "dark" else 1):
            Image.new("RGB", (28, 28), (9 * number, 9, 9)).save(
                tmp_path / "other" / name / f"{number}.png"
            )
    assert run("evaluate", path, "--data", f"folder:{tmp_path / 'other'}") == 0
    printed = capsys.readouterr().out
    assert "4 images (all images of the folder; the training used other images)" in printed
    assert "was trained on" not in printed
    other = ["--data", f"folder:{tmp_path / 'other'}"]
    assert run("evaluate", path, *other, "--size", 32) == 0
    assert "are 3 x 32 x 32, but the network was trained on 3 x 28 x 28" in capsys.readouterr().out


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run("evaluate", "~/missing.safetensors") == 2
    assert f"{tmp_path}" in capsys.readouterr().err
    assert run("audit", "shufflenet_v2", "--size", 32, "--json=~/audit.json") == 0
    assert (tmp_path / "audit.json").is_file()


def test_names_with_brackets_are_shown_as_they_are(capsys):
    show_table("[/t]", ["[/h]", "[b]x"], [["[/y].png", "[red]a[/red] :smile:"]], left=2)
    printed = capsys.readouterr().out
    for text in ("[/t]", "[/h]", "[b]x", "[/y].png", "[red]a[/red] :smile:"):
        assert text in printed
