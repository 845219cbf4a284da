"""Which unit of one network answers to which of another: by class, by name, or by likeness of their patterns.

The likeness of two patterns is their cosine, counted in standard deviations of real speech. A filter is read over all
of its map, so that its pattern may as well lie some frames earlier or later: the best of some shifts counts, divided by
the lengths of the whole patterns, so that a small overlap is no likeness.

Of many patterns there is always one that is rather like; a likeness means nothing without what chance gives. Of units
that were matched by pattern that is the likeness that the same matching finds among patterns turned over (the other
network's, times -1): as smooth, as long, as alike among themselves, but of filters that are not there. Of units that
were matched by name or class it is the likeness to those that do not answer.

Nor does a low likeness prove two units different: a filter that is read over all of its map is content with many
patterns, and searched for from another start it finds another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import linear_sum_assignment

from cepscope.errors import ParameterError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Match = Literal["auto", "name", "label", "pattern"]

MATCHES: tuple[str, ...] = get_args(Match)
SHIFT = 8  # frames that a pattern may lie earlier or later
SETTLED = 0.9  # likeness from which on a pattern counts as what it will be
ALONE = -1  # the partner of who has none


@dataclass(frozen=True, eq=False)
class Units:
    """Units of a network, as far as matching is concerned.

    Attributes
    ----------
    names : tuple of str
        ``layer:index``.
    patterns : array [shape=(units, n_mfcc, frames)]
        In standard deviations of real speech.
    labels : tuple of str
        The class that each stands for; empty where it stands for none. Default: none does.

    Raises
    ------
    ParameterError
        There is not one pattern and one label a unit, or a pattern is not finite.
    """

    names: tuple[str, ...]
    patterns: npt.NDArray[Any]
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        patterns = np.asarray(self.patterns, np.float64)
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "labels", tuple(self.labels) or ("",) * len(self.names))
        if patterns.ndim != 3 or not len(patterns) == len(self.names) == len(self.labels) > 0:
            raise ParameterError(
                "Units need a pattern (n_mfcc, frames) and a label each. "
                f"Received: {len(self.names)} names, {len(self.labels)} labels, patterns of shape {patterns.shape}"
            )
        if not np.isfinite(patterns).all():
            raise ParameterError("Patterns of units must be finite. Received: NaN or Inf")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer of each unit."""
        return tuple(name.rpartition(":")[0] for name in self.names)


