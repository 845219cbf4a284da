"""What a classifier said of held-out rows, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ProbeResult:
    """What a probe says of held-out rows.

    Attributes
    ----------
    classes : tuple
        All labels, sorted.
    truth, said, majority : array [shape=(tests,)]
        Index into `classes`: of the label, of the answer, and of the training part's most frequent label.
    groups : array [shape=(tests,)]
        Rows of one group (a speaker) are not independent of each other.
    C : tuple of float
        Chosen, one a fit.
    """

    classes: tuple[Any, ...]
    truth: IntArray
    said: IntArray
    majority: IntArray
    groups: IntArray
    C: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return float(np.mean(self.said == self.truth))

    @property
    def chance(self) -> float:
        """Return the accuracy of always saying what is most frequent in training."""
        return float(np.mean(self.majority == self.truth))

    @property
    def standard_error(self) -> float:
        """Return the accuracy's standard error, from the sums over groups; NaN of a single group.

        With one row a group it is the binomial one, sqrt(p (1 - p) / (n - 1)).
        """
        deviations = (self.said == self.truth) - self.accuracy
        sums = np.bincount(self.groups, weights=deviations)[np.unique(self.groups)]
        count = len(sums)
        if count < 2:
            return float("nan")
        return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(self.truth))

    @property
    def confusion(self) -> IntArray:
        """Return how often what is in truth the row's class was said to be the column's: (classes, classes)."""
        count = len(self.classes)
        found = np.bincount(self.truth * count + self.said, minlength=count * count)
        return np.asarray(found.reshape(count, count), np.intp)

    @property
    def recall(self) -> FloatArray:
        """Return the share of each class's rows that are found (classes,); NaN where there are none."""
        table = self.confusion
        total = table.sum(axis=1)
        return np.where(total > 0, np.diag(table) / np.maximum(total, 1), np.nan)


def merged(results: Sequence[ProbeResult]) -> ProbeResult:
    """Put the results of several splits together, as if all their tests were one; a group is one within a split only.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if not results:
        raise ParameterError("At least one result is needed. Received: none")
    names = sorted({name for result in results for name in result.classes})
    places = [np.array([names.index(name) for name in result.classes]) for result in results]
    starts = np.cumsum([0, *(result.groups.max() + 1 for result in results[:-1])])

    def together(column: str) -> IntArray:
        parts = [place[getattr(result, column)] for place, result in zip(places, results, strict=True)]
        return np.asarray(np.concatenate(parts), np.intp)

    groups = np.concatenate([result.groups + start for result, start in zip(results, starts, strict=True)])
    truth, said, majority = (together(column) for column in ("truth", "said", "majority"))
    chosen = tuple(C for result in results for C in result.C)
    return ProbeResult(tuple(names), truth, said, majority, groups, chosen)
