"""Files that appear whole or not at all, and their checksums.

A file is written beside its target, synced, then renamed over it: who reads sees the old content or the new
one, never a part, even after a power cut or ``kill -9``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import math
import os
import secrets
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import CorruptArtifactError, DataError, ParameterError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, none left of one's quota, more than a file may be
MOST = 4 << 30  # bytes of arrays in one file: far above what a corpus's shard or a network's state has
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# what Python's zipfile and NumPy raise over damaged files; NotImplementedError and RecursionError are RuntimeErrors
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, SyntaxError),
    *(ValueError, KeyError, AttributeError, TypeError, OSError, EOFError, RuntimeError, OverflowError, MemoryError),
)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lend a temporary path beside `path`, to be written in the body of a ``with``.

    The temporary file is empty and has the suffix of `path` (Keras insists on ``.keras``); its name begins
    with ``.part-``. When the body succeeds it is synced and renamed to `path`, when it raises, and also on
    Ctrl-C, it is removed and what was at `path` stays.

    Parameters
    ----------
    path
        The file to appear. Missing parent folders are made.

    Yields
    ------
    temporary
        Where to write.

    Raises
    ------
    DataError
        The folder can't be made or written to, `path` is a folder, or the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/a/b.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "a", "b.txt").read_text()
    'whole'
    """
    target = Path(path)
    temporary = target.with_name(f".part-{secrets.token_hex(6)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the umask applies, as in open()
    except OSError as error:
        raise DataError(f"can't write {target} ({_reason(error)}); choose another place") from error
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise DataError(
                f"can't write {target} ({_reason(error)}); make room and run the same command again, or choose another "
                "place"
            ) from error
        raise
    with suppress(OSError):  # not every file system syncs a folder; the rename itself is done
        _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write bytes, whole or not at all; DataError when `path` can't be written."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write text as UTF-8 with its line ends as they are, whole or not at all; errors as `write_bytes`.

    What UTF-8 can't hold, bytes of file names that were no text, becomes a question mark.
    """
    write_bytes(path, content.encode("utf-8", "replace"))


def save_npz(path: str | os.PathLike[str], **arrays: npt.ArrayLike) -> None:
    """Write arrays to a compressed npz, whole or not at all.

    The same arrays give the same bytes: the archive holds no time of writing.

    Parameters
    ----------
    path
        The file to appear, under just this name: no suffix is added.
    **arrays
        Numbers or text. Python objects are refused, since reading them would mean unpickling.

    Raises
    ------
    ParameterError
        An array holds Python objects.
    DataError
        `path` can't be written.
    """
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise ParameterError(f"an npz holds numbers and text only. Received: {name} of dtype {array.dtype}")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **plain)  # type: ignore[arg-type]  # the stub takes a name for allow_pickle


def load_npz(path: str | os.PathLike[str], *, most: int = MOST) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an npz; nothing is unpickled, and nothing is read that says it is larger than it is.

    Parameters
    ----------
    path
        The file.
    most
        Bytes that all arrays may have together, by what the file says; looked at before any is read.

    Raises
    ------
    CorruptArtifactError
        The file is missing, damaged, too large, or is something else.
    """
    with _one_line(path, "arrays"), Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if (size := sum(member.file_size for member in members)) > most:
            raise ValueError(f"{size} bytes of arrays, expected at most {most}")
        return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def load_npy(path: str | os.PathLike[str], *, most: int = MOST) -> npt.NDArray[Any]:
    """Read the array of an npy; otherwise as `load_npz`."""
    with _one_line(path, "an array"), Path(path).open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise ValueError(f"{size} bytes, expected at most {most}")
        _check_size(file, size)
        file.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def load_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a table of names and values.

    Raises
    ------
    CorruptArtifactError
        The file is missing, damaged or is something else.
    """
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} can't be read as JSON ({error}); run its stage again") from error
    if not isinstance(found, dict):
        raise CorruptArtifactError(f"{path} must hold a table. Received: {type(found).__name__}; run its stage again")
    return found


@contextmanager
def _one_line(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
            yield
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CorruptArtifactError(f"{path} can't be read as {what} ({reason}); run its stage again") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        _check_size(file, member.file_size)
    with archive.open(member) as file:
        array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _check_size(file: IO[bytes], size: int) -> None:
    """Raise ValueError unless an npy says of itself that it has `size` bytes: memory is claimed by what it says."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"npy version {version}, expected 1.0 or 2.0")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    if not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} and shape {shape}")
    if (claimed := file.tell() + math.prod(shape) * dtype.itemsize) != size:
        raise ValueError(f"an array of {claimed} bytes in {size}")


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
