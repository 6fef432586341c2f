"""Files are written whole, and neither kills, full disks nor two writers do any harm."""

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from numpy_shufflenet import _files, cli, nn
from numpy_shufflenet._files import remove_leftovers, write_bytes
from numpy_shufflenet._locks import FileLock
from numpy_shufflenet.commands import summary
from numpy_shufflenet.data import Dataset
from numpy_shufflenet.training import SGD, Trainer, load_checkpoint

posix = pytest.mark.skipif(os.name == "nt", reason="needs signals")


def start(program, *arguments, **options):
    """Start a Python process that prints a line when it is where the test wants it."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


WRITING = """
    import os, sys
    from numpy_shufflenet._files import write_bytes
    def wait(handle):
        print("within", flush=True)
        sys.stdin.read()
    os.fsync = wait
    write_bytes(sys.argv[1], b"new")
"""


@posix
def test_leftovers_of_killed_writers_are_removed_and_those_of_others_stay(tmp_path):
    path = tmp_path / "[a] b.bin"
    path.write_bytes(b"old")
    killed, alive = start(WRITING, path), start(WRITING, path)
    for process in (killed, alive):
        assert process.stdout.readline() == "within\n"
    own = tmp_path / ".[a] b.bin.00000000.tmp"
    foreign = tmp_path / ".b.tmp"
    foreign.touch()
    own.touch()
    killed.kill()
    killed.communicate()
    assert len(list(tmp_path.glob(".*.tmp"))) == 4
    _files._writing.add(own.name)
    try:
        remove_leftovers(tmp_path)
    finally:
        _files._writing.discard(own.name)
    left = {p.name for p in tmp_path.glob(".*.tmp")}
    assert {own.name, foreign.name} < left
    assert len(left) == 3
    assert path.read_bytes() == b"old"
    alive.communicate("")
    assert alive.returncode == 0
    assert path.read_bytes() == b"new"
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, foreign.name}


def test_a_temporary_file_that_is_taken_for_a_leftover_is_written_again(tmp_path, monkeypatch):
    real = os.replace

    def replace(temporary, path):
        monkeypatch.setattr(os, "replace", real)
        os.unlink(temporary)
        real(temporary, path)

    monkeypatch.setattr(os, "replace", replace)
    write_bytes(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]


@posix
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "pipe", b"through")
    reader.join()
    assert read == [b"through"]
    assert (tmp_path / "pipe").is_fifo()


HOLDING = """
    import pathlib, sys
    from numpy_shufflenet._locks import FileLock
    with FileLock(pathlib.Path(sys.argv[1])):
        print("within", flush=True)
        sys.stdin.read()
