"""How voiced a frame is and how high the voice, from MFCC alone: a small ridge regression fitted on real speech.

MFCC of few coefficients hold no harmonics, yet the envelope tells both: voiced speech has its energy low, and a long
vocal tract, whose formants lie low, usually goes with a low voice. The regression sees patterns of all front ends in
the same form: power density up to 3.8 kHz, relative to the clip's loudest frame, as a few cosine coefficients.

The model, ``voice.json``, is made by ``scripts/fit_voice.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.invert.envelope import mel_bands

Array = npt.NDArray[Any]

LOWEST, HIGHEST = 60.0, 400.0  # Hz: the pitches that the model may give
REFERENCE = 150.0  # Hz: pitches are regressed in semitones from here

_BANDS = 24
_LOW, _HIGH = 100.0, 3800.0  # Hz: a sound of 8 kHz has all of it
_RANGE_DB = 60.0  # quieter than this under the loudest frame counts as silence
_LONG = 0.04  # seconds: windows longer than this resolve the harmonics of every voice, which changes the envelope
_WIDEST = 4.0  # standard deviations that a coefficient may lie off: unnatural patterns stay near natural ones
_MIXED = 5  # coefficients whose products help as well
_AROUND = (-0.08, -0.04, 0.04, 0.08)  # seconds: neighbours that help to tell voicing
_SYLLABLE, _PHRASE = 0.04, 0.4  # seconds: the two time scales that pitch is read from
_SMOOTH_VOICING, _SMOOTH_PITCH = 0.010, 0.05  # seconds, sigma: about 0.03 and 0.12 s wide
_LEAST_WEIGHT = 0.02  # of an unvoiced frame beside a voiced one: keeps means defined and contours without steps


@dataclass(frozen=True)
class Regression:
    """A linear function of features.

    Attributes
    ----------
    weights : array [shape=(features,)]
    bias : float
    """

    weights: Array
    bias: float

    def __call__(self, features: Array) -> Array:
        """Apply it to features (features, frames)."""
        value: Array = (self.weights[:, None] * features).sum(axis=0) + self.bias  # in one order, whatever the BLAS
        return value


@dataclass(frozen=True)
class VoiceModel:
    """The regressions for front ends of one resolution and kind of window.

    Attributes
    ----------
    size : int
        Cosine coefficients that it sees, from order 0 on.
    level : bool
        Whether it sees levels: MFCC without c0 have none.
    long : bool
        Whether it is for long windows.
    mean, sd : array [shape=(size,)] or [shape=(size - 1,)]
        Of the cosine coefficients in the training data, without order 0 if not `level`.
    voicing : Regression
        Gives 1 for voiced, 0 for unvoiced.
    slope, offset : float
        ``sigmoid(slope * voicing + offset)`` is the share of frames that are voiced.
    pitch : Regression
        Gives semitones from `REFERENCE`.
    """

    size: int
    level: bool
    long: bool
    mean: Array
    sd: Array
    voicing: Regression
    slope: float
    offset: float
    pitch: Regression


def predict_voicing(C: Array, spec: MfccSpec) -> Array:
    """Estimate how voiced each frame is.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
        MFCC of any level; only differences between the frames matter.
    spec : MfccSpec
        How `C` was, or would be, computed.

    Returns
    -------
    array [shape=(frames,)]
        float64, 0 (noise or silence) to 1 (voiced): the chance that a frame like this is voiced, smoothed over 0.03 s.

    Raises
    ------
    DataError
        `C` holds NaN or Inf.
    ParameterError
        `C` is not a pattern of `spec`.
    """
    return predict_voice(C, spec)[1]


def predict_pitch(C: Array, spec: MfccSpec, *, pitch: float | None = None) -> Array:
    """Estimate the pitch contour.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
        MFCC of any level.
    spec : MfccSpec
        How `C` was, or would be, computed.
    pitch : float, optional
        Hz; the contour is scaled so that its geometric mean, weighted by voicing, is this.

    Returns
    -------
    array [shape=(frames,)]
        float64, Hz, smooth over 0.12 s and carried on through unvoiced frames; 60 to 400 unless `pitch` is given.

    Raises
    ------
    DataError
        `C` holds NaN or Inf.
    ParameterError
        `C` is not a pattern of `spec`, or `pitch` is not a positive number.
    """
    return predict_voice(C, spec, pitch=pitch)[0]


def predict_voice(C: Array, spec: MfccSpec, *, pitch: float | None = None) -> tuple[Array, Array]:
    """Return the pitch contour [shape=(frames,)] of `predict_pitch` and the voicing of `predict_voicing` at once."""
    if pitch is not None and not 0 < pitch < math.inf:
        raise ParameterError(f"pitch must be a positive number of Hz. Received: {pitch!r}")
    model = _model_for(spec)
    z = coefficients(C, spec, model)
    voicing = voicing_of(model, z, spec)
    octaves = pitch_of(model, z, voicing, spec) / 12
    contour: Array = REFERENCE * 2.0**octaves
    if pitch is not None and contour.size:
        weight = voicing + _LEAST_WEIGHT
        contour *= pitch / math.exp(float((weight * np.log(contour)).sum() / weight.sum()))
    return contour, voicing


def coefficients(C: Array, spec: MfccSpec, model: VoiceModel) -> Array:
    """Bring a pattern into the form that the model knows.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    model : VoiceModel

    Returns
    -------
    array [shape=(size, frames)] or [shape=(size - 1, frames)]
        Standardised and limited to 4 standard deviations.
    """
    z: Array = (cosines(C, spec, model.size, level=model.level) - model.mean[:, None]) / model.sd[:, None]
    return np.clip(z, -_WIDEST, _WIDEST)


def cosines(C: Array, spec: MfccSpec, size: int, *, level: bool) -> Array:
    """Return the cosine coefficients of the power density up to 3.8 kHz.

    Parameters
    ----------
    C : array [shape=(n_mfcc, frames)]
    spec : MfccSpec
    size : int
        Orders 0 to ``size - 1`` are kept.
    level : bool
        Relative to the loudest frame; otherwise relative to each frame itself, and order 0 is left out.

    Returns
    -------
    array [shape=(size, frames)] or [shape=(size - 1, frames)]
        float64, dB.
    """
    import scipy.fft

    given = np.asarray(C)
    if given.ndim != 2:
        raise ParameterError(f"a pattern has the shape ({spec.n_mfcc}, frames). Received: {given.shape}")
    if not np.isfinite(given).all():
        raise DataError("a pattern must be finite. Received: NaN or Inf")
    limited = np.clip(given, -1e6, 1e6)  # far beyond any sound; float32 then can't overflow
    density = mfcc_to_log_mel(limited, spec) - mel_bands(spec, "float64").area_db[:, None]
    bands = _interpolate(density, spec)
    if not bands.size:
        return np.zeros((size if level else size - 1, 0))
    top = bands.max(axis=0)
    power = 10 * np.log10(np.mean(10.0 ** ((bands - top) / 10), axis=0)) + top  # (frames,), dB
    relative = np.maximum(bands - (power.max() if level else power), -_RANGE_DB)
    cepstra: Array = scipy.fft.dct(relative, axis=0, norm="ortho") / math.sqrt(_BANDS)
    return cepstra[0 if level else 1 : size]


def resolution(spec: MfccSpec) -> float:
    """Return how many cosine coefficients of the range up to 3.8 kHz a front end fixes, about."""
    share = np.count_nonzero(spec.mel_frequencies() <= _HIGH) / spec.n_mels
    return float((spec.orders[-1] + 1) * share)


def has_long_window(spec: MfccSpec) -> bool:
    """Return whether a front end's window resolves the harmonics of every voice."""
    return spec.win > _LONG * spec.sr


