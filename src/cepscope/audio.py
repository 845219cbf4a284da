"""Sound files: the only place that opens or writes them, resamples, and sets the level.

Audio is float32 in [-1, 1] with the samples on the last axis.
"""

from __future__ import annotations

import io
import math
import os
import warnings
import wave
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cepscope.atomic import write_bytes
from cepscope.errors import DataError, ParameterError

FloatArray: TypeAlias = npt.NDArray[np.float32]

RATES = (
    100,
    10_000_000,
)  # Hz, of files; a header that says less or more is damaged, and resampling would take for ever
_BLOCK = 1 << 20  # samples read at a time: a header that lies about length or channels can't claim all memory
_FULL_SCALE = 32767  # of 16-bit PCM, the same on both sides of zero
_LOUDNESS_BLOCK = 0.4  # seconds, of BS.1770-4's gating
_LOUDNESS_RATE = 4000  # Hz; below about 3400 the shelf of K-weighting lies beyond half the rate
ROUNDING = 2.0**-23  # of float32, relative: less than this share of a constant is not sound


def read_audio(path: str | os.PathLike[str], *, sr: int | None = None) -> tuple[FloatArray, int]:
    """Read a sound file as mono.

    Parameters
    ----------
    path
        Anything that libsndfile reads: WAV, FLAC, Ogg, MP3 and more.
    sr
        Resample to this rate in Hz; None keeps the file's own.

    Returns
    -------
    y : array [shape=(samples,)]
        float32; channels are averaged. Level is left as it is.
    sr : int
        The rate of `y` in Hz.

    Notes
    -----
    FLAC carries checksums, so a FLAC file that was cut off is refused. One in another format is read as far
    as it goes, since streamed files often claim a wrong length.

    Raises
    ------
    DataError
        The file is missing, is a folder, is no sound file, is damaged, holds no samples, or NaN or Inf.
    ParameterError
        `sr` is not a positive integer.
    """
    if sr is not None:
        _check_rate("sr", sr)
    y, own_sr = _read(Path(path))
    if not y.size:
        raise DataError(f"{path} holds no samples; leave it out or record it again")
    if not np.isfinite(y).all():
        raise DataError(f"{path} holds NaN or Inf; leave it out or export it again")
    return (y, own_sr) if sr is None else (resample(y, own_sr, sr), sr)


