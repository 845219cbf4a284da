"""Linear probes: how much of a label a linear classifier reads from a representation.

A linear classifier on frozen features shows what is laid out for the taking, not all that is there (Alain and Bengio
2016, arXiv:1610.01644). Features are standardised by the training part and divided by the root of their number: rows
then have a mean squared length of 1, and C means the same for 20 features and for 6000. Where there are fewer rows than
features, rows are turned into the space they span, which changes no classifier whose weights are kept small by their
norm, and makes it cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.models.checks import natural, positive
from cepscope.probe.result import ProbeResult

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

CLASSIFIERS = ("svm", "logistic")
GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)  # C that cross-validation chooses from
FOLDS = 4
DEFAULT_C = 1.0  # where there are too few labels to choose
CONSTANT = 1e-6  # deviation over magnitude below which a feature is constant: float32 rounding
JITTER = 1e-10  # added to squared lengths, whose mean is 1, so that rows that depend on each other do no harm
STEPS = 10_000  # of the solvers, at most
LARGEST = 1e150  # of features: their squares are numbers, too


def linear_probe(
    train_x: npt.ArrayLike,
    train_y: npt.ArrayLike,
    test_x: npt.ArrayLike,
    test_y: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    test_groups: npt.ArrayLike | None = None,
    classifier: str = "svm",
    grid: Sequence[float] = GRID,
    folds: int = FOLDS,
    seed: int = 0,
) -> ProbeResult:
    """Train a linear classifier on one part of a representation and test it on the other.

    Parameters
    ----------
    train_x, test_x : array [shape=(n, features), (tests, features)]
    train_y, test_y : array [shape=(n,), (tests,)]
        Labels: numbers or text.
    groups : array [shape=(n,)], optional
        Speakers of the training part: no speaker is in two folds of the cross-validation. Not for a probe of speakers.
    test_groups : array [shape=(tests,)], optional
        Speakers of the tests, for the standard error; without, each row counts for itself.
    classifier : {"svm", "logistic"}
        Linear SVM (squared hinge loss, one class against the rest) or multinomial logistic regression.
    grid : sequence of float
        C to choose from by cross-validation within the training part; of equals the smallest. One C is taken as it is.
    folds : int
    seed : int
        Of the folds.

    Returns
    -------
    ProbeResult

    Raises
    ------
    ParameterError
        If the arrays do not fit each other or a setting is out of range.
    DataError
        If features are not finite, or there are not two classes to tell apart.
    """
    natural(2, folds=folds)
    natural(seed=seed)
    if not len(grid):
        raise ParameterError("`grid` must hold at least one C. Received: none")
    for C in grid:
        positive(C=C)
    x, rest = features("train_x", train_x), features("test_x", test_x)
    if x.shape[1] != rest.shape[1]:
        raise ParameterError(f"Both parts must have the same features. Received: {x.shape[1]} and {rest.shape[1]}")
    names, coded = np.unique(np.r_[column(train_y, len(x)), column(test_y, len(rest))], return_inverse=True)
    y, truth = coded[: len(x)], coded[len(x) :]
    if len(np.unique(y)) < 2 or not len(truth):
        raise DataError(f"A probe needs two classes to learn and a row to test. Received: {len(names)} labels")
    x, rest = coordinates(*standardised(x, rest))
    own = None if groups is None else column(groups, len(x))
    C = _choose(x, y, own, classifier, sorted(map(float, grid)), folds, seed)
    said = new_classifier(classifier, C, seed=seed).fit(x, y).predict(rest)
    clusters = np.arange(len(rest)) if test_groups is None else column(test_groups, len(rest))
    return ProbeResult(
        tuple(names.tolist()),
        truth,
        np.asarray(said, np.intp),
        np.full(len(rest), np.bincount(y).argmax()),
        np.unique(clusters, return_inverse=True)[1],
        (C,),
    )


def folds_of(y: npt.ArrayLike, groups: npt.ArrayLike | None = None, *, folds: int = FOLDS, seed: int = 0) -> IntArray:
    """Deal rows to folds: whole groups, and the rows of each class evenly.

    Parameters
    ----------
    y : array [shape=(n,)]
        Labels; those of a group count as its most frequent one.
    groups : array [shape=(n,)], optional
        With fewer than two of them rows are dealt one by one.
    folds : int
        At most as many as there are groups, or rows.
    seed : int

    Returns
    -------
    array [shape=(n,)]
        Each row's fold.
    """
    labels = np.unique(np.asarray(y), return_inverse=True)[1]
    keys = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) and keys.max() == 0:
        keys = np.arange(len(labels))
    counts = np.zeros((keys.max(initial=-1) + 1, labels.max(initial=-1) + 1), int)
    np.add.at(counts, (keys, labels), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(counts.argmax(axis=1)[order], kind="stable")]
    dealt = np.empty(len(counts), np.intp)
    dealt[order] = np.arange(len(order)) % min(folds, max(1, len(order)))
    return dealt[keys]


def standardised(train: npt.ArrayLike, *others: npt.ArrayLike) -> list[FloatArray]:
    """Standardise features (n, features) by the first part; divide by the root of their number.

    Features that are constant there become 0 everywhere.
    """
    first = np.asarray(train, np.float64)
    mean, deviation = first.mean(axis=0), first.std(axis=0)
    varies = deviation > CONSTANT * np.maximum(np.abs(mean), CONSTANT)
    scale = np.where(varies, deviation, np.inf) * np.sqrt(max(1, varies.sum()))
    return [(np.asarray(part, np.float64) - mean) / scale for part in (first, *others)]


def coordinates(train: FloatArray, test: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn rows into the space that the training rows span, if that has fewer axes than there are features.

    Products of training rows with each other and with tests stay as they are (but for `JITTER`), and the solution of a
    classifier with an L2 penalty is a combination of training rows. Row i needs the first i + 1 coordinates only, so
    that the first n rows and columns are the coordinates of the first n rows alone.

    Parameters
    ----------
    train, test : array [shape=(n, features), (tests, features)]

    Returns
    -------
    train, test : array [shape=(n, n), (tests, n)]
        The first is lower triangular; both unchanged if there are more rows than features.
    """
    if len(train) > train.shape[1]:
        return train, test
    from scipy.linalg import cholesky, solve_triangular

    products = train @ train.T
    products[np.diag_indices(len(train))] += JITTER
    lower = cholesky(products, lower=True)
    return lower, solve_triangular(lower, train @ test.T, lower=True).T


