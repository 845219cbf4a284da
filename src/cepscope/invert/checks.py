"""Sounds and rates that can be scored, and what is said of those that can't."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.audio import condition
from cepscope.errors import ParameterError

Array = npt.NDArray[Any]


def check_rate(sr: object) -> None:
    """Refuse what is not a sampling rate."""
    if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr < 1:
        raise ParameterError(f"sr must be a positive integer, in Hz. Received: {sr!r}")


def conditioned_sound(y: npt.ArrayLike) -> Array:
    """Return one sound [shape=(samples,)] without mean, its peak at 1 (or all 0); float32."""
    audio = condition(y)
    if audio.ndim != 1:
        raise ParameterError(f"one sound of shape (samples,) is scored at a time. Received: shape {audio.shape}")
    return audio


def given_sound(y: npt.ArrayLike) -> Array:
    """Return one sound [shape=(samples,)] as it is, float64."""
    conditioned_sound(y)
    return np.asarray(y, np.float64)
