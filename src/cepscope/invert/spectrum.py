"""From mel power to a power spectrum, by the multiplicative updates of non-negative factorization.

A filterbank has fewer bands than the transform has bins, so many spectra have the wanted mel power. Starting from the
smooth envelope, each update multiplies every bin by how much its bands miss, in the sense of the Kullback-Leibler
divergence [1]_: nothing turns negative, and what no band asks for stays smooth.

References
----------
.. [1] D. D. Lee and H. S. Seung, "Algorithms for non-negative matrix factorization", NIPS 13, 2001, equation 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.envelope import log_mel_to_envelope, mel_bands
from cepscope.invert.stft import analysis_window

Array = npt.NDArray[Any]

LEAST = 1e-20  # of a sum that is divided by; powers relative to the loudest band are far above it


def mel_to_spectrum(log_mel: Array, spec: MfccSpec, *, iterations: int = 5) -> Array:
    """Find a magnitude spectrogram with (about) this mel power.

    Parameters
    ----------
    log_mel : array [shape=(n_mels, frames)]
        dB, as the extractor's ``10 log10(mel power)``; what lies 120 dB below the loudest counts as that far.
    spec : MfccSpec
    iterations : int
        Multiplicative updates; with 0 it is the interpolated envelope.

    Returns
    -------
    array [shape=(n_fft // 2 + 1, frames)]
        float32, the magnitude of `stft`.
    """
    top = float(log_mel.max())
    window_db = 10 * np.log10(np.sum(analysis_window(spec, "float64") ** 2))
    envelope = log_mel_to_envelope(log_mel - top, spec) + window_db
    # what the filters add up: powers, or magnitudes; of the sound before it is pre-emphasised
    content = (10 ** (envelope * spec.power / 20)).astype(np.float32)
    wanted = (10 ** (np.maximum(log_mel - top, -120.0) * spec.power / 20)).astype(np.float32)
    emphasis = np.abs(1 - spec.preemphasis * np.exp(-1j * np.linspace(0, np.pi, len(content))))
    weights = mel_bands(spec).weights * (emphasis**spec.power).astype(np.float32)
    cover = weights.sum(axis=0)[:, None]  # (bins, 1)
    seen = cover > LEAST
    for _ in range(iterations):
        ratio = wanted / np.maximum(weights @ content, np.float32(LEAST))
        content *= np.where(seen, weights.T @ ratio / np.maximum(cover, np.float32(LEAST)), 1)
    magnitude: Array = content ** np.float32(1 / spec.power) * np.float32(10 ** (top / 20))
    return magnitude
