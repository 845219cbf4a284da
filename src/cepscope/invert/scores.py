"""Scores of a sound made from a pattern: how near its MFCC are, how voiced it is, how much it is like a recording.

Each is a function of arrays alone. Where a score has no meaning (the pitch of silence, the intelligibility of a click)
it is NaN, so that a table of sounds never stops at one of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from cepscope.audio import condition, resample
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.invert.matching import relative_error
from cepscope.invert.stft import stft

Array = npt.NDArray[Any]

_LEAST_GAIN = 1e-3  # of a lifter that can still be divided out, as in mfcc_to_log_mel
HOP_SECONDS = 0.010
_PERIODS = 4.5  # of the lowest pitch in a window, as Praat's harmonicity has
_VOICING, _SILENCE, _OCTAVE_COST = 0.45, 0.03, 0.01  # Praat's, of pitch by autocorrelation
_MOST_HARMONIC = 1 - 1e-6  # 60 dB
_UPSAMPLING = 4  # of the autocorrelation; a parabola does the rest
_FRAMES_AT_ONCE = 128
_STOI_SECONDS = 0.41  # 30 hops of 128 samples and one frame of 256, at 10 kHz


def coefficient_rmse(got: npt.ArrayLike, wanted: npt.ArrayLike) -> Array:
    """Compare two patterns coefficient by coefficient, each in units of its own movement.

    Parameters
    ----------
    got, wanted : array [shape=(n_mfcc, frames)]
        MFCC.

    Returns
    -------
    array [shape=(n_mfcc,)]
        Root mean square over time of ``got - wanted``, divided by the standard deviation over time of `wanted`: 0 is
        exact, 1 as wrong as that coefficient's mean. One that is constant in time (to a millionth of its size) has no
        movement to compare with and counts in the unit of the coefficients themselves. Always finite.

    Raises
    ------
    DataError
        The patterns differ in shape or have no frame.

    Examples
    --------
    >>> coefficient_rmse([[1.0, 3.0], [5.0, 5.0]], [[2.0, 4.0], [5.0, 5.0]]).tolist()
    [1.0, 0.0]
    """
    a, b = _patterns(got, wanted)
    rmse = np.sqrt(np.mean((a - b) ** 2, axis=1))
    deviation = b.std(axis=1)
    moves = deviation > 1e-6 * np.maximum(1.0, np.abs(b).max(axis=1))
    return np.asarray(rmse / np.where(moves, deviation, 1.0))


def mel_cepstral_distortion(got: npt.ArrayLike, wanted: npt.ArrayLike, spec: MfccSpec) -> float:
    """Mel cepstral distortion [1]_, level (c0) aside: ``(10 / ln 10) sqrt(2 sum_{k>=1} (dc_k)^2)``, mean over frames.

    Parameters
    ----------
    got, wanted : array [shape=(n_mfcc, frames)]
        MFCC of `spec`, with its lifter and logarithm.
    spec : MfccSpec

    Returns
    -------
    float
        dB; NaN where c0 is the only coefficient. A coefficient that the lifter takes out (a gain below 1e-3) says
        nothing and is left out.

    Raises
    ------
    DataError
        The patterns differ in shape, have no frame, or not the `n_mfcc` rows of `spec`.

    Notes
    -----
    The ``c_k`` of the formula are those of the natural log of a power spectrum, ``ln P(w) = c_0 + 2 sum c_k cos kw``
    (the mel cepstrum ``ln|H(w)| = c_0 + sum c_k cos kw`` of speech synthesis has the same from k = 1 on, as
    ``P = |H|^2``). Ours, ``C_k``, are of dB over M mel bands at ``w_m = pi (m + 1/2) / M``, with the ortho DCT-II:

        10 log10 P(w_m) = C_0 / sqrt(M) + sqrt(2 / M) sum_{k>=1} C_k cos k w_m.

    With ``ln P = (ln 10 / 10) * 10 log10 P`` the two sums are equal, term by term, for

        2 c_k = (ln 10 / 10) sqrt(2 / M) C_k,  so  c_k = (ln 10 / 10) C_k / sqrt(2 M).

    Put into the formula, ``ln 10 / 10`` and the 2 cancel:

        MCD = sqrt(sum_{k>=1} (dC_k)^2 / M),

    which by Parseval is the root mean square, over the mel bands, of the log-mel difference in dB without its mean: a
    difference of x dB (carried by coefficients 1 to n_mfcc - 1) is x dB of MCD. What coefficients from n_mfcc on would
    add is not seen. Published values are of other mel cepstra (often 24 coefficients of a warped all-pass scale), so
    compare with them by order of magnitude only.

    References
    ----------
    .. [1] R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", Proc. IEEE Pacific Rim
       Conference on Communications, Computers and Signal Processing, 1993.
    """
    a, b = _patterns(got, wanted)
    if len(a) != spec.n_mfcc:
        raise DataError(f"The spec has {spec.n_mfcc} coefficients. Received: patterns of shape {a.shape}")
    gains = spec.coefficient_gains()
    kept = (spec.orders > 0) & (np.abs(spec.lifter_gains()) >= _LEAST_GAIN)
    if not kept.any():
        return math.nan
    difference = (a - b)[kept] / gains[kept, None]
    return float(np.mean(np.sqrt(np.sum(difference**2, axis=0) / spec.n_mels)))


def harmonics_to_noise(
    y: npt.ArrayLike, sr: int, *, lowest: float = 60.0, highest: float = 400.0
) -> tuple[Array, Array]:
    """Harmonics-to-noise ratio and pitch of each frame, by Boersma's autocorrelation [1]_.

    The autocorrelation of a Hann-windowed frame is divided by that of the window (eq. 9). Its highest peak ``r``,
    between the lags of `highest` and `lowest`, is the share of the power that repeats, so the ratio is
    ``10 log10(r / (1 - r))`` (eq. 4).

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio; its level and mean play no part.
    sr : int
        Hz.
    lowest, highest : float
        Range of the pitch in Hz.

    Returns
    -------
    hnr_db : array [shape=(frames,)]
        dB, at most 60; NaN where unvoiced.
    f0 : array [shape=(frames,)]
        Hz; 0 where unvoiced.

    Raises
    ------
    DataError
        `y` is empty or holds NaN or Inf.
    ParameterError
        `y` is not one sound, or not ``0 < lowest < highest <= sr / 2``.

    Notes
    -----
    Frames follow each other by 10 ms and lie wholly inside the sound, which is their middle; a sound shorter than a
    window (4.5 periods of `lowest`, Praat's default; the paper has 3 for pitch, 6 for this ratio) is padded with zeros
    to one. As in the paper, a peak's strength loses 0.01 per octave of its lag, so of equal peaks the first wins; a
    frame is voiced where r is at least 0.45, and more where its peak is below 4 % of the sound's, up to never in
    silence (voicing and silence thresholds 0.45 and 0.03 in the strength of the unvoiced candidate); r above 1
    counts as 1 / r. Peaks are found on the band-limited interpolation of the autocorrelation, four values a sample,
    and then by a parabola. Frames are judged one by one: the paper's path through all of them is left out.

    References
    ----------
    .. [1] P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
       sampled sound", Proc. Institute of Phonetic Sciences 17, University of Amsterdam, 1993.
    """
    _check_rate(sr)
    if not 0 < lowest < highest <= sr / 2:
        raise ParameterError(
            f"pitch needs 0 < lowest < highest <= sr / 2 = {sr / 2:g}. Received: lowest={lowest:g}, highest={highest:g}"
        )
    sound = _sound(y).astype(np.float64)  # without DC, peak 1: the peak that silence is measured by
    longest = math.ceil(sr / lowest)  # samples in a period
    win = max(math.ceil(_PERIODS * sr / lowest), 2 * longest + 1)
    if (short := win - len(sound)) > 0:
        sound = np.pad(sound, (short // 2, short - short // 2))
    hop = max(1, round(HOP_SECONDS * sr))
    start = (len(sound) - win) % hop // 2
    framed = np.lib.stride_tricks.sliding_window_view(sound, win)[start::hop]
    window = scipy.signal.get_window("hann", win)
    n_fft = scipy.fft.next_fast_len(win + longest + 2, real=True)
    first, last = math.ceil(_UPSAMPLING * sr / highest), math.floor(_UPSAMPLING * sr / lowest)
    own = _autocorrelation(window[None], n_fft, last + 2)
    octaves = np.log2(np.arange(first, last + 1) * (lowest / (_UPSAMPLING * sr)))

    hnr_db, f0 = np.full(len(framed), np.nan), np.zeros(len(framed))
    for at in range(0, len(framed), _FRAMES_AT_ONCE):
        part = framed[at : at + _FRAMES_AT_ONCE]
        middle = slice(win // 2 - longest, win // 2 + longest + 1)
        part = part - part[:, middle].mean(axis=1, keepdims=True)
        loudest = np.abs(part[:, win // 2 - longest // 2 : win // 2 + longest // 2 + 1]).max(axis=1)
        r = _autocorrelation(part * window, n_fft, last + 2) / own
        before, now, after = r[:, first - 1 : last], r[:, first : last + 1], r[:, first + 1 : last + 2]
        strength = np.where((now >= before) & (now > after), now - _OCTAVE_COST * octaves, -np.inf)
        best = strength.argmax(axis=1)
        row = np.arange(len(part))
        a, b, c = before[row, best], now[row, best], after[row, best]
        bend = a - 2 * b + c
        is_peak = (strength[row, best] > -np.inf) & (bend < 0)
        shift = np.where(is_peak, 0.5 * (a - c) / np.where(is_peak, bend, 1.0), 0.0)
        top = np.where(is_peak, b - 0.25 * (a - c) * shift, 0.0)
        top = np.minimum(np.where(top > 1, 1 / np.maximum(top, 1.0), top), _MOST_HARMONIC)
        needed = _VOICING + np.maximum(0, 2 - loudest * (1 + _VOICING) / _SILENCE)
        voiced = top >= needed
        hnr_db[at + row[voiced]] = 10 * np.log10(top[voiced] / (1 - top[voiced]))
        f0[at + row[voiced]] = _UPSAMPLING * sr / (first + best + shift)[voiced]
    return hnr_db, f0


def hnr(y: npt.ArrayLike, sr: int) -> float:
    """Return the mean of `harmonics_to_noise` over the voiced frames of a sound [shape=(samples,)] in dB, or NaN."""
    return _mean_of_voiced(harmonics_to_noise(y, sr)[0])


def voiced_share(y: npt.ArrayLike, sr: int) -> float:
    """Return the share (0 to 1) of frames of a sound [shape=(samples,)] that `harmonics_to_noise` finds voiced."""
    return float(np.mean(np.isfinite(harmonics_to_noise(y, sr)[0])))


def log_mel_range(y: npt.ArrayLike, spec: MfccSpec) -> float:
    """Return how far the loudest mel value of a sound [shape=(samples,)] lies above its quietest, in dB.

    Of all bands and frames of the extractor's log-mel spectrum, with its floor but before its `top_db`. A sound that
    asks for more than recordings have (about 60 to 90 dB) is exaggerated in contrast.

    Raises
    ------
    DataError
        `y` is empty, or holds NaN, Inf or values beyond 1e12.
    """
    decibels = log_mel(np.asarray(y, np.float64), dataclasses.replace(spec, top_db=math.inf))
    return float(decibels.max() - decibels.min())


def spectral_convergence(y: npt.ArrayLike, reference: npt.ArrayLike, spec: MfccSpec) -> float:
    """Compare the magnitudes of two sounds' short-time spectra, phases and level aside [1]_.

    ``min over g of || |S_ref| - g |S_y| ||_F / || |S_ref| ||_F`` with the transform of the extractor: unlike in the
    usual definition, the gain that makes it smallest is taken out.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio at ``spec.sr``; the longer one is cut to the shorter.
    spec : MfccSpec

    Returns
    -------
    float
        0 (equal magnitudes) to 1 (none in common, or `y` is silent); NaN where `reference` is silent.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    ParameterError
        One is not of shape (samples,).

    References
    ----------
    .. [1] N. Sturmel and L. Daudet, "Signal reconstruction from STFT magnitude: a state of the art", Proc. DAFx, 2011.
    """
    pair = [_finite(audio) for audio in (y, reference)]
    samples = min(map(len, pair))
    levels = [np.abs(audio[:samples]).max() for audio in pair]
    if levels[1] == 0:
        return math.nan
    if levels[0] == 0:
        return 1.0
    got, wanted = (np.abs(stft(audio[:samples] / level, spec)) for audio, level in zip(pair, levels, strict=True))
    power, norm = float(np.sum(got**2)), float(np.linalg.norm(wanted))
    if not norm > 0:  # all of it where no window reaches
        return math.nan
    gain = float(np.sum(wanted * got)) / power if power > 0 else 0.0
    return min(1.0, float(np.linalg.norm(wanted - gain * got)) / norm)


def stoi(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> float:
    """Short-time objective intelligibility of a sound, against the same words without damage [1]_, by pystoi.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio, aligned in time; the longer one is cut to the shorter. Level and mean are taken out.
    sr : int
        Hz of both.

    Returns
    -------
    float
        About 0 to 1; 1 is the reference itself. NaN where one is silent, or less than 0.41 s of the reference is not.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    ParameterError
        pystoi is not installed, `sr` is no positive integer, or a sound is not of shape (samples,).

    References
    ----------
    .. [1] C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An algorithm for intelligibility prediction of
       time-frequency weighted noisy speech", IEEE Trans. Audio, Speech, and Language Processing 19(7), 2011.
    """
    pystoi = _library("pystoi")
    got, wanted = _pair(y, reference, sr)
    if not got.any() or not wanted.any() or len(wanted) < _STOI_SECONDS * sr:
        return math.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(pystoi.stoi(wanted, got, int(sr)))
    # the library says 1e-5 where too few frames are left, which would read as "not intelligible"
    return math.nan if any("Not enough STFT frames" in str(warning.message) for warning in caught) else value


def pesq(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> float:
    """Perceptual evaluation of speech quality: the opinion score that listeners would give [1]_, by pesq.

    Narrow band (P.862.1) at 8000 Hz, wide band (P.862.2) at 16000 Hz. Sounds of another rate are resampled to 16000 Hz.

    Parameters
    ----------
    y, reference : array [shape=(samples,)]
        Audio; the longer one is cut to the shorter. Level and mean are taken out.
    sr : int
        Hz of both.

    Returns
    -------
    float
        1 (bad) to 4.55 narrow band or 4.64 wide band (the reference itself). NaN where one is silent or shorter than
        the 0.25 s that the standard asks for, or where no utterance is found.

    Raises
    ------
    DataError
        A sound is empty or holds NaN or Inf.
    ParameterError
        pesq is not installed, `sr` is no positive integer, or a sound is not of shape (samples,).

    References
    ----------
    .. [1] ITU-T Recommendations P.862 (2001), P.862.1 (2003) and P.862.2 (2007).
    """
    library = _library("pesq")
    got, wanted = _pair(y, reference, sr)
    if not got.any() or not wanted.any():
        return math.nan
    if sr not in (8000, 16000):
        got, wanted, sr = resample(got, sr, 16000), resample(wanted, sr, 16000), 16000
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(library.pesq(int(sr), wanted, got, "nb" if sr == 8000 else "wb"))
    except (library.PesqError, ValueError):  # too short, or nothing that counts as speech
        return math.nan


def score_sound(
    y: npt.ArrayLike,
    wanted: npt.ArrayLike,
    spec: MfccSpec,
    *,
    gain: float = 1.0,
    reference: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Give every score of one sound.

    Parameters
    ----------
    y : array [shape=(samples,)]
        Audio at ``spec.sr``: the sound at the level that its pattern asks for, times `gain`.
    wanted : array [shape=(n_mfcc, frames)]
        The pattern that it was made from.
    spec : MfccSpec
    gain : float
        As in `Sounds`. What depends on level (MFCC, range) is taken of ``y / gain``.
    reference : array [shape=(samples,)], optional
        The recording that the pattern was extracted from.

    Returns
    -------
    dict
        ``relative_error``, ``coefficient_rmse`` (mean over the coefficients), ``mcd_db``, ``hnr_db``, ``voiced_share``,
        ``log_mel_range_db``, ``peak`` (of `y` as given; ``peak / gain`` is what the pattern asks for) and ``gain_db``.
        With a reference also ``stoi``, ``pesq`` and ``spectral_convergence``. NaN where a score is undefined, or its
        library is not installed; pitch needs a rate of at least 800 Hz.

    Raises
    ------
    DataError
        `y` or `reference` is empty, holds NaN or Inf, or values beyond 1e12; `y` and `wanted` differ in frames.
    ParameterError
        `gain` is not a positive number; a sound is not of shape (samples,).
    """
    if not 0 < gain < math.inf:
        raise ParameterError(f"gain must be a positive number. Received: {gain!r}")
    audio = _finite(y)
    asked = audio / gain
    C = mfcc(asked, spec)
    pitched = spec.sr >= 800
    hnr_db = harmonics_to_noise(audio, spec.sr)[0] if pitched else np.full(1, np.nan)
    scores = {
        "mcd_db": mel_cepstral_distortion(C, wanted, spec),  # first: it refuses patterns of another shape
        "relative_error": relative_error(C, np.asarray(wanted)),
        "coefficient_rmse": float(coefficient_rmse(C, wanted).mean()),
        "hnr_db": _mean_of_voiced(hnr_db),
        "voiced_share": float(np.mean(np.isfinite(hnr_db))) if pitched else math.nan,
        "log_mel_range_db": log_mel_range(asked, spec),
        "peak": float(np.abs(audio).max()),
        "gain_db": 20 * math.log10(gain),
    }
    if reference is not None:
        scores["stoi"] = stoi(audio, reference, spec.sr) if _installed("pystoi") else math.nan
        scores["pesq"] = pesq(audio, reference, spec.sr) if _installed("pesq") else math.nan
        scores["spectral_convergence"] = spectral_convergence(audio, reference, spec)
    return scores


def _check_rate(sr: object) -> None:
    if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr < 1:
        raise ParameterError(f"sr must be a positive integer, in Hz. Received: {sr!r}")


def _patterns(got: npt.ArrayLike, wanted: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise DataError(f"Two patterns of one shape (n_mfcc, frames) are compared. Received: {a.shape} and {b.shape}")
    return a, b


def _finite(y: npt.ArrayLike) -> Array:
    """Return one sound as float64, its level and mean kept."""
    _sound(y)
    return np.asarray(y, np.float64)


def _sound(y: npt.ArrayLike) -> Array:
    """Return one sound without mean, its peak at 1 (or all 0)."""
    audio = condition(y)
    if audio.ndim != 1:
        raise ParameterError(f"one sound of shape (samples,) is scored at a time. Received: shape {audio.shape}")
    return audio


def _pair(y: npt.ArrayLike, reference: npt.ArrayLike, sr: int) -> tuple[Array, Array]:
    """Return two sounds of the shorter one's length, each without mean and with its peak at 1 (or all 0)."""
    _check_rate(sr)
    got, wanted = _sound(y), _sound(reference)
    samples = min(len(got), len(wanted))
    return condition(got[:samples]).astype(np.float64), condition(wanted[:samples]).astype(np.float64)


def _autocorrelation(frames: Array, n_fft: int, lags: int) -> Array:
    """Return the autocorrelation of frames (frames, win) at multiples of a quarter sample (frames, lags); 1 at 0."""
    power = np.abs(scipy.fft.rfft(frames, n_fft, axis=1)) ** 2
    if n_fft % 2 == 0:
        power[:, -1] /= 2  # at half the rate only one bin was there; the longer inverse doubles it
    r = scipy.fft.irfft(power, _UPSAMPLING * n_fft, axis=1)[:, :lags]
    return np.asarray(r / np.where(r[:, :1] > 0, r[:, :1], 1.0))


def _mean_of_voiced(hnr_db: Array) -> float:
    voiced = np.isfinite(hnr_db)
    return float(hnr_db[voiced].mean()) if voiced.any() else math.nan


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ParameterError(f"{name} is not installed; pip install 'cepscope[scores]'") from error


def _installed(name: str) -> bool:
    try:
        _library(name)
    except ParameterError:
        return False
    return True
