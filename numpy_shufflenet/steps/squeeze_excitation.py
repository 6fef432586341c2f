"""Squeeze-and-excitation, one output at a time.

The scale e[k] of a channel depends on all pixels of its image. In the backward, the gradient of an
entry adds one product for each output that the entry reaches. The product has the factors

    dy[n, k, p, q] / d e[n, k] = x[n, k, p, q]        de[k]/da = e (1 - e), a = w2 z + b2

and the derivative of a by the entry. In contrast, `ops` goes backward through the small network.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Index, Output, Reads, Steps, add_up, gradients_of, total
from numpy_shufflenet.steps.sigmoid import sigmoid, sigmoid_slope

__all__ = ["squeeze_excitation_backward_steps", "squeeze_excitation_forward_steps"]


class Gate(NamedTuple):
    """The numbers of the small network for one image."""

    s: list[Any]  # c: squeezed
    z: list[Any]  # r: hidden, after the ReLU
    a: list[Any]  # c: the logits of the scales


def squeeze_excitation_forward_steps(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Steps:
    """y[n, k, p, q] reads its whole image and both layers."""
    yield Output("y", x.shape)
    for n in range(len(x)):
        gate = run_gate(x[n], w1, b1, w2, b2)
        e = [sigmoid(a) for a in gate.a]
        reads = reads_of_gate(x, n, w1, b1, w2, b2)
        for k, p, q in np.ndindex(x.shape[1:]):
            yield add_up("y", (n, k, p, q), reads, [x[n, k, p, q] * e[k]])


def squeeze_excitation_backward_steps(
    dy: Array, x: Array, w1: Array, b1: Array, w2: Array, b2: Array
) -> Steps:
    """A pixel reaches its own output, and through the scales every output of its image."""
    _, channels, height, width = x.shape
    yield from gradients_of(x=x, w1=w1, b1=b1, w2=w2, b2=b2)
    gates = [run_gate(image, w1, b1, w2, b2) for image in x]
    slopes = [[sigmoid_slope(a) for a in gate.a] for gate in gates]  # n k: de/da
    outputs = list(np.ndindex(x.shape))
    for n, gate in enumerate(gates):
        image = [out for out in outputs if out[0] == n]
        reads: Reads = [("dy", out) for out in image]
        reads += reads_of_gate(x, n, w1, b1, w2, b2)
        passing = [j for j in range(len(w1)) if gate.z[j] > 0]
        for c in range(channels):
            # d e[k] / d x[c, r, s] is the same for all pixels of c, each of which has 1/hw of s[c].
            through = [
                slopes[n][k] * total([w2[k, j] * w1[j, c] for j in passing]) / (height * width)
                for k in range(channels)
            ]
            for r, s in np.ndindex(height, width):
                terms = [dy[n, c, r, s] * sigmoid(gate.a[c])]
                terms += [dy[out] * (x[out] * through[out[1]]) for out in image]
                yield add_up("dx", (n, c, r, s), reads, terms)

    def dlogit(out: Index) -> Any:
        """The part of the gradient of a channel's logit that comes from output `out`."""
        n, k, _, _ = out
        return dy[out] * (x[out] * slopes[n][k])

    whole_batch: Reads = []
    for n in range(len(x)):
        whole_batch += reads_of_gate(x, n, w1, b1, w2, b2)

    for j in range(len(w1)):
        alive = [out for out in outputs if gates[out[0]].z[j] > 0]  # reached past the ReLU
        reads = [*(("dy", out) for out in alive), *whole_batch]
        dhidden = [dlogit(out) * w2[out[1], j] for out in alive]
        for c in range(channels):
            squeezed = [gates[out[0]].s[c] for out in alive]
            terms = [d * s for d, s in zip(dhidden, squeezed, strict=True)]
            yield add_up("dw1", (j, c), reads, terms)
        yield add_up("db1", (j,), reads, dhidden)

    for k in range(channels):
        own = [out for out in outputs if out[1] == k]
        reads = [*(("dy", out) for out in own), *whole_batch]
        for j in range(len(w1)):
            terms = [dlogit(out) * gates[out[0]].z[j] for out in own]
            yield add_up("dw2", (k, j), reads, terms)
        yield add_up("db2", (k,), reads, [dlogit(out) for out in own])


def run_gate(image: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Gate:
    """Run the small network on one image (c, h, w)."""
    s = []
    for channel in image:
        pixels = list(channel.flat)
        s.append(total(pixels) / len(pixels))
    z = []
    for j in range(len(w1)):
        hidden = total([*(w1[j, c] * s[c] for c in range(len(s))), b1[j]])
        z.append(0.0 if hidden < 0 else hidden)  # so NaN passes
    logits = [total([*(w2[k, j] * z[j] for j in range(len(z))), b2[k]]) for k in range(len(w2))]
    return Gate(s, z, logits)


def reads_of_gate(x: Array, n: int, w1: Array, b1: Array, w2: Array, b2: Array) -> Reads:
    """Return all entries on which the scales of image n depend."""
    reads: Reads = [("x", (n, *place)) for place in np.ndindex(x.shape[1:])]
    for name, array in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2)):
        reads += [(name, place) for place in np.ndindex(array.shape)]
    return reads
