"""Does it hold up? Every unit's pattern and sound, measured on the network against real held-out speech."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cepscope.atomic import write_text
from cepscope.corpora import Patches
from cepscope.errors import CorruptArtifactError
from cepscope.invert import Sounds, score_sounds
from cepscope.maximize.patterns import Patterns
from cepscope.probe.measures import HasAudio, logits_layer, measure
from cepscope.probe.yardstick import Yardstick, classes_heard

Row = dict[str, Any]

SOUND_COLUMNS = ("mcd_db", "hnr_db", "voiced_share", "log_mel_range_db", "gain")  # as `cepscope.invert.score_sounds`
TEXT_COLUMNS = ("unit", "layer", "label", "sound_class", "exemplars")
NUMBER_COLUMNS = (
    "natural_mean",
    "natural_max",
    "pattern_activation",
    "sound_activation",
    "pattern_over_natural",
    "matched_over_natural",
    "sound_over_natural",
    "retention",
    "naturalness_z",
    "pattern_naturalness_z",
    "noise_floor",
    "spectral_contrast",
    "rank",
    "mfcc_relative_error",
    *SOUND_COLUMNS,
)
COLUMNS = ("unit", "layer", "index", "label", *NUMBER_COLUMNS, "sound_class", "sound_right", "exemplars")
MEDIANS = (
    "pattern_over_natural",
    "sound_over_natural",
    "retention",
    "naturalness_z",
    "noise_floor",
    "spectral_contrast",
    "rank",
    "mfcc_relative_error",
    *SOUND_COLUMNS,
)


@runtime_checkable
class HasScores(HasAudio, Protocol):
    """Sounds of which `cepscope.invert.score_sounds` has told already."""

    @property
    def scores(self) -> Sequence[Row]: ...  # noqa: D102


@dataclass(frozen=True)
class UnitScores:
    """One row of scores a unit, and the network's own.

    Attributes
    ----------
    rows : tuple of dict
        Keys are `COLUMNS`; ``exemplars`` holds the paths of the best real held-out clips, separated by ``|``.
    test_accuracy : float
        Of the network on held-out clips; NaN if it is no classifier of the corpus's classes.
    exemplars : array [shape=(units, k)]
        Indices of those clips in the held-out split.
    exemplar_activations : array [shape=(units, k)]
    """

    rows: tuple[Row, ...]
    test_accuracy: float
    exemplars: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros((0, 0), np.intp))
    exemplar_activations: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def summary(self) -> dict[str, Any]:
        """Return medians per layer, the accuracy, and how many logit sounds are classified right."""
        layers: dict[str, dict[str, float | int | None]] = {}
        for name in dict.fromkeys(row["layer"] for row in self.rows):
            rows = [row for row in self.rows if row["layer"] == name]
            layers[name] = {"units": len(rows)}
            for column in MEDIANS:
                values = [row[column] for row in rows if math.isfinite(row[column])]
                layers[name][column] = round(float(np.median(values)), 4) if values else None
        judged = [row["sound_right"] for row in self.rows if row["sound_right"] is not None]
        accuracy = round(self.test_accuracy, 4) if math.isfinite(self.test_accuracy) else None
        return {
            "test_accuracy": accuracy,
            "layers": layers,
            "logit_sounds_right": f"{sum(judged)}/{len(judged)}",
        }

    def save_csv(self, path: str | Path) -> None:
        """Write one line a unit, whole or not at all."""
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            numbers = {name: f"{row[name]:.6g}" for name in NUMBER_COLUMNS}
            right = "" if row["sound_right"] is None else str(int(row["sound_right"]))
            writer.writerow({**row, **numbers, "sound_right": right})
        write_text(Path(path), out.getvalue())


def load_unit_rows(path: str | Path) -> tuple[Row, ...]:
    """Read the rows of `UnitScores.save_csv`.

    Raises
    ------
    CorruptArtifactError
        If a column is missing or a number can't be read.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return tuple(_parse(row) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        raise CorruptArtifactError(
            f"{path} can't be read as unit scores ({error}). Delete it and run `cepscope probe` again."
        ) from error


def _parse(row: dict[str, str]) -> Row:
    right = {"": None, "0": False, "1": True}[row["sound_right"]]
    texts = {name: row[name] for name in TEXT_COLUMNS}
    return {
        **texts,
        "index": int(row["index"]),
        **{n: float(row[n]) for n in NUMBER_COLUMNS},
        "sound_right": right,
    }


def score_units(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    sounds: Sounds | HasScores,
    *,
    exemplars: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> UnitScores:
    """Measure every unit's pattern and sound against real held-out speech, and find its exemplars.

    Parameters
    ----------
    model, patches, patterns, seed, progress
        As `cepscope.probe.measures.measure`.
    sounds : Sounds
        One a pattern, in the same order; or anything with their audio and, in ``scores``, what `score_sounds` gives.
    exemplars : int
        Real clips kept for each unit.

    Returns
    -------
    UnitScores

    Raises
    ------
    ParameterError
        If sounds and patterns do not match, or there is no held-out speech.
    """
    found = measure(model, patches, patterns, sounds, exemplars=exemplars, seed=seed, progress=progress)
    told = sounds.scores if isinstance(sounds, HasScores) else score_sounds(sounds, patterns)
    heard = classes_heard(model, patches, found.x_sound)
    columns = found.columns | sound_columns(sounds.relative_error, told)
    return unit_scores(model, patches, patterns, found.against, columns, heard)


def sound_columns(relative_error: npt.ArrayLike, told: Sequence[Row]) -> dict[str, Any]:
    """Return those columns of scores that are told of sounds alone."""
    columns: dict[str, Any] = {"mfcc_relative_error": np.asarray(relative_error)}
    return columns | {name: np.array([row[name] for row in told]) for name in SOUND_COLUMNS}


def unit_scores(
    model: Any,
    patches: Patches,
    patterns: Patterns,
    against: Yardstick,
    columns: Mapping[str, Any],
    heard: npt.ArrayLike | None,
) -> UnitScores:
    """Put scores together from `columns` (patterns,), and the class that the network hears in each sound, if any."""
    said = None if heard is None else [patches.classes[i] for i in np.asarray(heard)]
    best = against.exemplars
    logits = logits_layer(model, len(patches.classes))
    rows = []
    for i, (unit, layer, index) in enumerate(zip(patterns.units, patterns.layers, patterns.indices, strict=True)):
        is_logit = layer == logits and index >= 0
        label = patches.classes[index] if is_logit else ""
        sound_class = said[i] if said is not None else ""
        rows.append(
            {
                "unit": unit,
                "layer": layer,
                "index": index,
                "label": label,
                **{name: float(columns[name][i]) for name in NUMBER_COLUMNS},
                "sound_class": sound_class,
                "sound_right": sound_class == label if is_logit else None,
                "exemplars": "|".join(patches.test.paths[j] for j in best[i]),
            }
        )
    return UnitScores(tuple(rows), against.accuracy, best, against.exemplar_activations)
