"""Two things that a likelihood of MFCC does not hear: hiss between the harmonics, and a flat spectrum.

Both are measured on the sound itself, so that real recordings and made ones are judged by one rule.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec

FloatArray = npt.NDArray[np.float64]

QUIET = 30.0  # dB below the loudest frame: quieter frames are pauses
FLOOR_SHARE = 0.1  # of the bins of a sounding frame that count as its floor
BANDS = 4  # octaves whose contrast is measured, downwards from half the sampling rate
CONTRAST_SHARE = 0.2  # of a band's bins that count as its peaks, and as its valleys


def noise_floor(y: npt.ArrayLike, spec: MfccSpec) -> FloatArray:
    """Return how far the quietest bins of sounding frames lie below their loudest, in dB (negative).

    Parameters
    ----------
    y : array [shape=(n, samples)]
    spec : MfccSpec
        Its sampling rate, FFT and hop.

    Returns
    -------
    array [shape=(n,)]
        Median over sounding frames of (mean level of the lowest tenth of the bins) - (level of the highest bin).
    """
    found = []
    for power, sounding in _spectra(y, spec):
        levels = np.sort(power[:, sounding], axis=0)
        low = levels[: max(1, int(FLOOR_SHARE * len(levels)))].mean(axis=0)
        found.append(np.median(low - levels[-1]))
    return np.array(found)


def spectral_contrast(y: npt.ArrayLike, spec: MfccSpec) -> FloatArray:
    """Return the difference between peaks and valleys of octave bands, in dB (Jiang et al. 2002, ICME).

    Parameters
    ----------
    y : array [shape=(n, samples)]
    spec : MfccSpec

    Returns
    -------
    array [shape=(n,)]
        Mean over bands, median over sounding frames.
    """
    edges = np.r_[0, spec.sr / 2 / 2.0 ** np.arange(BANDS - 1, -1, -1)]
    bins = np.fft.rfftfreq(spec.n_fft, 1 / spec.sr)
    found = []
    for power, sounding in _spectra(y, spec):
        bands = []
        for low, high in itertools.pairwise(edges):
            inside = np.sort(power[(bins >= low) & (bins < high)][:, sounding], axis=0)
            share = max(1, int(CONTRAST_SHARE * len(inside)))
            bands.append(inside[-share:].mean(axis=0) - inside[:share].mean(axis=0))
        found.append(np.median(np.mean(bands, axis=0)))
    return np.array(found)


def _spectra(y: npt.ArrayLike, spec: MfccSpec) -> list[tuple[FloatArray, npt.NDArray[np.bool_]]]:
    """Return each sound's power spectrum in dB (bins, frames) and which frames sound."""
    import scipy.signal

    window = scipy.signal.get_window("hann", spec.n_fft)
    stft = scipy.signal.ShortTimeFFT(window, spec.hop, spec.sr)
    spectra = []
    sounds = np.atleast_2d(np.asarray(y, np.float64))
    short = max(0, spec.n_fft - sounds.shape[-1])
    for sound in np.pad(sounds, ((0, 0), (0, short))):  # a window at least
        power = np.abs(stft.stft(sound)) ** 2
        power = 10 * np.log10(np.maximum(power, 1e-10 * max(power.max(), 1e-30)))
        loudness = power.max(axis=0)
        spectra.append((power, loudness > loudness.max() - QUIET))
    return spectra
