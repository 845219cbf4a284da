"""The mel scale in NumPy alone, so that settings can be checked without loading librosa."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Slaney's Auditory Toolbox: linear up to 1 kHz (15 mel), then 27 mel for a factor of 6.4
_LINEAR_HZ = 200.0 / 3
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27
_LEAST_WEIGHT = 1e-9  # of a triangle of height 1: below it a bin only touches the filter's edge


def hz_to_mel(hz: npt.ArrayLike, *, htk: bool = False, corner: float = _CORNER_MEL) -> npt.NDArray[np.float64]:
    """Convert Hz to mel, elementwise: HTK's formula or Slaney's."""
    hz = np.asarray(hz, dtype=np.float64)
    if htk:
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    logarithmic = corner + np.log(np.maximum(hz, _CORNER_HZ) / _CORNER_HZ) / _LOG_STEP
    return np.where(hz >= _CORNER_HZ, logarithmic, hz / _LINEAR_HZ)


def mel_to_hz(mel: npt.ArrayLike, *, htk: bool = False, corner: float = _CORNER_MEL) -> npt.NDArray[np.float64]:
    """Undo `hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if htk:
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    exponential = _CORNER_HZ * np.exp(_LOG_STEP * np.maximum(mel - corner, 0.0))
    return np.where(mel >= corner, exponential, mel * _LINEAR_HZ)


def mel_points(n_mels: int, fmin: float, fmax: float, *, htk: bool = False) -> npt.NDArray[np.float64]:
    """Return the (n_mels + 2,) corners of the triangular filters in Hz: filter i spans points i to i + 2."""
    low, high = hz_to_mel([fmin, fmax], htk=htk)
    return mel_to_hz(np.linspace(low, high, n_mels + 2), htk=htk)


def empty_filters(
    points: npt.NDArray[np.float64], bin_hz: float, *, first: int = 0, last: int | None = None
) -> npt.NDArray[np.intp]:
    """Return the indices of the filters in which no FFT bin falls.

    Parameters
    ----------
    points : array [shape=(n_mels + 2,)]
        From `mel_points`, in Hz.
    bin_hz
        Distance of FFT bins in Hz.
    first, last
        Bins that count; by default all.
    """
    lower, centre, upper = points[:-2], points[1:-1], points[2:]
    below = np.floor(centre / bin_hz)
    highest = np.full(centre.shape, -np.inf)
    for near in (below, below + 1):  # a triangle is highest at one of the two bins around its centre
        hz = np.clip(near, first, last) * bin_hz
        highest = np.maximum(highest, np.minimum((hz - lower) / (centre - lower), (upper - hz) / (upper - centre)))
    return np.flatnonzero(highest < _LEAST_WEIGHT)


def bend(
    hz: npt.NDArray[np.float64], factor: float, inner: tuple[float, float], outer: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Divide frequencies by a factor between two inner ones; from there to the outer ones, which stay, go straight.

    Parameters
    ----------
    hz : array
        From the lower to the upper of `outer`.
    factor
        Of vocal tract length normalisation, above 0.
    inner, outer
        Corners of the line, in Hz, before it is bent.
    """
    corners = [outer[0], *inner, outer[1]]
    return np.interp(hz, corners, [outer[0], inner[0] / factor, inner[1] / factor, outer[1]])


def hz_triangles(
    n_mels: int, fmin: float, fmax: float, bins: npt.NDArray[np.float64], *, htk: bool = False, unit_area: bool = True
) -> npt.NDArray[np.float32]:
    """Return triangles that are straight over Hz, with the bits of librosa's, which takes a second to load.

    Parameters
    ----------
    n_mels, fmin, fmax, htk
        As in `mel_points`.
    bins : array [shape=(bins,)]
        Frequencies of the FFT bins in Hz.
    unit_area
        Of area 1, as Slaney's; otherwise of height 1.

    Returns
    -------
    weights : array [shape=(n_mels, bins)]
        float32.
    """
    # librosa's corner is the quotient, a rounding below 15, and its edges are logarithms of single numbers
    low, high = (hz_to_mel(hz, htk=htk, corner=_CORNER_HZ / _LINEAR_HZ) for hz in (fmin, fmax))
    points = mel_to_hz(np.linspace(low, high, n_mels + 2), htk=htk, corner=_CORNER_HZ / _LINEAR_HZ)
    slopes, ramps = np.diff(points)[:, np.newaxis], np.subtract.outer(points, bins)
    rising, falling = -ramps[:-2] / slopes[:-1], ramps[2:] / slopes[1:]
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    if unit_area:
        weights *= (2.0 / (points[2:] - points[:-2]))[:, np.newaxis]
    return weights


def mel_triangles(
    points: npt.NDArray[np.float64], bins: npt.NDArray[np.float64], *, htk: bool = False
) -> npt.NDArray[np.float64]:
    """Return triangles of height 1 that are straight over mel, not over Hz.

    Parameters
    ----------
    points : array [shape=(n_mels + 2,)]
        Corners in Hz: filter i rises from point i, falls to point i + 2.
    bins : array [shape=(bins,)]
        Frequencies of the FFT bins in Hz.
    htk
        HTK's mel scale; otherwise Slaney's.

    Returns
    -------
    weights : array [shape=(n_mels, bins)]
    """
    corners, mel = hz_to_mel(points, htk=htk), hz_to_mel(bins, htk=htk)
    lower, centre, upper = (corners[i : i + len(points) - 2, np.newaxis] for i in range(3))
    rising, falling = (mel - lower) / (centre - lower), (upper - mel) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling))