"""


def test_a_lock_names_the_process_that_holds_it_and_ends_with_that_process(tmp_path):
    path = tmp_path / "checkpoint"
    for end in ("leaves", "is killed"):
        holder = start(HOLDING, path)
        assert holder.stdout.readline() == "within\n"
        with pytest.raises(BlockingIOError, match=f"process {holder.pid} writes to"):
            FileLock(path).__enter__()
        if end == "is killed":
            holder.kill()
        holder.communicate("")
        with FileLock(path):
            pass
        assert os.listdir(tmp_path) == []


def test_a_lock_is_nested_and_keeps_other_threads_away(tmp_path):
    lock = FileLock(tmp_path / "checkpoint")
    errors = []

    def other():
        try:
            with FileLock(tmp_path / "x" / ".." / "checkpoint"):
                pass
        except BlockingIOError as error:
            errors.append(str(error))

    (tmp_path / "x").mkdir()
    with lock:
        with lock:
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(errors) == 1
        assert "this process writes to" in errors[0]
    other()
    assert len(errors) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_a_forked_process_neither_holds_nor_removes_the_lock(tmp_path):
    lock = FileLock(tmp_path / "checkpoint")
    with lock:
        child = os.fork()
        if child == 0:
            try:
                lock.__exit__()
                FileLock(tmp_path / "checkpoint").__enter__()
            except BlockingIOError as error:
                os._exit(0 if str(os.getppid()) in str(error) else 2)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert os.listdir(tmp_path) == [".checkpoint.lock"]
    assert os.listdir(tmp_path) == []


def trainer(path, epochs=3):
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=True), nn.GlobalAvgPool())
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 3, 3), np.uint8)
    images = Dataset(pixels, np.arange(6) % 2, ("a", "b"))
    optimiser = SGD(model, learning_rate=0.1)
    return Trainer(model, optimiser, images, epochs=epochs, batch_size=3, checkpoint=path)


def test_a_training_locks_its_checkpoint_and_removes_leftovers(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    (tmp_path / ".checkpoint.safetensors.0123abcd.tmp").write_bytes(b"half")
    holder = start(HOLDING, path)
    assert holder.stdout.readline() == "within\n"
    with pytest.raises(BlockingIOError, match=f"process {holder.pid} writes to"):
        trainer(path).run()
    holder.communicate("")
    trainer(path).run()
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(FileNotFoundError, match=r"the folder .* does not exist"):
        trainer(tmp_path / "missing" / "a").run()


def test_a_full_disk_is_reported_with_the_size_and_the_last_epoch(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = "nothing was written; epoch 1 is lost: there is no checkpoint yet"
        with pytest.raises(OSError, match=message):
            trainer(path).run()
    trainer(path, epochs=2).run()
    size = f"{path.stat().st_size:,}"[:2]
    continued = Trainer.resume(path, trainer(path).train_set, model=trainer(path).model, epochs=3)
    monkeypatch.setattr(os, "fsync", full)
    expected = (
        rf"cannot write {re.escape(str(path))} \({size}.* bytes\): No space left on device "
        r"\([\d,]+ bytes are free\); its last version is there, whole; "
        rf"epoch 3 is lost: {re.escape(str(path))} holds the end of epoch 2$"
    )
    with pytest.raises(OSError, match=expected) as caught:
        continued.run()
    assert caught.value.errno == errno.ENOSPC
    assert load_checkpoint(path).epoch == 2
    assert os.listdir(tmp_path) == [path.name]


ENDED = """
    import os, sys
    from numpy_shufflenet import cli
    def end(handle):
        os.kill(os.getpid(), int(sys.argv[3]))
    os.fsync = end
    sys.exit(cli.main(["convert", *sys.argv[1:3]]))
"""


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_command_in_one_sentence_and_drops_the_write(tmp_path, name):
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    number = getattr(signal, name)
    # What started the tests may ignore the signal, as nohup does, and processes inherit that.
    process = start(
        ENDED,
        *(tmp_path / "a.npz", tmp_path / "b.npz", int(number)),
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    _, err = process.communicate()
    said = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert err == f"\nnumpy-shufflenet: {said}\n"
    assert process.returncode == 128 + number
    assert os.listdir(tmp_path) == ["a.npz"]


@posix
@pytest.mark.parametrize("ended", [True, False])
def test_a_signal_is_what_ended_a_command_whose_cleanup_fails(ended, monkeypatch, capsys):
    def run(arguments):
        try:
            if ended:
                signal.raise_signal(signal.SIGTERM)
        finally:
            raise AssertionError("cleanup")

    monkeypatch.setattr(summary, "run", run)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)  # not nohup's
    if ended:
        assert cli.main(["summary", "shufflenet_v2"]) == 128 + signal.SIGTERM
        assert capsys.readouterr().err == "\nnumpy-shufflenet: ended by SIGTERM\n"
    else:
        with pytest.raises(AssertionError, match="cleanup"):
            cli.main(["summary", "shufflenet_v2"])


@posix
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    program = ignored + textwrap.dedent(ENDED)
    process = start(program, tmp_path / "a.npz", tmp_path / "b.npz", int(signal.SIGHUP))
    process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "b.npz").exists()
