"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

MB = 2**20
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
DASK = {"MALLOC_TRIM_THRESHOLD_": "65536"}  # what Dask starts its workers with, and what is started beside them


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, up to 256 MB, instead of handing it back after each operation.

    Otherwise a training step, or a piece of an extraction, asks for the same few MB again and again, and the system
    clears every page of them: a third of the time of a step. Without effect where the C library is another one, and
    where the user has a say.
    """
    said = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    if said.items() - DASK.items():
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in ((M_MMAP_THRESHOLD, 32 * MB), (M_TRIM_THRESHOLD, 256 * MB), (M_TOP_PAD, 64 * MB)):
            mallopt(option, size)