def _read(path: Path) -> tuple[FloatArray, int]:
    import soundfile

    if not path.is_file():
        what = "is a folder, expected a sound file" if path.is_dir() else "does not exist; check the path"
        raise DataError(f"{path} {what}")
    blocks = []
    try:
        with (
            soundfile.SoundFile(os.fsencode(path)) as file,
            np.errstate(over="ignore", invalid="ignore"),
        ):  # overflow gives Inf, refused above
            own_sr = checked_rate(path, int(file.samplerate))
            while len(block := file.read(max(1, _BLOCK // file.channels), dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))  # (frames, channels) to (frames,)
    except (soundfile.SoundFileError, RuntimeError, OSError, MemoryError, TypeError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".").splitlines()
        raise DataError(
            f"{path} is not a readable sound file ({reason[0] if reason else type(error).__name__}); "
            "expected WAV, FLAC, Ogg or MP3"
        ) from error
    return np.concatenate([np.zeros(0, np.float32), *blocks]), own_sr


def checked_rate(path: Path, sr: int) -> int:
    """Return a file's rate; DataError when no recorder writes such a one."""
    low, high = RATES
    if not low <= sr <= high:
        raise DataError(f"{path} says that its rate is {sr} Hz, expected {low} to {high} Hz; export it again")
    return sr


def resample(y: npt.ArrayLike, orig_sr: int, target_sr: int) -> FloatArray:
    """Change the sampling rate (band-limited, soxr's HQ recipe); the same input gives the same bits.

    Parameters
    ----------
    y : array [shape=(..., samples)]
        Audio.
    orig_sr, target_sr
        Rates in Hz.

    Returns
    -------
    y : array [shape=(..., ceil(samples * target_sr / orig_sr))]
        float32. Peaks may come out slightly higher than they went in.

    Raises
    ------
    DataError
        `y` is empty, holds NaN or Inf, or is so loud that the result would.
    ParameterError
        A rate is not a positive integer.
    """
    _check_rate("orig_sr", orig_sr)
    _check_rate("target_sr", target_sr)
    audio = _checked(y)
    if orig_sr == target_sr:
        return audio.copy()
    import librosa

    resampled = librosa.resample(audio, orig_sr=orig_sr, target_sr=target_sr, res_type="soxr_hq")
    if not np.isfinite(resampled).all():  # sums of samples near the end of float32
        raise DataError(f"audio must be lower to be resampled. Received: a peak of {np.abs(audio).max():.3g}")
    return np.asarray(resampled, dtype=np.float32)


def condition(y: npt.ArrayLike) -> FloatArray:
    """Take the level out: remove the DC mean, then bring the peak to 1.

    How loud a microphone was says who spoke rather than what was said, so this is done to every recording
    before its features. What is constant up to float32 rounding is silence and becomes zeros.

    Parameters
    ----------
    y : array [shape=(..., samples)]
        Audio; each sound is conditioned by itself.

    Returns
    -------
    y : array [shape=(..., samples)]
        float32, mean about 0, peak 1 (or all 0).

    Raises
    ------
    DataError
        `y` is empty or holds NaN or Inf.

    Examples
    --------
    >>> condition([0.25, 0.5, 0.0]).tolist()
    [0.0, 1.0, -1.0]
    """
    given = _checked(y)
    conditioned = np.empty(given.shape, np.float32)
    for sound, out in zip(given.reshape(-1, given.shape[-1]), conditioned.reshape(-1, given.shape[-1]), strict=True):
        high, low = float(sound.max()), float(sound.min())
        audio = sound.astype(np.float64)
        mean = float(np.add.reduce(audio)) / len(audio)
        peak = max(high - mean, mean - low)
        if peak <= ROUNDING * max(high, -low):
            out[:] = 0.0
            continue
        audio -= mean
        audio /= peak
        out[:] = audio
    return conditioned


def loudness(y: npt.ArrayLike, sr: int) -> float:
    """Measure how loud a mono sound is: gated, K-weighted loudness of ITU-R BS.1770-4 [1]_, by pyloudnorm.

    A full-scale sine of 997 Hz has -3.01 LUFS, speech at broadcast level -23 [2]_.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio. What is shorter than the 0.4 s block that is measured is repeated until it fills one.
    sr
        Sampling rate in Hz, at least 4000.

    Returns
    -------
    float
        LUFS; -inf for silence, and for sounds that never reach the -70 LUFS at which the measure begins.

    Raises
    ------
    DataError
        `y` is empty or holds NaN or Inf.
    ParameterError
        `y` is not one sound of shape (samples,), or `sr` is not an integer of at least 4000.

    References
    ----------
    .. [1] ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio level", 2015.
    .. [2] EBU R 128, "Loudness normalisation and permitted maximum level of audio signals".
    """
    _check_loudness_rate(sr)
    return _loudness(_one_sound(y), sr)


def at_loudness(y: npt.ArrayLike, sr: int, *, lufs: float = -23.0, peak: float = 0.89) -> tuple[FloatArray, float]:
    """Bring a sound to a loudness, so that sounds can be compared by ear, without clipping it.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio, of any level.
    sr
        Sampling rate in Hz, at least 4000.
    lufs
        The wanted `loudness`.
    peak
        No sample goes beyond this, in (0, 1]; a sound that would have to is left quieter than asked.

    Returns
    -------
    y : array [shape=(samples,)]
        float32, the input times `gain`.
    gain : float
        1 for silence. What is too short or too low for BS.1770 to measure at any level is only kept below `peak`.

    Raises
    ------
    DataError
        `y` is empty or holds NaN or Inf.
    ParameterError
        `lufs` or `peak` is out of range, or as `loudness`.
    """
    if not math.isfinite(lufs):
        raise ParameterError(f"lufs must be a finite number, in LUFS. Received: {lufs!r}")
    if not 0 < peak <= 1:
        raise ParameterError(f"peak must lie in (0, 1]. Received: {peak!r}")
    _check_loudness_rate(sr)
    audio = _one_sound(y)
    own_peak = float(np.abs(audio).max())
    gain = 1 / own_peak if own_peak else 1.0  # first at full scale, well above the gate
    measured = False
    for _ in range(2):  # at its new level, other blocks may pass the gate
        if math.isfinite(level := _loudness(audio * gain, sr)):
            gain *= 10 ** ((lufs - level) / 20)
            measured = True
    gain = min(gain if measured else 1.0, peak / own_peak if own_peak else 1.0)
    return (audio * gain).astype(np.float32), gain


def _loudness(audio: npt.NDArray[np.float64], sr: int) -> float:
    import pyloudnorm

    repeats = math.ceil(_LOUDNESS_BLOCK * sr / len(audio))
    # by "DeMan" the filters are those of the standard (at 48 kHz); the default's measure a 997 Hz sine .04 to .2 LU low
    meter = pyloudnorm.Meter(int(sr), filter_class="DeMan", block_size=_LOUDNESS_BLOCK)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of means over no block, where none passes the gate
        return float(meter.integrated_loudness(np.tile(audio, repeats)))


def _check_loudness_rate(sr: int) -> None:
    _check_rate("sr", sr)
    if sr < _LOUDNESS_RATE:
        raise ParameterError(f"loudness needs a rate of at least {_LOUDNESS_RATE} Hz; resample. Received: sr={sr}")


def _one_sound(y: npt.ArrayLike) -> npt.NDArray[np.float64]:
    audio = _checked(y)
    if audio.ndim != 1:
        raise ParameterError(f"loudness is measured of one sound of shape (samples,). Received: shape {audio.shape}")
    return audio.astype(np.float64)


def to_wav_bytes(y: npt.ArrayLike, sr: int) -> bytes:
    """Return a mono 16-bit PCM WAV file as bytes.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio in [-1, 1]; never clipped.
    sr
        Sampling rate in Hz.

    Raises
    ------
    ParameterError
        `y` is not one sound of shape (samples,), exceeds 1, or `sr` is not a positive integer.
    DataError
        `y` is empty or holds NaN or Inf.
    """
    _check_rate("sr", sr)
    audio = _checked(y)
    if audio.ndim != 1:
        raise ParameterError(f"a WAV file takes one sound of shape (samples,). Received: shape {audio.shape}")
    if (peak := float(np.abs(audio).max())) > 1:
        raise ParameterError(f"audio must lie in [-1, 1], or it clips; divide by its peak. Received: peak {peak:.6g}")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sr)
        file.writeframes(np.rint(audio.astype(np.float64) * _FULL_SCALE).astype("<i2").tobytes())
    return content.getvalue()


def write_wav(path: str | os.PathLike[str], y: npt.ArrayLike, sr: int) -> None:
    """Write a mono 16-bit PCM WAV file, whole or not at all.

    Parameters
    ----------
    path
        The file to appear.
    y, sr
        As `to_wav_bytes`.

    Raises
    ------
    ParameterError, DataError
        As `to_wav_bytes`; nothing is written then. DataError also when `path` can't be written.
    """
    write_bytes(path, to_wav_bytes(y, sr))


def _checked(y: npt.ArrayLike) -> FloatArray:
    """Return audio (..., samples) as float32; DataError unless it has samples and all are finite."""
    with np.errstate(over="ignore", invalid="ignore"):  # float64 above float32's range becomes Inf and is refused
        audio = np.asarray(y, dtype=np.float32)
    if audio.ndim == 0 or not audio.shape[-1]:
        raise DataError(f"audio needs at least one sample on its last axis. Received: shape {audio.shape}")
    if not np.isfinite(audio).all():
        raise DataError(
            f"audio must be finite. Received: NaN or Inf at {np.count_nonzero(~np.isfinite(audio))} samples"
        )
    return audio


def _check_rate(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name} must be a positive integer, in Hz. Received: {value!r}")
