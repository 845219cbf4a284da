"""Figures of probes: few-label curves, confusions, likeness of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cepscope.errors import ParameterError
from cepscope.report.figures import new_figure
from cepscope.report.plots import COLOURS, DASHES
from cepscope.report.raster import SEQUENTIAL

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_NUMBERS = 16  # rows or columns up to which cells hold their number
DARK = 0.6  # of the range: above it cells are light and numbers black


def plot_few_labels(
    sizes: Sequence[int],
    curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    chance: float | None = None,
    title: str = "Few labels",
) -> Figure:
    """Draw errors over the number of labelled clips, with bands of one standard error either way.

    Parameters
    ----------
    sizes : sequence of int
        Labelled clips of each class, increasing.
    curves : mapping of str to (array, array) [shape=(sizes,)]
        Each representation's error and its standard error, from 0 to 1; an error that is not known has no band.
    chance : float, optional
        Error of guessing, drawn as a grey line.
    title : str

    Returns
    -------
    Figure
    """
    places = np.asarray(sizes, np.float64)
    if places.ndim != 1 or not len(curves) or not len(places) or places[0] <= 0 or (np.diff(places) <= 0).any():
        raise ParameterError(f"Curves need numbers of labels that increase. Received: {sizes}, {len(curves)} curves")
    figure = new_figure(5.2, 3.6)
    axes = figure.subplots()
    for i, (name, both) in enumerate(curves.items()):
        error, spread = (100 * np.asarray(values, np.float64) for values in both)
        if error.shape != places.shape or spread.shape != places.shape:
            raise ParameterError(f"{name!r} must have a value for each of {len(places)} sizes. Received: {error.shape}")
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(
            *(places, error, DASHES[i % len(DASHES)]),
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
            label=name,
        )
        axes.fill_between(places, error - spread, error + spread, color=colour, alpha=0.15, linewidth=0)
    if chance is not None:
        axes.axhline(100 * chance, color="0.5", linewidth=0.8, label="chance")
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{size:g}" for size in places])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel="labelled clips of each class", ylabel="error [%]")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, title="band: 1 standard error", title_fontsize=7)
    return figure


def plot_confusion(
    confusion: npt.ArrayLike, classes: Sequence[Any], *, title: str = "What is said of each class"
) -> Figure:
    """Draw a confusion matrix: of each class's clips, the share that is said to be of each.

    Parameters
    ----------
    confusion : array [shape=(classes, classes)]
        Counts; rows are the truth.
    classes : sequence
    title : str

    Returns
    -------
    Figure
    """
    counts = np.asarray(confusion, np.float64)
    if counts.shape != (len(classes), len(classes)) or not counts.size or (counts < 0).any():
        raise ParameterError(
            f"A confusion matrix must be ({len(classes)}, {len(classes)}) counts. Received: {counts.shape}"
        )
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [str(name) for name in classes]
    figure, axes = _table(shares, names, names, low=0, high=100, form="{:.0f}", label="share of the row [%]")
    axes.set(title=title, xlabel="said", ylabel="is")
    return figure


def plot_cka(
    table: npt.ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "Linear CKA",
    row_network: str = "",
    column_network: str = "",
) -> Figure:
    """Draw how alike the layers of two networks are, from 0 to 1; see `cepscope.probe.similarity`.

    Parameters
    ----------
    table : array [shape=(rows, columns)]
    rows, columns : sequence of str
        Layers.
    title, row_network, column_network : str

    Returns
    -------
    Figure
    """
    values = np.asarray(table, np.float64)
    if values.shape != (len(rows), len(columns)) or not values.size:
        raise ParameterError(
            f"There must be {len(rows)} x {len(columns)} values, one a pair of layers. Received: {values.shape}"
        )
    figure, axes = _table(values, rows, columns, low=0, high=1, form="{:.2f}", label="linear CKA")
    axes.set(title=title, xlabel=column_network, ylabel=row_network)
    return figure


def _table(
    values: npt.NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    low: float,
    high: float,
    form: str,
    label: str,
) -> tuple[Figure, Any]:
    """Draw a table in colours, the first row on top, with its numbers where there is room."""
    figure = new_figure(2.2 + 0.42 * len(columns), 1.4 + 0.36 * len(rows))
    axes = figure.subplots()
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    turned = max(map(len, columns)) > 3
    axes.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    if max(values.shape) <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > low + DARK * (high - low) else "white"
            text = form.format(value) if np.isfinite(value) else ""
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, ax=axes, label=label)
    return figure, axes
