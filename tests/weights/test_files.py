"""Files of weights: written by PyTorch, ONNX and NumPy themselves, and read without PyTorch."""

import argparse
import collections
import os
import pickle
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import need
from strategies import seeds

from numpy_shufflenet import weights
from numpy_shufflenet.weights.pytorch import GLOBALS

torch = need("torch")
FLOATS = ("float64", "float32", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")
NEW = ("uint16", "uint32", "uint64")  # of the zip format
COMPLEX = ("complex64", "complex128")
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])


def written(path, value, zipped):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def expected(tensor):
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).numpy()


def assert_read(path, tensors):
    arrays = weights.load(path)
    assert list(arrays) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], expected(tensor), strict=True, err_msg=name)
        assert arrays[name].flags.c_contiguous
        assert arrays[name].flags.writeable


def drawn(dtype, *shape):
    if dtype in FLOATS + COMPLEX:
        return (9 * torch.randn(shape)).to(getattr(torch, dtype))
    return torch.randint(0, 2 if dtype == "bool" else 100, shape).to(getattr(torch, dtype))


@FORMATS
def test_every_dtype_of_torch(tmp_path, zipped):
    names = FLOATS + WHOLE + COMPLEX + (NEW if zipped else ())
    tensors = {
        f"{name}.{shape}": drawn(name, *shape)
        for name in names
        for shape in ((), (3,), (2, 0, 3), (2, 3, 4, 5))
    }
    assert_read(written(tmp_path / "a.pth", tensors, zipped), tensors)


@FORMATS
def test_special_numbers_of_half_precision(tmp_path, zipped):
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    tensors = {name: bits.clone().view(getattr(torch, name)) for name in ("float16", "bfloat16")}
    assert_read(written(tmp_path / "a.pth", tensors, zipped), tensors)


@given(data=st.data(), seed=seeds(), zipped=st.booleans())
def test_any_strides_and_views_that_share_a_storage(tmp_path_factory, data, seed, zipped):
    torch.manual_seed(seed)
    base = drawn(
        data.draw(st.sampled_from(FLOATS + WHOLE)),
        *data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)),
    )
    views = {"base": base}
    for number in range(data.draw(st.integers(1, 4))):
        view = base.permute(*data.draw(st.permutations(range(base.ndim))))
        for axis in range(view.ndim):
            start = data.draw(st.integers(0, view.shape[axis] - 1))
            step = data.draw(st.integers(1, 3))
            view = view[(slice(None),) * axis + (slice(start, None, step),)]
        if data.draw(st.booleans()):
            view = view[..., None].expand(*view.shape, 3)
        views[f"view.{number}"] = view
    path = tmp_path_factory.mktemp("views") / "a.pth"
    assert_read(written(path, views, zipped), views)


@FORMATS
def test_arrays_are_new_where_tensors_share_a_storage(tmp_path, zipped):
    base = torch.randn(4, 3)
    path = written(tmp_path / "a.pth", {"a": base, "b": base.T}, zipped)
    arrays = weights.load(path)
    arrays["a"][...] = 0
    np.testing.assert_array_equal(arrays["b"], base.T.numpy())


@FORMATS
def test_wrappers_parameters_and_what_is_no_tensor(tmp_path, zipped):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [2, 4])
    network(torch.randn(2, 3, 5, 5)).sum().backward()
    optimiser.step()
    parameter = torch.nn.Parameter(torch.randn(2, 3))
    marked = torch.nn.Parameter(torch.randn(2))
    marked.note = "an attribute"
    checkpoint = {
        "state_dict": network.state_dict(),
        "optimizer": optimiser.state_dict(),
        "scheduler": schedule.state_dict(),
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu")),
        "best": np.float64(0.5),
        "epoch": 3,
        "name": "x",
        "size": torch.Size([2, 3]),
        "counts": collections.Counter("aab"),
        "list": [parameter, (marked,)],
        7: network[0].weight,
    }
    arrays = weights.load(written(tmp_path / "a.pth", checkpoint, zipped))
    tensors = {f"state_dict.{name}": value for name, value in network.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors[f"optimizer.state.{number}.momentum_buffer"] = state["momentum_buffer"]
    tensors |= {"list.0": parameter, "list.1.0": marked, "7": network[0].weight}
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[name], expected(tensor), err_msg=name)


