"""Files that lie: a campaign of seeded mutations over all readers.

    python tests/mutations.py COUNT [SEED [READER]]

Every case is numbered, and its number and the seed give the same file again. A reader may read a
file, or raise a ValueError or FileNotFoundError that names it; all else is a fault.
"""

import copy
import gzip
import io
import json
import pickle
import random
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from numpy_shufflenet import data, models
from numpy_shufflenet.data import embedded
from numpy_shufflenet.training import (
    SGD,
    Trainer,
    cosine_schedule,
    load_checkpoint,
    load_weights,
    save_weights,
)
from numpy_shufflenet.weights import load, save
from numpy_shufflenet.weights.pytorch import MAGIC, VERSION

MARKER = "marker"  # a file that code in another file would write
CLASSES = ("a", "b", "c", "d")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), np.uint8)  # n c h w
TRAIN = data.Dataset(IMAGES, np.arange(20) % 4, CLASSES)
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ODD_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65535, 2**31 - 1, 2**32, 2**63, 10**12, 10**30, -(10**9))
ODD_VALUES = (
    *(None, True, False, "", "x", "PCG64", "\0", "[/y]", [], [1], [[]], {}, {"a": 1}),
    *(0.5, -0.5, 1e308, float("nan"), float("inf"), 1e-320),
    *ODD_NUMBERS,
)


# --- mutations of bytes and of JSON


def mutate_bytes(rng: random.Random, good: bytes) -> bytes:
    """Change a file here and there."""
    changed = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        size = len(changed)
        # Headers are where sizes are.
        at = rng.randrange(max(1, min(size, rng.choice((16, 128, 600, size)))))
        match rng.randrange(8):
            case 0 if size:
                changed[at % size] ^= 1 << rng.randrange(8)
            case 1 if size:
                changed[at % size] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + rng.choice((1, 4, 100, 512))]
            case 4:
                changed[at:at] = changed[at : at + rng.choice((1, 4, 100, 512))]
            case 5:
                width = rng.choice((2, 4, 8))
                value = rng.choice(ODD_NUMBERS) % 256**width
                changed[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
            case 6:
                changed += rng.randbytes(rng.choice((1, 8, 1000)))
            case 7:
                changed[at : at + 8] = rng.randbytes(8)
    return bytes(changed)


def mutate_json(rng: random.Random, good: object) -> object:
    """Change one value, or one name, somewhere in nested lists and dicts."""
    changed = copy.deepcopy(good)
    parent, key, here = None, None, changed
    while isinstance(here, dict | list) and here and (parent is None or rng.random() < 0.85):
        key = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        parent, here = here, here[key]
    match rng.randrange(7):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(("", "x", "epoch", "state"))] = parent.pop(key)
        case 2 if isinstance(here, list | str):
            parent[key] = here[: rng.randrange(len(here) + 1)]
        case 3 if type(here) in (int, float):
            parent[key] = here + rng.choice((1, -1, 0.5, 10**6, 10**18))
        case 4 if type(here) in (int, float):
            parent[key] = rng.choice((str(here), [here], -here, float(here)))
        case 5:
            parent[key] = rng.choice(list(parent.values() if isinstance(parent, dict) else parent))
        case _:
            parent[key] = rng.choice(ODD_VALUES)
    return changed


# --- one function a kind: writes a mutated file, returns what reads it


