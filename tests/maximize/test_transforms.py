"""Transforms of patterns: each by itself, against NumPy or by what it leaves alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.features import mfcc_to_log_mel
from cepscope.maximize.engine import maximize
from cepscope.maximize.transforms import DRAWS, Transforms, build_transform


def changed(settings: Transforms, patches: Patches, x: Any, draws: Any) -> np.ndarray:
    full = np.zeros((len(x), DRAWS + settings.normals), np.float32)
    full[:, : np.shape(draws)[1]] = draws
    return np.asarray(build_transform(settings, patches)(tf.constant(x), tf.constant(full)))


@pytest.fixture(scope="module")
def x(digit_patches: Patches) -> np.ndarray:
    return digit_patches.test.x[:3, ..., 0]


def test_draws_of_zero_change_nothing(digit_patches: Patches, x: np.ndarray) -> None:
    settings = Transforms(shift=4, stretch=0.2, gain=6, warp=0.1, mask=8, noise=0.3)
    np.testing.assert_allclose(changed(settings, digit_patches, x, np.zeros((3, DRAWS))), x, atol=2e-4)  # float32


def test_shifts_are_whole_or_between_frames(digit_patches: Patches, x: np.ndarray) -> None:
    found = changed(Transforms(shift=3), digit_patches, x, [[1.0], [-1.0], [0.5 / 3]])
    np.testing.assert_allclose(found[0, :, :-3], x[0, :, 3:], atol=1e-6)
    np.testing.assert_allclose(found[0, :, -3:], x[0, :, -1:].repeat(3, axis=1), atol=1e-6)  # the edge is repeated
    np.testing.assert_allclose(found[1, :, 3:], x[1, :, :-3], atol=1e-6)
    np.testing.assert_allclose(found[2, :, :-1], (x[2, :, :-1] + x[2, :, 1:]) / 2, atol=1e-5)


def test_stretching_reads_at_other_times(digit_patches: Patches, x: np.ndarray) -> None:
    found = changed(Transforms(stretch=0.5), digit_patches, x[:1], [[0.0, 1.0]])[0]
    frames = x.shape[2]
    centre = (frames - 1) / 2
    places = np.clip((np.arange(frames) - centre) * 1.5 + centre, 0, frames - 1)
    expected = np.stack([np.interp(places, np.arange(frames), row) for row in x[0]])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gain_is_the_same_in_every_band(digit_patches: Patches, x: np.ndarray) -> None:
    found = changed(Transforms(gain=6), digit_patches, x, [[0, 0, 1.0], [0, 0, -0.5], [0, 0, 0]])
    bands = [mfcc_to_log_mel(digit_patches.decode(each), digit_patches.spec) for each in (x, found)]
    expected = np.broadcast_to(np.array([6.0, -3.0, 0.0])[:, None, None], bands[0].shape)
    np.testing.assert_allclose(bands[1] - bands[0], expected, atol=2e-2)  # dB


def test_warping_moves_a_peak_along_the_mel_axis(digit_patches: Patches) -> None:
    spec, scaler = digit_patches.spec, digit_patches.scaler
    bands = np.arange(spec.n_mels)
    bump = -60 + 40 * np.exp(-(((bands - spec.n_mels / 2) / 6) ** 2))  # wide enough for the coefficients kept
    basis = mfcc_to_log_mel(np.eye(spec.n_mfcc, dtype=np.float32), spec)
    cepstrum = np.linalg.pinv(basis) @ bump
    x = scaler.transform(np.repeat(cepstrum[:, None], digit_patches.frames, axis=1).astype(np.float32))[None]
    found = changed(Transforms(warp=0.2), digit_patches, x, [[0, 0, 0, 1.0]])
    spectrum = mfcc_to_log_mel(digit_patches.decode(found), spec)[0, :, 0]
    assert abs(spectrum.argmax() - spec.n_mels / 2 / 1.2) <= 1


def test_masks_hide_one_stretch_of_time(digit_patches: Patches, x: np.ndarray) -> None:
    found = changed(Transforms(mask=10), digit_patches, x, [[0, 0, 0, 0, -1, 1], [0, 0, 0, 0, 1, -0.5], [0] * 6])
    assert not found[0, :, :10].any()
    np.testing.assert_array_equal(found[0, :, 10:], x[0, :, 10:])
    assert not found[1, :, -5:].any()
    np.testing.assert_array_equal(found[1, :, :-5], x[1, :, :-5])
    np.testing.assert_array_equal(found[2], x[2])


def test_noise_has_the_covariance_of_speech(digit_patches: Patches, x: np.ndarray) -> None:
    settings = Transforms(noise=0.5)
    rng = np.random.default_rng(0)
    draws = np.zeros((400, DRAWS + settings.normals), np.float32)
    draws[:, DRAWS:] = rng.standard_normal((400, settings.normals))
    noise = changed(settings, digit_patches, np.repeat(x[:1], 400, axis=0), draws) - x[0]
    real = digit_patches.train.x[..., 0].std(axis=0)
    share = noise.std(axis=0) / (0.5 * real)
    assert 0.6 < np.median(share) < 1.05  # the first 100 directions hold most of the variance, never more than all


@pytest.mark.slow
def test_they_make_no_neighbours(digit_model: keras.Model, digit_patches: Patches) -> None:
    settings = Transforms(shift=2, stretch=0.05, gain=3, warp=0.05, mask=4, noise=0.1)
    both = {"steps": 10, "components": 40, "transforms": settings, "seed": 2}
    whole = maximize(digit_model, digit_patches, objectives=["crbm2:1", "logits:3", "logits:4"], **both)
    alone = maximize(digit_model, digit_patches, objectives=["logits:3"], **both)
    np.testing.assert_allclose(whole.x[whole.units.index("logits:3")], alone.x[0], atol=1e-4)  # as without transforms


@pytest.mark.parametrize("wrong", [{"shift": -1.0}, {"gain": float("nan")}, {"warp": 1.0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Transforms(**wrong)
