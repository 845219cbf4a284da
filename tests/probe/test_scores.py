"""Unit scores, on a real network, with sounds whose scores are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from cepscope.corpora import Patches
from cepscope.errors import CorruptArtifactError, ParameterError
from cepscope.invert import score_sounds
from cepscope.maximize.patterns import Patterns
from cepscope.maximize.units import unit_activations, unit_reader
from cepscope.probe.scores import MEDIANS, SOUND_COLUMNS, UnitScores, load_unit_rows, score_units


@pytest.fixture(scope="module")
def real_as_patterns(digit_model: keras.Model, digit_patches: Patches) -> tuple[Patterns, SimpleNamespace]:
    """Each unit's best real clip stands in for its pattern and its sound: every ratio must then be 1."""
    units = unit_reader(digit_model).terms
    best = unit_activations(digit_model, digit_patches.test.x).argmax(axis=0)
    x = digit_patches.test.x[best]
    own = unit_activations(digit_model, x)[np.arange(len(units)), np.arange(len(units))]
    patterns = Patterns(tuple(map(str, units)), x, digit_patches.decode(x), digit_patches.spec, own, own[None], {})
    audio = np.stack([digit_patches.load_wave(digit_patches.test.paths[i]) for i in best])
    return patterns, SimpleNamespace(
        audio=audio,
        sr=digit_patches.spec.sr,
        gain=np.ones(len(units)),
        names=patterns.units,
        relative_error=np.zeros(len(units)),
    )


@pytest.fixture(scope="module")
def scores(
    real_as_patterns: tuple[Patterns, SimpleNamespace], digit_model: keras.Model, digit_patches: Patches
) -> UnitScores:
    return score_units(digit_model, digit_patches, *real_as_patterns)


def test_real_clips_score_one(scores: UnitScores) -> None:
    for name in ("pattern_over_natural", "sound_over_natural", "retention"):
        values = [row[name] for row in scores.rows if np.isfinite(row[name])]
        # the clip is written nowhere: only cutting it to the patch's length before the front end differs
        np.testing.assert_allclose(np.median(values), 1, atol=0.02)


def test_the_best_exemplar_is_the_clip_itself(
    scores: UnitScores, real_as_patterns: tuple[Patterns, SimpleNamespace], digit_patches: Patches
) -> None:
    patterns, _ = real_as_patterns
    assert np.array_equal(digit_patches.test.x[scores.exemplars[:, 0]], patterns.x)
    assert np.all(np.diff(scores.exemplar_activations, axis=1) <= 0)
    first = scores.rows[0]["exemplars"].split("|")
    assert [digit_patches.test.paths[i] for i in scores.exemplars[0]] == first


def test_accuracy_and_summary(scores: UnitScores, digit_model: keras.Model, digit_patches: Patches) -> None:
    said = digit_model.predict(digit_patches.test.x, verbose=0).argmax(axis=1)
    assert scores.test_accuracy == pytest.approx(np.mean(said == digit_patches.test.y))
    summary = json.loads(json.dumps(scores.summary()))
    assert set(summary) == {"test_accuracy", "layers", "logit_sounds_right"}
    assert set(summary["layers"]["crbm1"]) == {"units", *MEDIANS}
    ranks = [row["rank"] for row in scores.rows if row["layer"] == "logits"]
    assert summary["layers"]["logits"]["rank"] == np.median(ranks)
    assert summary["layers"]["logits"]["units"] == 10
    right = [row["sound_right"] for row in scores.rows if row["layer"] == "logits"]
    assert summary["logit_sounds_right"] == f"{sum(right)}/10"


def test_only_logits_are_labelled_however_many_filters_a_layer_has(
    real_as_patterns: tuple[Patterns, SimpleNamespace], digit_model: keras.Model, digit_patches: Patches
) -> None:
    patterns, sounds = real_as_patterns

    def labels(*units: str) -> list[str]:
        rows = [patterns.units.index(unit) for unit in units]
        some = replace(
            patterns, units=units, x=patterns.x[rows], mfcc=patterns.mfcc[rows], activation=patterns.activation[rows]
        )
        heard = SimpleNamespace(
            audio=sounds.audio[rows],
            sr=sounds.sr,
            gain=sounds.gain[rows],
            names=units,
            relative_error=sounds.relative_error[rows],
        )
        return [row["label"] for row in score_units(digit_model, digit_patches, some, heard).rows]

    assert labels("logits:3", "logits:0") == [digit_patches.classes[3], digit_patches.classes[0]]
    assert labels(*(f"crbm2:{i}" for i in range(8)), "crbm1:0", "crbm1:1") == [""] * 10


def test_what_is_said_of_the_sounds_alone(
    scores: UnitScores,
    real_as_patterns: tuple[Patterns, SimpleNamespace],
    digit_model: keras.Model,
    digit_patches: Patches,
) -> None:
    patterns, sounds = real_as_patterns
    table = score_sounds(sounds, patterns)
    for row, own in zip(scores.rows, table, strict=True):
        assert {name: row[name] for name in SOUND_COLUMNS} == pytest.approx(
            {name: own[name] for name in SOUND_COLUMNS}, nan_ok=True
        )
    # a clip cut to the patch's length before the front end differs from its own MFCC at the two ends alone
    assert np.median([row["mcd_db"] for row in scores.rows]) < 1
    told = SimpleNamespace(**vars(sounds), scores=[{**row, "gain": 7.0} for row in table])  # as a run has stored them
    assert {row["gain"] for row in score_units(digit_model, digit_patches, patterns, told).rows} == {7.0}


def test_silent_sounds_score_low(
    real_as_patterns: tuple[Patterns, SimpleNamespace], digit_model: keras.Model, digit_patches: Patches
) -> None:
    patterns, sounds = real_as_patterns
    mute = SimpleNamespace(**{**vars(sounds), "audio": np.zeros_like(sounds.audio)})
    rows = score_units(digit_model, digit_patches, patterns, mute).rows
    assert np.median([row["retention"] for row in rows if row["layer"] == "logits"]) < 0.5
    assert all(np.isfinite(row["naturalness_z"]) for row in rows)
    assert all(row["voiced_share"] == 0 and math.isnan(row["hnr_db"]) for row in rows)


def test_a_missing_sound_is_refused(
    real_as_patterns: tuple[Patterns, SimpleNamespace], digit_model: keras.Model, digit_patches: Patches
) -> None:
    patterns, sounds = real_as_patterns
    fewer = SimpleNamespace(audio=sounds.audio[1:], sr=sounds.sr, relative_error=sounds.relative_error[1:])
    with pytest.raises(ParameterError, match="one sound a pattern"):
        score_units(digit_model, digit_patches, patterns, fewer)


def test_rows_round_trip_through_csv(scores: UnitScores, tmp_path: Path) -> None:
    scores.save_csv(tmp_path / "units.csv")
    rows = load_unit_rows(tmp_path / "units.csv")
    for mine, theirs in zip(scores.rows, rows, strict=True):
        assert mine["unit"] == theirs["unit"]
        assert mine["sound_right"] == theirs["sound_right"]
        for name in ("retention", *SOUND_COLUMNS):
            assert theirs[name] == pytest.approx(mine[name], rel=1e-5, nan_ok=True)
    (tmp_path / "units.csv").write_text("unit,layer\ncrbm1:0,crbm1\n")
    with pytest.raises(CorruptArtifactError, match=r"units\.csv"):
        load_unit_rows(tmp_path / "units.csv")
