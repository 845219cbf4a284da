"""Every step alone: envelope, minimum phase, excitation, Griffin-Lim, matching, refinement."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest

from cepscope.audio import condition, read_audio
from cepscope.errors import DataError, ParameterError
from cepscope.features import FRONT_ENDS, MfccSpec, front_end, log_mel, mfcc
from cepscope.invert import (
    best_gain_db,
    excite,
    griffin_lim,
    log_mel_to_envelope,
    match,
    mel_to_spectrum,
    mfcc_to_envelope,
    minimum_phase,
    pulse_times,
    refine,
    relative_error,
    start_sound,
    stft,
    track_pitch,
)
from cepscope.invert.envelope import mel_bands
from cepscope.invert.inversion import invert
from cepscope.invert.matching import at_level
from cepscope.invert.refinement import gain_loss
from cepscope.invert.stft import Inverse, sound_length, spare


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("lifter", [0.0, 22.0])
def test_envelope_of_white_noise_is_flat(htk: bool, lifter: float) -> None:
    spec = MfccSpec(sr=8000, n_mfcc=20, htk=htk, lifter=lifter, floor=1e-10)
    noise = 0.1 * np.random.default_rng(0).standard_normal(200 * spec.hop).astype(np.float32)
    envelope = mfcc_to_envelope(mfcc(noise, spec).mean(axis=-1, keepdims=True), spec)
    # -20 dB of power; the mean of a log of chi-squared bands lies up to 2.5 dB (one bin: Euler's gamma) lower
    assert np.all((envelope > -23) & (envelope < -19.5))


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_envelope_of_white_noise_is_flat_whatever_the_front_end(name: Any) -> None:
    """Scale, window, pre-emphasis, magnitudes and the filters' areas are taken out of it."""
    spec = front_end(name)
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * spec.sr).astype(np.float32)
    envelope = log_mel_to_envelope(log_mel(noise, spec).mean(axis=-1, keepdims=True), spec)
    # -20 dB, up to 2.5 dB lower, as above; the mean over a few hundred windows strays by 0.3 dB
    assert np.all((envelope > -23.5) & (envelope < -19.5))
    assert all(np.isfinite(array).all() for array in vars(mel_bands(spec)).values())


def test_envelope_of_a_slope() -> None:
    """A log-mel spectrum that is linear in frequency comes out linear, up to the width of a band."""
    spec = MfccSpec(sr=8000)
    bank_db = log_mel(np.eye(1, 800, 400, dtype=np.float32)[0], spec)[:, 5:6]  # of an impulse: each filter's area
    slope = -0.005 * spec.mel_frequencies()[:, None]  # -5 dB a kHz
    envelope = log_mel_to_envelope(bank_db + slope, spec)[:, 0]
    hertz = np.arange(envelope.size) * spec.sr / spec.n_fft
    inner = (hertz > 100) & (hertz < 3600)
    fit = np.polyfit(hertz[inner], envelope[inner], 1)
    assert fit[0] == pytest.approx(-0.005, rel=0.02)
    assert np.abs(envelope[inner] - np.polyval(fit, hertz[inner])).max() < 0.5  # dB


def test_minimum_phase_keeps_amplitude_and_comes_early() -> None:
    hertz = np.arange(257) / 256
    log_amplitude = np.log(1.5 + np.cos(5 * np.pi * hertz)) - 2 * hertz
    spectrum = minimum_phase(log_amplitude, 512)
    np.testing.assert_allclose(np.log(np.abs(spectrum)), log_amplitude, atol=1e-10)
    response = np.fft.irfft(spectrum)
    zero_phase = np.fft.fftshift(np.fft.irfft(np.exp(log_amplitude)))
    early = np.cumsum(response**2) - np.cumsum(zero_phase**2)
    assert early.min() > -1e-12  # no sound of this amplitude has more energy by any time
    # a known one: the response 1, -0.5 has its zero inside the unit circle, so it is its own minimum-phase version
    known = np.fft.rfft([1, -0.5], 512)
    np.testing.assert_allclose(minimum_phase(np.log(np.abs(known)), 512), known, atol=1e-10)


