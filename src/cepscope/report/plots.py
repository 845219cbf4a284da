"""Figures for papers and notebooks, by matplotlib's object interface: no global state, nothing to close.

Every function returns a `Figure` with titles, units and colour bars, which `save_figure` writes reproducibly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cepscope.errors import ParameterError
from cepscope.features import MfccSpec, log_mel
from cepscope.report.content import UnitCard
from cepscope.report.curves import PRETRAINING, history_panels
from cepscope.report.figures import (
    COEFFICIENT,
    TIME,
    as_patch,
    draw_map,
    draw_mfcc,
    draw_spectrogram,
    new_figure,
)
from cepscope.report.raster import DIVERGING, RANGE_DB, SEQUENTIAL, SPREAD_SD

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
DASHES = ("-", "--", ":", "-.")
STACK_RANK = 3
MOST_SIDE_BY_SIDE = 5  # panels of curves


def plot_mfcc(
    x: npt.ArrayLike,
    spec: MfccSpec | None = None,
    *,
    title: str = "MFCC",
    unit: str = "sd",
    limit: float | None = None,
) -> Figure:
    """Draw an MFCC patch.

    Parameters
    ----------
    x : array [shape=(n_mfcc, frames)]
        Scaled MFCC, or unscaled with ``unit=""``; a trailing axis of 1 is allowed.
    spec : MfccSpec, optional
        Gives the time axis in s; without it frames are counted.
    title, unit : str
        `unit` stands on the colour bar.
    limit : float, optional
        Largest deviation drawn, by default 3 for scaled MFCC, else the largest there is.

    Returns
    -------
    Figure
    """
    patch = as_patch(x)
    limit = limit or (SPREAD_SD if unit == "sd" else float(np.abs(patch).max()) or 1.0)
    figure = new_figure(5.2, 2.9)
    axes = figure.subplots()
    image = draw_mfcc(axes, patch, spec, limit)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label=f"value [{unit}]" if unit else "value")
    return figure


def plot_spectrogram(
    audio: npt.ArrayLike, spec: MfccSpec, *, sr: int | None = None, title: str = "Spectrogram"
) -> Figure:
    """Draw the power spectrogram of a sound, in dB below its maximum.

    Parameters
    ----------
    audio : array [shape=(samples,)]
    spec : MfccSpec
        Gives the window.
    sr : int, optional
        Sampling rate of `audio` in Hz, by default that of `spec`.
    title : str

    Returns
    -------
    Figure
    """
    figure = new_figure(5.2, 3.2)
    axes = figure.subplots()
    image = draw_spectrogram(axes, audio, spec, sr or spec.sr)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="level [dB below maximum]")
    return figure


def plot_log_mel(audio: npt.ArrayLike, spec: MfccSpec, *, title: str = "Log-mel spectrogram") -> Figure:
    """Draw what the front end sees of a sound before the cosine transform: mel bands in dB, labelled in Hz.

    Parameters
    ----------
    audio : array [shape=(samples,)]
        At the rate of `spec`.
    spec : MfccSpec
    title : str

    Returns
    -------
    Figure
    """
    levels = np.asarray(log_mel(np.asarray(audio, np.float32), spec))
    hop, peak = spec.hop / spec.sr, float(levels.max())
    figure = new_figure(5.2, 3.2)
    axes = figure.subplots()
    extent = (-hop / 2, (levels.shape[1] - 0.5) * hop, -0.5, spec.n_mels - 0.5)
    image = draw_map(axes, levels, extent, colours=SEQUENTIAL, low=peak - RANGE_DB, high=peak)
    bands = np.unique(np.linspace(0, spec.n_mels - 1, 6).round().astype(int))
    axes.set_yticks(bands, [f"{hz:.0f}" for hz in np.asarray(spec.mel_frequencies())[bands]])
    axes.set(title=title, xlabel=TIME, ylabel="mel band centre [Hz]")
    figure.colorbar(image, ax=axes, label="level [dB]")
    return figure


def plot_filters(
    kernels: npt.ArrayLike,
    *,
    names: Sequence[str] = (),
    title: str = "Filters",
    columns: int = 8,
    label: str = "weight",
) -> Figure:
    """Draw kernels side by side, each on the scale of the largest weight of all.

    Parameters
    ----------
    kernels : array [shape=(n, height, width)]
        Coefficients upwards, frames to the right.
    names : sequence of str
        One a kernel, by default its number.
    title : str
    columns : int
    label : str
        Of the colour bar.

    Returns
    -------
    Figure
    """
    stack = np.asarray(kernels, np.float64)
    if stack.ndim != STACK_RANK or not stack.size:
        raise ParameterError(f"`kernels` must be (n, height, width). Received: shape {stack.shape}")
    columns = max(1, min(columns, len(stack)))
    rows = math.ceil(len(stack) / columns)
    limit = float(np.abs(stack).max()) or 1.0
    figure = new_figure(1.0 * columns + 1.2, 1.15 * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    image: Any = None
    for i, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        if i >= len(stack):
            axes.set_axis_off()
            continue
        image = axes.imshow(stack[i], origin="lower", aspect="auto", cmap=DIVERGING, vmin=-limit, vmax=limit)
        axes.set_title(names[i] if i < len(names) else str(i), fontsize=8)
    figure.suptitle(title)
    figure.supxlabel("frames", fontsize=9)
    figure.supylabel("coefficients", fontsize=9)
    figure.colorbar(image, ax=grid, label=label)
    return figure


def plot_unit(card: UnitCard, spec: MfccSpec) -> Figure:
    """Draw a unit: the spectrogram of its sound above its pattern, on one time axis, with its scores.

    Parameters
    ----------
    card : UnitCard
    spec : MfccSpec

    Returns
    -------
    Figure
    """
    figure = new_figure(5.6, 5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    levels = draw_spectrogram(upper, card.audio, spec, card.sr)
    pattern = draw_mfcc(lower, as_patch(card.pattern), spec, SPREAD_SD)
    upper.set(xlabel="")
    upper.set_title(
        f"sound: {card.score('sound_over_natural'):.2f} of natural, retention {card.score('retention'):.2f}",
        fontsize=9,
    )
    lower.set_title("pattern", fontsize=9)
    figure.colorbar(levels, ax=upper, label="level [dB below maximum]")
    figure.colorbar(pattern, ax=lower, label="value [sd]")
    figure.suptitle(f"{card.unit} {card.label}".strip())
    return figure


def plot_layer(cards: Sequence[UnitCard], spec: MfccSpec, *, columns: int = 6) -> Figure:
    """Draw the patterns of many units, each with its name and how its sound compares with real speech.

    Parameters
    ----------
    cards : sequence of UnitCard
    spec : MfccSpec
    columns : int

    Returns
    -------
    Figure
    """
    if not cards:
        raise ParameterError("A layer's figure needs at least one unit. Received: none")
    columns = max(1, min(columns, len(cards)))
    rows = math.ceil(len(cards) / columns)
    figure = new_figure(1.7 * columns + 1.2, 1.35 * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image: Any = None
    for i, axes in enumerate(grid.flat):
        if i >= len(cards):
            axes.set_axis_off()
            continue
        image = draw_mfcc(axes, as_patch(cards[i].pattern), spec, SPREAD_SD)
        axes.set(xlabel="", ylabel="")
        name = f"{cards[i].unit} {cards[i].label}".strip()
        axes.set_title(f"{name}  {cards[i].score('sound_over_natural'):.2f}", fontsize=8)
    figure.suptitle(f"Patterns of {cards[0].layer} (number: sound / natural)")
    figure.supxlabel(TIME, fontsize=9)
    figure.supylabel(COEFFICIENT, fontsize=9)
    figure.colorbar(image, ax=grid, label="value [sd]")
    return figure


def plot_history(rows: Sequence[Mapping[str, Any]], *, pretraining: Sequence[str] = PRETRAINING) -> Figure:
    """Draw training curves: a panel a quantity, see `cepscope.report.curves.history_panels`.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``history.csv``.
    pretraining : sequence of str
        Columns of pretraining that are drawn.

    Returns
    -------
    Figure
    """
    panels = history_panels(rows, pretraining=pretraining)
    if not panels:
        raise ParameterError(f"No training curve was found: rows need `epoch` and a value. Received: {len(rows)} rows")
    columns = min(MOST_SIDE_BY_SIDE, len(panels))
    rows_of_panels = math.ceil(len(panels) / columns)
    figure = new_figure(3.3 * columns, 2.9 * rows_of_panels)
    grid = figure.subplots(rows_of_panels, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        for i, curve in enumerate(panel.curves):
            axes.plot(curve.epochs, curve.values, DASHES[i % 4], color=COLOURS[i % 6], label=curve.name)
        unit = f" [{panel.unit}]" if panel.unit else ""
        axes.set(title=panel.title, xlabel="epoch", ylabel=f"{panel.ylabel}{unit}")
        axes.title.set_fontsize(9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
