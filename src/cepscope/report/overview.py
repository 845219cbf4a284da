"""All units at a glance: dots along sound / natural, and a map of pictures coloured by a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cepscope.report import wording
from cepscope.report.content import ReportContent, UnitCard
from cepscope.report.curves import ticks

STRIP_LIMIT = 4.0  # of the strip's axis, in activations of the best real clip
COLOURS = 9  # steps from the lowest to the highest value; style.css has them
UNKNOWN = "n"  # the step of what was not measured
OUTLIERS = 5.0  # percent at either end that take the end's colour


def share(value: float) -> float:
    """Write a part of 1 in percent."""
    return round(100 * value, 3)


def axis_ticks(high: float, count: int, *, up: bool = False) -> list[tuple[float, str]]:
    """Ticks from 0 to `high`: percent from the left, or from the top if the axis points up."""
    places = [(t / high if high > 0 else 0.0, f"{t:g}") for t in ticks(0, high, count)]
    return [(share(1 - place if up else place), text) for place, text in places]


def strip(units: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Place a layer's units along sound / natural, stacked where they would overlap."""
    stacks: dict[int, int] = {}
    dots = []
    for unit in units:
        value = next(score["sort"] for score in unit["scores"] if score["key"] == "sound_over_natural")
        if value:
            place = min(max(float(value), 0.0), STRIP_LIMIT) / STRIP_LIMIT
            level = stacks.get(round(place * 80), 0)
            stacks[round(place * 80)] = level + 1
            offset = (level + 1) // 2 * (1 if level % 2 else -1)  # 0, 1, -1, 2, -2 ... around the middle
            dots.append(
                {
                    "x": share(place),
                    "y": 50 + max(-4, min(4, offset)) * 10,
                    "unit": unit,
                    "value": float(value),
                }
            )
    return dots


def limits(content: ReportContent) -> dict[str, tuple[float, float]]:
    """Return the values of the first and the last colour of each score, outliers aside."""
    found = {}
    for key, *_ in wording.SCORES:
        values = np.array([card.score(key) for card in content.units])
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [OUTLIERS, 100 - OUTLIERS]) if len(values) else (math.nan, math.nan)
        found[key] = (float(low), float(high))
    return found


def colours(card: UnitCard, ends: dict[str, tuple[float, float]]) -> list[str]:
    """Return the step of colour of each score, in the order of `wording.SCORES`."""
    return [step(card.score(key), *ends[key]) for key, *_ in wording.SCORES]


def step(value: float, low: float, high: float) -> str:
    """Return the step of colour of a value between two ends; all the same: the middle one.

    Examples
    --------
    >>> step(1.0, 0.0, 2.0), step(-3.0, 0.0, 2.0), step(9.0, 0.0, 2.0), step(1.0, 1.0, 1.0), step(math.nan, 0.0, 2.0)
    ('4', '0', '8', '4', 'n')
    """
    if not math.isfinite(value):
        return UNKNOWN
    place = (value - low) / (high - low) if high > low else 0.5
    return str(min(max(int(place * COLOURS), 0), COLOURS - 1))