@FORMATS
@pytest.mark.parametrize("device", ["cuda:0", "mps", "hpu:1"])
def test_the_device_of_a_tensor_plays_no_role(tmp_path, zipped, device):
    """A file says of a storage where it was, as in b"cpu"; here that word is replaced."""
    tensors = {"a": torch.randn(3, 4)}
    path = written(tmp_path / "a.pth", tensors, zipped)
    word, other = (b"X%c\0\0\0%b" % (len(text), text) for text in (b"cpu", device.encode()))

    def moved(data):
        assert data.count(word) == 1
        return data.replace(word, other)

    if zipped:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, moved(data) if name.endswith("data.pkl") else data)
    else:
        path.write_bytes(moved(path.read_bytes()))
    assert_read(path, tensors)


def test_a_file_without_checksums(tmp_path):
    from torch.serialization import set_crc32_options

    tensors = {"a": torch.randn(3, 4)}
    set_crc32_options(False)
    try:
        assert_read(written(tmp_path / "a.pth", tensors, True), tensors)
    finally:
        set_crc32_options(True)


@FORMATS
@pytest.mark.parametrize("order", ["little", "big"])
def test_both_orders_of_bytes(tmp_path, zipped, order):
    """PyTorch names the machine's order in the file; here the numbers are swapped by hand."""
    array = np.arange(6, dtype=np.float32)
    path = written(tmp_path / "a.pth", {"a": torch.from_numpy(array)}, zipped)
    data = path.read_bytes()
    if order == "big":
        swapped = {array.tobytes(): array.astype(">f4").tobytes()}
        # Checksums go with the numbers: a new archive is written.
        if zipped:
            swapped[b"little"] = b"big"
            with zipfile.ZipFile(path) as archive:
                members = {info.filename: archive.read(info) for info in archive.infolist()}
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in members.items():
                    archive.writestr(name, swapped.get(content, content))
        else:
            swapped[b"little_endianq\x02\x88"] = b"little_endianq\x02\x89"
            for old, new in swapped.items():
                assert data.count(old) == 1
                data = data.replace(old, new)
            path.write_bytes(data)
    np.testing.assert_array_equal(weights.load(path)["a"], array, strict=True)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_of_arrays_as_paddle_writes_it(tmp_path, protocol):
    arrays = {
        "_fc.weight": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "half": np.arange(4, dtype=np.float16),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "swapped": np.arange(3, dtype=">f8"),
    }
    path = tmp_path / "a.pdparams"
    names = {"StructuredToParameterName@@": {"_fc.weight": "linear_0.w_0"}}
    path.write_bytes(pickle.dumps(arrays | names, protocol))
    read = weights.load(path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        wider = np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read[name], array.astype(wider), strict=True)


