"""Few-label curves against SVMs fitted one by one, and standard errors against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from cepscope.errors import DataError, ParameterError
from cepscope.probe.fewlabels import crossed_standard_error, draw_labels, few_label_errors, gather


@pytest.fixture(scope="module")
def corpus() -> dict[str, np.ndarray]:
    """Clips of three classes by six speakers, in two representations."""
    rng = np.random.default_rng(0)
    y, speakers = np.arange(180) % 3, np.arange(180) // 30
    clean = rng.standard_normal((3, 40))[y] + 1.5 * rng.standard_normal((180, 40))
    noisy = clean + 2 * rng.standard_normal((180, 40))
    return {"y": y, "speakers": speakers, "clean": clean, "noisy": np.c_[noisy, noisy**2]}


@pytest.mark.parametrize("name", ["clean", "noisy"])  # 40 features and 80, of up to 60 labelled clips
def test_errors_are_those_of_svms_fitted_one_by_one(corpus: dict[str, np.ndarray], name: str) -> None:
    x, y = corpus[name], corpus["y"]
    train, test = corpus["speakers"] < 4, corpus["speakers"] >= 4
    sizes = (1, 5, 20)
    found = few_label_errors({name: x}, y, train, test, sizes=sizes, draws=3, seed=7)[name]
    assert found.shape == (3, 3, 60)
    drawn = draw_labels(y[train], 20, draws=3, seed=7)
    scaled = StandardScaler().fit(x[train]).transform(x) / np.sqrt(x.shape[1])
    for s, size in enumerate(sizes):
        for d in range(3):
            rows = np.flatnonzero(train)[drawn[d, : 3 * size]]
            machine = LinearSVC(C=1.0, dual=True, tol=1e-6, max_iter=100_000).fit(scaled[rows], y[rows])
            margins = np.sort(machine.decision_function(scaled[test]), axis=1)
            clear = margins[:, -1] - margins[:, -2] > 1e-3  # liblinear stops at a tolerance of 1e-4
            assert clear.mean() > 0.9
            np.testing.assert_array_equal(found[s, d][clear], (machine.predict(scaled[test]) != y[test])[clear])


def test_draws_are_balanced_nested_and_fixed_by_their_seed() -> None:
    y = np.array(list("abc") * 20)
    drawn = draw_labels(y, 10, draws=4, seed=1)
    for k in (1, 3, 10):
        for rows in drawn[:, : 3 * k]:
            assert len(set(rows)) == 3 * k
            assert [np.sum(y[rows] == name) for name in "abc"] == [k] * 3
    np.testing.assert_array_equal(draw_labels(y, 10, draws=2, seed=1), drawn[:2])  # more draws leave these as they are
    assert (draw_labels(y, 10, draws=4, seed=2) != drawn).any()
    assert len({tuple(rows) for rows in drawn}) == 4


def test_representations_are_given_the_same_clips(corpus: dict[str, np.ndarray]) -> None:
    x, order = corpus["clean"], np.random.default_rng(0).permutation(40)
    both = few_label_errors(
        {"one": x, "same": 3 * x[:, order] + 1, "noisy": corpus["noisy"]},
        *(corpus["y"], corpus["speakers"] < 4, np.flatnonzero(corpus["speakers"] >= 4)),
        sizes=(2, 20),
        draws=5,
    )
    curves = gather([(both, corpus["speakers"][120:])], (2, 20))
    difference, error = curves.difference("one", "same")
    np.testing.assert_allclose(difference, 0, atol=0.01)  # the same features in another order: but for ties
    worse, paired = curves.difference("noisy", "one")
    np.testing.assert_allclose(worse, curves.error("noisy") - curves.error("one"), atol=1e-12)
    assert (worse > 0).all()
    assert error.max() < 0.01
    assert paired.shape == (2,)
    assert (np.diff(curves.error("one")) < 0).all()  # more labels, fewer errors


def test_units_have_the_mean_of_all_their_tests() -> None:
    rng = np.random.default_rng(0)
    parts, units = [], []
    for _ in range(3):
        parts.append({"a": rng.random((2, 4, 6)) < 0.5, "b": rng.random((2, 4, 6)) < 0.5})
        units.append(rng.permutation([0, 0, 1, 1, 1, 2]))
    found = gather(list(zip(parts, units, strict=True)), (1, 2))
    for name in "ab":
        for unit in range(3):
            own = np.concatenate([part[name][..., of == unit] for part, of in zip(parts, units, strict=True)], axis=2)
            np.testing.assert_allclose(found.wrong[name][..., unit], own.mean(axis=2))
    assert found.error("a") == pytest.approx(found.wrong["a"].mean(axis=(1, 2)))


def test_the_standard_error_of_a_crossed_table_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    rows, columns, sd = 10, 6, {"row": 1.0, "column": 2.0, "rest": 1.5}
    truth = sd["row"] ** 2 / rows + sd["column"] ** 2 / columns + sd["rest"] ** 2 / (rows * columns)
    tables = [
        sd["row"] * rng.standard_normal((rows, 1))
        + sd["column"] * rng.standard_normal((1, columns))
        + sd["rest"] * rng.standard_normal((rows, columns))
        for _ in range(4000)
    ]
    squared = [crossed_standard_error(table) ** 2 for table in tables]
    # its own deviation is about sqrt(2 / 5) of it, so that of the mean is 1 %
    assert np.mean(squared) == pytest.approx(truth, rel=0.04)
    assert np.var([table.mean() for table in tables]) == pytest.approx(truth, rel=0.08)


def test_where_neither_rows_nor_columns_matter_the_standard_error_is_that_of_all_cells() -> None:
    rng = np.random.default_rng(0)
    tables = rng.standard_normal((2000, 10, 6))
    found = np.array([crossed_standard_error(table) for table in tables])
    assert found.min() > 0.6 / np.sqrt(60)  # never nothing
    # components that come out negative count as 0, so it is high: normal estimates of 0 with the deviations
    # sqrt(2 / 9) / 6 and sqrt(2 / 5) / 10 have a mean of .4 of these when cut off there
    high = 1 + 60 * 0.4 * (np.sqrt(2 / 9) / 6 / 10 + np.sqrt(2 / 5) / 10 / 6)
    assert np.mean(found**2) == pytest.approx(high / 60, rel=0.05)


def test_the_standard_error_of_one_kind_of_sample_is_the_plain_one() -> None:
    draws = np.random.default_rng(0).standard_normal(12)
    plain = draws.std(ddof=1) / np.sqrt(12)
    assert crossed_standard_error(np.repeat(draws[:, None], 5, axis=1)) == pytest.approx(plain)
    assert crossed_standard_error(np.repeat(draws[None], 5, axis=0)) == pytest.approx(plain)
    assert np.isnan(crossed_standard_error(draws[None]))
    with pytest.raises(ParameterError, match="draws, units"):
        crossed_standard_error(draws)


def test_bad_input_is_refused_in_a_line(corpus: dict[str, np.ndarray]) -> None:
    x, y = {"clean": corpus["clean"]}, corpus["y"]
    train, test = np.arange(120), np.arange(120, 180)
    with pytest.raises(DataError, match="has 40"):
        few_label_errors(x, y, train, test, sizes=(41,))
    with pytest.raises(ParameterError, match="no part of train"):
        few_label_errors(x, y, train, np.arange(110, 180), sizes=(1,))
    with pytest.raises(ParameterError, match="0 sizes"):
        few_label_errors(x, y, train, test, sizes=())
    with pytest.raises(ParameterError, match="0 to 179"):
        few_label_errors(x, y, train, [180], sizes=(1,))
    with pytest.raises(ParameterError, match=r"\(180,\)"):
        few_label_errors({"short": x["clean"][:150]}, y, np.arange(100), np.arange(100, 110), sizes=(1,))
    with pytest.raises(ParameterError, match="positive"):
        few_label_errors(x, y, train, test, C=0)
    with pytest.raises(ParameterError, match="same representations"):
        gather([({"a": np.zeros((1, 2, 3), bool)}, [0, 1, 2]), ({"b": np.zeros((1, 2, 3), bool)}, [0, 1, 2])], (1,))
