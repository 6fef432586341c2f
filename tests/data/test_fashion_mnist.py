import gzip
import tracemalloc

import numpy as np
import pytest

from numpy_shufflenet.data import FASHION_MNIST_CLASSES, load_fashion_mnist

TRAIN = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)  # n h w
TEST = np.full((2, 2, 4), 255, dtype=np.uint8)

# Written out by hand: magic number, lengths, values.
FILES = {
    "train-images-idx3-ubyte": b"\0\0\x08\x03\0\0\0\x03\0\0\0\x02\0\0\0\x04" + bytes(range(24)),
    "train-labels-idx1-ubyte": b"\0\0\x08\x01\0\0\0\x03\x09\x00\x05",
    "t10k-images-idx3-ubyte": b"\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x04" + b"\xff" * 16,
    "t10k-labels-idx1-ubyte": b"\0\0\x08\x01\0\0\0\x02\x01\x02",
}


def write(folder, *, zipped=False, **replaced):
    for name, data in FILES.items():
        data = replaced.get(name.replace("-", "_"), data)
        if data is not None:
            path = folder / (name + ".gz" if zipped else name)
            path.write_bytes(gzip.compress(data) if zipped else data)


@pytest.mark.parametrize("zipped", [False, True])
def test_both_sets_are_read(tmp_path, zipped):
    write(tmp_path, zipped=zipped)
    train, test = load_fashion_mnist(tmp_path)
    np.testing.assert_array_equal(train.images, TRAIN[:, None], strict=True)
    np.testing.assert_array_equal(train.labels, np.array([9, 0, 5]), strict=True)
    np.testing.assert_array_equal(test.images, TEST[:, None], strict=True)
    np.testing.assert_array_equal(test.labels, np.array([1, 2]), strict=True)
    assert train.classes == test.classes == FASHION_MNIST_CLASSES
    train.images[:] = 0  # the caller's own memory


def test_gzip_is_known_by_its_bytes_not_its_name(tmp_path):
    write(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(gzip.compress(FILES[path.name]))
    train, _ = load_fashion_mnist(str(tmp_path))
    assert train.labels.tolist() == [9, 0, 5]


def test_a_missing_directory_or_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory='.*nowhere' does not exist"):
        load_fashion_mnist(tmp_path / "nowhere")
    write(tmp_path, t10k_labels_idx1_ubyte=None)
    with pytest.raises(FileNotFoundError, match=r"neither t10k-labels-idx1-ubyte nor t10k.*\.gz"):
        load_fashion_mnist(tmp_path)
    with pytest.raises(ValueError, match="is a file; a directory is needed"):
        load_fashion_mnist(tmp_path / "train-labels-idx1-ubyte")


LABELS = FILES["train-labels-idx1-ubyte"]
IMAGES = FILES["train-images-idx3-ubyte"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("labels_idx1", b"", r"begins with the bytes ; .* 00 00 08 01"),
        ("labels_idx1", b"GIF89a", r"begins with the bytes 47 49 46 38; .* 00 00 08 01"),
        ("labels_idx1", IMAGES, "with 1 axes begins with 00 00 08 01"),
        ("labels_idx1", LABELS[:6], "is truncated: 6 bytes, fewer than its header"),
        ("labels_idx1", LABELS[:-1], r"has 10 bytes, but shape \(3,\) in its header needs 11"),
        ("labels_idx1", LABELS + b"\0", "has more than 11 bytes, but shape"),
        ("labels_idx1", b"\0\0\x08\x01\0\0\0\x02\x01\x02", "3 images, but .* has 2 labels"),
        ("labels_idx1", LABELS[:-1] + b"\x0a", "label 10 at index 2 is out of range; 0 to 9 fit"),
        ("images_idx3", b"\0\0\x0d\x03" + IMAGES[4:], "begins with the bytes 00 00 0d 03"),
        ("images_idx3", b"\0\0\x08\x03" + b"\xff" * 12, r"shape \(4294967295, 4294967295, "),
        ("images_idx3", b"\0\0\x08\x03" + b"\0" * 12, r"shape \(0, 0, 0\); it holds no image"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, data, message):
    write(tmp_path, **{f"train_{name}_ubyte": data})
    with pytest.raises(ValueError, match=message) as caught:
        load_fashion_mnist(tmp_path)
    assert f"train-{name.replace('_', '-')}-ubyte" in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flip", "head"])
def test_damaged_gzip_is_named(tmp_path, damage):
    write(tmp_path)
    data = bytearray(gzip.compress(IMAGES))
    if damage == "cut":
        data = data[:-9]
    elif damage == "flip":
        data[-6] ^= 0xFF  # the checksum
    else:
        data = data[:5]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(data)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is truncated or corrupt gzip"):
        load_fashion_mnist(tmp_path)


@pytest.mark.parametrize("shape", [(3, 50_000, 20_000), (10**6, 10**6, 1), (3, 2, 4)])
def test_a_gzip_file_that_unpacks_to_much_is_refused_unread(tmp_path, shape):
    """A gigabyte of zeros in a megabyte, whether the header admits it or claims three images."""
    header = b"\0\0\x08\x03" + b"".join(length.to_bytes(4, "big") for length in shape)
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    bomb = gzip.compress(header) + 100 * gzip.compress(bytes(10**7))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"images-idx3-ubyte\.gz (claims shape|has more than)"):
            load_fashion_mnist(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path)
    assert len(load_fashion_mnist("~")[0]) == 3