class Marker:
    """Pickled, it calls open(path, "w"), which leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@FORMATS
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path, zipped):
    marker = tmp_path / "marker"
    path = written(tmp_path / "a.pth", {"a": torch.ones(2), "b": Marker(marker)}, zipped)
    with pytest.raises(ValueError, match=r"a\.pth: .* it names (_io|io)\.open, which is not"):
        weights.load(path)
    assert not marker.exists()
    with torch.load(path, weights_only=False)["b"]:  # the file does it where it is trusted
        assert marker.exists()


@FORMATS
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
        ({"a": torch.ones(2).to_sparse()}, "torch._utils._rebuild_sparse_tensor"),
        ({"a": torch.empty(2, device="meta")}, "torch._utils._rebuild_meta_tensor_no_storage"),
        ({"a": print}, "builtins.print"),
        ({"a": os.system}, "posix.system"),
        ({"a": {1, 2}}, "builtins.set"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_other_global_is_refused_by_name(tmp_path, zipped, value, name):
    path = written(tmp_path / "a.pth", value, zipped)
    with pytest.raises(ValueError, match=r"a\.pth: .*") as caught:
        weights.load(path)
    wanted = {name, name.replace("builtins", "__builtin__")}
    assert any(f"it names {name}, which is not allowed" in str(caught.value) for name in wanted)


@FORMATS
def test_tensors_with_attributes_buffers_and_storages(tmp_path, zipped):
    noted, kept = torch.randn(2, 3), torch.nn.Buffer(torch.randn(3))
    noted.note = "an attribute"
    flat = torch.arange(5.0)
    path = written(tmp_path / "a.pth", {"a": noted, "b": kept, "c": flat.untyped_storage()}, zipped)
    assert_read(path, {"a": noted, "b": kept, "c": flat.view(torch.uint8)})


@FORMATS
@pytest.mark.filterwarnings("ignore:.*quant:DeprecationWarning", "ignore:.*quant:UserWarning")
def test_quantised_and_conjugated_tensors_are_refused(tmp_path, zipped):
    quantised = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    for value, name in (
        (quantised, "torch._utils._rebuild_qtensor"),
        (torch.randn(2, dtype=torch.complex64).conj(), "a conjugated or negated view"),
    ):
        path = written(tmp_path / "a.pth", {"a": value}, zipped)
        with pytest.raises(ValueError, match=rf"a\.pth: .*{name}"):
            weights.load(path)


def test_a_dtype_without_a_twin_is_named(tmp_path):
    path = written(tmp_path / "a.pth", {"a": torch.ones(2).to(torch.float8_e4m3fn)}, True)
    with pytest.raises(ValueError, match=r"a\.pth: .*torch\.float8_e4m3fn"):
        weights.load(path)


def test_no_name_on_the_list_is_one_that_runs_code():
    """Each stands for a function or a value of this package, or for nothing."""
    for name, value in GLOBALS.items():
        home = getattr(value, "__module__", "numpy_shufflenet")
        assert home.startswith("numpy_shufflenet"), name


def emitted(tensor):
    """A file of the old format in which the tensor's numbers are chosen by hand."""
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {}))
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0kX\3\0\0\0cpuK\4NtQ"
    numbers = b"".join(pickle.dumps(v, 2)[2:-1] for v in tensor)
    body = b"\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers
    body += b"\x89}tRs."
    return head + body + pickle.dumps(["k"], 2) + (4).to_bytes(8, "little") + bytes(16)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ((0, (10**12,), (1,)), "a needs 1000000000000 numbers of its storage, which has 4"),
        ((0, (10**6, 10**6), (0, 0)), r"a claims shape \(1000000, 1000000\), 4e\+12 bytes"),
        ((3, (2,), (1,)), "a needs 5 numbers of its storage, which has 4"),
        ((0, (2**62, 2), (0, 0)), r"a has shape \(4611686018427387904, 2\), which is too large"),
        ((0, (1,) * 40, (1,) * 40), "a has shape .* which is too large"),
        ((-1, (2,), (1,)), "it holds a tensor of shape"),
        ((0, (-2,), (1,)), "it holds a tensor of shape"),
        ((0, (2,), (-1,)), "it holds a tensor of shape"),
        ((0, (2,), ()), "it holds a tensor of shape"),
        ((0, (2.0,), (1,)), "it holds a tensor of shape"),
        ((True, (2,), (1,)), "it holds a tensor of shape"),
    ],
)
def test_a_tensor_that_claims_more_than_its_storage(tmp_path, tensor, message):
    path = tmp_path / "a.pth"
    path.write_bytes(emitted((1, (3,), (1,))))
    assert weights.load(path)["a"].shape == (3,)
    path.write_bytes(emitted(tensor))
    with pytest.raises(ValueError, match=rf"a\.pth: .*{message}"):
        weights.load(path)


def many_views(path):
    base = torch.zeros(1000)
    torch.save({str(n): base for n in range(2000)}, path)


def deep(path):
    value = torch.zeros(1)
    for _ in range(20):
        value = {"a": value}
    torch.save(value, path)


def laughs(path):
    value = [torch.zeros(1)]
    for _ in range(7):
        value = [value] * 100
    torch.save({"a": value}, path)


