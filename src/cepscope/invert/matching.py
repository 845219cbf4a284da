"""Make a sound's MFCC equal to a pattern without touching what the coefficients do not see.

The projection: take the sound's log-mel spectrum ``L``, find the smallest change ``dL = D^T (C - D L)`` that gives the
wanted coefficients (``D``: DCT), spread it over the FFT bins, scale the spectrum by it, go back to a sound, repeat.
Harmonics and phases survive, because every bin of a band is scaled alike. The extractor's own floor and top_db are in
the loop, and so is the normalisation to full scale where the sound will be judged after it.

Two things make it converge faster. A coefficient is a logarithm, so what counts is a frame's relative error: with
``weighting`` the inverse transform minimises the squared distance of each frame over its wanted power, and a loud frame
no longer spoils the quiet one beside it. And a frame whose residual shrinks slowly takes longer steps (Aitken's
relaxation, frame by frame), up to ``acceleration`` times as long.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cepscope.audio import condition
from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, mfcc_to_log_mel
from cepscope.invert.envelope import mel_bands
from cepscope.invert.stft import Inverse, spare, stft

Array = npt.NDArray[Any]
Level = Literal["free", "full_scale"]
QUIETEST_DB = 60.0  # below the loudest frame; quieter frames weigh no more
SHORTEST = 0.7  # step of a frame whose residual changes sign
PER_DB = np.float32(np.log(10) / 20)  # natural logarithm of amplitude
LOUDEST_DB = 120.0  # mel power that no band is raised beyond; full scale has about 40, float32 about 380
LARGEST = 1e6  # of a coefficient
LEVELS: tuple[Level, ...] = ("full_scale", "free")


def at_level(y: Array, level: Level) -> Array:
    """Take the mean out of a sound [shape=(..., samples)] and, for ``"full_scale"``, bring its peak to 1."""
    if level == "full_scale":
        return condition(y)
    if level == "free":
        centred: Array = y - y.mean(axis=-1, keepdims=True, dtype=np.float64).astype(y.dtype)
        return centred
    raise ParameterError(f'level must be "full_scale" or "free". Received: {level!r}.')


def mel_power(y: Array, spec: MfccSpec) -> Array:
    """Return the mel power [shape=(..., n_mels, frames)] of a sound [shape=(..., samples)], in its precision."""
    return spectrum_to_mel(stft(y, spec), spec)


def spectrum_to_mel(X: Array, spec: MfccSpec) -> Array:
    """Return the mel power [shape=(..., n_mels, frames)] of a transform [shape=(..., n_fft // 2 + 1, frames)].

    A front end that filters magnitudes has the square of their sum as its power.
    """
    power = X.real**2 + X.imag**2
    weights = mel_bands(spec, power.dtype.name).weights
    found: Array = weights @ power if spec.power == 2 else (weights @ np.sqrt(power)) ** 2
    return found


def power_to_db(M: Array, spec: MfccSpec) -> Array:
    """Return mel power [shape=(..., n_mels, frames)] in dB, with the extractor's floor and top_db."""
    return limited(10 * np.log10(np.maximum(M, M.dtype.type(spec.floor))), spec)


def limited(L: Array, spec: MfccSpec) -> Array:
    """Return a log-mel spectrum [shape=(..., n_mels, frames)] as the extractor sees it: floor, then top_db."""
    L = np.maximum(L, L.dtype.type(10 * np.log10(spec.floor)))
    if np.isfinite(spec.top_db):
        np.maximum(L, L.max(axis=(-2, -1), keepdims=True) - L.dtype.type(spec.top_db), out=L)
    return L


def relative_error(got: Array, wanted: Array) -> float:
    """Compare two patterns [shape=(n_mfcc, frames)]: ``||got - wanted|| / ||wanted - mean over time||``.

    0 is exact, 1 as wrong as a constant. The error of a pattern that is constant in time is divided by its norm
    instead, that of zeros by 1.
    """
    wanted = np.asarray(wanted, np.float64)
    return float(np.linalg.norm(np.asarray(got, np.float64) - wanted)) / error_scale(wanted)


def error_scale(wanted: Array) -> float:
    """Return what `relative_error` divides by."""
    spread = float(np.linalg.norm(wanted - wanted.mean(axis=-1, keepdims=True)))
    norm = float(np.linalg.norm(wanted))
    scale = spread if spread > 1e-6 * norm else norm
    return scale if scale > 0 else 1.0


def match(
    y: Array,
    C: Array,
    spec: MfccSpec,
    *,
    iterations: int = 20,
    level: Level = "full_scale",
    limit_db: float = 20.0,
    weighting: float = 1.0,
    acceleration: float = 2.0,
    enough: float = 0.0,
) -> tuple[Array, Array]:
    """Project a sound onto those that have the wanted MFCC, `iterations` times, and keep the best.

    Parameters
    ----------
    y : array [shape=(samples,)]
        A sound with as many frames as the pattern.
    C : array [shape=(n_mfcc, frames)]
        Wanted MFCC.
    spec : MfccSpec
    iterations : int
    level : {"full_scale", "free"}
        What is compared: the MFCC of the sound at full scale, as any later reader will hear it, or at the level
        that the pattern itself asks for.
    limit_db : float
        No band changes by more than this in one iteration.
    weighting : float
        0: all frames count alike where they overlap; 1: by the inverse of the power that the pattern asks for.
    acceleration : float
        Longest step of a frame; 1 for none longer than the projection's own. Beyond 2 it is no faster.
    enough : float
        Relative error (of the unliftered coefficients) to stop at.

    Returns
    -------
    y : array [shape=(samples,)]
        float32, the best of all iterations, at the level compared.
    errors : array [shape=(steps + 1,)]
        Euclidean distance of the (unliftered) coefficients before each iteration and after the last.

    Raises
    ------
    ParameterError
        If `weighting` is not from 0 to 1, or `acceleration` below 1.
    DataError
        If sound and pattern differ in frames.
    """
    if acceleration < 1:
        raise ParameterError(f"acceleration must be at least 1. Received: {acceleration}")
    y = np.asarray(y, np.float32)
    frames = spec.frames_of(y.shape[-1])
    if frames != C.shape[-1]:
        raise DataError(f"The sound has {frames} frames. Expected {C.shape[-1]}, the pattern's.")
    bands = mel_bands(spec)
    wanted = (C / bands.lifter[:, None]).astype(np.float32)
    least = np.float32(10 * np.log10(spec.floor) - 30)  # a band this far below the floor is not made quieter still
    asked = mfcc_to_log_mel(C, spec)
    # a band louder than this would hide, by top_db, levels that the pattern asks for
    most = np.float32(min(LOUDEST_DB + 20 * np.log10(spec.scale), max(asked.max(), asked.min() + spec.top_db)))
    every = spare(spec)
    spread = np.ascontiguousarray(bands.spread[:, ::every]) * PER_DB
    inverse = Inverse(spec, y.shape[-1], weights=frame_weights(C, spec, weighting), every=every)
    goal = enough * error_scale(wanted.astype(np.float64))
    relax, before = np.ones(C.shape[-1], np.float32), None
    errors = np.full(iterations + 1, np.inf)
    sound = best = at_level(y, level)
    for step in range(iterations + 1):
        X = stft(sound, spec)
        M = spectrum_to_mel(X, spec)  # (n_mels, frames)
        now = 10 * np.log10(np.maximum(M, np.float32(1e-30)))
        residual = wanted - bands.dct @ limited(now, spec)
        errors[step] = np.linalg.norm(residual.ravel().astype(np.float64))
        if errors[step] <= errors.min():
            best = sound
        if step == iterations or errors[step] <= goal:
            break
        if acceleration > 1:
            relax = _relaxed(relax, residual, before, acceleration)
            before = residual
            residual = relax * residual
        change = bands.dct.T @ residual
        np.maximum(change, np.clip(least - now, -limit_db, 0), out=change)
        np.minimum(change, np.clip(most - now, -limit_db, limit_db), out=change)
        gain = np.exp(change.T @ spread).T  # in the memory order of X: (bins, frames), bins together
        sound = at_level(inverse(X[::every] * gain), level)
    return best, errors[: step + 1]


def frame_weights(C: Array, spec: MfccSpec, weighting: float) -> Array:
    """Return the inverse of each frame's wanted power to the power of `weighting` [shape=(frames,)], the loudest 1."""
    if not 0 <= weighting <= 1:
        raise ParameterError(f"weighting must be from 0 to 1. Received: {weighting}")
    log_mel = mfcc_to_log_mel(C, spec).astype(np.float64)
    level = _mean_power_db(log_mel - log_mel.max())
    down = np.minimum(level.max() - level, QUIETEST_DB)
    weights: Array = (10 ** (weighting * down / 10)).astype(np.float32)
    return weights


def _relaxed(relax: Array, residual: Array, before: Array | None, longest: float) -> Array:
    """Return the next step length of each frame [shape=(frames,)] from its last two residuals (Aitken)."""
    if before is None:
        return relax
    kept = (residual * before).sum(axis=0) / np.maximum((before * before).sum(axis=0), np.float32(1e-9))
    found: Array = np.clip(relax / np.maximum(1 - kept, np.float32(1 / longest)), np.float32(SHORTEST), longest)
    return found.astype(np.float32)


def _mean_power_db(level: Array) -> Array:
    """Return the mean power of each frame [shape=(frames,)] of levels [shape=(bands, frames)], all in dB."""
    power: Array = 10 * np.log10(np.mean(10.0 ** (level / 10), axis=0) + 1e-30)
    return power
