"""From sound to model input and back; what is read from disk is what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cepscope.audio import read_audio, resample
from cepscope.corpora import Corpus, Patches, extract
from cepscope.errors import CorruptArtifactError, DataError, NotFittedError, ParameterError
from cepscope.features import MfccSpec, mfcc

SPEC = MfccSpec(sr=16000, n_mfcc=13, floor=1e-5)


@pytest.fixture(scope="module")
def patches(digits: Corpus) -> Patches:
    speakers = {*digits.speakers[:3], "rms"}
    return extract(Corpus("some", digits.root, tuple(c for c in digits.clips if c.speaker in speakers)), SPEC)


@pytest.fixture
def written(patches: Patches, digits: Corpus, tmp_path: Path) -> Path:
    chosen = tuple(c for c in digits.clips if digits.relative(c) in {*patches.train.paths, *patches.test.paths})
    extract(Corpus("some", digits.root, chosen), SPEC, out=tmp_path, shard_size=40)
    return tmp_path


def test_encode_is_the_path_of_extract(patches: Patches, digits: Corpus) -> None:
    for i in range(0, len(patches.test), 3):
        audio, sr = read_audio(digits.root / patches.test.paths[i])
        np.testing.assert_array_equal(patches.encode(audio), patches.test.x[i])
        np.testing.assert_array_equal(patches.encode(audio * 0.25, sr), patches.test.x[i])


def test_encode_resamples(patches: Patches, digits: Corpus) -> None:
    audio, sr = read_audio(digits.root / patches.test.paths[0])
    x = patches.encode(resample(audio, sr, 22050), 22050)
    # up to 22.05 kHz and back loses the last band below 8 kHz only; a wrong rate would be far out
    assert np.sqrt(np.mean((x - patches.test.x[0]) ** 2)) < 0.1
    assert np.sqrt(np.mean((patches.encode(audio, 22050) - patches.test.x[0]) ** 2)) > 0.3


def test_encode_refuses(patches: Patches) -> None:
    with pytest.raises(ParameterError, match=r"\(2, 800\)"):
        patches.encode(np.zeros((2, 800)))
    with pytest.raises(DataError, match="no samples"):
        patches.encode(np.zeros(0))
    with pytest.raises(DataError, match="NaN"):
        patches.encode(np.full(8000, np.nan))


def test_silence_is_encoded_as_silence(patches: Patches) -> None:
    decoded = patches.decode(patches.encode(np.zeros(2000)))
    # padding and digital silence are one and the same; float32 there and back through the scaler
    np.testing.assert_allclose(decoded, np.repeat(SPEC.silence[:, None], 64, axis=1), atol=1e-3)


def test_decode(patches: Patches) -> None:
    x = patches.train.x[:6]
    decoded = patches.decode(x)
    assert decoded.shape == (6, 13, 64)
    np.testing.assert_array_equal(decoded, patches.decode(x[..., 0]))
    np.testing.assert_array_equal(decoded[2], patches.decode(x[2]))
    np.testing.assert_array_equal(decoded.reshape(2, 3, 13, 64), patches.decode(x.reshape(2, 3, 13, 64, 1)))
    np.testing.assert_allclose(patches.scaler.transform(decoded), x[..., 0], atol=1e-4)  # float32 near 500
    with pytest.raises(ParameterError, match=r"Received: \(13, 63\)"):
        patches.decode(np.zeros((13, 63)))


@pytest.mark.parametrize("frames", [21, 40, 64, 101])
def test_load_wave_is_the_sound_of_the_patch(digits: Corpus, frames: int) -> None:
    clips = tuple(c for c in digits.clips if c.speaker in ("adam", "slt", "rms"))
    patches = extract(Corpus("some", digits.root, clips), SPEC, frames=frames)
    for i in (0, 7, 14):
        wave = patches.load_wave(patches.train.paths[i])
        assert wave.shape == ((frames - 1) * SPEC.hop,)
        assert wave.dtype == np.float32
        again, patch = mfcc(wave, SPEC), patches.decode(patches.train.x[i])
        # away from a crop's edges (2 frames of window) both are the MFCC of the same samples. A pad holds
        # silence frames where the sound's last window reaches out: 2 frames at either end of the word differ.
        differs = np.abs(again - patch).max(axis=0)[2:-2] > 0.1
        assert differs.sum() <= 4
    with pytest.raises(DataError, match="gone"):
        patches.load_wave("audio/gone.flac")


def test_load_refuses_what_was_changed(written: Path, patches: Patches) -> None:
    np.testing.assert_array_equal(Patches.load(written).train.x, patches.train.x)
    for name in ("train.npy", "clips.csv"):
        whole = (written / name).read_bytes()
        content = bytearray(whole)
        content[len(content) // 2] ^= 1  # one bit
        (written / name).write_bytes(content)
        with pytest.raises(CorruptArtifactError, match=f"{name} is damaged or was changed"):
            Patches.load(written)
        (written / name).unlink()
        with pytest.raises(CorruptArtifactError, match=f"{name} is missing"):
            Patches.load(written)
        (written / name).write_bytes(whole)


def test_load_refuses_another_scaler(written: Path, patches: Patches) -> None:
    (written / "scaler.npz").write_bytes(b"")
    with pytest.raises(CorruptArtifactError, match=r"scaler\.npz is damaged"):
        Patches.load(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99, expected 2"),
        ({"shards": []}, "another number of clips"),
        ({"format": 1}, "has format 1, expected 2; extract again"),
        ({"spec": {"rate": 8000}}, "is damaged"),
        ({"frames": 65}, r"train.npy: expected patches of \(\d+, 13, 65, 1\) float32"),
        ({"frames_": 1}, "is damaged"),
        (None, "is damaged"),
    ],
)
def test_load_refuses_a_broken_manifest(written: Path, change: dict[str, object] | None, message: str) -> None:
    path = written / "manifest.json"
    text = path.read_text()
    path.write_text(text[:-30] if change is None else json.dumps(json.loads(text) | change))
    with pytest.raises(CorruptArtifactError, match=message):
        Patches.load(written)


def test_load_before_extract(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="run the extraction first"):
        Patches.load(tmp_path)
