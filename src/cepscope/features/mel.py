"""The mel scale in NumPy alone, so that settings can be checked without loading librosa."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Slaney's Auditory Toolbox: linear up to 1 kHz (15 mel), then 27 mel for a factor of 6.4
_LINEAR_HZ = 200.0 / 3
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27
_LEAST_WEIGHT = 1e-9  # of a triangle of height 1: below it a bin only touches the filter's edge


def hz_to_mel(hz: npt.ArrayLike, *, htk: bool = False) -> npt.NDArray[np.float64]:
    """Convert Hz to mel, elementwise: HTK's formula or Slaney's."""
    hz = np.asarray(hz, dtype=np.float64)
    if htk:
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    logarithmic = _CORNER_MEL + np.log(np.maximum(hz, _CORNER_HZ) / _CORNER_HZ) / _LOG_STEP
    return np.where(hz >= _CORNER_HZ, logarithmic, hz / _LINEAR_HZ)


def mel_to_hz(mel: npt.ArrayLike, *, htk: bool = False) -> npt.NDArray[np.float64]:
    """Undo `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    exponential = _CORNER_HZ * np.exp(_LOG_STEP * np.maximum(mel - _CORNER_MEL, 0.0))
    return np.where(mel >= _CORNER_MEL, exponential, mel * _LINEAR_HZ)


def mel_points(n_mels: int, fmin: float, fmax: float, *, htk: bool = False) -> npt.NDArray[np.float64]:
    """Return the (n_mels + 2,) corners of the triangular filters in Hz: filter i spans points i to i + 2."""
    low, high = hz_to_mel([fmin, fmax], htk=htk)
    return mel_to_hz(np.linspace(low, high, n_mels + 2), htk=htk)


def empty_filters(points: npt.NDArray[np.float64], bin_hz: float) -> npt.NDArray[np.intp]:
    """Return the indices of the filters in which no FFT bin falls.

    Parameters
    ----------
    points : array [shape=(n_mels + 2,)]
        From `mel_points`, in Hz.
    bin_hz
        Distance of FFT bins in Hz.
    """
    lower, centre, upper = points[:-2], points[1:-1], points[2:]
    below = np.floor(centre / bin_hz) * bin_hz  # a triangle is highest at one of the two bins around its centre
    rising = (below - lower) / (centre - lower)
    falling = (upper - (below + bin_hz)) / (upper - centre)
    return np.flatnonzero(np.maximum(rising, falling) < _LEAST_WEIGHT)
