"""What drives the voice: how voiced each frame is, and at which pitch. MFCCs of few coefficients keep neither, so both
are guessed from the spectral envelope; the pitch is a choice of ours and carries no information about the pattern.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec

FloatArray = npt.NDArray[np.float64]

LOW, HIGH = 1000.0, 2000.0  # Hz: voiced frames have more power below than above
TILT, TILT_WIDTH = 6.0, 3.0  # dB: tilt at which a frame is half voiced, and how fast that changes
QUIET, QUIET_WIDTH = 38.0, 3.0  # dB below the loudest frame where voicing fades
RANGE, DECLINATION = 2.0, 2.0  # semitones: louder is higher; pitch falls along an utterance
SMOOTH = 15  # frames


def voicing(log_mel: FloatArray, spec: MfccSpec) -> FloatArray:
    """Guess the voiced share of each frame's power from log-mel spectra (n_mels, frames): (frames,) in [0, 1]."""
    centres = spec.mel_frequencies()
    power = 10 ** (np.clip(log_mel, -300, 300) / 10)
    low, high = (power[band].mean(axis=0) for band in (centres < LOW, centres > HIGH))
    tilt = 10 * np.log10((low + 1e-30) / (high + 1e-30))
    level = 10 * np.log10(power.mean(axis=0) + 1e-30)
    voiced = _logistic((tilt - TILT) / TILT_WIDTH) * _logistic((level - level.max() + QUIET) / QUIET_WIDTH)
    return np.convolve(np.pad(voiced, 1, mode="edge"), np.full(3, 1 / 3), "valid")


def pitch_contour(log_mel: FloatArray, spec: MfccSpec, *, base: float = 120.0) -> FloatArray:
    """Make a pitch contour in Hz (frames,): it rises with loudness and declines along the utterance."""
    power = 10 ** (np.clip(log_mel, -300, 300) / 10)
    level = 10 * np.log10(power.mean(axis=0) + 1e-30)
    kernel = np.hanning(SMOOTH + 2)[1:-1]
    level = np.convolve(np.pad(level, SMOOTH // 2, mode="edge"), kernel / kernel.sum(), "valid")
    loudness = np.tanh((level - level.mean()) / (1.5 * (level.std() + 1e-6)))
    semitones = RANGE * loudness - DECLINATION * (np.linspace(0, 1, len(level)) - 0.5)
    return np.asarray(base * 2 ** (semitones / 12), np.float64)


def _logistic(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
