"""Every operation as the text of the course has it: vectorised NumPy, forward and backward.

Each is a pair of pure functions: `y, cache = x_forward(...)`, `gradients = x_backward(dy, cache)`.
Each file puts the operations in it into the table (`registry.register`), with what they cost and
how cases for tests, examples and exercises are drawn.
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
    from numpy_shufflenet.ops.upsample import *

__all__ = public_names(__name__, __path__, globals())
