"""Frames: windows, padding, pre-emphasis. Patches of one length: centred, padded with silence, never wrapped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, fit_length, log_mel, mfcc
from cepscope.features.differentiable import differentiable_mfcc
from cepscope.features.framing import analysis_window, cut_frames

SPEC = MfccSpec(sr=8000, n_mfcc=4)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30), st.integers(1, 30), st.lists(st.integers(0, 3), max_size=2))
def test_every_frame_is_the_sound_in_order_or_silence(given_frames: int, frames: int, lead: list[int]) -> None:
    C = np.random.default_rng(0).standard_normal((*lead, 4, given_frames)).astype(np.float32)
    fitted = fit_length(C, frames, SPEC)
    assert fitted.shape == (*lead, 4, frames)
    assert fitted.dtype == np.float32
    if given_frames >= frames:
        left = (given_frames - frames) // 2
        np.testing.assert_array_equal(fitted, C[..., left : left + frames])
    else:
        left = (frames - given_frames) // 2
        np.testing.assert_array_equal(fitted[..., left : left + given_frames], C)
        silence = np.broadcast_to(SPEC.silence[:, np.newaxis], (*lead, 4, frames))
        np.testing.assert_array_equal(fitted[..., :left], silence[..., :left])
        np.testing.assert_array_equal(fitted[..., left + given_frames :], silence[..., left + given_frames :])


def test_padding_equals_silence_around_the_sound() -> None:
    """Zeros around a sound that is silent at both ends give the same patch."""
    y = np.zeros(40 * SPEC.hop)
    y[10 * SPEC.hop : 30 * SPEC.hop] = np.random.default_rng(0).standard_normal(20 * SPEC.hop)
    short = mfcc(y, SPEC)
    long = mfcc(np.pad(y, 7 * SPEC.hop), SPEC)
    # 2**-21: 4 float32 roundings of c0, which the DCT's sum leaves in every coefficient
    np.testing.assert_allclose(fit_length(short, 55, SPEC), long, atol=2.0**-21 * np.abs(long).max(), rtol=0)


def test_result_is_a_copy() -> None:
    C = np.zeros((4, 9), np.float32)
    fit_length(C, 9, SPEC)[:] = 1
    fit_length(C, 5, SPEC)[:] = 1
    np.testing.assert_array_equal(C, 0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"frames must be at least 1\. Received: 0"):
        fit_length(np.zeros((4, 9)), 0, SPEC)
    for shape in ((4,), (5, 9), (9, 4)):
        with pytest.raises(ParameterError, match=r"\(\.\.\., 4, frames\)"):
            fit_length(np.zeros(shape), 5, SPEC)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("win", [2, 3, 200, 201])
@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "povey", "rectangular"])
def test_windows_are_scipys(name: Any, win: int, periodic: bool) -> None:
    spec = MfccSpec(sr=8000, win=win, n_fft=256, n_mels=20, window=name, periodic=periodic, scale=8.0)
    theirs = {"povey": "hann", "rectangular": "boxcar"}.get(name, name)
    expected = 8 * np.maximum(scipy.signal.get_window(theirs, win, fftbins=periodic), 0)
    expected = 8 * (expected / 8) ** 0.85 if name == "povey" else expected
    actual = analysis_window(spec)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11)  # cos(2 pi) is 1 up to rounding, to the power .85
    assert not actual.flags.writeable


@pytest.mark.parametrize("win", [200, 201, 256])
@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_centred_frames_lie_around_multiples_of_the_hop(padding: Any, mode: Any, win: int) -> None:
    spec = MfccSpec(sr=8000, win=win, padding=padding)
    y = np.random.default_rng(0).standard_normal((2, 1000))
    frames = cut_frames(y, spec)
    padded = np.pad(y, ((0, 0), (128, 128)), mode=mode)
    assert frames.shape == (2, spec.frames_of(1000), 256)
    for t in range(frames.shape[1]):
        np.testing.assert_array_equal(frames[:, t], padded[:, t * 80 : t * 80 + 256])


@pytest.mark.parametrize("win", [200, 201, 256])
def test_frames_without_padding_are_the_sound_alone(win: int) -> None:
    spec = MfccSpec(sr=8000, win=win, padding="none")
    y = np.random.default_rng(0).standard_normal((2, 1000))
    frames = cut_frames(y, spec)
    assert frames.shape == (2, 1 + (1000 - win) // 80, 256)
    left = (256 - win) // 2
    for t in range(frames.shape[1]):
        np.testing.assert_array_equal(frames[:, t, left : left + win], y[:, t * 80 : t * 80 + win])
    assert frames.shape[1] == spec.frames_of(1000)
    np.testing.assert_allclose(spec.times(3), (np.arange(3) * 80 + win / 2) / 8000)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 700), st.integers(16, 255))
def test_without_padding_frames_and_samples_fit_together(samples: int, hop: int, win: int) -> None:
    spec = MfccSpec(sr=8000, n_fft=256, win=win, hop=hop, n_mels=20, padding="none")
    frames = spec.frames_of(samples)
    if not frames:
        assert samples < win == spec.samples_of(1)
        return
    assert mfcc(np.zeros(samples), spec).shape[-1] == frames
    assert spec.samples_of(frames) <= samples < spec.samples_of(frames + 1)
    assert spec.frames_of(spec.samples_of(frames)) == frames


@pytest.mark.parametrize("window", ["hann", "blackman", "povey"])
@pytest.mark.parametrize("periodic", [True, False])
def test_preemphasis_of_frames_whose_window_begins_at_zero_is_that_of_the_sound(window: Any, periodic: bool) -> None:
    y = noise(2000)
    spec = MfccSpec(sr=8000, window=window, periodic=periodic, padding="none", preemphasis=0.9)
    plain = MfccSpec(sr=8000, window=window, periodic=periodic, padding="none")
    np.testing.assert_allclose(mfcc(y, spec), mfcc(scipy.signal.lfilter([1, -0.9], 1, y), plain), rtol=0, atol=1e-4)


def test_preemphasis_takes_the_sample_before_off_in_each_frame() -> None:
    y = noise(200)
    spec = MfccSpec(sr=8000, window="hamming", padding="none", preemphasis=0.97)
    emphasised = np.array([y[0] * (1 - 0.97)] + [y[i] - 0.97 * y[i - 1] for i in range(1, 200)])
    plain = MfccSpec(sr=8000, window="hamming", padding="none")
    np.testing.assert_allclose(mfcc(y, spec), mfcc(emphasised, plain), rtol=0, atol=1e-4)


@pytest.mark.parametrize("preemphasis", [0.0, 0.97])
def test_without_dc_an_offset_changes_nothing(preemphasis: float) -> None:
    spec = MfccSpec(sr=8000, window="hamming", padding="none", remove_dc=True, preemphasis=preemphasis)
    y = noise(2000)
    np.testing.assert_allclose(mfcc(y + 0.3, spec), mfcc(y, spec), rtol=0, atol=1e-4)
    kept = MfccSpec(sr=8000, window="hamming", padding="none", preemphasis=preemphasis)
    assert np.abs(mfcc(y + 0.3, kept) - mfcc(y, kept)).max() > 1


@pytest.mark.parametrize(
    ("padding", "samples", "says"),
    [
        ("none", 199, "audio must hold one window of 200 samples without padding. Received: 199"),
        ("reflect", 128, "audio must be longer than 128 samples to be reflected. Received: 128"),
    ],
)
def test_a_sound_too_short_for_a_frame_is_refused(padding: Any, samples: int, says: str) -> None:
    spec = MfccSpec(sr=8000, padding=padding)
    for call in (mfcc, log_mel):
        with pytest.raises(DataError, match=rf"^{says}$"):
            call(np.zeros(samples), spec)
        assert np.isfinite(call(np.zeros(samples + 1), spec)).all()
    with pytest.raises(DataError, match=rf"^{says}$"):
        differentiable_mfcc(spec)(np.zeros((1, samples), np.float32))


def noise(samples: int) -> npt.NDArray[np.float64]:
    return 0.1 * np.random.default_rng(0).standard_normal(samples)