def test_pulses_follow_the_pitch(narrow: MfccSpec) -> None:
    times = pulse_times(np.full(101, 100.0), narrow, 8000, rng=np.random.default_rng(0), jitter=0.0)
    np.testing.assert_allclose(np.diff(times), 80.0, atol=1e-6)


def test_what_a_voice_is_excited_by(narrow: MfccSpec, fsdd: np.ndarray) -> None:
    C = fsdd[0]
    contour, voiced = excite(C, narrow, pitch=150.0)
    assert contour.shape == voiced.shape == (64,)
    assert voiced.min() >= 0
    assert voiced.max() <= 1
    assert excite(C, narrow, excitation="voiced")[1].min() == 1
    assert excite(C, narrow, excitation="whispered")[1].max() == 0
    given = np.where(np.arange(64) % 16 < 8, 100.0, 0.0)
    given[32:] *= 2
    contour, voiced = excite(C, narrow, f0=given)
    np.testing.assert_allclose(contour[[2, 34]], [100, 200])
    assert np.all((contour >= 100) & (contour <= 200.0001))  # carried on between
    np.testing.assert_allclose(voiced[[3, 12, 7]], [1, 0, 2 / 3], atol=1e-12)
    assert excite(C, narrow, f0=np.zeros(64))[1].max() == 0


def test_pitch_of_a_recording_lies_on_the_frames(narrow: MfccSpec) -> None:
    """A tone with overtones that rises from 100 to 200 Hz, between silences."""
    sr, frames = narrow.sr, 101
    hertz = np.linspace(100, 200, 6000)
    y = np.zeros(8000)
    y[1000:7000] = sum(np.sin(k * 2 * np.pi * np.cumsum(hertz) / sr) / k for k in range(1, 6))
    f0 = track_pitch(y, narrow)
    assert f0.shape == (frames,)
    at = np.arange(frames) * narrow.hop
    inside = (at > 1500) & (at < 6500)
    np.testing.assert_allclose(f0[inside], np.interp(at[inside], np.arange(1000, 7000), hertz), rtol=0.02)
    assert not f0[(at < 600) | (at > 7400)].any()


@pytest.mark.parametrize("n_mfcc", [40, 64])
def test_spectrum_of_mel_power(n_mfcc: int) -> None:
    """Updates only ever come closer, in the divergence that they minimise; nothing is negative."""
    spec = MfccSpec(sr=8000, n_fft=512, n_mels=64, n_mfcc=n_mfcc)
    rng = np.random.default_rng(0)
    y = rng.standard_normal(30 * spec.hop).astype(np.float32)
    wanted = log_mel(y, spec).astype(np.float64)
    bank = librosa.filters.mel(sr=8000, n_fft=512, n_mels=64, fmax=4000)
    M = 10 ** (wanted / 10)

    def divergence(iterations: int) -> float:
        found = bank @ mel_to_spectrum(wanted, spec, iterations=iterations).astype(np.float64) ** 2
        return float(np.sum(M * np.log(M / found) - M + found))

    found = [divergence(k) for k in (0, 1, 2, 5, 20)]
    assert all(b < a for a, b in pairwise(found))
    assert found[-1] < 0.05 * found[0]
    assert mel_to_spectrum(wanted, spec).min() >= 0


def test_griffin_lim_is_seeded_and_gets_closer(narrow: MfccSpec, fsdd: np.ndarray) -> None:
    magnitude = 10 ** (mfcc_to_envelope(fsdd[0], narrow) / 20)

    def run(seed: int, iterations: int) -> np.ndarray:
        return griffin_lim(magnitude, narrow, 63 * 80, rng=np.random.default_rng(seed), iterations=iterations)

    def inconsistency(y: np.ndarray) -> float:
        return float(np.linalg.norm(np.abs(stft(y, narrow)) - magnitude) / np.linalg.norm(magnitude))

    np.testing.assert_array_equal(run(3, 4), run(3, 4))
    assert np.any(run(3, 4) != run(4, 4))
    assert inconsistency(run(0, 30)) < 0.7 * inconsistency(run(0, 0))


