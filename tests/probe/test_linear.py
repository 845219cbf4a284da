"""Linear probes against scikit-learn's own pipelines and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from cepscope.errors import DataError, ParameterError
from cepscope.probe.linear import coordinates, folds_of, linear_probe, new_classifier, standardised
from cepscope.probe.result import ProbeResult, merged


def clouds(rows: int, features: int, classes: int = 3, *, apart: float = 0.6, seed: int = 0):
    """Overlapping clouds around random centres, on features of very different scale and offset."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    x = apart * rng.standard_normal((classes, features))[y] + rng.standard_normal((rows, features))
    return x * np.geomspace(1e-2, 1e3, features) + 5, y


@pytest.mark.parametrize("features", [8, 150])  # fewer and more than there are rows
@pytest.mark.parametrize(
    ("classifier", "own"),
    [("svm", LinearSVC(C=1.0, dual=True, tol=1e-6, max_iter=100_000)), ("logistic", LogisticRegression(tol=1e-8))],
)
def test_a_probe_is_scikit_learns_classifier_on_standardised_rows(features: int, classifier: str, own) -> None:
    x, y = clouds(150, features)
    train, test = slice(0, 90), slice(90, None)
    shorter = FunctionTransformer(lambda values: values / np.sqrt(features))
    pipeline = make_pipeline(StandardScaler(), shorter, own).fit(x[train], y[train])
    found = linear_probe(x[train], y[train], x[test], y[test], classifier=classifier, grid=[1.0])
    margins = np.sort(pipeline.decision_function(x[test]), axis=1)
    clear = margins[:, -1] - margins[:, -2] > 1e-3  # the solvers stop a little short of the optimum
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.said[clear], pipeline.predict(x[test])[clear])
    assert found.C == (1.0,)


def test_coordinates_keep_all_products_and_begin_with_those_of_the_first_rows() -> None:
    x, _ = clouds(40, 300)
    train, test = standardised(x[:30], x[30:])
    own, other = coordinates(train, test)
    assert own.shape == (30, 30)
    np.testing.assert_allclose(own @ own.T, train @ train.T, atol=1e-9)  # JITTER is 1e-10
    np.testing.assert_allclose(own @ other.T, train @ test.T, atol=1e-9)
    first, rest = coordinates(train[:12], test)
    np.testing.assert_allclose(own[:12, :12], first, atol=1e-12)
    np.testing.assert_allclose(other[:, :12], rest, atol=1e-9)
    assert not own[:12, 12:].any()
    few = coordinates(train[:, :20], test[:, :20])
    assert few[0].shape == (30, 20)  # more rows than features: as they are


def test_rows_that_are_copies_of_each_other_do_no_harm() -> None:
    x, y = clouds(30, 200)
    twice, labels = np.r_[x, x], np.r_[y, y]
    found = linear_probe(twice, labels, x, y, grid=[1.0])
    assert found.accuracy == 1.0


@pytest.mark.parametrize("grouped", [False, True])
def test_c_is_what_a_grid_search_over_the_same_folds_chooses(grouped: bool) -> None:
    x, y = clouds(120, 60, apart=0.25)
    groups = np.arange(120) // 3 % 8 if grouped else None
    grid, folds = (1e-3, 0.1, 10.0, 1000.0), folds_of(y, groups, folds=4, seed=5)
    assert set(np.bincount(folds)) == {30}  # the mean over folds is then the mean over rows
    search = GridSearchCV(new_classifier("logistic", 1.0), {"C": grid}, cv=PredefinedSplit(folds), refit=False)
    search.fit(standardised(x)[0], y)
    found = linear_probe(x, y, x, y, groups=groups, classifier="logistic", grid=grid[::-1], folds=4, seed=5)
    (C,) = found.C
    assert search.best_params_["C"] == C
    assert grid[-1] > C  # such weak regularisation overfits here, so the choice is one


@settings(max_examples=50, deadline=None)
@given(
    y=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    folds=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_folds_hold_each_class_evenly(y: list[int], folds: int, seed: int) -> None:
    dealt = folds_of(y, folds=folds, seed=seed)
    assert dealt.min() == 0
    assert len(np.unique(dealt)) == min(folds, len(y))
    for label in set(y):
        counts = np.bincount(dealt[np.array(y) == label], minlength=folds)[: len(np.unique(dealt))]
        assert counts.max() - counts.min() <= 1


@settings(max_examples=50, deadline=None)
@given(groups=st.lists(st.sampled_from("abcdef"), min_size=2, max_size=40), seed=st.integers(0, 9))
def test_no_group_is_in_two_folds(groups: list[str], seed: int) -> None:
    y = np.arange(len(groups)) % 2
    dealt = folds_of(y, groups, folds=3, seed=seed)
    if len(set(groups)) > 1:
        assert all(len(set(dealt[np.array(groups) == name])) == 1 for name in groups)
        assert len(set(dealt)) == min(3, len(set(groups)))
    else:
        assert len(set(dealt)) == min(3, len(groups))  # a single speaker: row by row


def test_speakers_of_one_sex_each_are_dealt_evenly() -> None:
    groups = np.repeat(np.arange(16), 5)
    sex = groups < 8
    dealt = folds_of(sex, groups, folds=4, seed=0)
    assert all(np.mean(sex[dealt == fold]) == 0.5 for fold in range(4))


def answers(truth, said, groups=None, classes: int = 3) -> ProbeResult:
    truth, said = np.asarray(truth), np.asarray(said)
    groups = np.arange(len(truth)) if groups is None else np.asarray(groups)
    return ProbeResult(tuple(range(classes)), truth, said, np.zeros_like(truth), groups, (1.0,))


def test_measures_of_answers_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 3, (2, 60))
    found = answers(truth, said)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(truth, said))
    np.testing.assert_allclose(found.recall, recall_score(truth, said, average=None))
    assert found.accuracy == pytest.approx(np.trace(found.confusion) / 60)
    constant = DummyClassifier(strategy="constant", constant=0).fit(truth[:, None], truth)
    assert found.chance == constant.score(truth[:, None], truth)
    missing = answers([0, 1], [0, 2])
    assert np.isnan(missing.recall[2])


