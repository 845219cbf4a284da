"""Extracted MFCCs on disk: npz shards named by what they hold, and a manifest that lists them.

A shard's name carries the key of its content (settings, clips, their sizes and times), so a shard that is
there is the right one, an interrupted extraction goes on, and a new extraction never overwrites what an older
manifest lists. The manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cepscope import atomic
from cepscope.corpora.corpus import SPLITS, Split
from cepscope.errors import CepscopeError, CorruptArtifactError, NotFittedError
from cepscope.features import MfccSpec, Scaling, load_scaling

FORMAT = 1  # of the files; goes up when older ones can't be read any more
READING = 2  # goes up when the same clips and settings would give other numbers: older shards are not used again
MANIFEST = "manifest.json"
SCALER = "scaler.npz"
_AGAIN = "extract again"
_NAME = re.compile(r"mfcc-[0-9a-f]+\.npz")  # a shard lies beside the manifest, and nowhere else
_MOST = 1_000_000  # frames of a patch, clips of a shard


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A clip as the manifest lists it: its path, or its stretch of one, is relative to the corpus's root."""

    path: str
    label: str
    speaker: str
    split: Split


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard as the manifest lists it."""

    file: str
    clips: int
    sha256: str


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


@dataclass(frozen=True)
class Manifest:
    """What was extracted from what.

    Attributes
    ----------
    corpus_name, root, synthetic, note
        The corpus.
    spec, frames
        The settings.
    clips
        All clips, in the order of the shards' rows.
    skipped
        One line for each clip that could not be used.
    shards
        The files.
    scaler_sha256
        Of scaler.npz.
    """

    corpus_name: str
    root: str
    synthetic: bool
    note: str
    spec: MfccSpec
    frames: int
    clips: tuple[ClipRow, ...]
    skipped: tuple[str, ...] = ()
    shards: tuple[ShardEntry, ...] = ()
    scaler_sha256: str = ""

    def load_scaler(self, folder: Path) -> Scaling:
        """Read scaler.npz, be it a scaler or a whitener; CorruptArtifactError when it is not the one written."""
        _verify(folder / SCALER, self.scaler_sha256)
        return load_scaling(folder / SCALER)


def shard_name(spec: MfccSpec, frames: int, files: Sequence[tuple[str, Path]]) -> str:
    """Return a shard's file name, which carries the key of its content.

    Parameters
    ----------
    spec, frames
        The settings.
    files
        Each clip's name below the corpus's root, and the file itself.
    """
    state = [READING, spec.to_dict(), frames]
    for name, file in files:
        status = file.stat()
        state.append([name, status.st_size, status.st_mtime_ns])
    return f"mfcc-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:24]}.npz"


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard, whole or not at all."""
    atomic.save_npz(path, mfcc=shard.mfcc, problems=np.array(shard.problems, dtype=np.str_))


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
        _verify(path, sha256)
    try:
        data = atomic.load_npz(path)  # zip checksums are compared while reading
        shard = Shard(data["mfcc"], tuple(str(problem) for problem in data["problems"]))
    except (CorruptArtifactError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{path} is damaged ({error}); {_AGAIN}") from error
    if shard.mfcc.shape != shape or shard.mfcc.dtype != np.float32 or len(shard.problems) != shape[0]:
        found = f"{shard.mfcc.shape} {shard.mfcc.dtype}"
        raise CorruptArtifactError(f"{path}: expected MFCCs of {shape} float32. Received: {found}; {_AGAIN}")
    return shard


def write_manifest(folder: Path, manifest: Manifest, scaler: Scaling) -> None:
    """Write scaler.npz, then manifest.json, then remove the shards that no manifest lists any more."""
    scaler.save(folder / SCALER)
    listed = replace(manifest, scaler_sha256=atomic.sha256(folder / SCALER))
    content = {"format": FORMAT, **asdict(listed), "spec": listed.spec.to_dict()}
    atomic.write_text(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    files = {entry.file for entry in listed.shards}
    for path in folder.glob("mfcc-*.npz"):
        if path.name not in files:
            path.unlink()


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json.

    Raises
    ------
    NotFittedError
        There is none.
    CorruptArtifactError
        It can't be read, or another version of cepscope wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFittedError(f"no features in {folder} (no {MANIFEST}); run the extraction first")
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("format")
        if found != FORMAT:
            raise CorruptArtifactError(f"{path} has format {found!r}, expected {FORMAT}; {_AGAIN}")
        _check_types(content)
        content["spec"] = MfccSpec.from_dict(content["spec"])
        content["clips"] = tuple(ClipRow(**row) for row in content["clips"])
        content["shards"] = tuple(ShardEntry(**entry) for entry in content["shards"])
        content["skipped"] = tuple(content["skipped"])
        manifest = Manifest(**content)
    except CorruptArtifactError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, CepscopeError) as error:
        raise CorruptArtifactError(f"{path} is damaged ({error}); {_AGAIN}") from error
    if sum(entry.clips for entry in manifest.shards) != len(manifest.clips):
        raise CorruptArtifactError(f"{path} lists shards for another number of clips; {_AGAIN}")
    return manifest


def _check_types(content: dict[str, Any]) -> None:
    """Raise ValueError where a manifest does not hold what `write_manifest` writes: no class checks its fields."""
    rows, entries = content["clips"], content["shards"]
    texts = [*(content[name] for name in ("corpus_name", "root", "note", "scaler_sha256")), *content["skipped"]]
    texts += [value for row in rows for value in row.values()]
    texts += [entry[name] for entry in entries for name in ("file", "sha256")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    if strange := {row["split"] for row in rows} - set(SPLITS):
        raise ValueError(f"no split {min(strange)!r}")
    if not all(_NAME.fullmatch(entry["file"]) for entry in entries):
        raise ValueError("a shard has another name")
    counts = [content["frames"], *(entry["clips"] for entry in entries)]
    if not all(type(count) is int and 0 < count <= _MOST for count in counts):
        raise ValueError("a number is no count")


def _verify(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise CorruptArtifactError(f"{path} is missing; {_AGAIN}")
    if atomic.sha256(path) != sha256:
        raise CorruptArtifactError(f"{path} is damaged or was changed (its sha256 differs); {_AGAIN}")
