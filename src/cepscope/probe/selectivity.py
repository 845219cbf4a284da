"""Is a sound its own unit's, or does it excite everybody? Do other networks hear the same? What does a unit tell of?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cepscope.errors import ParameterError
from cepscope.models.checks import natural
from cepscope.probe.linear import LARGEST

FloatArray = npt.NDArray[np.float64]

BINS = 8  # of as many clips each
SHUFFLES = 100


@dataclass(frozen=True)
class LabelSelectivity:
    """What units tell of labels.

    Attributes
    ----------
    labels : tuple
        Sorted.
    dprime : array [shape=(units, labels)]
        See `dprime`.
    information : array [shape=(units,)]
        Mutual information of the binned activation and the label, in bits, less `chance`.
    chance : array [shape=(units,)]
        Mean information after labels were shuffled, which is what few clips pretend to.
    p_value : array [shape=(units,)]
        Share of shuffles, the one that was observed among them, that have as much information.
    """

    labels: tuple[Any, ...]
    dprime: FloatArray
    information: FloatArray
    chance: FloatArray
    p_value: FloatArray

    @property
    def preferred(self) -> tuple[Any, ...]:
        """Return the label of each unit's largest d'."""
        return tuple(self.labels[i] for i in self.dprime.argmax(axis=1))


def label_selectivity(
    activation: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    bins: int = BINS,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> LabelSelectivity:
    """Measure what each unit tells of a label: which one it likes, and how much it says of all.

    Parameters
    ----------
    activation : array [shape=(clips, units)]
        As `cepscope.maximize.units.unit_activations` gives them.
    labels : array [shape=(clips,)]
        Any column: digit, phone, speaker, sex.
    groups : array [shape=(clips,)], optional
        Speakers. If all clips of each group have one label, as with sex, whole groups exchange their labels when these
        are shuffled; else clips exchange them within their group.
    bins, shuffles, seed : int

    Returns
    -------
    LabelSelectivity

    Raises
    ------
    ParameterError
        If the arrays do not fit each other, or there are not two labels.
    """
    natural(2, bins=bins)
    natural(1, shuffles=shuffles)
    values, coded, names = _labelled(activation, labels)
    given = np.arange(len(coded)) if groups is None else np.asarray(groups)
    if given.shape != coded.shape:
        raise ParameterError(f"There must be one group a clip, {coded.shape}. Received: {given.shape}")
    keys = np.zeros(len(coded), np.intp) if groups is None else np.unique(given, return_inverse=True)[1]
    cells = _binned(values, bins)
    observed = information(cells, coded)
    rng = np.random.default_rng(seed)
    drawn = np.array([information(cells, _shuffled(coded, keys, rng)) for _ in range(shuffles)])
    chance = drawn.mean(axis=0)
    as_much = 1 + np.sum(drawn >= observed - 1e-12, axis=0)  # sums in another order
    return LabelSelectivity(names, dprime(values, labels), observed - chance, chance, as_much / (1 + shuffles))


def dprime(activation: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Return how far apart units set the clips of each label and all others.

    Parameters
    ----------
    activation : array [shape=(clips, units)]
    labels : array [shape=(clips,)]

    Returns
    -------
    array [shape=(units, labels)]
        Difference of the two means over the root of the mean of the two variances (d_a of Simpson and Fitter 1973,
        Psychological Bulletin 80); 0 of units that say the same of every clip.
    """
    values, coded, names = _labelled(activation, labels)
    values = values - values.mean(axis=0)
    member = (coded[:, None] == np.arange(len(names))).astype(np.float64)  # (clips, labels)
    counts = member.sum(axis=0)
    own, square = ((v.T @ member) for v in (values, values**2))
    rest, rest_square = (total.sum(axis=1, keepdims=True) - total for total in (own, square))
    means = [own / counts, rest / (len(values) - counts)]
    spread = [square / counts - means[0] ** 2, rest_square / (len(values) - counts) - means[1] ** 2]
    deviation = np.sqrt(np.maximum((spread[0] + spread[1]) / 2, 0))
    return np.asarray((means[0] - means[1]) / np.maximum(deviation, 1e-9 * np.maximum(1, np.abs(values).max())))


def information(cells: npt.NDArray[np.intp], labels: npt.NDArray[np.intp]) -> FloatArray:
    """Return the mutual information of counts, in bits, biased upwards by about (bins - 1) (labels - 1) / (2 n ln 2).

    Parameters
    ----------
    cells : array [shape=(clips, units)]
        The bin of each activation.
    labels : array [shape=(clips,)]
        From 0.

    Returns
    -------
    array [shape=(units,)]
    """
    n, units = cells.shape
    width, count = cells.max() + 1, labels.max() + 1
    flat = (np.arange(units) * width + cells) * count + labels[:, None]
    joint = np.bincount(flat.ravel(), minlength=units * width * count).reshape(units, width, count) / n
    return _entropy(joint.sum(axis=2)) + _entropy(joint.sum(axis=1)) - _entropy(joint.reshape(units, -1))


