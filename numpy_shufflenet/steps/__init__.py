"""Every operation as a generator that computes one entry at a time: slow, but easy to follow.

`NAME_forward_steps(arrays..., hyperparameters)` and `NAME_backward_steps(dy, arrays...,
hyperparameters)` yield `Output` and `Step` records. From each pair of generators, this file makes
NAME_forward and NAME_backward, which run the generators and have the signatures of `ops`.
"""

from typing import TYPE_CHECKING

from numpy_shufflenet._discover import public_names
from numpy_shufflenet.steps._driver import Output, Step, functions

if TYPE_CHECKING:  # for editors and type checkers, which don't run `public_names`
    from numpy_shufflenet.steps.add import *
    from numpy_shufflenet.steps.batch_norm import *
    from numpy_shufflenet.steps.channel_shuffle import *
    from numpy_shufflenet.steps.channels import *
    from numpy_shufflenet.steps.conv2d import *
    from numpy_shufflenet.steps.depthwise_conv2d import *
    from numpy_shufflenet.steps.dropout import *
    from numpy_shufflenet.steps.fused import *
    from numpy_shufflenet.steps.group_conv2d import *
    from numpy_shufflenet.steps.leaky_relu import *
    from numpy_shufflenet.steps.linear import *
    from numpy_shufflenet.steps.loss import *
    from numpy_shufflenet.steps.pointwise_conv2d import *
    from numpy_shufflenet.steps.pooling import *
    from numpy_shufflenet.steps.relu import *
    from numpy_shufflenet.steps.sigmoid import *
    from numpy_shufflenet.steps.squeeze_excitation import *
    from numpy_shufflenet.steps.swish import *
    from numpy_shufflenet.steps.sync_batch_norm import *
    from numpy_shufflenet.steps.upsample import *

_names = public_names(__name__, __path__, globals())
for _name in [name for name in _names if name.endswith("_forward_steps")]:
    for _function in functions(globals()[_name], globals()[_name.replace("_forward", "_backward")]):
        globals()[_function.__name__] = _function
        _names.append(_function.__name__)
__all__ = ["Output", "Step", *sorted(_names)]
