"""Recordings of any length as the front end hears them: conditioned as clips are, in the memory of a minute.

What is longer than a minute passes through temporary files, a block at a time; what is shorter stays in memory and has
the very bits that extraction would give it. Of a long clip extraction takes the level from the middle minute, here it
is that of the whole recording.
"""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cepscope.audio import read_audio, resample
from cepscope.corpora.computing import SHORTEST
from cepscope.corpora.conditioning import conditioned
from cepscope.corpora.stretches import LONGEST, blocks, open_sound
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.features.framing import check_length

FloatArray = npt.NDArray[np.float32]

_BLOCK = 30  # s that are resampled, or measured, at once
_FRAMES = 4096  # of which MFCC are computed at once
_MARGIN = 1  # s on both sides of a block, far more than a resampling filter sees
_BYTES = 4
_ROUNDING = 2.0**-23  # what is less than this share of a constant is silence, as for `cepscope.audio.condition`


class Spool:
    """Samples in a temporary file, read by slices; it is gone with the last reference."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as this does
        self._length = 0
        weakref.finalize(self, self._file.close)

    def append(self, y: FloatArray) -> None:
        """Add samples (n,) at the end."""
        self._file.seek(self._length * _BYTES)
        self._file.write(np.ascontiguousarray(y, np.float32).tobytes())
        self._length += len(y)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> FloatArray:
        start, stop, _ = part.indices(self._length)
        self._file.seek(start * _BYTES)
        return np.frombuffer(self._file.read(max(0, stop - start) * _BYTES), np.float32)


Samples = FloatArray | Spool


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording at the front end's rate, level and DC taken out.

    Attributes
    ----------
    name : str
        How it is called.
    spec : MfccSpec
    samples : array [shape=(samples,)] or Spool
    own_sr : int
        The rate in Hz that it had.
    """

    name: str
    spec: MfccSpec
    samples: Samples
    own_sr: int

    @property
    def seconds(self) -> float:
        """Return its length."""
        return len(self.samples) / self.spec.sr

    @property
    def frames(self) -> int:
        """Return how many frames it has."""
        return self.spec.frames_of(len(self.samples))

    def audio(self, start: int, stop: int) -> FloatArray:
        """Return samples `start` to `stop`, zeros where it has none."""
        found = np.zeros(max(0, stop - start), np.float32)
        first, last = max(start, 0), min(stop, len(self.samples))
        if first < last:
            found[first - start : last - start] = self.samples[first:last]
        return found

    def mfcc(self, start: int, stop: int) -> FloatArray:
        """Return the MFCC (n_mfcc, stop - start) of some frames, silence where it has none.

        They are those of the whole recording: each frame is computed with what lies around it.
        """
        spec = self._spec
        found = np.repeat(self.spec.silence[:, np.newaxis], stop - start, axis=1)
        first, last = max(start, 0), min(stop, self.frames)
        if first < last:
            around = spec.n_fft // 2 // spec.hop + 2  # frames beyond what half a window reaches
            before = min(first, around)
            begin, end = (first - before) * spec.hop, (last - 1 + around) * spec.hop + spec.win
            C = mfcc(self.samples[begin:end], spec)
            found[:, first - start : last - start] = C[:, before : before + last - first]
        return found

    @cached_property
    def _spec(self) -> MfccSpec:
        """The front end with what `top_db` cuts off below the recording's loudest value written as its floor."""
        if math.isinf(self.spec.top_db):
            return self.spec
        free = replace(self.spec, top_db=math.inf)
        loudest = max(float(log_mel(y, free).max()) for y in _pieces(self.samples, _BLOCK * self.spec.sr))
        highest = max(1.0, self.spec.scale**2)  # that a floor may be
        return replace(free, floor=min(highest, max(self.spec.floor, 10 ** ((loudest - self.spec.top_db) / 10))))


def read_recording(path: str | os.PathLike[str], spec: MfccSpec) -> Recording:
    """Read a sound file of any length.

    Raises
    ------
    DataError
        It is missing, no sound file or damaged, shorter than 0.05 s or silent, or holds NaN or Inf.
    """
    path = Path(path)
    with open_sound(path) as file:
        sr = int(file.samplerate)
        samples = _gathered(blocks(file), round(LONGEST * sr))
    return _recording(samples, sr, spec, path.name, str(path))


def file_mfcc(path: str | os.PathLike[str], spec: MfccSpec) -> FloatArray:
    """Return the MFCC (n_mfcc, frames) of a sound file of any length as it is: neither level nor DC is taken out.

    Raises
    ------
    DataError
        As `cepscope.audio.read_audio`, or the file is too short for a frame.
    """
    path = Path(path)
    with open_sound(path) as file:
        sr = int(file.samplerate)
        samples = _gathered(blocks(file), round(LONGEST * sr))
    if not isinstance(samples, Spool):
        return mfcc(read_audio(path, sr=spec.sr)[0], spec)
    _check_finite(samples, sr, str(path))
    plain = samples if sr == spec.sr else _resampled(samples, sr, spec.sr, (0.0, 1.0))
    whole = Recording(path.name, spec, plain, sr)
    found = np.empty((spec.n_mfcc, whole.frames), np.float32)
    for start in range(0, whole.frames, _FRAMES):
        stop = min(start + _FRAMES, whole.frames)
        found[:, start:stop] = whole.mfcc(start, stop)
    return found