@pytest.mark.parametrize("level", ["full_scale", "free"])
@pytest.mark.parametrize("top_db", [np.inf, 30.0])
@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("name", ["own", "htk", "kaldi", "torchaudio", "tf-speech-commands"])
def test_gradient_equals_finite_differences(level: str, top_db: float, phases: bool, name: str) -> None:
    own = {"sr": 8000, "n_mfcc": 13, "lifter": 22.0, "floor": 1e-3}
    spec = MfccSpec(**own, top_db=top_db) if name == "own" else front_end(name, top_db=top_db)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    y = rng.standard_normal(sound_length(10, spec))
    y *= np.linspace(0.01, 1, y.size)
    C = mfcc(y.astype(np.float32), spec) + rng.standard_normal((spec.n_mfcc, 10))
    every = spare(spec)
    X0 = stft(y, spec)[::every]
    inverse = Inverse(spec, y.size, weights=rng.uniform(0.1, 1, 10), every=every, dtype="float64")

    def draw() -> np.ndarray:
        gains = rng.standard_normal((spec.n_mels, 10))
        return gains + 1j * rng.standard_normal(gains.shape) if phases else gains

    gains = draw()
    _, gradient = gain_loss(gains, X0, C, spec, inverse, level=level)
    for _ in range(4):
        way = draw()
        step = 3e-4 if name == "kaldi" else 1e-5  # its normal matrix has a condition of 1e9, whose rounding shows
        ahead, behind = (gain_loss(gains + s * way, X0, C, spec, inverse, level=level)[0] for s in (step, -step))
        # central differences in float64: relative error about step^2 times curvature, and rounding 1e-16 / 1e-5
        assert np.sum(gradient.real * way.real + gradient.imag * way.imag) == pytest.approx(
            (ahead - behind) / (2 * step), rel=1e-5
        )


def test_match_and_refine_converge(narrow: MfccSpec, fsdd: np.ndarray) -> None:
    C = fsdd[1]
    y = start_sound(C, narrow, voice=True, rng=np.random.default_rng(0))
    matched, errors = match(y, C, narrow, iterations=20, level="free")
    assert errors.shape == (21,)
    assert errors.min() < 0.3 * errors[0]
    refined = refine(matched, C, narrow, steps=10, level="free")
    first, second = (relative_error(mfcc(z, narrow), C) for z in (matched, refined))
    assert second < 0.8 * first < 0.1
    # the pattern of the sound itself is left alone
    same, errors = match(matched, mfcc(matched, narrow), narrow, iterations=2, level="free")
    assert errors[0] < 0.5  # coefficients are near 500, float32
    np.testing.assert_allclose(same, at_level(matched, "free"), atol=1e-3 * np.abs(matched).max())


def test_relative_weights_and_longer_steps_come_closer(narrow: MfccSpec, fsdd: np.ndarray) -> None:
    """On every one of six clips, and clearly so on the median one."""
    ratios = []
    for i, C in enumerate(fsdd[:6]):
        y = start_sound(C, narrow, voice=True, rng=np.random.default_rng(i))
        _, plain = match(y, C, narrow, iterations=15, level="free", weighting=0.0, acceleration=1.0)
        _, weighted = match(y, C, narrow, iterations=15, level="free")
        ratios.append(weighted.min() / plain.min())
    assert max(ratios) < 1
    assert np.median(ratios) < 0.7


