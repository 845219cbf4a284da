"""What an extraction left in its folder, and what of: manifest.json, and clips.csv with a line for each clip.

The manifest is written last, and lists every file with its sha256.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cepscope import atomic
from cepscope.corpora.corpus import SPLITS, Clips
from cepscope.corpora.shards import AGAIN, verify
from cepscope.errors import CepscopeError, CorruptArtifactError, NotFittedError
from cepscope.features import MfccSpec, Scaling, load_scaling

FORMAT = 2  # of the files; goes up when older ones can't be read any more
MANIFEST, CLIPS, SCALER = "manifest.json", "clips.csv", "scaler.npz"
SIDES = {side: f"{side}.npy" for side in SPLITS}
_COLUMNS = ("clip", "label", "speaker", "split", "problem")
_NAME = re.compile(r"mfcc-[0-9a-f]+\.npz")  # a shard lies beside the manifest, and nowhere else
_MOST = 1_000_000  # frames of a patch, clips of a shard


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the manifest lists it, and of how many clips it is."""

    file: str
    clips: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Line:
    """A clip as clips.csv lists it: its path, or its stretch of one, is relative to the corpus's root."""

    path: str
    label: str
    speaker: str
    split: str
    problem: str


@dataclass(frozen=True)
class Manifest:
    """What was extracted from what.

    Attributes
    ----------
    corpus_name, root, synthetic, note
        The corpus.
    spec, frames
        The settings.
    classes
        The labels, sorted.
    clips
        clips.csv.
    train, test
        Scaled patches of the clips that could be used.
    shards
        MFCC of all clips, in the order of clips.csv.
    scaler
        scaler.npz.
    """

    corpus_name: str
    root: str
    synthetic: bool
    note: str
    spec: MfccSpec
    frames: int
    classes: tuple[str, ...]
    clips: Entry
    train: Entry
    test: Entry
    shards: tuple[Entry, ...]
    scaler: Entry

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of all files, its own too."""
        entries = (self.clips, self.train, self.test, self.scaler, *self.shards)
        return tuple(sorted({MANIFEST, *(entry.file for entry in entries)}))

    def load_scaler(self, folder: Path) -> Scaling:
        """Read scaler.npz, be it a scaler or a whitener; CorruptArtifactError when it is not the one written."""
        verify(folder / SCALER, self.scaler.sha256)
        return load_scaling(folder / SCALER)

    def lines(self, folder: Path) -> Iterator[Line]:
        """Yield the clips; CorruptArtifactError when clips.csv is not the one written."""
        verify(folder / CLIPS, self.clips.sha256)
        try:
            with (folder / CLIPS).open(newline="", encoding="utf-8") as file:
                rows = csv.reader(file, strict=True)
                next(rows)
                yield from (Line(*row) for row in rows)
        except (OSError, ValueError, TypeError, csv.Error, StopIteration) as error:
            raise CorruptArtifactError(f"{folder / CLIPS} is damaged ({error}); {AGAIN}") from error


def write_clips(folder: Path, clips: Clips, problems: Iterable[str]) -> Entry:
    """Write clips.csv, a line at a time, whole or not at all."""
    every = clips.columns
    with (
        atomic.atomic_path(folder / CLIPS) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="replace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for i, problem in enumerate(problems):
            side = SPLITS[every.sides[i]]
            writer.writerow((clips.name(i), every.labels[i], every.speakers[i], side, problem))
    return Entry(CLIPS, len(clips), atomic.sha256(folder / CLIPS))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, then remove the shards that no manifest lists any more."""
    content = {"format": FORMAT, **asdict(manifest), "spec": manifest.spec.to_dict()}
    atomic.write_text(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    files = set(manifest.files)
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
            raise CorruptArtifactError(f"{path} has format {found!r}, expected {FORMAT}; {AGAIN}")
        content["spec"] = MfccSpec.from_dict(content["spec"])
        content["shards"] = tuple(Entry(**entry) for entry in content["shards"])
        for name in ("clips", "train", "test", "scaler"):
            content[name] = Entry(**content[name])
        content["classes"] = tuple(content["classes"])
        manifest = Manifest(**content)
        _check(manifest)
    except CorruptArtifactError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, CepscopeError) as error:
        raise CorruptArtifactError(f"{path} is damaged ({error}); {AGAIN}") from error
    if sum(entry.clips for entry in manifest.shards) != manifest.clips.clips:
        raise CorruptArtifactError(f"{path} lists shards for another number of clips; {AGAIN}")
    return manifest


def _check(manifest: Manifest) -> None:
    """Raise ValueError where a manifest does not hold what `write_manifest` writes: no class checks its fields."""
    fixed = (manifest.clips, manifest.train, manifest.test, manifest.scaler)
    texts = [manifest.corpus_name, manifest.root, manifest.note, *manifest.classes]
    texts += [text for entry in (*fixed, *manifest.shards) for text in (entry.file, entry.sha256)]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    if type(manifest.synthetic) is not bool:
        raise ValueError("synthetic is neither true nor false")
    if [entry.file for entry in fixed] != [CLIPS, *SIDES.values(), SCALER]:
        raise ValueError("a file has another name")
    if not all(_NAME.fullmatch(entry.file) for entry in manifest.shards):
        raise ValueError("a shard has another name")
    counts = [manifest.frames, *(entry.clips for entry in manifest.shards)]
    if not all(type(count) is int and 0 < count <= _MOST for count in counts):
        raise ValueError("a number is no count")
    if not all(type(entry.clips) is int and entry.clips > 0 for entry in fixed):
        raise ValueError("a number is no count")