def new_classifier(kind: str, C: float, *, seed: int = 0) -> Any:
    """Return scikit-learn's classifier of a kind in `CLASSIFIERS`, not yet fitted; ParameterError if it is another."""
    if kind == "svm":
        from sklearn.svm import LinearSVC

        # the dual is the faster way, but takes very long for a large C
        return LinearSVC(C=C, dual=C <= DEFAULT_C, max_iter=STEPS, random_state=seed)
    if kind == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=C, max_iter=STEPS)
    raise ParameterError(f"`classifier` must be one of {', '.join(CLASSIFIERS)}. Received: {kind!r}")


def features(name: str, x: npt.ArrayLike) -> FloatArray:
    """Return a representation as a matrix (n, features); refuse what is none."""
    matrix = np.asarray(x, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ParameterError(f"`{name}` must be (rows, features), neither of them 0. Received: {matrix.shape}")
    if not (np.abs(matrix) <= LARGEST).all():
        raise DataError(
            f"`{name}` must be finite and at most {LARGEST:g}. Received: NaN, infinity or more among its features"
        )
    return matrix


def column(values: npt.ArrayLike, rows: int) -> npt.NDArray[Any]:
    """Return labels or groups, one a row; refuse another number of them."""
    found = np.asarray(values)
    if found.shape != (rows,):
        raise ParameterError(f"There must be one label and one group a row, ({rows},). Received: {found.shape}")
    return found


def _choose(
    x: FloatArray,
    y: IntArray,
    groups: npt.NDArray[Any] | None,
    classifier: str,
    grid: Sequence[float],
    folds: int,
    seed: int,
) -> float:
    """Return the C with the most right answers over the folds."""
    if len(grid) == 1:
        return grid[0]
    dealt = folds_of(y, groups, folds=folds, seed=seed)
    right = np.zeros(len(grid))
    tried = False
    for fold in np.unique(dealt):
        rest = dealt != fold
        if len(np.unique(y[rest])) < 2:
            continue
        tried = True
        for i, C in enumerate(grid):
            said = new_classifier(classifier, C, seed=seed).fit(x[rest], y[rest]).predict(x[~rest])
            right[i] += np.sum(said == y[~rest])
    return grid[int(right.argmax())] if tried else min(grid, key=lambda C: abs(C - DEFAULT_C))
