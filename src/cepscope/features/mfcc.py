"""MFCC with librosa's numbers, several times as fast, or with those of another front end.

librosa plans everything anew for each call; here the window and the mel filters of a spec are made once,
and clips go through in groups that fit the processor's cache. Nothing depends on the grouping: a clip alone
gives the bits that it gives in a batch, whatever the number of BLAS threads (there is no BLAS call).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features.filterbank import mel_filters
from cepscope.features.framing import (
    check_length,
    cut_frames,
    cut_some_frames,
    repeated_window,
    spare_frames,
    window_frames,
)
from cepscope.features.spec import MfccSpec

FloatArray = npt.NDArray[np.float32]


class Sound(Protocol):
    """What has so many samples, and gives parts of them."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> FloatArray: ...


_BLOCK = 1 << 17  # samples in the frames that are transformed at once: 1 MB in float64
_LOUDEST = 1e12  # far above any sound; powers stay inside float32
_LEAST_GAIN = 1e-3  # of a lifter that can still be divided out in float32


def mfcc(y: npt.ArrayLike, spec: MfccSpec) -> FloatArray:
    """Compute MFCCs [1]_: frames, power spectrum, mel filters, logarithm, DCT-II, lifter.

    Unless the settings ask for another front end, equal to ``librosa.feature.mfcc(y, sr=, n_mfcc=, lifter=,
    n_fft=, hop_length=, win_length=, n_mels=, fmin=, fmax=, htk=)`` with its defaults (centre, constant padding),
    given the same floor (`amin`) and `top_db`; without c0 it is the rows after librosa's first, and of the
    natural logarithm ln(10) / 10 times as large. All is in float64 up to the decibels, which are float32 like
    the DCT; librosa's are too, for float32 audio. So both round decibels of about 100 to 8e-6 before the DCT adds
    `n_mels` of them up, and librosa's own float32 result differs from its float64 result by up to 7 float32
    roundings (2**-23) of the largest possible coefficient, ``max|log_mel| * sqrt(n_mels)``, times the lifter.
    That is the tolerance kept here as well: 16 such roundings at most, 1e-3 where c0 is about -600; 1e-4 is
    usual. (An FFT in float32 would be twice as fast, but off by 1e-2 in bands 100 dB below a pure tone.)

    Parameters
    ----------
    y : array [shape=(..., samples)]
        Audio at `spec.sr`, floating point, at least one sample.
    spec
        The settings.

    Returns
    -------
    C : array [shape=(..., n_mfcc, frames)]
        float32, frames = ``spec.frames_of(samples)``; row i is of order ``spec.orders[i]``. Unless liftered, c0 is
        sqrt(n_mels) times the mean level, in dB or, of the natural logarithm, in units of 4.34 dB.

    Raises
    ------
    DataError
        `y` is empty or too short for a frame, holds NaN or Inf, or values beyond 1e12 (after scaling).
    ParameterError
        `y` is not floating point or has no axis.

    References
    ----------
    .. [1] S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
       recognition in continuously spoken sentences", IEEE Trans. ASSP 28(4), 1980.

    Examples
    --------
    >>> mfcc(np.zeros(16000), MfccSpec()).shape
    (20, 101)
    """
    audio = _checked(y, spec)
    clips = audio.reshape(-1, audio.shape[-1])
    C = np.empty((len(clips), spec.n_mfcc, spec.frames_of(clips.shape[-1])), dtype=np.float32)
    for part, decibels in _log_mel_groups(clips, spec):  # (clips, n_mels, frames)
        C[part] = _cepstra(decibels, spec)
    return C.reshape(*audio.shape[:-1], *C.shape[-2:])


