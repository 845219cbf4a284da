"""What excites the vocal tract: where a pattern is voiced, how its pitch moves, when the pulses come.

MFCC of few coefficients hold no pitch. Voicing shows in the spectral envelope (voiced speech is louder below 1 kHz than
above 2 kHz, and loud), the pitch contour is made up the way calm speech has it: higher where it is louder, falling
towards the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.invert.envelope import mel_bands

Array = npt.NDArray[Any]


def voicing(
    C: Array,
    spec: MfccSpec,
    *,
    low_hz: float = 1000.0,
    high_hz: float = 2000.0,
    tilt_db: float = 6.0,
    depth_db: float = 38.0,
) -> Array:
    """Guess how voiced each frame is, from the envelope alone.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    low_hz, high_hz : float
        The bands below and above are compared.
    tilt_db : float
        The low band's power density must lie this much above the high band's for an even chance of voicing.
    depth_db : float
        Frames this much below the loudest have an even chance of being silence.

    Returns
    -------
    array [shape=(frames,)]
        0 (noise) to 1 (voiced).
    """
    bands = mel_bands(spec, "float64")
    level = mfcc_to_log_mel(C, spec) - bands.area_db[:, None]  # (n_mels, frames), dB a bin
    level = level - level.max()  # only differences matter, and powers then stay in range
    centres = spec.mel_frequencies()
    high_hz = min(high_hz, 0.5 * float(centres[-1]))
    low_hz = min(low_hz, high_hz)
    low = level[centres <= max(low_hz, float(centres[0]))]
    high = level[centres >= high_hz]
    tilt = mean_power_db(low) - mean_power_db(high)
    loud = mean_power_db(level)
    voiced = sigmoid((tilt - tilt_db) / 3.0) * sigmoid((loud - loud.max() + depth_db) / 3.0)
    return np.convolve(np.pad(voiced, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")


def pitch_contour(C: Array, spec: MfccSpec, *, pitch: float = 120.0, span: float = 2.0, fall: float = 2.0) -> Array:
    """Make up a calm pitch contour.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    pitch : float
        Centre of the contour, Hz.
    span : float
        Semitones that loud places lie above it and quiet ones below.
    fall : float
        Semitones lost from the first frame to the last.

    Returns
    -------
    array [shape=(frames,)]
        Hz.
    """
    loud = np.asarray(C[0], np.float64) if spec.c0 else np.zeros(C.shape[-1])
    half = max(1, round(0.07 * spec.sr / spec.hop))  # smooth over 0.15 s: syllables, not phones
    kernel = np.hanning(2 * half + 3)[1:-1]
    smooth = np.convolve(np.pad(loud, half, mode="edge"), kernel / kernel.sum(), mode="valid")
    deviation = (smooth - smooth.mean()) / (smooth.std() + 1e-6)
    line = np.linspace(0.5, -0.5, loud.size) if loud.size > 1 else np.zeros(1)
    contour: Array = pitch * 2.0 ** ((span * np.tanh(deviation / 1.5) + fall * line) / 12)
    return contour


def pulse_times(f0: Array, spec: MfccSpec, samples: int, *, rng: np.random.Generator, jitter: float = 0.005) -> Array:
    """Place one glottal pulse a period.

    Parameters
    ----------
    f0 : array [shape=(frames,)]
        Hz.
    spec : MfccSpec
    samples : int
        Length of the sound.
    rng : numpy.random.Generator
        Draws the jitter.
    jitter : float
        Standard deviation of the frequency from frame to frame; a perfectly regular voice sounds like a buzzer.

    Returns
    -------
    array [shape=(pulses,)]
        Times in samples, fractional, rising, within the sound.
    """
    wobble = np.asarray(f0, np.float64) * (1 + jitter * rng.standard_normal(len(f0)))
    frequency = np.interp(np.arange(samples), np.arange(len(f0)) * spec.hop, np.clip(wobble, 20.0, spec.sr / 4))
    phase = np.cumsum(frequency) / spec.sr  # in periods
    whole = np.arange(1, int(phase[-1]) + 1) if samples else np.zeros(0)
    return np.interp(whole, phase, np.arange(samples)) if samples else whole


def mean_power_db(level: Array) -> Array:
    """Return the mean power of each frame [shape=(frames,)] of levels [shape=(bands, frames)], all in dB."""
    power: Array = 10 * np.log10(np.mean(10.0 ** (level / 10), axis=0) + 1e-30)
    return power


def sigmoid(x: Array) -> Array:
    """Return the logistic function, without overflow."""
    value: Array = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return value
