"""Networks side by side: their units, which of them answer to each other, and how alike those are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.probe.matching import Units, settled

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """A network, a layer of one, or one at a moment of its training: units with their sounds.

    Attributes
    ----------
    name : str
        What the column is called; no two of a page alike.
    units : Units
        Names, labels, and patterns in standard deviations: of the same speech in all columns of a page.
    audio : array [shape=(units, samples)]
        Their sounds, at ``spec.sr``.
    spec : MfccSpec
        Front end of the patterns.
    scores : sequence of mapping
        Of each unit, as far as they are known: ``pattern_over_natural``, ``sound_over_natural``, ``retention``,
        ``final_over_natural`` (the sound in the network that the reference column shows).

    Raises
    ------
    ParameterError
        There is not one sound and one row of scores a unit, or a sound is not finite.
    """

    name: str
    units: Units
    audio: npt.NDArray[Any]
    spec: MfccSpec
    scores: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        audio = np.asarray(self.audio, np.float32)
        scores = tuple(self.scores) or ({},) * len(self.units)
        object.__setattr__(self, "audio", audio)
        object.__setattr__(self, "scores", scores)
        if audio.ndim != 2 or not len(audio) == len(scores) == len(self.units) or not audio.size:
            raise ParameterError(
                f"{self.name} needs a sound (samples,) and a row of scores for each of its {len(self.units)} units. "
                f"Received: sounds of shape {audio.shape}, {len(scores)} rows"
            )
        if not np.isfinite(audio).all():
            raise ParameterError(f"The sounds of {self.name} must be finite. Received: NaN or Inf")

    def is_comparable(self, other: Column) -> bool:
        """Tell whether the patterns of two columns are of one front end and one length."""
        return self.spec == other.spec and self.units.patterns.shape[1:] == other.units.patterns.shape[1:]


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Columns, matched: what the page shows; from `side_by_side`.

    Attributes
    ----------
    columns : tuple of Column
    reference : int
        The column whose units are the rows, and to whose patterns the likeness is.
    by : str
        How units were matched.
    partners : array [shape=(units of the reference, columns)]
        Place in each column of the unit that answers; -1 where none does.
    likeness, chance : array [shape=(units of the reference, columns)]
        Of the patterns, and what chance gives, see `cepscope.probe.matching`; NaN where patterns can't be compared,
        chance also in the reference.
    shown : tuple of int
        Units of the reference that have a row on the page.
    moments : tuple of str
        Where the columns are one network while it learns: a short name of each moment, for an axis. Else empty.
    """

    columns: tuple[Column, ...]
    reference: int
    by: str
    partners: npt.NDArray[np.intp]
    likeness: FloatArray
    chance: FloatArray
    shown: tuple[int, ...]
    moments: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> Units:
        """Units of the reference."""
        return self.columns[self.reference].units

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of the reference, each once."""
        return tuple(dict.fromkeys(self.rows.layers))

    def score(self, row: int, column: int, key: str) -> float:
        """Return a score of the unit in a cell, by its key or ``likeness``; NaN where it is not known."""
        if key == "likeness":
            return float(self.likeness[row, column])
        place = self.partners[row, column]
        value = self.columns[column].scores[place].get(key) if place >= 0 else None
        return math.nan if value is None else float(value)

    def settled_at(self, row: int) -> int:
        """Return the moment from which on a unit's pattern is that of the reference, which must be the last."""
        return settled(self.likeness[row])

    def median(self, layer: str, column: int, key: str) -> float:
        """Return the median of a score, of ``likeness`` or of ``chance``, over the units of a layer; NaN of none."""
        rows = [row for row, name in enumerate(self.rows.layers) if name == layer]
        values = self.chance[rows, column] if key == "chance" else [self.score(row, column, key) for row in rows]
        finite = [value for value in values if math.isfinite(value)]
        return float(np.median(finite)) if finite else math.nan

    def settled_share(self, layer: str, column: int) -> float:
        """Return the share of a layer's units that are from this moment on what they are in the end."""
        moments = [self.settled_at(row) for row, name in enumerate(self.rows.layers) if name == layer]
        return float(np.mean([moment <= column for moment in moments]))

    def matched(self, layer: str, column: int) -> int:
        """Return how many units of a layer have a partner in a column."""
        return int(sum(self.partners[row, column] >= 0 for row, name in enumerate(self.rows.layers) if name == layer))

    def to_dict(self) -> dict[str, Any]:
        """Return names, partners, likeness and scores of all units, and their medians, as JSON can hold them."""
        keys = sorted({key for column in self.columns for scores in column.scores for key in scores})

        def cell(row: int, column: int) -> dict[str, Any] | None:
            place = self.partners[row, column]
            if place < 0:
                return None
            found = {key: self.score(row, column, key) for key in ("likeness", *keys)}
            return {"unit": self.columns[column].units.names[place], **_plain(found)}

        return {
            "match": self.by,
            "columns": [column.name for column in self.columns],
            "reference": self.columns[self.reference].name,
            "units": [
                {
                    "unit": name,
                    "label": self.rows.labels[row],
                    **({"itself_from": self.columns[self.settled_at(row)].name} if self.moments else {}),
                    "cells": [cell(row, column) for column in range(len(self.columns))],
                }
                for row, name in enumerate(self.rows.names)
            ],
            "medians": {
                layer: {
                    column.name: {
                        "matched": self.matched(layer, place),
                        **_plain({key: self.median(layer, place, key) for key in ("likeness", "chance", *keys)}),
                    }
                    for place, column in enumerate(self.columns)
                }
                for layer in self.layers
            },
        }


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {key: round(value, 4) if math.isfinite(value) else None for key, value in scores.items()}
