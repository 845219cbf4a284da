"""Measures of sounds and activations against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec
from cepscope.probe.alternatives import alternatives, similarity
from cepscope.probe.frechet import frechet_distance
from cepscope.probe.selectivity import counterparts, heard_right, ranks, transfer
from cepscope.probe.signal import noise_floor, spectral_contrast

SPEC = MfccSpec(sr=8000)
TIME = np.arange(8000) / 8000


def tones(noise: float, gain: float = 1.0) -> np.ndarray:
    """One tone in each octave band, in white noise."""
    y = sum(np.sin(2 * np.pi * f * TIME) for f in (300, 700, 1500, 3000))
    return gain * (y + noise * np.random.default_rng(0).standard_normal(8000))


def test_ten_decibels_more_noise_raise_the_floor_by_ten() -> None:
    quiet, loud = noise_floor(np.stack([tones(1e-2), tones(1e-2 * 10**0.5)]), SPEC)
    assert loud - quiet == pytest.approx(10, abs=0.5)  # the tones' leakage and the noise in their peak are below that
    assert quiet < -40


def test_gain_changes_neither_floor_nor_contrast() -> None:
    both = np.stack([tones(1e-2), tones(1e-2, gain=0.03)])
    for measure in (noise_floor, spectral_contrast):
        one, other = measure(both, SPEC)
        assert one == pytest.approx(other, abs=1e-6)


def test_pauses_do_not_count() -> None:
    with_pause = np.concatenate([tones(1e-2), 1e-4 * np.random.default_rng(1).standard_normal(16000)])
    assert noise_floor(with_pause, SPEC)[0] == pytest.approx(
        noise_floor(tones(1e-2), SPEC)[0], abs=0.5
    )  # frames at edges


def test_the_floor_of_white_noise_is_that_of_its_exponential_bins() -> None:
    y = np.random.default_rng(0).standard_normal(80_000)
    rng = np.random.default_rng(1)
    # bins of white noise are exponential: the same statistic of drawn numbers, neighbours apart
    bins = SPEC.n_fft // 2 + 1
    drawn = np.sort(10 * np.log10(rng.exponential(size=(2000, bins))), axis=1)
    expected = np.median(drawn[:, : int(0.1 * bins)].mean(axis=1) - drawn[:, -1])
    assert noise_floor(y, SPEC)[0] == pytest.approx(expected, abs=1.5)  # the window ties neighbouring bins


def test_noise_between_the_harmonics_takes_contrast_away() -> None:
    values = spectral_contrast(np.stack([tones(10.0**-k) for k in (3, 2, 1, 0)]), SPEC)
    assert (np.diff(values) < -3).all()


def test_silence_has_finite_measures() -> None:
    for measure in (noise_floor, spectral_contrast):
        assert np.isfinite(measure(np.zeros((1, 8000)), SPEC)).all()


def test_frechet_distance_of_one_dimension_is_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 2, (50, 1)), rng.normal(-1, 0.5, (70, 1))
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_diagonal_covariances_adds_up() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, [1, 2, 3], (40, 3)), rng.normal(1, [3, 1, 2], (30, 3))
    each = sum(frechet_distance(a[:, [i]], b[:, [i]]) for i in range(3))
    assert frechet_distance(a, b, shrinkage=1.0) == pytest.approx(each, rel=1e-9)


def test_frechet_distance_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((60, 5)) @ rng.standard_normal((5, 5)) for _ in range(2))
    one, other = np.cov(a.T), np.cov(b.T)
    shared = np.trace(scipy.linalg.sqrtm(one @ other)).real
    moved = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    expected = moved + np.trace(one) + np.trace(other) - 2 * shared
    assert frechet_distance(a, b, shrinkage=0.0) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("a", "b"), [((3, 2), (3, 3)), ((1, 2), (3, 2)), ((3,), (3,))])
def test_sets_that_do_not_fit_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match=r"at least 2 rows of one length\. Received"):
        frechet_distance(np.zeros(a), np.zeros(b))


def clips(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 4, 24, 1)).astype(np.float32)


def test_a_clip_is_most_like_itself_wherever_it_is_in_time() -> None:
    x = clips(12)
    assert (similarity(x, x, x).argmax(axis=1) == np.arange(12)).all()
    late = np.roll(x, 4, axis=2)
    assert (similarity(late, x, x).argmax(axis=1) == np.arange(12)).all()


def test_likeness_to_what_excites_picks_the_right_clip() -> None:
    x, kernel, rng = clips(200), clips(1, seed=5)[:, :, :8], np.random.default_rng(2)
    amount = rng.standard_normal((200, 1))
    x[:, :, 8:16] += amount[:, :, None, None] * kernel  # all that tells clips apart, noise aside
    pattern = np.zeros((1, 4, 24, 1), np.float32)
    pattern[:, :, 8:16] = kernel
    like = similarity(pattern, x, x) - similarity(-pattern, x, x)
    assert alternatives(like, amount)[0] > 0.9
    others = clips(60, seed=6)
    unlike = similarity(others, x, x) - similarity(-others, x, x)
    # a pattern somewhat like the kernel, or unlike, is nearly always right, or wrong: a deviation of .5 / 60^.5 = .065
    assert alternatives(unlike, np.repeat(amount, 60, axis=1)).mean() == pytest.approx(0.5, abs=0.2)


def test_alternatives_count_pairs() -> None:
    like, activation = [[0.0, 1.0, 2.0, 3.0]], np.array([[0.0], [1.0], [2.0], [3.0]])
    assert alternatives(like, activation, share=0.5) == 1.0
    assert alternatives(like, -activation, share=0.5) == 0.0
    assert alternatives([[1.0] * 4], activation, share=0.5) == 0.5  # ties
    assert alternatives([[0.0, 2.0, 1.0, 3.0]], activation, share=0.5) == 0.75


def test_likeness_at_random_is_right_half_the_time() -> None:
    rng = np.random.default_rng(0)
    found = alternatives(rng.standard_normal((300, 100)), rng.standard_normal((100, 300)))
    assert found.mean() == pytest.approx(0.5, abs=0.03)  # 300 units, each with a deviation of .13


@pytest.mark.parametrize(("shape", "share"), [((3, 4), 0.1), ((5, 3), 0.0), ((5, 3), 0.6)])
def test_tables_that_do_not_fit_are_refused(shape: tuple[int, int], share: float) -> None:
    with pytest.raises(ParameterError, match=r"Likeness must be .*Received"):
        alternatives(np.zeros(shape), np.zeros((3, 5)), share=share)


@given(st.integers(0, 10_000))
def test_ranks_are_counted_in_deviations_of_real_speech(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, real = rng.standard_normal((6, 5)), rng.normal(rng.normal(size=5), rng.uniform(0.1, 9, 5), (20, 5))
    own = rng.integers(0, 5, 6)
    found = ranks(values, real, own)
    for i in range(6):
        z = [(values[i, j] - real[:, j].mean()) / real[:, j].std() for j in range(5)]
        assert found[i] == 1 + sum(value > z[own[i]] for value in z)


def test_a_unit_that_never_moves_is_not_first_by_chance() -> None:
    real = np.column_stack([np.arange(5.0), np.zeros(5)])
    assert list(ranks([[9.0, 0.0]], real, [0])) == [1]
    assert list(ranks([[9.0, 0.0]], real, [1])) == [2]


def test_counterparts_of_a_copy_are_its_units() -> None:
    real = np.random.default_rng(0).standard_normal((50, 4))
    order = [2, 0, 3, 1]
    index, correlation = counterparts(real, 3 * real[:, order] - 1)
    assert [order[i] for i in index] == [0, 1, 2, 3]
    np.testing.assert_allclose(correlation, 1, atol=1e-9)
    index, correlation = counterparts(real, np.column_stack([-real[:, 0], real[:, 1] * 0]))
    assert correlation.max() < 0.5  # the opposite, and what never moves, are nobody's counterpart


def test_transfer_is_the_share_of_clips_that_excite_the_counterpart_less() -> None:
    real = np.random.default_rng(0).standard_normal((10, 2))
    other = real[:, ::-1] * 2
    ordered = np.sort(other, axis=0)
    heard = np.array([[0.0, (ordered[6, 1] + ordered[7, 1]) / 2], [99.0, 0.0]])
    np.testing.assert_allclose(transfer(real, heard, other), [0.7, 1.0])
    with pytest.raises(ParameterError, match="one unit a sound"):
        transfer(real, heard[:1], other)


def test_sounds_heard_right_are_counted() -> None:
    x = np.eye(3, dtype=np.float32).reshape(3, 1, 3, 1)

    def network(x: np.ndarray, training: bool) -> np.ndarray:
        return x.reshape(len(x), 3)

    assert heard_right(network, x, [0, 1, 2]) == 3
    assert heard_right(network, x, [0, 2, 1]) == 1
