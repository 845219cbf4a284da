"""MFCC, log-mel and mel scale against librosa, over settings, lengths and kinds of sound."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cepscope.audio import read_audio
from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc, mfcc_to_log_mel
from cepscope.features.mel import empty_filters, hz_to_mel, mel_points, mel_to_hz

# In float32 roundings (2**-23) of the largest possible coefficient, max|dB| * sqrt(n_mels) * lifter gain: decibels
# are rounded before the DCT adds them up. librosa in float32 differs from librosa in float64 by up to 7 of them
# (over 4,800 random settings and sounds), cepscope from librosa by up to 5.
ROUNDINGS = 16
KINDS = ("noise", "faint noise", "tone", "decay", "click", "zeros")


def sound(kind: str, samples: int, sr: int, seed: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / sr
    y = {
        "noise": lambda: 0.1 * rng.standard_normal(samples),
        "faint noise": lambda: 1e-5 * rng.standard_normal(samples),
        "tone": lambda: 0.9 * np.sin(2 * np.pi * rng.uniform(20, sr / 2) * t),
        "decay": lambda: np.sin(2 * np.pi * 500 * t) * np.exp(-30 * t),
        "click": lambda: np.eye(1, samples, rng.integers(samples))[0],
        "zeros": lambda: np.zeros(samples),
    }[kind]()
    return np.asarray(y, dtype=np.float32)


@st.composite
def specs(draw: st.DrawFn) -> MfccSpec:
    sr = draw(st.sampled_from([8000, 11025, 16000, 22050, 44100]))
    win = draw(st.integers(16, 1200))
    n_mels = draw(st.integers(2, 128))
    c0 = draw(st.booleans())
    values: dict[str, Any] = {
        "n_fft": 2 * math.ceil((win + draw(st.integers(0, 600))) / 2),
        "hop": draw(st.integers(1, 700)),
        "n_mfcc": draw(st.integers(1, n_mels - (not c0))),
        "c0": c0,
        "log": draw(st.sampled_from(["db", "ln"])),
        "fmin": draw(st.one_of(st.just(0.0), st.floats(1, sr / 4))),
        "fmax": draw(st.one_of(st.just(0.0), st.floats(sr / 3, sr / 2))),
        "lifter": draw(st.one_of(st.just(0.0), st.just(22.0), st.floats(0.5, 60))),
        "htk": draw(st.booleans()),
        "floor": 10.0 ** draw(st.floats(-12, -2)),
        "top_db": draw(st.one_of(st.just(math.inf), st.just(80.0), st.floats(0, 120))),
    }
    try:
        return MfccSpec(sr=sr, win=win, n_mels=n_mels, **values)
    except ParameterError as error:
        assume("hold no FFT bin" not in str(error))
        raise


def librosa_log_mel(y: npt.NDArray[Any], spec: MfccSpec) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_fft=.* is too large for input signal")  # short clips are meant
        power = librosa.feature.melspectrogram(
            y=y,
            sr=spec.sr,
            n_fft=spec.n_fft,
            win_length=spec.win,
            hop_length=spec.hop,
            n_mels=spec.n_mels,
            fmin=spec.fmin,
            fmax=spec.fmax,
            htk=spec.htk,
        )
    top_db = None if math.isinf(spec.top_db) else spec.top_db
    return np.asarray(librosa.power_to_db(power, amin=spec.floor, top_db=top_db))


def librosa_mfcc(decibels: npt.NDArray[Any], spec: MfccSpec) -> npt.NDArray[Any]:
    """Return librosa's MFCC of decibels: without c0 the rows after the first, and in nepers of power for "ln"."""
    first = 0 if spec.c0 else 1
    C = np.asarray(librosa.feature.mfcc(S=decibels, n_mfcc=first + spec.n_mfcc, lifter=spec.lifter))[first:]
    return C * C.dtype.type(math.log(10) / 10) if spec.log == "ln" else C


