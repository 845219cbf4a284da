"""How much a model file holds, before it is read: nothing that it claims is taken into memory on trust.

A network's account of itself and its weights come from the same stranger. So arrays may not claim to be much larger
than the file, may not lie in another file, and the layers may not need more weights than there are.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LARGEST_CONFIG = 64 << 20  # bytes; networks of a thousand layers have some 2 MB
RATIO = 8  # how many times as large as its file content may be: weights hardly shrink
FREE = 64 << 20  # bytes that are never too many
SLACK = 10_000  # values that a network may have beyond those in the file: states of random generators


def require_plausible(size: int, path: Path) -> None:
    """Raise ValueError where content claims to be far larger than its file."""
    of_file = path.stat().st_size
    if size > max(FREE, RATIO * of_file):
        raise ValueError(f"it says that it holds {size} bytes, in a file of {of_file}")


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a text of an archive; ValueError when it is far larger than any network's."""
    if (size := archive.getinfo(name).file_size) > LARGEST_CONFIG:
        raise ValueError(f"{name} has {size} bytes, expected at most {LARGEST_CONFIG}")
    return archive.read(name)


def weights_held(path: Path, kind: str) -> int:
    """Return how many numbers a ``.keras`` or HDF5 file holds.

    Raises
    ------
    ValueError
        They claim to be far larger than the file, or lie elsewhere.
    """
    with _opened(path, kind) as file:
        arrays = list(_datasets(file))
    require_plausible(sum(array.nbytes for array in arrays), path)
    return sum(array.size for array in arrays)


def require_weights(needed: int, held: int) -> None:
    """Raise ValueError where layers need more weights than a file has."""
    if needed > 2 * held + SLACK:
        raise ValueError(f"its layers need {needed} weights, but the file holds {held}")


class _Array:
    def __init__(self, dataset: Any) -> None:
        self.size = math.prod(dataset.shape or ())
        self.nbytes = self.size * dataset.dtype.itemsize


def _datasets(group: Any) -> Iterator[_Array]:
    """Yield what a group holds; a link out of the file is refused, and so are arrays that lie elsewhere."""
    import h5py  # type: ignore[import-untyped]

    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"its {name!r} is a link; weights lie in the file itself")
        found = group[name]
        if isinstance(found, h5py.Group):
            yield from _datasets(found)
        elif isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise ValueError(f"its {name!r} lies in another file")
            yield _Array(found)


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    import h5py

    if kind == "hdf5":
        with h5py.File(path) as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith(".weights.h5")), "")
        if not name:
            raise ValueError("it holds no weights")
        with archive.open(name) as content, h5py.File(content) as file:
            yield file