def test_the_standard_error_is_binomial_of_rows_and_that_of_groups_if_rows_are_copies() -> None:
    rng = np.random.default_rng(0)
    truth, said = np.zeros(40, int), (rng.random(40) < 0.3).astype(int)
    single, p = answers(truth, said), np.mean(said == 0)
    assert single.standard_error == pytest.approx(np.sqrt(p * (1 - p) / 39))
    copies = answers(np.repeat(truth, 5), np.repeat(said, 5), np.repeat(np.arange(40), 5))
    assert copies.standard_error == pytest.approx(single.standard_error)
    assert np.isnan(answers([0, 1], [0, 0], [0, 0]).standard_error)


def test_merged_results_are_those_of_all_tests() -> None:
    one = answers([0, 1, 2], [0, 1, 1], [0, 0, 1])
    names = {0: "a", 1: "c"}
    other = ProbeResult(("a", "c"), np.array([0, 1]), np.array([1, 1]), np.array([1, 1]), np.array([0, 0]), (10.0,))
    first = ProbeResult(("a", "b", "c"), one.truth, one.said, one.majority, one.groups, one.C)
    both = merged([first, other])
    assert both.classes == ("a", "b", "c")
    assert [both.classes[i] for i in both.truth] == ["a", "b", "c", *(names[i] for i in other.truth)]
    assert [both.classes[i] for i in both.said[3:]] == ["c", "c"]
    assert both.groups.tolist() == [0, 0, 1, 2, 2]
    assert both.accuracy == pytest.approx(3 / 5)
    assert both.chance == pytest.approx(2 / 5)  # "a" of the first, "c" of the second
    assert both.C == (1.0, 10.0)
    with pytest.raises(ParameterError, match="At least one"):
        merged([])


@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_nothing_is_read_where_nothing_is(classifier: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 30)), rng.integers(0, 4, 400)
    found = linear_probe(x[:200], y[:200], x[200:], y[200:], classifier=classifier, grid=[0.1, 1.0])
    assert abs(found.accuracy - 0.25) < 4 * found.standard_error


def test_labels_may_be_text_and_new_in_the_test() -> None:
    x, y = clouds(60, 5, apart=5)
    names = np.array(["one", "two", "three"], "<U11")[y]
    names[50] = "never heard"
    found = linear_probe(x[:40], names[:40], x[40:], names[40:], test_groups=names[40:], grid=[1.0])
    assert found.classes == ("never heard", "one", "three", "two")
    assert found.recall[0] == 0
    assert found.recall[1:].min() > 0.8
    assert found.chance == pytest.approx(np.mean(names[40:] == "one"))


def test_scale_and_constant_features_change_nothing() -> None:
    x, y = clouds(80, 20)
    plain = linear_probe(x[:60], y[:60], x[60:], y[60:])
    more = np.c_[x * 1000 - 7, np.full(80, 3.3)]
    again = linear_probe(more[:60], y[:60], more[60:], y[60:])
    np.testing.assert_array_equal(plain.said, again.said)
    assert plain.C == again.C
    assert not standardised(np.full((4, 2), 0.1, np.float32))[0].any()


def test_two_rows_are_enough_to_be_tried() -> None:
    found = linear_probe([[0.0], [1.0]], ["a", "b"], [[0.1], [0.8]], ["a", "b"])
    assert found.accuracy == 1
    assert found.C == (1.0,)  # no fold could be learned from


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"train_x": [[1.0, np.nan]] * 4}, DataError, "finite"),
        ({"train_x": [1.0] * 4}, ParameterError, "rows, features"),
        ({"test_x": [[1.0]]}, ParameterError, "same features"),
        ({"train_y": [0, 1]}, ParameterError, r"\(4,\)"),
        ({"train_y": [0, 0, 0, 0]}, DataError, "two classes"),
        ({"groups": [1]}, ParameterError, "group"),
        ({"classifier": "forest"}, ParameterError, "svm, logistic"),
        ({"grid": []}, ParameterError, "grid"),
        ({"grid": [-1.0]}, ParameterError, "positive"),
        ({"folds": 1}, ParameterError, "folds"),
    ],
)
def test_bad_input_is_refused_in_a_line(change: dict, error: type, says: str) -> None:
    good = {"train_x": np.eye(4, 2), "train_y": [0, 1, 0, 1], "test_x": [[1.0, 2.0]], "test_y": [0]}
    with pytest.raises(error, match=says) as caught:
        linear_probe(**{**good, **change})
    assert "\n" not in str(caught.value)
