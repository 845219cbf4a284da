"""Voiced sound from an envelope: one minimum-phase response a glottal pulse, plus shaped noise.

Source and filter [1]_: each pulse rings with the impulse response that the spectral envelope has there, minimum-phase
by way of the real cepstrum [2]_; what is not voiced is white noise shaped by the same envelope.

References
----------
.. [1] B. Milner and X. Shao, "Speech reconstruction from mel-frequency cepstral coefficients using a source-filter
   model", ICSLP 2002.
.. [2] A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing", chapter on the complex cepstrum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from cepscope.features import MfccSpec
from cepscope.invert.excitation import pulse_times
from cepscope.invert.matching import PER_DB
from cepscope.invert.stft import istft, spare, stft

Array = npt.NDArray[Any]

LEAST_STRENGTH = 0.02  # of a pulse that is heard beside the noise


def minimum_phase(log_amplitude: Array, n_fft: int) -> Array:
    """Return the spectrum with this log amplitude whose energy comes as early as possible.

    Parameters
    ----------
    log_amplitude : array [shape=(..., n_fft // 2 + 1)]
        Natural logarithm.
    n_fft : int

    Returns
    -------
    complex array [shape=(..., n_fft // 2 + 1)]
    """
    spectrum: Array = np.exp(_log_minimum_phase(log_amplitude, n_fft))
    return spectrum


def _log_minimum_phase(log_amplitude: Array, n_fft: int) -> Array:
    cepstrum = scipy.fft.irfft(log_amplitude, n=n_fft, axis=-1)
    cepstrum[..., 1 : (n_fft + 1) // 2] *= 2  # fold the anticausal half onto the causal one
    cepstrum[..., n_fft // 2 + 1 :] = 0
    logarithm: Array = scipy.fft.rfft(cepstrum, axis=-1)
    return logarithm


def synthesize_voiced(
    envelope: Array,
    f0: Array,
    voiced: Array,
    spec: MfccSpec,
    samples: int,
    *,
    rng: np.random.Generator,
    breath: float = 0.03,
    voiced_hz: float = 3400.0,
    breath_above: float = 0.7,
    jitter: float = 0.005,
) -> Array:
    """Speak an envelope.

    Parameters
    ----------
    envelope : array [shape=(n_fft // 2 + 1, frames)]
        dB relative to unit noise, as `mfcc_to_envelope` gives it.
    f0 : array [shape=(frames,)]
        Pitch, Hz.
    voiced : array [shape=(frames,)]
        0 (noise) to 1 (voiced).
    spec : MfccSpec
    samples : int
        Length of the result.
    rng : numpy.random.Generator
        Draws jitter and noise.
    breath : float
        Share of noise power in fully voiced frames.
    voiced_hz, breath_above : float
        Above this frequency voiced frames have a noise share of `breath_above`.
    jitter : float
        See `pulse_times`.

    Returns
    -------
    array [shape=(samples,)]
        float32; its level is what the envelope says, not normalised.
    """
    every, frames = spare(spec), envelope.shape[-1]
    n_fft = spec.n_fft // every
    envelope = envelope[::every]
    # only framing is used; of so short a transform not every filterbank could be made
    spec = replace(spec, n_fft=n_fft, filterbank="hz", fmin=0.0, fmax=spec.sr / 2, n_mels=1, n_mfcc=1, c0=True)
    log_amplitude = envelope.T.astype(np.float32) * PER_DB  # (frames, bins)
    bins = np.arange(log_amplitude.shape[-1], dtype=np.float32)
    above = 1 / (1 + np.exp(-(bins * spec.sr / n_fft - voiced_hz) / 200.0))
    harmonic = (1 - breath) * (1 - above) + (1 - max(breath, breath_above)) * above  # (bins,) share of power
    noise_share = 1 - np.clip(voiced, 0, 1)[:, None] * harmonic  # (frames, bins)
    shape = np.exp(log_amplitude) * np.sqrt(noise_share).astype(np.float32)
    noise = stft(rng.standard_normal(samples).astype(np.float32), spec) * shape.T
    y = np.zeros(samples + n_fft, np.float32)
    y[:samples] = istft(noise, spec, samples)

    times = pulse_times(f0, spec, samples, rng=rng, jitter=jitter)
    frame = np.clip((times - spec.times(1)[0] * spec.sr) / spec.hop, 0, frames - 1)
    strength = np.interp(frame, np.arange(frames), voiced)
    times, frame, strength = (a[strength > LEAST_STRENGTH] for a in (times, frame, strength))
    if not times.size:
        return y[:samples]
    first = np.minimum(frame.astype(int), max(frames - 2, 0))
    blend = (frame - first)[:, None].astype(np.float32)
    log_pulse = log_amplitude[first] * (1 - blend) + log_amplitude[np.minimum(first + 1, frames - 1)] * blend
    period = spec.sr / np.interp(frame, np.arange(frames), f0)  # a pulse holds the energy of its period
    whole = np.floor(times).astype(int)
    exponent = _log_minimum_phase(log_pulse + 0.5 * np.log(harmonic).astype(np.float32), n_fft)
    exponent += 0.5 * np.log(strength * period).astype(np.float32)[:, None]
    exponent -= (2j * np.pi / n_fft * (times - whole)).astype(np.complex64)[:, None] * bins  # the fraction of a sample
    for at, pulse in zip(whole, scipy.fft.irfft(np.exp(exponent), n=n_fft, axis=-1), strict=True):
        y[at : at + n_fft] += pulse
    return y[:samples]
