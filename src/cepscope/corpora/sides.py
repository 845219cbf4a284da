"""Patches of one side in a plain npy file, written, measured and scaled a chunk at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cepscope import atomic
from cepscope.corpora.shards import AGAIN, verify
from cepscope.errors import CorruptArtifactError
from cepscope.features import Scaling
from cepscope.features.scaler import CHUNK


class SideFile:
    """An npy (n, n_mfcc, frames, 1) float32 that is being filled.

    Going through it gives chunks (`CHUNK`, n_mfcc, frames), the last with what is left, each time from the beginning. A
    chunk is gone when the next one is there: they share their memory.

    Parameters
    ----------
    path
        The file.
    shape
        (n, n_mfcc, frames) that it will have.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self._path, self._shape = path, shape
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (*shape, 1)})
            self._first = file.tell()

    def append(self, patches: NDArray[np.float32]) -> None:
        """Add patches (any number, n_mfcc, frames)."""
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(patches, np.float32).data)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        with self._path.open("rb") as file:
            file.seek(self._first)
            room = np.empty((min(CHUNK, self._shape[0]), *self._shape[1:]), np.float32)
            for start in range(0, self._shape[0], CHUNK):
                found = room[: self._shape[0] - start]
                file.readinto(found.data.cast("B"))
                yield found

    def scale(self, scaler: Scaling) -> str:
        """Scale all patches; return the sha256 of the whole file."""
        with self._path.open("r+b") as file, ThreadPoolExecutor(1) as beside:  # a second core may take the digest
            digest = hashlib.sha256(file.read(self._first))
            place, last = self._first, beside.submit(lambda: None)
            for chunk in self:
                scaled = np.ascontiguousarray(scaler.transform(chunk))
                last.result()  # no more than one chunk waits
                last = beside.submit(digest.update, scaled.data)
                file.seek(place)
                file.write(scaled.data)
                file.flush()
                place += scaled.nbytes
            last.result()
        return digest.hexdigest()


def open_side(path: Path, shape: tuple[int, int, int], sha256: str, *, mapped: bool) -> NDArray[np.float32]:
    """Return the patches of a side: of a mapped one, those that are looked at come into memory, and may go again.

    Raises
    ------
    CorruptArtifactError
        The file is missing, damaged or another one.
    """
    verify(path, sha256)
    try:
        found = np.lib.format.open_memmap(path, mode="r") if mapped else atomic.load_npy(path)
    except (OSError, ValueError) as error:
        raise CorruptArtifactError(f"{path} is damaged ({error}); {AGAIN}") from error
    if found.shape != (*shape, 1) or found.dtype != np.float32:
        expected = f"patches of {(*shape, 1)} float32"
        raise CorruptArtifactError(f"{path}: expected {expected}. Received: {found.shape} {found.dtype}; {AGAIN}")
    return found
