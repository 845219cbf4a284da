"""Extracted MFCCs on disk: npz shards named by what they hold.

A shard's name carries the key of its content (settings, clips, their sizes and times), so a shard that is there is the
right one, an interrupted extraction goes on, and a new extraction never overwrites what an older manifest lists.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cepscope import atomic
from cepscope.corpora.corpus import Clips
from cepscope.corpora.stretches import stretch_name
from cepscope.errors import CorruptArtifactError
from cepscope.features import MfccSpec

READING = 2  # goes up when the same clips and settings would give other numbers: older shards are not used again
AGAIN = "extract again"


@dataclass(frozen=True, eq=False, slots=True)
class Shard:
    """MFCCs of consecutive clips.

    Attributes
    ----------
    mfcc
        (n, n_mfcc, frames) float32, unscaled; zeros where a clip could not be used.
    problems
        (n,) why a clip could not be used, "" for a good one.
    """

    mfcc: NDArray[np.float32]
    problems: tuple[str, ...]


def shard_name(spec: MfccSpec, frames: int, clips: Clips) -> str:
    """Return a shard's file name, which carries the key of its content."""
    state: list[object] = [READING, spec.to_dict(), frames]
    for i, name in enumerate(clips.columns.names):
        state.append([stretch_name(name, *clips.columns.stretch(i)), *_change(f"{clips.root}/{name}")])
    return f"mfcc-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:24]}.npz"


def _change(path: str) -> tuple[int, int]:
    """Return a file's size and time of change; of one that is gone, as reading it will tell, neither."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path would take several times as long
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def write_shard(path: Path, shard: Shard) -> str:
    """Write a shard, whole or not at all; return its sha256. It is not compressed: MFCCs shrink by a tenth only."""
    content = io.BytesIO()
    np.savez(content, mfcc=shard.mfcc, problems=np.array(shard.problems, dtype=np.str_))
    atomic.write_bytes(path, content.getvalue())
    return hashlib.sha256(content.getbuffer()).hexdigest()


def read_shard(path: Path, *, shape: tuple[int, int, int], sha256: str | None = None) -> Shard:
    """Read a shard.

    Parameters
    ----------
    path
        The file.
    shape
        The (n, n_mfcc, frames) that it must hold.
    sha256
        What its content must be; not looked at when omitted.

    Raises
    ------
    CorruptArtifactError
        The file is missing, damaged, or another one.
    """
    if sha256 is not None:
        verify(path, sha256)
    try:
        data = atomic.load_npz(path)  # zip checksums are compared while reading
        shard = Shard(data["mfcc"], tuple(str(problem) for problem in data["problems"]))
    except (CorruptArtifactError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{path} is damaged ({error}); {AGAIN}") from error
    if shard.mfcc.shape != shape or shard.mfcc.dtype != np.float32 or len(shard.problems) != shape[0]:
        found = f"{shard.mfcc.shape} {shard.mfcc.dtype}"
        raise CorruptArtifactError(f"{path}: expected MFCCs of {shape} float32. Received: {found}; {AGAIN}")
    return shard


def verify(path: Path, sha256: str) -> None:
    """Raise CorruptArtifactError unless a file is there and has that content."""
    if not path.is_file():
        raise CorruptArtifactError(f"{path} is missing; {AGAIN}")
    if atomic.sha256(path) != sha256:
        raise CorruptArtifactError(f"{path} is damaged or was changed (its sha256 differs); {AGAIN}")
