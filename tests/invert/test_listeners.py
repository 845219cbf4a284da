"""Scores of other people's libraries: they fall with noise, and what has no score has none."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cepscope.audio import resample
from cepscope.errors import MissingExtraError
from cepscope.invert.listeners import pesq, stoi

Array = npt.NDArray[Any]


def noise(samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(samples)


@pytest.mark.parametrize("sr", [8000, 16000, 22050])
def test_intelligibility_falls_with_noise(clip: tuple[Array, int], sr: int) -> None:
    pytest.importorskip("pystoi")
    y = resample(*clip, sr)
    level = np.sqrt(np.mean(y**2))
    values = [stoi(y + level * a * noise(len(y)), y, sr) for a in (0.0, 0.5, 2.0)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values[0] > values[1] + 0.05
    assert values[1] > values[2] + 0.05
    assert stoi(0.01 * y, y, sr) == pytest.approx(1, abs=1e-6)  # level is taken out
    assert stoi(np.append(y, noise(100)), y, sr) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("sr", "best"), [(8000, 4.549), (16000, 4.644), (22050, 4.644)])
def test_quality_falls_with_noise(clip: tuple[Array, int], sr: int, best: float) -> None:
    pytest.importorskip("pesq")
    y = resample(*clip, sr)
    level = np.sqrt(np.mean(y**2))
    values = [pesq(y + level * a * noise(len(y)), y, sr) for a in (0.0, 0.1, 1.0)]
    assert values[0] == pytest.approx(best, abs=0.01)
    assert values[0] > values[1] + 0.5
    assert values[1] > values[2] + 0.05  # near the bottom of the scale
    assert pesq(0.01 * y, y, sr) == pytest.approx(best, abs=0.01)


LISTENERS = [pytest.param(stoi, "pystoi", id="stoi"), pytest.param(pesq, "pesq", id="pesq")]


@pytest.mark.parametrize(("score", "library"), LISTENERS)
def test_silence_and_clicks_have_no_listener(clip: tuple[Array, int], score: Any, library: str) -> None:
    pytest.importorskip(library)
    y, sr = clip
    for a, b in (
        (np.zeros(len(y)), y),
        (y, np.zeros(len(y))),
        (np.full(len(y), 0.5), y),
        (y[:100], y),
        (y, y[:100]),
        ([0.5], [0.5]),
    ):
        assert math.isnan(score(a, b, sr))
    mostly_silent = np.append(y[4000:5000], np.zeros(19000))
    assert math.isnan(stoi(mostly_silent, mostly_silent, sr)) or score is pesq


@pytest.mark.parametrize(("score", "library"), LISTENERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_pair_of_sounds_has_a_score_or_none(score: Any, library: str, data: st.DataObject) -> None:
    pytest.importorskip(library)
    kinds = st.sampled_from(
        [noise, np.zeros, lambda n: np.eye(1, n, n // 2)[0], lambda n: np.sin(0.08 * np.arange(n)) ** 5]
    )
    a, b = (data.draw(kinds)(data.draw(st.integers(1, 9000))) * data.draw(st.sampled_from([1e-6, 1.0])) for _ in "ab")
    value = score(a, b, data.draw(st.sampled_from([8000, 16000, 10000])))
    assert math.isnan(value) or -1.1 < value < 4.7


@pytest.mark.parametrize(("score", "library"), LISTENERS)
def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, score: Any, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"^{library} is not installed; pip install 'cepscope\[scores\]'$"):
        score(noise(8000), noise(8000), 8000)
