"""Corpora known by name: where they come from, how they are verified, where they lie once they were fetched."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cepscope.errors import DataError

DATA_VARIABLE = "CEPSCOPE_DATA"
GIGABYTE, MEGABYTE = 10**9, 10**6


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from.

    Attributes
    ----------
    title, licence
        For people.
    url
        Its archive's address.
    file
        The archive's name on disk.
    most
        Bytes that the archive, and what is in it, may have at most.
    size, sha256
        Of the archive; None where the address gives other bytes from time to time.
    content, content_sha256
        A pattern of files below the corpus's folder, and the SHA-256 over their names and bytes, one file after the
        other in the order of their names; "" where the archive's own is enough.
    """

    title: str
    licence: str
    url: str
    file: str
    most: tuple[int, int]
    size: int | None = None
    sha256: str | None = None
    content: str = ""
    content_sha256: str = ""


KNOWN = {
    # GitHub packs a tag's archive anew now and then, so its bytes are not fixed; those of the recordings are.
    "fsdd": Source(
        title="Free Spoken Digit Dataset v1.0.10: 3000 recordings of ten digits by six speakers",
        licence="CC BY-SA 4.0",
        url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
        file="free-spoken-digit-dataset-1.0.10.tar.gz",
        most=(100 * MEGABYTE, 200 * MEGABYTE),
        content="recordings/*.wav",
        content_sha256="45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e",
    ),
    # size and SHA-256 as TensorFlow Datasets lists them for this file
    "speech-commands": Source(
        title="Speech Commands v0.02: 105,829 recordings of 35 words by 2,618 speakers",
        licence="CC BY 4.0",
        url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        file="speech_commands_v0.02.tar.gz",
        most=(3 * GIGABYTE, 6 * GIGABYTE),
        size=2_428_923_189,
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}


def expanded(path: str | Path) -> Path:
    """Return a path with ``~`` as the person's folder; one of a person who is not known here stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def data_folder() -> Path:
    """Return the folder that corpora are fetched to: CEPSCOPE_DATA, or the person's cache folder."""
    if chosen := os.environ.get(DATA_VARIABLE):
        return expanded(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(cache) / "cepscope"


def find_known(name: str) -> Path:
    """Return the folder of a fetched corpus; DataError, with the command that fetches it, when it is not there."""
    folder = data_folder() / name
    if not folder.is_dir():
        raise DataError(f"the corpus {name!r} is not in {folder}: get it with `cepscope fetch {name}`")
    return folder


def content_digest(folder: Path, pattern: str) -> str:
    """Return the SHA-256 over names and bytes of the files of a pattern, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob(pattern), key=lambda path: path.name):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