def idx(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Four IDX files, one of them changed, gzipped or not."""
    files = {}
    for part, n in (("train", 20), ("t10k", 8)):
        pixels = b"\0\0\x08\x03" + struct.pack(">III", n, 16, 16) + IMAGES[:n].tobytes()
        files[f"{part}-images-idx3-ubyte"] = pixels
        files[f"{part}-labels-idx1-ubyte"] = (
            b"\0\0\x08\x01" + struct.pack(">I", n) + bytes(i % 10 for i in range(n))
        )
    victim = rng.choice(list(files))
    for name, good in files.items():
        zipped = rng.random() < 0.5
        inner = rng.random() < 0.7
        content = mutate_bytes(rng, good) if name == victim and inner else good
        if name == victim and zipped and rng.random() < 0.1:  # a bomb
            content += bytes(rng.choice((10**6, 3 * 10**8)))
        content = gzip.compress(content, 1) if zipped else content
        if name == victim and not inner:
            content = mutate_bytes(rng, content)
        (folder / (name + ".gz" if zipped else name)).write_bytes(content)
    return lambda: data.load_fashion_mnist(folder)


def cifar10(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Six batches of either version, in a folder or an archive; one of them, or it, changed."""
    rows = np.random.default_rng(1).integers(0, 256, (3, 3072), np.uint8)
    pickled, protocol = rng.random() < 0.6, rng.randrange(6)
    batch = {b"data": rows, b"labels": [1, 2, 3], b"filenames": [b"a", b"b", b"c"]}
    good = pickle.dumps(batch, protocol)
    if not pickled:
        good = b"".join(bytes([k]) + row.tobytes() for k, row in enumerate(rows))
    suffix, victim = "" if pickled else ".bin", rng.choice(BATCHES)
    inner = rng.random() < 0.5
    files = {name + suffix: good for name in BATCHES}
    if inner:
        files[victim + suffix] = mutate_bytes(rng, good)
    if inner and rng.random() < 0.5:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return lambda: data.load_cifar10(folder)
    path = folder / "cifar.tar"
    stream = io.BytesIO()
    tar_format = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=stream, mode="w", format=tar_format) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(rng.choice(("", "x/", "long/" * 40)) + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    whole = stream.getvalue()
    if not inner:
        header = bytearray(whole)
        if rng.random() < 0.6:  # a wrong header whose checksum is right
            # The kind of a member and its size are what tarfile acts on.
            at = 512 * rng.randrange(8)
            kind = bytes(rng.choice(b"01234567xgLKSD\0") for _ in range(1))
            size = rng.choice((10**12, 3 * 10**9, 2**30, -512, -(2**60), 0, 1, 511))
            header[at + 124 : at + 136] = b"\x80" + (size % 256**11).to_bytes(11, "big")
            header[at + 124] = 0xFF if size < 0 else 0x80
            if rng.random() < 0.5:
                header[at + 156 : at + 157] = kind
            header[at + 148 : at + 156] = b" " * 8
            header[at + 148 : at + 156] = b"%06o\0 " % sum(header[at : at + 512])
            whole = bytes(header)
        else:
            whole = mutate_bytes(rng, whole)
    if rng.random() < 0.05:  # a bomb
        whole += bytes(rng.choice((10**6, 5 * 10**8)))
    if rng.random() < 0.5:
        whole = gzip.compress(whole, 1)
        if not inner and rng.random() < 0.3:
            whole = mutate_bytes(rng, whole)
    path.write_bytes(whole)
    return lambda: data.load_cifar10(path)


def npz(rng: random.Random, folder: Path) -> Callable[[], object]:
    """The embedded archive, made small, with a changed header of an array, or changed bytes."""
    path = folder / "images.npz"
    arrays = {f"{part}_images": IMAGES[:, 0] for part in ("train", "test")}
    arrays |= {f"{part}_labels": np.arange(20, dtype=np.uint8) % 10 for part in ("train", "test")}
    victim = rng.choice(list(arrays))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            member = content.getvalue()
            if name == victim:
                text = repr(array.shape).encode()
                shape = (rng.choice(ODD_NUMBERS), *array.shape[1:])
                member = rng.choice(
                    (
                        member.replace(text, repr(shape).encode()[: len(text) + 40]),
                        member.replace(b"|u1", rng.choice((b"|O8", b"<f8", b"|V9", b"<U9"))),
                        mutate_bytes(rng, member),
                        member + bytes(rng.choice((10**6, 3 * 10**8)) if rng.random() < 0.1 else 9),
                    )
                )
            archive.writestr(f"{name}.npy", member)
    whole = stream.getvalue()
    path.write_bytes(mutate_bytes(rng, whole) if rng.random() < 0.4 else whole)

    def read() -> object:
        before, embedded.EMBEDDED = embedded.EMBEDDED, path
        try:
            return data.load_embedded()
        finally:
            embedded.EMBEDDED = before

    return read


def images(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A folder of classes with one changed image of any format, or a changed tree."""
    mode = rng.choice(("L", "RGB", "RGBA", "P", "LA", "1", "CMYK", "I;16", "I", "F"))
    suffixes = {
        "CMYK": ("jpg", "tiff"),
        "F": ("tiff",),
        "I": ("tiff", "ppm"),
        "I;16": ("tiff", "png"),
        "LA": ("png", "tiff"),
        "RGBA": ("png", "tiff", "webp", "ico"),
        "P": ("png", "gif", "bmp", "tiff"),
        "1": ("png", "bmp", "tiff"),
    }.get(mode, ("png", "jpg", "gif", "bmp", "tiff", "webp", "tga", "ppm", "ico", "jp2", "avif"))
    suffix = rng.choice(suffixes)
    if suffix == "avif" and mode == "L":
        suffix = "pcx"
    stream = io.BytesIO()
    picture = Image.new(mode, (32, 24))
    picture.save(stream, {"jpg": "JPEG", "tiff": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix))
    good = stream.getvalue()
    if suffix == "png" and rng.random() < 0.5:  # another size, with a checksum that is right
        head = bytearray(good[12:29])
        side = rng.choice((0, 1, 2**31 - 1, 100_000, 8000, 5000, 3000))
        for axis in rng.choice(((0,), (1,), (0, 1))):
            head[4 + 4 * axis : 8 + 4 * axis] = struct.pack(">I", side)
        good = good[:12] + bytes(head) + struct.pack(">I", zlib.crc32(head)) + good[33:]
    else:
        good = mutate_bytes(rng, good)
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for number in range(2):
            Image.new("L", (8, 8), 99).save(folder / name / f"{number}.png")
    victim = folder / "dog" / f"x.{suffix}"
    match rng.randrange(12):
        case 0:
            (folder / "dog" / "inner").mkdir()
        case 1:
            victim.symlink_to("nowhere")
        case 2:
            (folder / "empty").mkdir()
        case _:
            victim.write_bytes(good)
    return lambda: data.load_dataset(f"folder:{folder}", size=8)


def safetensors_header(rng: random.Random, good: bytes, *, describe: bool) -> bytes:
    """Change the header of a safetensors file, or the description of a checkpoint in it."""
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])
    if describe:
        description = json.loads(header["__metadata__"]["checkpoint"])
        for _ in range(rng.choice((1, 1, 1, 2))):
            # Lists are long: half of the changes are in something else.
            field = rng.choice(list(description))
            part = mutate_json(rng, {field: description[field]})
            description = {**{k: v for k, v in description.items() if k != field}, **part}
        header["__metadata__"]["checkpoint"] = json.dumps(description)
    else:
        names = rng.sample(list(header), 1)
        part = mutate_json(rng, {name: header[name] for name in names})
        if rng.random() < 0.3 and isinstance(header.get(names[0]), dict):
            part = {names[0]: dict(header[names[0]])}
            dtypes = ("F16", "BF16", "F8_E4M3", "F64", "I32", "I64", "U8", "BOOL", "C64", "F4")
            part[names[0]]["dtype"] = rng.choice(dtypes)
        header = {**{k: v for k, v in header.items() if k not in names}, **part}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + good[8 + length :]


def small_trainer(folder: Path, *, double: bool = False) -> Trainer:
    """A training of two epochs."""
    model = models.shufflenet_v2(
        scale=0.5, in_channels=1, num_classes=4, stem="small", dropout=0.2, seed=0
    )
    if double:
        model = model.astype(np.float64)
    return Trainer(
        model,
        SGD(model, learning_rate=0.1, momentum=0.9, nesterov=True),
        TRAIN,
        epochs=2,
        batch_size=10,
        schedule=cosine_schedule(0.1, 4, 1),
        augmentation={"flip": True, "crop_padding": 1},
        checkpoint=folder / "good.safetensors",
    )


GOOD: dict[str, bytes] = {}


def good_file(kind: str) -> bytes:
    """The bytes of a checkpoint of a short training, or of its weights; made once."""
    if not GOOD:
        with tempfile.TemporaryDirectory() as name:
            trainer = small_trainer(Path(name))
            trainer.run()
            GOOD["checkpoint"] = (Path(name) / "good.safetensors").read_bytes()
            save_weights(trainer.model, Path(name) / "weights.safetensors")
            GOOD["weights"] = (Path(name) / "weights.safetensors").read_bytes()
            GOOD["model"] = trainer.model  # type: ignore[assignment]
    return GOOD[kind]


def weights(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A safetensors file with a changed header, or changed bytes."""
    good, path = good_file("weights"), folder / "weights.safetensors"
    changed = safetensors_header(rng, good, describe=False) if rng.random() < 0.7 else None
    path.write_bytes(changed or mutate_bytes(rng, good))
    model = GOOD["model"]
    return lambda: load_weights(model, path)  # type: ignore[arg-type]


def checkpoint(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A checkpoint with a changed description, a changed header, or changed bytes."""
    good, path = good_file("checkpoint"), folder / "checkpoint.safetensors"
    kind = rng.random()
    changed = mutate_bytes(rng, good)
    if kind < 0.9:
        changed = safetensors_header(rng, good, describe=kind < 0.75)
    path.write_bytes(changed)

    def read() -> object:
        found = load_checkpoint(path)
        found.build_model()
        # Another training set is refused by its own sentence; any is right here.
        return Trainer.resume(path, TRAIN)

    return read


def with_code(pickled: bytes, folder: Path) -> bytes:
    """A pickled dict with one more value: open(folder / MARKER, "w"), which leaves a file."""
    key, *arguments = (pickle.dumps(v, 2)[2:-1] for v in ("code", str(folder / MARKER), "w"))
    return pickled[:-1] + key + b"cio\nopen\n(" + b"".join(arguments) + b"tRs."


def torch_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A file as PyTorch writes it, in either format, with changed bytes, or a changed pickle."""
    arrays = {f"{number}.weight": np.full((4, 3), number, np.float32) for number in range(4)}
    path = folder / "weights.pth"
    save(path, arrays)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    pickled = members["archive/data.pkl"]
    inner = rng.random() < 0.6
    if rng.random() < 0.3:
        pickled = with_code(pickled, folder)
    if inner:
        pickled = mutate_bytes(rng, pickled)
    if rng.random() < 0.5:  # the older format
        head = b"".join(pickle.dumps(v, 2) for v in (MAGIC, VERSION, {"little_endian": True}))
        whole = head + pickled + pickle.dumps(list("0123"), 2)
        whole += b"".join(struct.pack("<q", a.size) + a.tobytes() for a in arrays.values())
    else:
        stream = io.BytesIO()
        kind = rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
        with zipfile.ZipFile(stream, "w", kind) as archive:
            for name, content in (members | {"archive/data.pkl": pickled}).items():
                archive.writestr(name, content)
        whole = stream.getvalue()
    path.write_bytes(whole if inner else mutate_bytes(rng, whole))
    return lambda: load(path)


def numpy_archive(rng: random.Random, folder: Path) -> Callable[[], object]:
    """An archive of NumPy, compressed or not, with changed bytes, or a changed member."""
    path = folder / "weights.npz"
    stream = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    inner = rng.random() < 0.6
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for number in range(3):
            content = io.BytesIO()
            np.save(content, np.full((4, 3), number, rng.choice(("f4", "f2", "i8"))))
            member = content.getvalue()
            archive.writestr(f"{number}.npy", mutate_bytes(rng, member) if inner else member)
    whole = stream.getvalue()
    path.write_bytes(whole if inner else mutate_bytes(rng, whole))
    return lambda: load(path)


def paddle_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A pickle of arrays as PaddlePaddle and NumPy write it, with changed bytes."""
    path = folder / "weights.pdparams"
    arrays = {f"{k}.weight": np.full((4, 3), k, rng.choice(("f4", "f2", ">f8"))) for k in range(3)}
    pickled = pickle.dumps(arrays, 2)
    if rng.random() < 0.3:
        pickled = with_code(pickled, folder)
    path.write_bytes(mutate_bytes(rng, pickled))
    return lambda: load(path)


def safetensors_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A safetensors file of any arrays, with changed bytes, or a changed header."""
    path = folder / "weights.safetensors"
    save(path, {f"{k}.weight": np.full((4, 3), k, np.float32) for k in range(4)}, {"a": "b"})
    good = path.read_bytes()
    changed = safetensors_header(rng, good, describe=False) if rng.random() < 0.5 else None
    path.write_bytes(changed or mutate_bytes(rng, good))
    return lambda: load(path)


def onnx_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """Initialisers of ONNX, one of them in a file beside, with changed bytes."""
    import onnx

    path, values = folder / "weights.onnx", np.arange(12, dtype=np.float32)
    (folder / "a.data").write_bytes(values.tobytes())
    beside = onnx.TensorProto(
        name="a", data_type=onnx.TensorProto.FLOAT, dims=(4, 3),
        data_location=onnx.TensorProto.EXTERNAL,
    )  # fmt: skip
    for key, value in (("location", "a.data"), ("offset", "0"), ("length", "48")):
        beside.external_data.add(key=key, value=value)
    within = [
        onnx.numpy_helper.from_array(values.astype(dtype).reshape(3, 4), dtype)
        for dtype in ("float32", "float16", "int64")
    ]
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=[beside, *within])
    path.write_bytes(mutate_bytes(rng, onnx.helper.make_model(graph).SerializeToString()))
    return lambda: load(path)


READERS = (idx, cifar10, npz, images, weights, checkpoint, torch_file, numpy_archive)
ON_REQUEST = (paddle_file, safetensors_file, onnx_file)
SHARES = (1, 1.5, 0.7, 1.5, 1, 4, 2, 1)  # most faults were in checkpoints


# --- the campaign


def memory() -> tuple[float, float]:
    """Megabytes of this process, now and at most since the last call; zeros where unknown."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0.0, 0.0
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return float(found["VmRSS"]) / 1024, float(found["VmHWM"]) / 1024


def case(seed: int, number: int, only: str = "") -> tuple[str, str, float, float]:
    """Run one case: its reader, "read", "refused" or a fault, its megabytes and its seconds."""
    rng = random.Random(f"{seed} {number}")
    reader = rng.choices(READERS, SHARES)[0]
    if only:
        reader = next(r for r in (*READERS, *ON_REQUEST) if r.__name__ == only)
    with tempfile.TemporaryDirectory(prefix="mutated") as name:
        read = reader(rng, Path(name))
        memory()
        before, _ = memory()
        start = time.perf_counter()
        try:
            read()
            outcome = "read"
        except (ValueError, FileNotFoundError) as error:
            if type(error) not in (ValueError, FileNotFoundError) or name not in str(error):
                outcome = f"unclear {type(error).__name__}: {error}"
            else:
                outcome = "refused"
        except Exception:
            outcome = traceback.format_exc(limit=-3)
        seconds = time.perf_counter() - start
        if (Path(name) / MARKER).exists():
            outcome = "ran code of the file"
        _, most = memory()
        return reader.__name__, outcome, most - before, seconds


def main() -> None:
    """Run the campaign, and print what was found."""
    total, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    good_file("weights")
    outcomes: Counter[tuple[str, str]] = Counter()
    worst_memory, worst_time = (0.0, 0, ""), (0.0, 0, "")
    for number in range(total):
        reader, outcome, megabytes, seconds = case(seed, number, only)
        if outcome not in ("read", "refused"):
            print(f"case {number} ({reader}): {outcome}", flush=True)
            outcome = "FAULT"
        outcomes[reader, outcome] += 1
        worst_memory = max(worst_memory, (megabytes, number, reader))
        worst_time = max(worst_time, (seconds, number, reader))
        if megabytes > 200 or seconds > 2:
            print(f"case {number} ({reader}): {megabytes:.0f} MB, {seconds:.2f} s", flush=True)
    for (reader, outcome), number in sorted(outcomes.items()):
        print(f"{reader:12} {outcome:8} {number:6}")
    print(f"most memory: {worst_memory[0]:.0f} MB (case {worst_memory[1]}, {worst_memory[2]})")
    print(f"longest: {worst_time[0]:.2f} s (case {worst_time[1]}, {worst_time[2]})")


if __name__ == "__main__":
    main()
