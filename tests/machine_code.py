"""Whether kernels are compiled in this run, or plain Python, which needs smaller shapes."""

import numba

COMPILED = not numba.config.DISABLE_JIT  # NUMBA_DISABLE_JIT=1 in the environment
