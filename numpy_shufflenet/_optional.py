"""Packages that not every part of the library needs."""

import importlib
from typing import Any

PACKAGES = {  # by module: the name to install, and the extra that has it
    "IPython": ("ipython", "notebooks"),
    "PIL": ("Pillow", "demo"),
    "jax": ("jax", "test"),
    "matplotlib": ("matplotlib", "demo"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "peers"),
    "rich": ("rich", "demo"),
    "safetensors": ("safetensors", "demo"),
    "scipy": ("scipy", "test"),
    "torch": ("torch", "peers"),
}


def need(module: str, purpose: str, extra: str = "notebooks") -> Any:
    """Import and return an optional module.

    Parameters
    ----------
    module : str
        As in an import statement; it may lie within a package.
    purpose : str
        What it is for, the subject of "... needs ...".
    extra : str
        That of `pip install "numpy_shufflenet[extra]"`, if PACKAGES doesn't say.

    Raises
    ------
    ImportError
        If it, or a module that it imports, isn't installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        package, extra = PACKAGES.get(missing, (missing, extra))
        raise ImportError(
            f'{purpose} needs {package}: pip install "numpy_shufflenet[{extra}]"', name=missing
        ) from error
