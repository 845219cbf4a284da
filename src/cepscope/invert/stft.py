"""Short-time Fourier transform with the extractor's own framing, its inverse, and the adjoints of both.

Frame ``t`` begins at sample ``t * hop`` of the padded sound, and its window sits in the middle of `n_fft` samples:
exactly what `cepscope.features.mfcc` (and librosa, by default) look at, with the mean taken out and pre-emphasis frame
by frame where the front end does so. The inverse is the least-squares one of Griffin and Lim [1]_, so
``istft(stft(y)) == y`` up to rounding, but for the mean of a sound whose frames lose theirs.

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
import scipy.linalg

from cepscope.errors import DataError
from cepscope.features import MfccSpec, framing

Array = npt.NDArray[Any]

LEAST_POWER = 1e-12  # of the window at a sample, relative: below it no frame says anything of the sample


@lru_cache(maxsize=32)
def analysis_window(spec: MfccSpec, dtype: str = "float32") -> Array:
    """Return the window times the scale of samples [shape=(win,)]; read-only."""
    window = framing.analysis_window(spec).astype(dtype)
    window.flags.writeable = False
    return window


def sound_length(frames: int, spec: MfccSpec) -> int:
    """Return how many samples give exactly `frames` frames: ``(frames - 1) * hop``, for one frame ``hop - 1``.

    Without padding it is the samples that the frames cover.
    """
    if spec.padding == "none":
        return spec.samples_of(frames)
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
        Of ``spec.frames_of(samples)`` frames; by default equal to
        ``librosa.stft(y, center=True, pad_mode="constant")``.
    """
    segments = _framed(_pad(y, spec), spec)
    if spec.remove_dc:
        segments = segments - segments.mean(axis=-1, keepdims=True)
    left = (spec.n_fft - spec.win) // 2
    buffer = np.zeros((*segments.shape[:-1], spec.n_fft), y.dtype)
    window = analysis_window(spec, y.dtype.name)
    np.multiply(_emphasise(segments, spec), window, out=buffer[..., left : left + spec.win])
    return np.swapaxes(scipy.fft.rfft(buffer, axis=-1, overwrite_x=True), -1, -2)


def stft_adjoint(G: Array, spec: MfccSpec, samples: int) -> Array:
    """Carry a gradient through `stft`: from dE/dRe + i dE/dIm of the transform to dE/dy [shape=(..., samples)]."""
    half = np.swapaxes(G, -1, -2).copy()  # the transpose of rfft is irfft with the doubled bins halved, times n_fft
    half[..., 1 : half.shape[-1] - (spec.n_fft % 2 == 0)] *= 0.5
    window = analysis_window(spec, half.real.dtype.name)
    left = (spec.n_fft - spec.win) // 2
    segments = scipy.fft.irfft(half, n=spec.n_fft, axis=-1)[..., left : left + spec.win]
    segments = _emphasise_adjoint(segments * (window * spec.n_fft), spec)
    if spec.remove_dc:
        segments -= segments.mean(axis=-1, keepdims=True)
    before, after = spec.overhang
    return _pad_adjoint(_overlap_add(segments, spec, before + samples + after), spec)


