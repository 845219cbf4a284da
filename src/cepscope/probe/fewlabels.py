"""Few-label curves: the error of a linear SVM on a representation, by the number of labelled clips of each class.

What is learned without labels pays most where labels are few (Raina et al. 2007, ICML, "Self-taught learning"; Lee et
al. 2009, NIPS, tables 1 to 3). Every representation is given the same labelled clips in each draw, so that differences
between representations are paired. Features are standardised by all clips of the training part, which needs no label.
C is the same for all (see `cepscope.probe.linear` for what it means): with one label a class nothing could choose it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cepscope.errors import DataError, ParameterError
from cepscope.models.checks import natural, positive
from cepscope.probe.linear import column, coordinates, features, new_classifier, standardised

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Wrong = dict[str, npt.NDArray[np.bool_]]

SIZES = (1, 2, 5, 10, 20, 50)
DRAWS = 10
C = 1.0


@dataclass(frozen=True)
class FewLabels:
    """Errors by representation, number of labels, draw and unit of the test.

    Attributes
    ----------
    sizes : tuple of int
        Labelled clips of each class.
    wrong : dict of array [shape=(sizes, draws, units)]
        Share of wrong answers. Units are what was sampled: clips, or speakers where they are kept apart.
    """

    sizes: tuple[int, ...]
    wrong: Mapping[str, FloatArray]

    def error(self, name: str) -> FloatArray:
        """Return a representation's mean error (sizes,)."""
        return np.asarray(self.wrong[name].mean(axis=(1, 2)))

    def standard_error(self, name: str) -> FloatArray:
        """Return the standard error of `error` (sizes,); see `crossed_standard_error`."""
        return np.array([crossed_standard_error(table) for table in self.wrong[name]])

    def difference(self, name: str, other: str) -> tuple[FloatArray, FloatArray]:
        """Return by how much a representation's error is above another's, and its standard error: (sizes,) each.

        Both are of the same draws and tests, so what these have in common drops out.
        """
        apart = self.wrong[name] - self.wrong[other]
        return apart.mean(axis=(1, 2)), np.array([crossed_standard_error(table) for table in apart])


def draw_labels(y: npt.ArrayLike, most: int, *, draws: int = DRAWS, seed: int = 0) -> IntArray:
    """Draw which clips are labelled.

    Parameters
    ----------
    y : array [shape=(n,)]
        Labels of all clips of the training part.
    most : int
        Labelled clips of each class.
    draws : int
    seed : int
        Draw d depends on (seed, d) alone.

    Returns
    -------
    array [shape=(draws, most * classes)]
        Indices. The first k * classes hold k clips of each class, for every k: draws with fewer labels are part of
        those with more.

    Raises
    ------
    DataError
        If a class has too few clips.

    Examples
    --------
    >>> drawn = draw_labels(["a", "b", "a", "b", "a", "b"], 2, draws=3)
    >>> drawn.shape, drawn[0] % 2
    ((3, 4), array([0, 1, 0, 1]))
    """
    natural(1, most=most, draws=draws)
    natural(seed=seed)
    names, labels = np.unique(np.asarray(y), return_inverse=True)
    counts = np.bincount(labels, minlength=len(names))
    if len(names) < 2 or counts.min() < most:
        fewest = f"{names[counts.argmin()]!r} has {counts.min()}" if len(names) else "there are none"
        raise DataError(
            f"{most} labels a class need at least {most} clips of each of two classes. Received: {len(names)} classes, "
            f"and {fewest}. Take fewer labels."
        )
    found = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        each = [rng.permutation(np.flatnonzero(labels == i))[:most] for i in range(len(names))]
        found.append(np.stack(each, axis=1).ravel())
    return np.array(found)


