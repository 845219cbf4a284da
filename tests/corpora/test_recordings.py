"""Recordings of any length: by blocks they are what they are as a whole, and what extraction hears."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cepscope.corpora import recordings
from cepscope.corpora.conditioning import conditioned
from cepscope.corpora.recordings import Spool, as_recording, read_recording
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, front_end, mfcc

SPEC = MfccSpec(sr=8000, floor=1e-5)


def speech_like(seconds: float, sr: int) -> np.ndarray:
    """Noise below 3.4 kHz that comes and goes, off zero."""
    rng = np.random.default_rng(0)
    y = np.convolve(rng.standard_normal(round(seconds * sr)), np.hanning(max(3, sr // 3400)), mode="same")
    return (0.1 * y * np.sin(np.arange(len(y)) * 3 / sr) ** 2 + 0.05).astype(np.float32)


@pytest.mark.parametrize("own", [8000, 11025, 22050])
def test_by_blocks_a_recording_is_what_it_is_as_a_whole(own: int, monkeypatch: pytest.MonkeyPatch) -> None:
    y = speech_like(7.3, own)
    whole = as_recording(y, own, SPEC)
    assert isinstance(whole.samples, np.ndarray)
    np.testing.assert_array_equal(whole.samples, conditioned(y, own, SPEC.sr))
    monkeypatch.setattr(recordings, "LONGEST", 2.0)
    monkeypatch.setattr(recordings, "_BLOCK", 2)
    parts = as_recording(y, own, SPEC)
    assert isinstance(parts.samples, Spool)
    assert len(parts.samples) == len(whole.samples)
    # means summed in another order, and a filter that begins a second before: 1e-5 is the rounding of 16 bits
    np.testing.assert_allclose(parts.samples[:], whole.samples, atol=1e-5)


@pytest.mark.parametrize("name", ["own", "librosa", "htk", "kaldi", "torchaudio", "tf-speech-commands"])
def test_frames_anywhere_are_those_of_the_whole(name: str) -> None:
    spec = SPEC if name == "own" else front_end(name, sr=8000, hop=80, n_mels=20, n_mfcc=13, fmax=4000.0)  # type: ignore[arg-type]
    recording = as_recording(speech_like(3.0, 8000), 8000, spec)
    C = mfcc(np.asarray(recording.samples), spec)
    assert recording.frames == C.shape[1]
    end = recording.frames
    for start, stop in ((0, 1), (0, 40), (7, 8), (50, 120), (end - 11, end), (end - 1, end), (0, end)):
        rounding = 0 if math.isinf(spec.top_db) else 1e-3  # of decibels to a power and back
        np.testing.assert_allclose(recording.mfcc(start, stop), C[:, start:stop], atol=rounding)
    around = recording.mfcc(-5, end + 9)
    np.testing.assert_array_equal(around[:, :5], np.repeat(spec.silence[:, None], 5, axis=1))
    np.testing.assert_array_equal(around[:, end + 5 :], np.repeat(spec.silence[:, None], 9, axis=1))
    np.testing.assert_array_equal(recording.audio(-2, 2)[:2], 0)
    assert len(recording.audio(len(recording.samples) - 1, len(recording.samples) + 9)) == 10


def test_a_file_is_read_by_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = speech_like(5.0, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([y, 0 * y], axis=1), 16000, subtype="FLOAT")
    whole = read_recording(tmp_path / "a.wav", SPEC)
    assert (whole.name, whole.own_sr, whole.seconds) == ("a.wav", 16000, 5.0)
    monkeypatch.setattr(recordings, "LONGEST", 1.0)
    monkeypatch.setattr(recordings, "_BLOCK", 1)
    np.testing.assert_allclose(read_recording(tmp_path / "a.wav", SPEC).samples[:], whole.samples[:], atol=1e-5)


def test_a_spool_gives_back_what_it_was_given() -> None:
    spool = Spool()
    y = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    for part in (y[:300], y[300:301], y[301:]):
        spool.append(part)
    assert len(spool) == 1000
    for part in (slice(None), slice(299, 302), slice(990, 2000), slice(5, 5), slice(7, 3)):
        np.testing.assert_array_equal(spool[part], y[part])


@pytest.mark.parametrize("long", [False, True])
def test_what_can_not_be_used_is_one_clear_line(long: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if long:
        monkeypatch.setattr(recordings, "LONGEST", 0.1)
    for y, what in (
        (np.full(8000, 0.25), "is silent"),
        (np.zeros(8000), "is silent"),
        (np.zeros(100), r"is 0\.013 s long, expected at least 0\.05 s"),
        (np.append(np.ones(8000), np.nan), "holds NaN or Inf"),
    ):
        with pytest.raises(DataError, match=what):
            as_recording(y, 8000, SPEC)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    (tmp_path / "text.wav").write_text("hello")
    for name, what in (("silent.wav", "is silent"), ("text.wav", "is not a readable"), ("none.wav", "does not exist")):
        with pytest.raises(DataError, match=rf"{name} {what}"):
            read_recording(tmp_path / name, SPEC)
    with pytest.raises(ParameterError, match="one sound"):
        as_recording(np.zeros((2, 800)), 8000, SPEC)
    with pytest.raises(ParameterError, match="positive integer"):
        as_recording(np.ones(800), 8000.5, SPEC)  # type: ignore[arg-type]