def istft(X: Array, spec: MfccSpec, samples: int, *, weights: Array | None = None) -> Array:
    """Return the sound whose transform is nearest to `X` in the least-squares sense.

    Parameters
    ----------
    X : complex array [shape=(..., n_fft // 2 + 1, frames)]
    spec : MfccSpec
    samples : int
        Length of the result; ``spec.frames_of(samples)`` must be the number of frames.
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
    every : int
        Take transforms of which only each so-many-th bin is left: enough where the window is that much shorter than
        `n_fft` (see `spare`), and as much faster.
    dtype : {"float32", "float64"}
    """

    def __init__(
        self,
        spec: MfccSpec,
        samples: int,
        *,
        weights: Array | None = None,
        every: int = 1,
        dtype: str = "float32",
    ) -> None:
        self.spec, self.samples, self.frames = spec, samples, spec.frames_of(samples)
        self.every, self.n_fft = every, spec.n_fft // every
        self.place = ((spec.n_fft - spec.win) // 2 + np.arange(spec.win)) % self.n_fft  # of the window's samples
        each = np.ones(self.frames) if weights is None else np.asarray(weights / np.max(weights), np.float64)
        window = analysis_window(spec, "float64") * each[:, None]  # (frames, win)
        self.window = window.astype(dtype)
        power = self._sum(window * analysis_window(spec, "float64"))  # of the window at each sample
        if spec.preemphasis:
            self.bands = _normal_bands(spec, each, self._sum)
        self.power = np.where(power > LEAST_POWER * power.max(), power, 1).astype(dtype)

    def __call__(self, X: Array) -> Array:
        """Return the sound [shape=(..., samples)] of a transform [shape=(..., n_fft // 2 + 1, frames)]."""
        if self.frames != X.shape[-1]:
            raise DataError(
                f"{self.samples} samples have {self.frames} frames of hop {self.spec.hop}. "
                f"Received: {X.shape[-1]} frames"
            )
        segments = scipy.fft.irfft(np.swapaxes(X, -1, -2), n=self.n_fft, axis=-1)[..., self.place] * self.window
        return self._solve(self._sum(_emphasise_adjoint(segments, self.spec)))

    def adjoint(self, g: Array) -> Array:
        """Carry a gradient back: from dE/dy to dE/dRe + i dE/dIm [shape=(..., n_fft // 2 + 1, frames)]."""
        before, after = self.spec.overhang
        padded = np.zeros((*g.shape[:-1], before + self.samples + after), g.dtype)
        padded[..., before : before + self.samples] = self._solve(g)
        buffer = np.zeros((*g.shape[:-1], self.frames, self.n_fft), g.dtype)
        segments = _emphasise(_framed(padded, self.spec), self.spec)
        buffer[..., self.place] = segments * (self.window / g.dtype.type(self.n_fft))
        V: Array = np.swapaxes(scipy.fft.rfft(buffer, axis=-1, overwrite_x=True), -1, -2)
        V[..., 1 : V.shape[-2] - (self.n_fft % 2 == 0), :] *= 2
        return V

    def _sum(self, segments: Array) -> Array:
        """Add segments [shape=(..., frames, win)] up to a sound [shape=(..., samples)]; what is padded is lost."""
        before, after = self.spec.overhang
        return _overlap_add(segments, self.spec, before + self.samples + after)[..., before : before + self.samples]

    def _solve(self, total: Array) -> Array:
        """Divide by the normal matrix of the transform: diagonal, or tridiagonal with pre-emphasis."""
        if not self.spec.preemphasis:
            quotient: Array = total / self.power
            return quotient
        flat = total.reshape(-1, self.samples).astype(np.float64)
        found: Array = scipy.linalg.solveh_banded(self.bands, flat.T).T
        return found.reshape(total.shape).astype(total.dtype)


def _normal_bands(spec: MfccSpec, each: Array, add: Any) -> Array:
    """Return the diagonal and what is above it [shape=(2, samples)] of the normal matrix under pre-emphasis.

    A frame sees ``w_i (y_i - k y_(i - 1))``, its first sample ``w_0 (1 - k) y_0``.
    """
    k, power = spec.preemphasis, analysis_window(spec, "float64") ** 2
    own = power.copy()
    own[:-1] += k**2 * power[1:]
    own[0] += (k**2 - 2 * k) * power[0]
    with_next = np.append(-k * power[1:], 0)
    diagonal = add(own * each[:, None])
    above = np.append(0, add(with_next * each[:, None])[:-1])
    largest = diagonal.max()
    if power[0] <= 1e-20 * power.max():
        diagonal[0] += 1e-9 * largest  # then no frame sees the sound c k^t: the smallest c is taken
    return np.stack([above, np.maximum(diagonal, 1e-8 * largest)])


def spare(spec: MfccSpec) -> int:
    """Return by how much, a power of two, a transform could be shorter and still hold the window."""
    every = 1
    while spec.n_fft % (4 * every) == 0 and spec.n_fft // (2 * every) >= spec.win:
        every *= 2
    return every


def _framed(padded: Array, spec: MfccSpec) -> Array:
    """View of the samples of each frame [shape=(..., frames, win)] of a padded sound."""
    frames = 1 + (padded.shape[-1] - spec.win) // spec.hop
    step = padded.strides[-1]
    view: Array = np.lib.stride_tricks.as_strided(  # sliding_window_view checks for longer than a transform takes
        padded, (*padded.shape[:-1], frames, spec.win), (*padded.strides[:-1], spec.hop * step, step), writeable=False
    )
    return view


def _emphasise(segments: Array, spec: MfccSpec) -> Array:
    """Take off each sample its predecessor in the frame times the factor; the first one counts as its own."""
    if not spec.preemphasis:
        return segments
    k = segments.dtype.type(spec.preemphasis)
    emphasised: Array = segments - k * np.concatenate([segments[..., :1], segments[..., :-1]], axis=-1)
    return emphasised


def _emphasise_adjoint(segments: Array, spec: MfccSpec) -> Array:
    if not spec.preemphasis:
        return segments
    k = segments.dtype.type(spec.preemphasis)
    back = segments.copy()
    back[..., :-1] -= k * segments[..., 1:]
    back[..., 0] -= k * segments[..., 0]
    return back


def _pad(y: Array, spec: MfccSpec) -> Array:
    """Add what frames see before and after the sound [shape=(..., before + samples + after)]."""
    before, after = spec.overhang
    if spec.padding == "reflect":
        reflected: Array = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(before, after)], mode="reflect")
        return reflected
    padded = np.zeros((*y.shape[:-1], before + y.shape[-1] + after), y.dtype)
    padded[..., before : before + y.shape[-1]] = y
    return padded


def _pad_adjoint(padded: Array, spec: MfccSpec) -> Array:
    before, after = spec.overhang
    samples = padded.shape[-1] - before - after
    y = padded[..., before : before + samples].copy()
    if spec.padding == "reflect":
        y[..., 1 : before + 1] += padded[..., :before][..., ::-1]
        y[..., samples - 1 - after : samples - 1] += padded[..., before + samples :][..., ::-1]
    return y


def _overlap_add(segments: Array, spec: MfccSpec, total: int) -> Array:
    """Add the segments [shape=(..., frames, win)] up to a padded sound [shape=(..., total)]."""
    frames, lead = segments.shape[-2], segments.shape[:-2]
    pieces = -(-spec.win // spec.hop)
    rows = np.zeros((*lead, frames + pieces, spec.hop), segments.dtype)
    for piece in range(pieces):  # one hop-long piece of all frames at a time
        part = segments[..., piece * spec.hop : (piece + 1) * spec.hop]
        rows[..., piece : piece + frames, : part.shape[-1]] += part
    flat = rows.reshape(*lead, -1)[..., :total]
    short = total - flat.shape[-1]
    return np.pad(flat, [(0, 0)] * len(lead) + [(0, short)]) if short > 0 else flat
