"""What live exercises run on in a browser: Python and NumPy for WebAssembly, and this package.

Python is Pyodide. By default a page loads it from Pyodide's CDN when a reader first runs an answer;
`runtime.json` pins the version, and a checksum of each file. Or it lies in the site, copied from a
folder with the files of a Pyodide release, so that a lecture hall needs no network.
"""

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy_shufflenet

CDN = Path(__file__).with_name("runtime.json")
MODULES = ("pyodide.asm.mjs", "pyodide.asm.js")  # the name depends on the version
CORE = ("pyodide.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"
NEEDED = ("numpy", "threadpoolctl")
LEFT_OUT = {"__pycache__", "lessons_source", "site", "commands", "kernels"}  # folders
KINDS = {".py", ".css", ".js", ".po", ".toml", ".txt"}  # the package reads these; data are left out


def write_runtime(out: Path, folder: Path | None = None) -> None:
    """Write what the pages load into a folder.

    Parameters
    ----------
    out : Path
        It is created.
    folder : Path, optional
        The files of a Pyodide release; None for Pyodide's CDN.

    Raises
    ------
    ValueError
        If `folder` lacks a file, or a checksum differs from that in the lock file.
    """
    out.mkdir()
    package = _zipped_package()
    name = f"numpy_shufflenet-{hashlib.sha256(package).hexdigest()[:12]}.zip"
    (out / name).write_bytes(package)
    if folder is None:
        settings = json.loads(CDN.read_text("utf-8"))
        lock = settings.pop("lock")
    else:
        settings, lock = _copied(folder, out / "pyodide")
    (out / LOCK).write_text(json.dumps(lock), "utf-8")
    (out / CDN.name).write_text(json.dumps({**settings, "package": name}), "utf-8")


def _zipped_package() -> bytes:
    """Return the sources of this package as a zip; the same sources give the same bytes."""
    root = Path(numpy_shufflenet.__file__).parent
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*")):
            if path.suffix in KINDS and not LEFT_OUT & set(path.relative_to(root).parts):
                entry = zipfile.ZipInfo(path.relative_to(root.parent).as_posix())
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _copied(folder: Path, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Copy the files that pages load; return the settings and the lock file."""
    module = next((name for name in MODULES if (folder / name).exists()), MODULES[0])
    files = {name: _read(folder, name) for name in (*CORE, module)}
    lock = json.loads(_read(folder, LOCK))
    wanted: dict[str, Any] = {}
    for package in (*NEEDED, "matplotlib"):
        _add_package(package, lock["packages"], wanted)
    for package in list(wanted):
        entry = wanted[package]
        path = folder / entry["file_name"]
        if package not in NEEDED and not path.exists():
            del wanted[package]  # without Matplotlib, exercises work without its pictures
            continue
        data = files[entry["file_name"]] = _read(folder, entry["file_name"])
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} is damaged: its checksum isn't that in {folder / LOCK}")
    out.mkdir()
    for name, data in files.items():
        (out / name).write_bytes(data)
    integrity = {
        name: "sha384-" + base64.b64encode(hashlib.sha384(files[name]).digest()).decode()
        for name in (*CORE, module)
    }
    where = f"{out.name}/"
    settings = {"base": where, "packages": where, "module": module, "integrity": integrity}
    return settings, {**lock, "packages": wanted}


def _add_package(name: str, known: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Add a package of a lock file, and what it depends on, if the lock file has it."""
    if name in known and name not in wanted:
        wanted[name] = known[name]
        for other in known[name]["depends"]:
            _add_package(other, known, wanted)


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {name}; the files of a Pyodide release with NumPy are needed"
        )
    return path.read_bytes()
