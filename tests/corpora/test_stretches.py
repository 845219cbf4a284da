"""Stretches of files: their names, the same samples as the whole file's, and no more memory than they need."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from cepscope.audio import read_audio
from cepscope.corpora import Clip, Corpus, extract
from cepscope.corpora.stretches import LONGEST, parse_stretch, read_stretch, sound_rate, stretch_name
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec

seconds = st.floats(0, 1e6, allow_subnormal=False)


@given(st.text(max_size=20), seconds, seconds)
def test_names_come_back_to_the_last_bit(name: str, start: float, stop: float) -> None:
    assert parse_stretch(stretch_name(name, start, stop)) == (name, start, stop)


def test_a_file_without_a_stretch_keeps_its_name() -> None:
    assert stretch_name("a/b.wav", 0.0, None) == "a/b.wav"
    assert parse_stretch("a#t=1.wav") == ("a#t=1.wav", 0.0, None)
    assert stretch_name("a.wav", 5e-05, 1e-04) == "a.wav#t=0.00005,0.0001"


@pytest.fixture(scope="module")
def speech(digits: Corpus) -> np.ndarray:
    """Twenty words in a row at 16 kHz, about 12 s."""
    return np.concatenate([sf.read(clip.path, dtype="float32")[0] for clip in digits.clips[:20]])


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_samples_are_those_of_the_whole_file(tmp_path: Path, speech: np.ndarray, kind: str, channels: int) -> None:
    path = tmp_path / f"a.{kind}"
    sf.write(path, speech if channels == 1 else np.stack([speech, speech[::-1]], axis=1), 16000)
    whole, _ = read_audio(path)
    for start, stop in ((0.0, 0.25), (1.2345, 1.75), (7.0, 7.5), (len(whole) / 16000 - 0.1, 1e4)):
        y, sr = read_stretch(path, start, stop)
        assert (sr, y.dtype) == (16000, np.float32)
        # seeking would be off by up to .35 in a stereo Ogg; libmpg123's last bit depends on how much is asked for
        expected = whole[round(start * sr) : round(stop * sr)]
        np.testing.assert_allclose(y, expected, rtol=0, atol=2.0**-24 if kind == "mp3" else 0)
        np.testing.assert_array_equal(y, read_stretch(path, start, stop)[0])


def test_only_the_middle_of_a_longer_stretch_is_read(tmp_path: Path, speech: np.ndarray) -> None:
    sf.write(tmp_path / "a.wav", speech, 16000, subtype="FLOAT")
    n = len(speech)
    np.testing.assert_array_equal(read_stretch(tmp_path / "a.wav", longest=n / 16000)[0], speech)
    y, _ = read_stretch(tmp_path / "a.wav", longest=2.0)
    before = round((n / 16000 - 2) / 2 * 16000)
    np.testing.assert_array_equal(y, speech[before : before + 32000])
    y, _ = read_stretch(tmp_path / "a.wav", 1.0, 5.0, longest=2.0)
    np.testing.assert_array_equal(y, speech[32000:64000])


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_long_recording_costs_no_more_memory_than_a_minute(tmp_path: Path, digits: Corpus, kind: str) -> None:
    rng = np.random.default_rng(0)
    word, _ = sf.read(digits.clips[0].path, dtype="float32")
    minute = 60 * 8000
    noise = (0.01 * rng.standard_normal(20 * minute)).astype(np.float32)
    noise[10 * minute : 10 * minute + len(word)] += word
    clips = []
    for name, y in ((f"long.{kind}", noise), (f"middle.{kind}", noise[19 * minute // 2 : 21 * minute // 2])):
        sf.write(tmp_path / name, y, 8000, subtype="PCM_16")
        clips += [Clip(tmp_path / name, label, "", side) for label in ("a", "b") for side in ("train", "test")]
    del noise
    corpus = Corpus("long", tmp_path, tuple(clips))
    patches = extract(corpus, MfccSpec(sr=8000, n_mfcc=13, floor=1e-5))
    np.testing.assert_array_equal(patches.train.x[0], patches.train.x[2])  # long.wav and its middle minute
    np.testing.assert_array_equal(patches.load_wave(f"long.{kind}"), patches.load_wave(f"middle.{kind}"))
    tracemalloc.start()
    y, _ = read_stretch(tmp_path / f"long.{kind}", longest=LONGEST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(y) == minute
    assert peak < 4 * y.nbytes  # a minute, its blocks and their sum: the whole file would be 20 times


def test_a_header_that_claims_too_much_is_read_as_far_as_it_goes(tmp_path: Path, speech: np.ndarray) -> None:
    sf.write(tmp_path / "a.mp3", speech, 16000)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[: len(content) // 8])  # its first frame still tells the old length
    whole, _ = read_audio(tmp_path / "a.mp3")
    y, _ = read_stretch(tmp_path / "a.mp3", longest=4.0)
    np.testing.assert_array_equal(y, whole)


def test_what_can_not_be_read_is_one_line(tmp_path: Path, speech: np.ndarray) -> None:
    sf.write(tmp_path / "a.wav", speech[:16000], 16000)
    with pytest.raises(DataError, match=r"a\.wav ends before 2 s, where the stretch 2-3 s begins"):
        read_stretch(tmp_path / "a.wav", 2.0, 3.0)
    with pytest.raises(DataError, match="does not exist"):
        read_stretch(tmp_path / "b.wav", 0.0, 1.0)
    (tmp_path / "c.wav").write_text("no sound")
    for call in (lambda: read_stretch(tmp_path / "c.wav", 0, 1), lambda: sound_rate(tmp_path / "c.wav")):
        with pytest.raises(DataError, match="not a readable sound file") as caught:
            call()
        assert "\n" not in str(caught.value)
    bad = np.full(16000, np.nan, np.float32)
    sf.write(tmp_path / "d.wav", bad, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN or Inf"):
        read_stretch(tmp_path / "d.wav", 0.0, 0.5)
    for start, stop in ((-1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (np.nan, 1.0)):
        with pytest.raises(ParameterError, match="a stretch"):
            read_stretch(tmp_path / "a.wav", start, stop)
