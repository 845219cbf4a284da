"""Numbers that settings may be, and what is said of those that are not."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from cepscope.errors import ParameterError


def natural(least: int = 0, **settings: Any) -> None:
    """Refuse what is not a whole number of at least `least`."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise ParameterError(f"`{name}` must be a whole number, {least} or more. Received: {value!r}")


def positive(**settings: Any) -> None:
    """Refuse what is not a positive number."""
    for name, value in settings.items():
        if not (_is_finite(value) and value > 0):
            raise ParameterError(f"`{name}` must be a positive number. Received: {value!r}")


def share(**settings: Any) -> None:
    """Refuse what is not a number from 0 to below 1."""
    for name, value in settings.items():
        if not (_is_finite(value) and 0 <= value < 1):
            raise ParameterError(f"`{name}` must be from 0 to below 1. Received: {value!r}")


def not_negative(**settings: Any) -> None:
    """Refuse what is not a number of at least 0."""
    for name, value in settings.items():
        if not (_is_finite(value) and value >= 0):
            raise ParameterError(f"`{name}` must be a number, 0 or more. Received: {value!r}")


def size(name: str, value: Any) -> tuple[int, int]:
    """Return two positive whole numbers; refuse anything else."""
    found = [int(n) for n in value if isinstance(n, numbers.Integral)] if isinstance(value, tuple | list) else []
    if len(found) != 2 or len(value) != 2 or min(found) < 1:
        raise ParameterError(f"`{name}` must be two positive integers, as in (5, 5). Received: {value!r}")
    return found[0], found[1]


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))
