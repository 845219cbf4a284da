"""One piece of an extraction: some clips to their shard, in whatever process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cepscope import atomic
from cepscope.corpora.conditioning import conditioned, longest_read
from cepscope.corpora.corpus import Clip, Clips
from cepscope.corpora.manifest import Entry
from cepscope.corpora.shards import Shard, read_shard, write_shard
from cepscope.corpora.stretches import read_stretch
from cepscope.errors import CorruptArtifactError, DataError
from cepscope.features import MfccSpec
from cepscope.features.mfcc import mfcc_patches

SHORTEST = 0.05  # s; two 25-ms windows: anything less is a click, not a word
SHORTEST_STRETCH = 0.01  # s; a hop: a stretch was labelled by someone who heard a phone there
_AT_ONCE = 4_000_000  # samples held at once, unless a single clip has more


@dataclass(frozen=True, slots=True)
class Piece:
    """What makes a shard.

    Attributes
    ----------
    number
        Its place among the pieces.
    path
        Of the shard, which is not computed again where it is there and right.
    clips, spec, frames
        What it holds.
    """

    number: int
    path: Path
    clips: Clips
    spec: MfccSpec
    frames: int


@dataclass(frozen=True, slots=True)
class Done:
    """A shard that is there, and why clips of it could not be used (by their place in it)."""

    number: int
    entry: Entry
    problems: dict[int, str]


def shortest(clip: Clip) -> float:
    """Return how many seconds a clip must have to be used."""
    return SHORTEST if clip.stop is None else SHORTEST_STRETCH


def make_shard(piece: Piece) -> Done:
    """Find a piece's shard or make it."""
    shape = (len(piece.clips), piece.spec.n_mfcc, piece.frames)
    try:
        shard = read_shard(piece.path, shape=shape)
        digest = atomic.sha256(piece.path)
    except CorruptArtifactError:
        shard = compute(piece.clips, piece.spec, piece.frames)
        digest = write_shard(piece.path, shard)
    problems = {i: problem for i, problem in enumerate(shard.problems) if problem}
    return Done(piece.number, Entry(piece.path.name, len(piece.clips), digest), problems)


def compute(clips: Clips, spec: MfccSpec, frames: int) -> Shard:
    """Return the MFCCs of some clips; a clip that can't be used leaves zeros and the reason."""
    found = np.zeros((len(clips), spec.n_mfcc, frames), dtype=np.float32)
    problems = [""] * len(clips)
    held: dict[int, NDArray[np.float32]] = {}
    samples = 0
    root = str(clips.root)
    for i, name in enumerate(clips.columns.names):
        path = f"{root}/{name}"
        try:
            held[i] = _sound(path, *clips.columns.stretch(i), spec, frames)
            samples += len(held[i])
        except (DataError, OSError) as error:
            problems[i] = _reason(error, path)
        if samples > _AT_ONCE:
            _fill(found, held, spec, problems, clips)
            samples = 0
    _fill(found, held, spec, problems, clips)
    return Shard(found, tuple(problems))


def _sound(path: str, start: float, stop: float | None, spec: MfccSpec, frames: int) -> NDArray[np.float32]:
    audio, sr = read_stretch(path, start, stop, longest=longest_read(spec, frames))
    if len(audio) < (least := SHORTEST if stop is None else SHORTEST_STRETCH) * sr:
        raise DataError(f"{len(audio) / sr:.3f} s long, expected at least {least} s")
    return conditioned(audio, sr, spec.sr)


def _fill(
    found: NDArray[np.float32], held: dict[int, NDArray[np.float32]], spec: MfccSpec, problems: list[str], clips: Clips
) -> None:
    """Compute what is held, and hold it no more."""
    frames = found.shape[2]
    try:
        found[list(held)] = mfcc_patches(list(held.values()), spec, frames)
    except DataError:  # of one that a front end without padding can't take: which, each tells by itself
        for i, audio in held.items():
            try:
                found[i] = mfcc_patches([audio], spec, frames)[0]
            except DataError as error:
                problems[i] = _reason(error, str(clips[i].path))
    held.clear()


def _reason(error: Exception, path: str) -> str:
    return (str(error) or type(error).__name__).replace(path, path.rpartition("/")[2])
