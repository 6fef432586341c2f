import gzip
import io
import pickle
import struct
import tarfile
import warnings
from collections import OrderedDict

import numpy as np
import pytest

from numpy_shufflenet.data import CIFAR10_CLASSES, load_cifar10

NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def pickled_string(text: bytes) -> bytes:
    """A string as Python 2 pickled it: opcode T, its length, its bytes."""
    return b"T" + struct.pack("<i", len(text)) + text


def pickled_as_published(images: np.ndarray, labels: list[int], *, code: bytes = b"u1") -> bytes:
    """The dict of one batch as Python 2 and the NumPy of 2009 pickled it, opcode for opcode."""
    n, pixels = images.shape
    dtype = b"cnumpy\ndtype\n" + pickled_string(code) + b"K\0K\x01\x87R"  # dtype("u1", 0, 1)
    dtype += b"(K\x03" + pickled_string(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\0tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"
    array += pickled_string(b"b") + b"\x87R"
    shape = b"J" + struct.pack("<i", n) + b"J" + struct.pack("<i", pixels) + b"\x86"
    array += b"(K\x01" + shape + dtype + b"\x89" + pickled_string(images.tobytes()) + b"tb"
    items = pickled_string(b"labels") + b"](" + b"".join(b"K%c" % label for label in labels) + b"e"
    items += pickled_string(b"data") + array
    return b"\x80\x02}(" + items + b"u."


def batch_of(seed: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    n = 2 + seed
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return images, rng.integers(0, 10, n).tolist()


def published(version: str) -> dict[str, bytes]:
    """The files of one version, six small batches."""
    files = {}
    for seed, name in enumerate(NAMES):
        images, labels = batch_of(seed)
        rows = images.reshape(len(images), 3072)
        if version == "python":
            files[f"cifar-10-batches-py/{name}"] = pickled_as_published(rows, labels)
        else:
            records = [bytes([k]) + row.tobytes() for k, row in zip(labels, rows, strict=True)]
            files[f"cifar-10-batches-bin/{name}.bin"] = b"".join(records)
    folder = next(iter(files)).split("/")[0]
    return {f"{folder}/readme.html": b"<html>"} | dict(reversed(files.items()))


def write_tree(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def write_tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def check_equal(train, test):
    batches = [batch_of(seed) for seed in range(6)]
    images = np.concatenate([images for images, _ in batches[:5]])
    labels = np.concatenate([labels for _, labels in batches[:5]])
    np.testing.assert_array_equal(train.images, images, strict=True)
    np.testing.assert_array_equal(train.labels, labels, strict=True)
    np.testing.assert_array_equal(test.images, batches[5][0], strict=True)
    np.testing.assert_array_equal(test.labels, np.array(batches[5][1]), strict=True)
    assert train.classes == test.classes == CIFAR10_CLASSES
    for dataset in (train, test):
        dataset.images[:] = 0  # the caller's own memory


def test_the_pickles_of_these_tests_are_pickles():
    images, labels = batch_of(1)
    rows = images.reshape(-1, 3072)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy.core, and of 0 and 1 for False and True
        batch = pickle.loads(pickled_as_published(rows, labels), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], rows, strict=True)
    assert batch[b"labels"] == labels


@pytest.mark.parametrize("version", ["python", "binary"])
def test_a_directory_is_read(tmp_path, version):
    files = published(version)
    write_tree(tmp_path, files)
    check_equal(*load_cifar10(tmp_path))
    check_equal(*load_cifar10(str(tmp_path / next(iter(files)).split("/")[0])))


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("version", ["python", "binary"])
def test_an_archive_is_read(tmp_path, version, mode):
    path = tmp_path / "cifar-10.tar.gz"
    write_tar(path, published(version), mode)
    check_equal(*load_cifar10(path))
    assert list(tmp_path.iterdir()) == [path]  # nothing was unpacked


def test_both_versions_side_by_side_are_one_set(tmp_path):
    for version in ("python", "binary"):
        for name, data in published(version).items():
            (tmp_path / name.split("/")[1]).write_bytes(data)
    check_equal(*load_cifar10(tmp_path))


AGAIN = {
    "lists": lambda images, labels: {b"data": images, b"labels": labels},
    "str keys": lambda images, labels: {"data": images, "labels": labels},
    "Fortran order": lambda images, labels: {b"data": np.asfortranarray(images), b"labels": labels},
    "array of labels": lambda images, labels: {b"data": images, b"labels": np.array(labels)},
    "big-endian": lambda images, labels: {b"data": images, b"labels": np.array(labels, ">i4")},
    "scalars": lambda images, labels: {b"data": images, b"labels": [*map(np.uint8, labels)]},
    "ordered": lambda images, labels: OrderedDict(data=images, labels=labels),
    "names": lambda images, labels: {
        b"data": images,
        b"labels": labels,
        b"filenames": [b"", b"a.png"],
        b"more": [bytearray(b"x"), {"y": (1.5, None, True)}, -(2**70)],
    },
    "read-only": lambda images, labels: {
        b"data": np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape),
        b"labels": labels,
    },
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("again", AGAIN)
def test_a_batch_pickled_again_by_python_3_is_read(tmp_path, again, protocol):
    files = {}
    for seed, name in enumerate(NAMES):
        images, labels = batch_of(seed)
        batch = AGAIN[again](images.reshape(-1, 3072), labels)
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol)
    write_tree(tmp_path, files)
    check_equal(*load_cifar10(tmp_path))


def test_pickles_of_numpy_1_are_read(tmp_path):
    """NumPy 2 has moved these functions from numpy.core to numpy._core."""
    files = {}
    for protocol, (seed, name) in zip((0, 1, 2, 3, 4, 5), enumerate(NAMES), strict=True):
        images, labels = batch_of(seed)
        data = pickle.dumps({b"data": images.reshape(-1, 3072), b"labels": labels}, protocol)
        for part in (b"multiarray", b"numeric"):
            # In protocols 4 and 5 the length of the name stands before it.
            new, old = b"numpy._core." + part, b"numpy.core." + part
            data = data.replace(bytes([len(new)]) + new, bytes([len(old)]) + old).replace(new, old)
        # The length of the frame is one less for each name that was shortened; no frame is needed.
        if data[2:3] == b"\x95":
            data = data[:2] + data[11:]
        files[f"cifar-10-batches-py/{name}"] = data
    write_tree(tmp_path, files)
    check_equal(*load_cifar10(tmp_path))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path='.*nowhere' does not exist"):
        load_cifar10(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"lacks data_batch_1, .*, test_batch of CIFAR-10"):
        load_cifar10(tmp_path)
    write_tree(tmp_path, published("python"))
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(ValueError, match="lacks data_batch_3 of CIFAR-10"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_archive_is_named(tmp_path, share, mode):
    path = tmp_path / "cifar-10.tar.gz"
    write_tar(path, published("binary"), mode)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    # Cut between two files, an archive without gzip looks whole, but for what it lacks.
    with pytest.raises(ValueError, match=r"cifar-10\.tar\.gz") as caught:
        load_cifar10(path)
    said = ("not a complete tar archive", "truncated or corrupt gzip data", "lacks data_")
    assert any(text in str(caught.value) for text in said)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n" * 1000)
    with pytest.raises(ValueError, match=r"picture\.png is not a complete tar archive"):
        load_cifar10(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, not whole records of 3073"),
        (bytes(2 * 3073 - 1), "has 6145 bytes, not whole records of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), "label 10 at index 1 is out of range; 0 to 9"),
    ],
)
def test_a_wrong_binary_batch_is_named(tmp_path, data, message):
    write_tree(tmp_path, published("binary") | {"cifar-10-batches-bin/data_batch_2.bin": data})
    with pytest.raises(ValueError, match=rf"data_batch_2\.bin:? {message}"):
        load_cifar10(tmp_path)


ROWS = np.zeros((2, 3072), np.uint8)
GOOD = pickled_as_published(ROWS, [1, 2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a batch of CIFAR-10"),
        (GOOD[:-100], "not a batch of CIFAR-10: it is no pickle of"),
        (b"\x89PNG", "not a batch of CIFAR-10"),
        (pickle.dumps([1, 2], 2), "is not a dict with data and labels"),
        (pickle.dumps({b"data": 1}, 3), "is not a dict with data and labels"),
        (pickle.dumps({b"data": [0], b"labels": [0]}, 3), "data is not a uint8 array of shape"),
        (pickled_as_published(ROWS[:, :3071], [1, 2]), r"data is not .* of shape \(n, 3072\)"),
        (pickled_as_published(ROWS[:0], []), r"data is not .* of shape \(n, 3072\)"),
        (pickled_as_published(ROWS, [1, 2], code=b"O8"), "an array of dtype 'O8', not of integers"),
        (pickled_as_published(ROWS, [1, 2, 3]), "has 2 images, but 3 labels"),
        (pickled_as_published(ROWS, [1, 10]), "label 10 at index 1 is out of range; 0 to 9"),
        (GOOD.replace(b"](K\x01K\x02e", b"](NK\x02e"), "labels is not a list of whole numbers"),
        (GOOD.replace(b"](K\x01K\x02e", b"K\x01"), "labels is not a list of whole numbers"),
    ],
)
def test_a_wrong_pickle_is_named(tmp_path, data, message):
    assert b"](K\x01K\x02e" in GOOD
    write_tree(tmp_path, published("python") | {"cifar-10-batches-py/data_batch_2": data})
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(tmp_path)
    assert "data_batch_2" in str(caught.value)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(tmp_path, protocol):
    victim = tmp_path / "victim"
    data = pickle.dumps({b"data": Harmful(str(victim)), b"labels": [1]}, protocol)
    write_tree(tmp_path, published("python") | {"cifar-10-batches-py/data_batch_1": data})
    with pytest.raises(ValueError, match=r"it names .*, which is not allowed"):
        load_cifar10(tmp_path)
    assert not victim.exists()
    with pickle.loads(data)[b"data"]:  # a plain pickle would have done it
        assert victim.exists()


@pytest.mark.parametrize(
    "call", [b"cnumpy\nload\n", b"cbuiltins\neval\n", b"cnumpy.core.multiarray\nfromfile\n"]
)
def test_other_names_are_refused(tmp_path, call):
    data = b"\x80\x02" + call + b"."
    write_tree(tmp_path, published("python") | {"cifar-10-batches-py/test_batch": data})
    with pytest.raises(ValueError, match="which is not allowed"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02}r\xff\xff\xff\x7f.",  # the memo's entry 2^31 - 1: 16 GB in `pickle`
        b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.",  # a tuple 200,000 deep as a key
        b"\x80\x04\x8e" + (10**12).to_bytes(8, "little") + b"abc.",
        b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"abc.",
        b"\x80\x02(lp0\n" + b"}" * 400_001 + b"e.",
        b"\x80\x02" + b"(" * 100_000,
        b"\x80\x020.",
        b"\x80\x02cnumpy\ndtype\n(X\x02\0\0\0u1tR}b.",
        b"\x80\x02}(K\x01e.",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x80\x02Nh\x07.",
        b"\x80\x02N)R.",
        b"\x80\x02P1\n.",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_pickle_that_asks_for_too_much_is_refused(tmp_path, data):
    write_tree(tmp_path, published("python") | {"cifar-10-batches-py/test_batch": data})
    with pytest.raises(ValueError, match=r"test_batch is not a (batch|dict)"):
        load_cifar10(tmp_path)


def tar_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A header of tar, written out by hand."""
    start = name.ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0"
    start += size.ljust(12, b"\0") + b"00000000000\0"
    end = kind + bytes(100) + b"ustar\x0000" + bytes(247)
    total = sum(start) + 8 * ord(" ") + sum(end)
    return (start + b"%06o\0 " % total + end).ljust(512, b"\0")


def base_256(size: int) -> bytes:
    return (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (tar_header(b"data_batch_1", base_256(10**12)), "data_batch_1 has a size of 1,000,000,000"),
        (
            tar_header(b"readme.html", base_256(3 * 10**9)),
            "readme.html has a size of 3,000,000,000",
        ),
        (tar_header(b"long", base_256(10**12), b"L"), "claims to be longer than 1,048,576 bytes"),
        (tar_header(b"pax", base_256(10**12), b"x"), "claims to be longer than 1,048,576 bytes"),
        (tar_header(b"x", base_256(-(2**20))) + bytes(512), "tar archive|has a size of -1,048,576"),
        (1001 * tar_header(b"x", b"0"), "has more than 1,000 members"),
    ],
    ids=["batch", "other", "name", "pax", "negative", "members"],
)
def test_an_archive_that_claims_too_much_is_refused(tmp_path, archive, message):
    for name, data in (("a.tar", archive), ("a.tar.gz", gzip.compress(archive))):
        (tmp_path / name).write_bytes(data + bytes(1024))
        with pytest.raises(ValueError, match=message) as caught:
            load_cifar10(tmp_path / name)
        assert name in str(caught.value)


def test_a_small_archive_that_unpacks_to_much_is_refused(tmp_path):
    """Each of its members is small enough: together they are 600 MB of zeros in 600 kB."""
    member = tar_header(b"x", b"%o" % (60 * 10**6)) + bytes(60 * 10**6 // 512 * 512 + 512)
    (tmp_path / "a.tar.gz").write_bytes(10 * gzip.compress(member))
    with pytest.raises(ValueError, match=r"a\.tar\.gz is .*: it unpacks to more than 402,653,184"):
        load_cifar10(tmp_path / "a.tar.gz")
