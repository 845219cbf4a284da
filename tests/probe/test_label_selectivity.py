"""What units tell of labels: against scikit-learn, brute force and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from cepscope.errors import ParameterError
from cepscope.probe.selectivity import dprime, information, label_selectivity


def units(n: int = 400, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels a, b, c, and four units: one likes b, one hates c, one is noise, one is dead."""
    rng = np.random.default_rng(seed)
    labels = np.array(list("abc"))[rng.integers(0, 3, n)]
    noise = rng.standard_normal((n, 4))
    noise[:, 0] += 2 * (labels == "b")
    noise[:, 1] -= 3 * (labels == "c")
    noise[:, 3] = 0.7
    return noise, labels


def test_dprime_is_its_definition() -> None:
    values, labels = units(60)
    found = dprime(values + 1e3, labels)
    for unit in range(3):
        for i, name in enumerate("abc"):
            own, rest = values[labels == name, unit], values[labels != name, unit]
            expected = (own.mean() - rest.mean()) / np.sqrt((own.var() + rest.var()) / 2)
            assert found[unit, i] == pytest.approx(expected, rel=1e-9)
    assert not found[3].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=50))
def test_information_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    cells, labels = np.array(pairs).T
    expected = mutual_info_score(labels, cells) / np.log(2)
    assert information(cells[:, None], labels)[0] == pytest.approx(expected, abs=1e-12)


def test_units_are_known_by_what_they_like() -> None:
    values, labels = units()
    found = label_selectivity(values, labels)
    assert found.labels == ("a", "b", "c")
    assert found.preferred[0] == "b"
    assert found.dprime[0, 1] == pytest.approx(2, abs=0.4)  # standard error about .1; the rest is one cloud
    assert found.dprime[1].argmin() == 2
    assert (found.p_value[:2] == 1 / 101).all()
    assert found.information[1] > found.information[0] > 0.3
    assert found.p_value[2] > 0.02
    assert abs(found.information[2]) < 0.03
    assert found.information[3] == pytest.approx(0, abs=1e-12)  # a dead unit is one bin
    assert found.p_value[3] == 1


def test_information_of_a_unit_that_says_the_label_is_the_labels_entropy() -> None:
    labels = np.arange(4000) % 4
    found = label_selectivity(labels[:, None].astype(float), labels, bins=4, shuffles=20)
    assert found.information[0] + found.chance[0] == pytest.approx(2, abs=1e-9)


def test_chance_is_the_known_bias_and_taking_it_off_leaves_nothing() -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((300, 200)), rng.integers(0, 6, 300)
    found = label_selectivity(values, labels, bins=5, shuffles=30)
    bias = (5 - 1) * (6 - 1) / (2 * 300 * np.log(2))  # Miller 1955, to first order in 1 / n
    assert np.mean(found.chance) == pytest.approx(bias, rel=0.1)
    assert abs(np.mean(found.information)) < 4 * np.std(found.information) / np.sqrt(200)
    assert np.mean(found.p_value <= 0.1) == pytest.approx(0.1, abs=0.07)  # 200 units: 3 standard errors of .02


def test_speakers_voices_are_no_sign_of_sex_when_speakers_are_few() -> None:
    """Units that know speakers, not sex: only shuffling whole speakers tells."""
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(10), 40)
    sex = np.where(speakers < 5, "f", "m")
    values = rng.standard_normal((10, 60))[speakers] + 0.5 * rng.standard_normal((400, 60))
    naive = label_selectivity(values, sex, shuffles=50)
    careful = label_selectivity(values, sex, groups=speakers, shuffles=50)
    assert np.mean(naive.p_value < 0.05) > 0.8
    assert np.mean(careful.p_value < 0.05) < 0.15
    assert np.mean(careful.chance) > 5 * np.mean(naive.chance)


def test_within_speakers_labels_are_exchanged_if_each_has_several() -> None:
    """A unit that knows speakers, and speakers who say different words: nothing is left within them."""
    rng = np.random.default_rng(0)
    speakers = np.repeat([0, 1], 200)
    words = np.where(rng.random(400) < np.where(speakers == 0, 0.8, 0.2), "yes", "no")
    values = speakers[:, None] + 0.3 * rng.standard_normal((400, 1))
    assert label_selectivity(values, words).p_value[0] < 0.02
    assert label_selectivity(values, words, groups=speakers).p_value[0] > 0.05


def test_the_same_seed_gives_the_same_chance() -> None:
    values, labels = units()
    one, two, other = (label_selectivity(values, labels, seed=seed).chance for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_bad_input_is_refused_in_a_line() -> None:
    values, labels = units(20)
    for bad in ((values[0], labels), (values, labels[:5]), (values, ["a"] * 20), (values * np.nan, labels)):
        with pytest.raises(ParameterError, match="two labels or more"):
            label_selectivity(*bad)
    with pytest.raises(ParameterError, match="one group a clip"):
        label_selectivity(values, labels, groups=[1, 2])
    with pytest.raises(ParameterError, match="bins"):
        label_selectivity(values, labels, bins=1)
