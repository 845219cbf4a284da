"""A corpus at a glance: classes, lengths, levels and offsets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cepscope.corpora.corpus import SPLITS
from cepscope.corpora.description import Description
from cepscope.report.figures import new_figure
from cepscope.report.plots import COLOURS

MOST_CLASSES, MOST_SPEAKERS = 40, 24  # that have a bar or a box each; of more, the distribution is drawn
MOST_CHARACTERS = 50  # that fit side by side below the bars
BINS = 40


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
    _draw_classes(grid[0, 0], description)
    _draw_lengths(grid[0, 1], description)
    _draw_speakers(grid[1, 0], description, "level", "level", "RMS level [dB of full scale]")
    _draw_speakers(grid[1, 1], description, "offset", "offset (DC)", "mean sample [of full scale]")
    for axes in grid.flat:
        axes.title.set_fontsize(9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_classes(axes: Any, description: Description) -> None:
    cells = description.to_dict()["classes"]
    names = list(cells)
    if len(names) > MOST_CLASSES:
        axes.hist([sum(cells[name].values()) for name in names], bins=BINS, color=COLOURS[0])
        axes.set(title="class sizes", xlabel="clips in a class", ylabel="classes")
        return
    below = np.zeros(len(names))
    for side, colour in zip(SPLITS, COLOURS, strict=False):
        counts = np.array([cells[name][side] for name in names])
        axes.bar(names, counts, bottom=below, color=colour, label=side)
        below += counts
    axes.set(title="classes", xlabel="class", ylabel="clips")
    axes.tick_params(axis="x", rotation=90 if sum(map(len, names)) > MOST_CHARACTERS else 0)


def _draw_lengths(axes: Any, description: Description) -> None:
    lengths = [[fact.seconds for clip, fact in description.pairs if clip.split == side] for side in SPLITS]
    axes.hist(lengths, bins=BINS, stacked=True, color=COLOURS[: len(SPLITS)], label=SPLITS)
    axes.set(title="length", xlabel="length [s]", ylabel="clips")
    axes.legend(frameon=False, fontsize=8)


def _draw_speakers(axes: Any, description: Description, attribute: str, title: str, unit: str) -> None:
    values: dict[str, list[float]] = {}
    for clip, fact in description.pairs:
        if math.isfinite(fact.level):
            values.setdefault(clip.speaker, []).append(getattr(fact, attribute))
    speakers = sorted(values)
    if 1 < len(speakers) <= MOST_SPEAKERS:
        boxes = axes.boxplot([values[name] for name in speakers], sym=".", patch_artist=True, widths=0.6)
        for box in boxes["boxes"]:
            box.set(facecolor=COLOURS[5])
        for point in boxes["fliers"]:
            point.set(markersize=2)
        axes.set_xticks(range(1, len(speakers) + 1), [name or "unknown" for name in speakers], rotation=45)
        axes.set(title=f"{title} by speaker", ylabel=unit)
        return
    axes.hist([value for name in speakers for value in values[name]], bins=BINS, color=COLOURS[0])
    axes.set(title=title, xlabel=unit, ylabel="clips")