def pattern_likeness(one: npt.ArrayLike, other: npt.ArrayLike, *, shift: int = SHIFT) -> FloatArray:
    """Compare every pattern of one set with every one of another.

    Parameters
    ----------
    one, other : array [shape=(units, n_mfcc, frames)]
        In standard deviations of real speech.
    shift : int
        Frames by which one of two patterns may be moved in time; what is moved out does not count as like.

    Returns
    -------
    array [shape=(units of one, units of other)]
        -1 to 1, the largest over the shifts; NaN for a pattern that is zero throughout.

    Raises
    ------
    ParameterError
        The patterns differ in shape, so that they can't be compared.

    Examples
    --------
    >>> step = np.zeros((1, 2, 16))
    >>> step[0, :, 4:8] = 1
    >>> float(pattern_likeness(step, np.roll(step, 3, axis=2)).round(6)[0, 0])
    1.0
    >>> float(pattern_likeness(step, np.roll(step, 3, axis=2), shift=0).round(6)[0, 0])
    0.25
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.ndim != 3 or b.ndim != 3 or a.shape[1:] != b.shape[1:]:
        raise ParameterError(
            "Patterns can only be compared where they have the same coefficients and frames, (units, n_mfcc, frames). "
            f"Received: {a.shape} and {b.shape}"
        )
    if shift < 0:
        raise ParameterError(f"`shift` must be a number of frames from 0. Received: {shift}")
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (values / np.linalg.norm(values, axis=(1, 2), keepdims=True) for values in (a, b))
    shift = min(shift, a.shape[2] - 1)
    if not shift:
        return np.asarray(a.reshape(len(a), -1) @ b.reshape(len(b), -1).T)
    size = next_fast_len(a.shape[2] + shift, real=True)
    lags = np.arange(-shift, shift + 1)  # negative ones lie at the end of the circle
    spectra = rfft(b, size).conj()
    found = [irfft(np.einsum("cf,ncf->nf", row, spectra), size)[:, lags].max(axis=1) for row in rfft(a, size)]
    return np.stack(found)


def assign(likeness: npt.ArrayLike) -> IntArray:
    """Give each row the column of the one-to-one assignment whose likeness adds up to the most.

    Parameters
    ----------
    likeness : array [shape=(n, m)]
        NaN is as bad as any likeness can be.

    Returns
    -------
    array [shape=(n,)]
        Column of each row; -1 for rows that are left over where there are more rows than columns.

    Examples
    --------
    >>> assign([[0.9, 0.8], [0.8, 0.1]]).tolist()  # the first one steps back: 1.6 is more than 1.0
    [1, 0]
    """
    values = np.nan_to_num(np.asarray(likeness, np.float64), nan=-1.0)
    partner = np.full(len(values), ALONE, np.intp)
    rows, columns = linear_sum_assignment(values, maximize=True)
    partner[rows] = columns
    return partner


@dataclass(frozen=True, eq=False)
class Matching:
    """Who answers to whom.

    Attributes
    ----------
    partner : array [shape=(units,)]
        Place of each unit's partner in the other network; -1 where there is none.
    likeness : array [shape=(units,)]
        Of the two patterns; NaN where there is no partner, or patterns are not comparable.
    chance : array [shape=(units,)]
        What likeness would be without any kinship: see `cepscope.probe.matching`.
    """

    partner: IntArray
    likeness: FloatArray
    chance: FloatArray


def match_units(one: Units, other: Units, *, by: str = "auto", shift: int = SHIFT, comparable: bool = True) -> Matching:
    """Find the unit of another network that answers to each of one.

    Parameters
    ----------
    one, other : Units
    by : {"auto", "name", "label", "pattern"}
        ``"label"``: the unit of the same class. ``"pattern"``: the best one-to-one assignment of patterns, within each
        layer that both have, or of all to all where they have none in common. ``"auto"``: units that stand for a class
        by label, if both networks have any of its classes, all others by pattern.
    shift : int
        See `pattern_likeness`.
    comparable : bool
        Whether patterns of the two mean the same: of other front ends they do not, and units can then be matched by
        label only.

    Returns
    -------
    Matching

    Raises
    ------
    ParameterError
        `by` is something else; patterns are to be compared that differ in shape or meaning.
    """
    if by not in MATCHES:
        raise ParameterError(f"Units are matched by {', '.join(MATCHES)}. Received: {by!r}")
    count = len(one)
    labelled = _places(one.labels, other.labels)
    any_label = bool((labelled >= 0).any())
    if not comparable:
        if by not in ("label", "auto") or not any_label:
            raise ParameterError(f"Patterns of other front ends can only be matched by label. Received: by={by!r}")
        return Matching(labelled, np.full(count, np.nan), np.full(count, np.nan))
    if by in ("name", "label"):
        return _known(one, other, _places(one.names, other.names) if by == "name" else labelled, shift)
    if by == "pattern" or not any_label:
        return _by_pattern(one, other, np.arange(count), np.arange(len(other)), shift)
    free, others = (np.flatnonzero([not label for label in units.labels]) for units in (one, other))
    told, found = _known(one, other, labelled, shift), _by_pattern(one, other, free, others, shift)
    is_free = np.isin(np.arange(count), free)
    return Matching(
        np.where(is_free, found.partner, told.partner),
        np.where(is_free, found.likeness, told.likeness),
        np.where(is_free, found.chance, told.chance),
    )


def _places(wanted: Sequence[str], there: Sequence[str]) -> IntArray:
    """Return the first place of each text among others; -1 of what is not there, and of empty ones."""
    places: dict[str, int] = {}
    for place, text in enumerate(there):
        places.setdefault(text, place)
    return np.array([places.get(text, ALONE) if text else ALONE for text in wanted], np.intp)


def _known(one: Units, other: Units, partner: IntArray, shift: int) -> Matching:
    """Measure units whose partners are known: likeness, and its median to the others of the partner's layer."""
    layers = np.array(other.layers)
    likeness, chance = np.full(len(one), np.nan), np.full(len(one), np.nan)
    for i in np.flatnonzero(partner >= 0):
        theirs = np.flatnonzero(layers == layers[partner[i]])
        found = pattern_likeness(one.patterns[i : i + 1], other.patterns[theirs], shift=shift)[0]
        likeness[i] = found[theirs == partner[i]][0]
        if len(theirs) > 1:
            chance[i] = np.median(found[theirs != partner[i]])
    return Matching(partner, likeness, chance)


def _by_pattern(one: Units, other: Units, mine: IntArray, theirs: IntArray, shift: int) -> Matching:
    """Match some units of both by pattern, layer by layer."""
    partner = np.full(len(one), ALONE, np.intp)
    likeness, chance = np.full(len(one), np.nan), np.full(len(one), np.nan)
    layers, others = np.array(one.layers)[mine], np.array(other.layers)[theirs]
    both = [layer for layer in dict.fromkeys(layers) if layer in others]
    groups = [(mine[layers == layer], theirs[others == layer]) for layer in both] or [(mine, theirs)]
    for rows, columns in groups:
        if not len(rows) or not len(columns):
            continue
        table = pattern_likeness(one.patterns[rows], other.patterns[columns], shift=shift)
        turned = pattern_likeness(one.patterns[rows], -other.patterns[columns], shift=shift)
        found = assign(table)
        partner[rows] = np.where(found >= 0, columns[found], ALONE)
        likeness[rows], chance[rows] = _taken(table, found), _taken(turned, assign(turned))
    return Matching(partner, likeness, chance)


def _taken(table: FloatArray, columns: IntArray) -> FloatArray:
    return np.where(columns >= 0, table[np.arange(len(table)), columns], np.nan)


def settled(likeness: npt.ArrayLike, *, threshold: float = SETTLED) -> int:
    """Return the first moment from which on a pattern is what it will be in the end.

    Parameters
    ----------
    likeness : array [shape=(moments,)]
        To the last moment's pattern.
    threshold : float
        Likeness that counts as the same.

    Examples
    --------
    >>> settled([0.1, 0.95, 0.6, 0.93, 1.0])
    3
    """
    below = np.flatnonzero(~(np.asarray(likeness, np.float64) >= threshold))
    return int(below[-1]) + 1 if len(below) else 0
