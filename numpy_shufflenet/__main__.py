"""`python -m numpy_shufflenet` is the command `numpy-shufflenet`."""

import sys

from numpy_shufflenet.cli import main

sys.exit(main())
