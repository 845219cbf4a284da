"""Training histories as panels of curves: what is drawn, by the page and by the figures alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRETRAINING = ("reconstruction_error", "free_energy_gap", "hidden_activity")
FINE_TUNING = (("loss", ("loss", "val_loss")), ("accuracy", ("accuracy", "val_accuracy")))
NAMES = {
    "reconstruction_error": "reconstruction error",
    "free_energy_gap": "free energy gap",
    "hidden_activity": "hidden activity",
    "loss": "training",
    "val_loss": "held out",
    "accuracy": "training",
    "val_accuracy": "held out",
}


@dataclass(frozen=True)
class Curve:
    """One line: its name, epochs and values."""

    name: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One set of axes: a title, what the y axis holds, its curves."""

    title: str
    ylabel: str
    curves: tuple[Curve, ...]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _curve(rows: Iterable[Mapping[str, Any]], column: str, name: str) -> Curve | None:
    points = [(_number(row.get("epoch")), _number(row.get(column))) for row in rows]
    points = [point for point in points if all(map(math.isfinite, point))]
    if not points:
        return None
    epochs, values = zip(*points, strict=True)
    return Curve(name, epochs, values)


def history_panels(rows: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    """Sort history rows into panels.

    Parameters
    ----------
    rows : sequence of mapping
        Rows with a ``layer`` are of pretraining: one panel a quantity, one curve a layer. The others are of
        fine-tuning: loss and accuracy, training and held out. Empty or unreadable values are left out.

    Returns
    -------
    tuple of Panel
        Only those that have a curve.
    """
    pretraining = [row for row in rows if row.get("layer")]
    fine_tuning = [row for row in rows if not row.get("layer")]
    layers = list(dict.fromkeys(str(row["layer"]) for row in pretraining))
    panels = []
    for column in PRETRAINING:
        found = [_curve([r for r in pretraining if str(r["layer"]) == layer], column, layer) for layer in layers]
        panels.append(Panel(f"Pretraining: {NAMES[column]}", NAMES[column], tuple(c for c in found if c)))
    for title, columns in FINE_TUNING:
        found = [_curve(fine_tuning, column, NAMES[column]) for column in columns]
        panels.append(Panel(f"Fine-tuning: {title}", title, tuple(c for c in found if c)))
    return tuple(panel for panel in panels if panel.curves)


def ticks(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """Return about `count` round numbers in ``[low, high]``.

    Examples
    --------
    >>> ticks(0, 8000)
    (0.0, 2000.0, 4000.0, 6000.0, 8000.0)
    >>> ticks(0, 0.63)
    (0.0, 0.2, 0.4, 0.6)
    """
    span = high - low
    if not span > 0:
        return (low,)
    power = 10 ** math.floor(math.log10(span / count))
    step = power * min((1, 2, 5, 10), key=lambda m: abs(span / (m * power) - count))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) + 0.0 for i in range(first, last + 1))


@dataclass(frozen=True)
class DrawnPanel:
    """A panel in the units of a drawing: percent from the left, percent from the top."""

    panel: Panel
    xticks: tuple[tuple[float, str], ...]
    yticks: tuple[tuple[float, str], ...]
    lines: tuple[tuple[str, str, float, float, str], ...]  # name, "x,y x,y ...", last x, last y, last value


def draw_panel(panel: Panel) -> DrawnPanel:
    """Place a panel's curves and ticks in a box of 100 by 100, y downwards."""
    epochs = [epoch for curve in panel.curves for epoch in curve.epochs]
    values = [value for curve in panel.curves for value in curve.values]
    x0, x1 = min(epochs), max(epochs)
    y0, y1 = min(values), max(values)
    margin = 0.08 * (y1 - y0) or 0.5 * abs(y1) or 0.5
    y0, y1 = y0 - margin, y1 + margin

    def across(epoch: float) -> float:
        return round(100 * (epoch - x0) / (x1 - x0), 2) if x1 > x0 else 50.0

    def down(value: float) -> float:
        return round(100 * (y1 - value) / (y1 - y0), 2)

    def text(value: float, digits: int = 6) -> str:
        return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")

    lines = []
    for curve in panel.curves:
        points = [(across(e), down(v)) for e, v in zip(curve.epochs, curve.values, strict=True)]
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        lines.append((curve.name, path, *points[-1], text(curve.values[-1], 3)))
    return DrawnPanel(
        panel,
        tuple((across(t), f"{t:g}") for t in ticks(x0, x1, 5) if t == round(t)),
        tuple((down(t), text(t)) for t in ticks(y0, y1, 4)),
        tuple(lines),
    )
