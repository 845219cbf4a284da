"""The least error that a sound can have: closed forms, scipy's own solver, real recordings and made-up adversaries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cepscope.errors import DataError, ParameterError
from cepscope.features import MfccSpec, log_mel, mfcc, mfcc_to_log_mel
from cepscope.invert import feasibility, feasibility_gap, largest_mel_power, nearest_log_mel, relative_error
from cepscope.invert.envelope import mel_bands
from cepscope.invert.inversion import invert
from cepscope.invert.matching import LEVELS, Level
from cepscope.invert.stft import analysis_window

Array = npt.NDArray[Any]
SMALL = MfccSpec(sr=8000, n_mels=24, n_mfcc=8, floor=1e-5)
SQUARE = MfccSpec(sr=8000, n_mels=12, n_mfcc=12, floor=1e-5)
KINDS = [
    SMALL,
    replace(SMALL, lifter=22.0),
    replace(SMALL, log="ln", c0=False),
    replace(SMALL, floor=1e-10, top_db=60.0),
    replace(SMALL, c0=False, top_db=40.0, lifter=22.0),
]
NAMES = ["plain", "lifter", "ln without c0", "top_db", "top_db without c0"]


def wild(spec: MfccSpec, frames: int, seed: int, *, mean: float = -40.0, deviation: float = 40.0) -> Array:
    """Return MFCC of log-mel spectra that no sound has."""
    L = np.random.default_rng(seed).normal(mean, deviation, (spec.n_mels, frames))
    bands = mel_bands(spec, "float64")
    return np.asarray(bands.lifter[:, None] * (bands.dct @ L))


def of_log_mel(L: Array, spec: MfccSpec) -> Array:
    bands = mel_bands(spec, "float64")
    return np.asarray(bands.lifter[:, None] * (bands.dct @ L))


def ceiling_db(spec: MfccSpec, level: Level) -> Array:
    floor = 10 * np.log10(spec.floor)
    return np.maximum(10 * np.log10(largest_mel_power(spec, peak=feasibility.PEAKS[level])), floor + 1e-6)


def by_scipy(C: Array, spec: MfccSpec, low: float, high: Array) -> float:
    """Return the error ||A L - C|| in a box, by a bounded-variable least squares of scipy's (an active set)."""
    bands = mel_bands(spec, "float64")
    A = bands.lifter[:, None] * bands.dct
    costs = [
        scipy.optimize.lsq_linear(A, frame, (low, np.maximum(high, low + 1e-9)), method="bvls", tol=1e-13, max_iter=999)
        for frame in C.T
    ]
    return float(np.sqrt(2 * sum(found.cost for found in costs)))


