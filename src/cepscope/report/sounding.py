"""A recording as a page or a figure shows it: its samples, and what the front end makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal

from cepscope.corpora.conditioning import conditioned
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.invert.harmonicity import HOP_SECONDS, harmonics_to_noise
from cepscope.invert.pitch import track_pitch
from cepscope.report import raster

NARROW_BAND, WIDE_BAND = 0.040, 0.005  # s: windows that show harmonics, or pitch periods and formants
NARROW_BAND_HZ = 4000.0  # up to which harmonics are shown
NARROW_BAND_BINS = 400
DELTA_FRAMES = 9  # that a slope is fitted to, as librosa's and HTK's are by default
LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0  # of a pitch

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Sounding:
    """A sound, whole or a part of a longer one.

    Attributes
    ----------
    name : str
    audio : array [shape=(samples,)]
        As it is in the file, mono, in [-1, 1].
    sr : int
        Its rate in Hz.
    spec : MfccSpec
        The front end.
    start : float
        Where it begins in its file, s.

    Raises
    ------
    ParameterError
        `audio` is no sound: empty, not finite, or of another shape.
    """

    name: str
    audio: Array
    sr: int
    spec: MfccSpec
    start: float = 0.0

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio, np.float32)
        if audio.ndim != 1 or not audio.size or not np.isfinite(audio).all():
            raise ParameterError(f"The sound of {self.name} must be finite, (samples,). Received: shape {audio.shape}")
        object.__setattr__(self, "audio", audio)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.audio) / self.sr

    @cached_property
    def heard(self) -> Array:
        """What the front end is given, at ``spec.sr``: without DC, at full scale."""
        return conditioned(np.asarray(self.audio), self.sr, self.spec.sr)

    @cached_property
    def log_mel(self) -> Array:
        """Levels of the mel bands in dB [shape=(n_mels, frames)]."""
        return log_mel(self.heard, self.spec)

    @cached_property
    def mfcc(self) -> Array:
        """MFCC [shape=(n_mfcc, frames)]."""
        return mfcc(self.heard, self.spec)

    def delta(self, order: int) -> Array:
        """Return the MFCC's first or second derivative over frames [shape=(n_mfcc, frames)]; 0 of too few frames.

        A polynomial of that order is fitted to nine frames around each (Savitzky and Golay), as
        ``librosa.feature.delta`` does, or to as many as there are.
        """
        frames = self.mfcc.shape[1]
        width = min(DELTA_FRAMES, frames - 1 + frames % 2)
        if width <= order:
            return np.zeros_like(self.mfcc)
        found: Array = scipy.signal.savgol_filter(self.mfcc, width, order, deriv=order, axis=1, mode="interp")
        return found

    def spectrogram(self, window: float, *, highest: float = np.inf, bins: int = raster.MAX_BINS) -> Array:
        """Return its power spectrogram in dB below the maximum [shape=(bins, columns)], up to about `highest` Hz."""
        hop = max(1, round(window * self.sr / 4)) / self.sr
        share = min(1.0, highest / (self.sr / 2))
        decibels = raster.spectrogram_db(self.audio, self.sr, window=window, hop=hop, bins=max(1, round(bins / share)))
        kept = decibels[: max(1, round(len(decibels) * share))]
        found: Array = kept - kept.max() if kept.max() > -raster.RANGE_DB else kept
        return found

    @property
    def has_pitch(self) -> bool:
        """Whether its rate is high enough for pitch to be looked for."""
        return self.spec.sr >= 2 * HIGHEST_HZ

    @cached_property
    def pitch(self) -> Array:
        """Pitch of each frame in Hz, 0 where unvoiced [shape=(frames,)]."""
        return track_pitch(self.heard, self.spec, lowest=LOWEST_HZ, highest=HIGHEST_HZ)

    @cached_property
    def harmonicity(self) -> tuple[Array, Array]:
        """Times in s, and the harmonics-to-noise ratio there in dB, NaN where unvoiced [shape=(frames,) each]."""
        hnr_db, _ = harmonics_to_noise(self.heard, self.spec.sr, lowest=LOWEST_HZ, highest=HIGHEST_HZ)
        hop = max(1, round(HOP_SECONDS * self.spec.sr)) / self.spec.sr
        times = len(self.heard) / self.spec.sr / 2 + (np.arange(len(hnr_db)) - (len(hnr_db) - 1) / 2) * hop
        return times, hnr_db


def in_deviations(coefficients: Array) -> Array:
    """Return MFCC counted from each coefficient's mean, in its own standard deviations; 0 where it is constant."""
    centred = coefficients - coefficients.mean(axis=1, keepdims=True)
    deviation = coefficients.std(axis=1, keepdims=True)
    constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(coefficients).max(axis=1, keepdims=True))
    found: Array = centred / np.where(constant, np.inf, deviation)
    return found
