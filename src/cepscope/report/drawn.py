"""Distributions and spectra of a corpus as the template of sheets takes them: places in percent, and words."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from cepscope.report.curves import Box, DrawnPanel, as_text, ticks
from cepscope.report.distributions import Bars, Boxes, Histogram
from cepscope.report.overview import axis_ticks, share
from cepscope.report.spectra import Spectra
from cepscope.report.wording import number

AIR = 1.05  # above the highest bar
LEVEL_TICKS = 4

View = dict[str, Any]


def distribution_view(found: Bars | Histogram | Boxes) -> View:
    """Return a distribution as it is drawn, with what kind it is."""
    if isinstance(found, Bars):
        return _bars(found)
    return _boxes(found) if isinstance(found, Boxes) else _histogram(found)


def _bars(found: Bars) -> View:
    totals = [sum(counts) for counts in zip(*found.parts.values(), strict=True)]
    most = max(totals)
    rows = []
    for i, (name, total) in enumerate(zip(found.names, totals, strict=True)):
        own, left = [], 0
        for place, (part, counts) in enumerate(found.parts.items()):
            own.append({"x": share(left / most), "width": share(counts[i] / most), "part": part, "series": place})
            left += counts[i]
        text = ", ".join(f"{counts[i]} {part}" for part, counts in found.parts.items())
        rows.append({"name": name, "bars": own, "value": str(total), "alt": f"{name}: {text}"})
    return {"kind": "bars", "title": found.title, "unit": found.ylabel, "rows": rows, "parts": list(found.parts)}


def _boxes(found: Boxes) -> View:
    values = [v for s in found.spreads for v in (s.low, s.high, *s.beyond)]
    low, high = min(values), max(values)
    air = 0.04 * (high - low) or abs(high) or 1.0
    box = Box((low - air, high + air), (0.0, 1.0))
    digits = max(0, 2 - math.floor(math.log10(high - low))) if high > low else 2
    rows = []
    for name, s in zip(found.names, found.spreads, strict=True):
        low_x, q1, median, q3, high_x = (box.across(v) for v in (s.low, s.q1, s.median, s.q3, s.high))
        rows.append(
            {
                "name": name,
                "low": low_x,
                "q1": q1,
                "median": median,
                "width": round(q3 - q1, 2),
                "high": high_x,
                "beyond": [box.across(value) for value in s.beyond],
                "value": number(s.median, digits),
                "alt": f"{name}: median {number(s.median, digits)}, middle half {number(s.q1, digits)} to "
                f"{number(s.q3, digits)}",
            }
        )
    places = [(box.across(t), as_text(t)) for t in ticks(*box.x, LEVEL_TICKS)]
    return {"kind": "boxes", "title": found.title, "unit": found.ylabel, "rows": rows, "ticks": places}


def _histogram(found: Histogram) -> View:
    counts = np.array(list(found.parts.values()))
    total = counts.sum(axis=0)
    most = AIR * float(total.max()) or 1.0
    box = Box((found.edges[0], found.edges[-1]), (0.0, most))
    below = np.zeros(len(total))
    bars = []
    for series, row in enumerate(counts):
        for (low, high), count, base in zip(pairwise(found.edges), row, below, strict=True):
            if count:
                x, y = box.across(low), box.down(float(base + count))
                width, height = box.across(high) - x, 100 * float(count) / most
                bars.append({"x": x, "y": y, "width": round(width, 2), "height": round(height, 2), "series": series})
        below += row
    at = int(total.argmax())
    return {
        "kind": "histogram",
        "title": found.title,
        "unit": found.ylabel,
        "xlabel": found.xlabel,
        "bars": bars,
        "parts": [name for name in found.parts if name],
        "xticks": [(box.across(t), as_text(t)) for t in ticks(*box.x, 5)],
        "yticks": axis_ticks(most, 3, up=True),
        "alt": f"{found.title}: {int(total.sum())} {found.ylabel} from {as_text(found.edges[0], 3)} to "
        f"{as_text(found.edges[-1], 3)}, most between {as_text(found.edges[at], 3)} and "
        f"{as_text(found.edges[at + 1], 3)}, {found.xlabel}.",
    }


def spectrum_panels(spectra: Spectra) -> list[DrawnPanel]:
    """Return a panel for each group: its spectrum, and the mean of all behind it, all on one scale."""
    if not spectra.groups:
        return []
    kilo = spectra.frequencies / 1000
    values = np.concatenate([*spectra.groups.values()])
    box = Box.around((0.0, float(kilo[-1])), (float(values.min()), float(values.max())))
    yticks = tuple((box.down(t), as_text(t)) for t in ticks(*box.y, LEVEL_TICKS))
    xticks = tuple((box.across(t), f"{t:g}") for t in ticks(*box.x, LEVEL_TICKS))
    panels = []
    for name, levels in spectra.groups.items():
        strongest = 1000 * kilo[int(levels.argmax())]
        lines = tuple(
            (label, box.path(kilo, line), 100.0, box.down(float(line[-1])), "")
            for label, line in ((name, levels), (f"mean of the {_many(spectra.of)}", spectra.every))
        )
        alt = f"Long-term average spectrum of {name}: strongest near {round(strongest, -1):.0f} Hz."
        panels.append(DrawnPanel(name, "dB/Hz", "kHz", alt, xticks, yticks, lines))
    return panels


def _many(of: str) -> str:
    return {"class": "classes"}.get(of, f"{of}s")
