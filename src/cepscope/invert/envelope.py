"""From MFCC to a spectral envelope: the smooth amplitude per frequency bin that has this log-mel spectrum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec, mel_filterbank
from cepscope.invert.stft import window

FloatArray = npt.NDArray[np.float64]
NEPERS = np.log(10) / 20  # of amplitude, a decibel


@lru_cache(maxsize=16)
def spread_matrix(spec: MfccSpec) -> FloatArray:
    """Return weights (n_mels, bins) that carry values of mel bands to bins; each column sums to 1.

    The triangles of the filterbank, scaled to peak 1, interpolate between band centres. Bins that no band covers take
    the value of the nearest one that is covered.
    """
    bank = np.asarray(mel_filterbank(spec), np.float64)
    triangles = bank / bank.max(axis=1, keepdims=True)
    total = triangles.sum(axis=0)
    covered = np.flatnonzero(total > 1e-6)  # noqa: PLR2004
    nearest = covered[np.abs(np.arange(bank.shape[1])[:, None] - covered[None]).argmin(axis=1)]
    return triangles[:, nearest] / total[nearest]


def log_envelope(log_mel: FloatArray, spec: MfccSpec) -> FloatArray:
    """Return the log amplitude per bin (frames, bins), in nepers, of an excitation of unit power.

    Parameters
    ----------
    log_mel : array [shape=(n_mels, frames)]
        In dB.
    spec : MfccSpec
    """
    area = np.asarray(mel_filterbank(spec), np.float64).sum(axis=1)
    density = log_mel - 10 * np.log10(area)[:, None]  # band power to power per bin
    density -= 10 * np.log10(np.sum(window(spec) ** 2))  # white noise of unit power has this much per bin
    out: FloatArray = density.T @ spread_matrix(spec) * NEPERS
    return out


def minimum_phase(log_amplitude: FloatArray, n_fft: int) -> npt.NDArray[np.complex128]:
    """Return the minimum-phase spectrum (..., bins) of a log amplitude (..., bins) in nepers.

    The cepstrum is folded onto positive quefrencies (Oppenheim and Schafer, Discrete-Time Signal Processing, section on
    the complex cepstrum).
    """
    cepstrum = np.fft.irfft(log_amplitude, n=n_fft, axis=-1)
    cepstrum[..., 1 : n_fft // 2] *= 2
    cepstrum[..., n_fft // 2 + 1 :] = 0
    return np.asarray(np.exp(np.fft.rfft(cepstrum, axis=-1)), np.complex128)
