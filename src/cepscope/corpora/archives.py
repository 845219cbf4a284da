"""Unpacking archives from elsewhere: nothing lands outside the folder, and nothing grows without bound."""

from __future__ import annotations

import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from cepscope.errors import DataError

_BLOCK = 1 << 20
_MOST_FILES = 1_000_000
_LONGEST_NAME = 255  # bytes, of a file or a folder
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True)
class _Member:
    """An entry of an archive; `open` is None for a folder."""

    name: str
    kind: str  # "file", "folder", or what it is instead
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, *, most: int, progress: Callable[[int, int], object] | None = None) -> int:
    """Unpack a tar (plain, gz, bz2, xz) or zip archive of plain files.

    Parameters
    ----------
    archive
        The file.
    folder
        Where to; it is there already. What was unpacked before an error stays: give a folder that can be thrown away.
    most
        Bytes that all files may have together. Counted as they are written, not as the archive claims.
    progress
        Called as ``progress(bytes_read, bytes_in_all)`` of the archive.

    Returns
    -------
    int
        Files unpacked.

    Raises
    ------
    DataError
        The archive is damaged or is none, an entry has an absolute name, leaves the folder, is a link or a device, or
        is there twice, or the files are larger than `most`.
    """
    files, written = 0, 0
    size = archive.stat().st_size
    try:
        with _members(archive) as (members, position):
            for member in members:
                target = folder / _inside(archive, member)
                if member.kind == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                files += 1
                if files > _MOST_FILES:
                    raise DataError(f"{archive} holds more than {_MOST_FILES} files; not unpacked")
                target.parent.mkdir(parents=True, exist_ok=True)
                source = member.open()
                if source is None:
                    raise DataError(f"{archive}: {member.name!r} can't be read; not unpacked")
                with source, target.open("xb") as file:
                    while block := source.read(_BLOCK):
                        written += len(block)
                        if written > most:
                            raise DataError(f"{archive} holds more than the {most} bytes expected; not unpacked")
                        file.write(block)
                if progress:
                    progress(min(position(), size), size)
    except FileExistsError as error:
        raise DataError(f"{archive} holds {Path(error.filename).name!r} twice; not unpacked") from error
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of a decompressor
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(f"{archive} is damaged or is no archive ({reason}); get it again") from error
    if progress:
        progress(size, size)
    return files


def _inside(archive: Path, member: _Member) -> PurePosixPath:
    """Return an entry's path below the folder; DataError when it is not a plain file or folder that lies there."""
    name = PurePosixPath(member.name)
    if member.kind not in ("file", "folder"):
        raise DataError(f"{archive}: {member.name!r} is a {member.kind}; only files are unpacked, so nothing was")
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or re.match("[A-Za-z]:", member.name):
        raise DataError(f"{archive}: {member.name!r} would land outside the folder; nothing was unpacked")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in name.parts):
        raise DataError(f"{archive}: {name.name[:40]!r}... is too long a name; nothing was unpacked")
    if "\0" in member.name:
        raise DataError(f"{archive}: {member.name!r} is no file name; nothing was unpacked")
    return name


@contextmanager
def _members(archive: Path) -> Iterator[tuple[Iterator[_Member], Callable[[], int]]]:
    """Lend the entries of an archive, and a function that tells how far it was read."""
    with archive.open("rb") as raw:
        if zipfile.is_zipfile(raw):
            raw.seek(0)
            with zipfile.ZipFile(raw) as packed:
                yield (_zipped(packed, info) for info in packed.infolist()), raw.tell
        else:
            raw.seek(0)
            with tarfile.open(fileobj=raw, mode="r:*") as tape:
                yield (_taped(tape, info) for info in tape), raw.tell


def _zipped(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
    return _Member(info.filename, kind, lambda: packed.open(info))


def _taped(tape: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    link = info.issym() or info.islnk()
    kind = "link" if link else "folder" if info.isdir() else "file" if info.isfile() else "device"
    return _Member(info.name, kind, lambda: tape.extractfile(info))


def only_folder(folder: Path) -> Path:
    """Return the one subfolder that holds everything, as archives of repositories have, or the folder itself."""
    entries = list(os.scandir(folder))
    return Path(entries[0].path) if len(entries) == 1 and entries[0].is_dir() else folder
