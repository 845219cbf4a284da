"""Fast Griffin-Lim: phases for given amplitudes, from a seed of its own (Perraudin, Balazs, Sondergaard 2013)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.stft import istft, stft

FloatArray = npt.NDArray[np.float64]
TINY = 1e-300


def griffin_lim(
    amplitude: FloatArray,
    spec: MfccSpec,
    samples: int,
    *,
    rng: np.random.Generator,
    iterations: int = 32,
    momentum: float = 0.99,
) -> FloatArray:
    """Return audio (samples,) whose transform has about the given amplitudes (frames, bins).

    Parameters
    ----------
    amplitude : array [shape=(frames, bins)]
    spec : MfccSpec
    samples : int
    rng : Generator
        Of the first phases.
    iterations : int
    momentum : float
        0 is the original algorithm of Griffin and Lim 1984.
    """
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    previous = np.zeros_like(phase)
    for _ in range(iterations):
        consistent = stft(istft(amplitude * phase, spec, samples), spec)
        ahead = consistent - momentum / (1 + momentum) * previous
        phase = ahead / np.maximum(np.abs(ahead), TINY)
        previous = consistent
    return istft(amplitude * phase, spec, samples)