def loop(path):
    value = {}
    value["a"] = value
    torch.save(value, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"<html>"), "it is no pickle"),
        (lambda path: path.write_bytes(b"\x80\x02."), "it is no pickle"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "truncated, or a damaged zip file"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a/b", b"x"), "it lacks data.pkl"),
        (lambda path: torch.save([torch.ones(2)], path), "it holds a list; a dict of tensors is"),
        (lambda path: torch.save(torch.ones(2), path), "it holds a single tensor; a dict of"),
        (
            lambda path: torch.save({"a.b": torch.ones(2), "a": {"b": torch.zeros(2)}}, path),
            "two arrays whose keys make the name a.b",
        ),
        (
            lambda path: torch.jit.script(torch.nn.ReLU()).save(path),
            "a program of TorchScript; a file of its state_dict",
        ),
        (lambda path: torch.save({"epoch": 3}, path), "it holds no arrays"),
        (many_views, r"claims shape \(1000,\), .* the file is too small"),
        (deep, "nested deeper than 8, or hold too much"),
        (laughs, "nested deeper than 8, or hold too much"),
        (loop, "nested deeper than 8, or hold too much"),
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
def test_a_wrong_file_of_torch_is_named(tmp_path, write, message):
    path = tmp_path / "wrong.pth"
    write(path)
    with pytest.raises(ValueError, match=rf"wrong\.pth.*{message}"):
        weights.load(path)


@FORMATS
def test_a_truncated_file_is_named(tmp_path, zipped):
    path = written(tmp_path / "a.pth", {"a": torch.randn(100), "b": torch.randn(50)}, zipped)
    whole = path.read_bytes()
    for length in (*range(1, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.pth"):
            weights.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; a file of weights is needed"):
        weights.load(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match="is not a file; a file of weights is needed"):
        weights.load(tmp_path)


def test_a_file_of_another_format(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"a\.txt: it is not a file of safetensors, NumPy"):
        weights.load(tmp_path / "a.txt")


ARRAYS = {
    "a": np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32),
    "b.c": np.array(7, np.int64),
    "zero": np.zeros((0, 3), np.float64),
    "ünï": np.array([True, False]),
}


@pytest.mark.parametrize("length", [0x80, 0x280, int.from_bytes(b"PK", "little")])
def test_a_safetensors_header_may_be_as_long_as_others_begin(tmp_path, length):
    """Its length comes first in the file: 0x80 begins a pickle, and PK a zip file."""
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'.ljust(length)
    data = length.to_bytes(8, "little") + header + np.float32(7).tobytes()
    (tmp_path / "a").write_bytes(data)
    assert weights.load(tmp_path / "a") == {"a": 7}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth", ".pt"])
def test_what_save_writes_is_read_back_bit_for_bit(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    weights.save(path, ARRAYS)
    for name in (path, path.rename(tmp_path / "without_a_suffix")):
        read = weights.load(name) if name.exists() else weights.load(tmp_path / "without_a_suffix")
        assert read.keys() == ARRAYS.keys()
        for key, array in ARRAYS.items():
            np.testing.assert_array_equal(read[key], array, strict=True)


def test_torch_reads_what_save_writes(tmp_path):
    arrays = {name: drawn(name, 2, 3).numpy() for name in (*FLOATS[:3], *WHOLE, *COMPLEX)} | ARRAYS
    weights.save(tmp_path / "a.pth", {**arrays, "turned": np.arange(6.0).reshape(2, 3).T})
    read = torch.load(tmp_path / "a.pth", weights_only=True)
    np.testing.assert_array_equal(read.pop("turned").numpy(), np.arange(6.0).reshape(2, 3).T)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name].numpy(), array, strict=True)


def test_the_same_arrays_give_the_same_file(tmp_path):
    for suffix in ("npz", "pth"):
        for name in "ab":
            weights.save(tmp_path / f"{name}.{suffix}", ARRAYS)
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("a.pth", {"a": np.zeros(2, np.uint16)}, "a has dtype uint16; PyTorch has no"),
        ("a.bin", ARRAYS, r"ends in '\.bin'; \.safetensors, \.npz, \.pth or \.pt is needed"),
        ("a.pdparams", ARRAYS, r"ends in '\.pdparams'"),
        ("a.onnx", ARRAYS, r"ends in '\.onnx'"),
    ],
)
def test_what_can_not_be_written_is_named(tmp_path, name, arrays, message):
    with pytest.raises(ValueError, match=message):
        weights.save(tmp_path / name, arrays)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_archives_that_numpy_writes(tmp_path, write):
    arrays = {
        f"{code}_{order}_{len(shape)}": np.asarray(
            np.random.default_rng(0).normal(size=shape), order=order
        ).astype(code)
        for code in ("f8", ">f4", "f2", "i8", ">i2", "u1", "?", "c8")
        for order in "CF"
        for shape in ((), (3,), (2, 0), (2, 3, 4))
    }
    write(tmp_path / "a.npz", **arrays)
    read = weights.load(tmp_path / "a.npz")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        wider = np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read[name], array.astype(wider), strict=True)
        assert read[name].flags.c_contiguous


