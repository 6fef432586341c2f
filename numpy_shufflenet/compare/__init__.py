"""Comparing a network with its port to PyTorch or ONNX, layer by layer.

    comparison = compare_networks(model, "model.onnx", images)
    print(comparison)                  # equal, or the first layer that differs, and why
    comparison.verdict                 # "equal", "different" or "can't tell"
    plots.layer_differences(comparison)

Our network runs in float32 and in float64, which shows the rounding of each layer. Theirs runs in
float32. A layer is equal if its difference from our float64 output is at most a few times our
rounding.

A comparison of logits alone is often worthless. A new ShuffleNet has running means of 0 and
variances of 1, so that in evaluation mode all images have practically the same logits: a port with
a wrong shuffle, or a black image, passes `np.allclose`. Therefore a comparison also measures how
far the logits of two images are apart. If this distance is no more than rounding, the verdict is
"can't tell". Then `fill_statistics` helps.
"""

from numpy_shufflenet.compare.networks import compare_networks
from numpy_shufflenet.compare.result import LayerDifference, NetworkComparison

__all__ = ["LayerDifference", "NetworkComparison", "compare_networks"]
