"""Front ends of others: HTK's own files, TensorFlow's operations, librosa, and numbers of Kaldi and torchaudio.

The last come from ``scripts/make_front_end_fixtures.py``, because torch is too large for a test to need.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import tensorflow as tf

from cepscope.audio import read_audio
from cepscope.features import FRONT_ENDS, front_end, log_mel, mfcc
from cepscope.features.filterbank import mel_filters
from cepscope.features.spec import MfccSpec

FIXTURES = json.loads(Path(__file__).with_name("front_ends.json").read_text(encoding="utf-8"))

# HTK computes in float32, and the lifter multiplies by up to 12: 1.2e-4 was seen, of values up to 130
HTK_TOLERANCE = 5e-4
# so does Kaldi: 4.1e-4 was seen, of values up to 130
KALDI_TOLERANCE = 1e-3
# and torchaudio, decibels whose c0 reaches -730: 8e-4 was seen, 10 float32 roundings of it
TORCHAUDIO_TOLERANCE = 2e-3
# TensorFlow's operations compute in float64 from float32 powers: 4e-6 was seen, of values up to 247
TENSORFLOW_TOLERANCE = 1e-4

# The configurations of the files, as changes to the preset, which has HTK's defaults: magnitude, 26 filters
MFCC_FILES: dict[int, dict[str, Any]] = {
    1: {"preemphasis": 0.0},
    2: {"preemphasis": 0.0, "c0": False},
    3: {"preemphasis": 0.0, "c0": False, "fmin": 20.0},
    4: {"c0": False},
    5: {"c0": False, "warp": 1.1},
    6: {"n_mels": 24, "fmin": 125.0, "fmax": 7800.0},
}
FBANK_FILES: dict[int, dict[str, Any]] = {1: {}, 2: {"fmin": 25.0}, 3: {"fmin": 25.0, "warp": 0.9}}
FBANK_FILES[4] = {"fmin": 25.0, "warp": 1.1}


@pytest.fixture(scope="module")
def htk(shared_dir: Path) -> Path:
    folder = shared_dir / "oracles" / "htk"
    if not folder.is_dir():
        pytest.skip(f"HTK's files not found at {folder}")
    return folder


@pytest.fixture(scope="module")
def clip(project_root: Path) -> npt.NDArray[np.float32]:
    """Return a synthetic digit with digital silence at both ends."""
    return read_audio(project_root / "data" / "spoken-digits" / "audio" / FIXTURES["clip"])[0]


def read_htk(path: Path) -> npt.NDArray[np.float64]:
    """Read a parameter file (frames, values): big-endian, 12 bytes of header."""
    content = path.read_bytes()
    frames, period, size, _ = struct.unpack(">iihh", content[:12])
    assert period == 100_000  # of 100 ns
    return np.frombuffer(content[12:], ">f4").reshape(frames, size // 4).astype(np.float64)


@pytest.mark.parametrize("number", MFCC_FILES)
def test_htk_mfcc(htk: Path, number: int) -> None:
    changes = MFCC_FILES[number]
    expected = read_htk(htk / f"test.wav.fea_htk.{number}")[:, :13]  # c1 to c12, then c0 or log energy; then deltas
    with_c0 = changes.get("c0", True)
    expected = np.roll(expected, 1, axis=1) if with_c0 else expected[:, :12]
    spec = front_end("htk", **{"n_mels": 23, "n_mfcc": 12 + with_c0, "power": 2, **changes})
    actual = mfcc(read_audio(htk / "test.wav")[0], spec)
    assert actual.shape == expected.T.shape == (12 + with_c0, 142)
    assert np.abs(expected).max() > 40
    np.testing.assert_allclose(actual, expected.T, rtol=0, atol=HTK_TOLERANCE)


@pytest.mark.parametrize("number", FBANK_FILES)
def test_htk_filterbank(htk: Path, number: int) -> None:
    expected = read_htk(htk / f"test.wav.fbank_htk.{number}")
    spec = front_end("htk", n_mels=23, power=2, preemphasis=0.0, **FBANK_FILES[number])
    actual = log_mel(read_audio(htk / "test.wav")[0], spec) * math.log(10) / 10
    # no DCT and no lifter that would enlarge an error: 4.1e-5 was seen, of values up to 22
    np.testing.assert_allclose(actual, expected.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", FIXTURES["cases"], ids=lambda case: f"{case['by']} {case['changes']}")
def test_kaldi_and_torchaudio(case: dict[str, Any], clip: npt.NDArray[np.float32]) -> None:
    actual = mfcc(clip, front_end(case["front_end"], **case["changes"]))
    assert list(actual.shape) == case["shape"]
    expected = np.array(case["values"]).T
    assert np.abs(expected).max() > 80
    atol = TORCHAUDIO_TOLERANCE if case["front_end"] == "torchaudio" else KALDI_TOLERANCE
    np.testing.assert_allclose(actual[:, case["frames"]], expected, rtol=0, atol=atol)


def tensorflow_mfcc(y: npt.NDArray[np.float32], spec: MfccSpec) -> npt.NDArray[np.float32]:
    power = tf.raw_ops.AudioSpectrogram(
        input=y[:, np.newaxis], window_size=spec.win, stride=spec.hop, magnitude_squared=True
    )
    found = tf.raw_ops.Mfcc(
        spectrogram=power,
        sample_rate=spec.sr,
        lower_frequency_limit=spec.fmin,
        upper_frequency_limit=spec.fmax,
        filterbank_channel_count=spec.n_mels,
        dct_coefficient_count=spec.n_mfcc,
    )
    return np.asarray(found[0]).T


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_mfcc": 40},
        {"sr": 8000},
        {"sr": 11025, "fmin": 131.0, "fmax": 5011.0, "n_mels": 26},  # win and hop of 441 and 220
        {"win": 480, "hop": 160, "n_mels": 20, "n_mfcc": 13, "fmax": 7600.0},
        {"fmin": 0.0, "fmax": 8000.0},
    ],
    ids=str,
)
def test_tensorflow_speech_commands(clip: npt.NDArray[np.float32], changes: dict[str, Any]) -> None:
    spec = front_end("tf-speech-commands", **changes)
    for y in (clip, clip[2000 : 2000 + spec.win], np.zeros(4000, np.float32)):
        expected = tensorflow_mfcc(y, spec)
        np.testing.assert_allclose(mfcc(y, spec), expected, rtol=0, atol=TENSORFLOW_TOLERANCE)


def test_one_second_of_speech_commands_is_what_keyword_spotters_take() -> None:
    assert mfcc(np.zeros(16000), front_end("tf-speech-commands")).shape == (10, 49)


@pytest.mark.parametrize("sr", [8000, 16000])
def test_the_mel_matrix_and_cepstra_of_tf_signal(sr: int) -> None:
    spec = MfccSpec(sr=sr, n_fft=1024, fmin=80.0, fmax=3600.0, htk=True, filterbank="mel", cepstra="htk", log="ln")
    matrix = tf.signal.linear_to_mel_weight_matrix(40, 513, sr, 80.0, 3600.0, dtype=tf.float64)
    np.testing.assert_allclose(mel_filters(spec).toarray().T, matrix, rtol=0, atol=1e-12)
    log_power = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    expected = tf.signal.mfccs_from_log_mel_spectrograms(log_power)[:, : spec.n_mfcc]
    decibels = log_power * 10 / math.log(10)
    actual = scipy.fft.dct(decibels, norm="ortho")[:, : spec.n_mfcc] * spec.coefficient_gains()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)  # float32


def test_librosa(clip: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(mfcc(clip, front_end("librosa")), librosa.feature.mfcc(y=clip), rtol=0, atol=1e-3)
    changed = front_end("librosa", sr=16000, n_fft=512, n_mels=40, padding="reflect", filterbank="hz", htk=True)
    mel = librosa.feature.melspectrogram(
        y=clip, sr=16000, n_fft=512, n_mels=40, norm=None, htk=True, pad_mode="reflect"
    )
    expected = librosa.feature.mfcc(S=librosa.power_to_db(mel))
    np.testing.assert_allclose(mfcc(clip, changed), expected, rtol=0, atol=1e-3)  # c0 reaches -380: 22 roundings of it


def test_magnitude_is_librosas_in_decibels_of_amplitude(clip: npt.NDArray[np.float32]) -> None:
    spec = front_end("librosa", power=1, floor=1e-14)
    mel = librosa.feature.melspectrogram(y=clip, power=1.0)
    expected = librosa.amplitude_to_db(mel, amin=1e-7, top_db=80)
    np.testing.assert_allclose(log_mel(clip, spec), expected, rtol=0, atol=1e-4)  # float32 of up to 140


def test_every_front_end_is_here() -> None:
    kept = {case["front_end"] for case in FIXTURES["cases"]}
    assert kept | {"htk", "librosa", "tf-speech-commands"} == set(FRONT_ENDS)
