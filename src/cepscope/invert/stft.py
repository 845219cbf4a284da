"""Short-time Fourier transform, framed exactly as the feature extractor frames, and its least-squares inverse.

Arrays are time-major, (frames, bins), because every step of the inversion works frame by frame. The window is not
moved to the centre of the transform's buffer: that changes phases only, and the inverse undoes it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from cepscope.features import MfccSpec

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

LEAST_OVERLAP = 1e-2  # of the largest sum of squared windows: bounds the gain where few windows reach


@lru_cache(maxsize=16)
def window(spec: MfccSpec) -> FloatArray:
    """Return the periodic Hann window (win,)."""
    return np.asarray(scipy.signal.get_window("hann", spec.win, fftbins=True), np.float64)


def _before(spec: MfccSpec) -> int:
    """Samples of zeros that the first window sees before the signal (centred frames)."""
    return spec.n_fft // 2 - (spec.n_fft - spec.win) // 2


def stft(y: FloatArray, spec: MfccSpec) -> ComplexArray:
    """Transform audio (samples,) to (frames, bins)."""
    frames = spec.frames_of(len(y))
    before = _before(spec)
    padded = np.zeros(max((frames - 1) * spec.hop + spec.win, before + len(y)))
    padded[before : before + len(y)] = y
    cut = np.lib.stride_tricks.sliding_window_view(padded, spec.win)[: (frames - 1) * spec.hop + 1 : spec.hop]
    return np.asarray(scipy.fft.rfft(cut * window(spec), n=spec.n_fft, axis=1), np.complex128)


def istft(spectrum: ComplexArray, spec: MfccSpec, samples: int) -> FloatArray:
    """Return the audio (samples,) whose transform is nearest to `spectrum` (frames, bins).

    Griffin and Lim 1984, eq. 6: overlap-add with the window, divided by the sum of squared windows.
    """
    pieces = scipy.fft.irfft(spectrum, n=spec.n_fft, axis=1)[:, : spec.win] * window(spec)
    return _overlap_add(pieces, spec, samples) / _overlap(spec, len(spectrum), samples)


def _overlap_add(pieces: FloatArray, spec: MfccSpec, samples: int) -> FloatArray:
    """Add windows (frames, win) at their places: (samples,)."""
    frames, rows = len(pieces), -(-spec.win // spec.hop)
    out = np.zeros((frames + rows, spec.hop))
    for row in range(rows):  # a window spans several hops: add it hop by hop, all frames at once
        part = pieces[:, row * spec.hop : (row + 1) * spec.hop]
        out[row : row + frames, : part.shape[1]] += part
    flat = out.reshape(-1)[_before(spec) :][:samples]
    return np.pad(flat, (0, samples - len(flat)))


@lru_cache(maxsize=16)
def _overlap(spec: MfccSpec, frames: int, samples: int) -> FloatArray:
    squared = np.broadcast_to(window(spec) ** 2, (frames, spec.win))
    total = _overlap_add(squared, spec, samples)
    return np.maximum(total, LEAST_OVERLAP * max(float(total.max(initial=0.0)), 1e-12))
