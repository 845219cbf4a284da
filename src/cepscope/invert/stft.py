"""Short-time Fourier transform with the extractor's own framing, its inverse, and the adjoints of both.

Frame ``t`` is centred on sample ``t * hop``, samples outside the signal are zero, and the periodic Hann window of `win`
samples sits in the middle of `n_fft` samples: exactly what `cepscope.features.mfcc` (and librosa) look at. The
inverse is the least-squares one of Griffin and Lim [1]_, so ``istft(stft(y)) == y`` up to rounding.

References
----------
.. [1] D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier transform", IEEE Transactions on
   Acoustics, Speech, and Signal Processing 32(2), 1984.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from cepscope.errors import DataError
from cepscope.features import MfccSpec

Array = npt.NDArray[Any]

LEAST_POWER = 1e-12  # of the window at a sample, relative: below it no frame says anything of the sample


@lru_cache(maxsize=32)
def analysis_window(spec: MfccSpec, dtype: str = "float32") -> Array:
    """Return the periodic Hann window [shape=(win,)]; read-only."""
    window = scipy.signal.get_window("hann", spec.win, fftbins=True).astype(dtype)
    window.flags.writeable = False
    return window


def sound_length(frames: int, spec: MfccSpec) -> int:
    """Return how many samples give exactly `frames` frames: ``(frames - 1) * hop``, for one frame ``hop - 1``."""
    return spec.samples_of(frames) if frames > 1 else max(spec.hop - 1, 1)


def stft(y: Array, spec: MfccSpec) -> Array:
    """Transform a sound.

    Parameters
    ----------
    y : array [shape=(..., samples)]
        float32 or float64; the result has the same precision.
    spec : MfccSpec

    Returns
    -------
    array [shape=(..., n_fft // 2 + 1, frames)]
        ``frames = 1 + samples // hop``; equal to ``librosa.stft(y, center=True, pad_mode="constant")``.
    """
    return _transform(y, spec, analysis_window(spec, y.dtype.name))


def istft(X: Array, spec: MfccSpec, samples: int, *, weights: Array | None = None) -> Array:
    """Return the sound whose transform is nearest to `X` in the least-squares sense.

    Parameters
    ----------
    X : complex array [shape=(..., n_fft // 2 + 1, frames)]
    spec : MfccSpec
    samples : int
        Length of the result; ``1 + samples // hop`` must be the number of frames.
    weights : array [shape=(frames,)], optional
        What the squared distance of each frame counts, all above 0; by default 1.

    Returns
    -------
    array [shape=(..., samples)]
    """
    return Inverse(spec, samples, weights=weights, dtype=X.real.dtype.name)(X)


class Inverse:
    """The least-squares inverse of `stft` for sounds of one length, with its adjoint; made once, used many times.

    Parameters
    ----------
    spec : MfccSpec
    samples : int
        Length of the sounds.
    weights : array [shape=(frames,)], optional
        See `istft`.
    dtype : {"float32", "float64"}
    """

    def __init__(self, spec: MfccSpec, samples: int, *, weights: Array | None = None, dtype: str = "float32") -> None:
        self.spec, self.samples = spec, samples
        window = analysis_window(spec, dtype)
        if weights is None:
            self.window, self.power = window, _window_power(spec, samples, dtype)
        else:
            each = np.asarray(weights / np.max(weights), dtype)[:, None]
            power = _overlap_add(window**2 * each, spec, samples)
            self.window = window * each  # (frames, win)
            self.power = np.where(power > LEAST_POWER, power, 1).astype(dtype)

    def __call__(self, X: Array) -> Array:
        """Return the sound [shape=(..., samples)] of a transform [shape=(..., n_fft // 2 + 1, frames)]."""
        spec, frames = self.spec, 1 + self.samples // self.spec.hop
        if frames != X.shape[-1]:
            raise DataError(
                f"{self.samples} samples have {frames} frames of hop {spec.hop}. Received: {X.shape[-1]} frames"
            )
        left = (spec.n_fft - spec.win) // 2
        segments = scipy.fft.irfft(np.swapaxes(X, -1, -2), n=spec.n_fft, axis=-1)[..., left : left + spec.win]
        return _overlap_add(segments * self.window, spec, self.samples) / self.power

    def adjoint(self, g: Array) -> Array:
        """Carry a gradient back: from dE/dy to dE/dRe + i dE/dIm [shape=(..., n_fft // 2 + 1, frames)]."""
        V: Array = _transform(g / self.power, self.spec, self.window)
        V /= g.dtype.type(self.spec.n_fft)
        V[..., 1 : V.shape[-2] - (self.spec.n_fft % 2 == 0), :] *= 2
        return V


def stft_adjoint(G: Array, spec: MfccSpec, samples: int) -> Array:
    """Carry a gradient through `stft`: from dE/dRe + i dE/dIm of the transform to dE/dy [shape=(..., samples)]."""
    left = (spec.n_fft - spec.win) // 2
    half = np.swapaxes(G, -1, -2).copy()  # the transpose of rfft is irfft with the doubled bins halved, times n_fft
    half[..., 1 : half.shape[-1] - (spec.n_fft % 2 == 0)] *= 0.5
    segments = scipy.fft.irfft(half, n=spec.n_fft, axis=-1)[..., left : left + spec.win]
    window = analysis_window(spec, segments.dtype.name)
    return _overlap_add(segments * (window * spec.n_fft), spec, samples)


def _transform(y: Array, spec: MfccSpec, window: Array) -> Array:
    """Return the transform of a sound under a window of all frames [shape=(win,)] or of each [shape=(frames, win)]."""
    left = (spec.n_fft - spec.win) // 2
    segments = _segments(y, spec)
    buffer = np.zeros((*segments.shape[:-1], spec.n_fft), y.dtype)
    np.multiply(segments, window, out=buffer[..., left : left + spec.win])
    return np.swapaxes(scipy.fft.rfft(buffer, axis=-1, overwrite_x=True), -1, -2)


def _segments(y: Array, spec: MfccSpec) -> Array:
    """View of the windowed part of each frame [shape=(..., frames, win)] of the zero-padded sound."""
    samples = y.shape[-1]
    frames = 1 + samples // spec.hop
    before = spec.n_fft // 2 - (spec.n_fft - spec.win) // 2
    total = max((frames - 1) * spec.hop + spec.win, before + samples)
    padded = np.zeros((*y.shape[:-1], total), y.dtype)
    padded[..., before : before + samples] = y
    step = padded.strides[-1]
    return np.lib.stride_tricks.as_strided(  # as sliding_window_view, whose checks take longer than the transform
        padded, (*y.shape[:-1], frames, spec.win), (*padded.strides[:-1], spec.hop * step, step), writeable=False
    )


def _overlap_add(segments: Array, spec: MfccSpec, samples: int) -> Array:
    """Transpose of `_segments`: add the segments [shape=(..., frames, win)] up to a sound [shape=(..., samples)]."""
    frames, lead = segments.shape[-2], segments.shape[:-2]
    pieces = -(-spec.win // spec.hop)
    rows = np.zeros((*lead, frames + pieces, spec.hop), segments.dtype)
    for piece in range(pieces):  # one hop-long piece of all frames at a time
        part = segments[..., piece * spec.hop : (piece + 1) * spec.hop]
        rows[..., piece : piece + frames, : part.shape[-1]] += part
    before = spec.n_fft // 2 - (spec.n_fft - spec.win) // 2
    flat = rows.reshape(*lead, -1)[..., before : before + samples]
    short = samples - flat.shape[-1]
    return np.pad(flat, [(0, 0)] * len(lead) + [(0, short)]) if short > 0 else flat


@lru_cache(maxsize=64)
def _window_power(spec: MfccSpec, samples: int, dtype: str) -> Array:
    """Sum of the squared windows over each sample; 1 where no window reaches (hop > win)."""
    window = analysis_window(spec, "float64")
    frames = 1 + samples // spec.hop
    power = _overlap_add(np.broadcast_to(window**2, (frames, spec.win)), spec, samples)
    power = np.where(power > 1e-8, power, 1.0).astype(dtype)
    power.flags.writeable = False
    return power
