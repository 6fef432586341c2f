"""The command that compares a network with its port."""

import sys

import numpy as np
import published_networks as published
import pytest
from peers import need

from numpy_shufflenet import models, nn
from numpy_shufflenet.cli import main
from numpy_shufflenet.commands.compare import random_images

torch = need("torch")
published.torchvision()
Image = pytest.importorskip("PIL.Image")
TORCHVISION = "torchvision.models:shufflenet_v2_x0_5"
SMALL = ("--size", "64", "--count", "3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A new network, the same with statistics, and pictures."""
    folder = tmp_path_factory.mktemp("files")
    model = models.shufflenet_v2(scale=0.5, layout="torchvision", seed=0)
    model.save(folder / "new.pth", "torchvision")
    pictures = random_images(3, 3, 64)
    nn.fill_statistics(model, pictures.astype(np.float32) / 255)
    model.save(folder / "filled.npz")
    (folder / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"pictures/{number}.png")
    (folder / "pictures" / "notes.txt").write_text("no picture")
    return folder


def run(capsys, *arguments):
    status = main(["compare", *map(str, arguments)])
    return status, "".join(capsys.readouterr())


def test_an_equal_network_and_bgr(folder, capsys):
    filled = folder / "filled.npz"
    arguments = (filled, TORCHVISION, "--their-weights", filled, "--images", folder / "pictures")
    status, said = run(capsys, *arguments, *SMALL, "--out", folder / "a.svg")
    assert status == 0
    assert "equal: 130 layers, 3 images" in said
    assert b"<svg" in (folder / "a.svg").read_bytes()
    status, said = run(capsys, *arguments, *SMALL, "--their-bgr", "--preprocessing", "authors")
    assert status == 1
    assert "the first layer that differs is conv1.0" in said
    assert "takes BGR" in said


def test_a_new_network_can_not_be_told_until_it_is_filled(folder, capsys):
    new = folder / "new.pth"
    arguments = (new, TORCHVISION, "--their-weights", new, *SMALL)
    status, said = run(capsys, *arguments)
    assert status == 1
    assert "this comparison can't tell a right network from a wrong one" in said
    status, said = run(capsys, *arguments, "--fill-statistics", "--layers")
    assert status == 0
    assert "stage4.3.branch2.6" in said


MODULE = """
import torch

def right():
    return torch.nn.Identity()

def wrong():
    return 3

def arguments(x):
    return x

number = 3
"""


def test_bad_input(folder, capsys, tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(MODULE)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    filled = folder / "filled.npz"
    for arguments, message in (
        ((filled, "none.onnx"), "none.onnx does not exist"),
        ((filled, filled), "is neither a file that ends in .onnx, nor MODULE:FUNCTION"),
        ((filled, "no_such_module:f"), "can't be imported"),
        ((filled, "own_nets:f"), "own_nets has no function f"),
        ((filled, "own_nets:number"), "own_nets has no function number"),
        ((filled, "own_nets:wrong"), "returns int; a torch module is needed"),
        ((filled, "own_nets:arguments"), "can't be called without arguments"),
        ((filled, "own_nets:right", *SMALL), "convolutions, theirs 0"),
        ((filled, "own_nets:right", "--their-weights", filled), "don't fit theirs"),
        ((filled, "a.onnx", "--their-weights", filled), "--their-weights is for MODULE"),
        ((filled, TORCHVISION, "--images", tmp_path / "empty"), "has 0 images; at least 2"),
        ((filled, TORCHVISION, "--images", filled), "is not a folder"),
        ((filled, TORCHVISION, "--count", "1", "--size", "64"), "n >= 2 is needed"),
        ((filled, TORCHVISION, "--out", "a.jpg"), "neither in .png nor in .svg"),
    ):
        status, said = run(capsys, *arguments)
        assert status == 2, arguments
        assert message in said
    assert sys.path == path
