"""Packages that may be missing: only some parts of the library need most of them."""

import importlib
from typing import Any

PACKAGES = {  # module: (the name to install, the extra that contains it; "" if it is in none)
    "IPython": ("ipython", "notebooks"),
    "PIL": ("Pillow", "demo"),
    "jax": ("jax", "test"),
    "llvmlite": ("llvmlite", ""),
    "matplotlib": ("matplotlib", "demo"),
    "mpi4py": ("mpi4py", "mpi"),
    "nbgrader": ("nbgrader", ""),
    "numba": ("numba", ""),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "peers"),
    "rich": ("rich", "demo"),
    "safetensors": ("safetensors", "demo"),
    "scipy": ("scipy", "test"),
    "threadpoolctl": ("threadpoolctl", ""),
    "torch": ("torch", "peers"),
}


def need(module: str, purpose: str, extra: str = "notebooks") -> Any:
    """Import and return an optional module.

    Parameters
    ----------
    module : str
        Its name, as in an import statement; the module may lie within a package.
    purpose : str
        What the module is for: the subject of "... needs ..." in the message.
    extra : str
        The extra in `pip install "numpy_shufflenet[extra]"`, if the module isn't in PACKAGES.

    Raises
    ------
    ImportError
        If `module`, or a module that it imports, isn't installed; says how to install that one.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        package, extra = PACKAGES.get(missing, (missing, extra))
        target = f'"numpy_shufflenet[{extra}]"' if extra else package
        raise ImportError(
            f"{purpose} needs {package}: pip install {target}", name=missing
        ) from error
