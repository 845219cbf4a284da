"""What a notebook shows of sounds, and where a run keeps them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cepscope as cs
from cepscope.atomic import save_npz
from cepscope.errors import CorruptArtifactError
from cepscope.features import MfccSpec
from cepscope.invert import Sounds, hnr, mel_cepstral_distortion, voiced_share
from cepscope.invert.sounds import stored_files

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def sounds(digits: Array, wide: MfccSpec) -> Sounds:
    silence = np.repeat(wide.silence[:, None], digits.shape[-1], axis=1)
    return cs.invert(np.stack([*digits[:2], silence]), wide, iterations=2, refine_steps=0)


def table(sounds: Sounds) -> tuple[list[str], list[list[str]]]:
    """Titles, and the cells of each row."""
    head, *rows = re.findall(r"<tr>(.*?)</tr>", sounds._repr_html_())
    return re.findall(r"<th>(.*?)</th>", head), [re.findall(r"<td>([^<]*)</td>", row) for row in rows]


def test_scores_stand_beside_the_players(sounds: Sounds) -> None:
    titles, rows = table(replace(sounds, patterns=None, spec=None))
    assert titles == ["sound", "relative MFCC error", "at full scale", "HNR [dB]", "voiced", ""]
    for i, row in enumerate(rows[:2]):
        y = sounds.audio[i]
        expected = [sounds.relative_error[i], sounds.normalised_error[i], hnr(y, 16000), voiced_share(y, 16000)]
        np.testing.assert_allclose([float(cell) for cell in row], expected, atol=0.051)  # half of the last digit
    assert rows[2][2:] == ["\N{EN DASH}", "0.00"]  # silence has no voice


def test_sounds_that_know_their_patterns_show_the_distortion(sounds: Sounds, digits: Array, wide: MfccSpec) -> None:
    for some, first in ((sounds, 0), (sounds[1], 1), (sounds.at_loudness()[1], 1)):
        titles, rows = table(some)
        assert titles[3] == "MCD [dB]"
        expected = mel_cepstral_distortion(sounds.mfcc[first], digits[first], wide)
        assert float(rows[0][2]) == pytest.approx(expected, abs=0.0051)
    assert "MCD" not in replace(sounds, patterns=None, spec=None)._repr_html_()


def test_a_rate_too_low_for_pitch_is_shown_without_voice() -> None:
    spec = MfccSpec(sr=600, n_fft=128, n_mels=8, n_mfcc=6, floor=1e-5)
    _, rows = table(cs.invert(np.zeros((6, 20)), spec, iterations=0, refine_steps=0))
    assert rows[0][3:] == ["\N{EN DASH}", "\N{EN DASH}"]


def test_the_files_of_a_run_are_beside_their_list(tmp_path: Path) -> None:
    save_npz(tmp_path / "sounds.npz", files=np.array(["b.wav", "a.wav"]))
    assert stored_files(tmp_path) == [tmp_path / "b.wav", tmp_path / "a.wav"]
    for strange in ("../secret.wav", "/secret.wav", "more/a.wav", ".."):
        save_npz(tmp_path / "sounds.npz", files=np.array(["b.wav", strange]))
        with pytest.raises(CorruptArtifactError, match="must list files beside it"):
            stored_files(tmp_path)
