"""Measure sums and gathers between hosts made of network namespaces, beside the alpha-beta model.

    python tests/distributed/links.py 4 100     # 4 hosts, 100 Mbit/s each; as root on Linux
    python tests/distributed/links.py 2 1000 v2 32     # a training; see speed.py

Each host is a namespace with one virtual cable to a bridge. `tc` limits the rate of both ends.
MPICH starts one rank on each host, and UCX is held to TCP. A small and a large message between two
hosts give alpha and beta; the sums are then predicted from these.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from numpy_shufflenet.cost.communication import Link, bytes_sent

SIZES = (1 << 10, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
RUNS = 11
PREFIX = "nsn"  # of the names of namespaces and cables


def run(*command):
    subprocess.run(command, check=True)


def build(hosts, megabits):
    """Make the namespaces; host i has address 10.77.0.(i + 1)."""
    switch = f"{PREFIX}-switch"
    run("ip", "netns", "add", switch)
    run("ip", "-n", switch, "link", "add", "bridge", "type", "bridge")
    run("ip", "-n", switch, "link", "set", "bridge", "up")
    for i in range(hosts):
        host, inner, outer = f"{PREFIX}{i}", f"{PREFIX}{i}a", f"{PREFIX}{i}b"
        run("ip", "netns", "add", host)
        run(
            "ip",
            "link",
            "add",
            inner,
            "netns",
            host,
            "type",
            "veth",
            "peer",
            outer,
            "netns",
            switch,
        )
        run("ip", "-n", host, "addr", "add", f"10.77.0.{i + 1}/24", "dev", inner)
        run("ip", "-n", switch, "link", "set", outer, "master", "bridge")
        for space, device in ((host, inner), (switch, outer), (host, "lo")):
            run("ip", "-n", space, "link", "set", device, "up")
        for space, device in ((host, inner), (switch, outer)):
            limit = ("rate", f"{megabits}mbit", "burst", "16kb", "latency", "100ms")
            run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", *limit)


def remove(hosts):
    for name in (*(f"{PREFIX}{i}" for i in range(hosts)), f"{PREFIX}-switch"):
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def launch(hosts, program):
    """Run a program on all hosts, by mpiexec in the first one."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = Path(folder, "launcher")
        launcher.write_text(
            "#!/bin/sh\n# hydra calls: launcher [options] ADDRESS command...\n"
            'while [ "${1#-}" != "$1" ]; do shift; done\n'
            f'i=$((${{1##*.}} - 1)); shift; exec ip netns exec {PREFIX}$i sh -c "$*"\n'
        )
        launcher.chmod(0o755)
        mpiexec = Path(sys.executable).with_name("mpiexec")
        addresses = ",".join(f"10.77.0.{i + 1}" for i in range(hosts))
        command = ["ip", "netns", "exec", f"{PREFIX}0", str(mpiexec)]
        command += ["-launcher", "ssh", "-launcher-exec", str(launcher), "-hosts", addresses]
        command += ["-localhost", "10.77.0.254", "-ppn", "1", "-n", str(hosts)]
        command += [sys.executable, *program]
        subprocess.run(command, check=True, env={**os.environ, "UCX_TLS": "tcp,self"}, timeout=600)


def measure():
    """Print the seconds of messages, sums and gathers as JSON lines, and then the model's."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    single = [(size, seconds(comm, lambda b: echo(comm, b), size) / 2) for size in SIZES]
    alpha = single[0][1]  # `tc` lets single packets pass at once
    link = Link(alpha, SIZES[-1] / (single[-1][1] - alpha))
    counter = Path(f"/sys/class/net/{PREFIX}{comm.rank}a/statistics/tx_bytes")
    sums, sent = [], []
    for size in SIZES:
        before = int(counter.read_text())
        sums.append(seconds(comm, lambda b: comm.Allreduce(MPI.IN_PLACE, b), size))
        sent.append((int(counter.read_text()) - before) / RUNS)
    if comm.rank == 0:
        print(json.dumps({"alpha_us": 1e6 * link.latency, "MB_per_s": link.bandwidth / 1e6}))
        for size, measured, count in zip(SIZES, sums, sent, strict=True):
            model = link.sum_seconds(size, comm.size)
            row = {"bytes": size, "sum_ms": 1e3 * measured, "model_ms": 1e3 * model}
            row |= {"ratio": measured / model, "sent": count / bytes_sent(size, comm.size)}
            print(json.dumps(row), flush=True)


def echo(comm, buffer):
    """Send a message from rank 0 to rank 1 and back."""
    if comm.rank < 2:
        for sender in (0, 1):
            if comm.rank == sender:
                comm.Send(buffer, 1 - sender)
            else:
                comm.Recv(buffer, sender)


def seconds(comm, action, size):
    """Return the median seconds of an action with a buffer of a size."""
    buffer, found = np.zeros(size // 8), []
    for _ in range(RUNS):
        comm.Barrier()
        start = time.perf_counter()
        action(buffer)
        found.append(time.perf_counter() - start)
    return float(np.median(comm.bcast(found[1:], 0)))


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        measure()
    else:
        hosts, megabits = map(int, sys.argv[1:3])
        training = [str(Path(__file__).with_name("speed.py")), *sys.argv[3:]]
        try:
            build(hosts, megabits)
            # The launcher's own connections go to the first host as well.
            run("ip", "-n", f"{PREFIX}0", "addr", "add", "10.77.0.254/24", "dev", f"{PREFIX}0a")
            launch(hosts, training if sys.argv[3:] else [__file__, "measure"])
        finally:
            remove(hosts)
