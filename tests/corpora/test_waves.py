"""A plain WAV read here is what libsndfile reads; what is not plain is left to it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from cepscope.audio import condition, read_audio
from cepscope.corpora import Clip, Corpus
from cepscope.corpora.computing import compute
from cepscope.corpora.conditioning import Levelled
from cepscope.corpora.corpus import Clips
from cepscope.corpora.stretches import read_stretch
from cepscope.corpora.waves import read_plain_wav
from cepscope.features import MfccSpec


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    y = np.random.default_rng(0).uniform(-1, 1, 800)
    y[:2] = -1, 1
    sf.write(tmp_path / "a.wav", y, 8000, subtype="PCM_16")
    return tmp_path / "a.wav"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_has_the_bits_of_libsndfile(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.random.default_rng(0).uniform(-1, 1, (900, channels)), 11025, subtype="PCM_16", format="WAV")
    found = read_plain_wav(path, 60.0)
    assert found is not None
    y, sr = read_audio(path)
    assert found[1] == sr
    assert found[0].tobytes() == y.tobytes()
    assert read_stretch(path)[0].tobytes() == y.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300), st.data())
def test_the_level_is_taken_out_of_whole_numbers_to_the_bits_of_floats(numbers: list[int], data: st.DataObject) -> None:
    pcm = np.array(numbers, np.int16)
    part = slice(data.draw(st.integers(0, len(pcm))), data.draw(st.integers(0, len(pcm))))
    levelled = Levelled(pcm)
    assert len(levelled) == len(pcm)
    expected = condition(pcm.astype(np.float32) / 32768)
    np.testing.assert_array_equal(levelled[:], expected)
    np.testing.assert_array_equal(levelled[part], expected[part])


@pytest.mark.parametrize(
    ("place", "form", "value"),
    [
        (0, "4s", b"RIFX"), (4, "I", 7), (8, "4s", b"WAVX"), (12, "4s", b"fmt_"), (16, "I", 18), (20, "H", 3),
        (22, "H", 2), (22, "H", 0), (24, "I", 8001), (24, "I", 0), (28, "I", 1), (32, "H", 4), (34, "H", 8),
        (36, "4s", b"LIST"), (40, "I", 1599), (40, "I", 1602), (40, "I", 0), (40, "I", 0xFFFFFFFF),
    ],
)  # fmt: skip
def test_a_header_that_is_otherwise_is_left_to_libsndfile(wav: Path, place: int, form: str, value: object) -> None:
    content = bytearray(wav.read_bytes())
    struct.pack_into("<" + form, content, place, value)
    wav.write_bytes(content)
    assert read_plain_wav(wav, 60.0) is None


def test_clips_are_read_so_to_the_same_patches(wav: Path) -> None:
    spec = MfccSpec(sr=8000, n_mfcc=13, floor=1e-5)
    corpus = Corpus("one", wav.parent, [Clip(wav, "a", "", "train"), Clip(wav, "a", "", "train", 0.0, 0.1)])
    shard = compute(Clips.of(corpus.root, corpus.clips), spec, 12)
    assert shard.problems == ("", "")  # the second, a stretch, is read by libsndfile
    np.testing.assert_array_equal(shard.mfcc[0], shard.mfcc[1])


def test_what_is_longer_shorter_or_no_file_is_left_to_libsndfile(wav: Path, tmp_path: Path) -> None:
    content = wav.read_bytes()
    assert read_plain_wav(wav, 0.1) is not None
    assert read_plain_wav(wav, 0.09) is None
    for other in (content + b"\0", content[:-1], content[:30], b""):
        wav.write_bytes(other)
        assert read_plain_wav(wav, 60.0) is None
    os.mkfifo(tmp_path / "pipe.wav")  # nobody will ever write
    for path in (tmp_path / "gone.wav", tmp_path, tmp_path / "pipe.wav", "nul\0.wav"):
        assert read_plain_wav(path, 60.0) is None
