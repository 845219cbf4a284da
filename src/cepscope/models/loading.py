"""Networks from files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

from cepscope.errors import CorruptArtifactError, NotFittedError
from cepscope.models.backend import keras
from cepscope.models.crbm import ConvolutionalRBM

# what Python's zipfile, HDF5 and Keras raise over damaged archives
DAMAGE = (
    *(ValueError, OSError, KeyError, TypeError, EOFError, RuntimeError),  # NotImplementedError is a RuntimeError
    *(zipfile.BadZipFile, zlib.error),
)


def load_model(path: str | Path) -> Any:
    """Load a ``.keras`` file in safe mode: no code of the file's own is run.

    Raises
    ------
    NotFittedError
        If there is no such file.
    CorruptArtifactError
        If it can't be read.
    """
    if not Path(path).is_file():
        raise NotFittedError(f"There is no model at {path}. Run `cepscope train` first.")
    try:
        own = {"cepscope>ConvolutionalRBM": ConvolutionalRBM}  # whoever loads a network need not import its layers
        return keras.models.load_model(path, custom_objects=own, safe_mode=True)
    except DAMAGE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CorruptArtifactError(f"{path} can't be loaded as a Keras model: {reason}") from error
