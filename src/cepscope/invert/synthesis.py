"""Voiced synthesis, pulse by pulse: each glottal pulse rings through the minimum-phase filter of its moment's envelope;
noise through the same envelopes fills what is not voiced.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cepscope.features import MfccSpec
from cepscope.invert.envelope import minimum_phase
from cepscope.invert.stft import istft, stft

FloatArray = npt.NDArray[np.float64]

BREATH = 0.03  # share of noise in the most voiced frame
NOISY_ABOVE, NOISY_WIDTH = 3400.0, 200.0  # Hz: voices are noisier there
NOISE_THERE = 0.3  # share of noise above
JITTER = 0.003  # relative, from frame to frame: no voice is perfectly steady
LEAST = 0.02  # voicing under which a pulse is left out


def synthesize(
    envelope: FloatArray,
    voiced: FloatArray,
    pitch: FloatArray,
    spec: MfccSpec,
    samples: int,
    *,
    rng: np.random.Generator,
) -> FloatArray:
    """Synthesize speech (samples,) from envelopes.

    Parameters
    ----------
    envelope : array [shape=(frames, bins)]
        Log amplitude in nepers, of an excitation of unit power.
    voiced : array [shape=(frames,)]
        Share of the power that is voiced.
    pitch : array [shape=(frames,)]
        In Hz.
    spec : MfccSpec
    samples : int
    rng : Generator
        Of jitter and noise.
    """
    frequencies = np.arange(envelope.shape[1]) * spec.sr / spec.n_fft
    above = 1 / (1 + np.exp(-np.clip((frequencies - NOISY_ABOVE) / NOISY_WIDTH, -30, 30)))
    harmonic = (1 - BREATH) * (1 - above * NOISE_THERE)  # (bins,) voiced share of a fully voiced frame
    out = _pulses(envelope, voiced, pitch * (1 + JITTER * rng.standard_normal(len(pitch))), harmonic, spec, samples)
    noise = stft(rng.standard_normal(samples), spec)
    share = np.sqrt(np.clip(1 - voiced[:, None] * harmonic, 0, 1))
    return out + istft(noise * np.exp(envelope) * share, spec, samples)


def pulse_times(pitch: FloatArray, spec: MfccSpec, samples: int) -> FloatArray:
    """Return the moments of glottal pulses, in samples: where the integral of the pitch passes whole numbers."""
    times = np.arange(samples)
    phase = np.cumsum(np.interp(times, np.arange(len(pitch)) * spec.hop, pitch)) / spec.sr
    return np.interp(np.arange(1, int(phase[-1]) + 1), phase, times) if samples else np.zeros(0)


def _pulses(
    envelope: FloatArray,
    voiced: FloatArray,
    pitch: FloatArray,
    harmonic: FloatArray,
    spec: MfccSpec,
    samples: int,
) -> FloatArray:
    times = pulse_times(pitch, spec, samples)
    centres = np.arange(len(pitch)) * spec.hop
    share = np.interp(times, centres, voiced)
    times, share = times[share > LEAST], share[share > LEAST]
    frame = np.clip(times / spec.hop, 0, len(pitch) - 1)
    first = np.minimum(frame.astype(int), len(pitch) - 1)
    second = np.minimum(first + 1, len(pitch) - 1)
    weight = (frame - first)[:, None]
    filters = minimum_phase(envelope[first] * (1 - weight) + envelope[second] * weight, spec.n_fft)
    power = share * spec.sr / np.interp(times, centres, pitch)  # one pulse a period carries the period's power
    start = np.floor(times).astype(int)
    bins = np.arange(envelope.shape[1])
    delay = np.exp(-2j * np.pi * bins * (times - start)[:, None] / spec.n_fft)  # fraction of a sample
    rings = np.fft.irfft(filters * np.sqrt(power[:, None] * harmonic) * delay, n=spec.n_fft, axis=1)
    out = np.zeros(samples + spec.n_fft)
    for place, ring in zip(start, rings, strict=True):
        out[place : place + spec.n_fft] += ring
    return out[:samples]
