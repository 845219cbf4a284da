"""What each clip of a corpus is like: length, rate, level, offset, clipping, and a digest of its samples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
from numpy.typing import NDArray

from cepscope.corpora.corpus import Clip, Corpus
from cepscope.corpora.stretches import blocks, open_sound
from cepscope.errors import DataError

FULL_SCALE = 0.999  # of [-1, 1]; a sample at or above it is at the end of the scale
CLIPPED_RUN = 3  # samples in a row at the end of the scale: a single one can be a peak
_CHUNK = 32  # clips a worker takes at a time


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """One clip, measured on its samples as they are in the file.

    Attributes
    ----------
    seconds
        Length.
    sr, channels
        Of the file; rate in Hz.
    level
        Root mean square without the offset, in dB below full scale; -inf when all samples are equal.
    peak
        Largest sample without the offset, in dB below full scale.
    offset
        Mean of the samples, in shares of full scale.
    clipped
        Samples in runs of at least three at full scale.
    digest
        SHA-256 of rate and samples (mono, float32).
    problem
        Why it can't be read, "" when it can.
    """

    seconds: float
    sr: int
    channels: int
    level: float
    peak: float
    offset: float
    clipped: int
    digest: str
    problem: str = ""


def survey(
    corpus: Corpus, *, workers: int = 1, progress: Callable[[int, int], object] | None = None
) -> tuple[ClipFacts, ...]:
    """Measure every clip of a corpus, in the order of its clips.

    Files are read in blocks, so that long ones cost no memory.

    Parameters
    ----------
    corpus
        From `load_corpus`.
    workers
        Processes.
    progress
        Called as ``progress(clips_done, clips_in_all)`` in this process.
    """
    clips = corpus.clips
    chunks = [clips[i : i + _CHUNK] for i in range(0, len(clips), _CHUNK)]
    if workers == 1:
        parts = (_measure_all(chunk) for chunk in chunks)
    else:
        parts = joblib.Parallel(n_jobs=workers, return_as="generator")(joblib.delayed(_measure_all)(c) for c in chunks)
    facts: list[ClipFacts] = []
    for part in parts:
        facts += part
        if progress:
            progress(len(facts), len(clips))
    return tuple(facts)


def measure_clip(clip: Clip) -> ClipFacts:
    """Measure one clip; what can't be read has only a `problem`."""
    try:
        return _measure(clip)
    except DataError as error:
        problem = str(error).replace(str(clip.path), clip.path.name)
        return ClipFacts(0.0, 0, 0, -math.inf, -math.inf, 0.0, 0, "", problem)


def _measure_all(clips: Sequence[Clip]) -> list[ClipFacts]:
    return [measure_clip(clip) for clip in clips]


def _measure(clip: Clip) -> ClipFacts:
    count, total, squares, low, high, clipped = 0, 0.0, 0.0, math.inf, -math.inf, 0
    run = 0  # samples at full scale just before this block
    with open_sound(clip.path) as file:
        sr, channels = int(file.samplerate), int(file.channels)
        digest = hashlib.sha256(str(sr).encode())
        for block in blocks(file, clip.start, clip.stop):
            if not np.isfinite(block).all():
                raise DataError(f"{clip.path} holds NaN or Inf")
            digest.update(block.tobytes())
            exact = block.astype(np.float64)
            count += len(exact)
            total += float(exact.sum())
            squares += float(np.square(exact).sum())
            low, high = min(low, float(exact.min())), max(high, float(exact.max()))
            more, run = _in_runs(np.abs(block) >= FULL_SCALE, run)
            clipped += more
    if not count:
        raise DataError(f"{clip.path} holds no samples there")
    offset = total / count
    constant = low == high
    level = -math.inf if constant else _decibel(max(squares / count - offset**2, 0.0)) / 2
    peak = -math.inf if constant else _decibel(max(high - offset, offset - low))
    return ClipFacts(count / sr, sr, channels, level, peak, offset, clipped, digest.hexdigest())


def _decibel(value: float) -> float:
    return 20 * math.log10(value) if value > 0 else -math.inf


def _in_runs(full: NDArray[np.bool_], run: int) -> tuple[int, int]:
    """Count samples in runs of at least `CLIPPED_RUN`; `run` of them came before, and how many end it is returned."""
    edges = np.diff(np.concatenate([[False], full, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = stops - starts
    if not len(lengths):
        return 0, 0
    last = int(lengths[-1]) if stops[-1] == len(full) else 0
    counted = lengths.copy()
    if run and starts[0] == 0:  # it began in the block before, where it may have been counted already
        whole = run + int(lengths[0])
        counted[0] = whole - (run if run >= CLIPPED_RUN else 0) if whole >= CLIPPED_RUN else 0
        lengths = lengths.copy()
        lengths[0] = whole
        last = whole if stops[0] == len(full) else last
    return int(counted[lengths >= CLIPPED_RUN].sum()), last
