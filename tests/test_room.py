"""Requests that no memory can hold end in one sentence, before anything is allocated."""

import re

import numpy as np
import pytest
from PIL import Image

from numpy_shufflenet import _room, cli, models
from numpy_shufflenet._room import check_room, free_memory, size_text
from numpy_shufflenet.data import Dataset, load_image, load_image_folder, random_crop
from numpy_shufflenet.nn import Conv2d, Sequential, initialise
from numpy_shufflenet.training import SGD, Trainer

FIGURES = r"needs [\d,.]+ [KMGTPE]iB of memory; [\d,.]+ [KMGT]iB is free"


def test_sizes_are_in_units_of_1024():
    texts = [size_text(n) for n in (0, 1023, 1024, 3 << 29, 1 << 60, 1 << 80)]
    assert texts == ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 GiB", "1.0 EiB", "1,048,576.0 EiB"]


def test_what_fits_passes_and_what_does_not_is_named():
    free = free_memory()
    assert free is None or 1 << 20 < free < 1 << 50
    check_room(1000, "little")
    if free is not None:
        with pytest.raises(MemoryError, match=f"^much {FIGURES}$"):
            check_room(free * 10, "much")


def test_the_smallest_bound_counts(monkeypatch, tmp_path):
    limit, usage = tmp_path / "limit", tmp_path / "usage"
    usage.write_text("100\n")
    monkeypatch.setattr(_room, "CGROUPS", ((str(limit), str(usage)),))
    limit.write_text("max\n")
    assert free_memory() != 900
    limit.write_text("1000\n")
    assert free_memory() == 900


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of images and a checkpoint, with little memory on this machine."""
    monkeypatch.setattr(_room, "_bounds", lambda: iter([1 << 30]))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 16, 16), np.uint8)
    for number, name in enumerate("ab" * 4):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number, 0]).save(tmp_path / "images" / name / f"{number}.png")
    model = models.shufflenet_v2(scale=0.5, in_channels=1, num_classes=2, stem="small", seed=0)
    data = Dataset(pixels, np.arange(8) % 2, ("a", "b"))
    optimiser = SGD(model, learning_rate=0.1)
    path = tmp_path / "checkpoint.safetensors"
    Trainer(model, optimiser, data, epochs=1, batch_size=8, checkpoint=path).run()
    return tmp_path


ABSURD = {
    "summary shufflenet_v2 --size 100000000": FIGURES,
    "summary shufflenet_v2 --size 100000000 --plan": FIGURES,
    "summary shufflenet_v2 --classes 1000000000000": FIGURES,
    "summary shufflenet_v2 --classes 30000000000000000000": FIGURES,
    "summary shufflenet_v2 --channels 1000000000000": FIGURES,
    "summary resnet_50 --classes 400000": FIGURES,
    "predict images/a/0.png --checkpoint checkpoint.safetensors --size 1000000": FIGURES,
    "predict images/a/0.png --checkpoint checkpoint.safetensors --size 9000": FIGURES,
    "evaluate checkpoint.safetensors --data folder:images --size 20000": FIGURES,
    "train --data folder:images --size 1000000 --out never": FIGURES,
    "train --data folder:images --size 2000 --batch-size 100 --out never": FIGURES,
    "train --data embedded --crop-padding 1000000 --out never": "are 28 pixels high",
    "check shufflenet_v2 --size 100000": FIGURES,
    "check unit-v2 --batch 1000000000000": FIGURES,
    "cost shufflenet_v2 --size 100000": FIGURES,
    "cost shufflenet_v2 --batch 1000000": FIGURES,
}


@pytest.mark.parametrize("command", ABSURD)
def test_absurd_sizes_are_refused_with_figures(command, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("numpy-shufflenet: error: ")
    assert re.search(ABSURD[command], error), error
    assert not (folder / "never").exists()


def test_memory_that_the_system_refuses_is_reported_too(monkeypatch, capsys):
    def build(*arguments, **settings):
        raise MemoryError("Unable to allocate 3.64 PiB for an array")

    monkeypatch.setattr(models, "build", build)
    assert cli.main(["summary", "shufflenet_v2"]) == 2
    error = capsys.readouterr().err
    assert "Unable to allocate 3.64 PiB for an array; " in error
    assert len(error.splitlines()) == 1


def test_functions_refuse_them_too(folder):
    with pytest.raises(MemoryError, match=FIGURES):
        load_image(folder / "images/a/0.png", size=10**6)
    with pytest.raises(MemoryError, match=FIGURES):
        load_image_folder(folder / "images", size=10**4)
    with pytest.raises(MemoryError, match=FIGURES):
        initialise(Sequential(Conv2d(2**14, 2**14, 1)), np.random.default_rng(0))


def test_a_crop_with_any_padding_takes_no_more_memory():
    images = np.ones((3, 1, 2, 2), np.uint8)
    far = random_crop(images, np.random.default_rng(0), 10**15)
    assert not far.any()
    with pytest.raises(ValueError, match=r"is not below 2\*\*62"):
        random_crop(images, np.random.default_rng(0), 2**62)


def test_what_a_summary_says_about_memory_is_less_than_is_used():
    model = models.shufflenet_v2(scale=0.5, num_classes=3, seed=0)
    table = models.summary(model, (3, 64, 64))
    sizes = [3 * 64**2, *(int(np.prod(row.output_shape)) for row in table.rows)]
    stem = 24 * 32 * 32
    assert sizes[1:4] == [stem] * 3
    assert table.memory(5) == 4 * 5 * 2 * stem
    assert table.memory(5, training=True) == 4 * 5 * (sum(sizes) // 2)
