"""Patterns held to what a recording can be, against a slow NumPy version and the front end itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.features import CoefficientScaler, MfccSpec, PCAWhitener
from cepscope.maximize.reach import Reach, fit_reach, power_of_frames


@pytest.fixture(scope="module")
def reach(digit_patches: Patches) -> Reach:
    return fit_reach(digit_patches.decode(digit_patches.train.x), digit_patches.spec, digit_patches.scaler)


def _patterns(patches: Patches, count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *patches.input_shape[:2])).astype(np.float32)


def test_it_is_level_then_floor_in_the_log_mel_domain(reach: Reach, digit_patches: Patches) -> None:
    spec = digit_patches.spec
    x = _patterns(digit_patches)
    padded = np.zeros((len(x), spec.n_mels, x.shape[2]))
    padded[:, : spec.n_mfcc] = digit_patches.decode(x)
    log_mel = scipy.fft.idct(padded, axis=1, norm="ortho")
    loudest = 10 * np.log10(np.mean(10 ** (log_mel / 10), axis=1)).max(axis=1)
    log_mel = np.maximum(log_mel + (reach.level - loudest)[:, None, None], 10 * np.log10(spec.floor))
    expected = scipy.fft.dct(log_mel, axis=1, norm="ortho")[:, : spec.n_mfcc]
    # float32 sums of 40 bands of up to 100 dB, in standard deviations of a few dB
    np.testing.assert_allclose(reach(tf.constant(x)), digit_patches.scaler.transform(expected), atol=1e-3)


def test_real_clips_change_little(reach: Reach, digit_patches: Patches) -> None:
    """Only in level, and where 20 of 40 coefficients ring below the floor."""
    x = digit_patches.test.x[..., 0]
    changed = np.abs(reach(tf.constant(x)).numpy() - x)
    assert np.median(changed) < 0.1
    assert changed.mean() < 0.3


def test_with_all_coefficients_nothing_is_below_the_floor_or_off_level() -> None:
    spec = MfccSpec(sr=8000, n_mels=20, n_mfcc=20, floor=1e-4)
    unscaled = CoefficientScaler(np.zeros(20, np.float32), np.ones(20, np.float32))
    rng = np.random.default_rng(0)
    reach = fit_reach(rng.normal(0, 20, (6, 20, 9)).astype(np.float32), spec, unscaled, headroom=2.0)
    held = reach(tf.constant(rng.normal(0, 60, (4, 20, 9)).astype(np.float32))).numpy()
    log_mel = scipy.fft.idct(held, axis=1, norm="ortho")
    assert log_mel.min() >= -40 - 1e-3
    loudest = 10 * np.log10(np.mean(10 ** (log_mel / 10), axis=1)).max(axis=1)
    np.testing.assert_allclose(loudest, reach.level, atol=0.1)  # floor power adds under .1 dB to the loudest frame
    np.testing.assert_allclose(reach(tf.constant(held)), held, atol=0.2)  # a reachable pattern stays


def test_it_is_the_same_for_whitened_patterns(reach: Reach, digit_patches: Patches) -> None:
    """The same MFCC in other coordinates, and less of them when components are left out."""
    mfcc = digit_patches.decode(digit_patches.train.x)
    patterns = digit_patches.decode(_patterns(digit_patches))
    expected = digit_patches.decode(reach(tf.constant(digit_patches.scaler.transform(patterns))).numpy())
    for damping in (0.0, 30.0):
        whitener = PCAWhitener.fit(mfcc, damping=damping)
        held = fit_reach(mfcc, digit_patches.spec, whitener)(tf.constant(whitener.transform(patterns))).numpy()
        np.testing.assert_allclose(whitener.inverse_transform(held), expected, atol=0.02)  # float32, cepstra up to 600
    few = PCAWhitener.fit(mfcc, components=12)
    x = few.transform(patterns)
    held = fit_reach(mfcc, digit_patches.spec, few)(tf.constant(x)).numpy()
    assert held.shape == x.shape
    assert np.isfinite(held).all()


def test_of_the_natural_logarithm_it_is_the_same(reach: Reach, digit_patches: Patches) -> None:
    spec, scaler = replace(digit_patches.spec, log="ln"), digit_patches.scaler
    unit = np.float32(math.log(10) / 10)
    other = fit_reach(
        unit * digit_patches.decode(digit_patches.train.x),
        spec,
        CoefficientScaler(unit * scaler.mean, unit * scaler.scale),
    )
    assert other.level == pytest.approx(reach.level, abs=1e-3)
    x = tf.constant(_patterns(digit_patches))
    np.testing.assert_allclose(other(x), reach(x), atol=1e-3)  # float32 sums, as above


def _without_c0(patches: Patches) -> tuple[Reach, MfccSpec, CoefficientScaler]:
    spec = replace(patches.spec, c0=False, n_mfcc=patches.spec.n_mfcc - 1)
    scaler = CoefficientScaler(patches.scaler.mean[1:], patches.scaler.scale[1:])
    return fit_reach(patches.decode(patches.train.x)[:, 1:], spec, scaler), spec, scaler


def test_without_c0_every_frame_is_brought_to_the_level_that_real_speech_has(
    reach: Reach, digit_patches: Patches
) -> None:
    held_to, spec, scaler = _without_c0(digit_patches)
    assert held_to.level == pytest.approx(reach.level, abs=2)
    x = 3 * _patterns(digit_patches)[:, 1:]
    padded = np.zeros((len(x), spec.n_mels, x.shape[2]))
    padded[:, 1 : 1 + spec.n_mfcc] = scaler.inverse_transform(x)
    log_mel = scipy.fft.idct(padded, axis=1, norm="ortho")
    log_mel += held_to.level - 10 * np.log10(np.mean(10 ** (log_mel / 10), axis=1, keepdims=True))
    np.testing.assert_allclose(power_of_frames(tf.constant(log_mel)), held_to.level, atol=1e-3)
    log_mel = np.maximum(log_mel, 10 * np.log10(spec.floor))
    expected = scipy.fft.dct(log_mel, axis=1, norm="ortho")[:, 1 : 1 + spec.n_mfcc]
    held = held_to(tf.constant(x)).numpy()
    assert np.abs(held - x).mean() > 0.1
    np.testing.assert_allclose(held, scaler.transform(expected), atol=2e-3)  # float32, up to 300 dB
    order = np.random.default_rng(0).permutation(x.shape[2])
    np.testing.assert_allclose(held_to(tf.constant(x[:, :, order])), held[:, :, order], atol=1e-4)


def test_without_c0_real_clips_hardly_change(digit_patches: Patches) -> None:
    x = digit_patches.test.x[:, 1:, :, 0]
    changed = np.abs(_without_c0(digit_patches)[0](tf.constant(x)).numpy() - x)
    assert np.median(changed) < 1e-3
    assert changed.mean() < 0.03


def test_level_no_longer_matters(reach: Reach, digit_patches: Patches) -> None:
    x = _patterns(digit_patches)
    louder = x.copy()
    louder[:, 0] += 1.5  # c0 alone: the whole spectrum moves
    np.testing.assert_allclose(reach(tf.constant(louder)), reach(tf.constant(x)), atol=1e-3)


def test_a_finite_range_is_the_front_ends_own(reach: Reach, digit_patches: Patches) -> None:
    x = tf.constant(_patterns(digit_patches))
    narrow = replace(reach, top_db=20.0)
    log_mel = np.einsum("mk,nkt->nmt", narrow.to_log_mel, narrow(x).numpy()) + narrow.rest
    wide = np.einsum("mk,nkt->nmt", reach.to_log_mel, reach(x).numpy()) + reach.rest
    assert np.ptp(log_mel) < np.ptp(wide)


@pytest.mark.parametrize("c0", [True, False])
def test_the_gradient_is_that_of_finite_differences(reach: Reach, digit_patches: Patches, c0: bool) -> None:
    x = _patterns(digit_patches, 1)
    if not c0:
        reach, x = _without_c0(digit_patches)[0], 3 * x[:, 1:]
    weights = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(reach(variable) * weights)
    gradient = tape.gradient(value, variable).numpy()
    direction = gradient / np.linalg.norm(gradient)
    step = 1e-2
    ends = [float(tf.reduce_sum(reach(tf.constant(x + s * step * direction)) * weights)) for s in (1, -1)]
    # float32 values of some hundreds over a step of .02, and bands that cross the floor within it
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), np.linalg.norm(gradient), rtol=0.03)
