"""From MFCC to a spectral envelope: divide the lifter out, transpose the DCT, spread mel bands over FFT bins.

A pattern of K < n_mels coefficients fixes only the smooth part of the log-mel spectrum; the transposed DCT gives the
smallest (minimum-norm) log-mel spectrum that has exactly these coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.features.filterbank import mel_filters
from cepscope.features.framing import analysis_window

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Bands:
    """The constants that link FFT bins, mel bands and coefficients.

    Attributes
    ----------
    weights : array [shape=(n_mels, bins)]
        The extractor's filterbank.
    spread : array [shape=(n_mels, bins)]
        Hat functions of the same bands whose columns sum to 1: take one value a band to one value a bin.
    area_db : array [shape=(n_mels,)]
        Level of each filter in dB when every bin of the sound has power 1, before the sound is pre-emphasised: without
        that the sum of its weights. 0 for a filter that holds no bin.
    dct : array [shape=(n_mfcc, n_mels)]
        Orthonormal DCT-II, the rows of the orders kept.
    lifter : array [shape=(n_mfcc,)]
        Factor of each coefficient: ``spec.coefficient_gains()``.
    """

    weights: Array
    spread: Array
    area_db: Array
    dct: Array
    lifter: Array


@lru_cache(maxsize=32)
def mel_bands(spec: MfccSpec, dtype: str = "float32") -> Bands:
    """Return the constants of a front end, computed once."""
    weights = mel_filters(spec).toarray()
    highest = weights.max(axis=1, keepdims=True)
    hats = weights / np.where(highest > 0, highest, 1)  # peak 1 whatever the area normalisation
    cover = hats.sum(axis=0)
    covered = np.flatnonzero(cover > 1e-6)
    spread = hats / np.maximum(cover, 1e-6)
    # bins that no filter sees (0 Hz, Nyquist, beyond fmin and fmax) go with the nearest one seen
    nearest = covered[np.abs(np.arange(cover.size)[:, None] - covered).argmin(axis=1)]
    dct = scipy.fft.dct(np.eye(spec.n_mels), axis=0, norm="ortho")[spec.orders]
    emphasis = np.abs(1 - spec.preemphasis * np.exp(-1j * np.linspace(0, np.pi, cover.size)))  # (bins,)
    area = (weights * emphasis**spec.power).sum(axis=1)
    area_db = 20 / spec.power * np.log10(np.where(area > 0, area, 1))
    constants = (weights, spread[:, nearest], area_db, dct, spec.coefficient_gains())
    arrays = [np.array(a, dtype=dtype, order="C") for a in constants]
    for array in arrays:
        array.flags.writeable = False
    return Bands(*arrays)


def log_mel_to_envelope(log_mel: Array, spec: MfccSpec, *, span_db: float = 120.0) -> Array:
    """Interpolate a log-mel spectrum over the FFT bins.

    Parameters
    ----------
    log_mel : array [shape=(..., n_mels, frames)]
        dB, as the extractor's ``10 log10(mel power)``.
    spec : MfccSpec
    span_db : float
        Values further than this below the sound's maximum are raised to it: no ear needs them, and unnatural patterns
        ask for hundreds of decibels.

    Returns
    -------
    array [shape=(..., n_fft // 2 + 1, frames)]
        dB relative to white noise of power 1 (per sample), so 0 dB everywhere is the spectrum of unit noise. A filter's
        level is divided by its area, the window's power and pre-emphasis, which takes all front ends to the same
        envelope: that of the sound in [-1, 1].
    """
    bands = mel_bands(spec, "float64")
    window_db = 10 * np.log10(np.sum(analysis_window(spec) ** 2))
    top = log_mel.max(axis=(-2, -1), keepdims=True)
    density = np.maximum(log_mel, top - span_db) - bands.area_db[:, None] - window_db
    envelope: Array = bands.spread.T @ density
    return envelope


def mfcc_to_envelope(C: Array, spec: MfccSpec, *, span_db: float = 120.0) -> Array:
    """Return the spectral envelope [shape=(..., n_fft // 2 + 1, frames)] of a pattern, dB; see the two steps above."""
    return log_mel_to_envelope(mfcc_to_log_mel(C, spec), spec, span_db=span_db)
