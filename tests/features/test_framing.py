"""Patches of one length: centred, padded with silence, never wrapped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, fit_length, mfcc

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
