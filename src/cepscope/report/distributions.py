"""How the clips of a corpus are distributed: what is drawn, by the page and by the figures alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.cbook import boxplot_stats

from cepscope.corpora.corpus import SPLITS
from cepscope.corpora.description import Description

MOST_CLASSES, MOST_SPEAKERS = 40, 24  # that have a bar or a box each; of more, the distribution is drawn
BINS = 40


@dataclass(frozen=True)
class Bars:
    """One bar a name, in parts."""

    title: str
    names: tuple[str, ...]
    parts: Mapping[str, tuple[int, ...]]  # split -> count of each name
    xlabel: str = "class"
    ylabel: str = "clips"


@dataclass(frozen=True)
class Histogram:
    """Counts between edges, in parts."""

    title: str
    xlabel: str
    ylabel: str
    edges: tuple[float, ...]
    parts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Spread:
    """What a box of a box plot stands for: quartiles, ends of the whiskers (1.5 boxes), what lies beyond."""

    low: float
    q1: float
    median: float
    q3: float
    high: float
    beyond: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values, as matplotlib's box plots have it."""
        found = boxplot_stats(values)[0]
        low, q1, median, q3, high = (float(found[name]) for name in ("whislo", "q1", "med", "q3", "whishi"))
        return cls(low, q1, median, q3, high, tuple(float(value) for value in found["fliers"]))


@dataclass(frozen=True)
class Boxes:
    """One box a name."""

    title: str
    ylabel: str
    names: tuple[str, ...]
    spreads: tuple[Spread, ...]


def class_sizes(description: Description) -> Bars | Histogram:
    """Return how many clips each class has, by split; of many classes, how many classes have how many."""
    cells = description.to_dict()["classes"]
    if len(cells) > MOST_CLASSES:
        sizes = [sum(sides.values()) for sides in cells.values()]
        return _histogram("class sizes", "clips in a class", "classes", {"": sizes})
    parts: dict[str, tuple[int, ...]] = {side: tuple(sides[side] for sides in cells.values()) for side in SPLITS}
    return Bars("classes", tuple(cells), parts)


def lengths(description: Description) -> Histogram:
    """Return how long the clips are, by split."""
    pairs = description.pairs
    parts: dict[str, list[float]] = {side: [f.seconds for clip, f in pairs if clip.split == side] for side in SPLITS}
    return _histogram("length", "length [s]", "clips", parts)


def levels(description: Description) -> Boxes | Histogram:
    """Return how loud the clips are, by speaker if there are a few."""
    return _by_speaker(description, "level", "level", "RMS level [dB of full scale]")


def offsets(description: Description) -> Boxes | Histogram:
    """Return the clips' DC, by speaker if there are a few."""
    return _by_speaker(description, "offset", "offset (DC)", "mean sample [of full scale]")


def _by_speaker(description: Description, attribute: str, title: str, unit: str) -> Boxes | Histogram:
    values: dict[str, list[float]] = {}
    for clip, fact in description.pairs:
        if math.isfinite(fact.level):
            values.setdefault(clip.speaker, []).append(getattr(fact, attribute))
    speakers = sorted(values)
    if not 1 < len(speakers) <= MOST_SPEAKERS:
        return _histogram(title, unit, "clips", {"": [value for name in speakers for value in values[name]]})
    names = tuple(name or "unknown" for name in speakers)
    return Boxes(f"{title} by speaker", unit, names, tuple(Spread.of(values[name]) for name in speakers))


def _histogram(title: str, xlabel: str, ylabel: str, parts: Mapping[str, Sequence[float]]) -> Histogram:
    every = [value for values in parts.values() for value in values]
    edges = np.histogram_bin_edges(every, BINS) if every else np.array([0.0, 1.0])
    counts = {name: tuple(int(n) for n in np.histogram(values, edges)[0]) for name, values in parts.items()}
    return Histogram(title, xlabel, ylabel, tuple(float(edge) for edge in edges), counts)
