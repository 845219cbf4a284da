"""Ways to write patterns down: what they can reach, and that a gradient passes through each."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from cepscope.corpora import Patches
from cepscope.errors import ParameterError
from cepscope.features import mfcc_to_log_mel
from cepscope.maximize.engine import maximize
from cepscope.maximize.parametrizations import NAMES, parametrization
from cepscope.maximize.transforms import Transforms
from cepscope.models import build_cnn, top_down


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_passes_through_every_one(name: str, digit_patches: Patches, digit_model: keras.Model) -> None:
    how = parametrization(name, digit_patches, components=40, model=digit_model)
    rng = np.random.default_rng(0)
    z = (how.start * rng.standard_normal((2, *how.shape))).astype(np.float32)
    weights = rng.standard_normal((2, *digit_patches.input_shape[:2])).astype(np.float32)

    def score(value: np.ndarray) -> float:
        return float(tf.reduce_sum(how.decode(tf.constant(value, tf.float32)) * weights))

    with tf.GradientTape() as tape:
        point = tf.constant(z)
        tape.watch(point)
        total = tf.reduce_sum(how.decode(point) * weights)
    gradient = tape.gradient(total, point).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).reshape(2, -1).max(axis=1).min() > 0  # each pattern has one
    along = gradient / np.linalg.norm(gradient)  # where the change is largest, float32 matters least
    h = 1e-3 * how.start * np.sqrt(z.size)
    slope = (score(z + h * along) - score(z - h * along)) / (2 * h)
    np.testing.assert_allclose(slope, np.linalg.norm(gradient), rtol=2e-2)


def test_cosines_are_those_of_the_transform(digit_patches: Patches) -> None:
    how = parametrization("cosine", digit_patches)
    x = digit_patches.train.x[..., 0]
    mean = x.mean(axis=0)
    deviation = scipy.fft.dct(x - mean, axis=2, norm="ortho").std(axis=0)
    z = np.random.default_rng(0).standard_normal((2, *how.shape)).astype(np.float32)
    expected = mean + scipy.fft.idct(z * deviation, axis=2, norm="ortho")
    np.testing.assert_allclose(how.decode(tf.constant(z)), expected, atol=1e-5)


def test_a_log_mel_pattern_is_the_mfcc_of_that_spectrum(digit_patches: Patches) -> None:
    how = parametrization("log_mel", digit_patches)
    x = digit_patches.test.x[:3, ..., 0]
    spectra = mfcc_to_log_mel(digit_patches.decode(digit_patches.train.x), digit_patches.spec)
    real = mfcc_to_log_mel(digit_patches.decode(x), digit_patches.spec)
    z = (real - spectra.mean(axis=0)) / np.maximum(spectra.std(axis=0), 1e-3)
    np.testing.assert_allclose(how.decode(tf.constant(z, tf.float32)), x, atol=2e-3)  # float32 of spectra near 100 dB


def test_modulation_patterns_have_the_magnitudes_of_speech(digit_patches: Patches) -> None:
    how = parametrization("modulation", digit_patches)
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, (3, *how.shape)).astype(np.float32)
    spectra = np.fft.rfft(digit_patches.train.x[..., 0], axis=2)
    found = np.fft.rfft(how.decode(tf.constant(phase)).numpy(), axis=2)
    magnitude = np.abs(spectra).mean(axis=0)
    np.testing.assert_allclose(np.abs(found), np.broadcast_to(magnitude, found.shape), rtol=1e-3, atol=1e-3)
    ends = [0, -1]  # the first and the last of an even number are real: whatever the phase, they keep speech's sign
    signs = np.where(spectra.real.mean(axis=0)[:, ends] < 0, -1, 1)
    np.testing.assert_allclose(
        found.real[..., ends], np.broadcast_to(signs * magnitude[:, ends], (3, *signs.shape)), rtol=1e-3, atol=1e-3
    )


def test_a_waveform_is_seen_as_a_recording_is(digit_patches: Patches) -> None:
    how = parametrization("waveform", digit_patches)
    wave = digit_patches.load_wave(digit_patches.test.paths[0])
    assert how.shape == wave.shape
    # at any level, with any offset
    found = how.decode(tf.constant(np.stack([wave, 0.3 * wave + 0.1]))).numpy()
    expected = digit_patches.encode(wave, sr=digit_patches.spec.sr)[..., 0]
    np.testing.assert_allclose(found, np.stack([expected, expected]), atol=5e-3)  # float32 FFT, standard deviations


def test_the_latent_is_the_way_down(digit_patches: Patches, digit_model: keras.Model) -> None:
    how = parametrization("latent", digit_patches, model=digit_model)
    z = np.random.default_rng(0).standard_normal((2, *how.shape)).astype(np.float32)
    expected = top_down(digit_model, "crbm1", 1 / (1 + np.exp(2 - z)))
    np.testing.assert_allclose(how.decode(tf.constant(z)), expected[..., 0], atol=1e-4)


def test_what_does_not_fit_is_refused(digit_patches: Patches) -> None:
    with pytest.raises(ParameterError, match="pixel, speech"):
        parametrization("fourier", digit_patches)
    with pytest.raises(ParameterError, match="needs the model"):
        parametrization("latent", digit_patches)
    plain = build_cnn(digit_patches.input_shape, digit_patches.classes)
    with pytest.raises(ParameterError, match="RBM"):
        parametrization("latent", digit_patches, model=plain)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "speech"])
def test_every_one_climbs(name: str, digit_patches: Patches, digit_model: keras.Model) -> None:
    found = maximize(
        digit_model, digit_patches, layers=["logits"], space=name, steps=12, priors={}, transforms=Transforms()
    )
    assert found.settings["space"] == name
    assert np.isfinite(found.x).all()
    assert np.mean(found.history[-1] > found.history[0]) > 0.8