def voicing_of(model: VoiceModel, z: Array, spec: MfccSpec) -> Array:
    """Return the voicing (frames,) of standardised coefficients."""
    chance = _sigmoid(model.slope * model.voicing(voicing_features(z, spec)) + model.offset)
    return np.clip(_smooth(chance, np.ones(chance.size), _SMOOTH_VOICING, spec), 0.0, 1.0)


def pitch_of(model: VoiceModel, z: Array, voicing: Array, spec: MfccSpec) -> Array:
    """Return the pitch (frames,) of standardised coefficients, semitones from `REFERENCE`."""
    low, high = (12 * math.log2(f / REFERENCE) for f in (LOWEST, HIGHEST))
    semitones = np.clip(model.pitch(pitch_features(z, voicing, spec)), low, high)
    # rounding must not carry a mean beyond what it is the mean of
    return np.clip(_smooth(semitones, voicing + _LEAST_WEIGHT, _SMOOTH_PITCH, spec), low, high)


def voicing_features(z: Array, spec: MfccSpec) -> Array:
    """Return the coefficients, their squares, neighbours in time, and products of the first ones (features, frames).

    The products let loudness and slope count together: a loud fricative is not voiced, nor is a quiet slope.
    """
    around = (_shift(z, seconds, spec) for seconds in _AROUND)
    products = [z[i] * z[j] for i, j in combinations(range(_MIXED), 2)]
    return np.concatenate([z, z**2, *around, products])


