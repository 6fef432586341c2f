"""The operations that networks spend their time in, as compiled loops and blocked products.

The functions have the same signatures as in `ops`. Operations that aren't here are fast enough in
`ops`.
"""

from typing import TYPE_CHECKING

from numpy_shufflenet._discover import public_names
from numpy_shufflenet._optional import need

try:
    from numpy_shufflenet.kernels import _barrier  # noqa: F401
except ImportError:
    need("numba", "compiling kernels")
    raise

if TYPE_CHECKING:  # for editors and type checkers, which don't run `public_names`
    from numpy_shufflenet.kernels.batch_norm import *
    from numpy_shufflenet.kernels.channels import *
    from numpy_shufflenet.kernels.conv2d import *
    from numpy_shufflenet.kernels.depthwise_conv2d import *
    from numpy_shufflenet.kernels.leaky_relu import *
    from numpy_shufflenet.kernels.pointwise_conv2d import *
    from numpy_shufflenet.kernels.pooling import *
    from numpy_shufflenet.kernels.relu import *
    from numpy_shufflenet.kernels.sync_batch_norm import *

__all__ = public_names(__name__, __path__, globals())
