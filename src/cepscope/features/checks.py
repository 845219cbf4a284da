"""What settings may be, and what is said of those that are not."""

from __future__ import annotations

import math
import operator
from typing import Any, get_args

import numpy as np

from cepscope.errors import ParameterError


def require(ok: bool, name: str, expected: str, received: object) -> None:
    """Raise ParameterError unless `ok`."""
    if not ok:
        raise ParameterError(f"{name} must be {expected}. Received: {name}={received!r}")


def integer(name: str, value: Any) -> int:
    """Return a whole number as an int."""
    try:
        require(not isinstance(value, bool | np.bool_), name, "an integer", value)
        return operator.index(value)
    except TypeError:
        raise ParameterError(f"{name} must be an integer. Received: {name}={value!r}") from None


def number(name: str, value: Any) -> float:
    """Return a number, which may be infinite, as a float."""
    ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    require(ok and not math.isnan(value), name, "a number", value)
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """Return true or false as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} must be true or false. Received: {value!r}")
    return bool(value)


def choice(name: str, value: Any, choices: Any) -> str:
    """Return one of the texts of a Literal."""
    known = get_args(choices)
    *others, last = map(repr, known)
    require(isinstance(value, str) and value in known, name, f"{', '.join(others)} or {last}", value)
    return str(value)
