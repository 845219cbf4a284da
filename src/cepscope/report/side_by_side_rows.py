"""A page of networks side by side as its template takes it: rows and their cells, the table, the curves, the words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cepscope.probe.matching import SETTLED, SHIFT
from cepscope.report import raster, wording
from cepscope.report.comparison_rows import coefficient_ticks, equally_loud, heard
from cepscope.report.curves import Curve, DrawnPanel, Panel, draw_panel
from cepscope.report.media import LOUDNESS_RATE, Ids, Media
from cepscope.report.overview import axis_ticks
from cepscope.report.side_by_side_content import Column, SideBySide

Score = tuple[str, str, str, int, str]

# score, short name, unit, digits after the point, what it means
SCORES: tuple[Score, ...] = (
    ("likeness", "likeness", "", 2, ""),
    *((key, name, "", digits, meaning) for key, name, meaning, digits in wording.SCORES[:3]),
    (
        *("final_over_natural", "in the end", "", 2),
        "Sound / natural of this sound in the trained network: what an early sound already is to the unit of the end.",
    ),
)
LIKENESS = (
    "Cosine of the pattern and that of {} in the same row, in standard deviations of real speech, the best of shifts "
    f"by up to {SHIFT} frames: 1 is the same."
)
MANY = " A unit may be content with more than one pattern, so a low likeness alone is no proof of another unit."
CHANCE = (
    *("chance", "by chance", "", 2),
    "The likeness of what does not belong together. Of units matched by pattern: what the same matching finds "
    "among patterns turned over (times −1), as the best of many is always rather like. Of all others: the median "
    "likeness to units of the layer that do not answer.",
)
HOW = {
    "name": "Units of one name answer to each other.",
    "label": "Units that stand for the same class answer to each other.",
    "pattern": "Units answer to each other one to one, so that their patterns are as alike as can be in all.",
    "auto": "Units that stand for a class answer to those of the same class, all others one to one so that their "
    "patterns are as alike as can be in all.",
}


def row_view(content: SideBySide, row: int, lufs: float, media: Media, ids: Ids) -> dict[str, Any]:
    """Return everything on a unit of the reference: its name, and a cell a column."""
    name = content.rows.names[row]
    there = [place for place in range(len(content.columns)) if content.partners[row, place] >= 0]
    columns = {place: content.columns[place] for place in there}
    sounds = {
        column.name: (column.audio[content.partners[row, place]], column.spec.sr) for place, column in columns.items()
    }
    if all(sr >= LOUDNESS_RATE for _, sr in sounds.values()):
        audio, level = equally_loud(sounds, lufs)
    else:
        audio, level = {column: y for column, (y, _) in sounds.items()}, None
    return {
        "id": ids.new(name),
        "name": name,
        "label": content.rows.labels[row],
        "lufs": level,
        "seconds": max(len(y) / sr for y, sr in sounds.values()),
        "facts": _facts(content, row),
        "names": [column.name if place in columns else "" for place, column in enumerate(content.columns)],
        "cells": [
            _cell(content, row, place, audio[column.name], media)
            if place in columns
            else {"column": column.name, "unit": "", "sound": ""}
            for place, column in enumerate(content.columns)
        ],
    }


def _facts(content: SideBySide, row: int) -> list[str]:
    if not content.moments:
        return []
    first = content.settled_at(row)
    return [f"itself from: {content.columns[first].name}"]


def _cell(content: SideBySide, row: int, place: int, audio: Any, media: Media) -> dict[str, Any]:
    column, unit = content.columns[place], int(content.partners[row, place])
    name, pattern = column.units.names[unit], column.units.patterns[unit]
    return {
        "column": column.name,
        "unit": "" if content.moments else name,
        "seconds": len(audio) / column.spec.sr,
        "scores": {key: content.score(row, place, key) for key, *_ in shown_scores(content)},
        "pattern": media.picture(raster.paint_pattern(pattern)),
        "pattern_alt": _pattern_alt(column, unit),
        "times": axis_ticks(len(audio) / column.spec.sr, 3),
        "hertz": axis_ticks(column.spec.sr / 2, 4, up=True),
        "coefficients": coefficient_ticks(column.spec),
        **heard(audio, column.spec, f"{name}, {column.name}", media),
    }


def _pattern_alt(column: Column, unit: int) -> str:
    pattern, spec = column.units.patterns[unit], column.spec
    order, frame = np.unravel_index(np.abs(pattern).argmax(), pattern.shape)
    time = spec.times(pattern.shape[1])[frame]
    return (
        f"MFCC pattern of {column.units.names[unit]}, {column.name}: the largest deviation is "
        f"{wording.number(pattern[order, frame], 1)} standard deviations in coefficient {spec.orders[order]} at "
        f"{time:.2f} s."
    )


def shown_scores(content: SideBySide) -> list[Score]:
    """Return the scores that any column knows."""
    known = {key for column in content.columns for scores in column.scores for key in scores}
    likeness = LIKENESS.format(content.columns[content.reference].name) + ("" if content.moments else MANY)
    return [("likeness", "likeness", "", 2, likeness), *(score for score in SCORES if score[0] in known)]


def table_scores(content: SideBySide) -> list[Score]:
    """Return those that the table shows: with what likeness is by chance."""
    likeness, *others = shown_scores(content)
    return [likeness, CHANCE, *others]


def table(content: SideBySide) -> list[dict[str, Any]]:
    """Return the medians of each layer in each column, as text: likeness, that of chance, and the other scores."""
    scores = table_scores(content)
    lines = []
    for layer in content.layers:
        for place, column in enumerate(content.columns):
            values = [(content.median(layer, place, key), digits) for key, _, _, digits, _ in scores]
            lines.append(
                {
                    "layer": layer,
                    "first": place == 0,
                    "column": column.name,
                    "matched": content.matched(layer, place),
                    "cells": [wording.number(value, digits) for value, digits in values],
                }
            )
    return lines


def panels(content: SideBySide) -> list[DrawnPanel]:
    """Draw how each layer went while the network learned; nothing where the columns are no moments of a training."""
    if not content.moments:
        return []
    drawn, last = [], len(content.moments) - 1
    ticks = tuple((round(100 * i / last, 2), text) for i, text in enumerate(content.moments))
    for title, of in (
        ("Likeness to the pattern of the end", lambda layer, place: content.median(layer, place, "likeness")),
        ("Sound / natural in the trained network", lambda layer, place: content.median(layer, place, SCORES[-1][0])),
        ("Share of units that are themselves", content.settled_share),
    ):
        found = [_curve(layer, [of(layer, place) for place in range(last + 1)]) for layer in content.layers]
        if curves := tuple(curve for curve in found if curve.values):
            drawn.append(dataclasses.replace(draw_panel(Panel(title, title, curves)), xticks=ticks, xlabel=""))
    return drawn


def _curve(layer: str, values: list[float]) -> Curve:
    known = [(float(place), value) for place, value in enumerate(values) if math.isfinite(value)]
    return Curve(layer, tuple(place for place, _ in known), tuple(value for _, value in known))


def introduction(content: SideBySide) -> tuple[str, str]:
    """Return the sentences at the head of the page."""
    own = content.columns[content.reference].name
    others = [column.name for place, column in enumerate(content.columns) if place != content.reference]
    if content.moments:
        what = (
            f"Each row is one unit, each column the network at a moment of its training: its pattern and its sound "
            f"then, searched for in the same way from the same start. Likeness is to the pattern of the last column, "
            f"{own}; a unit is itself from the moment on from which that stays at {SETTLED:g} or above."
        )
    else:
        what = (
            f"Each row is a unit of {own}, beside it the unit of {', '.join(others)} that answers to it. "
            f"{HOW[content.by]} Likeness is to the pattern of {own}."
        )
    heard_as = (
        "Switching between the sounds of a row keeps the place in time; they are equally loud, so what differs is the "
        "sound itself. MFCCs do not keep pitch: the voice was chosen by cepscope, not by the unit."
    )
    return what, heard_as