def tolerance(decibels: npt.NDArray[Any], spec: MfccSpec) -> npt.NDArray[np.float64]:
    largest = max(1.0, float(np.abs(decibels).max())) * math.sqrt(spec.n_mels)
    unit = math.log(10) / 10 if spec.log == "ln" else 1.0
    return ROUNDINGS * 2.0**-23 * largest * unit * np.maximum(1, np.abs(spec.lifter_gains()))[:, np.newaxis]


def assert_within(actual: npt.NDArray[Any], expected: npt.NDArray[Any], atol: npt.NDArray[Any] | float) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert np.all(np.abs(actual - expected) <= atol), f"off by up to {np.abs(actual - expected).max():g}"


@settings(max_examples=250, deadline=None)
@given(specs(), st.integers(1, 4000), st.sampled_from(KINDS), st.integers(0, 9))
@example(MfccSpec(), 1, "click", 0)  # one sample
@example(MfccSpec(sr=8000, hop=1), 1, "noise", 0)
@example(MfccSpec(), 399, "noise", 0)  # shorter than a window
@example(MfccSpec(lifter=22, htk=True, top_db=80), 4000, "tone", 0)
@example(MfccSpec(n_mels=1, n_mfcc=1, n_fft=2048), 4000, "decay", 0)  # a thousand bins in a filter
@example(MfccSpec(n_mels=26, n_mfcc=12, lifter=22, htk=True, log="ln", c0=False), 4000, "noise", 0)
@example(MfccSpec(n_mfcc=39, c0=False), 4000, "click", 0)
def test_equals_librosa(spec: MfccSpec, samples: int, kind: str, seed: int) -> None:
    y = sound(kind, samples, spec.sr, seed)
    decibels = librosa_log_mel(y, spec)
    expected = librosa_mfcc(decibels, spec)
    assert expected.dtype == np.float32
    assert_within(mfcc(y, spec), expected, tolerance(decibels, spec))
    # without the DCT only the rounding of the decibels and of the powers under them is left
    assert_within(log_mel(y, spec), decibels, ROUNDINGS * 2.0**-23 * max(1.0, np.abs(decibels).max()))


def test_tolerance_is_that_of_librosa_with_itself() -> None:
    """librosa in float32 is as far from librosa in float64: a tighter tolerance would ask for its very roundings."""
    spec = MfccSpec(n_mels=128, n_mfcc=128, n_fft=2048)
    gaps = []
    for kind in KINDS:
        y = sound(kind, 16000, spec.sr, 0)
        decibels = librosa_log_mel(y, spec)
        double = librosa.feature.mfcc(S=librosa_log_mel(y.astype(np.float64), spec), n_mfcc=128)
        allowed = tolerance(decibels, spec).min()
        gaps.append(np.abs(librosa.feature.mfcc(S=decibels, n_mfcc=128) - double).max() / allowed)
        assert np.abs(mfcc(y, spec) - double).max() <= allowed
    assert 1 / 16 < max(gaps) < 1


def test_equals_librosa_feature_mfcc_as_people_call_it() -> None:
    """Nothing set but the sizes: librosa's own floor, limit and mel scale."""
    spec = MfccSpec(sr=22050, n_fft=2048, win=2048, hop=512, n_mels=128, top_db=80.0)
    y = np.stack([sound(kind, 22050, 22050, 0) for kind in KINDS])
    expected = librosa.feature.mfcc(y=y[0], sr=22050)
    assert_within(mfcc(y[0], spec), expected, 1e-3)
    for clip, C in zip(y, mfcc(y, spec), strict=True):
        assert_within(C, librosa.feature.mfcc(y=clip, sr=22050), 1e-3)  # c0 reaches 1100: 8 roundings of it


