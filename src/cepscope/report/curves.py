"""Training histories as panels of curves: what is drawn, by the page and by the figures alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRETRAINING = ("reconstruction_error", "free_energy_gap", "hidden_activity")
MORE_PRETRAINING = (*PRETRAINING, "sparseness", "weight_norm", "redundancy", "log_likelihood")
FINE_TUNING = (("loss", ("loss", "val_loss")), ("accuracy", ("accuracy", "val_accuracy")))
NAMES = {
    "reconstruction_error": "reconstruction error",
    "free_energy_gap": "free energy gap",
    "hidden_activity": "hidden activity",
    "weight_norm": "norm of the weights",
    "log_likelihood": "log likelihood",
    "loss": "training",
    "val_loss": "held out",
    "accuracy": "training",
    "val_accuracy": "held out",
}
UNITS = {"free_energy_gap": "nats", "log_likelihood": "nats"}


@dataclass(frozen=True)
class Curve:
    """One line: its name, epochs and values."""

    name: str
    epochs: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One set of axes: a title, what the y axis holds, its curves; the unit of the y axis, if it has one."""

    title: str
    ylabel: str
    curves: tuple[Curve, ...]
    unit: str = ""


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


def history_panels(rows: Sequence[Mapping[str, Any]], *, pretraining: Sequence[str] = PRETRAINING) -> tuple[Panel, ...]:
    """Sort history rows into panels.

    Parameters
    ----------
    rows : sequence of mapping
        Rows with a ``layer`` are of pretraining: one panel a quantity, one curve a layer. The others are of
        fine-tuning: loss and accuracy, training and held out. Empty or unreadable values are left out.
    pretraining : sequence of str
        Columns of pretraining that are shown.

    Returns
    -------
    tuple of Panel
        Only those that have a curve.
    """
    greedy = [row for row in rows if row.get("layer")]
    fine_tuning = [row for row in rows if not row.get("layer")]
    layers = list(dict.fromkeys(str(row["layer"]) for row in greedy))
    panels = []
    for column in pretraining:
        name = NAMES.get(column, column)
        found = [_curve([r for r in greedy if str(r["layer"]) == layer], column, layer) for layer in layers]
        panels.append(Panel(f"Pretraining: {name}", name, tuple(c for c in found if c), UNITS.get(column, "")))
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

    title: str
    unit: str
    xlabel: str
    alt: str
    xticks: tuple[tuple[float, str], ...]
    yticks: tuple[tuple[float, str], ...]
    lines: tuple[tuple[str, str, float, float, str], ...]  # name, "x,y x,y ...", last x, last y, last value


@dataclass(frozen=True)
class Box:
    """What is drawn of two axes, placed in a box of 100 by 100, y downwards."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, xs: Sequence[float], ys: Sequence[float]) -> Box:
        """Return a box that holds all values, with some air above and below."""
        low, high = min(ys), max(ys)
        margin = 0.08 * (high - low) or 0.5 * abs(high) or 0.5
        return cls((min(xs), max(xs)), (low - margin, high + margin))

    def across(self, value: float) -> float:
        """Return percent from the left."""
        low, high = self.x
        return round(100 * (value - low) / (high - low), 2) if high > low else 50.0

    def down(self, value: float) -> float:
        """Return percent from the top."""
        low, high = self.y
        return round(100 * (high - value) / (high - low), 2)

    def path(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """Return the points of a line, as SVG writes them."""
        return " ".join(f"{self.across(x):g},{self.down(y):g}" for x, y in zip(xs, ys, strict=True))

    def ticks(self) -> tuple[tuple[tuple[float, str], ...], tuple[tuple[float, str], ...]]:
        """Return the ticks of both axes: whole numbers along x."""
        return (
            tuple((self.across(t), f"{t:g}") for t in ticks(*self.x, 5) if t == round(t)),
            tuple((self.down(t), as_text(t)) for t in ticks(*self.y, 4)),
        )


def as_text(value: float, digits: int = 6) -> str:
    """Write a number for people, with a real minus sign."""
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def draw_panel(panel: Panel) -> DrawnPanel:
    """Place a panel's curves and ticks in a box of 100 by 100, y downwards."""
    epochs = [epoch for curve in panel.curves for epoch in curve.epochs]
    box = Box.around(epochs, [value for curve in panel.curves for value in curve.values])
    lines = []
    for curve in panel.curves:
        end = box.across(curve.epochs[-1]), box.down(curve.values[-1])
        lines.append((curve.name, box.path(curve.epochs, curve.values), *end, as_text(curve.values[-1], 3)))
    ends = ", ".join(f"{name} ends at {last}" for name, *_, last in lines)
    return DrawnPanel(panel.title, panel.unit, "epochs", f"{panel.title} by epoch: {ends}", *box.ticks(), tuple(lines))
