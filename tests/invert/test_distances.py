"""Distances of patterns and spectra: closed forms, and everything that has none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc
from cepscope.invert.distances import coefficient_rmse, mel_cepstral_distortion, spectral_convergence
from cepscope.invert.stft import stft

Array = npt.NDArray[Any]
SPEC = MfccSpec(sr=8000, n_mfcc=20)
SOME = settings(max_examples=60, deadline=None)


def noise(samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(samples)


def test_coefficient_rmse_is_in_units_of_each_coefficients_movement() -> None:
    wanted = np.stack([np.sin(np.arange(100.0)), 100 + 3 * np.sin(np.arange(100.0)), np.full(100, -600.0)])
    off = coefficient_rmse(wanted + 0.5, wanted)
    deviation = np.sin(np.arange(100.0)).std()
    np.testing.assert_allclose(off, [0.5 / deviation, 0.5 / (3 * deviation), 0.5])  # the last, still, in dB
    np.testing.assert_allclose(coefficient_rmse(wanted * 0 + wanted.mean(axis=1, keepdims=True), wanted)[:2], 1)
    np.testing.assert_array_equal(coefficient_rmse(wanted, wanted), 0)


def test_deviations_of_a_corpus_take_the_place_of_the_patterns_own() -> None:
    rng = np.random.default_rng(0)
    got, wanted = rng.normal(0, 10, (2, 4, 50))
    sd = np.array([1.0, 2.0, 5.0, 0.1])
    expected = [
        math.sqrt(sum((g - w) ** 2 for g, w in zip(*pair, strict=True)) / 50) for pair in zip(got, wanted, strict=True)
    ]
    np.testing.assert_allclose(coefficient_rmse(got, wanted, sd=sd), expected / sd, rtol=1e-12)
    for bad in (np.ones(3), np.zeros(4), np.full(4, math.inf), -sd, 1.0):
        with pytest.raises(ParameterError, match="sd must be 4 positive numbers"):
            coefficient_rmse(got, wanted, sd=bad)


PATTERNS = hnp.arrays(np.float32, st.just((5, 7)), elements=st.floats(-1000, 1000, width=32))


@SOME
@given(PATTERNS, PATTERNS)
def test_scores_of_any_patterns_are_finite(got: Array, wanted: Array) -> None:
    assert np.isfinite(coefficient_rmse(got, wanted)).all()
    assert np.isfinite(mel_cepstral_distortion(got, wanted, MfccSpec(sr=8000, n_mfcc=5)))


@pytest.mark.parametrize("lifter", [0.0, 22.0, 40.0])
@pytest.mark.parametrize("n_mels", [24, 40])
def test_distortion_is_the_log_mel_difference_in_db(n_mels: int, lifter: float) -> None:
    spec = MfccSpec(sr=16000, n_mels=n_mels, n_mfcc=20, lifter=lifter)
    rng = np.random.default_rng(0)
    change = rng.standard_normal((20, 30)) / np.arange(1, 21)[:, None]
    decibels = scipy.fft.idct(change, n=n_mels, axis=0, type=2, norm="ortho")  # over the bands, what these carry
    decibels -= decibels.mean(axis=0)
    rms = np.sqrt(np.mean(decibels**2, axis=0))  # a frame
    C = rng.normal(0, 50, (20, 30))
    got = mel_cepstral_distortion(C + change * spec.lifter_gains()[:, None], C, spec)
    assert got == pytest.approx(rms.mean(), rel=1e-9)


def test_distortion_is_kubicheks_of_the_cepstrum_of_the_power_spectrum() -> None:
    """``c_k`` straight from ``ln P = c_0 + 2 sum c_k cos kw``, and his formula as it is printed."""
    spec = MfccSpec(sr=16000, n_mels=40, n_mfcc=13)
    rng = np.random.default_rng(1)
    w = np.pi * (np.arange(40) + 0.5) / 40
    cosines = np.cos(np.arange(13)[:, None] * w)
    c = rng.normal(0, 0.3, (2, 13, 9))  # two sounds
    ln_power = 2 * np.einsum("skt,km->smt", c, cosines) - c[:, :1]
    C = scipy.fft.dct(10 / math.log(10) * ln_power, axis=1, type=2, norm="ortho")[:, :13]
    printed = 10 / math.log(10) * np.sqrt(2 * np.sum((c[0] - c[1])[1:] ** 2, axis=0))
    assert mel_cepstral_distortion(C[0], C[1], spec) == pytest.approx(printed.mean(), rel=1e-9)


def test_level_is_no_distortion() -> None:
    spec = replace(SPEC, lifter=22.0)
    C = mfcc(noise(4000), spec)
    louder = C + np.eye(20, 1, dtype=np.float32) * 100
    assert mel_cepstral_distortion(louder, C, spec) == 0
    assert math.isnan(mel_cepstral_distortion(C[:1], C[:1], replace(SPEC, n_mfcc=1)))


def test_a_coefficient_that_the_lifter_takes_out_is_left_out() -> None:
    spec = MfccSpec(sr=8000, n_mfcc=30, lifter=18.0)
    gains = spec.lifter_gains()
    assert np.isfinite(mel_cepstral_distortion(np.ones((30, 4)), np.zeros((30, 4)), spec))
    lost = np.abs(gains) < 1e-3
    only = np.where(lost[:, None], 5.0, 0.0) * np.ones((30, 4))
    assert mel_cepstral_distortion(only, np.zeros((30, 4)), spec) == 0


def test_patterns_must_agree_in_shape() -> None:
    for a, b in (((3, 4), (3, 5)), ((3,), (3,)), ((3, 0), (3, 0))):
        with pytest.raises(DataError, match="one shape"):
            coefficient_rmse(np.zeros(a), np.zeros(b))
    with pytest.raises(DataError, match="20 coefficients"):
        mel_cepstral_distortion(np.zeros((3, 4)), np.zeros((3, 4)), SPEC)


@pytest.mark.parametrize("gain", [1.0, -0.01, 1e3])
def test_a_scaled_copy_has_the_same_spectrum(gain: float) -> None:
    y = noise(3000)
    assert spectral_convergence(gain * y, y, SPEC) == pytest.approx(0, abs=1e-12)


def test_spectral_convergence_is_the_smallest_over_gains() -> None:
    y, reference = noise(3000, 1), np.sin(0.1 * np.arange(3000))
    Y, R = np.abs(stft(y, SPEC)), np.abs(stft(reference, SPEC))
    gains = np.linspace(0, 2, 2001)
    errors = [np.linalg.norm(R - g * Y) / np.linalg.norm(R) for g in gains]
    assert spectral_convergence(y, reference, SPEC) == pytest.approx(min(errors), abs=1e-5)
    assert spectral_convergence(np.append(y, noise(500)), reference, SPEC) == spectral_convergence(y, reference, SPEC)


def test_spectral_convergence_of_silence() -> None:
    assert spectral_convergence(np.zeros(500), noise(500), SPEC) == 1
    assert math.isnan(spectral_convergence(noise(500), np.zeros(500), SPEC))