def ranks(activation: npt.ArrayLike, real: npt.ArrayLike, own: Sequence[int]) -> npt.NDArray[np.intp]:
    """Rank a unit among the units of its layer on its own sound; each counted in deviations of real speech.

    Parameters
    ----------
    activation : array [shape=(sounds, units)]
        Of all units of one layer by the sounds.
    real : array [shape=(clips, units)]
        By real clips, which set each unit's zero and scale.
    own : sequence of int
        Each sound's unit.

    Returns
    -------
    array [shape=(sounds,)]
        1 is the first.
    """
    values, clips = np.asarray(activation, np.float64), np.asarray(real, np.float64)
    if values.ndim != 2 or values.shape[1:] != clips.shape[1:] or len(own) != len(values):
        raise ParameterError(
            f"Activations must be (sounds, units) and (clips, units). Received: {values.shape}, {clips.shape}"
        )
    return ranks_against(values, clips.mean(axis=0), clips.std(axis=0), own=own)


def ranks_against(
    activation: npt.ArrayLike, mean: FloatArray, deviation: FloatArray, *, own: Sequence[int]
) -> npt.NDArray[np.intp]:
    """Do what `ranks` does, with each unit's mean and deviation (units,) by real clips."""
    z = (np.asarray(activation, np.float64) - mean) / np.maximum(deviation, 1e-9)
    mine = z[np.arange(len(z)), list(own)]
    return np.asarray(1 + np.sum(z > mine[:, None], axis=1), np.intp)


def counterparts(real: npt.ArrayLike, other: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Find for each unit the unit of another network that goes along with it most over real clips.

    Parameters
    ----------
    real, other : array [shape=(clips, units), (clips, others)]
        Activations by the same clips.

    Returns
    -------
    index, correlation : array [shape=(units,)]
        Of the best unit of the other network, and Pearson's r with it.
    """
    one, two = (_standard(np.asarray(values, np.float64)) for values in (real, other))
    correlation = one.T @ two / len(one)
    index = correlation.argmax(axis=1)
    return index, correlation.max(axis=1)


def transfer(real: npt.ArrayLike, other_activation: npt.ArrayLike, other_real: npt.ArrayLike) -> FloatArray:
    """Return where sounds stand, among real clips, with the counterparts of their units in another network.

    Parameters
    ----------
    real : array [shape=(clips, sounds)]
        Each sound's unit by real clips.
    other_activation : array [shape=(sounds, others)]
        All units of the other network by the sounds.
    other_real : array [shape=(clips, others)]

    Returns
    -------
    array [shape=(sounds,)]
        Share of real clips that excite the counterpart less than the sound does.
    """
    index, _ = counterparts(real, other_real)
    clips, values = np.asarray(other_real), np.asarray(other_activation)
    if len(values) != len(index):
        raise ParameterError(f"There must be one unit a sound. Received: {len(index)} units, {len(values)} sounds")
    return np.array([np.mean(clips[:, j] < row[j]) for row, j in zip(values, index, strict=True)])


def heard_right(network: Any, x: npt.ArrayLike, classes: Sequence[int]) -> int:
    """Count the sounds (n, n_mfcc, frames, 1) that a network says are of their class."""
    said = np.asarray(network(np.asarray(x, np.float32), training=False)).argmax(axis=1)
    return int(np.sum(said == np.asarray(classes)))


def _standard(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9))


def _labelled(
    activation: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[FloatArray, npt.NDArray[np.intp], tuple[Any, ...]]:
    """Return activations, each clip's label as a number, and the labels."""
    values = np.asarray(activation, np.float64)
    names, coded = np.unique(np.asarray(labels), return_inverse=True)
    if values.ndim != 2 or coded.shape != values.shape[:1] or len(names) < 2 or not (np.abs(values) <= LARGEST).all():
        raise ParameterError(
            "Activations must be (clips, units) and finite, with one label a clip, and two labels or more. "
            f"Received: {values.shape}, {coded.shape}, {len(names)} labels"
        )
    return values, coded, tuple(names.tolist())


def _binned(values: FloatArray, bins: int) -> npt.NDArray[np.intp]:
    """Sort each unit's activations into bins of as many clips each, as far as equal ones allow."""
    edges = np.quantile(values, np.arange(1, bins) / bins, axis=0)
    return np.asarray(np.sum(values[None] > edges[:, None], axis=0), np.intp)


def _shuffled(
    labels: npt.NDArray[np.intp], groups: npt.NDArray[np.intp], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Shuffle labels among groups of a single label each, or within groups."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    each = labels[order[starts]]
    if (labels == each[groups]).all():
        return np.asarray(rng.permutation(each)[groups], np.intp)
    found = np.empty_like(labels)
    found[order] = np.concatenate([rng.permutation(part) for part in np.split(labels[order], starts[1:])])
    return found


def _entropy(shares: FloatArray) -> FloatArray:
    """Return the entropy of rows of shares (n, cells), in bits."""
    return np.asarray(-np.sum(shares * np.log2(np.where(shares > 0, shares, 1)), axis=1))