def few_label_errors(
    representations: Mapping[str, npt.ArrayLike],
    y: npt.ArrayLike,
    train: npt.ArrayLike,
    test: npt.ArrayLike,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    C: float = C,
    seed: int = 0,
) -> Wrong:
    """Train SVMs on few labels of one split and see which tests they get wrong.

    Parameters
    ----------
    representations : mapping of str to array [shape=(n, features)]
    y : array [shape=(n,)]
    train, test : array of int
        Rows of either side.
    sizes : sequence of int
        Labelled clips of each class.
    draws : int
    C : float
        Of every SVM.
    seed : int
        Of the draws.

    Returns
    -------
    dict of array [shape=(sizes, draws, tests)]
        Whether the answer is wrong.

    Raises
    ------
    ParameterError
        If the arrays do not fit each other or a setting is out of range.
    DataError
        If a class has too few clips in the training part, or features are not finite.
    """
    positive(C=C)
    natural(1, **{f"sizes[{i}]": size for i, size in enumerate(sizes)})
    labels, (own, rest) = np.asarray(y), (_rows(part, len(np.asarray(y))) for part in (train, test))
    if not len(sizes) or not len(rest) or np.isin(rest, own).any():
        raise ParameterError(
            f"There must be sizes, and tests that are no part of train. Received: {len(sizes)} sizes, "
            f"{len(rest)} tests, {np.isin(rest, own).sum()} of them in train"
        )
    drawn = draw_labels(labels[own], max(sizes), draws=draws, seed=seed)
    classes = len(np.unique(labels[own]))
    found: Wrong = {}
    for name, given in representations.items():
        x = features(name, given)
        column(labels, len(x))
        pool, tests = standardised(x[own], x[rest])
        wrong = np.empty((len(sizes), draws, len(rest)), bool)
        for d, rows in enumerate(drawn):
            known, asked = coordinates(pool[rows], tests)
            square = known.shape[0] == known.shape[1]
            for s, size in enumerate(sizes):
                n = size * classes
                width = n if square else known.shape[1]  # later coordinates of the first rows are 0
                machine = new_classifier("svm", C, seed=seed).fit(known[:n, :width], labels[own[rows[:n]]])
                wrong[s, d] = machine.predict(asked[:, :width]) != labels[rest]
        found[name] = wrong
    return found


def gather(parts: Sequence[tuple[Wrong, npt.ArrayLike]], sizes: Sequence[int] = SIZES) -> FewLabels:
    """Put the errors of one or many splits together, by unit of the test.

    Parameters
    ----------
    parts : sequence of (dict, array [shape=(tests,)])
        What `few_label_errors` found in a split, and the unit of each test: its number, or its speaker. A unit that
        is tested in several splits has its mean error over all its tests.
    sizes : sequence of int

    Returns
    -------
    FewLabels
    """
    if not parts or any(set(wrong) != set(parts[0][0]) for wrong, _ in parts):
        raise ParameterError("Every split must have errors of the same representations, and there must be a split.")
    names = {name: [wrong[name] for wrong, _ in parts] for name in parts[0][0]}
    keys = [column(units, next(iter(wrong.values())).shape[2]) for wrong, units in parts]
    units, coded = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(coded)
    member = (coded[:, None] == np.arange(len(units))) / counts  # (tests of all splits, units)
    return FewLabels(tuple(sizes), {name: np.concatenate(each, axis=2) @ member for name, each in names.items()})


def crossed_standard_error(values: npt.ArrayLike) -> float:
    """Return the standard error of the mean of a table whose rows and columns are both samples.

    With additive random effects of R rows and C columns, of variances r and c, and a rest of variance s, the mean has
    the variance r / R + c / C + s / (R C). The three are estimated from mean squares, and count as 0 where that gives
    less. NaN with a single row or column.

    Parameters
    ----------
    values : array [shape=(draws, units)]
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise ParameterError(f"The table must be (draws, units). Received: {table.shape}")
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return float("nan")
    by_row, by_column = table.mean(axis=1), table.mean(axis=0)
    left = table - by_row[:, None] - by_column + table.mean()
    rest = np.sum(left**2) / ((rows - 1) * (columns - 1))
    of_rows = max(by_row.var(ddof=1) - rest / columns, 0.0)
    of_columns = max(by_column.var(ddof=1) - rest / rows, 0.0)
    return float(np.sqrt(of_rows / rows + of_columns / columns + rest / (rows * columns)))


def _rows(part: npt.ArrayLike, count: int) -> IntArray:
    found = np.asarray(part)
    if found.dtype == bool and found.shape == (count,):
        return np.flatnonzero(found)
    if found.ndim != 1 or (
        len(found) and (found.dtype.kind not in "iu" or not (0 <= found.min() <= found.max() < count))
    ):
        raise ParameterError(f"Rows of a side must be numbers from 0 to {count - 1}. Received: {part!r:.60}")
    return np.asarray(found, np.intp)
