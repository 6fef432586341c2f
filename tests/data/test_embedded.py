import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_shufflenet.data import FASHION_MNIST_CLASSES, embedded, load_embedded
from numpy_shufflenet.data.build_embedded import build_file, main

# Of the images' bytes, as NumPy lays them out; the file's own bytes depend on the zlib that wrote.
SHA256 = {
    "train": "73194a0c06a93deab58b95e00e618cc5c80fb5c9a84df26bbc429eeb3507846a",
    "test": "8e8b02fc2db0ff9ed2d481ff30f8bd7cc5c88205cb131d7f4a0c19448f6957c9",
}


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes, written out by hand."""
    header = b"\x00\x00\x08" + bytes([array.ndim])
    for length in array.shape:
        header += length.to_bytes(4, "big")
    return header + array.astype(np.uint8).tobytes()


def write_small_set(folder: Path, *, train: int = 60, test: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 4, 3))
        labels = rng.permutation(np.arange(count) % 10)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    return arrays


def one_bit_off(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(("part", "count"), [("train", 1000), ("test", 200)])
def test_the_embedded_set_is_what_the_readme_says(part, count):
    dataset = dict(zip(("train", "test"), load_embedded(), strict=True))[part]
    assert dataset.images.shape == (10 * count, 1, 28, 28)
    assert np.bincount(dataset.labels).tolist() == [count] * 10
    assert dataset.classes == FASHION_MNIST_CLASSES
    digest = hashlib.sha256(dataset.images.tobytes() + dataset.labels.astype(np.uint8).tobytes())
    assert digest.hexdigest() == SHA256[part]


def test_the_embedded_file_is_small_and_has_its_licence():
    assert embedded.EMBEDDED.stat().st_size <= 8_000_000
    licence = (embedded.EMBEDDED.parent / "LICENSE-fashion-mnist").read_text()
    assert "MIT License" in licence
    assert "2017 Zalando SE" in licence


def test_every_call_returns_arrays_of_its_own():
    train, _ = load_embedded()
    train.images[:] = 0
    again, _ = load_embedded()
    assert again.images.any()


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    whole = embedded.EMBEDDED.read_bytes()
    damaged = tmp_path / "fashion_mnist_12k.npz"
    monkeypatch.setattr(embedded, "EMBEDDED", damaged)
    with pytest.raises(FileNotFoundError, match=r"fashion_mnist_12k\.npz is missing"):
        load_embedded()
    for data in (b"", b"no archive", whole[:100_000], one_bit_off(whole)):
        damaged.write_bytes(data)
        with pytest.raises(ValueError, match=r"fashion_mnist_12k\.npz is damaged"):
            load_embedded()
    np.savez(damaged, train_images=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="is damaged"):
        load_embedded()


def test_build_takes_the_first_of_each_class_in_file_order(tmp_path):
    full = write_small_set(tmp_path)
    build_file(tmp_path, tmp_path / "out.npz", train_per_class=3, test_per_class=2)
    with np.load(tmp_path / "out.npz") as built:
        for part, source, count in (("train", "train", 3), ("test", "t10k", 2)):
            seen = [0] * 10
            kept = []
            for i, label in enumerate(full[f"{source}_labels"]):
                seen[label] += 1
                if seen[label] <= count:
                    kept.append(i)
            np.testing.assert_array_equal(built[f"{part}_images"], full[f"{source}_images"][kept])
            np.testing.assert_array_equal(built[f"{part}_labels"], full[f"{source}_labels"][kept])
            assert built[f"{part}_images"].dtype == built[f"{part}_labels"].dtype == np.uint8


def test_build_writes_the_same_bytes_again(tmp_path):
    write_small_set(tmp_path)
    outs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for out in outs:
        build_file(tmp_path, out, train_per_class=3, test_per_class=2)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_build_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    write_small_set(tmp_path)
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"class 'T-shirt/top' has 6 images; 7 are needed"):
        build_file(tmp_path, out, train_per_class=7, test_per_class=2)

    def full_disk(file, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space left"):
        build_file(tmp_path, out, train_per_class=3, test_per_class=2)
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*"))


def test_the_command_builds_and_explains(tmp_path, capsys):
    write_small_set(tmp_path)
    out = tmp_path / "out.npz"
    sizes = ["--train-per-class", "3", "--test-per-class", "2"]
    main([str(tmp_path), str(out), *sizes])
    assert f"{out.stat().st_size:,} bytes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere"), str(out)])
    assert "nowhere' does not exist" in capsys.readouterr().err


def test_the_command_runs_as_a_module():
    command = [sys.executable, "-W", "error", "-m", "numpy_shufflenet.data.build_embedded"]
    result = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "DIRECTORY" in result.stdout


def test_loading_needs_no_pillow():
    code = "import sys; sys.modules['PIL'] = None; import numpy_shufflenet.data as d"
    subprocess.run([sys.executable, "-c", f"{code}; d.load_embedded()"], check=True)
