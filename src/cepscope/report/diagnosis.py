"""How a training went, in plain words: what the last diagnostics of each layer say, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cepscope.models.diagnostics import DEAD, SATURATED

REDUNDANT = 0.8  # mean of each filter's largest correlation with another one
GROWN = 0.1  # of its range: so far above its lowest value a curve has grown, and is not merely noisy
LATER = 3  # epochs since that lowest value
UNLIKE = 0.15  # of accuracy between training and held out

# column, name, digits after the point
LAYER_COLUMNS = (
    ("epoch", "epochs", 0),
    ("reconstruction_error", "reconstruction error", 3),
    ("free_energy_gap", "free-energy gap [nats]", 2),
    ("hidden_activity", "hidden activity", 3),
    ("sparseness", "sparseness", 3),
    ("weight_norm", "norm of the weights", 2),
    ("dead_filters", "dead filters", 0),
    ("saturated_filters", "saturated filters", 0),
    ("redundancy", "redundancy", 2),
    ("log_likelihood", "log likelihood [nats]", 1),
)
MEANINGS = (
    (
        "free-energy gap",
        "Mean free energy of held-out patches less that of training patches. It falls while a layer learns what is "
        "common to both, and grows when it learns the training patches by heart.",
    ),
    (
        "sparseness",
        "Treves and Rolls' measure over places and patches: 0, every unit is always equally active; near 1, rarely.",
    ),
    (
        "dead, saturated filters",
        f"Filters whose activation never reaches {DEAD:g}, or is above {SATURATED:g} on average.",
    ),
    (
        "redundancy",
        "Mean over the filters of the largest correlation with any other one, at any shift: 1, each has a copy.",
    ),
)


@dataclass(frozen=True)
class LayerDiagnosis:
    """A layer after its last epoch.

    Attributes
    ----------
    name : str
    last : mapping
        Its last row of the history.
    doubts : tuple of str
        What is wrong, a sentence each.
    """

    name: str
    last: Mapping[str, Any]
    doubts: tuple[str, ...]


def diagnose_layers(history: Sequence[Mapping[str, Any]], filters: Mapping[str, int]) -> tuple[LayerDiagnosis, ...]:
    """Judge each pretrained layer by its rows.

    Parameters
    ----------
    history : sequence of mapping
        Rows of ``history.csv``.
    filters : mapping of str to int
        How many filters a layer has.

    Returns
    -------
    tuple of LayerDiagnosis
        From the bottom up.
    """
    layers = dict.fromkeys(str(row["layer"]) for row in history if row.get("layer"))
    found = []
    for name in layers:
        rows = [row for row in history if row.get("layer") == name]
        doubts = (*_bad_filters(rows[-1], filters.get(name)), *_grown_gap(rows))
        found.append(LayerDiagnosis(name, rows[-1], doubts))
    return tuple(found)


def diagnose_classifier(history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what is wrong with the fine-tuning, a sentence each."""
    rows = [row for row in history if not row.get("layer")]
    found = []
    if grown := _grown(rows, "val_loss"):
        epoch, low, last = grown
        found.append(
            f"The held-out loss was lowest in epoch {epoch} ({low:.3g}) and has grown to {last:.3g}: fewer epochs, "
            "more dropout or more recordings may help."
        )
    if rows:
        own, held_out = (_value(rows[-1], name) for name in ("accuracy", "val_accuracy"))
        if own - held_out > UNLIKE:
            found.append(
                f"{own:.0%} of the training clips are classified right, but {held_out:.0%} of the held-out ones: the "
                "network knows its training clips by heart."
            )
    return tuple(found)


def _bad_filters(last: Mapping[str, Any], count: int | None) -> list[str]:
    of = f" of {count}" if count else ""
    found = []
    if dead := _count(last, "dead_filters"):
        found.append(
            f"{dead}{of} filters {'is' if dead == 1 else 'are'} dead: no patch brings them to {DEAD:g}. Fewer filters, "
            "a lower learning rate or a lower sparsity cost may help."
        )
    if saturated := _count(last, "saturated_filters"):
        found.append(
            f"{saturated}{of} filters {'is' if saturated == 1 else 'are'} saturated: above {SATURATED:g} on average, "
            "whatever the patch. A higher sparsity cost or a lower learning rate may help."
        )
    if (redundancy := _value(last, "redundancy")) > REDUNDANT:
        found.append(
            f"Filters are redundant: the nearest other filter correlates by {redundancy:.2f} on average. Fewer "
            "filters, more epochs or a higher sparsity cost may help."
        )
    return found


def _grown_gap(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not (grown := _grown(rows, "free_energy_gap")):
        return []
    epoch, low, last = grown
    return [
        f"The free-energy gap was lowest in epoch {epoch} ({low:.3g} nats) and has grown to {last:.3g}: the layer "
        "begins to learn its training patches by heart. Fewer epochs (train.patience stops in time) or more recordings "
        "may help."
    ]


def _grown(rows: Sequence[Mapping[str, Any]], column: str) -> tuple[int, float, float] | None:
    """Return the epoch and value where a curve was lowest, and its last value, if it has grown since."""
    curve = [(int(row["epoch"]), value) for row in rows if math.isfinite(value := _value(row, column))]
    if not curve:
        return None
    epoch, low = min(curve, key=lambda point: point[1])
    last_epoch, last = curve[-1]
    spread = max(value for _, value in curve) - low
    if last_epoch - epoch < LATER or last - low <= GROWN * spread:
        return None
    return epoch, low, last


def _value(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    return math.nan if value in (None, "") else float(value)


def _count(row: Mapping[str, Any], column: str) -> int:
    value = _value(row, column)
    return int(value) if math.isfinite(value) else 0
