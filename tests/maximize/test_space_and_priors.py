"""The space of speech and the priors, on real patches and against slow versions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import DataError
from cepscope.features import PCAWhitener
from cepscope.maximize.priors import Quefrency, scaled_to_speech, time_curvature
from cepscope.maximize.space import fit_patch_space


def test_real_speech_has_unit_variance_along_every_direction(digit_patches: Patches) -> None:
    x = digit_patches.train.x
    space = fit_patch_space(x, components=30, shrinkage=0.0)
    z = space.encode(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-3)  # float32 means over a few hundred patches
    np.testing.assert_allclose(np.cov(z.T), np.eye(30), atol=5e-3)


def test_decoding_inverts_encoding_inside_the_space(digit_patches: Patches) -> None:
    space = fit_patch_space(digit_patches.train.x, components=40)
    z = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    np.testing.assert_allclose(space.encode(space.decode(z)[..., None]), z, atol=1e-3)


def test_components_are_bounded_by_the_patches(digit_patches: Patches) -> None:
    assert fit_patch_space(digit_patches.train.x[:20], components=200).components == 19


@pytest.mark.parametrize("case", ["few", "equal"])
def test_hopeless_patches_are_refused(case: str, digit_patches: Patches) -> None:
    x = digit_patches.train.x[:3] if case == "few" else np.ones((20, 4, 5, 1), np.float32)
    with pytest.raises(DataError, match="Add recordings"):
        fit_patch_space(x)


def test_time_curvature_is_the_mean_squared_second_difference() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 7)).astype(np.float32)
    np.testing.assert_allclose(
        time_curvature(tf.constant(x)), (np.diff(x, 2, axis=2) ** 2).mean(axis=(1, 2)), rtol=1e-5
    )
    assert not np.any(time_curvature(tf.zeros((2, 3, 2))))


def test_quefrency_is_the_energy_of_the_slope_of_the_log_mel_spectrum() -> None:
    """A cosine of order k along a fine frequency axis has slope energy proportional to k^2 |c_k|^2."""
    rng = np.random.default_rng(0)
    mean, scale = rng.standard_normal(6).astype(np.float32), rng.uniform(1, 3, 6).astype(np.float32)
    x = rng.standard_normal((4, 6, 5)).astype(np.float32)
    cepstrum = x * scale[:, None] + mean[:, None]
    fine = 4000  # points along frequency: the difference quotient is then exact to about (pi 6 / 4000)^2
    padded = np.zeros((4, fine, 5))
    padded[:, :6] = cepstrum
    spectrum = scipy.fft.idct(padded, axis=1, norm="ortho")
    slope = np.diff(spectrum, axis=1) * fine / np.pi
    expected = (slope**2).sum(axis=1).mean(axis=1) / 6
    np.testing.assert_allclose(Quefrency(mean, np.diag(scale), np.arange(6))(tf.constant(x)), expected, rtol=1e-3)
    # without c0, which has no slope, the mean is over 5 coefficients
    without = Quefrency(mean[1:], np.diag(scale[1:]), np.arange(1, 6))(tf.constant(x[:, 1:]))
    np.testing.assert_allclose(without, expected * 6 / 5, rtol=1e-3)


def test_quefrency_is_the_same_of_whitened_patches(digit_patches: Patches) -> None:
    scaler, x = digit_patches.scaler, digit_patches.test.x[:5, ..., 0]
    whitener = PCAWhitener.fit(digit_patches.decode(digit_patches.train.x), damping=2.0)
    white = whitener.transform(digit_patches.decode(x))
    scores = [
        Quefrency(np.float32(each.mean), np.float32(each.decoder), digit_patches.spec.orders)(tf.constant(patterns))
        for each, patterns in ((scaler, x), (whitener, white))
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-3)  # float32


def test_real_speech_scores_one(digit_patches: Patches) -> None:
    speech = digit_patches.train.x[..., 0]
    prior = scaled_to_speech(time_curvature, speech)
    np.testing.assert_allclose(np.mean(prior(tf.constant(speech))), 1, rtol=1e-4)