@pytest.mark.parametrize("log", ["db", "ln"])
@pytest.mark.parametrize("c0", [True, False])
@pytest.mark.parametrize("htk", [True, False])
@pytest.mark.parametrize("lifter", [0, 22])
@pytest.mark.parametrize("top_db", [80.0, math.inf])
def test_equals_librosa_for_every_kind_of_front_end(top_db: float, lifter: int, htk: bool, c0: bool, log: Any) -> None:
    spec = MfccSpec(n_mels=26, n_mfcc=12, top_db=top_db, lifter=lifter, htk=htk, c0=c0, log=log)
    for kind in KINDS:
        y = sound(kind, 8000, spec.sr, 0)
        decibels = librosa_log_mel(y, spec)
        assert_within(mfcc(y, spec), librosa_mfcc(decibels, spec), tolerance(decibels, spec))


def test_of_the_natural_logarithm_it_is_the_transform_of_the_log_of_mel_power() -> None:
    """Not by way of decibels: the logarithm of librosa's mel power, transformed."""
    spec = MfccSpec(n_mels=26, n_mfcc=12, log="ln", c0=False)
    y = sound("noise", 8000, spec.sr, 0)
    power = librosa.feature.melspectrogram(
        y=y.astype(np.float64), sr=spec.sr, n_fft=spec.n_fft, win_length=spec.win, hop_length=spec.hop, n_mels=26
    )
    expected = scipy.fft.dct(np.log(np.maximum(power, spec.floor)), axis=0, norm="ortho")[1:13]
    np.testing.assert_allclose(mfcc(y, spec), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("take", [0, 7])
def test_equals_librosa_on_real_digits(shared_dir: Path, take: int) -> None:
    spec = MfccSpec(sr=8000, top_db=80.0)
    for path in sorted((shared_dir / "corpora" / "fsdd" / "audio").glob(f"*_{take}.wav")):
        y, _ = read_audio(path)
        expected = librosa.feature.mfcc(y=y, sr=8000, n_mfcc=20, n_fft=256, win_length=200, hop_length=80, n_mels=40)
        assert_within(mfcc(y, spec), expected, 2e-4)  # c0 near -500; here every clip keeps to a fifth of the bound


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.sampled_from([0.0, 90.0, 200.0]), st.data())
def test_mfcc_to_log_mel_equals_librosa(n_mels: int, lifter: float, data: Any) -> None:
    n_mfcc = data.draw(st.integers(1, n_mels))
    spec = MfccSpec(sr=22050, n_fft=2048, n_mels=n_mels, n_mfcc=n_mfcc, lifter=lifter)
    C = np.random.default_rng(n_mfcc).normal(0, 30, (2, n_mfcc, 5)).astype(np.float32)
    power = librosa.feature.inverse.mfcc_to_mel(C.astype(np.float64), n_mels=n_mels, lifter=lifter)
    # float32 roundings of decibels that reach a few hundred
    np.testing.assert_allclose(mfcc_to_log_mel(C, spec), 10 * np.log10(power), atol=5e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.floats(0, 3000), st.floats(3001, 24000), st.booleans())
def test_mel_scale_equals_librosa(n_mels: int, fmin: float, fmax: float, htk: bool) -> None:
    points = mel_points(n_mels, fmin, fmax, htk=htk)
    expected = librosa.mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax, htk=htk)
    np.testing.assert_allclose(points, expected, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(hz_to_mel(points, htk=htk), librosa.hz_to_mel(expected, htk=htk), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(points, htk=htk), htk=htk), points, rtol=1e-12, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([8000, 16000, 44100]),
    st.integers(8, 600),
    st.integers(1, 160),
    st.one_of(st.just(0.0), st.floats(1, 1500)),
    st.booleans(),
)
def test_empty_filters_are_those_that_are_empty_in_librosa(
    sr: int, half: int, n_mels: int, fmin: float, htk: bool
) -> None:
    points = mel_points(n_mels, fmin, sr / 2, htk=htk)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        filters = librosa.filters.mel(
            sr=sr, n_fft=2 * half, n_mels=n_mels, fmin=fmin, htk=htk, norm=None, dtype=np.float64
        )
    expected = np.flatnonzero(filters.max(axis=1) < 1e-9)  # a bin on the very edge is rounding, not a filter
    np.testing.assert_array_equal(empty_filters(points, sr / (2 * half)), expected)
