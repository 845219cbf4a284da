"""The judge of naturalness must know speech from what is not speech."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import DataError
from cepscope.maximize.mixture import DIRECTIONS
from cepscope.probe.naturalness import Naturalness, fit_naturalness


@pytest.fixture(scope="module")
def silence(digit_patches: Patches) -> np.ndarray:
    return digit_patches.scaler.transform(digit_patches.spec.silence[:, None])[:, 0]


@pytest.fixture(scope="module")
def judge(digit_patches: Patches, silence: np.ndarray) -> Naturalness:
    return fit_naturalness(digit_patches.train.x, digit_patches.test.x, silence=silence, seed=0)


def test_held_out_speech_is_the_zero_and_the_unit(judge: Naturalness, digit_patches: Patches) -> None:
    z = judge.score(digit_patches.test.x)
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-6)


def test_noise_and_shuffled_speech_are_unnatural(judge: Naturalness, digit_patches: Patches) -> None:
    rng = np.random.default_rng(0)
    x = digit_patches.test.x
    assert np.median(judge.score(rng.standard_normal(x.shape))) < -3
    shuffled = x[:, :, rng.permutation(x.shape[2])]
    assert np.median(judge.score(shuffled)) < np.median(judge.score(x)) - 1


def test_a_half_way_average_of_two_clips_is_smoother_than_a_clip_far_outside(
    judge: Naturalness, digit_patches: Patches
) -> None:
    x = digit_patches.test.x
    assert np.median(judge.score(3 * x)) < np.median(judge.score(x))


def test_likelihood_is_the_mixture_plus_the_noise_of_what_is_left_out(
    judge: Naturalness, digit_patches: Patches
) -> None:
    """One patch by hand, from the densities' definitions."""
    x = digit_patches.test.x[:1, :, 20:28]
    mixture = judge.mixture
    centred = x.reshape(-1).astype(np.float64) - mixture.mean
    axes = mixture.directions
    z = axes.T @ centred
    rest = centred - axes @ z
    densities = []
    left = len(centred) - DIRECTIONS
    noise = left * np.log(2 * np.pi * mixture.residual)
    shares = []
    for weight, centre, whitener in zip(mixture.log_weights, mixture.centres, mixture.whiteners, strict=True):
        covariance = np.linalg.inv(whitener @ whitener.T)
        away = z - centre
        _, logdet = np.linalg.slogdet(2 * np.pi * covariance)
        shares.append(np.exp(weight + 0.5 * logdet + 0.5 * noise))
        densities.append(np.log(shares[-1]) - 0.5 * (logdet + away @ np.linalg.solve(covariance, away)))
    np.testing.assert_allclose(sum(shares), 1, rtol=1e-6)
    expected = np.logaddexp.reduce(densities) - 0.5 * np.sum(rest**2) / mixture.residual - 0.5 * noise
    np.testing.assert_allclose(mixture.log_likelihood(x), expected / len(centred), rtol=1e-6)


def test_the_prior_and_the_judge_compute_the_same(judge: Naturalness, digit_patches: Patches) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([digit_patches.test.x[:6, ..., 0], rng.standard_normal((2, *digit_patches.input_shape[:2]))])
    x = x.astype(np.float32)
    tensor = judge.mixture.tensor_log_likelihood(tf.constant(x))
    np.testing.assert_allclose(tensor, judge.mixture.log_likelihood(x), rtol=1e-5)  # float32


def test_silence_around_a_clip_does_not_change_its_score(judge: Naturalness, silence: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    middle = rng.standard_normal((1, len(silence), 32, 1)).astype(np.float32)
    still = np.broadcast_to(silence[None, :, None, None], (1, len(silence), 16, 1))
    padded = np.concatenate([still, middle, still], axis=2).astype(np.float32)
    # only the two patches at the joints differ
    np.testing.assert_allclose(judge.mixture.log_likelihood(padded), judge.mixture.log_likelihood(middle), rtol=0.2)
    assert np.isfinite(judge.score(np.repeat(still, 3, axis=2))).all()


def test_too_little_speech_is_refused(digit_patches: Patches, silence: np.ndarray) -> None:
    with pytest.raises(DataError, match="Add recordings"):
        fit_naturalness(digit_patches.train.x[:1], digit_patches.test.x, silence=silence)
