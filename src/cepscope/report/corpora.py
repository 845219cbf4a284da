"""A corpus at a glance: classes, lengths, levels and offsets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cepscope.corpora.description import Description
from cepscope.report.distributions import Bars, Boxes, Histogram, class_sizes, lengths, levels, offsets
from cepscope.report.figures import new_figure
from cepscope.report.plots import COLOURS

MOST_CHARACTERS = 50  # that fit side by side below the bars


def plot_corpus(description: Description) -> Figure:
    """Draw how many clips each class has, how long they are, and each speaker's level and offset.

    Parameters
    ----------
    description : Description
        From `cepscope.corpora.description.describe`.

    Returns
    -------
    Figure
    """
    corpus = description.corpus
    figure = new_figure(9.6, 6.4)
    grid = figure.subplots(2, 2)
    figure.suptitle(f"{corpus.name}: {len(corpus.clips)} clips of {len(corpus.labels)} classes")
    for axes, measure in zip(grid.flat, (class_sizes, lengths, levels, offsets), strict=True):
        _draw(axes, measure(description))
        axes.title.set_fontsize(9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw(axes: Any, found: Bars | Histogram | Boxes) -> None:
    if isinstance(found, Boxes):
        _draw_boxes(axes, found)
    elif isinstance(found, Bars):
        _stack(axes, found.names, 0.8, found.parts)
        axes.set(title=found.title, xlabel=found.xlabel, ylabel=found.ylabel)
        axes.tick_params(axis="x", rotation=90 if sum(map(len, found.names)) > MOST_CHARACTERS else 0)
    else:
        middles = [(low + high) / 2 for low, high in pairwise(found.edges)]
        _stack(axes, middles, [high - low for low, high in pairwise(found.edges)], found.parts)
        axes.set(title=found.title, xlabel=found.xlabel, ylabel=found.ylabel)
        if len(found.parts) > 1:
            axes.legend(frameon=False, fontsize=8)


def _stack(axes: Any, places: Any, width: Any, parts: Mapping[str, tuple[int, ...]]) -> None:
    below = np.zeros(len(places))
    for (name, counts), colour in zip(parts.items(), COLOURS, strict=False):
        axes.bar(places, counts, width, bottom=below, color=colour, label=name)
        below += np.array(counts)


def _draw_boxes(axes: Any, found: Boxes) -> None:
    stats = [
        {"whislo": s.low, "q1": s.q1, "med": s.median, "q3": s.q3, "whishi": s.high, "fliers": s.beyond}
        for s in found.spreads
    ]
    boxes = axes.bxp(stats, widths=0.6, patch_artist=True, boxprops={"facecolor": COLOURS[5]})
    for point in boxes["fliers"]:
        point.set(marker=".", markersize=2)
    axes.set_xticks(range(1, len(found.names) + 1), found.names, rotation=45)
    axes.set(title=found.title, ylabel=found.ylabel)
