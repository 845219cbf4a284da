"""How voiced a sound is: harmonics-to-noise ratio, pitch, and the share of frames that have one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from cepscope.errors import ParameterError
from cepscope.invert.checks import check_rate, conditioned_sound

Array = npt.NDArray[Any]

HOP_SECONDS = 0.010
_PERIODS = 4.5  # of the lowest pitch in a window, as Praat's harmonicity has
_VOICING, _SILENCE, _OCTAVE_COST = 0.45, 0.03, 0.01  # Praat's, of pitch by autocorrelation
_MOST_HARMONIC = 1 - 1e-6  # 60 dB
_UPSAMPLING = 4  # of the autocorrelation; a parabola does the rest
_FRAMES_AT_ONCE = 128
_LEAST_RATE = 800  # Hz: twice the highest pitch looked for


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
    check_rate(sr)
    if not 0 < lowest < highest <= sr / 2:
        raise ParameterError(
            f"pitch needs 0 < lowest < highest <= sr / 2 = {sr / 2:g}. Received: lowest={lowest:g}, highest={highest:g}"
        )
    sound = conditioned_sound(y).astype(np.float64)  # without DC, peak 1: the peak that silence is measured by
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
    return _mean_and_share(harmonics_to_noise(y, sr)[0])[0]


def voiced_share(y: npt.ArrayLike, sr: int) -> float:
    """Return the share (0 to 1) of frames of a sound [shape=(samples,)] that `harmonics_to_noise` finds voiced."""
    return _mean_and_share(harmonics_to_noise(y, sr)[0])[1]


def hnr_and_voiced_share(y: npt.ArrayLike, sr: int) -> tuple[float, float]:
    """Return `hnr` and `voiced_share` of a sound [shape=(samples,)]; NaN at rates below 800 Hz, too low for pitch."""
    return _mean_and_share(harmonics_to_noise(y, sr)[0]) if sr >= _LEAST_RATE else (math.nan, math.nan)


def _mean_and_share(hnr_db: Array) -> tuple[float, float]:
    voiced = np.isfinite(hnr_db)
    return float(hnr_db[voiced].mean()) if voiced.any() else math.nan, float(np.mean(voiced))


def _autocorrelation(frames: Array, n_fft: int, lags: int) -> Array:
    """Return the autocorrelation of frames (frames, win) at multiples of a quarter sample (frames, lags); 1 at 0."""
    power = np.abs(scipy.fft.rfft(frames, n_fft, axis=1)) ** 2
    if n_fft % 2 == 0:
        power[:, -1] /= 2  # at half the rate only one bin was there; the longer inverse doubles it
    r = scipy.fft.irfft(power, _UPSAMPLING * n_fft, axis=1)[:, :lags]
    return np.asarray(r / np.where(r[:, :1] > 0, r[:, :1], 1.0))