def as_recording(y: npt.ArrayLike, sr: int, spec: MfccSpec, *, name: str = "recording") -> Recording:
    """Take a sound (samples,) at `sr` Hz as a recording.

    Raises
    ------
    DataError
        It is shorter than 0.05 s or silent, or holds NaN or Inf.
    ParameterError
        It has more than one axis, or `sr` is not a positive integer.
    """
    audio = np.asarray(y, np.float32)
    if audio.ndim != 1:
        raise ParameterError(f"A recording is one sound of shape (samples,). Received: {audio.shape}")
    if not isinstance(sr, int | np.integer) or isinstance(sr, bool) or sr < 1:
        raise ParameterError(f"sr must be a positive integer, in Hz. Received: {sr!r}")
    return _recording(audio, int(sr), spec, name, name)


def _recording(samples: Samples, sr: int, spec: MfccSpec, name: str, where: str) -> Recording:
    if len(samples) < SHORTEST * sr:
        raise DataError(f"{where} is {len(samples) / sr:.3f} s long, expected at least {SHORTEST} s; record it again")
    _check_finite(samples, sr, where)
    if isinstance(samples, Spool) or len(samples) > LONGEST * sr:
        found: Samples | None = _conditioned_by_blocks(samples, sr, spec.sr)
    else:
        short = conditioned(samples, sr, spec.sr)
        found = short if short.any() else None
    if found is None:
        raise DataError(f"{where} is silent: there is nothing in it but a constant. Expected sound; record it again")
    check_length(len(found), spec)
    return Recording(name, spec, found, sr)


def _check_finite(samples: Samples, sr: int, where: str) -> None:
    if not all(np.isfinite(y).all() for y in _pieces(samples, _BLOCK * sr)):
        raise DataError(f"{where} holds NaN or Inf; leave it out or export it again")


def _gathered(parts: Iterable[FloatArray], most: int) -> Samples:
    """Return blocks of samples as one: in memory up to `most` samples."""
    held: list[FloatArray] = []
    spool: Spool | None = None
    for part in parts:
        if spool is None:
            held.append(part)
            if sum(map(len, held)) > most:
                spool = Spool()
                for one in held:
                    spool.append(one)
                held.clear()
        else:
            spool.append(part)
    return spool if spool is not None else np.concatenate([np.zeros(0, np.float32), *held])


def _pieces(samples: Samples, size: int) -> Iterator[FloatArray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _conditioned_by_blocks(samples: Samples, sr: int, target: int) -> Spool | None:
    """Do what `conditioned` does, a block at a time; None for silence."""
    level = _level(samples, sr)
    if level is None:
        return None
    if sr == target:
        return _levelled(samples, sr, level)
    resampled = _resampled(samples, sr, target, level)
    level = _level(resampled, target)
    return None if level is None else _levelled(resampled, target, level)


def _resampled(samples: Samples, sr: int, target: int, level: tuple[float, float]) -> Spool:
    """Return samples at another rate, a mean and a peak taken out, a block at a time."""
    resampled = Spool()
    size, margin = _BLOCK * sr, _MARGIN * sr  # whole seconds: they begin at samples of both rates
    for start in range(0, len(samples), size):
        first = max(0, start - margin)
        y = resample(_centred(samples[first : start + size + margin], level), sr, target)
        begin = (start - first) // sr * target
        last = start + size >= len(samples)
        resampled.append(y[begin:] if last else y[begin : begin + _BLOCK * target])
    return resampled


def _level(samples: Samples, sr: int) -> tuple[float, float] | None:
    """Return the mean, and the peak without it; None for silence."""
    total, low, high = 0.0, math.inf, -math.inf
    for y in _pieces(samples, _BLOCK * sr):
        total += float(y.sum(dtype=np.float64))
        low, high = min(low, float(y.min())), max(high, float(y.max()))
    mean = total / len(samples)
    peak = max(high - mean, mean - low)
    return None if peak <= _ROUNDING * max(abs(low), abs(high)) else (mean, peak)


def _levelled(samples: Samples, sr: int, level: tuple[float, float]) -> Spool:
    spool = Spool()
    for y in _pieces(samples, _BLOCK * sr):
        spool.append(_centred(y, level))
    return spool


def _centred(y: FloatArray, level: tuple[float, float]) -> FloatArray:
    mean, peak = level
    return ((y.astype(np.float64) - mean) / peak).astype(np.float32)
