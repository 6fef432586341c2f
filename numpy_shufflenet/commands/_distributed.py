"""Commands that run on several ranks; only rank 0 prints and writes."""

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from numpy_shufflenet.distributed import AgreedError, launched, together, world


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a distributed training."""
    add = parser.add_argument_group("several processes").add_argument
    add("--distributed", action="store_true", help="share each batch: mpiexec -n 4 ...")
    sync = "with --distributed: batch normalisation over the images of all processes"
    add("--sync-batch-norm", action="store_true", help=sync)


@contextlib.contextmanager
def pool() -> Iterator[Callable[..., Any] | None]:
    """Yield a `map` on rank 0, whose calls the other ranks run; yield None on these other ranks."""
    if world().size == 1:
        yield map
        return
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    executor: Any
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        yield None if executor is None else executor.map


def check_alone() -> None:
    """Raise ValueError if `mpiexec` has started several processes that would do the same."""
    if launched() > 1:
        raise ValueError(
            f"mpiexec has started {launched()} processes, and each would do all of the work; "
            "use --distributed"
        )


def train(
    arguments: argparse.Namespace,
    prepare: Callable[[argparse.Namespace], Any],
    observers: Callable[[], list[Any]],
    report: Callable[[argparse.Namespace, Any], None],
) -> int:
    """Prepare a Trainer on each rank, run it, and report on rank 0; return the exit status."""
    from numpy_shufflenet.training import Distributed, TrainingDiverged

    ranks = world()
    quiet = contextlib.redirect_stdout(io.StringIO()) if ranks.rank else contextlib.nullcontext()
    try:
        with quiet:
            with together(ranks):
                trainer = prepare(arguments)
            print(f"training on {ranks.size} rank{'s' * (ranks.size > 1)}", flush=True)
            Distributed(trainer, ranks, sync_batch_norm=arguments.sync_batch_norm).run(observers())
    except (AgreedError, TrainingDiverged):
        if ranks.rank:
            return 2  # rank 0 reports the error for all
        raise
    if ranks.rank == 0:
        report(arguments, trainer)
    return 0
