"""Every operation in the form that the course teaches: vectorised NumPy, forward and backward.

An operation NAME is a pair of pure functions: `y, cache = NAME_forward(...)` and
`gradients = NAME_backward(dy, cache)`. Each file registers its operations in the table
(`registry.register`), with formulas of their cost and a function that draws a case: arguments for
tests, examples and exercises.
"""

from typing import TYPE_CHECKING

from numpy_shufflenet._discover import public_names

if TYPE_CHECKING:  # for editors and type checkers, which don't run `public_names`
    from numpy_shufflenet.ops.add import *
    from numpy_shufflenet.ops.batch_norm import *
    from numpy_shufflenet.ops.channel_shuffle import *
    from numpy_shufflenet.ops.channels import *
    from numpy_shufflenet.ops.conv2d import *
    from numpy_shufflenet.ops.depthwise_conv2d import *
    from numpy_shufflenet.ops.dropout import *
    from numpy_shufflenet.ops.fused import *
    from numpy_shufflenet.ops.group_conv2d import *
    from numpy_shufflenet.ops.linear import *
    from numpy_shufflenet.ops.loss import *
    from numpy_shufflenet.ops.pointwise_conv2d import *
    from numpy_shufflenet.ops.pooling import *
    from numpy_shufflenet.ops.relu import *
    from numpy_shufflenet.ops.sigmoid import *
    from numpy_shufflenet.ops.squeeze_excitation import *
    from numpy_shufflenet.ops.sync_batch_norm import *
    from numpy_shufflenet.ops.upsample import *

__all__ = public_names(__name__, __path__, globals())
