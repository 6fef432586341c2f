"""ShuffleNet V1 and V2 that you can take apart: every backward pass written by hand."""

__version__ = "0.1.0"