def pitch_features(z: Array, voicing: Array, spec: MfccSpec) -> Array:
    """Return means over two spans of time, of voiced frames above all, and squares (4 * coefficients, frames)."""
    weight = voicing + _LEAST_WEIGHT
    syllable, phrase = (_smooth(z, weight, seconds, spec) for seconds in (_SYLLABLE, _PHRASE))
    return np.concatenate([syllable, syllable**2, phrase, phrase**2])


def read_models(values: Mapping[str, Any]) -> tuple[VoiceModel, ...]:
    """Return the models that JSON holds, as ``scripts/fit_voice.py`` writes it."""
    return tuple(
        VoiceModel(
            size=int(one["size"]),
            level=bool(one["level"]),
            long=bool(one["long"]),
            mean=_frozen(one["mean"]),
            sd=_frozen(one["sd"]),
            voicing=Regression(_frozen(one["voicing"]), float(one["voicing_bias"])),
            slope=float(one["slope"]),
            offset=float(one["offset"]),
            pitch=Regression(_frozen(one["pitch"]), float(one["pitch_bias"])),
        )
        for one in values["models"]
    )


def choose(models: Sequence[VoiceModel], spec: MfccSpec) -> VoiceModel:
    """Return the finest model whose coefficients a front end fixes, or the coarsest of its kind."""
    fit = sorted((m for m in models if (m.level, m.long) == (spec.c0, has_long_window(spec))), key=lambda m: m.size)
    return [fit[0], *(m for m in fit if m.size <= resolution(spec) + 1)][-1]


@lru_cache(maxsize=32)
def _model_for(spec: MfccSpec) -> VoiceModel:
    return choose(_models(), spec)


@lru_cache(maxsize=1)
def _models() -> tuple[VoiceModel, ...]:
    text = resources.files("cepscope.invert").joinpath("voice.json").read_text(encoding="utf-8")
    return read_models(json.loads(text))


def _frozen(values: Sequence[float]) -> Array:
    array = np.array(values, np.float64)
    array.flags.writeable = False
    return array


def _interpolate(density: Array, spec: MfccSpec) -> Array:
    """Return a density (n_mels, frames) at `_BANDS` points equally far apart on HTK's mel scale (_BANDS, frames)."""
    return _between(density, _places(spec), axis=0)


@lru_cache(maxsize=32)
def _places(spec: MfccSpec) -> Array:
    """Return where those points lie among the bands (_BANDS,)."""
    mels = np.linspace(math.log1p(_LOW / 700), math.log1p(_HIGH / 700), _BANDS)
    centres = spec.mel_frequencies()
    places: Array = np.interp(700 * np.expm1(mels), centres, np.arange(centres.size))
    return places


def _shift(z: Array, seconds: float, spec: MfccSpec) -> Array:
    """Return the values (..., frames) some seconds later; beyond the ends, those at the ends."""
    frames = z.shape[-1]
    if not frames:
        return z
    return _between(z, np.clip(np.arange(frames) + seconds * spec.sr / spec.hop, 0, frames - 1), axis=-1)


def _between(values: Array, place: Array, axis: int) -> Array:
    """Return the values at fractional indices."""
    below = place.astype(np.intp)
    above = np.minimum(below + 1, values.shape[axis] - 1)
    share = (place - below).reshape((-1, 1) if axis == 0 else (1, -1))
    mixed: Array = (1 - share) * values.take(below, axis=axis) + share * values.take(above, axis=axis)
    return mixed


def _smooth(values: Array, weight: Array, sigma: float, spec: MfccSpec) -> Array:
    """Return Gaussian-weighted means over time (..., frames), sigma in seconds, that count each frame by `weight`."""
    import scipy.ndimage

    frames = values.shape[-1]
    if not frames:
        return values
    width = sigma * spec.sr / spec.hop  # in frames
    half = min(math.ceil(3 * width), frames)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / max(width, 1e-3)) ** 2)
    total = scipy.ndimage.correlate1d(values * weight, kernel, axis=-1, mode="constant")
    mean: Array = total / scipy.ndimage.correlate1d(weight, kernel, axis=-1, mode="constant")
    return mean


def _sigmoid(x: Array) -> Array:
    """Return the logistic function, without overflow."""
    value: Array = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return value