def test_matching_keeps_harmonics(narrow: MfccSpec) -> None:
    """Gains on mel bands move the envelope, not the pitch."""
    pulses = np.zeros(63 * 80)
    pulses[::64] = 1  # 125 Hz
    y = np.convolve(pulses, 0.8 ** np.arange(40))[: 63 * 80].astype(np.float32)
    target = mfcc(condition(np.convolve(pulses, (-0.7) ** np.arange(40))[: 63 * 80]), narrow)
    matched, _ = match(y, target, narrow, iterations=10)
    spectrum = np.abs(np.fft.rfft(matched * np.hanning(matched.size)))
    step = 125 * matched.size / 8000
    peaks = spectrum[np.round(step * np.arange(2, 20)).astype(int)]
    valleys = spectrum[np.round(step * (np.arange(2, 20) + 0.5)).astype(int)]
    assert np.median(peaks / valleys) > 30


def test_gain_is_found(narrow: MfccSpec, fsdd: np.ndarray) -> None:
    y = condition(start_sound(fsdd[0], narrow, voice=True, rng=np.random.default_rng(0)))
    assert best_gain_db(y, mfcc(y * np.float32(0.25), narrow), narrow) == pytest.approx(-12.04, abs=0.02)


def test_gain_under_a_limit_that_follows_the_loudest_band() -> None:
    """Bands that top_db lifts follow the gain: Newton's method is as good as a fine grid."""
    spec = MfccSpec(sr=8000, top_db=40.0)
    y = np.random.default_rng(0).standard_normal(4000).astype(np.float32) * np.geomspace(
        1e-3, 1, 4000, dtype=np.float32
    )
    C = mfcc(y, spec) + np.random.default_rng(1).standard_normal((20, 51)) * 5

    def distance(gain_db: float) -> float:
        return float(np.linalg.norm(mfcc(y * np.float32(10 ** (gain_db / 20)), spec) - C))

    best = min(distance(gain) for gain in np.arange(-20, 20, 0.25))
    assert distance(best_gain_db(y, C, spec)) < 1.001 * best


def test_relative_error() -> None:
    C = np.array([[1.0, 3.0], [0.0, 0.0]])
    assert relative_error(C, C) == 0
    assert relative_error(C + np.array([[1], [0]]), C) == pytest.approx(1.0)  # as wrong as the mean of time
    assert relative_error(np.full((2, 2), 2.0), np.full((2, 2), 1.0)) == pytest.approx(1.0)  # constant: over its norm


@pytest.mark.parametrize("log", ["db", "ln"])
@pytest.mark.parametrize("c0", [True, False])
def test_front_ends_with_natural_logarithms_or_without_c0(log: str, c0: bool, shared_dir: Path) -> None:
    spec = MfccSpec(sr=8000, n_mfcc=12, n_mels=26, lifter=22, htk=True, floor=1e-5, log=log, c0=c0)  # type: ignore[arg-type]
    y = condition(read_audio(shared_dir / "corpora" / "fsdd" / "audio" / "7_jackson_0.flac")[0])
    found = invert(mfcc(y, spec), spec)
    assert found.relative_error[0] < 0.1
    silent = invert(np.repeat(spec.silence[:, None], 20, axis=1), spec)
    assert not silent.audio.any()


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_front_end_comes_back(name: str, shared_dir: Path) -> None:
    """.001 to .016 for a second of read speech."""
    spec = front_end(name)
    folder = shared_dir / "corpora" / "librispeech_sex" / "audio"
    y, _ = read_audio(next(iter(sorted(folder.glob("*.flac")))), sr=spec.sr)
    C = mfcc(condition(y[: spec.sr]), spec)
    found = invert(C, spec, level="free")
    assert found.relative_error[0] < 0.03
    assert mfcc(found.audio[0], spec).shape == C.shape
    if name != "librosa":
        with pytest.raises(ParameterError, match="method librosa knows no other"):
            invert(C, spec, method="librosa")


def test_bad_arguments(narrow: MfccSpec) -> None:
    with pytest.raises(DataError, match=r"11 frames\. Expected 20"):
        match(np.zeros(800, np.float32), np.zeros((20, 20)), narrow)
    with pytest.raises(ParameterError, match="level must be"):
        match(np.zeros(800, np.float32), np.zeros((20, 11)), narrow, level="loud")  # type: ignore[arg-type]
