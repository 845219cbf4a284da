"""What excites the vocal tract: where it is voiced, how high, and when the pulses come."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.voice import REFERENCE, predict_voice

Array = npt.NDArray[Any]
Excitation = Literal["predicted", "voiced", "whispered"]

EXCITATIONS: tuple[Excitation, ...] = ("predicted", "voiced", "whispered")
UNVOICED, VOICED = 0.2, 0.6  # chances of voicing below and above which a frame is wholly so


def excite(
    C: Array,
    spec: MfccSpec,
    *,
    excitation: Excitation = "predicted",
    pitch: float | None = None,
    f0: npt.ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Decide how a pattern is excited.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    excitation : {"predicted", "voiced", "whispered"}
    pitch : float, optional
        Mean pitch, Hz; by default predicted.
    f0 : array [shape=(frames,)], optional
        Hz, 0 where unvoiced; in place of all that.

    Returns
    -------
    contour : array [shape=(frames,)]
        Hz, carried on through unvoiced frames.
    voiced : array [shape=(frames,)]
        0 (noise) to 1 (voiced).
    """
    if f0 is not None:
        given = np.asarray(f0, np.float64)
        on = given > 0
        if not on.any():
            return np.full(given.shape, pitch or REFERENCE), np.zeros(given.shape)
        places = np.arange(given.size)
        contour = np.exp(np.interp(places, places[on], np.log(given[on])))
        return contour, np.convolve(np.pad(on.astype(float), 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    contour, voiced = predict_voice(C, spec, pitch=pitch)
    if excitation == "predicted":  # half-voiced frames sound hoarse: most are one or the other
        return contour, np.clip((voiced - UNVOICED) / (VOICED - UNVOICED), 0, 1)
    return contour, np.full(voiced.shape, 1.0 if excitation == "voiced" else 0.0)


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
    frequency = np.interp(np.arange(samples), spec.times(len(f0)) * spec.sr, np.clip(wobble, 20.0, spec.sr / 4))
    phase = np.cumsum(frequency) / spec.sr  # in periods
    whole = np.arange(1, int(phase[-1]) + 1) if samples else np.zeros(0)
    return np.interp(whole, phase, np.arange(samples)) if samples else whole
