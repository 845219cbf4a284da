"""A corpus's clips to MFCC patches: once, in parallel, and on from where it was stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np

from cepscope import atomic
from cepscope.corpora.conditioning import longest_read, sound_to_mfcc
from cepscope.corpora.corpus import Clip, Corpus
from cepscope.corpora.patches import Patches, assemble
from cepscope.corpora.shards import (
    ClipRow,
    Manifest,
    Shard,
    ShardEntry,
    read_shard,
    shard_name,
    write_manifest,
    write_shard,
)
from cepscope.corpora.stretches import read_stretch, stretch_name
from cepscope.errors import CepscopeWarning, CorruptArtifactError, DataError, ParameterError
from cepscope.features import MfccSpec

SHORTEST = 0.05  # s; two 25-ms windows: anything less is a click, not a word
SHORTEST_STRETCH = 0.01  # s; a hop: a stretch was labelled by someone who heard a phone there
_CHUNK = 32  # clips a worker takes at a time

Progress = Callable[[int, int], object]


def extract(
    corpus: Corpus,
    spec: MfccSpec | None = None,
    *,
    frames: int = 64,
    whiten: bool = False,
    workers: int = 1,
    strict: bool = False,
    out: str | os.PathLike[str] | None = None,
    shard_size: int = 512,
    progress: Progress | None = None,
) -> Patches:
    """Compute the MFCC patch of every clip: condition, MFCC, fixed length, scale.

    The scaler is fitted on train only. A clip longer than a patch is cropped at its centre, a shorter one is
    padded with silence on both sides. Of a clip longer than a minute only the middle minute is read, and its level is
    taken from that. The result is the same, bit for bit, whatever `workers` is.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    spec
        How MFCCs are computed; ``MfccSpec()`` when omitted. Clips are resampled to its rate.
    frames
        Frames in a patch.
    whiten
        Turn and scale whole frames, so that all rows are uncorrelated and of variance 1 (`PCAWhitener`), instead of
        scaling each coefficient by itself. Rows are then principal components, which have no neighbours: kernels
        should span them all, ``kernel_sizes=((n_mfcc, 6), ...)``.
    workers
        Processes.
    strict
        Raise at the first clip that can't be used, instead of passing over it with a `CepscopeWarning`.
    out
        Folder for shards, scaler.npz and manifest.json, to be read by `Patches.load`. Shards that are there
        for the same clips (path, size, time of change) and settings are used again.
    shard_size
        Clips in a shard.
    progress
        Called as ``progress(clips_done, clips_in_all)`` in this process.

    Returns
    -------
    Patches

    Raises
    ------
    DataError
        No clips are left to train or to test on; `strict` and a clip is unreadable, shorter than 0.05 s (a
        labelled stretch: 0.01 s) or holds NaN or Inf; `out` can't be written.
    ParameterError
        `frames`, `workers` or `shard_size` below 1.
    """
    for name, value in (("frames", frames), ("workers", workers), ("shard_size", shard_size)):
        if value < 1:
            raise ParameterError(f"{name} must be at least 1. Received: {value!r}")
    spec = spec or MfccSpec()
    folder = None if out is None else _writable(Path(out))
    rows = tuple(ClipRow(corpus.relative(c), c.label, c.speaker, c.split) for c in corpus.clips)
    manifest = Manifest(corpus.name, str(corpus.root), corpus.synthetic, corpus.note, spec, frames, rows)

    entries: list[ShardEntry] = []

    def shards() -> Iterator[Shard]:
        done = 0
        for start in range(0, len(rows), shard_size):
            part = corpus.clips[start : start + shard_size]
            path = None
            if folder is not None:
                path = folder / shard_name(spec, frames, [(corpus.relative(clip), clip.path) for clip in part])
            shard = _present(path, (len(part), spec.n_mfcc, frames))
            if shard is None:
                pieces = []
                for piece in _compute(part, spec, frames, workers):
                    pieces.append(piece)
                    if progress:
                        progress(done + sum(len(p.problems) for p in pieces), len(rows))
                shard = _joined(pieces)
                if path is not None:
                    write_shard(path, shard)
            done += len(part)
            if progress:
                progress(done, len(rows))
            if path is not None:
                entries.append(ShardEntry(path.name, len(part), atomic.sha256(path)))
            if strict:
                _refuse(part, shard.problems)
            yield shard

    patches = assemble(manifest, shards(), scaler=None, whiten=whiten)
    for line in patches.skipped:  # said only now: a failure is one line, of its own
        warnings.warn(f"skipped {line}", CepscopeWarning, stacklevel=2)
    if folder is not None:
        write_manifest(folder, replace(manifest, skipped=patches.skipped, shards=tuple(entries)), patches.scaler)
    return patches


def shortest(clip: Clip) -> float:
    """Return how many seconds a clip must have to be used."""
    return SHORTEST if clip.stop is None else SHORTEST_STRETCH


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"can't make the folder {folder} ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"can't write into {folder}; choose another folder")
    return folder


def _present(path: Path | None, shape: tuple[int, int, int]) -> Shard | None:
    """Return the shard that an earlier run left, or None when it must be computed."""
    if path is None or not path.is_file():
        return None
    try:
        return read_shard(path, shape=shape)
    except CorruptArtifactError:
        return None


def _compute(clips: Sequence[Clip], spec: MfccSpec, frames: int, workers: int) -> Iterator[Shard]:
    """Yield the clips' MFCCs in their order, a chunk at a time."""
    chunks = [clips[i : i + _CHUNK] for i in range(0, len(clips), _CHUNK)]
    if workers == 1:
        yield from (_compute_chunk(chunk, spec, frames) for chunk in chunks)
        return
    pool = joblib.Parallel(n_jobs=workers, return_as="generator")
    yield from pool(joblib.delayed(_compute_chunk)(chunk, spec, frames) for chunk in chunks)


def _compute_chunk(clips: Sequence[Clip], spec: MfccSpec, frames: int) -> Shard:
    """Return the MFCCs of some clips; a clip that can't be used leaves zeros and the reason."""
    patches = np.zeros((len(clips), spec.n_mfcc, frames), dtype=np.float32)
    problems = []
    longest = longest_read(spec, frames)
    for i, clip in enumerate(clips):
        try:
            audio, sr = read_stretch(clip.path, clip.start, clip.stop, longest=longest)
            if len(audio) < (least := shortest(clip)) * sr:
                raise DataError(f"{len(audio) / sr:.3f} s long, expected at least {least} s")
            patches[i] = sound_to_mfcc(audio, sr, spec, frames)
        except (DataError, OSError) as error:
            problems.append((str(error) or type(error).__name__).replace(str(clip.path), clip.path.name))
        else:
            problems.append("")
    return Shard(patches, tuple(problems))


def _joined(pieces: Sequence[Shard]) -> Shard:
    problems = tuple(problem for piece in pieces for problem in piece.problems)
    return Shard(np.concatenate([piece.mfcc for piece in pieces]), problems)


def _refuse(clips: Sequence[Clip], problems: Sequence[str]) -> None:
    """Raise at the first clip that could not be used."""
    for clip, problem in zip(clips, problems, strict=True):
        if problem:
            raise DataError(f"{stretch_name(str(clip.path), clip.start, clip.stop)}: {problem}")
