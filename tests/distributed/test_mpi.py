"""Programs that mpiexec starts, with 1 to 4 ranks."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_trainings
from peers import need

from numpy_shufflenet import backend
from numpy_shufflenet.distributed import simulate
from numpy_shufflenet.training import Distributed, Trainer, load_checkpoint

need("mpi4py")
HERE = Path(__file__).parent
BESIDE = Path(sys.executable).with_name("mpiexec")  # from the package mpich
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")


def mpiexec(ranks, *arguments, **environment):
    """Run Python on some ranks; return the exit status and both outputs."""
    assert MPIEXEC, "there is no mpiexec; pip install mpich"
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    settings = {
        **{"PYTHONPATH": path, "NUMPY_SHUFFLENET_BACKEND": "numpy", "OMP_NUM_THREADS": "1"},
        # Open MPI refuses to run as root, and to run more ranks than there are cores.
        **{"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "TTY_COMPATIBLE": "0",  # Open MPI gives programs a terminal; no progress bar is wanted here
        **environment,
    }
    run = subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


@pytest.mark.parametrize(
    ("ranks", "networks"), [(1, ["V2"]), (2, ["V1"]), (3, ["V2"]), (4, ["V2"])]
)
def test_ranks_compute_what_one_process_computes(ranks, networks):
    """After 50 steps with unequal shares; and the same bits on all ranks, and each time."""
    status, out, errors = mpiexec(ranks, HERE / "equal.py", *networks)
    assert status == 0, errors
    found = json.loads(out)
    assert found.pop("size") == ranks
    assert max(found.pop(f"{name}: difference") for name in networks) < 1e-12
    assert all(found.values()), found


@pytest.mark.parametrize("how", ["kill", "raise", "all", "weights"])
def test_a_rank_that_fails_ends_all(tmp_path, how):
    """Within 30 s, with one message; the last checkpoint is whole, and others go on from it."""
    path, start = tmp_path / "checkpoint.safetensors", time.perf_counter()
    status, out, errors = mpiexec(3, HERE / "fails.py", how, path)
    assert status != 0
    assert time.perf_counter() - start < 30
    said = {"kill": "signal 9", "raise": "rank 1 of 3: KeyError: 'a defect'"}
    said |= {"all": "rank 0 of 3: KeyError: 'a defect'"}
    said |= {"weights": "rank 1 of 3: AgreedError"}
    if how == "weights":  # all ranks see it
        assert "the weights after epoch 2 on rank 1" in errors
    else:
        assert (out + errors).count(said[how]) == 1, out + errors
    if how != "kill":
        assert len(re.findall(r"rank \d of 3: ", errors)) == 1
    assert load_checkpoint(path).epoch == 1
    if how == "kill":
        resumed(path)


def resumed(path):
    """Two ranks go on where three have ended; as if one process had done the rest."""

    def run(ranks):
        trainer = Trainer.resume(
            path,
            small_trainings.images(),
            small_trainings.images(9, seed=1),
            model=small_trainings.network("V2"),
        )
        if ranks is None:
            trainer.run()
        else:
            Distributed(trainer, ranks, sync_batch_norm=True).run()
        return trainer.state()

    content = path.read_bytes()
    with backend.use("numpy"):
        one = run(None)
        path.write_bytes(content)
        two, _ = simulate(2, run)
    assert two.epoch == 4
    assert small_trainings.difference(two, one) < 1e-12


def test_different_images_are_an_error_before_the_first_step(tmp_path):
    status, out, errors = mpiexec(3, HERE / "fails.py", "images", tmp_path / "unused")
    assert status == 2
    assert "these differ from rank 0: the training images on rank 1\n" in errors
    assert not out
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path):
    """Rank 0 alone prints and writes; too many ranks are an error before the first step."""
    train = ["-m", "numpy_shufflenet", "train", "--distributed", "--out", tmp_path / "run"]
    train += ["--data", f"folder:{folder_of_images(tmp_path / 'images')}", "--size", "32"]
    train += ["--scale", "0.5", "--batch-size", "4", "--epochs", "1"]
    status, out, errors = mpiexec(2, *train, "--sync-batch-norm")
    assert status == 0, errors
    assert out.count("\n") == 3
    assert out.startswith("training on 2 ranks\nepoch 1/1: loss ")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("checkpoint.safetensors", "history.json", "learning_curves.png")
    ]
    status, out, errors = mpiexec(3, *train[:-2], "--epochs", "2", "--resume")
    assert status == 2
    assert errors.count("numpy-shufflenet: error: ") == 1


def folder_of_images(folder):
    from PIL import Image

    for kind in ("train/a", "train/b", "test/a", "test/b"):
        (folder / kind).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (32, 32), (80 * number, 99, 20)).save(folder / kind / f"{number}.png")
    return folder
