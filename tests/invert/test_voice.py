"""Voicing and pitch from MFCC: sounds whose voicing is known, real speakers, and everything that no one has said."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cepscope.audio import read_audio, resample
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc
from cepscope.invert.voice import predict_pitch, predict_voicing

Array = npt.NDArray[Any]

SPECS = {
    "8k-64-13": MfccSpec(sr=8000, n_fft=512, n_mels=64, n_mfcc=13),
    "8k-40-20": MfccSpec(sr=8000, n_mels=40, n_mfcc=20, floor=1e-5),
    "8k-64-40": MfccSpec(sr=8000, n_fft=512, n_mels=64, n_mfcc=40),
    "16k-80-13": MfccSpec(sr=16000, n_fft=1024, n_mels=80, n_mfcc=13),
    "16k-26-13-htk": MfccSpec(sr=16000, n_mels=26, n_mfcc=13, htk=True, lifter=22.0),
    "16k-40-19-without-c0": MfccSpec(sr=16000, n_mels=40, n_mfcc=19, c0=False),
    "16k-40-20-ln": MfccSpec(sr=16000, n_mels=40, n_mfcc=20, log="ln"),
    "22k-128-20": MfccSpec(sr=22050, n_fft=2048, win=2048, hop=512, n_mels=128, n_mfcc=20, top_db=80.0),
    "48k-40-12": MfccSpec(sr=48000, n_fft=2048, n_mels=40, n_mfcc=12),
    "8k-hop-2ms": MfccSpec(sr=8000, n_mels=40, n_mfcc=20, hop=16),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def vowel(sr: int, *, f0: float = 120.0, seconds: float = 0.6) -> Array:
    """Pulses through the formants of a neutral tract, fading in and out, between two silences."""
    n = round(seconds * sr)
    y = np.zeros(n)
    y[np.round(np.arange(0, n - 1, sr / f0)).astype(int)] = 1.0
    y = scipy.signal.lfilter([1.0], [1.0, -np.exp(-2 * np.pi * 100 / sr)], y)  # glottal pulses fall with frequency
    for formant, width in ((500, 60), (1500, 90), (2500, 120), (3500, 150)):
        r, angle = np.exp(-np.pi * width / sr), 2 * np.pi * formant / sr
        y = scipy.signal.lfilter([1 - 2 * r * np.cos(angle) + r * r], [1, -2 * r * np.cos(angle), r * r], y)
    y = y / np.abs(y).max() * np.hanning(n) ** 0.25
    return np.pad(0.5 * y, round(0.15 * sr)) + 1e-4 * np.random.default_rng(0).standard_normal(n + 2 * round(0.15 * sr))


def inside(values: Array, spec: MfccSpec) -> Array:
    """Return the frames well within the vowel."""
    return values[(spec.times(values.size) > 0.3) & (spec.times(values.size) < 0.6)]


def clip_of(shared_dir: Path, corpus: str, count: int, **wanted: str) -> list[tuple[Array, int]]:
    folder = shared_dir / "corpora" / corpus
    with (folder / "metadata.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[k] == v for k, v in wanted.items())]
    return [read_audio(folder / row["file_name"]) for row in rows[:count]]


@every_spec
def test_a_vowel_is_voiced_and_noise_is_not(spec: MfccSpec) -> None:
    voiced = predict_voicing(mfcc(vowel(spec.sr).astype(np.float32), spec), spec)
    noise = 0.1 * np.random.default_rng(0).standard_normal(spec.sr)
    unvoiced = predict_voicing(mfcc(noise.astype(np.float32), spec), spec)
    assert np.median(inside(voiced, spec)) > 0.8
    assert np.median(inside(unvoiced, spec)) < 0.3
    assert voiced.dtype == np.float64
    if spec.c0:  # without it nothing tells a quiet frame from a loud one
        assert voiced[0] < 0.4


@every_spec
def test_level_does_not_matter(spec: MfccSpec) -> None:
    quiet_spec = replace(spec, floor=1e-30)  # so that no level meets the floor
    C = mfcc(vowel(spec.sr).astype(np.float32), quiet_spec)
    quieter = mfcc((0.01 * vowel(spec.sr)).astype(np.float32), quiet_spec)
    np.testing.assert_allclose(predict_voicing(quieter, spec), predict_voicing(C, spec), atol=2e-3)
    np.testing.assert_allclose(predict_pitch(quieter, spec), predict_pitch(C, spec), rtol=2e-3)


def test_front_ends_agree_on_speech(shared_dir: Path) -> None:
    ((y, sr),) = clip_of(shared_dir, "librispeech_sex", 1, split="test")
    at = np.arange(0.1, len(y) / sr - 0.1, 0.01)
    voicings, pitches = [], []
    for spec in [spec for spec in SPECS.values() if spec.c0]:
        C = mfcc(resample(y, sr, spec.sr), spec)
        times = spec.times(C.shape[1])
        voicings.append(np.interp(at, times, predict_voicing(C, spec)))
        pitches.append(np.interp(at, times, np.log2(predict_pitch(C, spec))))
    middle = np.median(voicings, axis=0)
    for voicing, pitch in zip(voicings, pitches, strict=True):
        assert np.mean((voicing > 0.5) == (middle > 0.5)) > 0.85
        assert 12 * np.median(np.abs(pitch - np.median(pitches, axis=0))[middle > 0.5]) < 5


@pytest.mark.parametrize(
    ("name", "semitones"),
    [
        ("8k-64-13", 2.0),
        ("8k-40-20", 3.0),
        ("8k-64-40", 5.0),
        ("16k-80-13", 1.0),  # up to 3.8 kHz 13 coefficients over 8 kHz are 10
        ("16k-40-19-without-c0", 2.0),
        ("22k-128-20", 1.0),
    ],
)
def test_women_speak_higher_than_men(shared_dir: Path, name: str, semitones: float) -> None:
    spec, medians = SPECS[name], {}
    for label in ("female", "male"):
        pitches = []
        for y, sr in clip_of(shared_dir, "librispeech_sex", 10, split="test", label=label):
            C = mfcc(resample(y, sr, spec.sr), spec)
            pitches.append(predict_pitch(C, spec)[predict_voicing(C, spec) > 0.5])
        medians[label] = np.median(np.concatenate(pitches))
    assert 12 * np.log2(medians["female"] / medians["male"]) > semitones


def test_contours_do_not_jump(fsdd: Array, narrow: MfccSpec) -> None:
    for C in fsdd:
        steps = 12 * np.abs(np.diff(np.log2(predict_pitch(C, narrow))))
        assert steps.max() < 1.0  # semitone in 10 ms


@pytest.mark.parametrize("pitch", [90.0, 250.0])
def test_pitch_sets_the_mean(fsdd: Array, narrow: MfccSpec, pitch: float) -> None:
    C = fsdd[0]
    free, scaled = predict_pitch(C, narrow), predict_pitch(C, narrow, pitch=pitch)
    np.testing.assert_allclose(scaled / free, scaled[0] / free[0])
    weight = predict_voicing(C, narrow)
    mean = np.exp(np.average(np.log(scaled), weights=weight))
    assert mean == pytest.approx(pitch, rel=0.02)  # unvoiced frames count a little


@pytest.mark.parametrize("pitch", [0.0, -100.0, np.inf, np.nan])
def test_pitch_must_be_positive(narrow: MfccSpec, pitch: float) -> None:
    with pytest.raises(ParameterError, match="pitch must be"):
        predict_pitch(np.zeros((20, 4)), narrow, pitch=pitch)


@every_spec
@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_few_frames_and_silence(spec: MfccSpec, frames: int) -> None:
    silence = np.repeat(spec.silence[:, None], frames, axis=1)
    voicing, pitch = predict_voicing(silence, spec), predict_pitch(silence, spec, pitch=100.0)
    assert voicing.shape == pitch.shape == (frames,)
    assert (voicing < 0.5).all()
    np.testing.assert_allclose(pitch, 100.0, rtol=0.2)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(SPECS)), frames=st.integers(1, 12))
def test_patterns_that_no_one_has_said(data: st.DataObject, name: str, frames: int) -> None:
    spec = SPECS[name]
    values = st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-2000, 2000, width=32)
    C = data.draw(hnp.arrays(np.float32, (spec.n_mfcc, frames), elements=values))
    voicing, pitch = predict_voicing(C, spec), predict_pitch(C, spec)
    assert voicing.shape == pitch.shape == (frames,)
    assert (voicing >= 0).all()
    assert (voicing <= 1).all()
    assert (pitch >= 59.99).all()
    assert (pitch <= 400.01).all()


def test_what_is_no_pattern(narrow: MfccSpec) -> None:
    with pytest.raises(DataError, match="finite"):
        predict_voicing(np.full((20, 3), np.nan), narrow)
    with pytest.raises(ParameterError):
        predict_pitch(np.zeros((19, 3)), narrow)
    with pytest.raises(ParameterError, match="shape"):
        predict_voicing(np.zeros((2, 20, 3)), narrow)


@every_spec
def test_same_bits_twice(spec: MfccSpec) -> None:
    C = mfcc(vowel(spec.sr).astype(np.float32), spec)
    assert predict_voicing(C, spec).tobytes() == predict_voicing(C.copy(), spec).tobytes()
    assert predict_pitch(C, spec).tobytes() == predict_pitch(np.asfortranarray(C), spec).tobytes()


def test_the_model_is_small_and_says_where_it_is_from() -> None:
    text = resources.files("cepscope.invert").joinpath("voice.json").read_text(encoding="utf-8")
    assert len(text) < 30_000
    assert "CC BY 4.0" in text
    assert "CC BY-SA 4.0" in text
    assert "fit_voice.py" in text


def test_tensorflow_stays_out() -> None:
    code = (
        "import sys, numpy as np\n"
        "from cepscope.features import MfccSpec\n"
        "from cepscope.invert.voice import predict_pitch, predict_voicing\n"
        "C = np.zeros((20, 4))\n"
        "predict_voicing(C, MfccSpec()), predict_pitch(C, MfccSpec())\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