def fill_patches(patches: FloatArray, sounds: Iterable[tuple[int, Sound]], spec: MfccSpec) -> None:
    """Compute ``fit_length(mfcc(y, spec), frames, spec)`` of many sounds of any lengths, to the same bits.

    Frames of several sounds are transformed together. Those that would be cropped off are not computed, unless `top_db`
    asks what the loudest of them is.

    Parameters
    ----------
    patches : array [shape=(n, n_mfcc, frames)]
        Where they are written; patches of no sound stay as they are.
    sounds : iterable of (int, Sound)
        Which patch, and the sound that it is of: float32 [shape=(samples,)], not empty, or what gives its parts so.
        They are taken one after another and not kept.
    spec
        The settings.

    Raises
    ------
    DataError
        A sound is too short for a frame; or NaN, Inf or values far beyond [-1, 1] come into a patch.
    """
    frames = patches.shape[2]
    block = np.zeros((max(frames, _BLOCK // spec.n_fft), spec.n_fft))  # frames of several sounds
    window = None if spec.remove_dc or spec.preemphasis else repeated_window(spec, len(block))
    held: list[tuple[FloatArray, int]] = []  # where their MFCC go (n_mfcc, some frames), and where they begin
    count = 0

    def flush() -> None:
        if window is not None:
            np.multiply(block[:count], window[:count], out=block[:count])
        cepstra = _cepstra(_decibels(_mel_power(block[:count], spec).astype(np.float32), spec), spec)
        if not np.isfinite(cepstra).all():
            raise DataError("audio must be finite, and not far beyond [-1, 1]")
        for place, first in held:
            place[:] = cepstra[:, first : first + place.shape[1]]
        held.clear()

    for i, y in sounds:
        check_length(len(y), spec)
        off, on = spare_frames(there := spec.frames_of(len(y)), frames)
        if there < frames:
            patches[i] = spec.silence[:, np.newaxis]
        if math.isfinite(spec.top_db):
            patches[i, :, on : on + there] = mfcc(y[:], spec)[:, off : off + frames]
            continue
        own = min(there, frames)
        if count + own > len(block):
            flush()
            count = 0
        place = block[count : count + own]
        cut = cut_some_frames(y, spec, off, own)
        if window is None:
            window_frames(cut, spec, place)
        else:
            place[:] = cut
        held.append((patches[i, :, on : on + own], count))
        count += own
    if held:
        flush()


def log_mel(y: npt.ArrayLike, spec: MfccSpec) -> FloatArray:
    """Compute the log-mel spectrogram under the MFCCs.

    Parameters
    ----------
    y : array [shape=(..., samples)]
        As in `mfcc`.
    spec
        The settings; `n_mfcc`, `c0`, `lifter` and `log` play no part: it is in dB.

    Returns
    -------
    decibels : array [shape=(..., n_mels, frames)]
        float32, dB of mel power (reference 1): librosa's ``power_to_db(melspectrogram(...))``.

    Raises
    ------
    DataError, ParameterError
        As in `mfcc`.
    """
    audio = _checked(y, spec)
    clips = audio.reshape(-1, audio.shape[-1])
    decibels = np.empty((len(clips), spec.n_mels, spec.frames_of(clips.shape[-1])), dtype=np.float32)
    for part, values in _log_mel_groups(clips, spec):
        decibels[part] = values
    return decibels.reshape(*audio.shape[:-1], *decibels.shape[-2:])


def mfcc_to_log_mel(C: npt.ArrayLike, spec: MfccSpec) -> FloatArray:
    """Turn MFCCs into the smooth log-mel spectrogram behind them: divide lifter and units out, transposed DCT.

    It is the least-squares inverse: exact when ``n_mfcc == n_mels``, otherwise the part of the log-mel
    spectrum that varies slowly over frequency. Where c0 is not kept it counts as 0: every frame then has a
    mean level of 0 dB, whatever it had in the sound. Equal to
    ``librosa.power_to_db(librosa.feature.inverse.mfcc_to_mel(C, n_mels=, lifter=))``, in float32, of decibels
    with c0.

    Parameters
    ----------
    C : array [shape=(..., n_mfcc, frames)]
        MFCC.
    spec
        How `C` was computed.

    Returns
    -------
    decibels : array [shape=(..., n_mels, frames)]
        float32, dB of mel power, whatever the logarithm of `C`.

    Raises
    ------
    ParameterError
        `C` does not have `spec.n_mfcc` rows, or the lifter takes a coefficient out (a gain below 1e-3), so
        that nothing brings it back.
    """
    import scipy.fft

    given = np.asarray(C, dtype=np.float32)
    if given.ndim < 2 or given.shape[-2] != spec.n_mfcc:
        raise ParameterError(f"MFCCs have the shape (..., {spec.n_mfcc}, frames). Received: {given.shape}")
    orders, gains = spec.orders, spec.lifter_gains()
    if (lost := np.abs(gains) < _LEAST_GAIN).any():
        raise ParameterError(
            f"the lifter multiplies coefficient {orders[lost][0]} by {gains[lost][0]:.1g}, for good. "
            f"Received: lifter={spec.lifter:g}, n_mfcc={spec.n_mfcc}; take a lifter of at least {orders[-1] + 1}"
        )
    if not given.size:
        return np.zeros((*given.shape[:-2], spec.n_mels, given.shape[-1]), dtype=np.float32)
    cepstra = np.zeros((*given.shape[:-2], orders[-1] + 1, given.shape[-1]), dtype=np.float32)
    cepstra[..., orders[0] :, :] = given / spec.coefficient_gains().astype(np.float32)[:, np.newaxis]
    decibels = scipy.fft.idct(cepstra, n=spec.n_mels, axis=-2, type=2, norm="ortho")
    return np.asarray(decibels, dtype=np.float32)


def _log_mel_groups(clips: npt.NDArray[np.floating], spec: MfccSpec) -> Iterator[tuple[slice, FloatArray]]:
    """Yield groups of clips (n, samples) as a slice and their dB (clips, n_mels, frames)."""
    frames = spec.frames_of(clips.shape[-1])
    most = max(1, _BLOCK // spec.n_fft)  # frames at once
    size = max(1, most // frames)
    for start in range(0, len(clips), size):
        part = slice(start, start + size)
        framed = cut_frames(clips[part], spec)
        decibels = np.empty((len(framed), spec.n_mels, frames), dtype=np.float32)
        for first in range(0, frames, most):  # one round, unless a single clip fills more than a block
            windowed = window_frames(framed[:, first : first + most], spec)
            mel = _mel_power(windowed.reshape(-1, spec.n_fft), spec)
            decibels[..., first : first + most] = mel.reshape(-1, *windowed.shape[:2]).swapaxes(0, 1)
        _decibels(decibels, spec)
        if spec.top_db < np.inf:
            loudest = decibels.max(axis=(-2, -1), keepdims=True)
            np.maximum(decibels, loudest - np.float32(spec.top_db), out=decibels)
        yield part, decibels


def _mel_power(windowed: npt.NDArray[np.float64], spec: MfccSpec) -> npt.NDArray[np.float64]:
    """Return the mel power (n_mels, frames) of windowed frames (frames, n_fft)."""
    filters = mel_filters(spec)
    spectrum = np.fft.rfft(windowed)  # the bits of SciPy's, with less around it
    squares = spectrum.view(np.float64)  # real, imaginary, real, ...
    squares *= squares
    power = np.ascontiguousarray((squares[:, ::2] + squares[:, 1::2]).T)  # (bins, frames)
    if spec.power == 1:
        np.sqrt(power, out=power)
    # a bin lies in two filters at most: the sparse product is cheaper than BLAS, and sums in one order only
    mel: npt.NDArray[np.float64] = filters @ power
    if spec.power == 1:
        mel *= mel
    return mel


def _decibels(power: FloatArray, spec: MfccSpec) -> FloatArray:
    """Turn mel power into dB, in place: at least the floor."""
    np.maximum(power, np.float32(spec.floor), out=power)
    np.log10(power, out=power)
    power *= 10
    return power


def _cepstra(decibels: FloatArray, spec: MfccSpec) -> FloatArray:
    """Return the MFCC (..., n_mfcc, frames) of dB (..., n_mels, frames)."""
    import scipy.fft

    kept, gains = _coefficients(spec)
    found: FloatArray = scipy.fft.dct(decibels, axis=-2, type=2, norm="ortho")[..., kept, :] * gains
    return found


@lru_cache(maxsize=32)
def _coefficients(spec: MfccSpec) -> tuple[slice, FloatArray]:
    """Return which coefficients are kept, and what they are multiplied by [shape=(n_mfcc, 1)]."""
    gains = spec.coefficient_gains().astype(np.float32)[:, np.newaxis]
    gains.flags.writeable = False
    return slice(spec.orders[0], spec.orders[-1] + 1), gains


def _checked(y: npt.ArrayLike, spec: MfccSpec) -> npt.NDArray[np.floating]:
    """Return audio (..., samples) as an array, or raise."""
    audio = np.asarray(y)
    if audio.ndim == 0 or audio.dtype.kind != "f":
        raise ParameterError(
            "audio must be floating point in [-1, 1] of shape (..., samples). Received: "
            f"{audio.dtype} of shape {audio.shape}; divide 16-bit integers by 32768"
        )
    if not audio.shape[-1]:
        raise DataError(f"audio needs at least one sample. Received: shape {audio.shape}")
    check_length(audio.shape[-1], spec)
    peak, most = float(max(audio.max(initial=0.0), -audio.min(initial=0.0))), _LOUDEST / spec.scale
    if not peak <= most:  # so for NaN too
        raise DataError(f"audio must be finite and at most {most:g}. Received: a peak of {peak:g}")
    return audio
