"""Kernels on disk: never stale, never damaged unseen, and no need for a disk."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import numpy_shufflenet

SOURCE = Path(numpy_shufflenet.__file__).parent
FIRST = """
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels.inner import inner

@compiled
def outer(a):
    return inner(a) + 1.0
"""
SECOND = """
from numpy_shufflenet.kernels._compile import compiled

@compiled
def inner(a):
    return 2.0 * a
"""
CALL = """
from numpy_shufflenet.kernels.outer import outer
print(outer(1.0), sum(outer.stats.cache_hits.values()))
"""


@pytest.fixture(scope="module")
def compiled_package(tmp_path_factory):
    """A package of the same name with our own compiler of kernels, and a kernel in two files.

    The kernel is compiled and kept.
    """
    package = tmp_path_factory.mktemp("compiled") / "numpy_shufflenet"
    kernels = package / "kernels"
    kernels.mkdir(parents=True)
    shutil.copy(SOURCE / "__init__.py", package)
    for name in ("_compile.py", "_cache.py"):
        shutil.copy(SOURCE / "kernels" / name, kernels)
    (kernels / "__init__.py").touch()
    (kernels / "outer.py").write_text(FIRST)
    (kernels / "inner.py").write_text(SECOND)
    assert run(package)[0] == ["3.0", "0"]
    assert len(files(package)) == 4  # two functions, an index and a data file each
    return package


@pytest.fixture
def package(compiled_package, tmp_path):
    """A copy of the compiled package, with the times of its files, on which the cache depends."""
    return shutil.copytree(compiled_package, tmp_path / "numpy_shufflenet")


def forget(package):
    """Remove what is compiled."""
    shutil.rmtree(package / "kernels" / "__pycache__")


def start(package, before=""):
    program = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{before}\n{CALL}"
    nowhere = str(package / "__init__.py")  # a file, where no folder can be made
    return subprocess.Popen(
        [sys.executable, "-B", "-W", "error", "-c", program],
        env={"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(package, before=""):
    """Return what a new process prints: the result and how much came from disk; its stderr."""
    process = start(package, before)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


def files(package):
    return sorted((package / "kernels" / "__pycache__").glob("*.nb*"))


def test_a_change_in_another_file_compiles_again_and_removes_what_was(package):
    assert run(package) == (["3.0", "1"], "")
    before = files(package)
    (package / "kernels" / "inner.py").write_text(SECOND.replace("2.0", "5.0"))
    assert run(package)[0] == ["6.0", "0"]
    assert run(package) == (["6.0", "1"], "")
    assert len(files(package)) == 4
    assert not set(files(package)) & set(before)


@pytest.mark.parametrize("library", ["numba", "numpy", "llvmlite"])
def test_another_version_compiles_again(package, library):
    # (The library stays as it is, but for its name in what decides.)
    change = f"import {library}; {library}.__version__ += '.1'"
    assert run(package, change)[0] == ["3.0", "0"]


def test_without_a_folder_that_can_be_written_nothing_is_kept_and_that_is_said_once(package):
    forget(package)
    (package / "kernels" / "__pycache__").touch()
    for _ in range(2):
        out, err = run(package)
        assert out == ["3.0", "0"]
        assert err.count("NUMBA_CACHE_DIR") == 1


def test_a_folder_that_is_lost_after_the_import_is_named_once(package):
    forget(package)
    lose = (
        "import pathlib, shutil, numpy_shufflenet.kernels.outer, numpy_shufflenet.kernels as k\n"
        "folder = pathlib.Path(k.__file__).parent / '__pycache__'\n"
        "shutil.rmtree(folder); folder.touch()"
    )
    out, err = run(package, lose)
    assert out == ["3.0", "0"]
    assert "can't be kept" in err


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_are_compiled_again_and_that_is_said_once(package, suffix):
    damaged = [path for path in files(package) if path.suffix == f".{suffix}"]
    assert len(damaged) == 2
    good = [path.read_bytes() for path in damaged]
    for damage in (
        lambda content: b"",
        lambda content: content[:100],
        lambda content: bytes(len(content)),
    ):
        for path, content in zip(damaged, good, strict=True):
            path.write_bytes(damage(content))
        out, err = run(package)
        assert out == ["3.0", "0"]
        assert err.count("are damaged,") == 1
    assert run(package) == (["3.0", "1"], "")


def test_one_wrong_byte_of_machine_code_is_seen(package):
    for path in files(package):
        if path.suffix == ".nbc":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    out, err = run(package)
    assert out == ["3.0", "0"]
    assert err.count("are damaged,") == 1


def test_three_processes_that_start_at_once_agree(package):
    forget(package)
    processes = [start(package) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.split()[0] == "3.0"
    assert run(package) == (["3.0", "1"], "")