# the least error


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spec", KINDS[:3], ids=NAMES[:3])
def test_error_equals_scipys(spec: MfccSpec, level: Level) -> None:
    """Up to the ridge: 1e-8 / 2 times the squared distance to the minimum norm, at most (400 dB)^2 a band here."""
    high, low = ceiling_db(spec, level), 10 * np.log10(spec.floor)
    for seed, mean in enumerate((-30.0, -60.0, -90.0)):
        C = wild(spec, 6, seed, mean=mean, deviation=60.0)
        error = np.linalg.norm(of_log_mel(nearest_log_mel(C, spec, level=level), spec) - C)
        assert error == pytest.approx(by_scipy(C, spec, low, high), rel=1e-5, abs=0.02)
        # all of these are out of reach, or nearly all where any level will do: a wrong solver can't hide
        assert error > 1 or (level == "free" and not spec.c0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spec", KINDS[3:], ids=NAMES[3:])
def test_with_top_db_it_equals_the_best_of_all_maxima(spec: MfccSpec, level: Level) -> None:
    """The least error in the box of m is convex in m, so that scipy's search over m ends at the best one."""
    high, low = ceiling_db(spec, level), 10 * np.log10(spec.floor)
    C = wild(spec, 3, 1)

    def error(m: float) -> float:
        return by_scipy(C, spec, max(low, m - spec.top_db), np.minimum(high, m))

    grid = np.linspace(low + 1, high.max(), 9)
    squared = np.array([error(m) ** 2 for m in grid])
    assert (np.diff(squared, 2) > -1e-6 * squared.max()).all()
    m = grid[squared.argmin()]
    around = (max(m - np.diff(grid)[0], grid[0]), min(m + np.diff(grid)[0], grid[-1]))
    best = scipy.optimize.minimize_scalar(error, bounds=around, method="bounded", options={"xatol": 1e-3})
    L = nearest_log_mel(C, spec, level=level)
    assert np.linalg.norm(of_log_mel(L, spec) - C) == pytest.approx(min(best.fun, error(m)), rel=1e-4)
    assert best.fun > 1
    assert np.ptp(L) <= spec.top_db + 1e-9


def test_all_coefficients_kept_is_clipping() -> None:
    """With a square orthonormal transform the nearest spectrum is the pattern's own, clipped."""
    L = np.random.default_rng(0).normal(-30, 40, (12, 9))
    high = ceiling_db(SQUARE, "full_scale")[:, None]
    wanted = {"free": np.maximum(L, -50), "full_scale": np.clip(L, -50, high)}
    for level in LEVELS:
        np.testing.assert_allclose(
            nearest_log_mel(of_log_mel(L, SQUARE), SQUARE, level=level), wanted[level], atol=1e-3
        )
    top = replace(SQUARE, floor=1e-10, top_db=50.0)
    boxes = [np.clip(L, m - 50, m) for m in np.arange(-50, 80, 0.01)]
    best = boxes[int(np.argmin([np.linalg.norm(box - L) for box in boxes]))]
    found = nearest_log_mel(of_log_mel(L, top), top)
    np.testing.assert_allclose(found, best, atol=0.01)  # the grid's
    assert np.linalg.norm(found - L) <= np.linalg.norm(best - L) + 1e-6


def test_no_band_must_attain_the_maximum() -> None:
    """A flat pattern far below the floor plus top_db is met, though nothing in it is that loud."""
    spec = replace(SMALL, floor=1e-10, top_db=30.0)
    flat = np.full((24, 4), -90.0)
    np.testing.assert_allclose(nearest_log_mel(of_log_mel(flat, spec), spec), flat, atol=1e-9)


@pytest.mark.parametrize("spec", [*KINDS, MfccSpec(sr=8000, n_mfcc=13, n_fft=512, win=200, hop=80, n_mels=64)])
def test_recordings_are_within_reach(fsdd_sounds: list[Array], spec: MfccSpec) -> None:
    """Their MFCC are float32, and the ridge leaves up to 1e-5; 3e-6 was the most measured."""
    for y in fsdd_sounds:
        for level in LEVELS:
            assert feasibility_gap(mfcc(y, spec), spec, level=level) < 2e-5
        loud = 40 * y
        assert feasibility_gap(mfcc(loud, spec), spec) < 2e-5


def test_a_recording_beyond_full_scale_is_not(fsdd_sounds: list[Array]) -> None:
    C = mfcc(100 * fsdd_sounds[0], SMALL)
    assert feasibility_gap(C, SMALL) < 2e-5
    assert feasibility_gap(C, SMALL, level="full_scale") > 0.1


@pytest.fixture(scope="module")
def fsdd_sounds(shared_dir: Any) -> list[Array]:
    """Return six recordings of digits, 8 kHz, at full scale."""
    from cepscope.audio import condition, read_audio

    files = sorted((shared_dir / "corpora" / "fsdd" / "audio").rglob("*.*"))
    return [condition(read_audio(path, sr=8000)[0]) for path in files[:: len(files) // 6][:6]]


@pytest.mark.parametrize("level", LEVELS)
def test_no_inversion_undercuts_it(level: Level, narrow: MfccSpec, fsdd: Array) -> None:
    rng = np.random.default_rng(0)
    mean, deviation = (of.mean(axis=(0, 2))[:, None] for of in (fsdd, np.abs(fsdd - fsdd.mean(axis=0))))
    C = mean + 2 * deviation * rng.standard_normal((20, 24))
    gap = feasibility_gap(C, narrow, level=level)
    sounds = invert(C, narrow, level=level, iterations=10, refine_steps=10)
    error = sounds.relative_error[0] if level == "free" else sounds.normalised_error[0]
    assert 0.05 < gap < error
    for y in (rng.standard_normal(23 * 80), np.eye(1, 23 * 80, 900)[0], np.zeros(23 * 80)):
        assert gap < relative_error(mfcc(y / max(1.0, np.abs(y).max()), narrow), C)


# which of the nearest


@pytest.mark.parametrize("spec", KINDS, ids=NAMES)
def test_what_is_within_reach_comes_back(spec: MfccSpec) -> None:
    C = wild(spec, 5, 0, mean=-20.0, deviation=1.0)
    if not spec.c0:  # of mean level 0
        C = wild(spec, 5, 0, mean=0.0, deviation=1.0)
    np.testing.assert_allclose(nearest_log_mel(C, spec), mfcc_to_log_mel(C, spec), atol=1e-4)  # the latter is float32
    assert feasibility_gap(C, spec) < 1e-12


def test_of_equally_near_spectra_it_is_the_one_nearest_to_the_minimum_norm() -> None:
    """By Dykstra's projections in turn on the spectra that have the MFCC and on those above the floor.

    The ridge of 1e-8 leaves .1 dB in a band, .01 dB in the distance.
    """
    C = of_log_mel(np.maximum(np.random.default_rng(3).normal(-65, 30, (24, 8)), -50), SMALL)
    norm = mfcc_to_log_mel(C, SMALL).astype(np.float64)
    assert (norm < -50).any(axis=0).all()
    D = mel_bands(SMALL, "float64").dct
    L, beyond = norm, np.zeros_like(norm)
    for _ in range(6000):
        met = L + D.T @ (C - D @ L)
        L = np.maximum(met + beyond, -50)
        beyond += met - L
    found = nearest_log_mel(C, SMALL)
    np.testing.assert_allclose(of_log_mel(found, SMALL), C, atol=1e-4)
    np.testing.assert_allclose(found, L, atol=0.2)
    np.testing.assert_allclose(np.linalg.norm(found - norm, axis=0), np.linalg.norm(L - norm, axis=0), atol=0.03)


def test_frames_without_top_db_are_alone() -> None:
    C = wild(SMALL, 300, 0)  # more than are solved at once
    whole = nearest_log_mel(C, SMALL, level="full_scale")
    np.testing.assert_allclose(nearest_log_mel(C[:, 290:], SMALL, level="full_scale"), whole[:, 290:], atol=1e-6)


SPECS = st.builds(
    lambda kind, floor, top_db, n_mfcc: replace(kind, floor=floor, top_db=top_db, n_mfcc=n_mfcc),
    st.sampled_from(KINDS),
    st.sampled_from([1.0, 1e-5, 1e-10]),
    st.sampled_from([np.inf, 80.0, 5.0, 0.0]),
    st.sampled_from([1, 8, 20]),
)


@settings(max_examples=50, deadline=None)
@given(spec=SPECS, level=st.sampled_from(LEVELS), data=st.data())
def test_any_pattern(spec: MfccSpec, level: Level, data: st.DataObject) -> None:
    shape = (spec.n_mfcc, data.draw(st.integers(1, 4)))
    C = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e3, 1e3)))
    C = C * data.draw(st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
    L = nearest_log_mel(C, spec, level=level)
    low, high = 10 * np.log10(spec.floor), ceiling_db(spec, level)
    high = np.maximum(high, high.max() - max(spec.top_db, 1e-6))[:, None]
    assert L.shape == (spec.n_mels, shape[1])
    assert L.min() >= low
    np.testing.assert_array_equal(np.minimum(L, high), L)
    assert np.ptp(L) <= max(spec.top_db, 1e-6) + 1e-9
    error = np.linalg.norm(of_log_mel(L, spec) - C)
    rng = np.random.default_rng(0)
    for other in (mfcc_to_log_mel(C, spec), L + rng.normal(0, 1, L.shape), rng.uniform(low, high, L.shape)):
        other = np.clip(other, low, high)
        other = np.clip(other, max(low, other.max() - spec.top_db), None)
        # ridge: 1e-8 / 2 (400 dB)^2 a band; rounding: 1e-13 of the squared norm
        slack = 0.1 * max(1, np.abs(mel_bands(spec, "float64").lifter).max()) + 1e-6 * np.linalg.norm(C)
        assert error <= np.linalg.norm(of_log_mel(other, spec) - C) + slack


# full scale


@pytest.mark.parametrize("spec", [SMALL, MfccSpec(sr=8000, n_fft=512, win=200, n_mels=64), MfccSpec(htk=True, hop=400)])
def test_no_sound_exceeds_the_largest_mel_power(spec: MfccSpec) -> None:
    """Signs of the gradient of a band's power, over and over, come within 1.3 dB of the bound, and never beyond it."""
    most = 10 * np.log10(largest_mel_power(spec))
    window, weights = analysis_window(spec, "float64"), mel_bands(spec, "float64").weights
    rng = np.random.default_rng(0)
    reached = np.full(spec.n_mels, -np.inf)
    for band in range(0, spec.n_mels, 5):
        for _ in range(12):
            k = rng.choice(np.flatnonzero(weights[band]))
            y = np.sign(np.cos(2 * np.pi * k / spec.n_fft * np.arange(spec.win) + rng.uniform(0, 2 * np.pi)))
            for _ in range(12):
                X = np.fft.rfft(window * y, spec.n_fft)
                reached[band] = max(reached[band], 10 * np.log10(weights[band] @ np.abs(X) ** 2))
                half = weights[band] * X
                half[1:-1] /= 2
                y = np.sign(np.fft.irfft(half, spec.n_fft)[: spec.win])
        assert most[band] - 1.5 < reached[band] <= most[band]
        # and the same through the front end
        sound = np.zeros(spec.win + 2 * spec.hop)
        sound[(spec.hop - spec.win // 2) % spec.hop :][: spec.win] = y
        assert (log_mel(sound, replace(spec, floor=1e-10)).max(axis=1) <= most + 1e-4).all()
    np.testing.assert_allclose(largest_mel_power(spec, peak=0.1), 0.01 * largest_mel_power(spec))


@settings(max_examples=25, deadline=None)
@given(y=hnp.arrays(np.float64, st.integers(1, 900), elements=st.sampled_from([-1.0, 0.0, 0.3, 1.0])))
def test_any_sound_is_within_reach_of_itself(y: Array) -> None:
    for spec in KINDS:
        C = mfcc(y, spec)
        gap = np.linalg.norm(of_log_mel(nearest_log_mel(C, spec, level="full_scale"), spec) - C)
        assert gap < 0.1 * max(1.0, np.abs(mel_bands(spec).lifter).max())
        assert (log_mel(y, replace(spec, floor=1e-10)).max(axis=1) <= ceiling_db(spec, "full_scale") + 1e-4).all()


def test_what_has_no_answer() -> None:
    with pytest.raises(ParameterError, match=r"^level must be one of full_scale, free\. Received: 'loud'$"):
        nearest_log_mel(np.zeros((8, 3)), SMALL, level="loud")
    with pytest.raises(ParameterError, match="shape"):
        nearest_log_mel(np.zeros((7, 3)), SMALL)
    with pytest.raises(ParameterError, match="One pattern"):
        feasibility_gap(np.zeros((2, 8, 3)), SMALL)
    with pytest.raises(ParameterError, match="lifter"):
        nearest_log_mel(np.zeros((8, 3)), replace(SMALL, lifter=2.0))
    with pytest.raises(DataError, match="at least one frame"):
        nearest_log_mel(np.zeros((8, 0)), SMALL)
    with pytest.raises(ParameterError, match=r"^peak must be a positive number\. Received: 0$"):
        largest_mel_power(SMALL, peak=0)
    for bad in (np.nan, np.inf, 1e7):
        with pytest.raises(DataError, match="finite"):
            nearest_log_mel(np.full((8, 3), bad), SMALL)
