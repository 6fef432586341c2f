"""The time that many machines need to add up their gradients, by the alpha-beta model.

A message of b bytes takes alpha + b / beta seconds, with the latency alpha and the bandwidth beta
in bytes per second. A sum of N bytes over p machines, whose result all machines get, takes

    ring    2 (p - 1) alpha + 2 (p - 1) / p  N / beta
    tree    2 ceil(log2 p) (alpha + N / beta)

Ring: the array is cut into p pieces. In p - 1 rounds, each machine adds a piece to the piece of its
neighbour. In p - 1 more rounds, the machines pass the sums on. Each machine sends as few bytes as
possible, but waits for many messages. Tree: the array is added up along a binary tree, and the sum
is sent back. There are few messages, and all of them are large. MPI libraries choose by size, so
the model takes the faster way.

For each layer of c channels, synchronised batch normalisation exchanges 2 c + 1 numbers of 8 bytes
in the forward and 2 c in the backward. Nothing else can run meanwhile. Each of these exchanges
gathers the vectors of all machines, by recursive doubling:

    gather  ceil(log2 p) alpha + (p - 1) b / beta

If a step takes t seconds on one machine, and its backward t_b seconds, then on p machines it takes

    t + max(0, sum - hidden t_b)  +  gathers           efficiency = t / this

because sums run during the backward of earlier layers. `hidden` is the share of t_b in which sums
can run: the sum of the last bucket starts after the backward.

Source: Hockney, The communication challenge for MPP, 1994 (alpha and beta); Thakur, Rabenseifner,
Gropp, Optimization of collective communication operations in MPICH, 2005, section 4; Patarasuk,
Yuan, Bandwidth optimal all-reduce algorithms, 2009 (ring).
"""

from dataclasses import dataclass, replace

from numpy_shufflenet.nn import BatchNorm2d, Layer
from numpy_shufflenet.ops.checks import check_positive, check_share, check_size

GIGABIT = 1e9 / 8
"""Bytes per second of 1 Gbit/s."""


@dataclass(frozen=True)
class Link:
    """The connection between machines.

    Raises
    ------
    ValueError
        If the latency is below 0, or the bandwidth not above 0.
    """

    latency: float  #: alpha: seconds of an empty message.
    bandwidth: float  #: beta: bytes per second.

    def __post_init__(self) -> None:
        check_size("latency", self.latency)
        if not check_size("bandwidth", self.bandwidth):
            raise ValueError("bandwidth=0 is not a number above 0")

    def ring_seconds(self, size: float, machines: int) -> float:
        """Return the seconds of a sum of `size` bytes by a ring."""
        p = check_positive("machines", machines)
        return 2 * (p - 1) * self.latency + bytes_sent(size, p) / self.bandwidth

    def tree_seconds(self, size: float, machines: int) -> float:
        """Return the seconds of a sum of `size` bytes along a binary tree."""
        rounds = 2 * _rounds(machines)
        return rounds * (self.latency + size / self.bandwidth)

    def sum_seconds(self, size: float, machines: int) -> float:
        """Return the seconds of a sum of `size` bytes, by the faster of ring and tree."""
        return min(self.ring_seconds(size, machines), self.tree_seconds(size, machines))

    def gather_seconds(self, size: float, machines: int) -> float:
        """Return the seconds until all machines have the `size` bytes of each machine."""
        messages = _rounds(machines) * self.latency
        return messages + (machines - 1) * size / self.bandwidth


@dataclass(frozen=True)
class TrainingStep:
    """A training step on one machine."""

    seconds: float  #: Of the whole step.
    backward_seconds: float
    gradient_bytes: int  #: Bytes of all gradients.
    #: Bytes that a machine sends in each exchange of synchronised batch normalisation; empty
    #: without it.
    gathers: tuple[int, ...] = ()
    buckets: int = 1  #: Number of parts in which the gradients are added up.
    hidden: float = 0.75  #: Share of the backward in which sums can run, from 0 to 1.

    def __post_init__(self) -> None:
        check_share("hidden", self.hidden)

    def sum_seconds(self, link: Link, machines: int) -> float:
        """Return the seconds of all sums of gradients, one bucket after the other."""
        each = self.gradient_bytes / self.buckets
        return self.buckets * link.sum_seconds(each, machines)

    def seconds_on(self, link: Link, machines: int) -> float:
        """Return the seconds of the step on many machines, each with a batch of the same size."""
        beyond = self.sum_seconds(link, machines) - self.hidden * self.backward_seconds
        gathers = sum(link.gather_seconds(size, machines) for size in self.gathers)
        return self.seconds + max(0.0, beyond) + gathers

    def efficiency(self, link: Link, machines: int) -> float:
        """Return images per second of each machine, relative to one machine alone."""
        return self.seconds / self.seconds_on(link, machines)

    def with_batch(self, factor: float) -> "TrainingStep":
        """Return the step with `factor` times as many images; the gradients don't grow."""
        seconds, backward = factor * self.seconds, factor * self.backward_seconds
        return replace(self, seconds=seconds, backward_seconds=backward)

    def least_factor(self, link: Link, machines: int, efficiency: float) -> float:
        """Return the smallest factor on the batch size at which the step is this efficient.

        Raises
        ------
        ValueError
            If the efficiency isn't above 0 and below 1.
        """
        if not check_share("efficiency", efficiency, below=True) > 0:
            raise ValueError("efficiency=0 is not a number above 0")
        gathers = sum(link.gather_seconds(size, machines) for size in self.gathers)
        sums, lost = self.sum_seconds(link, machines), 1 / efficiency - 1
        # factor t lost = max(0, sums - factor hidden t_b) + gathers, solved for both cases
        covered = gathers / (lost * self.seconds)
        beyond = (sums + gathers) / (lost * self.seconds + self.hidden * self.backward_seconds)
        return max(covered, beyond)


def bytes_sent(size: float, machines: int) -> float:
    """Return the bytes that each machine sends for a sum by a ring: 2 (p - 1) / p size."""
    p = check_positive("machines", machines)
    return 2 * (p - 1) / p * size


def gather_sizes(model: Layer) -> tuple[int, ...]:
    """Return the bytes of each message of synchronised batch normalisation in a step."""
    norms = (layer for _, layer in model.named_layers() if isinstance(layer, BatchNorm2d))
    return tuple(8 * (2 * norm.weight.value.size + extra) for norm in norms for extra in (1, 0))


def gradient_bytes(model: Layer) -> int:
    """Return the bytes of all gradients of a model."""
    return sum(parameter.nbytes for parameter in model.parameters().values())


def _rounds(machines: int) -> int:
    """Return ceil(log2 p), exactly."""
    return (check_positive("machines", machines) - 1).bit_length()
