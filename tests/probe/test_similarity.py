"""Linear CKA against its definition in kernels, and against what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group, pearsonr

from cepscope.errors import DataError, ParameterError
from cepscope.probe.similarity import cka_table, linear_cka


def pair(n: int = 12, p: int = 5, q: int = 7, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) + 3
    return x, x @ rng.standard_normal((p, q)) + 2 * rng.standard_normal((n, q)) - 1


def by_kernels(x: np.ndarray, y: np.ndarray) -> float:
    """Equations 3 and 4 of Kornblith et al. as they stand."""
    n = len(x)
    centring = np.eye(n) - 1 / n

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        return np.trace(k @ centring @ other @ centring) / (n - 1) ** 2

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


def unbiased_by_kernels(x: np.ndarray, y: np.ndarray) -> float:
    """The same with equation 5 of Song et al. 2012, element by element, on kernels that are not centred."""
    n = len(x)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, other = a @ a.T, b @ b.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(other, 0)
        ones = np.ones(n)
        found = np.trace(k @ other)
        found += (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
        return (found - 2 / (n - 2) * (ones @ k @ other @ ones)) / (n * (n - 3))

    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize(("p", "q"), [(1, 1), (5, 7), (40, 3), (40, 60)])  # few features, and more than clips
def test_cka_is_its_definition_in_kernels(p: int, q: int) -> None:
    x, y = pair(12, p, q)
    assert linear_cka(x, y) == pytest.approx(by_kernels(x, y), abs=1e-12)
    assert linear_cka(x, y, debiased=True) == pytest.approx(unbiased_by_kernels(x, y), abs=1e-10)


def test_of_single_features_it_is_the_squared_correlation() -> None:
    x, y = pair(30, 1, 1)
    assert linear_cka(x, y) == pytest.approx(pearsonr(x[:, 0], y[:, 0]).statistic ** 2, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    factor=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
    debiased=st.booleans(),
)
def test_rotation_scale_and_shift_change_nothing(seed: int, factor: float, shift: float, debiased: bool) -> None:
    x, y = pair(seed=seed)
    turned = factor * y @ ortho_group.rvs(7, random_state=seed) + shift
    # the shift is taken off with the rounding of numbers of its size
    assert linear_cka(x, turned, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-6)
    assert linear_cka(y, turned, debiased=debiased) == pytest.approx(1, abs=1e-6)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-12)


def test_a_stretch_changes_it() -> None:
    x, _ = pair(50)
    assert linear_cka(x, x * [1, 1, 1, 1, 30]) < 0.9  # it is no canonical correlation


def test_the_debiased_one_does_not_take_many_features_for_likeness() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.standard_normal((20, 100)), rng.standard_normal((20, 100))) for _ in range(30)]
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.7
    found = [linear_cka(x, y, debiased=True) for x, y in pairs]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(30)


def test_a_table_holds_every_pair() -> None:
    (a, b), (c, _) = pair(seed=0), pair(seed=1)
    table = cka_table({"a": a, "b": b}, {"c": c, "a": a, "b": b}, debiased=True)
    expected = [[linear_cka(x, y, debiased=True) for y in (c, a, b)] for x in (a, b)]
    np.testing.assert_allclose(table, expected, atol=1e-12)


def test_bad_input_is_refused_in_a_line() -> None:
    x, y = pair()
    with pytest.raises(ParameterError, match=r"\[11, 12\]"):
        linear_cka(x, y[:11])
    with pytest.raises(ParameterError, match="4 or more"):
        linear_cka(x[:3], y[:3])
    with pytest.raises(DataError, match="'y' is the same for all clips"):
        linear_cka(x, np.full_like(y, 0.1))
    with pytest.raises(DataError, match="finite"):
        linear_cka(x, y * np.inf)
    with pytest.raises(ParameterError, match="same clips"):
        cka_table({}, {})
