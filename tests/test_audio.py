"""Reading, writing, resampling and level, on real files of every kind."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cepscope.audio import at_loudness, condition, loudness, read_audio, resample, to_wav_bytes, write_wav
from cepscope.errors import DataError, ParameterError

SOUNDS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 300)),
    elements=st.floats(-4, 4, width=32),
)
SOME = settings(max_examples=50, deadline=None)


def tone(sr: int, *, hz: float = 440.0, seconds: float = 0.5, level: float = 0.5) -> npt.NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(sr * seconds)) / sr)).astype(np.float32)


# reading


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "FLOAT"}, 0.0),
        ("a.wav", {"subtype": "PCM_16"}, 2.0**-15),  # one step
        ("a.flac", {}, 2.0**-15),
        ("a.ogg", {}, 0.05),  # lossy
        ("a.mp3", {}, 0.05),  # lossy
    ],
)
def test_every_kind_of_file_comes_back(tmp_path: Path, name: str, options: dict[str, str], tolerance: float) -> None:
    y = tone(16000) * np.hanning(8000).astype(np.float32)  # no click for the lossy ones to smear
    soundfile.write(tmp_path / name, y, 16000, **options)
    read, sr = read_audio(tmp_path / name)
    assert sr == 16000
    assert read.dtype == np.float32
    assert read.ndim == 1
    assert len(read) >= len(y)  # mp3 may add its frame
    np.testing.assert_allclose(read[: len(y)], y, atol=tolerance, rtol=0)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(8000), tone(8000, hz=300)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], (left + right) / 2)


def test_a_file_longer_than_a_block_is_read_to_its_end(tmp_path: Path) -> None:
    y = np.random.default_rng(0).uniform(-1, 1, (1 << 20) + 77).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", y, 44100, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], y)


def test_reading_at_another_rate_resamples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(44100), 44100, subtype="FLOAT")
    y, sr = read_audio(tmp_path / "a.wav", sr=8000)
    assert sr == 8000
    np.testing.assert_array_equal(y, resample(tone(44100), 44100, 8000))


def make_bad(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.wav"
    match kind:
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("This is not a sound.\n")
        case "no bytes":
            path.write_bytes(b"")
        case "no samples":
            soundfile.write(path, np.zeros(0), 8000)
        case "nan" | "inf":
            y = tone(8000)
            y[100] = np.nan if kind == "nan" else np.inf
            soundfile.write(path, y, 8000, subtype="FLOAT")
        case "too loud":  # float64 that float32 can't hold
            soundfile.write(path, np.full(100, 1e300), 8000, subtype="DOUBLE")
        case "half a header":
            whole = io.BytesIO()
            soundfile.write(whole, tone(8000), 8000, format="WAV")
            path.write_bytes(whole.getvalue()[:20])
        case "half a flac" | "a flac that claims 2**36 samples":
            whole = io.BytesIO()
            noise = np.random.default_rng(0).uniform(-1, 1, 8000)
            soundfile.write(whole, noise, 8000, format="FLAC")
            content = bytearray(whole.getvalue())
            if kind == "half a flac":
                content = content[: len(content) // 2]
            else:  # the 36 bits of STREAMINFO's sample count
                content[21] |= 0x0F
                content[22:26] = b"\xff" * 4
            path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("text", "is not a readable sound file"),
        ("no bytes", "is not a readable sound file"),
        ("half a header", "is not a readable sound file"),
        ("no samples", "holds no samples"),
        ("half a flac", "is not a readable sound file"),
        ("a flac that claims 2**36 samples", "is not a readable sound file"),
        ("nan", "holds NaN or Inf"),
        ("inf", "holds NaN or Inf"),
        ("too loud", "holds NaN or Inf"),
    ],
)
def test_bad_files_give_one_line_that_names_the_file(tmp_path: Path, kind: str, says: str) -> None:
    path = make_bad(tmp_path, kind)
    with pytest.raises(DataError, match=says) as caught:
        read_audio(path, sr=16000)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.count(str(path)) == 1
    assert "\n" not in message


@pytest.mark.parametrize("sr", [0, -1, 8000.0, True, "8000"])
def test_rate_must_be_a_positive_integer(sr: object) -> None:
    for call in (
        lambda: read_audio("nowhere.wav", sr=sr),
        lambda: resample([0.0], 8000, sr),
        lambda: resample([0.0], sr, 8000),
        lambda: to_wav_bytes([0.0], sr),
    ):
        with pytest.raises(ParameterError, match=r"must be a positive integer, in Hz\. Received"):
            call()


# resampling


@pytest.mark.parametrize(("orig_sr", "target_sr"), [(8000, 16000), (44100, 16000), (16000, 8000)])
def test_resampled_tone_is_the_tone_at_the_new_rate(orig_sr: int, target_sr: int) -> None:
    y = resample(tone(orig_sr), orig_sr, target_sr)
    expected = tone(target_sr)
    assert y.shape == expected.shape
    inner = slice(len(y) // 10, -len(y) // 10)  # the tone begins and ends abruptly: ringing at the ends is right
    np.testing.assert_allclose(y[inner], expected[inner], atol=1e-3, rtol=0)  # HQ: -60 dB next to its ringing


def test_what_the_new_rate_cannot_hold_is_removed() -> None:
    y = resample(tone(16000, hz=6000.0), 16000, 8000)
    assert np.abs(y[400:-400]).max() < 1e-4  # 0.5 went in: no alias at 2 kHz


@SOME
@given(SOUNDS, st.sampled_from([8000, 16000, 22050, 44100]), st.sampled_from([8000, 16000, 11025]))
def test_each_sound_of_a_batch_is_resampled_as_if_alone(
    y: npt.NDArray[np.float32], orig_sr: int, target_sr: int
) -> None:
    together = resample(y, orig_sr, target_sr)
    assert together.dtype == np.float32
    assert together.shape == (*y.shape[:-1], -(-y.shape[-1] * target_sr // orig_sr))
    for index in np.ndindex(y.shape[:-1]):
        np.testing.assert_array_equal(together[index], resample(y[index], orig_sr, target_sr))


def test_the_same_rate_gives_a_copy() -> None:
    y = tone(8000)
    same = resample(y, 8000, 8000)
    np.testing.assert_array_equal(same, y)
    assert not np.shares_memory(same, y)


# level


@SOME
@given(SOUNDS)
def test_conditioned_sound_has_no_mean_and_peak_one_or_is_silent(y: npt.NDArray[np.float32]) -> None:
    out = condition(y)
    assert out.shape == y.shape
    assert out.dtype == np.float32
    peak = np.abs(out).max(axis=-1)
    assert set(np.unique(peak)) <= {np.float32(0.0), np.float32(1.0)}
    # float32 rounds each of the numbers that sum to zero by up to 2**-25 of the peak
    np.testing.assert_allclose(out.mean(axis=-1, dtype=np.float64), 0, atol=2.0**-24)
    for index in np.ndindex(y.shape[:-1]):
        np.testing.assert_array_equal(out[index], condition(y[index]))


@SOME
@given(st.floats(2.0**-10, 2.0**10), st.floats(-1, 1))
def test_neither_gain_nor_offset_changes_a_conditioned_sound(gain: float, offset: float) -> None:
    y = tone(8000)
    moved = (gain * (y + offset)).astype(np.float32)
    np.testing.assert_allclose(condition(moved), condition(y), atol=1e-6)  # rounding of the moved float32 samples


@pytest.mark.parametrize("level", [0.0, 1.0, -0.3, 1e-30, 1e30])
@pytest.mark.parametrize("samples", [1, 1000, 12345])
def test_a_constant_is_silence(level: float, samples: int) -> None:
    np.testing.assert_array_equal(condition(np.full(samples, level, np.float32)), 0)


def test_conditioning_leaves_its_input_alone() -> None:
    y = tone(8000) + np.float32(0.1)
    before = y.copy()
    condition(y)
    np.testing.assert_array_equal(y, before)


# writing


@SOME
@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1, 1, width=32)))
def test_wav_bytes_hold_the_sound_to_half_a_step(y: npt.NDArray[np.float32]) -> None:
    content = to_wav_bytes(y, 8000)
    pcm, sr = soundfile.read(io.BytesIO(content), dtype="int16")
    assert sr == 8000
    assert soundfile.info(io.BytesIO(content)).subtype == "PCM_16"
    np.testing.assert_allclose(pcm / 32767, y, atol=0.5000001 / 32767, rtol=0)
    assert content == to_wav_bytes(y, 8000)


def test_written_file_reads_back(tmp_path: Path) -> None:
    write_wav(tmp_path / "new" / "a.wav", tone(16000), 16000)
    y, sr = read_audio(tmp_path / "new" / "a.wav")
    assert sr == 16000
    np.testing.assert_allclose(y, tone(16000), atol=2.0**-15, rtol=0)  # half a step, and 32767 against 32768
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("y", "error", "says"),
    [
        ([0.0, 1.0001], ParameterError, r"must lie in \[-1, 1\].*peak 1.0001"),
        ([0.0, np.nan], DataError, "must be finite"),
        ([0.0, -np.inf], DataError, "must be finite"),
        ([0.0, 1e300], DataError, "must be finite"),
        ([], DataError, "at least one sample"),
        ([[0.0], [0.0]], ParameterError, "one sound of shape"),
    ],
)
def test_nothing_is_written_of_a_bad_sound(tmp_path: Path, y: list[float], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        write_wav(tmp_path / "a.wav", y, 8000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("y", [[], [np.nan], [np.inf, 0.0], np.zeros((3, 0)), 1.0])
def test_resample_and_condition_refuse_what_is_no_sound(y: npt.ArrayLike) -> None:
    with pytest.raises(DataError):
        condition(y)
    with pytest.raises(DataError):
        resample(y, 8000, 16000)


def test_importing_is_light() -> None:
    code = (
        "import sys, cepscope.audio, cepscope.features\n"
        "heavy = {'librosa', 'matplotlib', 'sklearn', 'tensorflow', 'keras', 'numba', 'soundfile', 'soxr', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# loudness


@pytest.mark.parametrize("sr", [48000, 44100, 16000, 8000])
@pytest.mark.parametrize("lufs", [-3.01, -23.0, -40.0])
def test_a_sine_has_the_loudness_that_the_standard_says(sr: int, lufs: float) -> None:
    y = tone(sr, hz=997.0, seconds=3.0, level=10 ** ((lufs + 3.01) / 20))  # BS.1770-4: full scale, one channel: -3.01
    assert loudness(y, sr) == pytest.approx(lufs, abs=0.05)  # the filters are the standard's at 48 kHz only


@pytest.mark.parametrize("samples", [1600, 3000, 3199, 3200, 3201, 5000])
def test_a_short_sound_is_measured_as_if_it_went_on(samples: int) -> None:
    y = tone(8000, hz=1000.0, seconds=samples / 8000, level=0.1)
    assert loudness(y, 8000) == pytest.approx(-23.0, abs=1.0)  # where it is repeated it clicks; a last block is short


def test_silence_and_what_is_below_the_gate_have_no_loudness() -> None:
    assert loudness(np.zeros(8000), 8000) == -np.inf
    assert loudness([0.0], 8000) == -np.inf
    assert loudness(tone(8000, level=1e-5), 8000) == -np.inf


@pytest.mark.parametrize("level", [1e-30, 1e-5, 0.01, 0.9, 30.0])
def test_a_sound_is_brought_to_a_loudness_from_any_level(level: float) -> None:
    whole = tone(16000, hz=300.0, seconds=2.0) + 0.3 * tone(16000, hz=1200.0, seconds=2.0)
    whole *= np.repeat([1.0, 0.02, 0.5, 1e-4], 8000).astype(np.float32)  # pauses, for the gates
    y = (level * whole).astype(np.float32)
    before = y.copy()
    moved, gain = at_loudness(y, 16000)
    assert loudness(moved, 16000) == pytest.approx(-23.0, abs=0.01)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, y * np.float64(gain), rtol=1e-6)
    np.testing.assert_array_equal(y, before)


def test_a_sound_that_would_clip_stays_quieter_than_asked() -> None:
    y = np.zeros(16000, np.float32)
    y[::2000] = 0.5  # little loudness for its peak
    moved, gain = at_loudness(y, 16000, lufs=-10.0, peak=0.7)
    assert np.abs(moved).max() == pytest.approx(0.7)
    assert gain == pytest.approx(1.4)
    assert loudness(moved, 16000) < -10


def test_silence_stays_silence() -> None:
    moved, gain = at_loudness(np.zeros(100), 16000)
    assert gain == 1.0
    assert moved.dtype == np.float32
    assert not moved.any()


@SOME
@given(
    hnp.arrays(np.float32, st.integers(1, 6000), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from([4000, 8000, 16000]),
    st.floats(-60, 0),
    st.floats(0.01, 1),
)
def test_loudness_of_any_sound_never_clips(y: npt.NDArray[np.float32], sr: int, lufs: float, peak: float) -> None:
    assert loudness(y, sr) < np.inf
    moved, gain = at_loudness(y, sr, lufs=lufs, peak=peak)
    assert np.isfinite(moved).all()
    assert np.abs(moved).max() <= np.float32(peak)
    assert 0 < gain < np.inf
    if np.abs(moved).max() < 0.99 * peak and (level := loudness(moved, sr)) > -np.inf:
        assert level == pytest.approx(lufs, abs=0.5) or gain == 1.0


def test_loudness_refuses_what_it_cannot_measure() -> None:
    for call in (loudness, at_loudness):
        with pytest.raises(DataError):
            call([np.nan], 8000)
        with pytest.raises(DataError):
            call([], 8000)
        with pytest.raises(ParameterError, match="one sound of shape"):
            call([[0.0], [0.0]], 8000)
        with pytest.raises(ParameterError, match="at least 4000 Hz"):
            call([0.0], 2000)
        with pytest.raises(ParameterError, match="positive integer"):
            call([0.0], 8000.0)
    with pytest.raises(ParameterError, match="finite"):
        at_loudness([0.5], 8000, lufs=-np.inf)
    for peak in (0.0, 1.1, np.nan):
        with pytest.raises(ParameterError, match="peak must lie"):
            at_loudness([0.5], 8000, peak=peak)
