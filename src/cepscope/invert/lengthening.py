"""Short patterns and short sounds made longer, so that an ear has time for them.

A pattern of activation maximization lasts .1 to .6 seconds. Lengthened before inversion, it is heard as a vowel that is
held or as a movement that recurs; the sound is still judged on the copy of the pattern that is left unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]
Way = Literal["hold", "loop", "tile"]

WAYS: tuple[Way, ...] = ("hold", "loop", "tile")


@dataclass(frozen=True)
class Lengthened:
    """A pattern that was made longer.

    Attributes
    ----------
    mfcc : array [shape=(n_mfcc, frames)]
    start, stop : int
        ``mfcc[:, start:stop]`` is the pattern itself, unchanged.
    """

    mfcc: Array
    start: int
    stop: int


def lengthen(C: npt.ArrayLike, frames: int, *, way: Way = "hold", crossfade: int = 4) -> Lengthened:
    """Make a pattern longer; each coefficient stays within the range that it has in the pattern.

    Parameters
    ----------
    C : array [shape=(n_mfcc, its own frames)]
        MFCC.
    frames : int
        Wanted, at least the pattern's own.
    way : {"hold", "loop", "tile"}
        "hold": the pattern in the middle (an odd frame more goes after it), its first and its last frame held. "loop":
        the pattern from the start, then backwards, then forwards again, and so on, no frame twice where it turns.
        "tile": the pattern from the start, then again and again, each further copy faded in over its first frames from
        the last frame of the one before. (Where copies overlap, none of them stays unchanged.)
    crossfade : int
        Frames of that fade, linear, at most the pattern's own; 0: copies are only put side by side.

    Returns
    -------
    Lengthened
        Of the pattern's precision, with the place of its unchanged copy.

    Raises
    ------
    DataError
        `C` holds NaN or Inf, or is empty.
    ParameterError
        `C` is not of shape (n_mfcc, frames), or another argument is out of range.

    Examples
    --------
    >>> C = np.array([[1.0, 2.0, 3.0]])
    >>> for way in WAYS:
    ...     found = lengthen(C, 8, way=way, crossfade=1)
    ...     print(found.mfcc[0].tolist(), found.start, found.stop)
    [1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0] 2 5
    [1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0] 0 3
    [1.0, 2.0, 3.0, 2.0, 2.0, 3.0, 2.0, 2.0] 0 3
    """
    given = _pattern(C)
    own = given.shape[1]
    _check_count("frames", frames, own, f"the pattern's own {own}")
    if way not in WAYS:
        raise ParameterError(f"way must be one of {', '.join(WAYS)}. Received: {way!r}")
    if way == "hold":
        start = (frames - own) // 2
        held = np.pad(given, ((0, 0), (start, frames - own - start)), mode="edge")
        return Lengthened(held, start, start + own)
    if way == "loop":
        turn = max(own - 1, 1)
        there = np.arange(frames) % (2 * turn)
        return Lengthened(given[:, np.minimum(there, 2 * turn - there) % own], 0, own)
    _check_count("crossfade", crossfade, 0, "0")
    if crossfade > own:
        raise ParameterError(
            f"crossfade must be at most the pattern's {own} frames. Received: {crossfade}; take a smaller one, or "
            'way="hold" or "loop"'
        )
    share = np.arange(1, crossfade + 1, dtype=given.dtype) / (crossfade + 1)
    last, head = given[:, -1:], given[:, :crossfade]
    fade = np.clip(last + share * (head - last), np.minimum(last, head), np.maximum(last, head))  # despite rounding
    again = np.concatenate([fade, given[:, crossfade:]], axis=1)
    copies = np.tile(again, math.ceil(frames / own) - 1)
    return Lengthened(np.concatenate([given, copies], axis=1)[:, :frames], 0, own)


def loop_sound(y: npt.ArrayLike, samples: int, *, crossfade: int) -> tuple[FloatArray, float]:
    """Repeat a sound, for a player, until it has at least so many samples; each copy fades into the next.

    Parameters
    ----------
    y : array [shape=(its own samples,)]
        Audio.
    samples : int
        The copies are whole, so the result is longer than this by less than one of them.
    crossfade : int
        Samples of the fade, at most half of the sound. Its weights are a cosine and a sine, which keep the power of
        copies that are not alike.

    Returns
    -------
    y : array [shape=(own + copies * (own - crossfade),)]
        float32; its peak is at most that of the sound given.
    gain : float
        What all samples were multiplied by for that; 1 unless fades add up to more than the sound's peak.

    Raises
    ------
    DataError
        `y` holds NaN or Inf, or is empty.
    ParameterError
        `y` is not one sound of shape (samples,), or another argument is out of range.

    Examples
    --------
    >>> y, gain = loop_sound([0.0, 0.5, 0.0, -0.5], 10, crossfade=0)
    >>> y.tolist(), gain
    ([0.0, 0.5, 0.0, -0.5, 0.0, 0.5, 0.0, -0.5, 0.0, 0.5, 0.0, -0.5], 1.0)
    """
    audio = _sound(y).astype(np.float64)
    own = len(audio)
    _check_count("samples", samples, 1, "1")
    _check_count("crossfade", crossfade, 0, "0")
    if crossfade > own // 2:
        raise ParameterError(f"crossfade must be at most half of the sound's {own} samples. Received: {crossfade}")
    body = own - crossfade
    copies = max(0, math.ceil((samples - own) / body))
    angle = np.pi / 2 * (np.arange(crossfade) + 0.5) / max(crossfade, 1)
    fade = np.cos(angle) * audio[body:] + np.sin(angle) * audio[:crossfade]
    again = np.concatenate([fade, audio[crossfade:body]])
    looped = np.concatenate([audio[:body], np.tile(again, copies), audio[body:]])
    peak, most = np.abs(audio).max(), np.abs(looped).max()
    gain = float(peak / most) if most > peak else 1.0
    return (gain * looped).astype(np.float32), gain


def _pattern(C: npt.ArrayLike) -> Array:
    given = np.asarray(C)
    if not np.issubdtype(given.dtype, np.floating):
        given = given.astype(np.float64)
    if given.ndim != 2:
        raise ParameterError(f"One pattern must be of shape (n_mfcc, frames). Received: shape {given.shape}")
    return _finite(given, "A pattern")


def _sound(y: npt.ArrayLike) -> FloatArray:
    with np.errstate(over="ignore"):  # what is above float32's range becomes Inf and is refused
        audio = np.asarray(y, np.float32)
    if audio.ndim != 1:
        raise ParameterError(f"One sound must be of shape (samples,). Received: shape {audio.shape}")
    return _finite(audio, "A sound")


def _finite(values: Array, what: str) -> Array:
    if not values.size:
        raise DataError(f"{what} must not be empty. Received: shape {values.shape}")
    if not np.isfinite(values).all():
        places = np.count_nonzero(~np.isfinite(values))
        raise DataError(f"{what} must be finite. Received: NaN or Inf at {places} places")
    return values


def _check_count(name: str, value: object, least: int, least_in_words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name} must be an integer of at least {least_in_words}. Received: {value!r}")
