"""Where patches are read from: arrays in memory, arrays on disk, or anything else that can give some of its patches."""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

FloatArray = npt.NDArray[np.float32]
RUN = 1024  # patches that are read one after the other


@runtime_checkable
class PatchSource(Protocol):
    """Scaled patches that need not be in memory.

    Attributes
    ----------
    shape
        (n_mfcc, frames, 1), of one patch.
    y
        (n,) classes, counted from 0; None if there are none.
    """

    shape: tuple[int, ...]
    y: npt.NDArray[np.int32] | None

    def __len__(self) -> int:
        """Return how many patches there are."""
        ...

    def read(self, indices: npt.NDArray[np.int64]) -> FloatArray:
        """Return some of them, (k, n_mfcc, frames, 1); indices that rise one by one are cheap."""
        ...


class ArraySource:
    """An array as a source: one in memory, or one that `numpy.load` maps from disk.

    Parameters
    ----------
    x : array [shape=(n, n_mfcc, frames, 1)]
    y : array [shape=(n,)], optional
    """

    def __init__(self, x: npt.ArrayLike, y: npt.NDArray[np.int32] | None = None) -> None:
        self.x = np.asanyarray(x)
        self.mapped = _map_of(self.x)
        if self.mapped is None:
            self.x = np.asarray(self.x, np.float32)
        self.shape, self.y = self.x.shape[1:], y

    def __len__(self) -> int:
        return len(self.x)

    def read(self, indices: npt.NDArray[np.int64]) -> FloatArray:
        """Return copies of some patches; of a map, few pages are in memory on our account, and in the end none."""
        if self.mapped is None:
            return np.asarray(self.x[indices], np.float32)
        found = np.empty((len(indices), *self.shape), np.float32)
        steps = np.flatnonzero(np.diff(indices // RUN)) + 1
        for begin, end in itertools.pairwise([0, *steps, len(indices)]):
            found[begin:end] = self.x[indices[begin:end]]
            self.mapped.madvise(mmap.MADV_DONTNEED)
        return found


def source_of(data: Any) -> PatchSource:
    """Return a source of the patches that a training was given: a `PatchSource`, or an array (n, n_mfcc, frames, 1)."""
    if isinstance(data, PatchSource) and not isinstance(data, np.ndarray):
        found: PatchSource = data
    else:
        found = ArraySource(data)
    shape = (len(found), *found.shape) if not isinstance(found, ArraySource) else found.x.shape
    if len(shape) != 4 or not shape[0]:
        raise ParameterError(f"Patches must be (n, n_mfcc, frames, 1), n at least 1. Received: {tuple(shape)}")
    return found


def in_memory(source: PatchSource) -> FloatArray | None:
    """Return the array of a source that is one in memory, without a copy."""
    return source.x if isinstance(source, ArraySource) and source.mapped is None else None


def some(source: PatchSource, count: int) -> FloatArray:
    """Return at most so many patches, from all over a source."""
    return source.read(np.linspace(0, len(source) - 1, min(count, len(source))).astype(np.int64))


def pieces(source: PatchSource) -> Iterator[FloatArray]:
    """Go through all patches, some at a time."""
    for begin in range(0, len(source), RUN):
        yield source.read(np.arange(begin, min(begin + RUN, len(source))))


def _map_of(x: npt.NDArray[Any]) -> mmap.mmap | None:
    """Return the map of a file that an array is a view of; None if it is in memory, or may be written to."""
    base: Any = x
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":  # what was written would be forgotten
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
