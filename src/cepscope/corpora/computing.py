"""One piece of an extraction: some clips to their shard, in whatever process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cepscope import atomic
from cepscope.corpora.conditioning import Levelled, conditioned, longest_read
from cepscope.corpora.corpus import Clips
from cepscope.corpora.manifest import Entry
from cepscope.corpora.shards import Shard, read_shard, write_shard
from cepscope.corpora.stretches import read_stretch
from cepscope.corpora.waves import read_pcm
from cepscope.errors import CorruptArtifactError, DataError
from cepscope.features import MfccSpec
from cepscope.features.framing import check_length
from cepscope.features.mfcc import Sound, fill_patches

SHORTEST = 0.05  # s; two 25-ms windows: anything less is a click, not a word
SHORTEST_STRETCH = 0.01  # s; a hop: a stretch was labelled by someone who heard a phone there


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


def shortest(stop: float | None) -> float:
    """Return how many seconds a clip that stops there must have to be used; None is the end of its file."""
    return SHORTEST if stop is None else SHORTEST_STRETCH


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
    problems: dict[int, str] = {}
    fill_patches(found, _sounds(clips, spec, longest_read(spec, frames), problems), spec)
    return Shard(found, tuple(problems.get(i, "") for i in range(len(clips))))


def _sounds(clips: Clips, spec: MfccSpec, longest: float, problems: dict[int, str]) -> Iterator[tuple[int, Sound]]:
    """Yield what can be used of the clips, and say of the others why not."""
    root = str(clips.root)
    for i, name in enumerate(clips.columns.names):
        path = f"{root}/{name}"
        start, stop = clips.columns.stretch(i)
        try:
            sound = _sound(path, start, stop, spec.sr, longest)
            check_length(len(sound), spec)
        except (DataError, OSError) as error:
            problems[i] = (str(error) or type(error).__name__).replace(path, path.rpartition("/")[2])
        else:
            yield i, sound


def _sound(path: str, start: float, stop: float | None, target_sr: int, longest: float) -> Sound:
    """Read a clip at a rate, without level and DC; DataError when it can't be used."""
    plain = read_pcm(path, longest) if start == 0 and stop is None else None
    if plain and plain[1] == target_sr and plain[0].shape[1] == 1:
        _check_length(len(plain[0]), target_sr, stop)
        return Levelled(plain[0][:, 0])
    audio, sr = read_stretch(path, start, stop, longest=longest)
    _check_length(len(audio), sr, stop)
    return conditioned(audio, sr, target_sr)


def _check_length(samples: int, sr: int, stop: float | None) -> None:
    if samples < (least := shortest(stop)) * sr:
        raise DataError(f"{samples / sr:.3f} s long, expected at least {least} s")
