"""Every score of a sound, alone and in a table."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cepscope as cs
from cepscope.audio import condition
from cepscope.errors import CorruptArtifactError, DataError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc
from cepscope.invert import Sounds, hnr, mel_cepstral_distortion, relative_error, voiced_share
from cepscope.invert.inversion import PEAK
from cepscope.invert.scores import load_sound_rows, log_mel_range, save_sound_rows, score_sound, score_sounds

Array = npt.NDArray[Any]
SPEC = MfccSpec(sr=8000, n_mfcc=20)
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def noise(samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(samples)


def test_log_mel_range_is_before_top_db() -> None:
    y = np.concatenate([noise(4000), np.zeros(4000)])
    spec = replace(SPEC, floor=1e-6)
    most = 10 * np.log10(1e6) + log_mel(y, spec).max()
    assert log_mel_range(y, spec) == pytest.approx(most, abs=1e-3)
    assert log_mel_range(y, replace(spec, top_db=30.0)) == pytest.approx(most, abs=1e-3)
    assert log_mel_range(np.zeros(100), SPEC) == 0


ALONE = {
    *("relative_error", "normalised_error", "rmse_sd", "mcd_db", "hnr_db"),
    *("voiced_share", "log_mel_range_db", "peak", "gain"),
}
BESIDE = {"stoi", "pesq", "spectral_convergence"}


def test_a_sound_scored_against_its_own_pattern(clip: tuple[Array, int]) -> None:
    y = clip[0]
    C = mfcc(y, SPEC)
    gain = 0.25
    row = score_sound(gain * y, C, SPEC, gain=gain, reference=y)
    assert set(row) == ALONE | BESIDE
    assert all(type(value) is float for value in row.values())
    for name in ("relative_error", "rmse_sd", "mcd_db", "spectral_convergence"):
        assert row[name] == pytest.approx(0, abs=1e-4)
    assert row["peak"] == pytest.approx(gain * np.abs(y).max())
    assert row["gain"] == gain
    full = mfcc(condition(y), SPEC)
    assert row["normalised_error"] == pytest.approx(relative_error(full, C), rel=1e-5)
    assert row["hnr_db"] == pytest.approx(hnr(y, 8000), abs=1e-3)
    assert row["voiced_share"] == voiced_share(y, 8000)
    assert row["log_mel_range_db"] == pytest.approx(log_mel_range(y, SPEC), abs=1e-3)
    wrong_level = score_sound(gain * y, C, SPEC)
    assert set(wrong_level) == ALONE
    assert wrong_level["relative_error"] > 0.1


def test_without_the_libraries_their_scores_are_nan(monkeypatch: pytest.MonkeyPatch, clip: tuple[Array, int]) -> None:
    for library in ("pystoi", "pesq"):
        monkeypatch.setitem(sys.modules, library, None)
    row = score_sound(clip[0], mfcc(clip[0], SPEC), SPEC, reference=clip[0])
    assert math.isnan(row["stoi"])
    assert math.isnan(row["pesq"])
    assert row["spectral_convergence"] == 0


@SOME
@given(
    hnp.arrays(np.float32, st.integers(1, 2000), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([1e-3, 1.0, 50.0]),
    st.sampled_from(
        [SPEC, MfccSpec(sr=500, n_mels=4, n_mfcc=1), MfccSpec(sr=8000, n_mfcc=13, lifter=22.0, top_db=80.0)]
    ),
)
def test_any_sound_can_be_scored(y: Array, gain: float, spec: MfccSpec) -> None:
    wanted = np.zeros((spec.n_mfcc, spec.frames_of(len(y))))
    row = score_sound(y, wanted, spec, gain=gain)
    assert not any(math.isinf(value) for value in row.values())
    assert np.isfinite([row[name] for name in ALONE - {"hnr_db", "mcd_db", "voiced_share"}]).all()
    assert math.isnan(row["mcd_db"]) == (spec.n_mfcc == 1)


def test_what_cannot_be_scored_is_refused() -> None:
    C = mfcc(noise(4000), SPEC)
    for gain in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ParameterError, match="gain"):
            score_sound(noise(4000), C, SPEC, gain=gain)
    with pytest.raises(DataError, match="one shape"):
        score_sound(noise(5000), C, SPEC)
    with pytest.raises(ParameterError, match="one sound"):
        score_sound(np.zeros((2, 4000)), C, SPEC)


@pytest.fixture(scope="module")
def sounds(digits: Array, wide: MfccSpec) -> Sounds:
    return cs.invert(digits[:3], wide, iterations=3, refine_steps=0, names=["a", "b", "c"])


def test_a_table_says_what_the_sounds_say_of_themselves(sounds: Sounds, digits: Array, wide: MfccSpec) -> None:
    rows = score_sounds(sounds, digits[:3], wide)
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert all(set(row) == {"name", "feasibility_gap", *ALONE} for row in rows)
    for name in ("relative_error", "normalised_error", "gain"):  # float32 there, and two ways to the same level
        np.testing.assert_allclose([row[name] for row in rows], getattr(sounds, name), atol=1e-5)
    np.testing.assert_allclose([row["peak"] for row in rows], PEAK, rtol=1e-6)
    distortions = [mel_cepstral_distortion(got, C, wide) for got, C in zip(sounds.mfcc, digits[:3], strict=True)]
    np.testing.assert_allclose([row["mcd_db"] for row in rows], distortions, atol=1e-4)
    patterns = SimpleNamespace(mfcc=digits[:3], spec=wide)
    assert score_sounds(sounds, patterns) == rows
    assert score_sounds(sounds[1], digits[1], wide) == rows[1:2]  # whatever is around it


def test_errors_are_counted_in_the_deviations_of_the_corpus(sounds: Sounds, digits: Array, wide: MfccSpec) -> None:
    sd = digits.std(axis=(0, 2))
    rows = score_sounds(sounds, digits[:3], wide, sd=sd)
    rmse = np.sqrt(np.mean((sounds.mfcc - digits[:3]) ** 2, axis=2))
    np.testing.assert_allclose([row["rmse_sd"] for row in rows], (rmse / sd).mean(axis=1), rtol=1e-4)
    own = digits[:3].std(axis=2)
    alone = [row["rmse_sd"] for row in score_sounds(sounds, digits[:3], wide)]
    np.testing.assert_allclose(alone, (rmse / own).mean(axis=1), rtol=1e-4)


def test_a_table_beside_recordings(clip: tuple[Array, int]) -> None:
    pytest.importorskip("pystoi")
    y = np.stack([clip[0], clip[0][::-1]])
    recordings = SimpleNamespace(audio=y, sr=8000, gain=np.ones(2), names=("heard", "unheard"))
    rows = score_sounds(recordings, mfcc(y, SPEC), SPEC, references=[clip[0], None])
    assert list(rows[0]) == list(rows[1])
    assert set(rows[0]) == {"name", "feasibility_gap", *ALONE, *BESIDE}
    assert rows[0]["stoi"] == pytest.approx(1, abs=1e-6)
    assert rows[0]["spectral_convergence"] == 0
    assert all(math.isnan(rows[1][name]) for name in BESIDE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": None}, "spec=None"),
        ({"spec": MfccSpec(sr=8000)}, "8000 Hz. Received: 16000 Hz"),
        ({"targets": np.zeros((2, 20, 64))}, "Received: 3 sounds, 2 targets, 3 references"),
        ({"references": [None]}, "Received: 3 sounds, 3 targets, 1 references"),
        ({"sd": np.ones(19)}, "20 positive numbers"),
        ({"sd": np.r_[0.0, np.ones(19)]}, "20 positive numbers"),
        ({"sd": np.r_[np.nan, np.ones(19)]}, "20 positive numbers"),
    ],
)
def test_a_table_that_does_not_fit_together(
    sounds: Sounds, digits: Array, wide: MfccSpec, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        score_sounds(sounds, **{"targets": digits[:3], "spec": wide, **change})


def test_a_table_goes_to_a_file_and_back(sounds: Sounds, digits: Array, wide: MfccSpec, tmp_path: Path) -> None:
    path = tmp_path / "sounds.csv"
    rows = score_sounds(sounds, digits[:3], wide)
    rows[0] |= {"name": 'crbm1:0, "loud"', "hnr_db": math.nan}
    save_sound_rows(path, rows)
    for mine, theirs in zip(rows, load_sound_rows(path), strict=True):
        assert theirs["name"] == mine["name"]
        for name in ALONE:
            assert theirs[name] == pytest.approx(mine[name], rel=1e-5, nan_ok=True)
    path.write_text("name,gain\na\n")
    with pytest.raises(CorruptArtifactError, match=r"sounds\.csv .*cepscope invert"):
        load_sound_rows(path)
    with pytest.raises(CorruptArtifactError, match=r"none\.csv"):
        load_sound_rows(tmp_path / "none.csv")


def test_importing_is_light() -> None:
    code = (
        "import sys, cepscope.invert.scores\n"
        "heavy = {'pystoi', 'pesq', 'parselmouth', 'pyloudnorm', 'tensorflow', 'keras'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