def npy(shape, code="<f4", data=b"", version=b"\1\0"):
    header = repr({"descr": code, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + length + header + data


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy((10**12,)), r"a\.npy claims shape \(1000000000000,\), 4e\+12 bytes"),
        (npy((3,), data=bytes(8)), r"a\.npy claims shape \(3,\) of float32, but has 8 bytes"),
        (npy((1,), data=bytes(8)), r"a\.npy claims shape \(1,\) of float32, but has 8 bytes"),
        (npy((-2, -1), data=bytes(8)), r"a\.npz"),
        (npy((1,), "|O", bytes(8)), r"a\.npy has dtype object; numbers are needed"),
        (npy((1,), "<U2", bytes(8)), r"a\.npy has dtype <U2; numbers are needed"),
        (npy((1,), "<M8[s]", bytes(8)), r"a\.npy has dtype datetime64\[s\]; numbers"),
        (npy((2,), data=bytes(8), version=b"\3\0"), r"a\.npy is of version \(3, 0\)"),
        (b"hello", r"a\.npz"),
        (b"", r"a\.npz"),
    ],
)
def test_a_wrong_archive_is_named(tmp_path, member, message):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("b.npy", npy((2,), data=bytes(8)))
        archive.writestr("a.npy", member)
    with pytest.raises(ValueError, match=message):
        weights.load(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**8, np.uint8))
    with pytest.raises(ValueError, match=r"a\.npz: a\.npy claims .*; the file is too small"):
        weights.load(tmp_path / "a.npz")


def many_members(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(22_000):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{number:040}"), b"")


def many_tensors(path):
    header = ", ".join(f'"{n}": ' + EMPTY_TENSOR for n in range(20_001)).join("{}").encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def large_header(path):
    header = b"{}".ljust(9_000_000)
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def compressed_pickle(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02]" + b"K\x01a" * 10**7 + b".")


EMPTY_TENSOR = '{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}'
LONG_PICKLE = b"\x80\x02]" + b"K\x01a" * 10**6 + b"."


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.npz", many_members, "directory of members has [0-9,]+ bytes, which is too many"),
        ("a.pth", compressed_pickle, r"its member data\.pkl is compressed"),
        ("a.pth", lambda path: path.write_bytes(LONG_PICKLE), "more than 400,000 instructions"),
        ("a.safetensors", large_header, "header has 9,000,000 bytes; at most 8,388,608 are read"),
        ("a.safetensors", many_tensors, "it has 20,001 arrays; at most 20,000 are read"),
    ],
)
def test_files_that_would_take_long_are_refused_soon(tmp_path, name, write, message):
    write(tmp_path / name)
    start = time.process_time()
    with pytest.raises(ValueError, match=rf"{name}.*{message}"):
        weights.load(tmp_path / name)
    assert time.process_time() - start < 2


def test_nothing_but_numpy_is_imported_for_files_of_torch(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    names = ("torch", "safetensors", "onnx", "numba")
    program = (
        f"import sys\nfor name in {names}: sys.modules[name] = None\n"
        f"from numpy_shufflenet import weights; print(weights.load({str(tmp_path / 'a.pth')!r}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "{'a': array([1., 1.], dtype=float32)}\n", run.stderr
