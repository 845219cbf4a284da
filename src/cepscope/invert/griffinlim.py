"""Fast Griffin-Lim phase retrieval with a seed of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.stft import Inverse, stft

Array = npt.NDArray[Any]


def griffin_lim(
    magnitude: Array,
    spec: MfccSpec,
    samples: int,
    *,
    rng: np.random.Generator,
    iterations: int = 32,
    momentum: float = 0.99,
) -> Array:
    """Find a sound with this magnitude spectrogram, from random phases.

    Parameters
    ----------
    magnitude : array [shape=(n_fft // 2 + 1, frames)]
    spec : MfccSpec
    samples : int
        Length of the result.
    rng : numpy.random.Generator
        Draws the first phases.
    iterations : int
    momentum : float
        0 is the algorithm of Griffin and Lim (1984), .99 the fast one [1]_.

    Returns
    -------
    array [shape=(samples,)]
        float32.

    References
    ----------
    .. [1] N. Perraudin, P. Balazs and P. L. Sondergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.
    """
    magnitude = np.asarray(magnitude, np.float32)
    phase = np.exp(2j * np.pi * rng.random(magnitude.shape)).astype(np.complex64)
    previous = np.zeros_like(phase)
    inverse = Inverse(spec, samples)
    weight = np.float32(momentum / (1 + momentum))
    for _ in range(iterations):
        consistent = stft(inverse(magnitude * phase), spec)
        ahead = consistent - weight * previous
        previous = consistent
        phase = ahead / np.maximum(np.abs(ahead), np.float32(1e-16))
    return inverse(magnitude * phase)
